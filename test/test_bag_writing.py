"""What lies in a bag that we wrote, and that it is there whole or not at all."""

from __future__ import annotations

import bag_cases
import numpy as np
import pytest

from sparse4d_ros import geometry
from sparse4d_ros.data import bag_files, images, ros_messages
from sparse4d_ros.data.bag_reader import BagDrive
from sparse4d_ros.data.bag_writer import BagWriter, write_bag
from sparse4d_ros.errors import UserError


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    return bag_cases.write(tmp_path_factory.mktemp("bags") / "drive", 4)


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


def test_jpeg_bytes_are_kept(tmp_path):
    item = bag_cases.frame(0)
    encoded = {camera.name: images.encode_jpeg(camera.image, 50) for camera in item.frame.cameras}
    with BagWriter(tmp_path / "bag", bag_cases.rig()) as writer:
        writer.add(item, encoded)
    with bag_files.open_bag(tmp_path / "bag") as reader:
        connection = next(c for c in reader.connections if c.topic == "/camera/back/image/compressed")
        (_, _, raw), = bag_files.messages(reader, [connection])
        assert bytes(bag_files.deserialize(reader, connection, raw).data) == encoded["back"]


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


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_what_is_no_bag_is_never_overwritten(tmp_path, kind):
    path = tmp_path / "precious"
    if kind == "folder":
        path.mkdir()
    (path / "thesis.tex" if kind == "folder" else path).write_text("years of work")
    with pytest.raises(UserError, match="precious exists and is no rosbag2"):
        write_bag(path, bag_cases.frames(1), bag_cases.rig(), overwrite=True)
    assert (path / "thesis.tex" if kind == "folder" else path).read_text() == "years of work"


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
