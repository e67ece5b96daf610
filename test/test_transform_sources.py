"""Transform sources: one suite over tf2_ros and our buffer."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from transform_cases import HAS_TF2, SECOND, T0, between, close, messages, rigid, stamped

from sparse4d_ros.node.tf_source import BufferTransformSource, Tf2TransformSource
from sparse4d_ros.node.transform_errors import (
    ConnectivityException,
    ExtrapolationException,
    InvalidArgumentException,
    LookupException,
    TransformError,
)
from sparse4d_ros.node.transform_messages import Recent


@pytest.fixture(params=[
    "own", pytest.param("tf2_ros", marks=pytest.mark.skipif(not HAS_TF2, reason="tf2_ros is not installed"))])
def source(request):
    return BufferTransformSource() if request.param == "own" else Tf2TransformSource()


def random_pose(generator, scale=10.0):
    return generator.normal(size=3) * scale, Rotation.random(rng=generator).as_quat()


def feed(source, *transforms, static=False):
    source.take(messages(*transforms), static)


def test_chain_of_static_and_moving_frames_composes(source):
    generator = np.random.default_rng(0)
    names = ["map", "odom", "base_link", "mount", "camera"]
    poses = [random_pose(generator) for _ in names[1:]]
    for index, pose in enumerate(poses):
        feed(source, stamped(names[index], names[index + 1], T0, *pose), static=index >= 2)
    expected = np.eye(4)
    for index, pose in enumerate(poses):
        expected = expected @ rigid(*pose)
        close(source.lookup("map", names[index + 1], T0), expected)
    close(source.lookup("camera", "map", T0), np.linalg.inv(expected))
    close(source.lookup("base_link", "camera", T0 + 99 * SECOND), rigid(*poses[2]) @ rigid(*poses[3]))
    close(source.lookup("camera", "camera", 0), np.eye(4))


def test_two_branches_meet_at_their_common_parent(source):
    generator = np.random.default_rng(1)
    left, right = random_pose(generator), random_pose(generator)
    feed(source, stamped("base_link", "left", 0, *left), stamped("base_link", "right", 0, *right), static=True)
    feed(source, stamped("odom", "base_link", T0, *random_pose(generator)))
    expected = np.linalg.inv(rigid(*left)) @ rigid(*right)
    close(source.lookup("left", "right", T0), expected)
    # What is above the meeting point does not matter, not even that it is unknown then.
    close(source.lookup("left", "right", T0 + SECOND), expected)


@pytest.mark.fault(31)
@pytest.mark.parametrize("seed", range(4))
def test_interpolation_is_linear_and_slerp(source, seed):
    generator = np.random.default_rng(seed)
    times = np.sort(generator.choice(2_000_000_000, 20, replace=False))
    translations, rotations = generator.normal(size=(20, 3)) * 5, Rotation.random(20, rng=generator).as_quat()
    order = generator.permutation(20)  # out of order: inserted where they belong
    for index in order:
        feed(source, stamped("odom", "base_link", T0 + int(times[index]), translations[index], rotations[index]))
    for moment in generator.integers(times[0], times[-1], 50):
        close(source.lookup("odom", "base_link", T0 + int(moment)), between(times, translations, rotations, moment))
    for time_ns, translation, rotation in zip(times, translations, rotations, strict=True):
        close(source.lookup("odom", "base_link", T0 + int(time_ns)), rigid(translation, rotation))


def test_lookup_full_goes_through_the_fixed_frame(source):
    generator = np.random.default_rng(5)
    camera, first, second = (random_pose(generator) for _ in range(3))
    feed(source, stamped("base_link", "camera", 0, *camera), static=True)
    feed(source, stamped("odom", "base_link", T0, *first), stamped("odom", "base_link", T0 + SECOND, *second))
    expected = np.linalg.inv(rigid(*camera)) @ np.linalg.inv(rigid(*second)) @ rigid(*first)
    close(source.lookup_full("camera", T0 + SECOND, "base_link", T0, "odom"), expected)
    close(source.lookup_full("camera", T0, "base_link", T0, "odom"), np.linalg.inv(rigid(*camera)))


def test_latest_common_time(source):
    feed(source, stamped("map", "odom", T0 + 5), stamped("map", "odom", T0 + 30))
    feed(source, stamped("odom", "base_link", T0 + 10, (1, 0, 0)), stamped("odom", "base_link", T0 + 20, (2, 0, 0)))
    feed(source, stamped("base_link", "camera", 0), static=True)
    assert source.latest_time_ns("map", "camera") == T0 + 20
    assert source.latest_time_ns("base_link", "camera") == 0
    close(source.lookup("odom", "camera"), rigid((2, 0, 0)))


@pytest.mark.parametrize(("moment", "text"), [
    (T0 - SECOND // 2, "into the past"), (T0 + SECOND + 1, "into the future")])
def test_extrapolation_is_refused_both_ways(source, moment, text):
    feed(source, stamped("odom", "base_link", T0), stamped("odom", "base_link", T0 + SECOND))
    with pytest.raises(ExtrapolationException, match=text) as error:
        source.lookup("odom", "base_link", moment)
    assert "frame [base_link]" in str(error.value) and "frame [odom]" in str(error.value)
    assert str(moment // SECOND) in str(error.value)


def test_single_sample_is_known_at_its_own_time_only(source):
    feed(source, stamped("odom", "base_link", T0))
    close(source.lookup("odom", "base_link", T0), np.eye(4))
    with pytest.raises(ExtrapolationException):
        source.lookup("odom", "base_link", T0 + 1)


def test_unknown_frames_are_named(source):
    feed(source, stamped("odom", "base_link", T0))
    with pytest.raises(LookupException, match="gripper"):
        source.lookup("odom", "gripper", T0)
    with pytest.raises(LookupException, match="gripper"):
        source.lookup("gripper", "odom", T0)
    with pytest.raises(InvalidArgumentException, match="empty"):
        source.lookup("", "odom", T0)
    with pytest.raises(InvalidArgumentException, match="'/'"):
        source.lookup("/odom", "base_link", T0)


@pytest.mark.fault(32)
def test_fault_32_two_trees_are_not_connected(source):
    feed(source, stamped("odom", "base_link", T0))
    feed(source, stamped("rig", "camera", 0), static=True)
    with pytest.raises(ConnectivityException, match="not part of the same tree"):
        source.lookup("odom", "camera", T0)
    with pytest.raises(TransformError):
        source.latest_time_ns("camera", "odom")


@pytest.mark.fault(31)
def test_fault_31_old_and_repeated_transforms_have_no_effect(source):
    feed(source, stamped("odom", "base_link", T0, (1, 0, 0)))
    feed(source, stamped("odom", "base_link", T0 + 20 * SECOND, (2, 0, 0)))
    feed(source, stamped("odom", "base_link", T0 + 20 * SECOND, (2, 0, 0)))
    feed(source, stamped("odom", "base_link", T0 + 5 * SECOND, (4, 0, 0)))  # older than the buffer keeps
    close(source.lookup("odom", "base_link"), rigid((2, 0, 0)))
    with pytest.raises(ExtrapolationException):
        source.lookup("odom", "base_link", T0 + 5 * SECOND)


@pytest.mark.fault(25)
def test_fault_25_newer_static_transform_takes_over(source):
    feed(source, stamped("base_link", "camera", T0, (1, 0, 0)), static=True)
    feed(source, stamped("base_link", "camera", T0, (2, 0, 0)), static=True)
    close(source.lookup("base_link", "camera", T0), rigid((2, 0, 0)))


@pytest.mark.fault(30)
@pytest.mark.parametrize("quaternion", [(0, 0, 0, 0), (0, 0, 0, 1.1), (0, 0, 0.3, 0.2), (np.nan, 0, 0, 1)])
def test_fault_30_broken_quaternions_are_not_taken(source, quaternion):
    feed(source, stamped("odom", "base_link", T0, (1, 0, 0)))
    feed(source, stamped("odom", "base_link", T0 + SECOND, (2, 0, 0), quaternion))
    assert source.latest_time_ns("odom", "base_link") == T0
    assert source.rejected == 1 and "'base_link' on /tf is ignored" in source.last_rejection


def test_of_two_poses_for_one_time_the_later_message_counts(source):
    feed(source, stamped("odom", "base_link", T0, (1, 0, 0)), stamped("odom", "base_link", T0, (2, 0, 0)))
    close(source.lookup("odom", "base_link", T0), rigid((2, 0, 0)))


@pytest.mark.fault(30)
@pytest.mark.parametrize("translation", [(np.inf, np.nan, 0), (0, -1.7e308, 0)])  # two of the latter are infinite
def test_fault_30_nan_translation_is_not_taken(source, translation):
    feed(source, stamped("odom", "base_link", T0, (1, 0, 0)))
    feed(source, stamped("odom", "base_link", T0 + SECOND, translation))
    assert source.latest_time_ns("odom", "base_link") == T0


@pytest.mark.fault(33)
def test_fault_33_going_back_forgets_what_moves_and_keeps_what_is_static(source):
    feed(source, stamped("base_link", "camera", 0, (1, 0, 0)), static=True)
    feed(source, stamped("odom", "base_link", T0 + 20 * SECOND))
    source.go_back(T0 + 10 * SECOND)
    with pytest.raises(TransformError):
        source.lookup("odom", "base_link", T0 + 20 * SECOND)
    feed(source, stamped("odom", "base_link", T0, (3, 0, 0)))  # 20 s earlier
    close(source.lookup("odom", "base_link"), rigid((3, 0, 0)))
    close(source.lookup("base_link", "camera", T0), rigid((1, 0, 0)))


@pytest.mark.fault(33)
@pytest.mark.parametrize("back_s", [1, 20])
def test_fault_33_transforms_that_came_before_the_step_back_was_noticed_stay(source, back_s):
    again = T0 - back_s * SECOND
    feed(source, stamped("base_link", "camera", 0), static=True)
    for index in range(5):
        feed(source, stamped("odom", "base_link", T0 - SECOND + index * SECOND // 4, (1, 0, 0)))
    feed(source, stamped("odom", "base_link", again, (2, 0, 0)))
    for index in (1, 2):  # two cameras notice it, one after the other
        feed(source, stamped("odom", "base_link", again + index * SECOND // 4, (2, 0, 0)))
        source.go_back((T0 + again) // 2)
        for moment in (again, again + SECOND // 8):
            close(source.lookup("odom", "camera", moment), rigid((2, 0, 0)))
    with pytest.raises(ExtrapolationException):
        source.lookup("odom", "camera", T0 - SECOND // 20)


@pytest.mark.fault(33)
def test_fault_33_what_another_thread_brings_while_time_goes_back_stays(source, monkeypatch):
    """The browser's thread notices the step back, the executor's brings transforms."""
    late = threading.Thread(target=feed, args=(source, stamped("odom", "base_link", T0 + SECOND, (3, 0, 0))))
    since = Recent.since

    def since_and_meanwhile(self, *which):
        found = since(self, *which)
        late.start()
        late.join(0.2)  # it waits for the end of the step, or does its harm
        return found

    monkeypatch.setattr(Recent, "since", since_and_meanwhile)
    feed(source, stamped("odom", "base_link", T0 + 20 * SECOND))
    feed(source, stamped("odom", "base_link", T0, (1, 0, 0)))
    source.go_back(T0 + 10 * SECOND)
    late.join()
    close(source.lookup("odom", "base_link", T0 + SECOND // 2), rigid((2, 0, 0)))


@pytest.mark.fault(28, 31)
@pytest.mark.parametrize("ahead_s", [[5], [3600], [3600, 1800]])  # within what is remembered, and beyond
def test_a_transform_from_the_future_is_forgotten_when_those_after_it_show_that_it_was(source, ahead_s):
    feed(source, stamped("base_link", "mount", T0 - SECOND, (0, 0, 1)), stamped("base_link", "mount", T0 + 9 * SECOND))
    feed(source, stamped("odom", "base_link", T0, (1, 0, 0)))
    feed(source, *(stamped("odom", "base_link", T0 + second * SECOND, (9, 0, 0)) for second in ahead_s))
    for index in range(7):
        assert source.rejected == (index > 5)
        feed(source, stamped("odom", "base_link", T0 + index * SECOND // 10, (2 + index, 0, 0)))
    close(source.lookup("odom", "base_link", T0 + SECOND // 4), rigid((4.5, 0, 0)))
    assert source.latest_time_ns("odom", "base_link") == T0 + 6 * SECOND // 10
    assert "from 'odom' to 'base_link' on /tf is ignored: its stamp was" in source.last_rejection
    close(source.lookup("base_link", "mount", T0 + 4 * SECOND), rigid((0, 0, 0.5)))  # another frame's stay


@pytest.mark.fault(31)
@pytest.mark.parametrize("old", [[0.0, 0.1, 0.2], [0.0] * 9, [0.0, None, 0.6, None, 1.2, None]])
def test_a_few_old_transforms_or_another_senders_do_not_make_the_newer_ones_wrong(source, old):
    """Three in a row; one again and again; now and then, beside the right ones."""
    newest = T0 + 5 * SECOND
    feed(source, stamped("odom", "base_link", newest, (1, 0, 0)))
    for time_s in old:
        newest += SECOND // 10 if time_s is None else 0
        feed(source, stamped("odom", "base_link", newest if time_s is None else T0 + int(time_s * SECOND), (1, 0, 0)))
    assert source.rejected == 0 and source.latest_time_ns("odom", "base_link") == newest


@pytest.mark.fault(27)
def test_fault_27_waiting_ends_as_soon_as_the_transform_is_there(source):
    feed(source, stamped("odom", "base_link", T0))
    late = threading.Timer(0.05, lambda: feed(source, stamped("odom", "base_link", T0 + SECOND, (1, 0, 0))))
    late.start()
    found = source.wait_for(lambda: source.lookup("odom", "base_link", T0 + SECOND), timeout_s=30.0)
    late.join()
    close(found, rigid((1, 0, 0)))


def test_waiting_ends_when_the_node_goes_out_of_work(source):
    stop = threading.Timer(0.05, source.stop_waiting)
    stop.start()
    started = time.monotonic()
    for _ in range(2):  # neither goes on to wait nor begins to
        with pytest.raises(LookupException):
            source.wait_for(lambda: source.lookup("odom", "base_link", T0), timeout_s=30.0)
    stop.join()
    assert time.monotonic() - started < 20.0


def test_waiting_gives_the_last_error_after_the_timeout(source):
    attempts = []

    def attempt():
        attempts.append(time.monotonic())
        return source.lookup("odom", "base_link", T0)

    started = time.monotonic()
    with pytest.raises(LookupException):
        source.wait_for(attempt, timeout_s=0.05)
    assert time.monotonic() - started >= 0.05
    assert len(attempts) == 1  # no news, no second attempt: it sleeps
    with pytest.raises(LookupException):
        source.wait_for(attempt, timeout_s=0.0)
