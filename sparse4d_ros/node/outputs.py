"""Publishers of everything that comes out of a frame. Called by the worker thread."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from contextlib import ExitStack

import numpy as np
from rclpy.lifecycle import LifecycleNode, LifecyclePublisher
from sensor_msgs.msg import CompressedImage
from vision_msgs.msg import Detection3DArray
from visualization_msgs.msg import MarkerArray

from sparse4d_ros import boxes, geometry
from sparse4d_ros.msg import TrackedObject3DArray
from sparse4d_ros.node import messages, overlay, qos, topics
from sparse4d_ros.node.markers import MarkerPainter, class_color
from sparse4d_ros.node.messages import CameraReport, FrameReport
from sparse4d_ros.node.pipeline import Result
from sparse4d_ros.node.settings import Settings


class Outputs:
    """The node's publishers; made when configuring, silent until the node is active (lifecycle publishers)."""

    def __init__(self, node: LifecycleNode, settings: Settings, classes: Sequence[str],
                 interval_range_s: tuple[float, float]) -> None:
        self._node, self._classes, self._interval_range_s = node, tuple(classes), interval_range_s
        self._painter = MarkerPainter(settings.fixed_frame)
        self._sequence = 0
        with ExitStack() as made:  # all or nothing
            def create(kind: type, topic: str, quality: str) -> LifecyclePublisher:
                publisher = node.create_lifecycle_publisher(kind, topic, qos.profile(quality))
                made.callback(node.destroy_lifecycle_publisher, publisher)
                return publisher

            self._objects = create(TrackedObject3DArray, topics.OBJECTS, "output")
            self._detections = create(Detection3DArray, topics.DETECTIONS, "output")
            self._markers = create(MarkerArray, topics.MARKERS, "markers")
            self._overlays = {name: create(CompressedImage, topics.overlay(name), "overlay")
                              for name in settings.cameras}
            self._made = made.pop_all()

    def destroy(self) -> None:
        """Remove the publishers."""
        self._made.close()

    def clear_markers(self) -> None:
        """Take everything off displays; for the moment before the node goes silent."""
        if self._markers.is_activated and self._markers.get_subscription_count():
            self._markers.publish(self._painter.clear())

    def publish(self, result: Result, settings: Settings, output_from_vehicle: np.ndarray) -> tuple[float, float]:
        """Publish one frame; returns milliseconds from set complete, and from the reference stamp, to publishing.

        The main message goes out first and its timing says so: what is for people comes after.
        """
        shown = dataclasses.replace(result.detections,
                                    boxes=boxes.transform(result.detections.boxes, output_from_vehicle))
        timing = self._timing(result)
        tracked = messages.tracked_objects(shown, self._classes, settings.output_frame, FrameReport(
            self._sequence, flags(result, self._interval_range_s), camera_reports(result), timing))
        timing["total"] = (time.monotonic_ns() - result.frame_set.complete_ns) / 1e6
        timing["sensor_to_publish"] = self._since(result.detections.stamp_ns)
        tracked.timing.total, tracked.timing.sensor_to_publish = timing["total"], timing["sensor_to_publish"]
        self._objects.publish(tracked)
        self._sequence += 1
        if settings.publish_detections:
            self._detections.publish(messages.detection_array(tracked))
        if settings.publish_markers and self._markers.get_subscription_count():
            fixed = result.poses.fixed_from_vehicle
            fixed_from_output = (np.eye(4) if fixed is None else fixed) @ geometry.inverse(output_from_vehicle)
            self._markers.publish(self._painter.paint(tracked, fixed_from_output, settings.marker_lifetime_s))
        if settings.publish_overlay:
            self._publish_overlays(result)
        return timing["total"], timing["sensor_to_publish"]

    @staticmethod
    def _timing(result: Result) -> dict[str, float]:
        frame_set, steps = result.frame_set, result.detections.timing_ms
        return {"wait": frame_set.wait_ms, "decode": result.decode_ms,
                **{step: steps.get(step, 0.0) for step in ("preprocess", "inference", "postprocess")}}

    def _since(self, stamp_ns: int) -> float:
        """Milliseconds on the node's clock; NaN while simulated time has not begun."""
        now_ns = self._node.get_clock().now().nanoseconds
        return (now_ns - stamp_ns) / 1e6 if now_ns else float("nan")

    def _publish_overlays(self, result: Result) -> None:
        found = result.detections
        colors = [tuple(round(255 * part) for part in reversed(class_color(int(c)))) for c in found.class_ids]
        labels = [f"{track} {self._classes[c]}" for track, c in zip(found.track_ids, found.class_ids, strict=True)]
        for (name, entry), camera in zip(result.frame_set.entries.items(), result.frame.cameras, strict=True):
            publisher = self._overlays[name]
            if camera.image is None or not publisher.get_subscription_count():
                continue
            image_from_vehicle = geometry.pad_intrinsic(camera.intrinsic) @ camera.camera_from_vehicle
            canvas = overlay.draw_boxes(camera.image, found.boxes, image_from_vehicle, colors, labels)
            message = CompressedImage(format="jpeg")
            message.header = entry.payload.header
            message.data = overlay.jpeg(canvas)
            publisher.publish(message)


def flags(result: Result, interval_range_s: tuple[float, float]) -> int:
    """The flag bits of a frame."""
    found, low_high = result.detections, interval_range_s
    bits = 0
    if result.frame_set.degraded:
        bits |= TrackedObject3DArray.DEGRADED_CAMERAS
    if found.time_interval_s == 0.0:
        bits |= TrackedObject3DArray.NO_HISTORY
    elif not low_high[0] <= found.time_interval_s <= low_high[1]:
        bits |= TrackedObject3DArray.RATE_OUT_OF_RANGE
    if result.poses.extrapolated:
        bits |= TrackedObject3DArray.EGO_MOTION_EXTRAPOLATED
    return bits


def camera_reports(result: Result) -> tuple[CameraReport, ...]:
    """What each camera contributed, in the model's order."""
    return tuple(CameraReport(name, entry.state.value, entry.stamp_ns)
                 for name, entry in result.frame_set.entries.items())
