"""Bags: what is written comes back, from MCAP and sqlite3, and damage is named."""

from __future__ import annotations

import dataclasses
import logging

import bag_cases
import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rosbags.rosbag2 import StoragePlugin

from sparse4d_ros import geometry
from sparse4d_ros.boxes import NUSCENES_CLASSES
from sparse4d_ros.data import bag_files, camera_sets, images, ros_messages
from sparse4d_ros.data.bag_output import GROUND_TRUTH_TOPIC
from sparse4d_ros.data.bag_reader import BagDrive
from sparse4d_ros.data.bag_writer import BagWriter, write_bag
from sparse4d_ros.data.transforms import PoseTable, TransformTree
from sparse4d_ros.errors import UserError
from sparse4d_ros.resources import share_path

FRAMES = 4


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    path = tmp_path_factory.mktemp("bags") / "drive"
    assert write_bag(path, bag_cases.frames(FRAMES), bag_cases.rig(), jpeg_quality=95) == FRAMES
    return path


def without(source, target, unwanted):
    """The bag without the topics for which ``unwanted(topic)``."""
    return bag_cases.rewrite(source, target, change=lambda topic, message, log_ns: (
        None if unwanted(topic) else (message.__msgtype__, message, log_ns)))


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


def test_log_times_rise_and_follow_the_stamps(bag):
    last = 0
    with bag_files.open_bag(bag) as reader:
        for connection, log_ns, raw in bag_files.messages(reader, reader.connections):
            assert log_ns >= last
            last = log_ns
            if connection.topic.startswith("/camera"):
                assert log_ns > bag_files.header_stamp_ns(raw)


def test_poses_come_at_least_every_20_ms(bag):
    stamps = []
    with bag_files.open_bag(bag) as reader:
        selected = [c for c in reader.connections if c.topic == "/tf"]
        for connection, _, raw in bag_files.messages(reader, selected):
            message = bag_files.deserialize(reader, connection, raw)
            stamps += [ros_messages.stamp_ns(item.header.stamp) for item in message.transforms]
    assert stamps == sorted(set(stamps))
    assert max(np.diff(stamps)) <= 20_000_000


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


def test_jpeg_bytes_are_kept(tmp_path):
    item = bag_cases.frame(0)
    encoded = {camera.name: images.encode_jpeg(camera.image, 50) for camera in item.frame.cameras}
    with BagWriter(tmp_path / "bag", bag_cases.rig()) as writer:
        writer.add(item, encoded)
    with bag_files.open_bag(tmp_path / "bag") as reader:
        connection = next(c for c in reader.connections if c.topic == "/camera/back/image/compressed")
        (_, _, raw), = bag_files.messages(reader, [connection])
        assert bytes(bag_files.deserialize(reader, connection, raw).data) == encoded["back"]


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


def test_images_outside_the_transforms_are_skipped_and_counted(bag, tmp_path):
    late_ns = bag_cases.frame(FRAMES - 1).frame.stamp_ns

    def cut_tf(topic, message, log_ns):
        cut = topic == "/tf" and ros_messages.stamp_ns(message.transforms[0].header.stamp) >= late_ns
        return None if cut else (message.__msgtype__, message, log_ns)

    drive = BagDrive(bag_cases.rewrite(bag, tmp_path / "short_tf", change=cut_tf))
    assert len(drive) == FRAMES - 1
    assert drive.skipped["no transform"] == 1


def test_no_ground_truth_gives_none(bag, tmp_path):
    drive = BagDrive(without(bag, tmp_path / "plain", lambda topic: topic.startswith("/ground_truth")))
    assert not drive.has_ground_truth
    assert all(item.objects is None for item in drive)


@pytest.mark.parametrize(("unwanted", "words"), [
    (lambda topic: topic == "/camera/back/camera_info", ["'back'", "/camera/back/camera_info"]),
    (lambda topic: topic == "/tf", ["'odom'", "'base_link'"]),
    (lambda topic: topic == "/tf_static", ["'base_link'", "'front_optical_frame'"]),
    (lambda topic: "/image" in topic, ["no camera"]),
])
def test_missing_topics_are_named(bag, tmp_path, unwanted, words):
    copy = without(bag, tmp_path / "copy", unwanted)
    with pytest.raises(UserError) as caught:
        BagDrive(copy)
    for word in [*words, str(copy)]:
        assert word in str(caught.value)


def test_a_camera_that_the_bag_lacks_is_named(bag):
    with pytest.raises(UserError, match="'side'"):
        BagDrive(bag, ["front", "side"])
    with pytest.raises(UserError, match="/cam0/image_raw"):
        BagDrive(bag, {"front": "/cam0/image_raw"})


def test_a_broken_picture_is_named_with_topic_and_stamp(bag, tmp_path):
    def break_one(topic, message, log_ns):
        if topic == "/camera/back/image/compressed":
            message.data = np.zeros(100, dtype=np.uint8)
        return message.__msgtype__, message, log_ns

    with pytest.raises(UserError, match="/camera/back/image/compressed at 17"):
        list(BagDrive(bag_cases.rewrite(bag, tmp_path / "copy", change=break_one)))


def test_changing_calibration_is_refused_and_distortion_warned_about(bag, tmp_path, caplog):
    def distort(topic, message, log_ns):
        if topic == "/camera/front/camera_info":
            message.d = np.array([0.1, 0.0, 0.0, 0.0, 0.0])
        return message.__msgtype__, message, log_ns

    with caplog.at_level(logging.WARNING):
        BagDrive(bag_cases.rewrite(bag, tmp_path / "distorted", change=distort))
    assert len([record for record in caplog.records if "'front' has lens distortion" in record.getMessage()]) == 1

    def zoom(topic, message, log_ns):
        if topic == "/camera/front/camera_info" and ros_messages.stamp_ns(message.header.stamp) > bag_cases.START_NS:
            message.k = message.k * 2
        return message.__msgtype__, message, log_ns

    with pytest.raises(UserError, match="'front' changes"):
        BagDrive(bag_cases.rewrite(bag, tmp_path / "zoomed", change=zoom))


def test_ground_truth_of_another_frame_is_refused(bag, tmp_path):
    def rename(topic, message, log_ns):
        if topic == "/ground_truth/objects":
            message.header.frame_id = "map"
        return message.__msgtype__, message, log_ns

    with pytest.raises(UserError, match="'map'"):
        BagDrive(bag_cases.rewrite(bag, tmp_path / "copy", change=rename))


def test_transforms_in_a_loop_and_broken_ones_are_named(bag, tmp_path):
    def loop(topic, message, log_ns):
        if topic == "/tf_static":
            message.transforms[0].child_frame_id, message.transforms[0].header.frame_id = "odom", "base_link"
        return message.__msgtype__, message, log_ns

    with pytest.raises(UserError, match="form a loop"):
        BagDrive(bag_cases.rewrite(bag, tmp_path / "loop", change=loop))

    def shrink(topic, message, log_ns):
        if topic == "/tf":
            message.transforms[0].transform.rotation.w = 0.5
        return message.__msgtype__, message, log_ns

    with pytest.raises(UserError, match="/tf: the quaternion has length"):
        BagDrive(bag_cases.rewrite(bag, tmp_path / "shrunk", change=shrink))


def test_a_missing_bag_and_an_unfinished_one_are_named(tmp_path):
    with pytest.raises(UserError, match="no bag at"):
        BagDrive(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no metadata.yaml"):
        BagDrive(tmp_path / "empty")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_bag_is_one_sentence(bag, tmp_path, share):
    file = next(bag.glob("*.mcap"))
    cut = tmp_path / file.name
    cut.write_bytes(file.read_bytes()[:int(file.stat().st_size * share)])
    with pytest.raises(UserError, match="cannot be read as a rosbag2"):
        BagDrive(cut)


def test_random_damage_is_a_user_error_or_readable(bag, tmp_path):
    whole = next(bag.glob("*.mcap")).read_bytes()
    generator = np.random.default_rng(3)
    damaged = tmp_path / "damaged.mcap"
    refused = 0
    for _ in range(30):
        data = bytearray(whole)
        for position in generator.integers(0, len(data), 20):
            data[position] = generator.integers(256)
        damaged.write_bytes(data)
        try:
            list(BagDrive(damaged))
        except UserError:
            refused += 1
    assert refused > 0


def test_a_damaged_compressed_chunk_is_a_user_error(bag, tmp_path):
    data = bytearray(next(bag.glob("*.mcap")).read_bytes())
    begin = data.index(b"\x28\xb5\x2f\xfd")  # Zstandard's first bytes
    data[begin + 10:begin + 500] = bytes(490)
    (tmp_path / "damaged.mcap").write_bytes(data)
    with pytest.raises(UserError, match="damaged.mcap cannot be read as a rosbag2"):
        list(BagDrive(tmp_path / "damaged.mcap"))


def test_a_track_id_beyond_64_bits_with_sign_is_a_user_error(bag, tmp_path):
    def change(topic, message, log_ns):
        if topic == GROUND_TRUTH_TOPIC:
            message.objects[0].track_id = 2**64 - 1
        return message.__msgtype__, message, log_ns

    with pytest.raises(UserError, match=f"{GROUND_TRUTH_TOPIC}: .*too large"):
        BagDrive(bag_cases.rewrite(bag, tmp_path / "ids", change=change))


def test_the_bag_appears_only_when_it_is_whole(tmp_path):
    def failing():
        yield bag_cases.frame(0)
        raise RuntimeError("the renderer died")

    with pytest.raises(RuntimeError):
        write_bag(tmp_path / "bag", failing(), bag_cases.rig())
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UserError, match="no frames"):
        write_bag(tmp_path / "bag", [], bag_cases.rig())
    assert list(tmp_path.iterdir()) == []


def test_an_existing_bag_is_replaced_only_on_request_and_at_the_end(tmp_path):
    path = tmp_path / "bag"
    write_bag(path, bag_cases.frames(2), bag_cases.rig())
    with pytest.raises(UserError, match="exists already"):
        write_bag(path, bag_cases.frames(1), bag_cases.rig())
    with pytest.raises(UserError, match="no frames"):
        write_bag(path, [], bag_cases.rig(), overwrite=True)
    assert len(BagDrive(path)) == 2
    write_bag(path, bag_cases.frames(1), bag_cases.rig(), overwrite=True)
    assert len(BagDrive(path)) == 1
    assert [item.name for item in tmp_path.iterdir()] == ["bag"]


def test_frames_that_contradict_rig_or_order_are_refused(tmp_path):
    rig = bag_cases.rig()
    turned = {**rig, "front": geometry.from_yaw(0, 0, 0, 0.1) @ rig["front"]}
    incomplete = {name: pose for name, pose in rig.items() if name != "back"}
    with pytest.raises(ValueError, match="no camera 'back'"):
        write_bag(tmp_path / "bag", bag_cases.frames(1), incomplete)
    with pytest.raises(ValueError, match="'front' .* contradicts the rig"):
        write_bag(tmp_path / "bag", bag_cases.frames(1), turned)
    with pytest.raises(ValueError, match="not later"):
        write_bag(tmp_path / "bag", [bag_cases.frame(1), bag_cases.frame(0)], bag_cases.rig())


def test_unknown_velocity_survives(tmp_path):
    item = bag_cases.frame(0)
    boxes = item.objects.boxes.copy()
    boxes[0, 7:] = np.nan
    item = dataclasses.replace(item, objects=dataclasses.replace(item.objects, boxes=boxes))
    write_bag(tmp_path / "bag", [item], bag_cases.rig())
    np.testing.assert_allclose(next(iter(BagDrive(tmp_path / "bag"))).objects.boxes, boxes, atol=1e-6)


# Poses and sets

stamps = st.integers(0, 10**10)


@given(st.dictionaries(stamps, st.tuples(*[st.floats(-100, 100)] * 3, st.floats(-3, 3)), min_size=1, max_size=12),
       st.data())
def test_pose_table_interpolates_between_neighbours_only(entries, data):
    table = PoseTable()
    order = data.draw(st.permutations(list(entries)))
    for stamp in order:
        table.add(stamp, geometry.from_yaw(*entries[stamp]))
    known = sorted(entries)
    for stamp in known:
        np.testing.assert_array_equal(table.at(stamp), geometry.from_yaw(*entries[stamp]))
    at = data.draw(stamps)
    assert table.covers(at) == (known[0] <= at <= known[-1])
    if not table.covers(at):
        with pytest.raises(LookupError, match=str(at)):
            table.at(at)
        return
    pose = geometry.check_rigid(table.at(at), "pose")
    before, after = max(s for s in known if s <= at), min(s for s in known if s >= at)
    share = (at - before) / (after - before) if after > before else 0.0
    expected = (1 - share) * np.array(entries[before][:3]) + share * np.array(entries[after][:3])
    np.testing.assert_allclose(pose[:3, 3], expected, atol=1e-6)


def test_transform_tree_chains_static_and_moving_links():
    tree = TransformTree()
    tree.add("map", "odom", 0, geometry.from_yaw(5, 0, 0, 0))
    tree.add("map", "odom", 100, geometry.from_yaw(5, 0, 0, 0))
    for stamp in (0, 100):
        tree.add("/odom", "base_footprint", stamp, geometry.from_yaw(stamp / 100, 0, 0, np.pi / 2))
    tree.add_static("base_footprint", "base_link", geometry.from_yaw(0, 0, 0.3, 0))
    tree.add_static("base_link", "camera", geometry.from_yaw(2, 0, 0, 0))
    np.testing.assert_allclose(tree.lookup("odom", "camera", 50)[:3, 3], [0.5, 2, 0.3], atol=1e-12)
    np.testing.assert_allclose(
        tree.lookup("camera", "odom", 50), geometry.inverse(tree.lookup("odom", "camera", 50)), atol=1e-12)
    np.testing.assert_allclose(tree.lookup("base_link", "camera", 10**9)[:3, 3], [2, 0, 0])  # static: at any time
    assert tree.covers("odom", "camera", 100)
    assert not tree.covers("odom", "camera", 101)
    with pytest.raises(LookupError, match="odom -> base_footprint"):
        tree.lookup("odom", "camera", 101)
    assert not tree.connected("odom", "elsewhere")
    with pytest.raises(LookupError, match="elsewhere"):
        tree.lookup("odom", "elsewhere", 0)
    with pytest.raises(ValueError, match="two parents"):
        tree.add("world", "base_footprint", 0, np.eye(4))


camera_stamps = st.lists(st.integers(0, 2000), max_size=25)


@given(st.fixed_dictionaries({name: camera_stamps for name in "abc"}), st.integers(0, 300))
def test_sets_use_each_image_once_and_near_its_reference(stamps_ns, spread):
    sets = camera_sets.group(stamps_ns, "a", spread)
    assert [members["a"] for members in sets] == sorted(set(stamps_ns["a"]))
    for camera in "bc":
        used = [members[camera] for members in sets if camera in members]
        assert len(used) == len(set(used))
        assert set(used) <= set(stamps_ns[camera])
        assert used == sorted(used)
    for members in sets:
        for camera, stamp in members.items():
            distance = abs(stamp - members["a"])
            assert distance <= spread
            assert distance == min(abs(stamp - other["a"]) for other in sets)
            assert distance == min(abs(other - members["a"]) for other in stamps_ns[camera])


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
