"""A bag that grows: one bag of several files, whole up to its last part whatever ends it."""

from __future__ import annotations

import shutil
from collections import namedtuple
from types import SimpleNamespace

import bag_cases
import numpy as np
import pytest
from test_full_disk import full_after

from sparse4d_ros.data import bag_files, growing_bag
from sparse4d_ros.data.bag_reader import BagDrive
from sparse4d_ros.data.bag_writer import write_bag
from sparse4d_ros.data.growing_bag import GrowingBag
from sparse4d_ros.errors import UserError

FRAMES = 6


@pytest.fixture(autouse=True)
def steady(monkeypatch):
    """The steady clock stands unless a test lets it run: parts end by log times alone."""
    clock = SimpleNamespace(ns=0)
    monkeypatch.setattr(growing_bag, "monotonic_ns", lambda: clock.ns)
    return clock


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("bags") / "source"
    write_bag(path, bag_cases.frames(FRAMES), bag_cases.rig())
    return path


@pytest.fixture
def messages(source):
    with bag_files.open_bag(source) as reader:
        yield [(item.topic, item.msgtype, log_ns, bytes(raw))
               for item, log_ns, raw in bag_files.messages(reader, reader.connections)]


def write(bag, messages):
    for topic, kind, log_ns, raw in messages:
        bag.write(topic, kind, log_ns, raw, latched=topic == "/tf_static")


def test_several_files_are_one_bag(source, messages, tmp_path):
    with GrowingBag(tmp_path / "drive", part_s=0.45) as bag:
        write(bag, messages)
    assert bag.parts == 3 and bag.size == sum(len(raw) for *_, raw in messages)
    assert sorted(path.name for path in bag.path.iterdir()) == [
        "drive_0.mcap", "drive_1.mcap", "drive_2.mcap", "metadata.yaml"]
    for before, after in zip(BagDrive(source), BagDrive(bag.path), strict=True):
        assert before.frame.stamp_ns == after.frame.stamp_ns
        assert np.array_equal(before.frame.fixed_from_vehicle, after.frame.fixed_from_vehicle)
        assert all(np.array_equal(a.image, b.image)
                   for a, b in zip(before.frame.cameras, after.frame.cameras, strict=True))
    with bag_files.open_bag(source) as one, bag_files.open_bag(bag.path) as many:
        assert {name: info.msgcount for name, info in many.topics.items()} == {
            name: info.msgcount for name, info in one.topics.items()}
        assert (many.start_time, many.duration, many.message_count) == (
            one.start_time, one.duration, one.message_count)
        qos = {item.topic: item.ext.offered_qos_profiles[0].durability.name for item in many.connections}
        assert qos["/tf_static"] == "TRANSIENT_LOCAL" and qos["/tf"] == "VOLATILE"


def test_what_is_finished_can_be_read_while_the_rest_is_written(messages, tmp_path):
    with GrowingBag(tmp_path / "drive", part_s=0.45) as bag:
        write(bag, messages[:-1])
        assert bag.parts == 2
        shutil.copytree(bag.path, tmp_path / "after_a_power_cut")
        assert 0 < len(BagDrive(tmp_path / "after_a_power_cut")) < FRAMES


def test_a_disk_that_takes_no_more_costs_the_part_that_was_being_written(messages, tmp_path):
    generator = np.random.default_rng(0)
    with pytest.raises(UserError, match="drive_2 was not written: .*; what was recorded before this file is in "):
        with full_after(400_000), GrowingBag(tmp_path / "drive", part_s=0.45) as bag:
            write(bag, messages)
            last_ns = messages[-1][2]
            for _ in range(5):  # does not shrink, and more than a chunk
                write(bag, [("/noise", "std_msgs/msg/String", last_ns, generator.bytes(300_000))])
    assert sorted(path.name for path in bag.path.iterdir()) == ["drive_0.mcap", "drive_1.mcap", "metadata.yaml"]
    assert 0 < len(BagDrive(bag.path)) < FRAMES


def test_a_disk_that_is_nearly_full_ends_the_recording_with_everything_in_it(messages, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    free = iter([5e9, 1.9e9])
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(1e12, 1e12, next(free)))
    with pytest.raises(UserError, match=r"nearly full: 1\.9 GB are free and 2\.0 GB shall stay so"):
        with GrowingBag(tmp_path / "drive", keep_free=2_000_000_000) as bag:
            write(bag, messages)
    with bag_files.open_bag(bag.path) as reader:
        count = sum(log_ns - messages[0][2] < 1_000_000_000 for _, _, log_ns, _ in messages)
        assert 0 < count == reader.message_count < len(messages)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(1e12, 1e12, 1e9))
    with pytest.raises(UserError, match="nearly full"), GrowingBag(tmp_path / "other", keep_free=2e9) as bag:
        write(bag, messages)
    assert not bag.path.exists()  # nothing fitted


def test_parts_end_and_the_disk_is_looked_at_while_log_times_stand_still(messages, tmp_path, monkeypatch, steady):
    usage, looks = namedtuple("usage", "total used free"), []
    monkeypatch.setattr(shutil, "disk_usage", lambda path: looks.append(steady.ns) or usage(1e12, 1e12, 1e12))
    topic, kind, log_ns, raw = messages[-1]
    with GrowingBag(tmp_path / "drive", part_s=2.0) as bag:
        for second in range(6):
            steady.ns = second * 1_000_000_000
            bag.write(topic, kind, log_ns, raw)
    assert bag.parts == 3 and len(looks) == 6


def test_an_error_of_the_caller_keeps_what_was_recorded(messages, tmp_path):
    with pytest.raises(KeyError), GrowingBag(tmp_path / "drive") as bag:
        write(bag, messages)
        raise KeyError("of the caller")
    assert len(BagDrive(bag.path)) == FRAMES


def test_an_older_folder_is_refused_and_nothing_recorded_leaves_nothing(tmp_path):
    with pytest.raises(UserError, match="exists already"), GrowingBag(tmp_path):
        pass
    with GrowingBag(tmp_path / "drive"):
        pass
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="Not a directory"), GrowingBag(tmp_path / "file" / "drive"):
        pass
