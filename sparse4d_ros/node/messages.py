"""Conversions from what the engine gives to messages, and of stamps; nothing is computed here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, Pose, Quaternion, Vector3
from std_msgs.msg import Header
from vision_msgs.msg import Detection3D, Detection3DArray, ObjectHypothesisWithPose

from sparse4d_ros import boxes
from sparse4d_ros.engine.detections import Detections
from sparse4d_ros.msg import CameraInput, FrameTiming, TrackedObject3D, TrackedObject3DArray

_NS = 1_000_000_000


@dataclass(frozen=True)
class CameraReport:
    """What one camera contributed to a frame set; `state` is one of the constants of CameraInput."""

    name: str
    state: int
    #: None where there is no image.
    stamp_ns: int | None = None


@dataclass(frozen=True)
class FrameReport:
    """Everything about a frame set that is not an object."""

    sequence: int
    flags: int
    cameras: tuple[CameraReport, ...]
    #: Milliseconds, by the field names of FrameTiming.
    timing_ms: dict[str, float]


def time_message(stamp_ns: int) -> Time:
    """Nanoseconds as a Time message."""
    return Time(sec=stamp_ns // _NS, nanosec=stamp_ns % _NS)


def nanoseconds(stamp: Time) -> int:
    """A Time message as integer nanoseconds."""
    return stamp.sec * _NS + stamp.nanosec


def tracked_objects(detections: Detections, classes: Sequence[str], frame_id: str,
                    report: FrameReport) -> TrackedObject3DArray:
    """The node's main message; the boxes of `detections` must already be in `frame_id`."""
    message = TrackedObject3DArray()
    message.header.stamp = time_message(detections.stamp_ns)
    message.header.frame_id = frame_id
    message.sequence = report.sequence
    message.bank_epoch = int(detections.epoch)
    message.time_interval_s = float(detections.time_interval_s)
    message.flags = report.flags
    message.cameras = [_camera_input(camera, detections.stamp_ns) for camera in report.cameras]
    message.timing = FrameTiming(**{name: float(value) for name, value in report.timing_ms.items()})
    message.objects = _objects(detections, classes)
    return message


def _camera_input(camera: CameraReport, reference_ns: int) -> CameraInput:
    message = CameraInput(name=camera.name, state=camera.state)
    if camera.stamp_ns is not None:
        message.stamp = time_message(camera.stamp_ns)
        message.offset_ms = (camera.stamp_ns - reference_ns) / 1e6
    return message


def _objects(detections: Detections, classes: Sequence[str]) -> list[TrackedObject3D]:
    # One tolist() per column: reading numpy scalars one by one costs more than building the messages.
    half_yaw = 0.5 * detections.boxes[:, boxes.YAW]
    columns = zip(
        detections.boxes.tolist(), np.sin(half_yaw).tolist(), np.cos(half_yaw).tolist(),
        detections.class_ids.tolist(), detections.scores.tolist(), detections.class_scores.tolist(),
        detections.centerness.tolist(), detections.yawness.tolist(), detections.track_ids.tolist(),
        detections.hits.tolist(), detections.frames_since_hit.tolist(), detections.age_s.tolist(),
        detections.velocity_valid.tolist(), detections.depth.tolist(), detections.camera_mask.tolist(), strict=True)
    return [
        TrackedObject3D(
            track_id=track_id, hits=hits, frames_since_hit=unseen, age_s=age,
            class_id=class_id, class_name=classes[class_id],
            score=score, class_score=class_score, centerness=centerness, yawness=yawness,
            pose=Pose(position=Point(x=x, y=y, z=z), orientation=Quaternion(z=sin, w=cos)),
            size=Vector3(x=length, y=width, z=height),
            velocity=Vector3(x=vx, y=vy),  # no training supervises vz: what a network says of it is no measurement
            velocity_valid=valid, depth=depth, camera_mask=mask)
        for (x, y, z, length, width, height, _, vx, vy, _), sin, cos, class_id, score, class_score, centerness,
        yawness, track_id, hits, unseen, age, valid, depth, mask in columns
    ]


def detection_array(tracked: TrackedObject3DArray) -> Detection3DArray:
    """The same objects as vision_msgs, for consumers that know no tracks: `id` is the track id as text."""
    header = Header(stamp=tracked.header.stamp, frame_id=tracked.header.frame_id)
    return Detection3DArray(header=header, detections=[_detection(item, header) for item in tracked.objects])


def _detection(item: TrackedObject3D, header: Header) -> Detection3D:
    hypothesis = ObjectHypothesisWithPose()
    hypothesis.hypothesis.class_id = item.class_name
    hypothesis.hypothesis.score = item.score
    hypothesis.pose.pose = item.pose
    message = Detection3D(header=header, results=[hypothesis], id=str(item.track_id))
    message.bbox.center = item.pose
    message.bbox.size = item.size
    return message
