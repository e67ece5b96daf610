"""Everything that lives only while the node is active: subscriptions, transforms, the worker and its pipeline."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np
from rclpy.clock import JumpThreshold
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode

from sparse4d_ros.node.cameras import Camera
from sparse4d_ros.node.diagnostics import CameraSnapshot
from sparse4d_ros.node.ego_jump import JumpDetector
from sparse4d_ros.node.ego_motion import EgoMotion, EgoMotionError
from sparse4d_ros.node.inputs import CameraInputs
from sparse4d_ros.node.outputs import Outputs
from sparse4d_ros.node.pipeline import Log, Pipeline, Result, Statistics
from sparse4d_ros.node.rate import Stride
from sparse4d_ros.node.settings import Settings
from sparse4d_ros.node.synchronizer import FrameSet
from sparse4d_ros.node.tf_source import create_transform_source
from sparse4d_ros.node.transform_buffer import TransformError
from sparse4d_ros.node.worker import Worker


class Session:
    """Made on activation, stopped on deactivation; `settings` is asked anew for each frame.

    `state` and `jumps` outlive it: what the session before saw last, for this one to go on from.
    """

    def __init__(self, node: LifecycleNode, settings: Callable[[], Settings], engine: Any, state: Any,
                 jumps: JumpDetector, outputs: Outputs, statistics: Statistics, log: Log,
                 on_exhausted: Callable[[], None]) -> None:
        now = settings()
        self._node, self._settings, self._outputs, self._statistics = node, settings, outputs, statistics
        self.engine = engine
        self.cameras = {name: Camera(name, frame_id=now.camera_frames.get(name, ""), undistort=now.undistort,
                                     max_image_age_ms=now.max_image_age_ms) for name in now.cameras}
        #: Steady time of the activation.
        self.started_ns = time.monotonic_ns()
        self._stride = Stride(engine.package.training_interval_s) if now.rate_policy == "stride" else None
        self._backward_ns = max(1, round(now.reset_on_backward_jump_ms * 1e6))
        backward = Duration(nanoseconds=-self._backward_ns)
        with ExitStack() as made:  # where one of these cannot be made, those before it are taken back
            self.transforms = create_transform_source(node)
            made.callback(self.transforms.destroy)
            ego_motion = EgoMotion(
                self.transforms, vehicle_frame=now.base_frame, fixed_frame=now.fixed_frame,
                tf_timeout_ms=now.tf_timeout_ms, max_extrapolation_ms=now.max_ego_extrapolation_ms,
                require_ego_motion=now.ego_motion_policy == "require", jumps=jumps)
            self._pipeline = Pipeline(now, self.cameras, ego_motion, engine, state, self._publish, log, statistics,
                                      on_exhausted)
            made.callback(self._pipeline.close)
            self.worker: Worker[FrameSet] = Worker(self._pipeline.process, self._pipeline.on_error)
            made.callback(self.worker.stop, 0.0)
            self.inputs = CameraInputs(node, now, self.cameras, self._on_set, on_backward=self.transforms.go_back,
                                       on_epoch=self.worker.clear, log=log)
            made.callback(self.inputs.destroy)
            jump = node.get_clock().create_jump_callback(
                JumpThreshold(min_forward=None, min_backward=backward), post_callback=self._on_clock_jump)
            made.callback(jump.unregister)
            self._made = made.pop_all()

    @property
    def state(self) -> Any:
        """The engine's state after the last frame."""
        return self._pipeline.state

    def reset(self, reason: str) -> None:
        """Empty the instance bank before the next frame."""
        self._pipeline.request_reset(reason)

    def set_enabled(self, enabled: bool) -> None:
        """Take images, or let them pass."""
        self.inputs.enabled = enabled
        if not enabled:
            self.worker.clear()

    def stop(self, timeout_s: float) -> bool:
        """Unsubscribe and stop the worker; False if a frame still hangs in it after the timeout."""
        self.transforms.stop_waiting()  # else a frame that waits for tf longer than the timeout would pass for a hang
        stopped = self.worker.stop(timeout_s)
        if stopped:
            self._pipeline.reset_where_wanted()  # no frame came any more
        self._made.close()
        return stopped

    def camera_snapshots(self) -> list[CameraSnapshot]:
        """The cameras for diagnostics."""
        now_ns, synchronizer = time.monotonic_ns(), self.inputs.synchronizer
        counters = synchronizer.counters
        return [CameraSnapshot(
            name, camera.status(now_ns), self.inputs.topics[name],
            self._node.count_publishers(self.inputs.topics[name]), synchronizer.clock_offset_ms(name),
            self._ahead_ms(self.inputs.stamps_ns.get(name)),
            dataclasses.asdict(counters[name])) for name, camera in self.cameras.items()]

    def _ahead_ms(self, stamp_ns: int | None) -> float | None:
        """Stamp minus the node's clock; None without a stamp, or while simulated time has not begun."""
        now_ns = self._node.get_clock().now().nanoseconds
        return (stamp_ns - now_ns) / 1e6 if stamp_ns is not None and now_ns else None

    def _on_set(self, frame_set: FrameSet) -> None:
        if self._stride is None or self._stride.take(frame_set.reference_stamp_ns):
            self.worker.put(frame_set)
            return
        with self._statistics.lock:
            self._statistics.drops["rate_policy"] += 1

    def _on_clock_jump(self, jump: object) -> None:
        # The bank is emptied by the pipeline, which sees the new epoch of the next set.
        self.inputs.forget()
        self.transforms.go_back(self._node.get_clock().now().nanoseconds + self._backward_ns // 2)
        self.worker.clear()

    def _publish(self, result: Result) -> tuple[float, float]:
        now = self._settings()
        return self._outputs.publish(result, now, self._output_from_vehicle(result, now))

    def _output_from_vehicle(self, result: Result, now: Settings) -> np.ndarray:
        if now.output_frame == now.base_frame:
            return np.eye(4)
        if now.output_frame == now.fixed_frame and result.poses.fixed_from_vehicle is not None:
            return result.poses.fixed_from_vehicle
        stamp_ns = result.frame.stamp_ns
        try:
            return self.transforms.wait_for(
                lambda: self.transforms.lookup(now.output_frame, now.base_frame, stamp_ns), now.tf_timeout_ms / 1e3)
        except TransformError as error:
            raise EgoMotionError(f"no transform from {now.base_frame} to output_frame {now.output_frame}: {error}") \
                from error
