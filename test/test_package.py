"""Model packages: what is wrong in one is named by file and field."""

from __future__ import annotations

import numpy as np
import pytest
import yaml
from engine_cases import package_of
from hypothesis import given, settings
from hypothesis import strategies as st

from sparse4d_ros.engine.package import ModelPackage, sha256
from sparse4d_ros.errors import UserError
from sparse4d_ros.geometry import from_yaw


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "weights.safetensors").write_bytes(b"numbers")
    digest = sha256(tmp_path / "weights.safetensors")
    package_of(files={"weights": ("weights.safetensors", digest)},
               vehicle_from_model=from_yaw(0.9, 0.0, 1.8, -1.57)).save(tmp_path)
    return tmp_path


def change(folder, *path, to):
    file = folder / "model.yaml"
    values = yaml.safe_load(file.read_text())
    target = values
    for key in path[:-1]:
        target = target[key]
    if to is None:
        del target[path[-1]]
    else:
        target[path[-1]] = to
    file.write_text(yaml.safe_dump(values))


def test_what_is_saved_is_loaded(folder):
    package = ModelPackage.load(folder)
    expected = package_of(vehicle_from_model=from_yaw(0.9, 0.0, 1.8, -1.57))
    assert package.model == expected.model and package.cameras == expected.cameras
    assert np.abs(package.vehicle_from_model - expected.vehicle_from_model).max() < 1e-12
    assert package.path("weights").read_bytes() == b"numbers"
    assert package.nms_iou is None
    change(folder, "nms_iou", to=0.1)
    package = ModelPackage.load(folder)
    package.save(folder)
    assert ModelPackage.load(folder).nms_iou == 0.1


@pytest.mark.fault(43)
@pytest.mark.parametrize("path, value, text", [
    (("format_version",), 2, "format_version is 2; this program reads 1"),
    (("classes",), ["car"], "classes has 1 names, but model.num_classes is 10"),
    (("classes",), ["car"] * 10, "classes must be a list of different names"),
    (("cameras",), None, "cameras is missing"),
    (("colour",), "red", "colour is not known"),
    (("input", "width"), "wide", "input.width must be a number"),
    (("input", "std"), [1, 1, 0], "input.std must be above 0"),
    (("interval_range_s",), [0.5, 0.1], "interval_range_s must be two ascending"),
    (("vehicle_from_model", "quaternion_xyzw"), [0, 0, 0, 2], "quaternion has length 2"),
    (("nms_iou",), 1.0, "nms_iou must be below 1"),
    (("nms_iou",), "much", "nms_iou must be a number"),
    (("model", "num_temporal"), 31, "num_temporal"),
    (("model", "wings"), 2, "model.wings is not a known field"),
    (("model", "embed_dims"), 1.5, "model.embed_dims must be of type int"),
    (("model", "backbone", "blocks"), [1], "differ in length"),
    (("files", "weights", "path"), "../weights.safetensors", "inside the package"),
    (("files", "pickle"), {"path": "x", "sha256": "y"}, "files.pickle is not known"),
])
def test_a_wrong_field_is_named(folder, path, value, text):
    change(folder, *path, to=value)
    with pytest.raises(UserError, match=text) as caught:
        ModelPackage.load(folder)
    assert str(folder) in str(caught.value)


@pytest.mark.fault(41)
def test_absent_and_altered_files_are_named(folder):
    package = ModelPackage.load(folder)
    with pytest.raises(UserError, match="no onnx file"):
        package.path("onnx")
    (folder / "weights.safetensors").write_bytes(b"other numbers")
    with pytest.raises(UserError, match="is not the file that was packed"):
        package.path("weights")
    (folder / "weights.safetensors").unlink()
    with pytest.raises(UserError, match="misses a file"):
        package.path("weights")
    with pytest.raises(UserError, match="there is no folder .*nowhere: a model package is given by its path"):
        ModelPackage.load(folder / "nowhere")


def laughs():
    """Twelve short lists that make a billion words when they are written out."""
    inner = ["laugh"] * 8
    for _ in range(12):
        inner = [inner] * 8
    return inner


@pytest.mark.parametrize("path", [("name",), ("input", "width"), ("classes",), ("model", "backbone"),
                                  ("model", "strides"), ("model", "border"), ("files", "weights", "path")])
@pytest.mark.parametrize("value", [10**400, -10**400, laughs()], ids=["huge", "negative", "laughs"])
def test_values_beyond_all_measure_are_refused_in_short(folder, path, value):
    change(folder, *path, to=value)
    with pytest.raises(UserError, match="field |must be") as caught:
        ModelPackage.load(folder)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("text", [
    "!!timestamp x", "2001-99-99", "[" * 3000, "&a [*a]", f"0x{'f' * 5000}", "!!python/name:os.system",
    "!!python/object/apply:os.system [touch here]"], ids=lambda text: text[:12])
def test_text_that_yaml_stumbles_over_is_refused(folder, text, monkeypatch):
    monkeypatch.chdir(folder)
    file = folder / "model.yaml"
    file.write_text(file.read_text().replace("name: tiny", f"name: {text}"))
    with pytest.raises(UserError, match=str(folder)):
        ModelPackage.load(folder)
    assert not (folder / "here").exists()


@pytest.mark.fault(41)
def test_a_file_that_leads_out_of_the_package_is_refused(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "weights.safetensors"
    (folder / "weights.safetensors").rename(elsewhere)
    (folder / "weights.safetensors").symlink_to(elsewhere)
    with pytest.raises(UserError, match=f"leads out of the model package, to {elsewhere}"):
        ModelPackage.load(folder).path("weights")
    for path in (str(elsewhere), f"../{elsewhere.parent.name}/{elsewhere.name}", "..", ".", ""):
        change(folder, "files", "weights", "path", to=path)
        with pytest.raises(UserError, match="weights.path"):
            ModelPackage.load(folder).path("weights")


def test_a_package_may_be_links_to_a_package(folder, tmp_path_factory):
    """As `colcon build --symlink-install` installs it."""
    installed = tmp_path_factory.mktemp("installed")
    for file in folder.iterdir():
        (installed / file.name).symlink_to(file)
    assert ModelPackage.load(installed).path("weights").read_bytes() == b"numbers"


@settings(max_examples=60, deadline=None)
@given(st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["format_version", "classes", "cameras", "input", "model", "files", "x"]), inner, max_size=4)))
def test_any_yaml_gives_a_package_or_a_sentence(tmp_path_factory, values):
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "model.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(UserError):
        ModelPackage.load(folder)


def test_bytes_that_are_no_yaml_are_refused(tmp_path):
    (tmp_path / "model.yaml").write_bytes(b"\xff\xfe\x00: [")
    with pytest.raises(UserError, match="not valid YAML"):
        ModelPackage.load(tmp_path)
