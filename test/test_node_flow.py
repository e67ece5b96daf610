"""The running node on real topics: six cameras and tf in, tracked objects out, and what becomes of camera faults."""

import needs_ros  # noqa: F401

# isort: split
import cv2
import numpy as np
import pytest
from fake_engine import NAMES, FakeEngine
from fake_vehicle import MS, SPEED, SPOT_M, WITHIN_S, YAW_RATE, Listener, S, ego_pose, picture, spot
from node_harness import ids, running
from sensor_msgs.msg import CompressedImage
from vision_msgs.msg import Detection3DArray
from visualization_msgs.msg import MarkerArray

from sparse4d_ros.msg import CameraInput, TrackedObject3DArray
from sparse4d_ros.node import qos, topics
from sparse4d_ros.node.messages import nanoseconds

pytestmark = pytest.mark.ros
#: A pixel of the fake cameras is 0.4 m on the ground; a pose at the wrong stamp costs up to 0.5 m.
ACCURACY_M = 0.06


def positions(message):
    return np.array([[o.pose.position.x, o.pose.position.y, o.pose.position.z] for o in message.objects])


@pytest.mark.parametrize("transport", ["raw", "compressed"])
def test_six_cameras_in_tracked_objects_out(transport):
    with running(transport=transport) as harness:
        detections = Listener(harness.helper, Detection3DArray, "/sparse4d_node/output/detections")
        start = harness.node.get_clock().now().nanoseconds  # stamps of now: diagnostics compare with the clock
        answers = harness.drive(4, start)
        expected = np.array([spot(name) for name in NAMES])
        for index, message in enumerate(answers):
            assert message.header.frame_id == "base_link"
            assert nanoseconds(message.header.stamp) == start + index * 100 * MS
            assert np.abs(positions(message) - expected).max() < ACCURACY_M
            assert ids(message) == [1, 2, 3, 4, 5, 6]
            assert [o.hits for o in message.objects] == [index + 1] * 6
            assert (message.sequence, message.bank_epoch) == (index, 0)
            assert message.flags == (TrackedObject3DArray.NO_HISTORY if index == 0 else 0)
            assert message.time_interval_s == pytest.approx(0.1 if index else 0.0)
            assert [c.name for c in message.cameras] == list(NAMES)
            assert {c.state for c in message.cameras} == {CameraInput.OK}
            assert [c.offset_ms for c in message.cameras] == pytest.approx([0, 10, 20, 30, 40, 50])
            timing = message.timing
            assert timing.wait > 0 and timing.decode > 0 and timing.preprocess == 0.5 and timing.postprocess == 0.25
            assert timing.total >= timing.decode and np.isfinite(timing.sensor_to_publish)
        velocity = [(o.velocity.x, o.velocity.y, o.velocity_valid) for o in answers[-1].objects][0]
        assert velocity[0] == pytest.approx(SPEED, abs=0.6) and velocity[2]
        assert detections.wait(lambda messages: len(messages) == 4)
        assert [d.id for d in detections.messages[0].detections] == ["1", "2", "3", "4", "5", "6"]
        assert harness.engine.warmups == 1
        assert harness.diagnosed(lambda found: found["model"]["text"] == "running" and all(
            found[f"camera {name}"]["level"] == "OK" for name in NAMES))


def test_images_meet_their_own_matrices_and_their_own_poses():
    with running() as harness:
        harness.drive(2, 100 * S)
        frame = harness.engine.frames[1]
        assert [camera.name for camera in frame.cameras] == list(NAMES)
        assert np.abs(frame.fixed_from_vehicle - ego_pose(frame.stamp_ns)).max() < 1e-4
        for index, camera in enumerate(frame.cameras):
            assert camera.stamp_ns == frame.stamp_ns + 10 * MS * index
            sent = picture(camera.name, frame.stamp_ns, camera.stamp_ns)
            assert np.abs(camera.image.astype(int) - sent).mean() < 2.0  # JPEG
        assert harness.engine.frames[1].cameras[0].image.dtype == np.uint8


def test_output_frame_is_honoured():
    with running(parameters={"output_frame": "odom"}) as harness:
        message = harness.drive(2, 100 * S)[1]
        assert message.header.frame_id == "odom"
        pose = ego_pose(100 * S + 100 * MS)
        expected = np.array([pose[:3, :3] @ spot(name) + pose[:3, 3] for name in NAMES])
        assert np.abs(positions(message) - expected).max() < ACCURACY_M
        front = message.objects[0].velocity  # of a point ahead that turns with the vehicle
        expected = pose[:3, :3] @ [SPEED, YAW_RATE * SPOT_M, 0.0]
        assert [front.x, front.y] == pytest.approx(expected[:2], abs=0.4)


@pytest.mark.fault(1)
def test_a_camera_that_never_appears_means_silence_and_an_error_naming_it():
    with running(parameters={"max_wait_ms": 50.0, "diagnostics.max_image_age_ms": 500.0}) as harness:
        for index in range(5):
            harness.vehicle.publish(100 * S + index * 100 * MS, skip=["back_left"])
        found = harness.diagnosed(lambda d: d["camera back_left"]["level"] == "ERROR" and int(
            d["camera front"]["images"]) and d)
        assert "back_left" in found["camera back_left"]["text"]
        assert found["camera back_left"]["state"] == "waiting_image"
        assert not harness.objects.messages and not harness.engine.frames
        found = harness.diagnosed(lambda d: "nothing was published" in d["model"]["text"] and d)
        assert found["model"]["level"] == "ERROR" and int(found["model"]["dropped_incomplete_set"]) > 0


@pytest.mark.fault(2, 3, 4)
def test_with_one_camera_less_allowed_the_set_goes_out_flagged_and_recovers():
    with running(parameters={"min_cameras": 5, "max_wait_ms": 1000.0}) as harness:
        whole = harness.drive(1, 100 * S)[0]
        lacking = harness.drive(2, 100 * S + 100 * MS, skip=["back_left"])
        again = harness.drive(1, 100 * S + 300 * MS)[0]
        assert whole.flags == TrackedObject3DArray.NO_HISTORY and again.flags == 0
        for message in lacking:
            assert message.flags == TrackedObject3DArray.DEGRADED_CAMERAS
            states = {c.name: c.state for c in message.cameras}
            assert states.pop("back_left") == CameraInput.MISSING and set(states.values()) == {CameraInput.OK}
            assert len(message.objects) == 5  # its last image is not used again
        assert len(again.objects) == 6
        assert [f.cameras[4].image is None for f in harness.engine.frames] == [False, True, True, False]


@pytest.mark.fault(15)
def test_a_broken_jpeg_costs_that_image_alone():
    def truncate(name, message):
        if name == "front_left":
            message.data = bytes(message.data)[:20]
        return message

    with running(parameters={"min_cameras": 5}) as harness:
        message = harness.drive(1, 100 * S, change=truncate)[0]
        states = {c.name: c.state for c in message.cameras}
        assert states["front_left"] == CameraInput.REJECTED
        assert message.flags & TrackedObject3DArray.DEGRADED_CAMERAS and len(message.objects) == 5
        assert harness.diagnosed(lambda d: d["camera front_left"]["state"] == "rejected")
        assert len(harness.drive(1, 100 * S + 100 * MS)[0].objects) == 6


@pytest.mark.fault(15)
def test_with_all_cameras_required_a_broken_image_drops_the_set_and_counts_it():
    def empty(name, message):
        message.data = b"" if name == "back" else message.data
        return message

    with running() as harness:
        harness.vehicle.publish(100 * S, change=empty)
        assert harness.diagnosed(lambda d: d["model"].get("dropped_camera_rejected") == "1")
        assert not harness.engine.frames
        harness.drive(1, 100 * S + 100 * MS)


@pytest.mark.fault(16)
def test_swapped_topics_are_an_error():
    names = {"front": "front_optical_frame", "back": "back_optical_frame"}

    def swap(name, message):
        if name in names:
            message.header.frame_id = names["front" if name == "back" else "back"]
        return message

    with running(parameters={f"camera_frames.{n}": frame for n, frame in names.items()}) as harness:
        harness.vehicle.publish(100 * S, change=swap)
        text = harness.diagnosed(lambda d: d["camera front"]["state"] == "rejected" and d["camera front"]["text"])
        assert "back_optical_frame" in text and "front_optical_frame" in text
        assert not harness.engine.frames


@pytest.mark.fault(9)
def test_stamp_zero_never_mixes_with_real_time():
    def zero(name, message):
        message.header.stamp.sec = message.header.stamp.nanosec = 0
        return message

    with running() as harness:
        harness.vehicle.publish(100 * S, change=zero)
        assert harness.diagnosed(lambda d: all(d[f"camera {n}"].get("rejected") == "1" for n in NAMES))
        assert not harness.engine.frames
        assert harness.drive(1, 100 * S)[0].bank_epoch == 0


@pytest.mark.fault(51)
def test_a_policy_mismatch_becomes_the_cameras_state():
    with running(parameters={"input_qos": "reliable"}, ready=False) as harness:
        text = harness.diagnosed(lambda d: d.get("camera front", {}).get("state") == "qos_mismatch"
                                 and d["camera front"]["text"])
        assert "RELIABILITY" in text


@pytest.mark.fault(18, 48)
def test_slow_inference_takes_the_newest_set_and_counts_the_rest():
    import threading
    begun, go = threading.Event(), threading.Event()

    def wait_in_first(number, frame):
        if number == 0:
            begun.set()
            assert go.wait(WITHIN_S)

    with running(FakeEngine(before_step=wait_in_first)) as harness:
        harness.vehicle.publish(100 * S)
        assert begun.wait(WITHIN_S)
        for index in range(1, 11):  # ten sets pile up; publish at the pace at which they are closed
            harness.vehicle.publish(100 * S + index * 100 * MS)
            assert harness.diagnosed(lambda d, n=index: int(d["camera front"]["used"]) == n + 1)
        go.set()
        last = harness.answer(101 * S)
        assert last is not None and last.time_interval_s == pytest.approx(1.0)
        assert [f.stamp_ns for f in harness.engine.frames] == [100 * S, 101 * S]
        assert harness.diagnosed(lambda d: d["model"]["dropped_newer_set"] == "9")
        harness.drive(1, 101 * S + 100 * MS)


def test_stride_uses_sets_near_the_training_interval():
    with running(parameters={"rate_policy": "stride"}) as harness:
        for index in range(11):
            harness.vehicle.publish(100 * S + index * 100 * MS)
            assert harness.diagnosed(lambda d, n=index: int(d["camera front"]["used"]) == n + 1)
            if index % 5 == 0:  # is used; while the worker is busy with it, the next one would wait
                assert harness.answer(100 * S + index * 100 * MS) is not None
        assert [f.stamp_ns for f in harness.engine.frames] == [100 * S, 100 * S + 500 * MS, 101 * S]
        assert harness.diagnosed(lambda d: d["model"]["dropped_rate_policy"] == "8")


@pytest.mark.fault(17)
def test_a_rate_outside_the_packages_range_is_flagged():
    with running() as harness:
        late = harness.drive(2, 100 * S, step_ns=1700 * MS)[1]
        assert late.flags == TrackedObject3DArray.RATE_OUT_OF_RANGE and late.bank_epoch == 0


def test_markers_and_overlays_are_made_for_subscribers():
    with running(parameters={"publish_overlay": True}) as harness:
        markers = Listener(harness.helper, MarkerArray, "/sparse4d_node/output/markers")
        topic = topics.overlay("back").replace("~", "/sparse4d_node")
        overlays = Listener(harness.helper, CompressedImage, topic, qos.profile("overlay"))
        assert harness.objects.wait(lambda _: harness.helper.count_publishers(topic))
        # a volatile subscription misses what was sent before the two had met
        for index in range(20):
            harness.drive(1, 100 * S + index * 100 * MS)
            if markers.messages and overlays.messages:
                break
        shown = markers.wait(lambda messages: messages[-1] if messages else None)
        assert {m.ns for m in shown.markers} >= {"box", "heading", "text"}
        drawn = overlays.wait(lambda messages: messages[-1] if messages else None)
        image = cv2.imdecode(np.frombuffer(drawn.data, np.uint8), cv2.IMREAD_COLOR)
        stamp_ns = nanoseconds(drawn.header.stamp)
        assert drawn.header.frame_id == "back_optical_frame"
        plain = picture("back", stamp_ns - 30 * MS, stamp_ns)
        assert image.shape == plain.shape and (np.abs(image.astype(int) - plain).max(axis=2) > 60).sum() > 20
