"""Do neighbouring cameras agree about what both see? And if not: which change of which camera would make them?

The place of a point that the first camera sees, at the distance that its own motion gives, is predicted in the second
camera; where the second sees it is held against that. A point of unknown distance must lie between its place at
infinity and its place near by.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from sparse4d_ros.rig_check.mounted import MountedCamera
from sparse4d_ros.rig_check.neighbours import FAR_M, Shared

#: Causes of disagreement by name: where they stand among the seven numbers of a change, and how large they can well be.
CAUSES = {"turned": (slice(0, 3), np.radians(8.0)), "moved": (slice(3, 6), 0.8), "clock": (slice(6, 7), 0.4)}
_NO_CHANGE = np.zeros(7)
#: Points of unknown distance are not nearer than this.
_NEAREST_M = 2.5
#: Robust scales, from coarse to fine, degrees, as in :mod:`aim`.
_SCALES_DEG = (1.0, 0.3, 0.1)
#: Points this near to their place after a change agree with it.
_AGREES_DEG = 0.25
#: If this share of the points that agree on the best change agrees on none as well, there is none.
MOSTLY = 0.7
_HOLD, _ENOUGH = 0.3, 1e-4


@dataclass(frozen=True)
class Pair:
    """Two cameras and the points that both see."""

    first: MountedCamera
    second: MountedCamera
    shared: Shared

    @property
    def names(self) -> tuple[str, str]:
        """Both cameras' names."""
        return self.first.name, self.second.name

    def misses(self, change_first: np.ndarray = _NO_CHANGE, change_second: np.ndarray = _NO_CHANGE) -> np.ndarray:
        """How far right and down of its place each point is seen by the second camera ``[n, 2]``, radians.

        A change ``[7]`` of a camera is its turn (rotation vector in vehicle axes, rad), its shift (m) and the seconds
        by which its stamps are early.
        """
        shared, known = self.shared, ~np.isnan(self.shared.distance)
        ray = Rotation.from_rotvec(change_first[:3]).apply(shared.first)
        seen = Rotation.from_rotvec(change_second[:3]).apply(shared.second)

        def predicted(distance: np.ndarray | float) -> np.ndarray:
            points = self.first.position + change_first[3:6] + np.reshape(distance, (-1, 1)) * ray
            points = points + change_first[6] * _carried(points, shared.first_twist)
            points = np.einsum("nij,nj->ni", shared.second_from_first[:, :3, :3], points)
            points = points + shared.second_from_first[:, :3, 3]
            points = points - change_second[6] * _carried(points, shared.second_twist)
            points = points - self.second.position - change_second[3:6]
            return points / np.linalg.norm(points, axis=1, keepdims=True)

        place = predicted(np.where(known, shared.distance, FAR_M))
        near = predicted(_NEAREST_M)
        across = near - place
        share = ((seen - place) * across).sum(axis=1) / np.maximum((across ** 2).sum(axis=1), 1e-12)
        place = place + np.where(known, 0.0, np.clip(share, 0.0, 1.0))[:, None] * across
        return (seen - place) @ shared.view[:, :2]

    def only(self, kept: np.ndarray) -> Pair:
        """The pair with the points where ``kept [n]`` is true."""
        return replace(self, shared=self.shared.only(kept))


def _carried(points: np.ndarray, twist: np.ndarray) -> np.ndarray:
    """Metres per second by which the vehicle's motion carries points of its frame."""
    return twist[:, :3] + np.cross(twist[:, 3:], points)


@dataclass(frozen=True)
class Explanation:
    """A change of one camera that makes neighbours agree."""

    camera: str
    cause: str
    change: np.ndarray  #: ``[7]``
    #: Robust cost of all points, divided by their number; 0 is perfect.
    cost: float
    #: By how much it displaces what that camera shares, the median: degrees, and metres (of the whole shift if no
    #: distance is known).
    effect_deg: float
    effect_m: float

    @property
    def amount(self) -> float:
        """Its size: degrees for a turn, metres for a shift, seconds for a clock; only as far as points show it."""
        return {"turned": self.effect_deg, "moved": self.effect_m, "clock": float(abs(self.change[6]))}[self.cause]


def agreeing(pair: Pair) -> np.ndarray:
    """Which points ``[n]`` agree with each other on one change of the second camera, or on none; the rest are wrong
    matches and things that move."""
    unchanged = near_their_place(pair)
    found = [near_their_place(pair, fit([pair], pair.second.name, cause).change) for cause in CAUSES] if len(
        pair.shared) else [unchanged]
    best = max(found, key=np.count_nonzero)
    # A shift displaces only what is near: one car that drives by is enough to ask for it.
    return unchanged if unchanged.sum() >= MOSTLY * best.sum() else best


def near_their_place(pair: Pair, change_second: np.ndarray = _NO_CHANGE) -> np.ndarray:
    """Which points ``[n]`` are where they should be, but for noise."""
    return np.linalg.norm(pair.misses(change_second=change_second), axis=1) < np.radians(_AGREES_DEG)


def explain(pairs: Sequence[Pair], cameras: Iterable[str]) -> list[Explanation]:
    """Every change of one of the cameras by one cause, the one that leaves least disagreement in all pairs first."""
    return sorted((fit(pairs, name, cause) for name in cameras for cause in CAUSES), key=lambda found: found.cost)


def fit(pairs: Sequence[Pair], camera: str, cause: str) -> Explanation:
    """The change of a camera by one cause that pairs (of all cameras) obey best."""
    where, large = CAUSES[cause]
    concerned = [pair for pair in pairs if camera in pair.names]

    def misses(pair: Pair, numbers: np.ndarray) -> np.ndarray:
        change = np.zeros(7)
        change[where] = large * numbers
        return pair.misses(*(change if name == camera else _NO_CHANGE for name in pair.names))

    def residuals(numbers: np.ndarray, scale: float) -> np.ndarray:
        every = [misses(pair, numbers).ravel() / scale for pair in concerned]
        return np.concatenate([*every, _HOLD * numbers])  # what nothing determines stays small

    none = np.zeros(where.stop - where.start)
    numbers = none
    for scale in np.radians(_SCALES_DEG):
        found = least_squares(residuals, numbers, loss="cauchy", args=(scale,), ftol=_ENOUGH, xtol=_ENOUGH)
        numbers = found.x
    change = np.zeros(7)
    change[where] = large * numbers
    others = [(pair.misses() / scale).ravel() for pair in pairs if camera not in pair.names]
    cost = found.cost + sum(0.5 * np.log1p(other ** 2).sum() for other in others)
    # A point of unknown distance may slide along its line instead of showing a turn: it is taken to be far away, too.
    filled = [replace(pair, shared=replace(pair.shared, distance=np.nan_to_num(pair.shared.distance, nan=FAR_M)))
              for pair in concerned]
    angle = np.concatenate([
        np.maximum(*(np.linalg.norm(misses(item, numbers) - misses(item, none), axis=1) for item in both))
        for both in zip(concerned, filled, strict=True)])
    distance = np.concatenate([pair.shared.distance for pair in concerned])
    known = ~np.isnan(distance)
    shown = known if known.any() else ~known
    return Explanation(camera, cause, change, float(cost / sum(len(pair.shared) for pair in pairs)),
                       float(np.degrees(np.median(angle[shown]))),
                       float(np.median((distance * angle)[known]) if known.any() else np.linalg.norm(change[3:6])))
