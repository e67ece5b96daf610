"""Faults of time: a recording loops, pauses and jumps, and /clock goes with it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from injection_cases import (
    BEGIN_NS,
    MS,
    RECORDING,
    STREAM,
    TIME_FAULTS,
    S,
    broken,
    of,
    picture_topic,
    pictures,
    specs,
)

from sparse4d_ros.data import faults, ros_messages
from sparse4d_ros.data.fault_injector import Injector
from sparse4d_ros.data.timed_messages import CLOCK_TOPIC, TimedMessage, with_clock


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
