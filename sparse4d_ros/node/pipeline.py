"""What the worker thread does with a frame set: decode → poses → engine → outputs.

The instance bank's state lives here and is touched by the worker thread alone; a reset asked for
from outside is carried out between two frames.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from sparse4d_ros.engine import Detections, FrameRejected, NumericalError
from sparse4d_ros.frame import CameraFrame, Frame
from sparse4d_ros.node.cameras import Camera, CameraError
from sparse4d_ros.node.ego_motion import EgoMotion, EgoMotionError, EgoPoses
from sparse4d_ros.node.settings import Settings
from sparse4d_ros.node.synchronizer import FrameSet, InputState

#: Recent frames that latency percentiles are taken over.
_RECENT = 200


class Log(Protocol):
    """Where sentences go; warnings and errors at most one a second for each key."""

    def info(self, text: str) -> None: ...
    def warning(self, key: str, text: str) -> None: ...
    def error(self, key: str, text: str) -> None: ...


@dataclass(frozen=True)
class Result:
    """One frame, ready to be published; the boxes of `detections` are in the vehicle frame."""

    frame_set: FrameSet
    frame: Frame
    poses: EgoPoses
    detections: Detections
    decode_ms: float


@dataclass
class Statistics:
    """Counts for diagnostics; written by the worker thread, read by the executor's under `lock`."""

    totals_ms: deque[float] = field(default_factory=lambda: deque(maxlen=_RECENT))
    delays_ms: deque[float] = field(default_factory=lambda: deque(maxlen=_RECENT))
    drops: Counter[str] = field(default_factory=Counter)
    resets: Counter[str] = field(default_factory=Counter)
    ego_error: str = ""
    #: Why the last frame had no exact poses and was used all the same.
    ego_warning: str = ""
    failure: str = ""
    failures_in_row: int = 0
    objects: int = 0
    epoch: int = 0
    output_ns: int | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


class Pipeline:
    """Processes frame sets one by one. `publish(result)` returns the (total, sensor-to-publish) ms it measured."""

    def __init__(self, settings: Settings, cameras: Mapping[str, Camera], ego_motion: EgoMotion, engine: Any,
                 state: Any, publish: Callable[[Result], tuple[float, float]], log: Log, statistics: Statistics,
                 on_exhausted: Callable[[], None]) -> None:
        self._settings, self._cameras, self._ego_motion = settings, cameras, ego_motion
        self._engine, self._publish, self._log = engine, publish, log
        self._on_exhausted = on_exhausted
        self._statistics = statistics
        #: The engine's state, handed over to the next pipeline when this one ends.
        self.state = state
        self._epoch: int | None = None  # of the synchronizer
        self._wanted_reset = ""
        threads = min(len(cameras), os.cpu_count() or 1)
        self._decoders = ThreadPoolExecutor(threads, thread_name_prefix="sparse4d_decode")

    def request_reset(self, reason: str) -> None:
        """Empty the bank before the next frame; from any thread."""
        with self._statistics.lock:
            self._wanted_reset = reason

    def reset_where_wanted(self) -> None:
        """Carry out what `request_reset` asked for; for the worker's thread, or after its end."""
        with self._statistics.lock:
            reason, self._wanted_reset = self._wanted_reset, ""
        if reason:
            self._reset(reason)

    def close(self) -> None:
        """Free the decoding threads; the worker has stopped, or hangs and is left alone.

        A frame that comes back after that is not published, and counts for nobody: another session may have begun.
        """
        self._decoders.shutdown(wait=False, cancel_futures=True)
        self._statistics, self._publish, self._on_exhausted = Statistics(), lambda result: (0.0, 0.0), lambda: None

    def process(self, frame_set: FrameSet) -> None:
        """The worker's job. What one frame may do wrong ends here, as a counted drop."""
        self._reset_where_due(frame_set)
        started = time.monotonic_ns()
        frame_set, images = self._decode(frame_set)
        decode_ms = (time.monotonic_ns() - started) / 1e6
        if len(images) < self._settings.required_cameras:
            self._drop("camera_rejected")
            return
        try:
            poses = self._ego_motion.poses(frame_set, {name: self._cameras[name].frame_id for name in self._cameras})
        except EgoMotionError as error:
            self._drop("ego_motion", ego_error=str(error))
            self._log.error("ego_motion", str(error))
            return
        with self._statistics.lock:
            self._statistics.ego_error, self._statistics.ego_warning = "", poses.problem
        if poses.jump:
            self._reset("ego_jump")
            self._log.warning("ego_jump", poses.jump)
        elif poses.fixed_from_vehicle is None:
            self._reset("no_ego_motion")
        frame = self._frame(frame_set, images, poses)
        detections = self._step(frame)
        if detections is not None:
            self._finish(Result(frame_set, frame, poses, detections, decode_ms))

    def on_error(self, error: Exception) -> None:
        """An exception nobody foresaw, anywhere in `process`: the frame is lost, the node goes on."""
        self._fail("error", f"{type(error).__name__} while processing a frame: {error}")

    def _reset_where_due(self, frame_set: FrameSet) -> None:
        if self._epoch is None:  # the first set: time may have gone back while the node was inactive
            backward = self.state.stamp_ns is not None and frame_set.reference_stamp_ns <= self.state.stamp_ns
        else:
            backward = frame_set.epoch != self._epoch
        if backward:
            self._reset("backward_jump")
            self._log.warning("backward_jump", "time ran backwards: images, transforms and instance bank are emptied")
        self._epoch = frame_set.epoch
        self.reset_where_wanted()

    def _reset(self, reason: str) -> None:
        self.state = self._engine.reset(self.state)
        if reason != "no_ego_motion" and reason != "ego_jump":  # these come out of EgoMotion, which knows already
            self._ego_motion.reset()
        with self._statistics.lock:
            self._statistics.resets[reason] += 1

    def _decode(self, frame_set: FrameSet) -> tuple[FrameSet, dict[str, tuple[np.ndarray, np.ndarray]]]:
        """Image and K by camera name; the set comes back with the cameras REJECTED whose image is unusable."""
        jobs = {name: self._decoders.submit(self._cameras[name].read, entry.payload)
                for name, entry in frame_set.entries.items() if entry.state is InputState.OK}
        images = {}
        for name, job in jobs.items():
            try:
                images[name] = job.result()
            except CameraError as error:
                frame_set = frame_set.reject(name)
                self._log.error(f"camera_{name}", str(error))
        return frame_set, images

    def _frame(self, frame_set: FrameSet, images: Mapping[str, tuple[np.ndarray, np.ndarray]],
               poses: EgoPoses) -> Frame:
        cameras = []
        # The model knows its own camera names; ours are paired with them by order.
        for model_name, (name, entry) in zip(self._engine.package.cameras, frame_set.entries.items(), strict=True):
            image, intrinsic = images.get(name, (None, np.eye(3)))
            extrinsic = poses.camera_from_vehicle.get(name, np.eye(4))  # of a missing camera: masked by the network
            stamp_ns = frame_set.reference_stamp_ns if entry.stamp_ns is None else entry.stamp_ns
            cameras.append(CameraFrame(model_name, image, intrinsic, extrinsic, stamp_ns))
        # Without ego motion the bank has just been emptied: no pose is compared with this one.
        pose = np.eye(4) if poses.fixed_from_vehicle is None else poses.fixed_from_vehicle
        return Frame(frame_set.reference_stamp_ns, tuple(cameras), pose)

    def _step(self, frame: Frame) -> Detections | None:
        epoch = self.state.epoch
        try:
            detections, self.state = self._engine.step(frame, self.state)
        except FrameRejected as error:
            self._drop("frame_rejected")
            self._log.warning("frame_rejected", str(error))
            return None
        except NumericalError as error:
            self._reset("numerical_error")
            self._fail("numerical_error", str(error))
            return None
        except Exception as error:  # out of memory, a driver's fault: whatever a backend throws costs one frame
            self._fail("inference_error", f"the network failed: {type(error).__name__}: {error}")
            return None
        with self._statistics.lock:
            self._statistics.failure, self._statistics.failures_in_row = "", 0
            if detections.epoch != epoch:
                self._statistics.resets["long_gap"] += 1
        if len(detections) >= self._settings.max_objects:
            self._log.warning("max_objects", f"the network found {self._settings.max_objects} objects or more; only "
                              "the best max_objects are published: is score_threshold too low for this model?")
        return detections

    def _finish(self, result: Result) -> None:
        try:
            total_ms, delay_ms = self._publish(result)
        except EgoMotionError as error:  # no transform to output_frame; the bank has the frame all the same
            self._drop("output_frame", ego_error=str(error))
            self._log.error("output_frame", str(error))
            return
        with self._statistics.lock:
            self._statistics.totals_ms.append(total_ms)
            self._statistics.delays_ms.append(delay_ms)
            self._statistics.objects = len(result.detections)
            self._statistics.epoch = result.detections.epoch
            self._statistics.output_ns = time.monotonic_ns()

    def _drop(self, reason: str, ego_error: str | None = None) -> None:
        with self._statistics.lock:
            self._statistics.drops[reason] += 1
            if ego_error is not None:
                self._statistics.ego_error = ego_error

    def _fail(self, reason: str, text: str) -> None:
        with self._statistics.lock:
            self._statistics.drops[reason] += 1
            self._statistics.failure = text
            self._statistics.failures_in_row += 1
            exhausted = self._statistics.failures_in_row == self._settings.max_consecutive_failures
        self._log.error(reason, f"{text}; the frame is dropped")
        if exhausted:
            self._on_exhausted()
