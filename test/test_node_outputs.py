"""Messages, markers, overlays and diagnostics texts: the parts of the node's output that need no running node."""

import needs_ros  # noqa: F401

# isort: split
import cv2
import numpy as np
import pytest
from fake_vehicle import INTRINSIC, S, vehicle_from_camera
from visualization_msgs.msg import Marker

from sparse4d_ros import boxes, geometry
from sparse4d_ros.engine.detections import Detections
from sparse4d_ros.errors import UserError
from sparse4d_ros.msg import CameraInput, TrackedObject3DArray
from sparse4d_ros.node import diagnostics, markers, messages, overlay, qos
from sparse4d_ros.node.cameras import CameraState, CameraStatus
from sparse4d_ros.node.diagnostics import CameraSnapshot, PipelineSnapshot
from sparse4d_ros.node.messages import CameraReport, FrameReport
from sparse4d_ros.node.settings import Settings

pytestmark = pytest.mark.ros


def detections(count, stamp_ns=5 * S, first_id=1, positions=None):
    rng = np.random.default_rng(count)
    rows = rng.normal(0.0, 10.0, (count, 10))
    rows[:, boxes.LENGTH:boxes.HEIGHT + 1] = rng.uniform(0.5, 5.0, (count, 3))
    if positions is not None:
        rows[:, :3] = positions
    return Detections(
        stamp_ns=stamp_ns, boxes=rows, class_ids=np.arange(count) % 10, scores=np.linspace(0.9, 0.4, count),
        class_scores=rng.random(count), centerness=rng.random(count), yawness=rng.random(count),
        track_ids=np.arange(first_id, first_id + count), hits=np.arange(count), frames_since_hit=np.arange(count) % 3,
        age_s=rng.random(count), velocity_valid=np.arange(count) % 2 == 0, depth=np.full(count, np.nan),
        camera_mask=np.full(count, 0xFFFFFFFF, np.uint32), time_interval_s=0.1, epoch=3)


def tracked(found, **report):
    values = {"sequence": 7, "flags": 0, "cameras": (), "timing_ms": {}} | report
    return messages.tracked_objects(found, boxes.NUSCENES_CLASSES, "base_link", FrameReport(**values))


def test_every_field_of_an_object_is_carried_over():
    found = detections(12)
    message = tracked(found, flags=5, timing_ms={"wait": 1.5, "total": 20.0}, cameras=(
        CameraReport("front", CameraInput.OK, 5 * S), CameraReport("back", CameraInput.LATE, 5 * S - 30_000_000),
        CameraReport("left", CameraInput.MISSING)))
    assert messages.nanoseconds(message.header.stamp) == 5 * S and message.header.frame_id == "base_link"
    assert (message.sequence, message.bank_epoch, message.flags) == (7, 3, 5)
    assert message.timing.wait == 1.5 and message.timing.total == 20.0
    assert [c.state for c in message.cameras] == [0, 2, 1]
    assert message.cameras[1].offset_ms == pytest.approx(-30.0)
    assert message.cameras[2].stamp.sec == 0
    for index, item in enumerate(message.objects):
        row = found.boxes[index]
        assert [item.pose.position.x, item.pose.position.y, item.pose.position.z] == pytest.approx(row[:3])
        assert [item.size.x, item.size.y, item.size.z] == pytest.approx(row[3:6])
        assert [item.velocity.x, item.velocity.y] == pytest.approx(row[7:9])
        assert row[9] != 0.0 and item.velocity.z == 0.0, "no training supervises it"
        q = item.pose.orientation
        assert geometry.yaw_of(geometry.from_quaternion(np.zeros(3), np.array([q.x, q.y, q.z, q.w]))) == \
            pytest.approx(float(boxes.wrap_angle(row[6])))
        assert item.class_name == boxes.NUSCENES_CLASSES[item.class_id]
        assert item.camera_mask == 0xFFFFFFFF and np.isnan(item.depth)
        for name, column in (("track_id", found.track_ids), ("hits", found.hits), ("class_id", found.class_ids),
                             ("frames_since_hit", found.frames_since_hit), ("velocity_valid", found.velocity_valid)):
            assert getattr(item, name) == column[index]
        for name, column in (("score", found.scores), ("class_score", found.class_scores), ("age_s", found.age_s),
                             ("centerness", found.centerness), ("yawness", found.yawness)):
            assert getattr(item, name) == pytest.approx(column[index], rel=1e-6)


@pytest.mark.fault(60)
def test_no_objects_and_large_ids():
    assert tracked(detections(0)).objects == []
    assert tracked(detections(1, first_id=2 ** 62)).objects[0].track_id == 2 ** 62


def test_detection_array_is_the_same_list_with_ids_as_text():
    message = tracked(detections(3, first_id=40))
    array = messages.detection_array(message)
    assert [d.id for d in array.detections] == ["40", "41", "42"]
    assert [d.results[0].hypothesis.class_id for d in array.detections] == ["car", "truck", "construction_vehicle"]
    assert array.detections[1].bbox.size == message.objects[1].size
    assert array.detections[1].header == message.header == array.header


def by_key(array):
    return {(m.ns, m.id): m for m in array.markers}


def test_markers_modify_what_is_shown_and_delete_what_is_gone():
    painter = markers.MarkerPainter("odom")
    first = painter.paint(tracked(detections(3)), np.eye(4), 0.0)
    second = painter.paint(tracked(detections(2, stamp_ns=5 * S + S // 5)), np.eye(4), 0.0)
    kept = {key for key, m in by_key(second).items() if m.action == Marker.ADD}
    gone = {key for key, m in by_key(second).items() if m.action == Marker.DELETE}
    assert not any(m.action == Marker.DELETEALL for m in (*first.markers, *second.markers))
    assert {number for _, number in kept} == {1, 2}
    assert gone == {key for key in by_key(first) if key[1] == 3}
    lifetime = by_key(second)["box", 1].lifetime
    assert lifetime.sec + lifetime.nanosec / 1e9 == 1.0  # not 0.6: lost frames at 5 Hz must not blink
    cleared = painter.clear()
    assert {(m.ns, m.id) for m in cleared.markers} == kept
    assert all(m.action == Marker.DELETE for m in cleared.markers) and painter.clear().markers == []


def test_markers_outlive_a_lost_frame_at_any_rate():
    for period_ns in (S // 10, S // 2, 2 * S):
        painter = markers.MarkerPainter("odom")
        for step in range(3):
            array = painter.paint(tracked(detections(1, stamp_ns=5 * S + step * period_ns)), np.eye(4), 0.0)
        lifetime = by_key(array)["box", 1].lifetime
        assert lifetime.sec * S + lifetime.nanosec > 2.5 * period_ns


def test_velocity_arrows_lie_flat():
    found = detections(1)
    found.boxes[:, 7:] = (3.0, 4.0, -9.0)
    arrow = by_key(markers.MarkerPainter("odom").paint(tracked(found), np.eye(4), 0.0))["velocity", 1]
    start, end = arrow.points
    assert (end.x - start.x, end.y - start.y, end.z - start.z) == pytest.approx((3.0, 4.0, 0.0), abs=1e-5)


def test_trails_stay_put_in_the_fixed_frame_while_the_vehicle_moves():
    painter = markers.MarkerPainter("odom")
    for step in range(markers.TRAIL_LENGTH + 10):  # a standing object seen from a vehicle driving 1 m a frame
        found = detections(1, stamp_ns=(5 + step) * S, positions=[[100.0 - step, 2.0, 1.0]])
        array = painter.paint(tracked(found), geometry.from_yaw(step, 0.0, 0.0, 0.0), 0.5)
    trail = by_key(array)["trail", 1]
    assert trail.header.frame_id == "odom" and len(trail.points) == markers.TRAIL_LENGTH
    assert {(round(p.x, 6), round(p.y, 6)) for p in trail.points} == {(100.0, 2.0)}
    alphas = [c.a for c in trail.colors]
    assert alphas == sorted(alphas) and alphas[0] < 0.1 and alphas[-1] == 1.0
    assert by_key(array)["box", 1].lifetime.nanosec == 500_000_000


def test_overlay_draws_where_the_box_is_and_survives_any_box():
    image = np.zeros((120, 160, 3), np.uint8)
    image_from_vehicle = geometry.pad_intrinsic(INTRINSIC) @ geometry.inverse(vehicle_from_camera("front"))
    row = np.array([[8.0, 1.0, 0.75, 1.0, 0.6, 1.5, 0.3, 0, 0, 0]])
    drawn = overlay.draw_boxes(image, row, image_from_vehicle, [(0, 0, 255)], [""])
    ys, xs = np.nonzero(drawn.any(axis=2))
    pixels, _ = geometry.project(boxes.corners(row)[0], image_from_vehicle)
    assert abs(xs.min() - pixels[:, 0].min()) < 2 and abs(xs.max() - pixels[:, 0].max()) < 2
    assert abs(ys.min() - pixels[:, 1].min()) < 2 and abs(ys.max() - pixels[:, 1].max()) < 2
    assert not image.any()  # the input is left alone
    behind = row - [[16.0, 0, 0, 0, 0, 0, 0, 0, 0, 0]]
    assert not overlay.draw_boxes(image, behind, image_from_vehicle, [(0, 0, 255)], ["x"]).any()
    around = np.array([[0.0, 0, 1, 40, 40, 4, 0, 0, 0, 0], [1e6, 1e6, 0, 1, 1, 1, 0, 0, 0, 0]])  # vehicle inside
    overlay.draw_boxes(image, around, image_from_vehicle, [(1, 2, 3)] * 2, ["x"] * 2)
    decoded = cv2.imdecode(np.frombuffer(overlay.jpeg(drawn), np.uint8), cv2.IMREAD_COLOR)
    assert decoded.shape == image.shape


def camera(state, text="", publishers=1, offset_ms=0.0, ahead_ms=-30.0):
    status = CameraStatus(state=state, text=text, age_ms=30.0, rate_hz=10.0, images=5, images_rejected=1,
                          camera_infos=2, camera_infos_rejected=0)
    return CameraSnapshot("back_left", status, "/camera/back_left/image", publishers, offset_ms, ahead_ms,
                          {"used": 4, "late": 1})


@pytest.mark.fault(1, 10, 11, 51)
@pytest.mark.parametrize(("snapshot", "level", "says"), [
    (camera(CameraState.ACTIVE), diagnostics.OK, "active"),
    (camera(CameraState.WAITING_IMAGE, publishers=0), diagnostics.ERROR, "nobody publishes /camera/back_left/image"),
    (camera(CameraState.STALE, "last image 3 s ago"), diagnostics.ERROR, "transport profile"),
    (camera(CameraState.REJECTED, "encoding abc unknown"), diagnostics.ERROR, "encoding abc unknown"),
    (camera(CameraState.WAITING_CAMERA_INFO, "no camera_info"), diagnostics.ERROR, "no camera_info"),
    (camera(CameraState.QOS_MISMATCH, "RELIABILITY"), diagnostics.ERROR, "RELIABILITY"),
    (camera(CameraState.ACTIVE, offset_ms=300.0), diagnostics.ERROR, "+300 ms off those of the other cameras"),
    (camera(CameraState.ACTIVE, ahead_ms=1500.0), diagnostics.WARN, "1.5 s ahead of the node's clock"),
    (camera(CameraState.ACTIVE, ahead_ms=900.0), diagnostics.OK, "active"),
    (camera(CameraState.ACTIVE, ahead_ms=None, offset_ms=None), diagnostics.OK, "active"),
])
def test_camera_texts_name_the_camera_and_the_cause(snapshot, level, says):
    status = diagnostics.camera_status(snapshot, Settings())
    assert status.level == level and says in status.message and "back_left" in status.message
    values = {v.key: v.value for v in status.values}
    assert values["state"] == snapshot.status.state.value and values["late"] == "1"


def pipeline(**changes):
    values = {"lifecycle": "active", "enabled": True, "waiting_clock": False, "ego_error": "",
              "ego_warning": "", "ego_dropped": 0, "transforms_rejected": 0, "transform_rejection": "",
              "transform_rejection_age_s": 0.0, "model": "m",
              "backend": "onnxruntime", "precision": "fp32",
              "totals_ms": tuple(range(101)), "delays_ms": (50.0,), "busy_s": 0.0, "failure": "", "failures_in_row": 0,
              "drops": {"newer_set": 3}, "objects": 4, "epoch": 2, "resets": {"service": 1}, "output_age_ms": 20.0,
              "silent_s": 0.02}
    return PipelineSnapshot(**values | changes)


@pytest.mark.fault(10, 38, 45, 47)
@pytest.mark.parametrize(("changes", "level", "says"), [
    ({}, diagnostics.OK, "running"),
    ({"output_age_ms": None}, diagnostics.OK, "no frame yet"),
    ({"busy_s": 3.0}, diagnostics.ERROR, "watchdog"),
    ({"failure": "the network gave NaN"}, diagnostics.ERROR, "NaN"),
    ({"lifecycle": "inactive"}, diagnostics.WARN, "inactive"),
    ({"enabled": False}, diagnostics.WARN, "set_enabled"),
    ({"delays_ms": (900.0, 950.0)}, diagnostics.WARN, "925 ms after"),
    ({"delays_ms": (-1500.0,)}, diagnostics.WARN, "+1.5 s off"),
    ({"delays_ms": (1e9,)}, diagnostics.WARN, "/clock"),
    ({"delays_ms": (float("nan"),), "waiting_clock": True}, diagnostics.WARN, "/clock"),
    ({"delays_ms": (float("nan"), 900.0, 950.0)}, diagnostics.WARN, "925 ms after"),
    ({"silent_s": 12.0, "delays_ms": (900.0,)}, diagnostics.ERROR, "nothing was published for 12 s"),
    ({"silent_s": 12.0, "enabled": False}, diagnostics.WARN, "set_enabled"),
])
def test_model_texts(changes, level, says):
    status = diagnostics.model_status(pipeline(**changes), Settings())
    values = {v.key: v.value for v in status.values}
    assert status.level == level and says in status.message
    assert values["latency_p50_ms"] == "50.0" and values["latency_p95_ms"] == "95.0"
    assert values["dropped_newer_set"] == "3"


@pytest.mark.fault(26, 32)
def test_ego_and_bank_texts():
    assert diagnostics.ego_status(pipeline()).level == diagnostics.OK
    broken = diagnostics.ego_status(pipeline(ego_error="'odom' does not exist"))
    assert broken.level == diagnostics.ERROR and "odom" in broken.message
    guessed = diagnostics.ego_status(pipeline(ego_warning="'odom' does not exist"))
    assert guessed.level == diagnostics.WARN and "odom" in guessed.message and "flags" in guessed.message
    refused = {"transforms_rejected": 1, "transform_rejection": "the transform to 'base_link' is ignored"}
    told = diagnostics.ego_status(pipeline(**refused))
    assert told.level == diagnostics.WARN and "'base_link'" in told.message
    assert diagnostics.ego_status(pipeline(**refused, transform_rejection_age_s=11.0)).level == diagnostics.OK
    assert diagnostics.ego_status(pipeline(**refused, ego_error="no odom")).level == diagnostics.ERROR
    bank = diagnostics.bank_status(pipeline())
    assert {v.key: v.value for v in bank.values} == {"objects": "4", "epoch": "2", "resets_service": "1"}


def test_qos_by_name():
    assert qos.profile("sensor_data").depth == 1
    with pytest.raises(UserError, match="sensor_datta.*sensor_data"):
        qos.profile("sensor_datta")


def test_flag_constants_are_single_bits():
    bits = [TrackedObject3DArray.DEGRADED_CAMERAS, TrackedObject3DArray.NO_HISTORY,
            TrackedObject3DArray.EGO_MOTION_EXTRAPOLATED, TrackedObject3DArray.RATE_OUT_OF_RANGE]
    assert sorted(bits) == [1, 2, 4, 8]
