"""Model files as bodies: axes, fit, colours, silhouettes, and what is refused."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from sparse4d_ros import cli, geometry
from sparse4d_ros.errors import UserError
from sparse4d_ros.simulation.actors import Placement
from sparse4d_ros.simulation.catalogue import bodies
from sparse4d_ros.simulation.models import load_model, with_models
from sparse4d_ros.simulation.rig import default_rig
from sparse4d_ros.simulation.shapes import PLAIN, PRIMARY

#: A wedge 4 long along z, 2 wide along x, 1 high along y, high at its back: the file's units are no metres.
WEDGE = "v -10 0 -20\nv 10 0 -20\nv 10 0 20\nv -10 0 20\nv -10 10 -20\nv 10 10 -20\n"
FACES = "f 1 2 3\nf 1 3 4\nf 1 5 6\nf 1 6 2\nf 4 3 6\nf 4 6 5\nf 2 6 3\nf 1 4 5\n"
SIZE = (352, 128)


def test_without_trimesh_a_sentence_says_what_to_install(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "trimesh", None)
    assert cli.main(["simulate", "--seeds", "1", "--mesh", f"car={tmp_path}/a.glb", "--output", f"{tmp_path}/o"]) == 2
    assert "pip install trimesh" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


@pytest.fixture
def trimesh():
    """The package, or a skip."""
    return pytest.importorskip("trimesh", reason="trimesh is not installed: pip install trimesh")


@pytest.fixture
def wedge(trimesh, tmp_path):
    """The wedge as an OBJ file."""
    path = tmp_path / "wedge.obj"
    path.write_text(WEDGE + FACES)
    return path


def test_a_model_faces_z_with_y_up_and_fills_the_cube(wedge):
    mesh = load_model(wedge)
    points = mesh.vertices[:, :3]
    np.testing.assert_allclose(points.min(axis=0), -0.5)
    np.testing.assert_allclose(points.max(axis=0), 0.5)
    np.testing.assert_allclose(mesh.size, [40.0, 20.0, 10.0])
    top = points[points[:, 2] > 0.4]
    assert len(top) and (top[:, 0] < -0.4).all(), "the high end is the back"
    # The file's +x is the left.
    left = load_model(wedge).vertices[:, 1].max()
    assert left == pytest.approx(0.5)
    assert (mesh.vertices[:, 9] == PRIMARY).all(), "a model without colours takes the instance's"


def test_a_model_keeps_its_colours_and_its_sides(trimesh, tmp_path):
    red = trimesh.creation.box((1.0, 1.0, 1.0))
    red.apply_translation([2.0, 0.0, 0.0])
    red.visual.face_colors = [255, 0, 0, 255]
    green = trimesh.creation.box((1.0, 1.0, 1.0))
    material = trimesh.visual.material.PBRMaterial(baseColorFactor=[0, 255, 0, 255])
    green.visual = trimesh.visual.TextureVisuals(material=material)
    trimesh.Scene([red, green]).export(tmp_path / "two.glb")
    mesh = load_model(tmp_path / "two.glb")
    assert (mesh.vertices[:, 9] == PLAIN).all()
    # The red box stands at +x in the file, which is the vehicle's left, +y.
    left = mesh.vertices[:, 1] > 0.1
    np.testing.assert_allclose(mesh.vertices[left][:, 6:9], np.tile([1.0, 0.0, 0.0], (left.sum(), 1)), atol=0.01)
    np.testing.assert_allclose(mesh.vertices[~left][:, 6:9], np.tile([0.0, 1.0, 0.0], ((~left).sum(), 1)), atol=0.01)
    normals = mesh.vertices[:, 3:6]
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1.0, atol=1e-6)
    np.testing.assert_allclose(normals.sum(axis=0), 0.0, atol=1e-4)


@pytest.mark.parametrize(("text", "named"), [
    ("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", "flat"), ("nothing\n", "no triangles"), (None, "does not exist")])
def test_a_file_that_is_no_body_is_named(trimesh, tmp_path, text, named):
    path = tmp_path / "model.obj"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=f"model.obj.*{named}"):
        load_model(path)


def test_an_unknown_class_and_a_bad_option_are_named(tmp_path, capsys):
    with pytest.raises(UserError, match="'tank'"):
        with_models(bodies(), {"tank": tmp_path / "a.obj"})
    with pytest.raises(SystemExit):
        cli.main(["simulate", "--seeds", "1", "--mesh", "model.glb", "--output", str(tmp_path)])
    assert "car=model.glb" in capsys.readouterr().err


def test_a_model_stands_in_for_its_class_only_and_is_drawn_as_large_as_its_silhouette(wedge):
    pytest.importorskip("moderngl")
    from sparse4d_ros.simulation import visibility
    from sparse4d_ros.simulation.look import draw_look
    from sparse4d_ros.simulation.renderer import Renderer

    catalogue = with_models(bodies(), {"car": wedge})
    for old, new in zip(bodies(), catalogue, strict=True):
        replaced = old.class_index == 0
        assert (new.mesh is not old.mesh) == replaced and new.index == old.index
        np.testing.assert_array_equal(new.mesh.size, old.mesh.size)
    try:
        renderer = Renderer(SIZE, catalogue=catalogue)
    except UserError as error:
        pytest.skip(str(error))
    ground = np.array([[-9, -9, 0.3, 0.3, 0.3, 0], [9, -9, 0.3, 0.3, 0.3, 0], [0, 9, 0.3, 0.3, 0.3, 0]], dtype=float)
    renderer.set_world(ground, draw_look(np.random.default_rng(0)))
    camera = default_rig().cameras[0]
    camera_from_fixed = geometry.inverse(camera.vehicle_from_camera)
    car = next(body for body in catalogue if body.class_index == 0)
    for yaw in (0.0, 0.8, np.pi / 2.0):
        placement = Placement()
        placement.add(car, np.array([12.0, 0.5]), yaw, np.random.default_rng(0), size=np.array([4.5, 1.9, 1.6]))
        alone = placement.instances()
        alone.ids[:] = 3
        picture = renderer.draw(alone, camera.intrinsic(SIZE), camera_from_fixed)
        covered = visibility.covered_pixels(alone, camera.intrinsic(SIZE), camera_from_fixed, SIZE, catalogue)[0]
        assert (picture.ids == 3).sum() == pytest.approx(covered, rel=0.07)
    usual = visibility.covered_pixels(alone, camera.intrinsic(SIZE), camera_from_fixed, SIZE)[0]
    assert abs(usual - covered) > 0.1 * covered, "a wedge from the side looks unlike the car in its place"
    renderer.release()
