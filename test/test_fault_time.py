"""The running node when transforms stop or do not meet, and when time jumps or stands still."""

import needs_ros  # noqa: F401

# isort: split
import pytest
from fake_vehicle import MS, S, ego_pose, transform_message, vehicle_from_camera
from node_harness import LogListener, ids, running
from tf2_msgs.msg import TFMessage

from sparse4d_ros.msg import CameraInput, TrackedObject3DArray
from sparse4d_ros.node.log import ThrottledLog

pytestmark = pytest.mark.ros


@pytest.mark.fault(28)
def test_transforms_that_stop_are_an_error_and_nothing_is_guessed():
    with running(parameters={"tf_timeout_ms": 20.0}) as harness:
        before = harness.drive(2, 100 * S)[1]
        harness.vehicle.publish(100 * S + 400 * MS, pose=None)
        text = harness.diagnosed(lambda d: d["ego motion"]["level"] == "ERROR" and d["ego motion"]["text"])
        assert "into the future" in text and "'odom'" in text
        assert len(harness.engine.frames) == 2
        after = harness.drive(1, 100 * S + 500 * MS)[0]
        assert ids(before) == ids(after) and after.flags == 0
        assert harness.diagnosed(lambda d: d["ego motion"]["level"] == "OK")


@pytest.mark.fault(28)
def test_motion_goes_on_without_transforms_where_allowed_and_is_flagged():
    with running(parameters={"tf_timeout_ms": 20.0, "max_ego_extrapolation_ms": 300.0}) as harness:
        harness.drive(2, 100 * S)  # transforms up to 230 ms
        guessed = harness.drive(1, 100 * S + 300 * MS, pose=None)[0]
        assert guessed.flags == TrackedObject3DArray.EGO_MOTION_EXTRAPOLATED
        harness.vehicle.publish(100 * S + 600 * MS, pose=None)
        text = harness.diagnosed(lambda d: d["ego motion"]["level"] == "ERROR" and d["ego motion"]["text"])
        assert "max_extrapolation_ms" in text and len(harness.engine.frames) == 3


@pytest.mark.fault(29)
def test_a_jump_of_the_fixed_frame_is_logged_as_a_warning():
    def jumped(stamp_ns):
        pose = ego_pose(stamp_ns).copy()
        pose[0, 3] += 20.0
        return pose

    with running() as harness:
        log = LogListener(harness)
        harness.drive(2, 100 * S)
        assert harness.drive(1, 100 * S + 400 * MS, pose=jumped)[0].bank_epoch == 1
        assert log.wait(lambda lines: [x for x in lines if x.level == x.WARN and "the vehicle moved" in x.msg])


@pytest.mark.fault(32)
def test_trees_that_do_not_meet_are_told_by_the_lookup():
    with running(parameters={"tf_timeout_ms": 20.0}) as harness:
        harness.vehicle.frames["back"] = "lonely_camera"
        harness.vehicle.tf_static.publish(TFMessage(transforms=[
            transform_message("another_rig", "lonely_camera", vehicle_from_camera("back"), 0)]))
        harness.vehicle.publish(100 * S)
        text = harness.diagnosed(lambda d: "not part of the same tree" in d["ego motion"]["text"] and
                                 d["ego motion"]["text"])
        assert "'base_link' to 'lonely_camera'" in text and not harness.engine.frames


class Lines:
    """Stands in for a node's logger."""

    def __init__(self):
        self.lines = []

    def warning(self, text):
        self.lines.append(("warning", text))

    def error(self, text):
        self.lines.append(("error", text))


@pytest.mark.fault(32)
def test_a_fault_that_lasts_is_logged_once_a_second():
    now, logger = [0.0], Lines()
    log = ThrottledLog(logger, clock=lambda: now[0])
    for index in range(25):  # 2.4 s at 10 Hz
        now[0] = index * 0.1
        log.error("ego_motion", "no transform")
        if index == 12:
            log.warning("other", "something else")
    assert logger.lines == [("error", "no transform"), ("error", "no transform (9 more like this)"),
                            ("warning", "something else"), ("error", "no transform (9 more like this)")]


@pytest.mark.fault(35)
def test_a_second_backward_is_a_reset_and_no_history():
    with running() as harness:
        before = harness.drive(2, 100 * S)[1]
        (after,) = harness.drive(1, 99 * S)
        assert after.bank_epoch == 1 and after.flags == TrackedObject3DArray.NO_HISTORY
        assert after.time_interval_s == 0.0 and not set(ids(before)) & set(ids(after))


@pytest.mark.fault(37)
def test_a_seek_of_30_s_forward_is_a_reset():
    with running() as harness:
        before = harness.drive(2, 100 * S)[1]
        after = harness.drive(2, 130 * S)
        assert [m.bank_epoch for m in after] == [1, 1] and after[0].time_interval_s == 0.0
        assert after[0].flags == TrackedObject3DArray.NO_HISTORY and after[1].flags == 0
        assert not set(ids(before)) & set(ids(after[0])) and ids(after[0]) == ids(after[1])


@pytest.mark.fault(36, 38)
def test_simulated_time_that_never_begins_is_told_and_timeouts_work():
    parameters = {"use_sim_time": True, "min_cameras": 5, "max_wait_ms": 2000.0, "diagnostics.max_image_age_ms": 200.0}
    with running(parameters=parameters) as harness:
        assert harness.diagnosed(lambda d: d["model"]["level"] == "WARN" and "/clock" in d["model"]["text"])
        message = harness.drive(1, 100 * S, skip=["back"])[0]  # closed by the steady clock alone
        assert message.cameras[3].state == CameraInput.MISSING
        assert harness.diagnosed(lambda d: d["camera front"]["state"] == "stale")
        assert harness.diagnosed(lambda d: d["model"]["level"] == "WARN" and "/clock" in d["model"]["text"])
