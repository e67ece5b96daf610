"""Recorded motion: poses of the ego vehicle and of objects over time, and what lies between the samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

#: Times that differ by less are the same: stamps are whole nanoseconds.
_SAME_TIME_S = 1e-6
# Columns of a motion's table.
_POSITION, _ANGLES, _VELOCITY = slice(0, 3), slice(3, 6), slice(6, 9)


@dataclass(frozen=True)
class Motion:
    """A pose over time, linear between samples, turning the shorter way.

    Without measured velocities they follow from the positions: at a sample from its neighbours (second-order
    differences), linear between samples like the rest.
    """

    #: ``[k]`` seconds, ascending, at least two.
    times: np.ndarray
    #: ``[k, 3]`` metres.
    positions: np.ndarray
    #: ``[k, 3]`` yaw, pitch, roll in radians: turned by roll about x, then by pitch about y, then by yaw about z.
    angles: np.ndarray
    #: ``[k, 3]`` metres a second, measured; None where they follow from the positions.
    velocities: np.ndarray | None = None

    def __post_init__(self) -> None:
        velocities = np.gradient(self.positions, self.times, axis=0) if self.velocities is None else self.velocities
        table = np.concatenate([self.positions, np.unwrap(self.angles, axis=0), velocities], axis=1)
        object.__setattr__(self, "_table", table)

    def exists(self, time_s: float) -> bool:
        """Whether a time is between the first sample and the last."""
        return self.times[0] - _SAME_TIME_S <= time_s <= self.times[-1] + _SAME_TIME_S

    def at(self, time_s: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Position, angles and velocity, ``[3]`` each; before and after the samples those at the end."""
        left = int(np.clip(np.searchsorted(self.times, time_s, side="right") - 1, 0, len(self.times) - 2))
        share = np.clip((time_s - self.times[left]) / (self.times[left + 1] - self.times[left]), 0.0, 1.0)
        row = (1.0 - share) * self._table[left] + share * self._table[left + 1]
        return row[_POSITION], row[_ANGLES], row[_VELOCITY]

    def pose(self, time_s: float) -> np.ndarray:
        """The pose ``[4, 4]``."""
        position, angles, _ = self.at(time_s)
        out = np.eye(4)
        out[:3, :3] = Rotation.from_euler("ZYX", angles).as_matrix()
        out[:3, 3] = position
        return out


@dataclass(frozen=True)
class ObjectTrack:
    """One object; its position is the centre of its box."""

    id: int
    #: One of NUSCENES_CLASSES.
    name: str
    #: Length, width, height in metres.
    size: np.ndarray
    motion: Motion


@dataclass(frozen=True)
class Recording:
    """The ego vehicle (its frame: rear axle, on the ground) and the objects around it, in one fixed frame."""

    ego: Motion
    objects: tuple[ObjectTrack, ...]

    @property
    def duration_s(self) -> float:
        """From the ego vehicle's first sample to its last."""
        return float(self.ego.times[-1] - self.ego.times[0])
