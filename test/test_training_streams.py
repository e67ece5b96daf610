"""Batches: order, memory flags, and augmentation that moves pictures, matrices, boxes and poses as one."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import training_drives  # noqa: E402

from sparse4d_ros import boxes as box  # noqa: E402
from sparse4d_ros.errors import UserError  # noqa: E402
from sparse4d_ros.geometry import check_rigid, inverse  # noqa: E402
from sparse4d_ros.training.anchors import initial_anchors  # noqa: E402
from sparse4d_ros.training.augmentation import SceneAugmentation, warp_image, warp_labels  # noqa: E402
from sparse4d_ros.training.config import AugmentationConfig, StreamConfig  # noqa: E402
from sparse4d_ros.training.drive_folder import DriveFolder  # noqa: E402
from sparse4d_ros.training.grid_mask import draw_grid_mask  # noqa: E402
from sparse4d_ros.training.streams import MEAN, STD, Streams, normalise  # noqa: E402

SIZE = (176, 64)
STREAMS = StreamConfig(batch_size=2, intervals_s=(0.1, 0.2), clip_frames=5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return training_drives.write(tmp_path_factory.mktemp("drives"), drives=3, count=16, size=SIZE)


def streams_of(folder, augmentation=None, config=STREAMS, size=SIZE, seed=0):
    return Streams(DriveFolder(folder, box.NUSCENES_CLASSES), size, config, augmentation, seed)


def hits(batch, near_m=18.0):
    """How many object centres in view fall on a cell of their own class, of how many."""
    right = total = 0
    height, width = batch.semantics.shape[-2:]
    for row in range(len(batch.dt)):
        valid = batch.targets.valid[row]
        centres, classes = batch.targets.anchors[row, valid, :3], batch.targets.classes[row, valid]
        for camera in range(batch.projection.shape[1]):
            matrix = batch.projection[row, camera]
            point = centres @ matrix[:3, :3].T + matrix[:3, 3]
            pixel = point[:, :2] / point[:, 2:]
            column, line = (pixel[:, 0] / 4).long(), (pixel[:, 1] / 4).long()
            seen = (point[:, 2] > 2) & (point[:, 2] < near_m)
            seen &= (pixel >= 4).all(1) & (column < width - 1) & (line < height - 1)
            right += int((batch.semantics[row, camera, line[seen], column[seen]] == classes[seen]).sum())
            total += int(seen.sum())
    return right, total


@pytest.mark.parametrize("augmentation", [
    None,
    AugmentationConfig(flip_probability=1.0, rotation_rad=0.0, resize=(1.0, 1.0), shift_fraction=0.0),
    AugmentationConfig(flip_probability=0.0, rotation_rad=1.0, resize=(1.0, 1.0), shift_fraction=0.0),
    AugmentationConfig(flip_probability=0.5, rotation_rad=0.4, resize=(0.9, 1.2), shift_fraction=0.1),
])
def test_boxes_project_onto_their_own_pixels(folder, augmentation):
    streams = streams_of(folder, augmentation)
    right, total = np.sum([hits(next(streams)) for _ in range(12)], axis=0)
    assert total > 60
    assert right / total > 0.85  # the rest is hidden behind another object


@pytest.mark.parametrize("augmentation", [
    None, AugmentationConfig(flip_probability=1.0, rotation_rad=0.7), AugmentationConfig(flip_probability=0.0),
])
def test_objects_move_as_their_velocity_and_the_ego_motion_say(folder, augmentation):
    streams, compared = streams_of(folder, augmentation), 0
    previous = next(streams)
    for _ in range(12):
        batch = next(streams)
        for row in range(2):
            if not batch.continues[row]:
                assert batch.dt[row] == 0 and torch.equal(batch.now_from_previous[row], torch.eye(4))
                continue
            check_rigid(batch.now_from_previous[row].numpy().astype(np.float64), "motion")
            before = dict(zip(previous.targets.instances[row].tolist(), previous.targets.anchors[row], strict=True))
            for number, anchor in zip(batch.targets.instances[row].tolist(), batch.targets.anchors[row], strict=True):
                if number < 0 or number not in before:
                    continue
                old, motion = before[number], batch.now_from_previous[row]
                moved = motion[:3, :3] @ (old[:3] + old[8:11] * batch.dt[row]) + motion[:3, 3]
                heading = motion[:2, :2] @ old[[7, 6]]
                assert torch.allclose(moved, anchor[:3], atol=1e-3)
                assert torch.allclose(heading, anchor[[7, 6]], atol=1e-4)
                compared += 1
        previous = batch
    assert compared > 50


def test_image_and_labels_move_by_the_same_matrix():
    augmentation = SceneAugmentation(flip=True, resize=1.3, shift=0.1)
    image, labels = np.zeros((64, 176, 3), np.uint8), np.full((16, 44), 255, np.uint8)
    image[20:24, 100:104], labels[5, 25] = 255, 7
    matrix = augmentation.image_matrix((176, 64), (352, 128))
    moved = warp_image(image, matrix, (352, 128))[..., 0]
    weight = moved.sum()
    centre = np.array([(moved.sum(0) * (np.arange(352) + 0.5)).sum(), (moved.sum(1) * (np.arange(128) + 0.5)).sum()])
    expected = (matrix @ [102.0, 22.0, 1.0, 0.0])[:2]
    assert centre / weight == pytest.approx(expected, abs=0.1)
    line, column = np.nonzero(warp_labels(labels, matrix, (352, 128), 4, 255) == 7)
    assert (column.mean() + 0.5) * 4 == pytest.approx(expected[0], abs=4)
    assert (line.mean() + 0.5) * 4 == pytest.approx(expected[1], abs=4)


def test_flipped_boxes_are_mirrored():
    moving = np.array([[10.0, 3.0, 1.0, 4.0, 2.0, 1.5, 0.4, 5.0, 1.0, 0.0]])
    assert SceneAugmentation(flip=True).boxes(moving)[0] == pytest.approx([10, -3, 1, 4, 2, 1.5, -0.4, 5, -1, 0])


def test_model_frame_projects_like_the_vehicle_frame():
    augmentation = SceneAugmentation(flip=True, rotation_rad=0.6)
    moving = np.array([[10.0, 3.0, 1.0, 4.0, 2.0, 1.5, 0.4, 5.0, 1.0, 0.0]])
    centre = np.append(augmentation.boxes(moving)[0, :3], 1.0)
    assert (augmentation.vehicle_from_model() @ centre)[:3] == pytest.approx(moving[0, :3])


def test_normalise_is_the_textbook_formula():
    image = torch.randint(0, 256, (1, 2, 4, 6, 3), dtype=torch.uint8)
    out = normalise(image, torch.tensor([[1.0, 1.0, 1.0]]), torch.zeros(1))
    rgb = image.numpy()[..., ::-1].astype(np.float64)
    expected = np.moveaxis((rgb - MEAN) / STD, -1, 2)
    assert np.abs(out.numpy() - expected).max() < 1e-5
    brighter = normalise(image, torch.tensor([[1.0, 1.0, 2.0]]), torch.tensor([10.0]))  # gain on red
    expected = np.moveaxis((rgb * [2.0, 1.0, 1.0] + 10.0 - MEAN) / STD, -1, 2)
    assert np.abs(brighter.numpy() - expected).max() < 1e-5


def test_clips_run_forward_through_one_drive(folder):
    streams = streams_of(folder)
    lengths, length = [], 0
    for _ in range(30):
        batch = next(streams)
        if batch.continues[0]:
            length += 1
            assert batch.dt[0].item() == pytest.approx(0.1, abs=1e-6) or batch.dt[0].item() == pytest.approx(0.2)
        else:
            lengths.append(length)
            length = 1
    assert max(lengths) == STREAMS.clip_frames and min(lengths[1:]) >= 2
    assert max(streams.uses.values()) - min(streams.uses.values()) <= 1


def test_new_drives_are_found_and_join_the_others(folder, tmp_path):
    for path in sorted(folder.iterdir())[:2]:
        (tmp_path / path.name).symlink_to(path)
    streams = streams_of(tmp_path)
    for _ in range(40):
        next(streams)
    old = dict(streams.uses)
    (tmp_path / "late").symlink_to(folder / "drive_002")
    for _ in range(15):
        next(streams)
    assert streams.uses["late"] >= min(old.values())


def test_state_continues_with_the_same_batches(folder):
    augmentation = dataclasses.replace(AugmentationConfig(), camera_dropout=0.5)
    streams = streams_of(folder, augmentation)
    for _ in range(7):
        next(streams)
    state = streams.state_dict()
    expected = [next(streams) for _ in range(6)]
    other = streams_of(folder, augmentation, seed=99)
    other.load_state_dict(state)
    for batch in expected:
        again = next(other)
        assert torch.equal(batch.images, again.images) and torch.equal(batch.projection, again.projection)
        assert torch.equal(batch.camera_valid, again.camera_valid)
        assert torch.equal(batch.targets.anchors, again.targets.anchors)


def test_far_and_hidden_objects_are_no_targets(folder):
    near = next(streams_of(folder, config=dataclasses.replace(STREAMS, radius_m=20.0))).targets
    assert near.valid.any()
    assert near.anchors[near.valid][:, :2].norm(dim=-1).max() <= 20.0
    cones = next(streams_of(folder, config=dataclasses.replace(STREAMS, class_radius_m={"car": 0.0}))).targets
    assert cones.valid.any() and not (cones.classes == box.NUSCENES_CLASSES.index("car")).any()
    nothing = next(streams_of(folder, config=dataclasses.replace(STREAMS, min_visibility=1.0))).targets
    assert not nothing.valid.any()


def test_camera_dropout_masks_one_camera(folder):
    batch = next(streams_of(folder, dataclasses.replace(AugmentationConfig(), camera_dropout=1.0)))
    assert batch.camera_valid.sum(1).tolist() == [5, 5]


def test_a_grid_of_hidden_squares_lies_on_all_pictures_of_a_frame(folder):
    plain = AugmentationConfig(flip_probability=0.0, rotation_rad=0.0, resize=(1.0, 1.0), shift_fraction=0.0,
                               grid_mask=0.0)
    shown = next(streams_of(folder, plain)).normalised()[0]
    hidden = next(streams_of(folder, dataclasses.replace(plain, grid_mask=1.0))).normalised()[0]
    gone = (hidden == 0).all((0, 1))  # in every camera and colour
    assert gone.any() and not gone.all()
    assert torch.equal(hidden, shown * ~gone)


def test_grid_masks_hide_a_quarter_in_squares_no_larger_than_half_the_picture():
    random, shares = np.random.default_rng(3), []
    for _ in range(300):
        hidden = ~draw_grid_mask(64, 176, random)
        assert hidden.shape == (64, 176)
        lines = hidden.any(1)
        np.testing.assert_array_equal(hidden, lines[:, None] & hidden.any(0))
        edges = np.flatnonzero(np.diff(np.concatenate([[0], lines.astype(int), [0]])))
        assert (edges[1::2] - edges[::2]).max(initial=0) <= 32
        shares.append(hidden.mean())
    assert np.mean(shares) == pytest.approx(0.25, abs=0.03)


def test_anchors_sit_where_objects_are(folder):
    drives = DriveFolder(folder, box.NUSCENES_CLASSES)
    anchors = initial_anchors(drives, 20, STREAMS, seed=0)
    assert anchors.shape == (20, 11) and np.isfinite(anchors).all()
    assert (anchors[:, box.COS_YAW] == 1).all() and (anchors[:, 8:] == 0).all()
    objects = np.concatenate([drives[n].table["object_box"] for n in drives.names()])
    nearest = np.linalg.norm(objects[:, None, :3] - anchors[None, :, :3], axis=-1).min(1)
    # Far better than leaving all anchors in the middle, the trivial alternative.
    assert nearest.mean() < 0.3 * np.linalg.norm(objects[:, :3] - objects[:, :3].mean(0), axis=-1).mean()
    assert np.exp(anchors[0, 3:6]) == pytest.approx(objects[:, 3:6].mean(0), rel=1e-5)


def test_too_few_objects_for_the_anchors(folder):
    with pytest.raises(UserError, match="100000 anchors"):
        initial_anchors(DriveFolder(folder, box.NUSCENES_CLASSES), 100000, STREAMS, seed=0)


def test_empty_folder_and_unknown_class_are_named(folder, tmp_path):
    with pytest.raises(UserError, match="has no drives"):
        DriveFolder(tmp_path, box.NUSCENES_CLASSES)
    with pytest.raises(UserError, match="class 'traffic_cone'"):
        next(streams_of(folder).__class__(DriveFolder(folder, box.NUSCENES_CLASSES[:-1]), SIZE, STREAMS, None, 0))


@pytest.mark.parametrize("of_names", [np.flip, lambda names: names[:5]])
def test_a_drive_of_other_cameras_is_refused_before_training(tmp_path, of_names):
    training_drives.write(tmp_path, drives=2, count=2, size=SIZE)
    table = dict(np.load(tmp_path / "drive_001" / "frames.npz"))
    np.savez(tmp_path / "drive_001" / "frames.npz", **table | {"camera_names": of_names(table["camera_names"])})
    drives = DriveFolder(tmp_path, box.NUSCENES_CLASSES)
    assert drives.camera_names == training_drives.CAMERAS
    with pytest.raises(UserError, match="drive_001 has the cameras .*, but .*drive_000 has front, front_right"):
        drives.require({})


def test_poses_of_the_model_frame_stay_rigid():
    augmentation = SceneAugmentation(flip=True, rotation_rad=0.3)
    first, second = (augmentation.fixed_from_model(training_drives.from_yaw(x, 1.0, 0.0, x / 9)) for x in (1.0, 4.0))
    check_rigid(inverse(second) @ first, "motion")
