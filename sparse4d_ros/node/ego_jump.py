"""Tells a jump of the fixed frame from driving.

A localisation that corrects itself moves the vehicle by metres from one transform to the next; read as
ego motion, that would drag every remembered object along. A fast vehicle moves as far between two frames
when the frames are far apart. Two questions tell them apart:

* **Is the displacement what the last speed and any acceleration of a road vehicle explain?** For dense frames.
* **Does any 50 ms between the two frames hold it?** No vehicle moves metres in that time, however far
  apart the frames are. Needs transforms denser than the frames, which tf is.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.spatial.transform import Rotation

from sparse4d_ros.geometry import inverse

# Harder than any road vehicle brakes or corners; faster than any drives or turns.
_MAX_ACCELERATION = 10.0
_MAX_SPEED = 60.0
_MAX_TURN_DEG_S = 60.0
# A jump lies between two transforms (20 ms at 50 Hz), so it is whole inside one of these overlapping windows.
_WINDOW_NS = 50_000_000
# Looking closer than this costs more than the frame; intervals so long restart the history anyway.
_MAX_STEPS = 200


def _moved(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """Metres and degrees from one pose to another."""
    relative = inverse(first) @ second
    return (float(np.linalg.norm(relative[:3, 3])),
            float(np.degrees(Rotation.from_matrix(relative[:3, :3]).magnitude())))


class JumpDetector:
    """Sees the pose of each frame set, in order."""

    def __init__(self, max_jump_m: float = 5.0, max_jump_deg: float = 20.0) -> None:
        self._max_jump_m = max_jump_m
        self._max_jump_deg = max_jump_deg
        self.reset()

    def reset(self) -> None:
        """Forget the last pose: the next one cannot be a jump."""
        self._stamp_ns = 0
        self._pose: np.ndarray | None = None
        self._velocity: np.ndarray | None = None
        self._interval_s = 0.0

    def check(self, stamp_ns: int, fixed_from_vehicle: np.ndarray, pose_at: Callable[[int], np.ndarray | None]) -> str:
        """"" or a sentence about the jump. ``pose_at`` gives the pose at a time in between, None if unknown."""
        previous, previous_ns = self._pose, self._stamp_ns
        if previous is None or stamp_ns <= previous_ns:
            self.reset()
            self._pose, self._stamp_ns = fixed_from_vehicle, stamp_ns
            return ""
        interval_s = (stamp_ns - previous_ns) / 1e9
        jump = self._unexplained(previous, fixed_from_vehicle, interval_s) or self._sudden(
            previous_ns, stamp_ns, pose_at)
        moved = fixed_from_vehicle[:3, 3] - previous[:3, 3]
        self._velocity = None if jump else moved / interval_s
        self._interval_s = interval_s
        self._pose, self._stamp_ns = fixed_from_vehicle, stamp_ns
        return jump

    def _unexplained(self, previous: np.ndarray, pose: np.ndarray, interval_s: float) -> str:
        metres, degrees = _moved(previous, pose)
        if self._velocity is None:
            excess, allowed = metres, _MAX_SPEED * interval_s
        else:
            excess = float(np.linalg.norm(pose[:3, 3] - previous[:3, 3] - self._velocity * interval_s))
            # The known velocity is the mean of an interval whose middle lies half of it back.
            allowed = 0.5 * _MAX_ACCELERATION * interval_s * (interval_s + self._interval_s)
        if excess > self._max_jump_m + allowed:
            return f"the vehicle moved {metres:.1f} m in {interval_s:.2f} s, {excess:.1f} m from where it was expected"
        if degrees > self._max_jump_deg + _MAX_TURN_DEG_S * interval_s:
            return f"the vehicle turned {degrees:.0f} degrees in {interval_s:.2f} s"
        return ""

    def _sudden(self, start_ns: int, end_ns: int, pose_at: Callable[[int], np.ndarray | None]) -> str:
        steps = min(-(-2 * (end_ns - start_ns) // _WINDOW_NS), _MAX_STEPS)
        if steps < 3:
            return ""  # the frames themselves are that close
        times = [start_ns + (end_ns - start_ns) * step // steps for step in range(steps + 1)]
        poses = [pose_at(time_ns) for time_ns in times]
        window_s = 2 * (times[1] - times[0]) / 1e9
        for first, second in zip(poses, poses[2:], strict=False):
            if first is None or second is None:
                continue
            metres, degrees = _moved(first, second)
            if metres > self._max_jump_m + _MAX_SPEED * window_s:
                return f"the vehicle moved {metres:.1f} m within {window_s * 1e3:.0f} ms"
            if degrees > self._max_jump_deg + _MAX_TURN_DEG_S * window_s:
                return f"the vehicle turned {degrees:.0f} degrees within {window_s * 1e3:.0f} ms"
        return ""
