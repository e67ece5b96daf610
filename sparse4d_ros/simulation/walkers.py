"""Pedestrians: on pavements, standing in groups, and crossing streets at the zebra crossings.

A walker follows a path at constant speed from one moment on and stops at its end. Crossings are
planned ahead; vehicles see them as red signals (:meth:`Walkers.occupied`).
"""

from __future__ import annotations

import numpy as np

from sparse4d_ros.simulation.catalogue import by_name
from sparse4d_ros.simulation.paths import Paths, rounded
from sparse4d_ros.simulation.town import Street

_NOTICE_S = 3.0
_WALKING = ("stepping", "passing", "stepping_bag", "passing_bag")


class Walkers:
    """All pedestrians of a drive."""

    def __init__(self, streets: list[Street], rng: np.random.Generator, start_s: float, end_s: float) -> None:
        self.bodies: list[int] = []
        self.sizes: list[np.ndarray] = []
        self.colours: list[np.ndarray] = []
        self._pieces: list[np.ndarray] = []
        self._begins: list[float] = []
        self._speeds: list[float] = []
        self._lengths: list[float] = []
        #: street index -> moments (from, to) at which somebody is on its crossing.
        self.crossings: dict[int, list[tuple[float, float]]] = {}
        for street in streets:
            for side in (-1.0, 1.0):
                self._fill_pavement(street, side, rng, start_s, end_s)
            if street.crossing is not None:
                self._plan_crossings(street, rng, start_s, end_s)
        self._paths = Paths(self._pieces)
        self._begin, self._speed, self._length = (
            np.array(rows) for rows in (self._begins, self._speeds, self._lengths))

    def _add(self, rng: np.random.Generator, vertices: np.ndarray, begin: float, speed: float, body_name: str) -> None:
        body = by_name()[body_name]
        self.bodies.append(body.index)
        size = body.draw_size(rng)
        # One box for the whole stride, whichever of its moments the body shows.
        size[0] = rng.uniform(0.55, 0.80) if speed > 0.0 else size[0]
        self.sizes.append(size * np.array([1.0, 1.0, rng.uniform(0.90, 1.07)]))
        self.colours.append(body.draw_colour(rng))
        self._pieces.append(rounded(vertices, 0.5))
        self._begins.append(begin)
        self._speeds.append(speed)
        self._lengths.append(float(np.linalg.norm(np.diff(vertices, axis=0), axis=1).sum()))

    def _fill_pavement(self, street: Street, side: float, rng: np.random.Generator, start_s: float,
                       end_s: float) -> None:
        section = street.section
        for _ in range(rng.poisson(street.length / 20.0)):
            offset = side * rng.uniform(section.half_road + 0.9, section.half_total - 0.4)
            along = rng.uniform(2.0, street.length - 2.0)
            if rng.random() < 0.25:
                for neighbour in range(rng.integers(1, 4)):
                    place = along + 0.85 * neighbour + rng.uniform(0.0, 0.15)
                    spot = street.point(place, offset + rng.uniform(-0.3, 0.3))
                    angle = rng.uniform(-np.pi, np.pi)
                    self._add(rng, np.stack([spot, spot + [np.cos(angle), np.sin(angle)]]), end_s, 0.0, "standing")
                continue
            speed, way = rng.uniform(0.8, 1.8), rng.choice([-1.0, 1.0])
            goal = np.clip(along + way * speed * (end_s - start_s), 0.5, street.length - 0.5)
            if abs(goal - along) > 1.0:
                ends = street.point(np.array([along, goal]), np.full(2, offset))
                self._add(rng, ends, start_s, speed, rng.choice(_WALKING))

    def _plan_crossings(self, street: Street, rng: np.random.Generator, start_s: float, end_s: float) -> None:
        section, moment = street.section, start_s + rng.uniform(0.0, 14.0)
        while moment < end_s:
            latest = moment
            for _ in range(rng.integers(1, 4)):
                side = rng.choice([-1.0, 1.0])
                begin, speed = moment + rng.uniform(0.0, 1.5), rng.uniform(1.0, 1.8)
                along = street.crossing + rng.uniform(-1.3, 1.3)
                kerb = section.half_road + 0.7
                far = np.clip(along + rng.uniform(-8.0, 8.0), 1.0, street.length - 1.0)
                vertices = np.stack([street.point(along, side * kerb), street.point(along, -side * kerb),
                                     street.point(far, -side * (kerb + 0.6))])
                self._add(rng, vertices, begin, speed, rng.choice(_WALKING))
                latest = max(latest, begin + 2.0 * kerb / speed)
            self.crossings.setdefault(street.index, []).append((moment, latest))
            moment = latest + rng.uniform(14.0, 28.0)

    def occupied(self, street: int, time_s: float) -> bool:
        """Whether vehicles must wait before a street's crossing."""
        return any(begin - _NOTICE_S < time_s < end for begin, end in self.crossings.get(street, ()))

    def at(self, time_s: float) -> tuple[np.ndarray, np.ndarray]:
        """Poses ``[n, 3]`` (x, y, yaw) and speeds ``[n]``."""
        along = self._speed * (time_s - self._begin)
        moving = (along > 0.0) & (along < self._length)
        poses = np.stack(self._paths.at(np.clip(along, 0.0, self._length)), axis=1)
        return poses, np.where(moving, self._speed, 0.0)
