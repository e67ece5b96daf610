"""Lamps that shine by night: the ego vehicle's, those of the street, those of other vehicles.

A picture gets the nearest few whose light reaches into its view; all are cones that fade with distance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sparse4d_ros.simulation.actors import Instances
from sparse4d_ros.simulation.catalogue import by_name

_WARM, _RED = np.array([1.0, 0.93, 0.80]), np.array([1.0, 0.08, 0.05])
# Place in the vehicle frame (rear axle, ground), aim, reach in metres, cosine of half the opening angle, colour.
_EGO = (
    ((3.6, 0.65, 0.65), (1.0, 0.20, -0.03), 60.0, 0.70, 0.90 * _WARM),
    ((3.6, -0.65, 0.65), (1.0, -0.20, -0.03), 60.0, 0.70, 0.90 * _WARM),
    ((-0.9, 0.0, 0.75), (-1.0, 0.0, -0.1), 9.0, 0.20, 0.40 * _RED),
)
_HEAD_REACH_M, _HEAD_CONE = 30.0, 0.70
_STREET_REACH_M, _STREET_CONE = 22.0, 0.10
# Of the lamp_post mesh, whose arm points along x: where the lamp hangs, as shares of its size.
_HANGS = np.array([0.35, 0.0, 0.47])


@dataclass(frozen=True)
class Lamps:
    """Lamps in the world frame, one row each."""

    #: ``[n, 4]`` x, y, z and reach in metres.
    places: np.ndarray
    #: ``[n, 4]`` unit direction and cosine of half the opening angle.
    aims: np.ndarray
    #: ``[n, 3]`` RGB; 1 lights a white surface nearby fully.
    colours: np.ndarray

    def __len__(self) -> int:
        return len(self.places)

    def __add__(self, other: Lamps) -> Lamps:
        return Lamps(*(np.concatenate([getattr(self, name), getattr(other, name)])
                       for name in self.__dataclass_fields__))

    def pick(self, rows: np.ndarray) -> Lamps:
        """Some of the rows (indices or mask)."""
        return Lamps(self.places[rows], self.aims[rows], self.colours[rows])

    def dimmed(self, share: float) -> Lamps:
        """The same lamps, less bright."""
        return Lamps(self.places, self.aims, share * self.colours)

    def rows(self, count: int) -> np.ndarray:
        """``[3, count, 4]`` places, aims and colours, padded with zeros."""
        out = np.zeros((3, count, 4))
        out[0, :len(self)], out[1, :len(self)], out[2, :len(self), :3] = self.places, self.aims, self.colours
        return out

    def for_view(self, intrinsic: np.ndarray, camera_from_world: np.ndarray, width: int, most: int) -> Lamps:
        """The nearest ``most`` whose light may fall on something between the sides of the view."""
        centre = self.places[:, :3] @ camera_from_world[:3, :3].T + camera_from_world[:3, 3]
        keep = centre[:, 2] > -self.places[:, 3]
        for sign, edge in ((-1.0, intrinsic[0, 2]), (1.0, width - intrinsic[0, 2])):
            across, along = np.array([intrinsic[0, 0], edge]) / np.hypot(intrinsic[0, 0], edge)
            keep &= sign * across * centre[:, 0] - along * centre[:, 2] < self.places[:, 3]
        rows = np.flatnonzero(keep)
        # What a lamp lights matters by its distance less its reach.
        order = np.argsort(np.linalg.norm(centre[rows], axis=1) - 0.5 * self.places[rows, 3], kind="stable")
        return self.pick(np.sort(rows[order[:most]]))


def _lamps(places: np.ndarray, reach: float, aims: np.ndarray, cone: float, colour: np.ndarray) -> Lamps:
    count = len(places)
    aims = aims / np.linalg.norm(aims, axis=1, keepdims=True)
    return Lamps(np.column_stack([places, np.full(count, reach)]), np.column_stack([aims, np.full(count, cone)]),
                 np.tile(colour, (count, 1)))


def ego_lamps(world_from_vehicle: np.ndarray) -> Lamps:
    """Head lamps and tail light of the ego vehicle."""
    turn, shift = world_from_vehicle[:3, :3], world_from_vehicle[:3, 3]
    lamps = [_lamps((turn @ place + shift)[None], reach, (turn @ aim)[None], cone, colour)
             for place, aim, reach, cone, colour in _EGO]
    return lamps[0] + lamps[1] + lamps[2]


def street_lamps(scenery: Instances, colour: np.ndarray) -> Lamps:
    """The lamps of all lamp posts, shining down."""
    posts = scenery.pick(scenery.bodies == by_name()["lamp_post"].index)
    arm = posts.sizes * _HANGS
    cos, sin = np.cos(posts.poses[:, 3]), np.sin(posts.poses[:, 3])
    places = posts.poses[:, :3] + np.stack([cos * arm[:, 0], sin * arm[:, 0], arm[:, 2]], axis=1)
    return _lamps(places, _STREET_REACH_M, np.tile([0.0, 0.0, -1.0], (len(posts), 1)), _STREET_CONE, 1.7 * colour)


def head_lamps(vehicles: Instances) -> Lamps:
    """One lamp in front of each vehicle: at some distance its two beams are one."""
    heading = np.stack([np.cos(vehicles.poses[:, 3]), np.sin(vehicles.poses[:, 3]), np.zeros(len(vehicles))], axis=1)
    places = vehicles.poses[:, :3] + heading * vehicles.sizes[:, :1] * 0.5
    places[:, 2] = np.minimum(0.75, 0.5 * vehicles.sizes[:, 2]) + vehicles.poses[:, 2] - vehicles.sizes[:, 2] / 2.0
    return _lamps(places, _HEAD_REACH_M, heading - [0.0, 0.0, 0.05], _HEAD_CONE, 0.7 * _WARM)
