"""Poses of a frame set: where the vehicle was, and where each camera was when it took its picture.

The vehicle moves between two cameras' stamps (0.3 m in 20 ms at 50 km/h), so each camera is projected with
the ego pose at its own stamp: vehicle at the reference stamp → fixed frame → vehicle at the camera's
stamp → camera. A pose that is not known is never assumed: the frame set waits a little, then is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from sparse4d_ros.errors import UserError
from sparse4d_ros.geometry import inverse
from sparse4d_ros.node.ego_jump import JumpDetector
from sparse4d_ros.node.frame_set import FrameSet, InputState
from sparse4d_ros.node.tf_source import TransformSource
from sparse4d_ros.node.transform_errors import ExtrapolationException, TransformError

# Two poses this far apart give the velocity that an allowed extrapolation goes on with.
_VELOCITY_BASE_NS = 100_000_000


class EgoMotionError(UserError):
    """The poses of a frame set are not to be had; the text is that of the lookup."""


@dataclass(frozen=True)
class EgoPoses:
    """Rigid float64 matrices ``a_from_b`` of one frame set."""

    #: Vehicle in the fixed frame at the reference stamp. None only where ego motion is not required and
    #: was not there: the frame has no history then.
    fixed_from_vehicle: np.ndarray | None
    #: By camera: optical frame at the camera's stamp from the vehicle at the reference stamp. Cameras without
    #: an image have their extrinsic at the reference stamp, or are absent if that is unknown.
    camera_from_vehicle: dict[str, np.ndarray]
    #: A pose beyond the newest transform was guessed (only if ``max_extrapolation_ms`` allows it).
    extrapolated: bool
    #: "" or the text of the lookup in whose place one of these two was allowed.
    problem: str
    #: "" or a sentence: the fixed frame jumped, remembered objects are worthless.
    jump: str


class EgoMotion:
    """For the worker thread: it is allowed to wait."""

    def __init__(self, source: TransformSource, *, vehicle_frame: str = "base_link", fixed_frame: str = "odom",
                 tf_timeout_ms: float = 50.0, max_extrapolation_ms: float = 0.0, require_ego_motion: bool = True,
                 jumps: JumpDetector | None = None) -> None:
        """``jumps`` may remember the pose of the last frame before a pause."""
        self._source = source
        self._vehicle_frame = vehicle_frame
        self._fixed_frame = fixed_frame
        self._timeout_s = tf_timeout_ms / 1e3
        self._max_extrapolation_ns = round(max_extrapolation_ms * 1e6)
        self._require_ego_motion = require_ego_motion
        self._jumps = jumps or JumpDetector()

    def reset(self) -> None:
        """Forget the previous pose: the next one is not a jump."""
        self._jumps.reset()

    def poses(self, frame_set: FrameSet, camera_frames: Mapping[str, str]) -> EgoPoses:
        """Poses for all cameras with an image; ``camera_frames`` gives the optical frame of each camera.

        Waits up to ``tf_timeout_ms`` for transforms that are still under way. ``EgoMotionError`` with the
        text of the lookup that failed.
        """
        stamps = {name: entry.stamp_ns for name, entry in frame_set.entries.items() if entry.state is InputState.OK}
        for name in stamps:
            if not camera_frames.get(name):
                raise EgoMotionError(f"camera '{name}' has no frame: its messages' frame_id is empty, "
                                     f"set camera_frames.{name}")
        reference_ns = frame_set.reference_stamp_ns
        extrapolated, problem = False, ""
        try:
            poses = self._source.wait_for(
                lambda: self._exact(reference_ns, stamps, camera_frames), self._timeout_s)
        except TransformError as error:
            problem = str(error)
            poses, extrapolated = self._fallback(error, reference_ns, stamps, camera_frames)
        fixed_from_vehicle, cameras = poses
        for name in frame_set.entries.keys() - cameras.keys():
            extrinsic = self._extrinsic(camera_frames.get(name, ""), reference_ns)
            if extrinsic is not None:
                cameras[name] = extrinsic
        jump = ""
        if fixed_from_vehicle is None:
            self._jumps.reset()
        else:
            jump = self._jumps.check(reference_ns, fixed_from_vehicle, self._pose_between)
        return EgoPoses(fixed_from_vehicle, cameras, extrapolated, problem, jump)

    def _exact(self, reference_ns: int, stamps: Mapping[str, int],
               frames: Mapping[str, str]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        with self._naming(self._fixed_frame):
            fixed_from_vehicle = self._source.lookup(self._fixed_frame, self._vehicle_frame, reference_ns)
        cameras = {}
        for name, stamp_ns in stamps.items():
            with self._naming(frames[name]):
                cameras[name] = self._source.lookup_full(
                    frames[name], stamp_ns, self._vehicle_frame, reference_ns, self._fixed_frame)
        return fixed_from_vehicle, cameras

    @contextmanager
    def _naming(self, target: str) -> Iterator[None]:
        """Puts both frames in front of a lookup's error: tf2 names one of them, or none."""
        try:
            yield
        except TransformError as error:
            raise type(error)(f"no transform from '{self._vehicle_frame}' to '{target}': {error}") from error

    def _fallback(self, error: TransformError, reference_ns: int, stamps: Mapping[str, int], frames: Mapping[str, str],
                  ) -> tuple[tuple[np.ndarray | None, dict[str, np.ndarray]], bool]:
        """What is allowed when the exact poses are not there in time; the error if nothing is."""
        if self._max_extrapolation_ns > 0 and isinstance(error, ExtrapolationException):
            try:
                return self._extrapolated(reference_ns, stamps, frames), True
            except TransformError as second:
                error = second
        if not self._require_ego_motion:
            try:
                return (None, self._latest_extrinsics(stamps, frames)), False
            except TransformError as second:
                error = second
        raise EgoMotionError(str(error)) from error

    def _latest_extrinsics(self, names: Iterable[str], frames: Mapping[str, str]) -> dict[str, np.ndarray]:
        """Each camera's pose in the vehicle at the newest time it is known: it is static, or nearly so."""
        found = {}
        for name in names:
            with self._naming(frames[name]):
                found[name] = self._source.lookup(frames[name], self._vehicle_frame)
        return found

    def _extrapolated(self, reference_ns: int, stamps: Mapping[str, int],
                      frames: Mapping[str, str]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """The same poses with the last motion continued; ``ExtrapolationException`` if that would be too far."""
        latest_ns = self._source.latest_time_ns(self._fixed_frame, self._vehicle_frame)
        too_far = max([reference_ns, *stamps.values()]) - latest_ns - self._max_extrapolation_ns
        if too_far > 0:
            raise ExtrapolationException(
                f"the newest transform from '{self._vehicle_frame}' to '{self._fixed_frame}' is "
                f"{(too_far + self._max_extrapolation_ns) / 1e6:.0f} ms older than the image, more than "
                f"max_extrapolation_ms ({self._max_extrapolation_ns / 1e6:.0f})")
        last = self._source.lookup(self._fixed_frame, self._vehicle_frame, latest_ns)
        before = self._source.lookup(self._fixed_frame, self._vehicle_frame, latest_ns - _VELOCITY_BASE_NS)
        motion = inverse(before) @ last  # in the vehicle's own axes: going on with it follows a curve
        turn, shift = Rotation.from_matrix(motion[:3, :3]).as_rotvec(), motion[:3, 3]

        def pose_at(time_ns: int) -> np.ndarray:
            if time_ns <= latest_ns:
                return self._source.lookup(self._fixed_frame, self._vehicle_frame, time_ns)
            share = (time_ns - latest_ns) / _VELOCITY_BASE_NS
            step = np.eye(4)
            step[:3, :3] = Rotation.from_rotvec(turn * share).as_matrix()
            step[:3, 3] = shift * share
            return last @ step

        reference = pose_at(reference_ns)
        return reference, {name: extrinsic @ inverse(pose_at(stamps[name])) @ reference
                           for name, extrinsic in self._latest_extrinsics(stamps, frames).items()}

    def _extrinsic(self, camera_frame: str, time_ns: int) -> np.ndarray | None:
        try:
            return self._source.lookup(camera_frame, self._vehicle_frame, time_ns)
        except TransformError:
            return None

    def _pose_between(self, time_ns: int) -> np.ndarray | None:
        try:
            return self._source.lookup(self._fixed_frame, self._vehicle_frame, time_ns)
        except TransformError:
            return None
