"""Poses of frame sets: each camera at its own stamp, waiting, extrapolation, jumps of the fixed frame."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from transform_cases import SECOND, T0, messages, rigid, stamped

from sparse4d_ros.geometry import from_yaw
from sparse4d_ros.node.ego_jump import JumpDetector
from sparse4d_ros.node.ego_motion import EgoMotion, EgoMotionError
from sparse4d_ros.node.frame_set import Entry, FrameSet, InputState
from sparse4d_ros.node.tf_source import BufferTransformSource

MS = 1_000_000
FRAMES = {"front": "front_optical_frame", "back": "back_optical_frame"}
EXTRINSICS = {
    "front": ((1.5, 0.1, 1.6), tuple(Rotation.from_euler("zyx", [-90, 0, -90], degrees=True).as_quat())),
    "back": ((-0.5, 0.0, 1.5), tuple(Rotation.from_euler("zyx", [90, 0, -90], degrees=True).as_quat())),
}


def curve(seconds, speed=14.0, turn=0.3):
    """Pose of a vehicle on a circle: 4x4."""
    yaw = turn * seconds
    radius = speed / turn
    return from_yaw(radius * np.sin(yaw), radius * (1 - np.cos(yaw)), 0.0, yaw)


def feed(source, seconds, pose):
    quaternion = Rotation.from_matrix(pose[:3, :3]).as_quat()
    source.take(messages(stamped("odom", "base_link", T0 + round(seconds * 1000) * MS, pose[:3, 3], quaternion)))


def rig(until_s=5.0, pose_at=curve, extrinsics=EXTRINSICS, step_s=0.02):
    source = BufferTransformSource()
    for name, pose in extrinsics.items():
        source.take(messages(stamped("base_link", FRAMES[name], 0, *pose)), static=True)
    for seconds in np.arange(0.0, until_s + step_s / 2, step_s):
        feed(source, seconds, pose_at(seconds))
    return source


def frame_set(seconds=2.0, **offsets_ms):
    """A set with these cameras OK, at these offsets; the others are missing."""
    reference = T0 + round(seconds * 1000) * MS
    entries = {name: Entry(InputState.OK, "image", reference + offsets_ms[name] * MS, offsets_ms[name])
               if name in offsets_ms else Entry(InputState.MISSING) for name in FRAMES}
    return FrameSet(reference, "front", entries, 0, 0, 0)


def extrinsic(name):
    return np.linalg.inv(rigid(*EXTRINSICS[name]))


def test_each_camera_has_the_ego_pose_of_its_own_stamp():
    poses = EgoMotion(rig()).poses(frame_set(front=0, back=40), FRAMES)
    np.testing.assert_allclose(poses.fixed_from_vehicle, curve(2.0), atol=1e-9)
    np.testing.assert_allclose(poses.camera_from_vehicle["front"], extrinsic("front"), atol=1e-9)
    expected = extrinsic("back") @ np.linalg.inv(curve(2.04)) @ curve(2.0)
    np.testing.assert_allclose(poses.camera_from_vehicle["back"], expected, atol=1e-9)
    # 40 ms at 14 m/s: the static extrinsic alone would be more than half a metre off.
    assert np.linalg.norm((poses.camera_from_vehicle["back"] - extrinsic("back"))[:3, 3]) > 0.5
    assert not poses.extrapolated and poses.jump == ""


def test_fixed_point_lands_where_the_camera_saw_it():
    point = np.array([30.0, 12.0, 0.5, 1.0])  # in odom
    poses = EgoMotion(rig()).poses(frame_set(front=-40, back=60), FRAMES)
    in_vehicle = np.linalg.inv(poses.fixed_from_vehicle) @ point
    for name, seconds in (("front", 1.96), ("back", 2.06)):
        seen = extrinsic(name) @ np.linalg.inv(curve(seconds)) @ point
        np.testing.assert_allclose(poses.camera_from_vehicle[name] @ in_vehicle, seen, atol=1e-9)


def test_missing_camera_has_its_extrinsic_and_needs_no_frame():
    poses = EgoMotion(rig()).poses(frame_set(front=0), FRAMES)
    np.testing.assert_allclose(poses.camera_from_vehicle["back"], extrinsic("back"), atol=1e-9)
    poses = EgoMotion(rig()).poses(frame_set(front=0), {"front": FRAMES["front"], "back": ""})
    assert set(poses.camera_from_vehicle) == {"front"}


@pytest.mark.fault(23)
def test_fault_23_camera_without_a_frame_is_named():
    with pytest.raises(EgoMotionError, match="camera 'back' has no frame.*camera_frames.back"):
        EgoMotion(rig()).poses(frame_set(front=0, back=0), {"front": FRAMES["front"], "back": ""})


@pytest.mark.fault(24)
def test_fault_24_missing_extrinsic_names_the_frame_pair():
    source = rig(extrinsics={"front": EXTRINSICS["front"]})
    ego = EgoMotion(source, tf_timeout_ms=1)
    for policy in (ego, EgoMotion(source, tf_timeout_ms=1, require_ego_motion=False),
                   EgoMotion(source, tf_timeout_ms=1, max_extrapolation_ms=100)):
        with pytest.raises(EgoMotionError, match="no transform from 'base_link' to 'back_optical_frame': "):
            policy.poses(frame_set(front=0, back=0), FRAMES)
    source.take(messages(stamped("base_link", FRAMES["back"], 0, *EXTRINSICS["back"])), static=True)
    assert set(ego.poses(frame_set(front=0, back=0), FRAMES).camera_from_vehicle) == {"front", "back"}


@pytest.mark.fault(25)
def test_fault_25_changed_extrinsic_counts_from_the_next_set():
    source = rig()
    ego = EgoMotion(source)
    ego.poses(frame_set(front=0), FRAMES)
    source.take(messages(stamped("base_link", FRAMES["front"], 0, (9.0, 0.0, 0.0))), static=True)
    poses = ego.poses(frame_set(2.1, front=0), FRAMES)
    np.testing.assert_allclose(poses.camera_from_vehicle["front"], np.linalg.inv(rigid((9.0, 0.0, 0.0))), atol=1e-9)


@pytest.mark.fault(26)
def test_fault_26_missing_ego_motion_is_refused_and_never_identity():
    source = rig(until_s=-1)  # extrinsics only
    with pytest.raises(EgoMotionError, match="no transform from 'base_link' to 'odom': .*odom"):
        EgoMotion(source, tf_timeout_ms=1).poses(frame_set(front=0, back=40), FRAMES)


@pytest.mark.fault(26)
def test_fault_26_by_policy_without_history():
    poses = EgoMotion(rig(until_s=-1), tf_timeout_ms=1, require_ego_motion=False).poses(
        frame_set(front=0, back=40), FRAMES)
    assert poses.fixed_from_vehicle is None and not poses.extrapolated
    for name in FRAMES:
        np.testing.assert_allclose(poses.camera_from_vehicle[name], extrinsic(name), atol=1e-9)


@pytest.mark.fault(26, 28)
def test_fault_28_beyond_what_may_be_guessed_the_policy_without_history_counts():
    ego = EgoMotion(rig(), tf_timeout_ms=1, max_extrapolation_ms=100, require_ego_motion=False)
    guessed, alone = (ego.poses(frame_set(seconds, front=0), FRAMES) for seconds in (5.1, 5.2))
    assert guessed.extrapolated and guessed.fixed_from_vehicle is not None
    assert not alone.extrapolated and alone.fixed_from_vehicle is None
    assert "into the future" in guessed.problem and "into the future" in alone.problem
    assert ego.poses(frame_set(2.0, front=0), FRAMES).problem == ""


@pytest.mark.fault(26)
def test_fault_26_by_policy_still_needs_the_extrinsic():
    ego = EgoMotion(rig(until_s=-1, extrinsics={}), tf_timeout_ms=1, require_ego_motion=False)
    with pytest.raises(EgoMotionError, match="front_optical_frame"):
        ego.poses(frame_set(front=0), FRAMES)


@pytest.mark.fault(27)
def test_fault_27_late_transform_is_waited_for():
    source = rig(until_s=2.0)
    late = threading.Timer(0.03, lambda: feed(source, 2.06, curve(2.06)))
    late.start()
    poses = EgoMotion(source, tf_timeout_ms=20_000).poses(frame_set(front=0, back=50), FRAMES)
    late.join()
    assert not poses.extrapolated and set(poses.camera_from_vehicle) == set(FRAMES)


@pytest.mark.fault(10, 28)
def test_fault_10_28_future_is_refused_with_the_times():
    with pytest.raises(EgoMotionError, match="into the future.*1005.200000000.*1005.000000000"):
        EgoMotion(rig(), tf_timeout_ms=1).poses(frame_set(5.2, front=0), FRAMES)


@pytest.mark.fault(28)
def test_fault_28_extrapolation_only_as_far_as_allowed_and_flagged():
    ego = EgoMotion(rig(), tf_timeout_ms=1, max_extrapolation_ms=100)
    poses = ego.poses(frame_set(5.06, front=0, back=40), FRAMES)
    assert poses.extrapolated
    np.testing.assert_allclose(poses.fixed_from_vehicle, curve(5.06), atol=0.02)  # follows the curve
    expected = extrinsic("back") @ np.linalg.inv(curve(5.1)) @ curve(5.06)
    np.testing.assert_allclose(poses.camera_from_vehicle["back"], expected, atol=0.02)
    with pytest.raises(EgoMotionError, match="101 ms older.*max_extrapolation_ms"):
        ego.poses(frame_set(5.06, front=0, back=41), FRAMES)


def test_extrapolation_does_not_reach_into_the_past():
    with pytest.raises(EgoMotionError, match="into the past"):
        EgoMotion(rig(), tf_timeout_ms=1, max_extrapolation_ms=100).poses(frame_set(-0.05, front=0), FRAMES)


@pytest.mark.fault(30)
def test_fault_30_broken_transform_is_as_none_at_all():
    source = rig(until_s=2.0)
    broken = curve(2.1)
    broken[0, 3] = np.nan
    source.take(messages(stamped("odom", "base_link", T0 + 2_100 * MS, broken[:3, 3])))
    assert source.rejected == 1 and "not finite" in source.last_rejection
    with pytest.raises(EgoMotionError, match="into the future"):
        EgoMotion(source, tf_timeout_ms=1).poses(frame_set(2.1, front=0), FRAMES)


@pytest.mark.fault(32)
def test_fault_32_disconnected_trees_are_said():
    source = BufferTransformSource()
    source.take(messages(stamped("rig", FRAMES["front"], 0)), static=True)
    feed(source, 2.0, curve(2.0))
    with pytest.raises(EgoMotionError, match="two or more unconnected trees"):
        EgoMotion(source, tf_timeout_ms=1).poses(frame_set(front=0), FRAMES)


# -- jumps ----------------------------------------------------------------------------------------


def jumps(pose_at, stamps, tf_step_s=0.02, ego_reset_at=None):
    """The stamps at which a jump was seen."""
    source = rig(until_s=max(stamps) + 0.1, pose_at=pose_at, step_s=tf_step_s)
    ego = EgoMotion(source)
    seen = []
    for index, seconds in enumerate(stamps):
        if index == ego_reset_at:
            ego.reset()
        if ego.poses(frame_set(seconds, front=0), FRAMES).jump:
            seen.append(seconds)
    return seen


def moved_at(when, metres=0.0, degrees=0.0, speed=14.0):
    """Driving straight on, with the fixed frame shifted or turned from some moment on."""
    def pose_at(seconds):
        pose = from_yaw(speed * seconds, 0.0, 0.0, 0.0)
        return from_yaw(0.0, metres, 0.0, np.radians(degrees)) @ pose if seconds >= when else pose
    return pose_at


@pytest.mark.fault(29)
@pytest.mark.parametrize("interval", [0.1, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("speed", [0.0, 14.0, 40.0])
def test_fault_29_jump_of_20_m_is_seen_at_any_frame_rate(interval, speed):
    stamps = list(np.arange(0, 8.05, interval))
    when = 5.01
    first_after = next(seconds for seconds in stamps if seconds >= when)
    assert jumps(moved_at(when, metres=20.0, speed=speed), stamps) == [pytest.approx(first_after)]


@pytest.mark.fault(29)
@pytest.mark.parametrize("interval", [0.1, 0.5, 2.0])
def test_fault_29_turn_of_the_fixed_frame_is_seen(interval):
    def turned(seconds):  # on the spot: the position says nothing
        return from_yaw(0, 0, 0, np.radians(60.0) if seconds >= 5.01 else 0.0)
    stamps = list(np.arange(0, 8.05, interval))
    assert len(jumps(turned, stamps)) == 1
    if interval <= 0.5:
        assert len(jumps(turned, stamps, tf_step_s=interval)) == 1


@pytest.mark.parametrize("interval", [0.1, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("speed", [0.0, 14.0, 55.0])
def test_driving_is_no_jump_at_any_frame_rate(interval, speed):
    assert jumps(lambda seconds: curve(seconds, speed or 1e-9, 0.15), list(np.arange(0, 8.05, interval))) == []


def test_hard_braking_and_sharp_turns_are_no_jumps():
    def braking(seconds):
        t = min(seconds, 30 / 9)  # 30 m/s to a stand at 9 m/s2
        return from_yaw(30 * t - 4.5 * t * t, 0.0, 0.0, 0.0)
    for interval in (0.1, 0.5, 1.0, 2.0):
        assert jumps(braking, list(np.arange(0, 6.05, interval))) == []
        assert jumps(lambda seconds: curve(seconds, 8.0, 0.9), list(np.arange(0, 6.05, interval))) == []


@pytest.mark.fault(29)
def test_fault_29_transforms_as_rare_as_frames():
    """With nothing in between, the last speed must tell: 20 m at 2 Hz."""
    stamps = list(np.arange(0, 6.01, 0.5))
    assert jumps(moved_at(3.0, metres=20.0), stamps, tf_step_s=0.5) == [3.0]
    assert jumps(moved_at(99.0), stamps, tf_step_s=0.5) == []


@pytest.mark.fault(33)
def test_fault_33_after_a_reset_another_place_is_no_jump():
    assert jumps(moved_at(3.0, metres=500.0), [1.0, 2.0, 3.5, 4.5], ego_reset_at=2) == []


def test_stamp_that_goes_back_starts_anew():
    detector = JumpDetector(5.0, 20.0)
    assert detector.check(T0 + SECOND, np.eye(4), lambda _: None) == ""
    assert detector.check(T0, from_yaw(100, 0, 0, 0), lambda _: None) == ""
    assert detector.check(T0 + SECOND // 10, from_yaw(200, 0, 0, 0), lambda _: None) != ""


@settings(max_examples=200, deadline=None)
@given(st.floats(0, 50), st.floats(-8, 8), st.lists(st.floats(0.03, 2.0), min_size=3, max_size=10), st.data())
def test_bounded_acceleration_is_never_a_jump_and_20_m_at_10_hz_always(speed, acceleration, intervals, data):
    detector = JumpDetector(5.0, 20.0)
    now, place, unknown = 0.0, 0.0, lambda _: None
    for interval in intervals:
        assert detector.check(T0 + round(now * 1e9), from_yaw(place, 0, 0, 0), unknown) == ""
        for _ in range(100):  # fine steps, and no reversing
            place += speed * interval / 100
            speed = min(max(speed + acceleration * interval / 100, 0.0), 55.0)
        now += interval
    for _ in range(2):
        detector.check(T0 + round(now * 1e9), from_yaw(place, 0, 0, 0), unknown)
        now, place = now + 0.1, place + speed * 0.1
    direction = data.draw(st.floats(0, 2 * np.pi))
    shift = 20 * np.array([np.cos(direction), np.sin(direction)])
    assert "from where it was expected" in detector.check(
        T0 + round(now * 1e9), from_yaw(place + shift[0], shift[1], 0, 0), unknown)


def test_namespace_stand_ins_are_enough():
    """Nothing here needs ROS: a frame set may be anything alike."""
    whole = frame_set(front=0)
    alike = SimpleNamespace(reference_stamp_ns=whole.reference_stamp_ns, entries=whole.entries)
    assert EgoMotion(rig()).poses(alike, FRAMES).fixed_from_vehicle is not None
