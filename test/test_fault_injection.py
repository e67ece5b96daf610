"""Faults as functions from stream to stream: each does what it says, nothing else, and the same every time."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from injection_cases import (
    BEGIN_NS,
    CAMERAS,
    MESSAGE_FAULTS,
    MS,
    RECORDING,
    STREAM,
    broken,
    of,
    picture_topic,
    pictures,
    poses,
    specs,
    untouched,
)

from sparse4d_ros.data import faults, ros_messages
from sparse4d_ros.data.fault_injector import Injector

# All faults


def test_without_faults_nothing_changes():
    assert list(Injector(RECORDING).messages()) == STREAM


@settings(max_examples=40, deadline=None)
@given(st.lists(specs(), max_size=3), st.integers(0, 5))
def test_any_faults_leave_an_ordered_stream_of_readable_messages_and_do_so_again(wanted, seed):
    wanted = wanted if sum(item.name() == "clock_loop" for item in wanted) < 2 else wanted[:1]
    injector = Injector(RECORDING, wanted, seed)
    stream = list(injector.messages())
    assert all(one.due_ns <= other.due_ns for one, other in zip(stream, stream[1:], strict=False))
    for item in stream:
        assert item.kind == RECORDING.kinds[item.topic] and item.parsed() is not None
    assert list(Injector(RECORDING, wanted, seed).messages()) == stream
    counted = injector.counts.copy()
    assert list(injector.messages()) == stream  # a player that loops asks again
    assert injector.counts == counted + counted
    assert all(str(fault) in injector.report() for fault in wanted)


@settings(max_examples=60, deadline=None)
@given(specs(MESSAGE_FAULTS))
def test_a_fault_of_messages_leaves_alone_what_it_does_not_hit(fault):
    injector = Injector(RECORDING, [fault])
    stream = list(injector.messages())
    assert untouched(stream, *(topic for _, topic in injector.counts))
    before = [item for item in STREAM if item.due_ns / 1e9 < fault.from_]
    assert stream[:len(before)] == before


def test_chance_follows_the_seed():
    first, second = (broken("drop:probability=0.5", seed=seed)[0] for seed in (1, 2))
    assert first != second and 10 < len(STREAM) - len(first) < 50


def test_what_is_broken_is_said_once_a_second_and_counted():
    said = []
    injector = Injector(RECORDING, [faults.parse("drop:camera=front,from=0.5"), faults.parse("tf_stop:child=nothing")],
                        seed=3, say=said.append)
    list(injector.messages())
    assert said == ["at 0.5 s drop:camera=front,from=0.5 has hit 1", "at 1.5 s drop:camera=front,from=0.5 has hit 11"]
    assert injector.report().splitlines() == [
        "broken on purpose, seed 3:", f"      15  {picture_topic('front')}  drop:camera=front,from=0.5",
        "       0  nothing was hit  tf_stop:child=nothing"]


# Cameras


@pytest.mark.parametrize("camera", ["front", picture_topic("front")])
def test_drop_takes_pictures_of_one_camera_in_its_time(camera):
    stream, hits = broken(f"drop:camera={camera},from=0.5,to=1.5")
    assert pictures(stream) == [0, 1, 2, 3, 4, 15, 16, 17, 18, 19]
    assert untouched(stream, picture_topic("front")) and hits == {picture_topic("front"): 10}


def test_drop_of_all_cameras_with_chance():
    stream, hits = broken("drop:probability=0.3")
    for camera in CAMERAS:
        assert len(pictures(stream, camera)) + hits[picture_topic(camera)] == 20
    assert untouched(stream, *map(picture_topic, CAMERAS))


def test_silence_takes_calibration_too():
    stream, hits = broken("silence:camera=back")
    topics = {picture_topic("back"), "/camera/back/camera_info"}
    assert untouched(stream, *topics) and not topics & {item.topic for item in stream}
    assert hits == dict.fromkeys(topics, 20)


def test_delay_keeps_stamps():
    stream, _ = broken("delay:camera=front,ms=250")
    assert pictures(stream) == list(range(20)) and untouched(stream, picture_topic("front"))
    assert [item.due_ns - (item.stamp_ns - BEGIN_NS) for item in of(stream, picture_topic("front"))] == [250 * MS] * 20


def test_a_stall_ends_with_everything_at_once():
    stream, _ = broken("stall:camera=front,from=0.5,to=1.05")
    due_ms = [item.due_ns // MS for item in of(stream, picture_topic("front"))]
    assert due_ms == [0, 100, 200, 300, 400, *[1050] * 6, *range(1100, 2000, 100)]
    assert pictures(stream) == list(range(20))


def test_reorder_exchanges_neighbours():
    stream, hits = broken("reorder:camera=front,to=0.5")
    assert pictures(stream)[:8] == [1, 0, 3, 2, 5, 4, 6, 7] and hits == {picture_topic("front"): 3}
    assert of(stream, picture_topic("front"))[1].due_ns == 110 * MS
    odd, hits = broken("reorder:camera=front,from=1.85")
    assert pictures(odd)[-2:] == [18, 19] and len(pictures(odd)) == 20  # the last one has none to come after


def test_duplicates_bear_the_same_stamp():
    stream, hits = broken("duplicate:camera=front,ms=40,from=1.75")
    assert pictures(stream) == [*range(18), 18, 18, 19, 19] and hits == {picture_topic("front"): 2}
    assert [item.due_ns // MS for item in of(stream, picture_topic("front"))[-4:]] == [1800, 1840, 1900, 1940]


@pytest.mark.parametrize("camera", ["front", "raw"])
def test_a_frozen_camera_repeats_its_last_picture_with_new_stamps(camera):
    stream, hits = broken(f"freeze:camera={camera},from=0.5,to=1")
    shown = [item.parsed().data[0] for item in of(stream, picture_topic(camera))]
    assert shown == [0, 1, 2, 3, 4, *[4] * 5, *range(10, 20)] and hits[picture_topic(camera)] == 5
    assert pictures(stream, camera) == list(range(20))


def test_truncated_and_corrupted_pictures():
    for camera, length in (("front", 40), ("raw", 60)):
        short, _ = broken(f"truncate:camera={camera},keep=0.25")
        assert {len(item.parsed().data) for item in of(short, picture_topic(camera))} == {length // 4}
        wrong, _ = broken(f"corrupt:camera={camera},bytes=5")
        for item, was in zip(of(wrong, picture_topic(camera)), of(STREAM, picture_topic(camera)), strict=True):
            differ = item.parsed().data != was.parsed().data
            assert 0 < differ.sum() <= 5 and item.parsed().header == was.parsed().header


def test_a_wrong_step_is_said_of_raw_pictures():
    stream, hits = broken("wrong_step")
    assert {item.parsed().step for item in of(stream, picture_topic("raw"))} == {16}
    assert untouched(stream, picture_topic("raw")) and hits == {picture_topic("raw"): 20}


def test_stamps_that_are_zero_or_skewed():
    stream, _ = broken("zero_stamp:camera=front", "skew:camera=back,ms=-300")
    assert {item.stamp_ns for item in of(stream, picture_topic("front"))} == {0}
    assert pictures(stream, "back") == list(range(-3, 17))
    assert [item.stamp_ns for item in of(stream, "/camera/back/camera_info")] == [
        item.stamp_ns for item in of(stream, picture_topic("back"))]
    assert [item.parsed().data.tolist() for item in of(stream, picture_topic("back"))] == [
        item.parsed().data.tolist() for item in of(STREAM, picture_topic("back"))]


def test_swap_exchanges_topics_and_nothing_else():
    stream, hits = broken("swap:camera=front,with=back")
    for one, other in (("front", "back"), ("back", "front")):
        assert {item.parsed().header.frame_id for item in of(stream, picture_topic(one))} == {f"{other}_frame"}
        assert {item.parsed().header.frame_id for item in of(stream, f"/camera/{one}/camera_info")} == {f"{one}_frame"}
        assert hits[picture_topic(one)] == 20
    both, _ = broken("swap:camera=front,with=back,what=all")
    assert {item.parsed().header.frame_id for item in of(both, "/camera/front/camera_info")} == {"back_frame"}


# Calibration


@pytest.mark.parametrize(("fault", "check"), [
    ("calibration_zero", lambda info, was: not info.k.any()),
    ("calibration_size", lambda info, was: (info.width, info.height) == (2 * was.width, was.height)),
    ("calibration_changed:factor=2", lambda info, was: info.k[[0, 2, 4]].tolist() + info.p[[0, 2]].tolist() == [
        100, 8, 120, 100, 8]),
    ("calibration_distorted", lambda info, was: info.d.tolist() == [-0.3, 0, 0, 0, 0]),
    ("calibration_frame_empty", lambda info, was: info.header.frame_id == ""),
])
def test_calibration_is_wrong_as_said(fault, check):
    name, _, rest = fault.partition(":")
    stream, hits = broken(f"{name}:camera=front,from=1" + (f",{rest}" if rest else ""))
    infos = [item.parsed() for item in of(stream, "/camera/front/camera_info")]
    was = of(STREAM, "/camera/front/camera_info")[0].parsed()
    assert len(infos) == 20 and not any(check(info, was) for info in infos[:10])
    assert all(check(info, was) for info in infos[10:]) and hits["/camera/front/camera_info"] == 10
    images = [item.parsed().header.frame_id for item in of(stream, picture_topic("front"))]
    assert images[0] == "front_frame" and images[-1] == ("" if "empty" in fault else "front_frame")


def test_calibration_can_be_missing():
    stream, _ = broken("calibration_missing:camera=front")
    assert not of(stream, "/camera/front/camera_info") and untouched(stream, "/camera/front/camera_info")


# Transforms


@pytest.mark.parametrize(("fault", "check"), [
    ("tf_jump:metres=-3", lambda item: item.transform.translation.x == -3.0),
    ("tf_nan", lambda item: math.isnan(item.transform.translation.x)),
    ("tf_quaternion:length=3", lambda item: item.transform.rotation.w == 3.0),
    ("tf_detach:parent=moon", lambda item: item.header.frame_id == "moon"),
])
def test_transforms_are_wrong_as_said_and_others_of_the_message_are_not(fault, check):
    name, _, rest = fault.partition(":")
    stream, hits = broken(f"{name}:from=1" + (f",{rest}" if rest else ""))
    assert [check(item) for item in poses(stream)] == [False] * 50 + [True] * 50 and hits == {"/tf": 50}
    assert [item.header.stamp for item in poses(stream)] == [item.header.stamp for item in poses(STREAM)]
    assert poses(stream, child="wheel") == poses(STREAM, child="wheel") and untouched(stream, "/tf")


def test_transforms_stop_or_are_lost():
    stopped, _ = broken("tf_stop:from=0.5,to=1")
    assert len(poses(stopped)) == 75 and len(poses(stopped, child="wheel")) == 100
    lost, hits = broken("tf_drop:probability=0.5")
    assert len(poses(lost)) + hits["/tf"] == 100 and 25 < hits["/tf"] < 75


def test_a_mounting_can_be_missing():
    stream, _ = broken("tf_stop:child=front_frame")
    left = of(stream, "/tf_static")[0].parsed().transforms
    assert [item.child_frame_id for item in left] == ["back_frame", "raw_frame"]
    assert untouched(stream, "/tf_static")


def test_transforms_come_late_or_again():
    late, _ = broken("tf_delay:ms=30")
    arrivals = [(item.due_ns, entry) for item in of(late, "/tf") for entry in item.parsed().transforms]
    behind = {(due_ns - (ros_messages.stamp_ns(entry.header.stamp) - BEGIN_NS), entry.child_frame_id)
              for due_ns, entry in arrivals}
    assert behind == {(30 * MS, "base_link"), (0, "wheel")}
    again, _ = broken("tf_repeat:ms=50")
    assert len(poses(again)) == 200 and len(poses(again, child="wheel")) == 100
    order, was = ([ros_messages.stamp_ns(item.header.stamp) for item in poses(stream)] for stream in (again, STREAM))
    assert order != sorted(order) and sorted(order)[::2] == sorted(order)[1::2] == was
