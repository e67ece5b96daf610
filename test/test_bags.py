"""Bags: what is written comes back, from MCAP and sqlite3."""

from __future__ import annotations

import dataclasses

import bag_cases
import cv2
import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin

from sparse4d_ros import geometry
from sparse4d_ros.boxes import NUSCENES_CLASSES
from sparse4d_ros.data import ros_messages
from sparse4d_ros.data.bag_reader import BagDrive
from sparse4d_ros.data.bag_writer import write_bag
from sparse4d_ros.resources import share_path

FRAMES = 4


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    return bag_cases.write(tmp_path_factory.mktemp("bags") / "drive", FRAMES, jpeg_quality=95)


def assert_equal(read, written):
    assert read.frame.stamp_ns == written.frame.stamp_ns
    np.testing.assert_allclose(read.frame.fixed_from_vehicle, written.frame.fixed_from_vehicle, atol=1e-6)
    assert [c.name for c in read.frame.cameras] == [c.name for c in written.frame.cameras]
    for got, expected in zip(read.frame.cameras, written.frame.cameras, strict=True):
        assert got.stamp_ns == expected.stamp_ns
        np.testing.assert_array_equal(got.intrinsic, expected.intrinsic)
        np.testing.assert_allclose(got.camera_from_vehicle, expected.camera_from_vehicle, atol=1e-6)
        difference = np.abs(got.image.astype(int) - expected.image.astype(int))
        assert difference.mean() < 2.0
    assert read.objects.names == written.objects.names
    np.testing.assert_array_equal(read.objects.instance_ids, written.objects.instance_ids)
    np.testing.assert_allclose(read.objects.boxes, written.objects.boxes, atol=1e-6)
    np.testing.assert_allclose(read.objects.visibility, written.objects.visibility, atol=1e-6)


def test_what_is_written_comes_back(bag):
    drive = BagDrive(bag)
    assert len(drive) == FRAMES
    assert drive.has_ground_truth
    assert drive.skipped == {"incomplete": 0, "no transform": 0}
    for _ in range(2):  # a drive can be read again
        read = list(drive)
        assert len(read) == FRAMES
        for index, item in enumerate(read):
            assert_equal(item, bag_cases.frame(index))


def test_sqlite3_reads_the_same(bag, tmp_path):
    copy = bag_cases.rewrite(bag, tmp_path / "sqlite", StoragePlugin.SQLITE3)
    assert list(copy.glob("*.db3"))
    for index, item in enumerate(BagDrive(copy)):
        assert_equal(item, bag_cases.frame(index))


def test_a_single_mcap_file_reads_without_its_folder(bag):
    assert len(BagDrive(next(bag.glob("*.mcap")))) == FRAMES


def test_raw_images_read_as_well(bag, tmp_path):
    def to_raw(topic, message, log_ns):
        if not topic.endswith("/compressed"):
            return message.__msgtype__, message, log_ns
        image = cv2.cvtColor(cv2.imdecode(message.data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        return ros_messages.IMAGE, ros_messages.new(
            ros_messages.IMAGE, header=message.header, height=64, width=96, encoding="rgb8", is_bigendian=0,
            step=96 * 3, data=image.reshape(-1)), log_ns

    copy = bag_cases.rewrite(bag, tmp_path / "raw", change=to_raw)
    # The topics keep their names with "/compressed": names do not decide how an image is read.
    for index, item in enumerate(BagDrive(copy)):
        assert_equal(item, bag_cases.frame(index))


def test_cameras_by_topic_and_order(bag):
    drive = BagDrive(bag, {"rear": "/camera/back/image/compressed", "main": "/camera/front/image/compressed"},
                     reference_camera="main")
    item = next(iter(drive))
    assert [camera.name for camera in item.frame.cameras] == ["rear", "main"]
    assert item.frame.stamp_ns == bag_cases.START_NS
    assert len(BagDrive(bag, ["back", "front"], reference_camera="front")) == FRAMES


def test_incomplete_sets_are_counted_or_kept_on_request(bag, tmp_path):
    lost_ns = bag_cases.frame(1).frame.cameras[3].stamp_ns

    def lose_one(topic, message, log_ns):
        lost = topic.startswith("/camera/back/image") and ros_messages.stamp_ns(message.header.stamp) == lost_ns
        return None if lost else (message.__msgtype__, message, log_ns)

    copy = bag_cases.rewrite(bag, tmp_path / "lossy", change=lose_one)
    drive = BagDrive(copy)
    assert len(list(drive)) == len(drive) == FRAMES - 1
    assert drive.skipped["incomplete"] == 1
    kept = list(BagDrive(copy, min_cameras=5))
    assert len(kept) == FRAMES
    assert [camera.name for camera in kept[1].frame.cameras if camera.image is None] == ["back"]


def test_a_lost_picture_of_a_camera_that_moves_needs_its_transform_too(bag, tmp_path):
    lost_ns = bag_cases.frame(1).frame.cameras[3].stamp_ns
    mountings = []

    def swivel(topic, message, log_ns):
        if topic.startswith("/camera/back/image") and ros_messages.stamp_ns(message.header.stamp) >= lost_ns:
            return None
        if topic == "/tf_static":
            mountings.extend(item for item in message.transforms if item.child_frame_id == "back_optical_frame")
            message.transforms = [item for item in message.transforms if item not in mountings]
        elif topic == "/tf" and ros_messages.stamp_ns(message.transforms[0].header.stamp) < lost_ns - 50_000_000:
            message.transforms.append(dataclasses.replace(mountings[0], header=message.transforms[0].header))
        return message.__msgtype__, message, log_ns

    drive = BagDrive(bag_cases.rewrite(bag, tmp_path / "swivel", change=swivel), min_cameras=5)
    assert len(list(drive)) == len(drive) == 1 and drive.skipped["no transform"] == FRAMES - 1


def test_images_outside_the_transforms_are_skipped_and_counted(bag, tmp_path):
    late_ns = bag_cases.frame(FRAMES - 1).frame.stamp_ns

    def cut_tf(topic, message, log_ns):
        cut = topic == "/tf" and ros_messages.stamp_ns(message.transforms[0].header.stamp) >= late_ns
        return None if cut else (message.__msgtype__, message, log_ns)

    drive = BagDrive(bag_cases.rewrite(bag, tmp_path / "short_tf", change=cut_tf))
    assert len(drive) == FRAMES - 1
    assert drive.skipped["no transform"] == 1


def test_no_ground_truth_gives_none(bag, tmp_path):
    drive = BagDrive(bag_cases.without(bag, tmp_path / "plain", lambda topic: topic.startswith("/ground_truth")))
    assert not drive.has_ground_truth
    assert all(item.objects is None for item in drive)


def test_unknown_velocity_survives(tmp_path):
    item = bag_cases.frame(0)
    boxes = item.objects.boxes.copy()
    boxes[0, 7:] = np.nan
    item = dataclasses.replace(item, objects=dataclasses.replace(item.objects, boxes=boxes))
    write_bag(tmp_path / "bag", [item], bag_cases.rig())
    np.testing.assert_allclose(next(iter(BagDrive(tmp_path / "bag"))).objects.boxes, boxes, atol=1e-6)


def test_the_shipped_drive_has_what_the_demo_needs():
    folder = share_path("models", "sparse4d_small", "demo_drive")
    assert sum(file.stat().st_size for file in folder.iterdir()) < 12e6
    drive = BagDrive(folder)
    assert len(drive) == 100
    assert drive.camera_names == bag_cases.CAMERA_ORDER
    assert drive.skipped == {"incomplete": 0, "no transform": 0}
    names, poses = set(), []
    for item in drive:
        names.update(item.objects.names)
        poses.append(item.frame.fixed_from_vehicle)
        assert all(camera.image.shape == (256, 704, 3) for camera in item.frame.cameras)
    assert names == set(NUSCENES_CLASSES)
    assert np.linalg.norm(np.diff([pose[:3, 3] for pose in poses], axis=0), axis=1).sum() > 100.0
    assert np.ptp(np.unwrap([geometry.yaw_of(pose) for pose in poses])) > 1.0
