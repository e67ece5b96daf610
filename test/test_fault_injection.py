"""Faults as functions from stream to stream: each does what it says, nothing else, and the same every time."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import MISSING
from pathlib import Path

import fault_marks
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparse4d_ros.data import faults, ros_messages
from sparse4d_ros.data.fault import MessageFault
from sparse4d_ros.data.fault_injector import Injector
from sparse4d_ros.data.fault_time import TimeFault
from sparse4d_ros.data.faults import FAULTS
from sparse4d_ros.data.ros_types import typestore
from sparse4d_ros.data.timed_messages import CLOCK_TOPIC, Recording, TimedMessage, with_clock
from sparse4d_ros.errors import UserError

MS, S = 1_000_000, 1_000_000_000
BEGIN_NS = 100 * S
CAMERAS = ("front", "back", "raw")  # the last one sends raw pictures
INTRINSIC = np.array([[50.0, 0, 8], [0, 60.0, 6], [0, 0, 1]])
PAGE = Path(__file__).parents[1] / "docs" / "fault_injection.md"


def picture_topic(camera):
    return f"/camera/{camera}/image" + ("" if camera == "raw" else "/compressed")


def message(due_ns, topic, kind, content):
    return TimedMessage(due_ns, topic, kind, bytes(typestore().serialize_cdr(content, kind)))


def picture(camera, due_ns):
    """Every byte tells the moment, so that pictures can be told apart."""
    stamp_ns, value = BEGIN_NS + due_ns, due_ns // (100 * MS) % 256
    if camera == "raw":
        image = ros_messages.new(
            ros_messages.IMAGE, header=ros_messages.header(stamp_ns, "raw_frame"), height=4, width=5, encoding="bgr8",
            is_bigendian=0, step=15, data=np.full(60, value, np.uint8))
        return message(due_ns, picture_topic(camera), ros_messages.IMAGE, image)
    return message(due_ns, picture_topic(camera), ros_messages.COMPRESSED_IMAGE,
                   ros_messages.compressed_image(stamp_ns, f"{camera}_frame", bytes([value]) * 40))


def drive(seconds=2.0):
    """Pictures and camera_info at 10 Hz, tf at 50 Hz (with a wheel in the same messages), as one stream."""
    stream = [message(0, "/tf_static", ros_messages.TF, ros_messages.tf_message(
        [ros_messages.transform(0, "base_link", f"{camera}_frame", np.eye(4)) for camera in CAMERAS]))]
    for due_ns in range(0, round(seconds * S), 20 * MS):
        stamp_ns = BEGIN_NS + due_ns
        stream.append(message(due_ns, "/tf", ros_messages.TF, ros_messages.tf_message(
            [ros_messages.transform(stamp_ns, "odom", "base_link", np.eye(4)),
             ros_messages.transform(stamp_ns, "base_link", "wheel", np.eye(4))])))
        if due_ns % (100 * MS) == 0:
            for camera in CAMERAS:
                stream.append(message(due_ns, f"/camera/{camera}/camera_info", ros_messages.CAMERA_INFO,
                                      ros_messages.camera_info(stamp_ns, f"{camera}_frame", INTRINSIC, 5, 4)))
                stream.append(picture(camera, due_ns))
    return stream


STREAM = drive()
RECORDING = Recording(
    "the bag", {item.topic: item.kind for item in STREAM},
    frozenset({ros_messages.IMAGE, ros_messages.COMPRESSED_IMAGE, ros_messages.CAMERA_INFO}), BEGIN_NS,
    lambda start_ns, stop_ns: iter([item for item in STREAM
                                    if start_ns <= item.due_ns < (math.inf if stop_ns is None else stop_ns)]))


def broken(*texts, seed=0):
    """The stream with these faults, and how many messages of each topic were hit."""
    injector = Injector(RECORDING, [faults.parse(text) for text in texts], seed)
    stream = list(injector.messages())
    hits = Counter()
    for (_, topic), count in injector.counts.items():
        hits[topic] += count
    return stream, hits


def of(stream, topic):
    return [item for item in stream if item.topic == topic]


def pictures(stream, camera="front"):
    """The moments of a camera's pictures in the order in which they come, in tenths of seconds."""
    return [round((item.stamp_ns - BEGIN_NS) / (100 * MS)) for item in of(stream, picture_topic(camera))]


def untouched(stream, *topics):
    """Whether all but these topics is as it was."""
    return [x for x in stream if x.topic not in topics] == [x for x in STREAM if x.topic not in topics]


def poses(stream, topic="/tf", child="base_link"):
    return [item for entry in of(stream, topic) for item in entry.parsed().transforms if item.child_frame_id == child]


# The declarations

MESSAGE_FAULTS = tuple(fault for fault in FAULTS.values() if issubclass(fault, MessageFault))
TIME_FAULTS = tuple(fault for fault in FAULTS.values() if issubclass(fault, TimeFault))


def specs(kinds=MESSAGE_FAULTS + TIME_FAULTS):
    """Any fault with any values of its fields; texts are those that find something in our stream."""
    def values(fault):
        def of_field(item):
            meta = item.metadata
            if item.type == "str":
                return st.sampled_from(list(meta["choices"]) or {
                    "camera": ["front"], "with_": ["back"], "child": ["base_link", "front_frame"]}.get(
                        item.name, ["elsewhere"]))
            if item.name in ("from_", "to"):
                return st.floats(0.0, 0.99) if item.name == "from_" else st.floats(1.0, 3.0)
            low, high = max(meta["low"], -1e3), min(meta["high"], 1e3)
            return st.integers(int(low), int(min(high, 5))) if item.type == "int" else st.floats(low, high)
        given = {key: of_field(item) for key, item in fault.options().items()}
        needed = {key for key, item in fault.options().items() if item.default is MISSING}
        # The camera is always named: `all` includes raw pictures, which not every fault takes.
        kept = needed | ({"camera"} & given.keys())
        if fault.name() == "wrong_step":
            given["camera"] = st.just("raw")
        return st.fixed_dictionaries({key: given[key] for key in kept},
                                     optional={key: value for key, value in given.items() if key not in kept}).map(
            lambda fields: fault.make({key: repr(value) if isinstance(value, float) else str(value)
                                       for key, value in fields.items()}))
    return st.sampled_from(kinds).flatmap(values)


@given(specs())
def test_a_fault_reads_back_as_it_is_written(fault):
    assert faults.parse(str(fault)) == fault


def test_short_forms_have_the_declared_defaults():
    assert str(faults.parse("drop")) == "drop"
    assert str(faults.parse("tf_jump:from=3.50,metres=20")) == "tf_jump:from=3.5"
    assert faults.parse("delay:to=2,camera=front,ms=80").ms == 80.0


@pytest.mark.parametrize(("text", "words"), [
    ("", ["no fault ''", "drop", "clock_loop"]),
    ("dorp:camera=front", ["no fault 'dorp'", "drop"]),
    ("drop:cam=front", ["drop has no field 'cam'", "camera, probability, from, to"]),
    ("drop:camera", ["'camera'", "field=value"]),
    ("drop:from=1,from=2", ["'from=2'", "twice"]),
    ("drop:probability=often", ["drop: probability=often is not a number"]),
    ("drop:probability=1.5", ["drop: probability=1.5", "between 0 and 1"]),
    ("drop:probability=nan", ["probability=nan", "between"]),
    ("drop:from=3,to=2", ["drop: from=3 is not before to=2"]),
    ("corrupt:bytes=1.5", ["corrupt: bytes=1.5 is not a whole number"]),
    ("stall:from=1", ["stall needs to="]),
    ("swap:camera=front", ["swap needs with="]),
    ("swap:camera=front,with=back,what=some", ["what=some is not one of images, all"]),
    ("clock_loop:from=2", ["clock_loop needs to="]),
    ("clock_loop:from=2,to=1", ["from=2 is not before to=1"]),
])
def test_what_is_wrong_is_named(text, words):
    with pytest.raises(UserError) as error:
        faults.parse(text)
    assert all(word in str(error.value) for word in words), error.value


@pytest.mark.parametrize(("text", "words"), [
    ("drop:camera=side", ["camera=side", "the bag has no", picture_topic("front")]),
    ("wrong_step:camera=front", ["sensor_msgs/msg/Image", picture_topic("raw")]),
    ("swap:camera=front,with=raw", [picture_topic("front"), picture_topic("raw"), "same types"]),
    ("swap:camera=front,with=front", ["two cameras"]),
    ("swap:camera=all,with=front", ["two cameras"]),
])
def test_a_fault_that_finds_nothing_is_refused_before_anything_goes_out(text, words):
    with pytest.raises(UserError) as error:
        Injector(RECORDING, [faults.parse(text)])
    assert all(word in str(error.value) for word in words), error.value


def test_tf_faults_need_tf():
    bare = Recording("the bag", {"/a": "std_msgs/msg/String"}, frozenset(), 0, lambda start, stop: iter(()))
    with pytest.raises(UserError, match="the bag has no tf2_msgs/msg/TFMessage"):
        Injector(bare, [faults.parse("tf_drop")])


def test_two_loops_are_refused():
    with pytest.raises(UserError, match="one clock_loop; it has times="):
        Injector(RECORDING, [faults.parse("clock_loop:to=1"), faults.parse("clock_loop:to=2")])


def test_a_file_says_the_same_as_words(tmp_path):
    path = tmp_path / "faults.yaml"
    path.write_text("- drop: {camera: front, probability: 0.3, from: 2}\n- reorder\n"
                    "- swap: {camera: front, with: back}\n")
    words = ["drop:camera=front,probability=0.3,from=2", "reorder", "swap:camera=front,with=back"]
    assert faults.read_file(path) == [faults.parse(text) for text in words]


@pytest.mark.parametrize(("text", "words"), [
    ("- [", ["cannot be read as YAML"]),
    ("drop: {}", ["not a list"]),
    ("- drop: {}\n- 3", ["entry 2"]),
    ("- {drop: {}, delay: {}}", ["entry 1"]),
    ("- drop: front", ["entry 1"]),
    ("- drop: {camera: [front]}", ["entry 1", "not of the form"]),
    ("- drop: {}\n- drop: {probability: true}", ["entry 2", "probability=True"]),
    ("- drop: {from: 2024-13-45}", ["cannot be read as YAML"]),
    ("- dorp: {}", ["entry 1", "no fault 'dorp'"]),
    ("- !!python/object/apply:os.getcwd []", ["cannot be read as YAML"]),
])
def test_a_file_that_is_wrong_is_named_with_its_entry(tmp_path, text, words):
    path = tmp_path / "faults.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        faults.read_file(path)
    assert all(word in str(error.value) for word in [str(path), *words]), error.value
    with pytest.raises(UserError, match="nowhere.yaml cannot be read"):
        faults.read_file(tmp_path / "nowhere.yaml")


def test_the_list_and_the_page_tell_of_every_fault():
    known = {row.number for row in fault_marks.read_faults()}
    listing = faults.listing()
    for name, fault in FAULTS.items():
        assert known.issuperset(fault.rows), name
        assert f"\n{name}" in listing and all(f" {key}=" in listing for key in fault.options())
    assert faults.markdown_table() in PAGE.read_text(), "replace the table: python -m sparse4d_ros.data.faults"


# All faults

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


def test_without_faults_nothing_changes():
    assert list(Injector(RECORDING).messages()) == STREAM


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


# Time

def stamps(stream):
    """``(due, stamp)`` of everything but the mountings, which are older than the recording."""
    return [(item.due_ns, ros_messages.stamp_ns(entry.header.stamp)) for item in stream if item.topic != "/tf_static"
            for entry in (item.parsed().transforms if item.kind == ros_messages.TF else [item.parsed()])]


@settings(max_examples=60, deadline=None)
@given(st.lists(specs(TIME_FAULTS), min_size=1, max_size=4))
def test_clock_and_stamps_stay_in_step_whatever_happens_to_time(wanted):
    """In the recording each message bears the time at which it goes out; so it must with broken time."""
    loops = [item for item in wanted if item.name() == "clock_loop"]
    injector = Injector(RECORDING, [item for item in wanted if item not in loops[1:]])
    assert all(injector.clock(due_ns) == stamp_ns for due_ns, stamp_ns in stamps(injector.messages()))


def test_a_loop_plays_a_stretch_again():
    stream, hits = broken("clock_loop:from=0.5,to=1,times=2")
    assert pictures(stream) == [*range(10), *range(5, 10), *range(5, 20)] and hits == {CLOCK_TOPIC: 2}
    assert [item.due_ns // (100 * MS) for item in of(stream, picture_topic("front"))] == list(range(30))
    assert len(of(stream, "/tf_static")) == 1


def test_a_pause_moves_everything_behind_it():
    stream, hits = broken("clock_pause:from=1,seconds=60")
    assert pictures(stream) == list(range(20)) and hits == {CLOCK_TOPIC: 1}
    due_s = [item.due_ns / S for item in of(stream, picture_topic("front"))]
    assert due_s[9:11] == [0.9, 61.0] and due_s[-1] == 61.9


@pytest.mark.parametrize(("fault", "shift"), [("forward", 30), ("backward", -30)])
def test_a_jump_moves_stamps_and_not_the_pace(fault, shift):
    stream, hits = broken(f"clock_{fault}:from=1,seconds=3")
    assert pictures(stream) == [*range(10), *range(10 + shift, 20 + shift)] and hits == {CLOCK_TOPIC: 1}
    assert [item.due_ns for item in stream] == [item.due_ns for item in STREAM]


def test_faults_of_messages_count_their_seconds_in_the_broken_time():
    stream, _ = broken("drop:camera=front,from=2.5", "clock_pause:from=1,seconds=1")
    assert pictures(stream) == list(range(15))
    stream, _ = broken("drop:camera=front,from=1,to=1.5", "clock_loop:from=0.5,to=1")
    assert pictures(stream) == list(range(10)) + list(range(10, 20))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 3 * S), max_size=30), st.integers(1 * MS, 200 * MS))
def test_a_clock_runs_evenly_and_is_right_at_every_message(due, period_ns):
    messages = [TimedMessage(due_ns, "/a", "std_msgs/msg/String", b"") for due_ns in sorted(due)]
    stream = list(with_clock(messages, lambda due_ns: BEGIN_NS + due_ns, period_ns))
    assert [item for item in stream if item.topic == "/a"] == messages
    ticks = [item for item in stream if item.topic == CLOCK_TOPIC]
    times = [ros_messages.stamp_ns(item.parsed().clock) for item in ticks]
    assert times == [BEGIN_NS + item.due_ns for item in ticks] == sorted(set(times))
    assert all(later - earlier <= 2 * period_ns for earlier, later in zip(times, times[1:], strict=False))
    for place, item in enumerate(stream):
        if item.topic == "/a":
            shown = [other for other in stream[:place] if other.topic == CLOCK_TOPIC][-1]
            assert shown.due_ns == item.due_ns


def test_the_clock_stands_still_and_jumps_with_the_recording():
    injector = Injector(RECORDING, [faults.parse("clock_pause:from=0.5,seconds=5"),
                                    faults.parse("clock_backward:from=6.5,seconds=1")])
    ticks = [item for item in with_clock(injector.messages(), injector.clock, 10 * MS) if item.topic == CLOCK_TOPIC]
    gaps = [later.due_ns - earlier.due_ns for earlier, later in zip(ticks, ticks[1:], strict=False)]
    assert 5 * S - 20 * MS <= max(gaps) <= 5 * S + 20 * MS and sorted(gaps)[-2] <= 20 * MS
    times = [ros_messages.stamp_ns(item.parsed().clock) - BEGIN_NS for item in ticks]
    back = [later - earlier for earlier, later in zip(times, times[1:], strict=False) if later <= earlier]
    assert back == [-1 * S + 20 * MS]
