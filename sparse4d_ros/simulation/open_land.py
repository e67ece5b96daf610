"""Ground and surroundings of a recording, of which nothing but the motion is known.

A road plane wide enough for everything that moves, grass around it, and trees and houses where they
stand between the vehicle and none of the recorded objects.
"""

from __future__ import annotations

import colorsys

import numpy as np

from sparse4d_ros.simulation.actors import Placement
from sparse4d_ros.simulation.catalogue import by_name
from sparse4d_ros.simulation.tracks import Recording

_SPACING_M = 17.0
_REACH_M = 105.0
_SEEN_M = 80.0
_STEP_S = 0.5
# Free space around a line of sight, metres from the thing's middle.
_CLEAR_TREE_M, _CLEAR_HOUSE_M = 5.0, 12.0


def lay_ground(recording: Recording, rng: np.random.Generator) -> np.ndarray:
    """Vertices ``[12, 6]`` of :mod:`ground`: grass, and the road plane around all that moves."""
    grass = np.array([0.30, 0.38, 0.18]) * rng.uniform(0.85, 1.15)
    asphalt = rng.uniform(0.24, 0.38) * np.array([1.0, 1.0, rng.uniform(1.0, 1.06)])
    points = np.concatenate([motion.positions[:, :2] for motion in
                             (recording.ego, *(track.motion for track in recording.objects))])
    low, high = points.min(axis=0), points.max(axis=0)
    return np.concatenate([_rectangle(low - 900.0, high + 900.0, grass, 0.25),
                           _rectangle(low - 30.0, high + 30.0, asphalt, 0.15)]).astype(np.float32)


def _rectangle(low: np.ndarray, high: np.ndarray, colour: np.ndarray, grain: float) -> np.ndarray:
    corners = np.array([[low[0], low[1]], [high[0], low[1]], [high[0], high[1]],
                        [low[0], low[1]], [high[0], high[1]], [low[0], high[1]]])
    return np.concatenate([corners, np.tile([*colour, grain], (6, 1))], axis=1)


def sight_lines(recording: Recording) -> np.ndarray:
    """``[m, 2, 2]`` from the ego vehicle to every object near it, and onwards along its own way."""
    lines = []
    times = recording.ego.times
    for time_s in np.arange(times[0], times[-1] + _STEP_S, _STEP_S):
        here = recording.ego.at(time_s)[0][:2]
        lines.append((here, recording.ego.at(time_s + _STEP_S)[0][:2]))
        for track in recording.objects:
            if track.motion.exists(time_s):
                there = track.motion.at(time_s)[0][:2]
                if np.linalg.norm(there - here) < _SEEN_M:
                    lines.append((here, there))
    return np.array(lines)


def strew(trail: np.ndarray, lines: np.ndarray, rng: np.random.Generator) -> Placement:
    """Trees and houses around the ego vehicle's ``trail`` ``[k, 2]`` that leave the sight lines free."""
    low, high = trail.min(axis=0) - _REACH_M, trail.max(axis=0) + _REACH_M
    axes = [np.arange(a, b, _SPACING_M) for a, b in zip(low, high, strict=True)]
    spots = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2)
    spots = spots + rng.uniform(-0.4, 0.4, spots.shape) * _SPACING_M
    placement = Placement()
    for spot, chance in zip(spots, rng.random(len(spots)), strict=True):
        # Every spot draws from its own numbers, so that clearing one leaves the others as they are.
        own = np.random.default_rng(rng.integers(2 ** 63))
        if np.linalg.norm(trail - spot, axis=1).min() > _REACH_M:
            continue
        free = _distance(spot, lines)
        if chance < 0.35 and free > _CLEAR_HOUSE_M:
            hue, size = own.uniform(0.02, 0.16), np.array([*own.uniform(8.0, 13.0, 2), own.uniform(5.0, 12.0)])
            placement.add(by_name()["house" if chance < 0.2 else "building"], spot, own.uniform(-np.pi, np.pi), own,
                          size=size, colour=np.array(colorsys.hsv_to_rgb(hue, 0.25, own.uniform(0.5, 0.95))))
        elif chance < 0.75 and free > _CLEAR_TREE_M:
            body = by_name()["tree" if chance < 0.65 else "conifer"]
            leaf = colorsys.hsv_to_rgb(own.uniform(0.17, 0.36), own.uniform(0.35, 0.7), own.uniform(0.25, 0.5))
            placement.add(body, spot, own.uniform(-np.pi, np.pi), own, size=body.mesh.size * own.uniform(0.75, 1.25),
                          colour=np.array(leaf))
    return placement


def _distance(point: np.ndarray, lines: np.ndarray) -> float:
    """Smallest distance of a point ``[2]`` from line segments ``[m, 2, 2]``."""
    start, way = lines[:, 0], lines[:, 1] - lines[:, 0]
    along = np.einsum("ij,ij->i", point - start, way) / np.maximum(np.einsum("ij,ij->i", way, way), 1e-12)
    return float(np.linalg.norm(start + np.clip(along, 0.0, 1.0)[:, None] * way - point, axis=1).min())
