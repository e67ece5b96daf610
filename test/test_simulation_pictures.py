"""The simulator's pictures against its own ground truth: calibration, labels, depth, visibility."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from rendering import renderer_of

from sparse4d_ros import boxes, cli, geometry
from sparse4d_ros.boxes import NUSCENES_CLASSES
from sparse4d_ros.data.drive_cache import NO_OBJECT, DriveCache
from sparse4d_ros.errors import UserError
from sparse4d_ros.frame import LabelledFrame
from sparse4d_ros.simulation.drive import LABEL_RANGE_M, simulate
from sparse4d_ros.simulation.rig import REFERENCE_SIZE, default_rig

SIZE = REFERENCE_SIZE


@pytest.fixture(scope="module")
def renderer():
    yield from renderer_of(SIZE)


@pytest.fixture(scope="module")
def frames(renderer) -> list[LabelledFrame]:
    """Frames of a few towns with the rig's usual spread of stamps, ego vehicle and traffic in motion."""
    return [frame for seed in (21, 23, 203) for frame in simulate(seed, 4.0, 0.5, SIZE, renderer=renderer)]


def projected(frame: LabelledFrame, camera: int) -> tuple[np.ndarray, np.ndarray]:
    """Corners of all boxes in a picture: pixels ``[n, 8, 2]``, depths ``[n, 8]``."""
    view = frame.frame.cameras[camera]
    matrix = geometry.pad_intrinsic(view.intrinsic) @ view.camera_from_vehicle
    return geometry.project(boxes.corners(frame.objects.boxes), matrix)


def clear_views(frame: LabelledFrame, camera: int):
    """Objects seen whole and apart from others of their class: row, hull of the box, mask of the class nearby."""
    pixels, depth = projected(frame, camera)
    semantics = frame.semantics[camera]
    low, high = pixels.min(axis=1), pixels.max(axis=1)
    moving = np.hypot(*frame.objects.boxes[:, [boxes.VX, boxes.VY]].T) > 0.0
    for row, name in enumerate(frame.objects.names):
        whole = (depth[row] > 1.0).all() and (low[row] > 8).all() and (high[row] < np.array(SIZE) - 8).all()
        # What moves is a little elsewhere when another camera than the first fires: not a fault.
        clear = frame.objects.visibility[row] >= 0.95 and (high - low)[row].max() >= 16
        if not (whole and clear) or (moving[row] and camera):
            continue
        margin = 5.0
        others = [other for other, other_name in enumerate(frame.objects.names) if other != row and other_name == name
                  and (depth[other] > 0.5).any()
                  and (low[other] < high[row] + margin).all() and (high[other] > low[row] - margin).all()]
        if others:
            continue
        (left, top), (right, bottom) = (low[row] - margin).astype(int), (high[row] + margin).astype(int)
        near = np.zeros(semantics.shape, dtype=bool)
        near[top:bottom, left:right] = semantics[top:bottom, left:right] == NUSCENES_CLASSES.index(name)
        # Others of the class may stand far behind, too far for a label.
        near &= frame.depth[camera] < depth[row].max() + 2.0
        yield row, box_mask(pixels[row]), near


def box_mask(pixels: np.ndarray) -> np.ndarray:
    """The part of a picture that a box's corners ``[8, 2]`` span, with the pixels its outline touches."""
    mask = np.zeros((SIZE[1], SIZE[0]), dtype=np.uint8)
    fine = np.round((pixels - 0.5) * 16.0).astype(np.int32)  # four fractional bits, pixel centres at integers
    cv2.fillConvexPoly(mask, cv2.convexHull(fine), 1, shift=4)
    return mask.astype(bool)


def outline_iou(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union of two masks' bounding rectangles."""
    rectangles = []
    for mask in (first, second):
        rows, columns = np.nonzero(mask)
        rectangles.append((columns.min(), rows.min(), columns.max() + 1, rows.max() + 1))
    (l1, t1, r1, b1), (l2, t2, r2, b2) = rectangles
    shared = max(0, min(r1, r2) - max(l1, l2)) * max(0, min(b1, b2) - max(t1, t2))
    return shared / ((r1 - l1) * (b1 - t1) + (r2 - l2) * (b2 - t2) - shared)


def test_projected_boxes_sit_on_the_rendered_objects(frames):
    overlaps: dict[str, list[float]] = {}
    for frame in frames:
        for camera in range(len(frame.frame.cameras)):
            for row, hull, mask in clear_views(frame, camera):
                assert mask.any(), f"{frame.objects.names[row]} is labelled but not drawn"
                assert (mask & ~hull).sum() <= 0.02 * mask.sum(), f"{frame.objects.names[row]} sticks out of its box"
                overlaps.setdefault(frame.objects.names[row], []).append(outline_iou(hull, mask))
    assert sum(map(len, overlaps.values())) > 30
    assert len(overlaps) >= 6
    for name, values in overlaps.items():
        # A box's corners reach beyond a body that does not fill them, most of all a motorcycle's.
        assert min(values) > 0.5, (name, min(values))
    assert np.median(overlaps["car"]) > 0.85


def test_a_box_that_is_off_would_be_noticed(frames):
    """The comparison above has teeth: the same boxes moved by half a metre fail it."""
    sticking_out = 0
    for frame in frames:
        for camera in range(len(frame.frame.cameras)):
            view = frame.frame.cameras[camera]
            for row, _, mask in clear_views(frame, camera):
                moved = frame.objects.boxes[row:row + 1].copy()
                moved[0, :2] += 0.5
                pixels, _ = geometry.project(
                    boxes.corners(moved), geometry.pad_intrinsic(view.intrinsic) @ view.camera_from_vehicle)
                sticking_out += (mask & ~box_mask(pixels[0])).sum() > 0.02 * mask.sum()
    assert sticking_out > 20


def test_depth_lies_between_the_nearest_and_the_farthest_corner(frames):
    checked = 0
    for frame in frames:
        for camera in range(len(frame.frame.cameras)):
            _, depths = projected(frame, camera)
            for row, hull, mask in clear_views(frame, camera):
                nearest, middle = np.quantile(frame.depth[camera][mask & hull], [0.02, 0.5])
                assert depths[row].min() - 0.05 < nearest
                assert middle < depths[row].mean() + 0.25 * (depths[row].max() - depths[row].min())
                checked += 1
    assert checked > 30


def test_ground_depth_follows_from_camera_height(frames):
    view, depth, semantics = (item[0] for item in (frames[0].frame.cameras, frames[0].depth, frames[0].semantics))
    height = default_rig().cameras[0].vehicle_from_camera[2, 3]
    row = SIZE[1] - 1
    expected = height * view.intrinsic[1, 1] / (row + 0.5 - view.intrinsic[1, 2])
    ground = semantics[row] == NO_OBJECT
    assert ground.any()
    # Two subpixels to a pixel: the sample sits a quarter of a pixel from its middle.
    assert np.median(np.abs(depth[row][ground] - expected)) < 0.02


def test_camera_poses_hold_the_ego_motion_up_to_their_stamps(frames):
    rig = default_rig()
    for frame in frames:
        assert frame.frame.cameras[0].stamp_ns == frame.frame.stamp_ns
        for camera, view in zip(rig.cameras, frame.frame.cameras, strict=True):
            assert view.stamp_ns - frame.frame.stamp_ns == camera.offset_ns
            moved = camera.vehicle_from_camera @ view.camera_from_vehicle
            assert np.linalg.norm(moved[:3, 3]) <= 15.0 * camera.offset_ns * 1e-9 + 1e-9
    distance = [np.linalg.norm((rig.cameras[2].vehicle_from_camera @ f.frame.cameras[2].camera_from_vehicle)[:3, 3])
                for f in frames]
    assert max(distance) > 0.1, "at no frame did the ego vehicle move while the cameras fired"


def test_labels_are_seen_near_and_unique(frames):
    for frame in frames:
        objects = frame.objects
        assert len(set(objects.instance_ids)) == len(objects.instance_ids)
        assert (np.hypot(objects.boxes[:, 0], objects.boxes[:, 1]) < LABEL_RANGE_M).all()
        assert ((objects.visibility > 0.0) & (objects.visibility <= 1.0)).all()
        drawn = {NUSCENES_CLASSES[c] for picture in frame.semantics for c in np.unique(picture) if c != NO_OBJECT}
        assert set(objects.names) <= drawn
    visibility = np.concatenate([frame.objects.visibility for frame in frames])
    assert (visibility < 0.5).mean() > 0.1 and (visibility > 0.9).mean() > 0.3


def test_all_classes_are_frequent(frames):
    counts = {name: sum(frame.objects.names.count(name) for frame in frames) / len(frames) for name in NUSCENES_CLASSES}
    assert min(counts.values()) > 0.5, counts
    assert 25 < sum(counts.values()) < 120, counts


def test_an_object_is_fully_visible_when_it_stands_alone(renderer, frames):
    """The two counts that make visibility agree: pixels drawn, and pixels of the silhouette."""
    from sparse4d_ros.simulation import visibility
    from sparse4d_ros.simulation.actors import Placement
    from sparse4d_ros.simulation.catalogue import bodies

    camera = default_rig().cameras[0]
    camera_from_fixed = geometry.inverse(camera.vehicle_from_camera)
    for index, body in enumerate(body for body in bodies() if body.class_index != NO_OBJECT):
        placement = Placement()
        placement.add(body, np.array([14.0, 0.5]), 0.7 * index, np.random.default_rng(index))
        alone = placement.instances()
        alone.ids[:] = 7
        picture = renderer.draw(alone, camera.intrinsic(SIZE), camera_from_fixed)
        drawn = visibility.seen_pixels(picture.ids, 7)[7]
        covered = visibility.covered_pixels(alone, camera.intrinsic(SIZE), camera_from_fixed, SIZE)[0]
        assert drawn == pytest.approx(covered, rel=0.12, abs=6), body.mesh.name


def test_the_same_seed_gives_the_same_pictures(renderer):
    first, second = (next(simulate(42, 1.0, 5.0, SIZE, renderer=renderer)) for _ in range(2))
    for a, b in zip(first.frame.cameras, second.frame.cameras, strict=True):
        np.testing.assert_array_equal(a.image, b.image)
    np.testing.assert_array_equal(first.objects.boxes, second.objects.boxes)
    np.testing.assert_array_equal(first.depth[3], second.depth[3])


def test_pictures_look_like_pictures(frames):
    for frame in frames:
        for camera in frame.frame.cameras:
            assert camera.image.shape == (SIZE[1], SIZE[0], 3) and camera.image.dtype == np.uint8
            assert 40 < camera.image.mean() < 210 and camera.image.std() > 12


@pytest.mark.parametrize("arguments", [{"split": "val"}, {"duration_s": 0.0}, {"rate_hz": float("nan")}])
def test_bad_arguments_are_named(arguments):
    with pytest.raises(UserError, match="seed 1 |duration|rate"):
        next(simulate(**{"seed": 1, "duration_s": 1.0, "rate_hz": 1.0, **arguments}))


def test_command_writes_arrays_once(renderer, tmp_path, capsys):
    arguments = ["simulate", "--seeds", "5:7", "--duration", "0.4", "--rate", "5", "--size", "176x64",
                 "--format", "arrays", "--output", str(tmp_path)]
    assert cli.main(arguments) == 0
    drive = DriveCache(tmp_path / "drive_00005")
    assert len(drive) == 2 and drive.images.shape == (2, 6, 64, 176, 3)
    assert drive.camera_names == default_rig().names
    assert cli.main(arguments) == 0
    assert "2 of 2 drives exist already" in capsys.readouterr().out


def test_command_writes_a_bag_that_reads_back(renderer, tmp_path):
    from sparse4d_ros.data.bag_reader import BagDrive

    assert cli.main(["simulate", "--seeds", "10005", "--split", "val", "--duration", "0.6", "--rate", "5",
                     "--size", "176x64", "--output", str(tmp_path)]) == 0
    read = list(BagDrive(tmp_path / "drive_10005"))
    made = list(simulate(10005, 0.6, 5.0, (176, 64), "val"))
    assert [item.frame.stamp_ns for item in read] == [item.frame.stamp_ns for item in made]
    for there, here in zip(read, made, strict=True):
        np.testing.assert_allclose(there.objects.boxes, here.objects.boxes, atol=1e-6)
        assert there.objects.names == here.objects.names
        for a, b in zip(there.frame.cameras, here.frame.cameras, strict=True):
            assert a.name == b.name and a.stamp_ns == b.stamp_ns
            np.testing.assert_allclose(a.camera_from_vehicle, b.camera_from_vehicle, atol=1e-3)
            assert np.abs(a.image.astype(int) - b.image).mean() < 6.0


@pytest.mark.parametrize(("option", "value", "named"), [
    ("--seeds", "10000", "10000"), ("--seeds", "9:3", "9:3"), ("--size", "big", "big"), ("--rate", "-1", "-1"),
    ("--jobs", "0", "--jobs is 0")])
def test_command_refuses_bad_input(tmp_path, capsys, option, value, named):
    arguments = {"--seeds": "5", "--output": str(tmp_path / "out"), option: value}
    try:
        code = cli.main(["simulate", *[f"{key}={text}" for key, text in arguments.items()]])
    except SystemExit as stop:  # argparse's own way
        code = stop.code
    assert code == 2
    assert named in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
