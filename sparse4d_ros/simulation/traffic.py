"""Moving vehicles: car following, signals, pedestrian crossings and slow bends, step by step.

The traffic is simulated once, in steps of constant acceleration along fixed paths; afterwards
position, heading and velocity are exact at any time. The ego vehicle is row 0 and obeys the same
rules.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sparse4d_ros.simulation.paths import Paths
from sparse4d_ros.simulation.routes import Route

STEP_S = 0.2
_LOOK_AHEAD_M = np.array([1.5, 4.0, 7.0, 10.0, 14.0, 18.0, 23.0, 29.0])
_LATERAL_ACCELERATION = 2.2
_ACCELERATION, _BRAKING = 2.0, 2.2
_HEADWAY_S = 0.9
_HARDEST_BRAKING = 6.0
_CROSSING_ANGLE = 0.7


@dataclass
class Vehicle:
    """One vehicle before the simulation."""

    body: int
    size: np.ndarray
    colour: np.ndarray
    route: Route
    #: Distance of the body's centre along the path at the start, metres.
    position: float
    desired_speed: float
    #: Row of the vehicle that tows this one, -1 for none; a trailer keeps its distance along the path.
    towed_by: int = -1


class Traffic:
    """Trajectories of vehicles from ``start_s`` on."""

    def __init__(self, vehicles: list[Vehicle], red: np.ndarray, start_s: float, steps: int) -> None:
        """Simulate; ``red[step, signal]`` says which signals forbid to pass."""
        self.start_s = start_s
        self.paths = Paths([vehicle.route.pieces for vehicle in vehicles])
        self._length = np.array([vehicle.size[0] for vehicle in vehicles])
        self._width = np.array([vehicle.size[1] for vehicle in vehicles])
        self._desired = np.array([vehicle.desired_speed for vehicle in vehicles])
        self._towed_by = np.array([vehicle.towed_by for vehicle in vehicles])
        count = max(len(vehicle.route.stops) for vehicle in vehicles)
        self._stops = np.full((len(vehicles), count), np.inf)
        self._signals = np.zeros((len(vehicles), count), dtype=np.int64)
        for row, vehicle in enumerate(vehicles):
            self._stops[row, :len(vehicle.route.stops)] = vehicle.route.stops[:, 0]
            self._signals[row, :len(vehicle.route.stops)] = vehicle.route.stops[:, 1]
        position = np.array([vehicle.position for vehicle in vehicles])
        self.positions, self.speeds, self.accelerations = np.zeros((3, steps, len(vehicles)))
        speed = 0.7 * self._desired
        for step in range(steps):
            acceleration = self._accelerate(position, speed, red[step])
            towed = self._towed_by >= 0
            speed[towed] = speed[self._towed_by[towed]]
            acceleration[towed] = acceleration[self._towed_by[towed]]
            self.positions[step], self.speeds[step], self.accelerations[step] = position, speed, acceleration
            position = position + speed * STEP_S + 0.5 * acceleration * STEP_S ** 2
            speed = np.maximum(speed + acceleration * STEP_S, 0.0)

    def at(self, time_s: float) -> tuple[np.ndarray, np.ndarray]:
        """Poses ``[n, 3]`` (x, y, yaw) and speeds ``[n]`` along the heading."""
        elapsed = time_s - self.start_s
        step = int(np.clip(np.floor(elapsed / STEP_S + 1e-9), 0, len(self.positions) - 1))
        rest = elapsed - step * STEP_S
        speed, acceleration = self.speeds[step], self.accelerations[step]
        along = self.positions[step] + speed * rest + 0.5 * acceleration * rest ** 2
        return np.stack(self.paths.at(along), axis=1), speed + acceleration * rest

    def _accelerate(self, position: np.ndarray, speed: np.ndarray, red: np.ndarray) -> np.ndarray:
        """Intelligent driver model towards the tightest of: vehicle ahead, red signal, bend ahead."""
        gap, leader_speed = self._gap_ahead(position, speed)
        signal_gap = self._red_ahead(position, speed, red)
        free = 1.0 - (speed / self._bend_limited(position, self._desired)) ** 4
        comfort = 2.0 * np.sqrt(_ACCELERATION * _BRAKING)
        closing = np.maximum(speed * _HEADWAY_S + speed * (speed - leader_speed) / comfort, 0.0)
        follow = ((1.8 + closing) / np.maximum(gap, 0.3)) ** 2
        halting = speed * _HEADWAY_S + speed ** 2 / comfort
        wait = ((0.5 + halting) / np.maximum(signal_gap, 0.3)) ** 2
        acceleration = _ACCELERATION * (free - np.maximum(follow, wait))
        # Never backwards: the step ends at a standstill at the earliest.
        return np.maximum(np.clip(acceleration, -_HARDEST_BRAKING, _ACCELERATION), -speed / STEP_S)

    def _gap_ahead(self, position: np.ndarray, speed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Free distance along each path and the speed, in path direction, of what ends it."""
        count = len(position)
        own_x, own_y, own_yaw = self.paths.at(position)
        reach = np.maximum(self._length - self._width, 0.0) / 2.0
        # A vehicle is three discs along its length: rear, middle, front.
        along = np.outer([-1, 0, 1], reach)
        discs = own_x + along * np.cos(own_yaw), own_y + along * np.sin(own_yaw)
        ahead_x, ahead_y, _ = self.paths.at(position[:, None] + self._length[:, None] / 2.0 + _LOOK_AHEAD_M)
        square = ((ahead_x[:, :, None, None] - discs[0]) ** 2 + (ahead_y[:, :, None, None] - discs[1]) ** 2).min(axis=2)
        touch = (self._width[:, None] + self._width) / 2.0 + 0.25
        hit = square < (touch ** 2)[:, None, :]
        hit[np.arange(count), :, np.arange(count)] = False
        distance = np.where(hit.any(axis=1), _LOOK_AHEAD_M[hit.argmax(axis=1)], np.inf)
        # Two that wait for each other at a crossing would wait for ever: the lower row goes first.
        turn = np.abs((own_yaw[:, None] - own_yaw + np.pi) % (2.0 * np.pi) - np.pi)
        mutual = np.isfinite(distance) & np.isfinite(distance.T) & (turn > _CROSSING_ANGLE)
        distance[mutual & (np.arange(count)[:, None] < np.arange(count))] = np.inf
        nearest = distance.argmin(axis=1)
        rows = np.arange(count)
        gap = distance[rows, nearest] - 1.0
        towards = speed[nearest] * np.cos(own_yaw[nearest] - own_yaw)
        return gap, np.maximum(towards, 0.0)

    def _red_ahead(self, position: np.ndarray, speed: np.ndarray, red: np.ndarray) -> np.ndarray:
        """Distance to the next stop line whose signal is red; infinite if none, or too late to brake."""
        gap = self._stops - (position + self._length / 2.0)[:, None]
        gap = np.where((gap > -0.8) & red[self._signals], np.maximum(gap, 0.3), np.inf).min(axis=1)
        return np.where(speed ** 2 / (2.0 * gap) > 4.5, np.inf, gap)

    def _bend_limited(self, position: np.ndarray, desired: np.ndarray) -> np.ndarray:
        """Desired speed reduced for bends within braking distance."""
        ahead = np.concatenate([[0.0], _LOOK_AHEAD_M])
        curvature = self.paths.curvature(position[:, None] + ahead)
        limit = np.sqrt(_LATERAL_ACCELERATION / np.maximum(curvature, 1e-4) + 2.0 * _BRAKING * ahead)
        return np.minimum(desired, limit.min(axis=1))
