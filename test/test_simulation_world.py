"""The simulated world without pictures: splits, paths, shapes, traffic, and its exact motion."""

from __future__ import annotations

import numpy as np
import pytest

from sparse4d_ros import boxes, geometry
from sparse4d_ros.boxes import NUSCENES_CLASSES
from sparse4d_ros.data.drive_cache import NO_OBJECT
from sparse4d_ros.errors import UserError
from sparse4d_ros.simulation.catalogue import bodies
from sparse4d_ros.simulation.paths import Paths, rounded
from sparse4d_ros.simulation.rig import REFERENCE_SIZE, default_rig
from sparse4d_ros.simulation.splits import SPLITS, check_seed
from sparse4d_ros.simulation.world import World

DURATION_S = 4.0


@pytest.fixture(scope="module")
def world() -> World:
    """A town used by several tests, none of which changes it."""
    return World(3, DURATION_S)


def test_splits_share_no_town():
    seeds = [seed for split in SPLITS.values() for seed in split]
    assert len(set(seeds)) == len(seeds)


@pytest.mark.parametrize(("seed", "split"), [(10_000, "train"), (9_999, "val"), (-1, "train"), (11_000, "val")])
def test_a_seed_of_another_split_is_refused(seed, split):
    with pytest.raises(UserError, match=str(seed)):
        check_seed(seed, split)


def test_an_unknown_split_is_refused():
    with pytest.raises(UserError, match="test"):
        check_seed(0, "test")


def test_a_path_is_continuous_and_its_heading_is_its_derivative():
    path = Paths([rounded(np.array([[0, 0], [30, 0], [30, 40], [70, 45], [75, 90]]), 10.0)])
    along = np.linspace(0.5, 150.0, 5000)[None]
    x, y, heading = (values[0] for values in path.at(along))
    step = 1e-4
    ahead, behind = path.at(along + step), path.at(along - step)
    assert np.hypot(np.diff(x), np.diff(y)).max() < 0.031
    np.testing.assert_allclose((ahead[0] - behind[0])[0] / (2 * step), np.cos(heading), atol=1e-3)
    np.testing.assert_allclose((ahead[1] - behind[1])[0] / (2 * step), np.sin(heading), atol=1e-3)
    assert path.curvature(along).max() == pytest.approx(0.1)


def test_a_path_of_one_point_is_refused():
    with pytest.raises(ValueError, match="two different points"):
        rounded(np.zeros((3, 2)), 5.0)


@pytest.mark.parametrize("body", bodies(), ids=lambda body: body.mesh.name)
def test_a_mesh_fills_the_unit_cube_and_faces_outwards(body):
    vertices = body.mesh.vertices.astype(np.float64)
    np.testing.assert_allclose(vertices[:, :3].min(axis=0), -0.5, atol=1e-6)
    np.testing.assert_allclose(vertices[:, :3].max(axis=0), 0.5, atol=1e-6)
    corners = vertices[:, :3].reshape(-1, 3, 3) * body.mesh.size
    winding = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = vertices[::3, 3:6] / body.mesh.size
    cosine = (winding * normals).sum(axis=1) / np.linalg.norm(winding, axis=1) / np.linalg.norm(normals, axis=1)
    assert cosine.min() > 0.999


def test_every_class_has_a_body_of_a_size_near_nuscenes():
    # Mean lengths, widths and heights of the nuScenes training set, rounded.
    usual = {
        "car": (4.6, 1.95, 1.7), "truck": (6.9, 2.5, 2.9), "construction_vehicle": (6.4, 2.8, 3.2),
        "bus": (11.0, 2.9, 3.5), "trailer": (12.0, 2.9, 3.9), "barrier": (0.5, 2.5, 1.0), "motorcycle": (2.1, 0.8, 1.5),
        "bicycle": (1.7, 0.6, 1.3), "pedestrian": (0.7, 0.7, 1.8), "traffic_cone": (0.4, 0.4, 1.1)}
    for index, name in enumerate(NUSCENES_CLASSES):
        sizes = np.array([body.mesh.size for body in bodies() if body.class_index == index])
        ratio = sizes.mean(axis=0) / usual[name]
        assert (ratio > 0.65).all() and (ratio < 1.35).all(), (name, sizes.mean(axis=0))


def test_the_rig_looks_where_its_names_say():
    yaws = {"front": 0, "front_right": -55, "front_left": 55, "back": 180, "back_left": 108, "back_right": -108}
    rig = default_rig()
    assert rig.names == ("front", "front_right", "front_left", "back", "back_left", "back_right")
    assert rig.cameras[0].offset_ns == 0
    for camera in rig.cameras:
        axis, down = camera.vehicle_from_camera[:3, 2], camera.vehicle_from_camera[:3, 1]
        yaw = np.deg2rad(yaws[camera.name])
        np.testing.assert_allclose(axis, [np.cos(yaw), np.sin(yaw), 0.0], atol=1e-9)
        np.testing.assert_allclose(down, [0.0, 0.0, -1.0], atol=1e-9)
        geometry.check_rigid(camera.vehicle_from_camera, camera.name)


def test_together_the_cameras_see_all_around():
    azimuth = np.linspace(-np.pi, np.pi, 720)
    points = np.stack([50 * np.cos(azimuth), 50 * np.sin(azimuth), np.full(720, 1.5)], axis=1)
    seen = np.zeros(720, dtype=bool)
    for camera in default_rig().cameras:
        image_from_vehicle = (geometry.pad_intrinsic(camera.intrinsic(REFERENCE_SIZE))
                              @ geometry.inverse(camera.vehicle_from_camera))
        pixels, depth = geometry.project(points, image_from_vehicle)
        seen |= (depth > 0) & (pixels[:, 0] >= 0) & (pixels[:, 0] < REFERENCE_SIZE[0])
    assert seen.all()


def test_the_same_seed_gives_the_same_world(world):
    again = World(3, DURATION_S)
    for time_s in (0.0, 1.234):
        np.testing.assert_array_equal(world.boxes(time_s), again.boxes(time_s))
        np.testing.assert_array_equal(world.fixed_from_vehicle(time_s), again.fixed_from_vehicle(time_s))
    np.testing.assert_array_equal(world.ground, again.ground)
    np.testing.assert_array_equal(world.scenery.poses, again.scenery.poses)


def test_another_seed_gives_another_world(world):
    other = World(4, DURATION_S)
    assert world.ground.shape != other.ground.shape or not np.array_equal(world.ground, other.ground)
    assert not np.array_equal(world.fixed_from_vehicle(0.0), other.fixed_from_vehicle(0.0))


@pytest.mark.parametrize("seed", [0, 1, 10_000])
def test_every_class_stands_in_every_town(seed):
    classes = World(seed, 2.0).classes
    assert set(classes) == set(range(len(NUSCENES_CLASSES))), "scenery must not be labelled, no class may lack"
    assert NO_OBJECT not in classes


def test_velocity_is_the_derivative_of_position(world):
    step = 1e-5
    for time_s in (0.05, 1.51, 3.33):  # inside the traffic's steps: at their ends the acceleration jumps
        before, now, after = (world.boxes(time_s + shift) for shift in (-step, 0.0, step))
        measured = (after[:, :3] - before[:, :3]) / (2.0 * step)
        jump = np.abs(measured - now[:, boxes.VX:boxes.VZ + 1]).max(axis=1)
        # A walker who starts or stops in this very instant has no derivative.
        assert np.quantile(jump, 0.99) < 1e-3 and (jump > 1e-3).sum() <= 1
    moving = np.hypot(now[:, boxes.VX], now[:, boxes.VY])
    assert (moving > 1.0).sum() > 20 and moving.max() < 16.0


def test_objects_stand_on_the_ground_and_keep_their_size(world):
    first, last = world.boxes(0.0), world.boxes(DURATION_S)
    np.testing.assert_allclose(first[:, boxes.Z], first[:, boxes.HEIGHT] / 2.0)
    np.testing.assert_array_equal(first[:, boxes.LENGTH:boxes.HEIGHT + 1], last[:, boxes.LENGTH:boxes.HEIGHT + 1])


def test_things_that_move_along_point_where_they_go(world):
    table = world.boxes(1.0)
    fast = np.hypot(table[:, boxes.VX], table[:, boxes.VY]) > 0.5
    course = np.arctan2(table[fast, boxes.VY], table[fast, boxes.VX])
    assert np.abs(boxes.wrap_angle(course - table[fast, boxes.YAW])).max() < 1e-6


@pytest.mark.parametrize("seed", [5, 6, 7])
def test_the_ego_vehicle_drives_smoothly_and_hits_nothing(seed):
    world = World(seed, 8.0)
    times = np.arange(0.0, 8.0, 0.1)
    poses = np.array([world.fixed_from_vehicle(time_s) for time_s in times])
    speed = np.linalg.norm(np.diff(poses[:, :2, 3], axis=0), axis=1) / 0.1
    assert speed.max() < 15.0 and speed.sum() * 0.1 > 3.0
    for time_s, pose in zip(times[::10], poses[::10], strict=True):
        local = boxes.transform(world.boxes(time_s), geometry.inverse(pose))
        # The middle of no other vehicle may come into the ego vehicle's own outline.
        inside = (np.abs(local[:, boxes.X] - 1.4) < 2.3) & (np.abs(local[:, boxes.Y]) < 0.95)
        assert not inside.any()


def test_vehicles_wait_at_red_signals(world):
    stopped = (world.traffic.speeds < 0.3).mean()
    assert 0.01 < stopped < 0.6
    assert world.traffic.speeds.min() >= 0.0
