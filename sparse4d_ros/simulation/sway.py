"""How the ego vehicle pitches and rolls: on its springs under acceleration, and with the road.

Small angles, of a degree or two. They are part of the ground truth: the vehicle frame tilts with the
car, and with it everything that is given in that frame.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation

_STEP_S = 0.05
#: Springs and dampers pass on nothing quicker than this.
_SMOOTH_S = 0.25
#: Radians per m/s2, near what a soft passenger car does.
_PITCH_PER_ACCELERATION, _ROLL_PER_ACCELERATION = 0.006, 0.007
_MOST_RAD = np.deg2rad(2.0)
# Wavelengths of the road's unevenness in metres, with amplitudes in radians.
_WAVES = ((7.0, 0.0020), (17.0, 0.0035), (41.0, 0.0050))


class Sway:
    """Pitch and roll of a vehicle over time."""

    def __init__(self, level: Callable[[float], np.ndarray], start_s: float, end_s: float, pivot_m: float,
                 rng: np.random.Generator) -> None:
        """``level`` gives the level pose ``[4, 4]`` at a time; the body tilts about the ground ``pivot_m`` ahead."""
        self._times = np.arange(start_s, end_s + _STEP_S, _STEP_S)
        poses = np.array([level(time_s) for time_s in self._times])
        self._pivot = np.array([pivot_m, 0.0, 0.0])
        velocity = np.gradient(poses[:, :2, 3], _STEP_S, axis=0)
        acceleration = np.gradient(velocity, _STEP_S, axis=0)
        forward, left = (np.einsum("ij,ij->i", acceleration, poses[:, :2, axis]) for axis in (0, 1))
        travelled = np.cumsum(np.linalg.norm(velocity, axis=1)) * _STEP_S
        # About y, left: nose down is positive, so braking is. About x: a bend to the left rolls to the right.
        pitch = -_PITCH_PER_ACCELERATION * forward + self._road(travelled, rng)
        roll = _ROLL_PER_ACCELERATION * left + 0.7 * self._road(travelled, rng)
        self._angles = [np.clip(gaussian_filter1d(angle, _SMOOTH_S / _STEP_S, mode="nearest"), -_MOST_RAD, _MOST_RAD)
                        for angle in (pitch, roll)]

    @staticmethod
    def _road(travelled: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        phases = rng.uniform(0.0, 2.0 * np.pi, len(_WAVES))
        return sum(amplitude * np.sin(2.0 * np.pi * travelled / length + phase)
                   for (length, amplitude), phase in zip(_WAVES, phases, strict=True))

    def level_from_vehicle(self, time_s: float) -> np.ndarray:
        """Pose ``[4, 4]`` of the tilted vehicle frame in the level one."""
        pitch, roll = (np.interp(time_s, self._times, angle) for angle in self._angles)
        out = np.eye(4)
        out[:3, :3] = Rotation.from_euler("ZYX", [0.0, pitch, roll]).as_matrix()
        out[:3, 3] = self._pivot - out[:3, :3] @ self._pivot
        return out
