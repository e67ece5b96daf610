"""The running node when time, transforms or the network misbehave."""

import needs_ros  # noqa: F401

# isort: split
import gc
import threading
import weakref

import numpy as np
import pytest
from fake_engine import NAMES, FakeEngine
from fake_vehicle import MS, WITHIN_S, S, ego_pose, transform_message
from node_harness import ids, running, wait_until
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo
from tf2_msgs.msg import TFMessage

from sparse4d_ros import geometry
from sparse4d_ros.engine import NumericalError
from sparse4d_ros.msg import TrackedObject3DArray
from sparse4d_ros.node.messages import time_message

pytestmark = pytest.mark.ros


@pytest.mark.fault(33)
def test_a_bag_that_loops_starts_a_new_epoch_and_ids_go_on():
    with running() as harness:
        before = harness.drive(3, 100 * S)
        after = harness.drive(2, 80 * S)  # from the first set on: its transforms come before its images
        assert [m.bank_epoch for m in before + after] == [0, 0, 0, 1, 1]
        assert after[0].flags == TrackedObject3DArray.NO_HISTORY and after[0].time_interval_s == 0.0
        assert not set(ids(before[-1])) & set(ids(after[0])) and ids(after[0]) == ids(after[1])
        assert harness.diagnosed(lambda d: d["instance bank"].get("resets_backward_jump") == "1")


@pytest.mark.fault(34)
def test_a_small_backward_step_drops_the_frame_and_keeps_the_bank():
    with running() as harness:
        first = harness.drive(1, 100 * S)[0]
        harness.vehicle.publish(100 * S - 10 * MS)
        assert harness.diagnosed(lambda d: all(int(d[f"camera {name}"]["images"]) == 2 for name in NAMES))
        second = harness.drive(1, 100 * S + 100 * MS)[0]
        assert ids(first) == ids(second) and second.bank_epoch == 0
        assert [f.stamp_ns for f in harness.engine.frames] == [100 * S, 100 * S + 100 * MS]


@pytest.mark.fault(33)
def test_a_clock_that_runs_backwards_resets_too():
    with running(parameters={"use_sim_time": True}) as harness:
        clock = harness.helper.create_publisher(Clock, "/clock", 10)
        assert wait_until(lambda: clock.get_subscription_count() > 0)
        clock.publish(Clock(clock=time_message(100 * S)))
        assert wait_until(lambda: harness.node.get_clock().now().nanoseconds == 100 * S)
        harness.drive(1, 100 * S)
        clock.publish(Clock(clock=time_message(90 * S)))
        assert wait_until(lambda: harness.node.get_clock().now().nanoseconds == 90 * S)
        again = harness.drive(1, 100 * S + 100 * MS)[0]  # the stamps themselves did not go back
        assert again.bank_epoch == 1 and again.flags == TrackedObject3DArray.NO_HISTORY


@pytest.mark.fault(33)
def test_a_transform_that_was_under_way_when_the_clock_went_back_does_not_shut_out_the_new_ones():
    with running(parameters={"use_sim_time": True}) as harness:
        clock = harness.helper.create_publisher(Clock, "/clock", 10)
        assert wait_until(lambda: clock.get_subscription_count() > 0)
        for now_ns in (100 * S, 80 * S):
            clock.publish(Clock(clock=time_message(now_ns)))
            assert wait_until(lambda n=now_ns: harness.node.get_clock().now().nanoseconds == n)
            if now_ns == 100 * S:
                harness.drive(1, now_ns)
        harness.vehicle.publish_tf([100 * S + 200 * MS])
        assert [m.bank_epoch for m in harness.drive(2, 80 * S)] == [1, 1]


@pytest.mark.fault(26)
def test_without_ego_motion_there_is_no_output_and_the_lookup_error_is_told():
    with running(parameters={"tf_timeout_ms": 20.0}) as harness:
        harness.vehicle.publish(100 * S, pose=None)
        text = harness.diagnosed(lambda d: d["ego motion"]["level"] == "ERROR" and d["ego motion"]["text"])
        assert "odom" in text
        assert not harness.engine.frames and not harness.objects.messages


@pytest.mark.fault(26)
def test_without_ego_motion_by_policy_every_frame_stands_alone():
    with running(parameters={"tf_timeout_ms": 20.0, "ego_motion_policy": "no_history"}) as harness:
        answers = harness.drive(2, 100 * S, pose=None)
        assert all(m.flags == TrackedObject3DArray.NO_HISTORY for m in answers)
        assert not set(ids(answers[0])) & set(ids(answers[1]))
        assert harness.diagnosed(lambda d: d["ego motion"]["level"] == "WARN" and "odom" in d["ego motion"]["text"])


@pytest.mark.fault(27)
def test_a_set_waits_for_late_transforms_and_callbacks_do_not():
    with running() as harness:
        harness.drive(1, 100 * S)
        stamp = 101 * S
        harness.vehicle.publish(stamp, pose=None)
        # The executor is free while the worker waits: diagnostics and images go on.
        assert harness.diagnosed(lambda d: float(d["model"]["busy_ms"]) > 0 and int(d["camera front"]["images"]) == 2)
        harness.vehicle.publish_tf(range(stamp - 50 * MS, stamp + 150 * MS, 20 * MS))
        assert harness.answer(stamp) is not None


@pytest.mark.fault(29)
def test_a_jump_of_the_fixed_frame_resets_the_bank():
    def jumped(stamp_ns):
        pose = ego_pose(stamp_ns).copy()
        pose[0, 3] += 20.0
        return pose

    with running() as harness:
        harness.drive(2, 100 * S)
        far = harness.drive(1, 100 * S + 400 * MS, pose=jumped)[0]
        assert far.bank_epoch == 1 and far.flags == TrackedObject3DArray.NO_HISTORY
        assert harness.diagnosed(lambda d: d["instance bank"].get("resets_ego_jump") == "1")


@pytest.mark.fault(30)
def test_broken_transforms_are_refused():
    def broken(stamp_ns):
        pose = ego_pose(stamp_ns).copy()
        pose[0, 3] = np.nan
        return pose

    with running(parameters={"tf_timeout_ms": 20.0}) as harness:
        harness.vehicle.publish(100 * S, pose=broken)
        found = harness.diagnosed(lambda d: int(d["ego motion"]["transforms_rejected"]) > 0 and d)
        assert not harness.engine.frames and found["ego motion"]["last_rejection"]
        harness.drive(1, 101 * S)


@pytest.mark.fault(28, 31)
def test_a_transform_from_the_future_does_not_shut_out_the_right_ones_for_long_and_is_told():
    with running() as harness:
        harness.drive(1, 100 * S)
        harness.vehicle.publish_tf([3700 * S])
        harness.vehicle.publish_tf(range(100 * S + 200 * MS, 101 * S, 20 * MS))
        assert [m.bank_epoch for m in harness.drive(2, 101 * S)] == [0, 0]
        assert "'base_link' on /tf is ignored: its stamp was 3599" in harness.diagnosed(
            lambda d: d["ego motion"]["level"] == "WARN" and d["ego motion"]["text"])


@pytest.mark.fault(45)
def test_nan_from_the_network_is_never_published_and_empties_the_bank():
    def fail_second(number, frame):
        if number == 1:
            raise NumericalError("the network gave NaN in 3 boxes")

    with running(FakeEngine(before_step=fail_second)) as harness:
        harness.drive(1, 100 * S)
        harness.vehicle.publish(100 * S + 100 * MS)
        text = harness.diagnosed(lambda d: d["model"]["level"] == "ERROR" and d["model"]["text"])
        assert "NaN" in text
        after = harness.drive(1, 100 * S + 200 * MS)[0]
        assert after.bank_epoch == 1 and min(ids(after)) > 6
        assert harness.diagnosed(lambda d: d["model"]["level"] != "ERROR")


@pytest.mark.fault(46)
def test_inference_that_throws_once_costs_one_frame():
    def fail_second(number, frame):
        if number == 1:
            raise RuntimeError("out of memory")

    with running(FakeEngine(before_step=fail_second)) as harness:
        before = harness.drive(1, 100 * S)[0]
        harness.vehicle.publish(100 * S + 100 * MS)
        assert harness.diagnosed(lambda d: d["model"].get("dropped_inference_error") == "1"
                                 and "out of memory" in d["model"]["text"])
        after = harness.drive(1, 100 * S + 200 * MS)[0]
        assert ids(before) == ids(after) and after.time_interval_s == pytest.approx(0.2)


@pytest.mark.fault(44)
def test_failures_in_a_row_deactivate_and_free_the_model():
    def fail(number, frame):
        raise RuntimeError("device lost")

    closed, loaded = [], []

    def factory(settings):
        engine = FakeEngine(before_step=fail)
        engine.close = lambda: closed.append(True)
        loaded.append(weakref.ref(engine))
        return engine

    with running(engine_factory=factory, parameters={"max_consecutive_failures": 3}) as harness:
        for index in range(3):
            harness.vehicle.publish(100 * S + index * 100 * MS)
            assert wait_until(lambda n=index: harness.node._statistics.failures_in_row > n)
        found = harness.diagnosed(lambda d: d["model"]["lifecycle"] == "unconfigured" and d)
        assert found["model"]["level"] == "ERROR" and "device lost" in found["model"]["text"]
        assert closed == [True] and wait_until(lambda: gc.collect() >= 0 and loaded[0]() is None)


@pytest.mark.fault(47)
def test_the_watchdog_speaks_while_the_network_hangs():
    go = threading.Event()
    engine = FakeEngine(before_step=lambda number, frame: go.wait(WITHIN_S))
    with running(engine, parameters={"diagnostics.max_processing_time_ms": 50.0}) as harness:
        harness.vehicle.publish(100 * S)
        assert harness.diagnosed(lambda d: d["model"]["level"] == "ERROR" and "watchdog" in d["model"]["text"])
        go.set()
        assert harness.answer(100 * S) is not None


@pytest.mark.fault(21)
def test_a_new_calibration_counts_from_the_next_frame():
    with running() as harness:
        harness.drive(1, 100 * S)
        changed: CameraInfo = harness.vehicle.info_message("front", 1)
        k = np.array(changed.k)
        k[0] *= 1.5
        changed.k = k
        harness.vehicle.infos["front"].publish(changed)
        assert harness.diagnosed(lambda d: int(d["camera front"]["camera_infos"]) == 3)
        harness.drive(1, 100 * S + 100 * MS, info=False)
        first, second = (frame.cameras[0].intrinsic for frame in harness.engine.frames)
        assert second[0, 0] == pytest.approx(1.5 * first[0, 0])


@pytest.mark.fault(5, 36)
def test_all_cameras_silent_is_told_by_the_steady_timer_and_the_bank_is_kept():
    with running(parameters={"diagnostics.max_image_age_ms": 200.0}) as harness:
        before = harness.drive(2, 100 * S)[1]
        found = harness.diagnosed(lambda d: d["camera front"]["state"] == "stale" and d)
        assert found["camera front"]["level"] == "ERROR" and "transport profile" in found["camera front"]["text"]
        after = harness.drive(1, 100 * S + 200 * MS)[0]  # a paused bag goes on: stamps say that no time has passed
        assert ids(before) == ids(after) and after.bank_epoch == 0
        late = harness.drive(1, 103 * S)[0]
        assert late.bank_epoch == 1 and late.flags == TrackedObject3DArray.NO_HISTORY
        assert harness.diagnosed(lambda d: d["instance bank"].get("resets_long_gap") == "1")


@pytest.mark.fault(61)
def test_noise_on_every_topic_is_refused_and_the_node_lives():
    rng = np.random.default_rng(7)

    def noise(name, message):
        message.data = rng.bytes(int(rng.integers(0, 3000)))
        message.format = "".join(map(chr, rng.integers(32, 127, 8)))
        if rng.random() < 0.3:
            message.header.frame_id = "".join(map(chr, rng.integers(32, 127, 5)))
        return message

    with running(parameters={"tf_timeout_ms": 200.0}) as harness:
        for index in range(30):
            info = harness.vehicle.info_message("front", 1)
            info.k = rng.normal(0, 10.0 ** rng.integers(-3, 300), 9)
            info.width, info.d = int(rng.integers(0, 9999)), rng.normal(size=int(rng.integers(0, 20))).tolist()
            harness.vehicle.infos["front"].publish(info)
            transform = transform_message("odom", "base_link", np.eye(4), int(rng.integers(1, 200)) * S)
            values = rng.normal(0, 10.0 ** rng.integers(-3, 300), 7)
            values[rng.integers(0, 7)] = rng.choice([np.nan, np.inf, 0.0])
            transform.transform.translation.x, transform.transform.rotation.w = values[0], values[1]
            transform.transform.rotation.z = values[2]
            harness.vehicle.tf.publish(TFMessage(transforms=[transform]))
            harness.vehicle.publish(100 * S + index * 100 * MS, change=noise, info=False)
        assert harness.diagnosed(lambda d: int(d["camera back"]["images_rejected"]) > 0)
        assert not harness.engine.frames
        # The camera_info that ends the noise goes first: images must not overtake it.
        heard = harness.diagnosed(lambda d: int(d["camera front"]["camera_infos"]))
        harness.vehicle.infos["front"].publish(harness.vehicle.info_message("front", 205 * S))
        assert harness.diagnosed(lambda d: int(d["camera front"]["camera_infos"]) > heard)
        harness.drive(2, 210 * S)


@pytest.mark.fault(19)
def test_no_calibration_no_output():
    with running(ready=False) as harness:
        assert wait_until(harness.vehicle.connected)
        harness.vehicle.publish(100 * S, info=False)
        assert harness.diagnosed(lambda d: d["camera front"]["state"] == "waiting_camera_info"
                                 and d["camera front"]["level"] == "ERROR")
        assert not harness.engine.frames


@pytest.mark.fault(24)
def test_a_missing_extrinsic_names_the_frame_pair():
    with running(parameters={"tf_timeout_ms": 20.0}) as harness:
        harness.vehicle.frames["back"] = "nowhere"
        harness.vehicle.publish(100 * S)
        text = harness.diagnosed(lambda d: d["ego motion"]["level"] == "ERROR" and d["ego motion"]["text"])
        assert "'base_link' to 'nowhere'" in text
        assert not harness.engine.frames


def test_poses_are_taken_relative_so_that_the_odometry_may_start_anywhere():
    offset = geometry.from_yaw(5e5, -3e5, 100.0, 2.0)
    with running() as harness:
        message = harness.drive(2, 100 * S, pose=lambda stamp_ns: offset @ ego_pose(stamp_ns))[1]
        assert message.objects[0].pose.position.x == pytest.approx(8.0, abs=0.06)
