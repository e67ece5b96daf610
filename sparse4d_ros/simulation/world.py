"""One seeded world: the town, all that stands and moves in it, and the ego vehicle's motion."""

from __future__ import annotations

import numpy as np

from sparse4d_ros import boxes, geometry
from sparse4d_ros.simulation.actors import Instances
from sparse4d_ros.simulation.catalogue import Body, bodies
from sparse4d_ros.simulation.ground import build_ground
from sparse4d_ros.simulation.kerbside import fill_kerbs
from sparse4d_ros.simulation.look import draw_look
from sparse4d_ros.simulation.routes import crossing_signal
from sparse4d_ros.simulation.spawn import EGO_CENTRE_M, ego_vehicle, spawn, streets_near
from sparse4d_ros.simulation.surroundings import furnish
from sparse4d_ros.simulation.sway import Sway
from sparse4d_ros.simulation.town import Town, build_town
from sparse4d_ros.simulation.traffic import STEP_S, Traffic
from sparse4d_ros.simulation.walkers import Walkers

_WARM_UP_S = 3.0
_TOP_SPEED = 15.0


class World:
    """Everything about one seed, at any time between ``0`` and ``duration_s``.

    Labelled objects keep their row, and so their instance number, for the whole drive. With ``sway`` the
    ego vehicle pitches and rolls; everything else stays the same. ``catalogue`` may give bodies other meshes.
    """

    def __init__(self, seed: int, duration_s: float, sway: bool = False,
                 catalogue: tuple[Body, ...] | None = None) -> None:
        streams = [np.random.default_rng([seed, stream]) for stream in range(7)]
        self.seed, self.duration_s = seed, duration_s
        self.catalogue = bodies() if catalogue is None else catalogue
        self.town: Town = build_town(streams[0])
        self.ground = build_ground(self.town, streams[1])
        self.look = draw_look(streams[2])
        self.scenery = furnish(self.town, streams[3]).instances()
        parked = fill_kerbs(self.town, streams[4]).instances()

        start_s, end_s = -_WARM_UP_S, duration_s + 1.0
        distance = _TOP_SPEED * (end_s - start_s) + 40.0
        ego = ego_vehicle(self.town, streams[5], distance)
        near = streets_near(self.town, ego.route, 70.0)
        self.walkers = Walkers(near, streams[6], start_s, end_s)
        vehicles = spawn(self.town, streams[5], ego, distance)
        steps = int(np.ceil((end_s - start_s) / STEP_S))
        self.traffic = Traffic(vehicles, self._red(start_s, steps), start_s, steps)

        x, y, _ = self.traffic.paths.at(self.traffic.positions[:, 0][None], np.array([0]))
        trail = np.stack([x[0], y[0]], axis=1)[::5]
        parked = parked.pick(np.array([np.linalg.norm(trail - p, axis=1).min() < 85.0 for p in parked.poses[:, :2]]))
        movers, self._parked_count = vehicles[1:], len(parked)
        count = len(movers) + len(self.walkers.bodies)
        moving = Instances(
            np.array([v.body for v in movers] + self.walkers.bodies), np.zeros((count, 4)),
            np.array([v.size for v in movers] + self.walkers.sizes),
            np.array([v.colour for v in movers] + self.walkers.colours), np.zeros(count, dtype=np.int64))
        self._objects = parked + moving
        self._objects.ids[:] = np.arange(1, len(self._objects) + 1)
        #: ``[n]`` class index of every labelled object.
        self.classes = np.array([body.class_index for body in bodies()])[self._objects.bodies]
        self.instance_ids = np.arange(len(self._objects))
        self.in_traffic = np.arange(len(self._objects)) >= len(parked)
        self._sway = Sway(self._level_pose, start_s, end_s, EGO_CENTRE_M, np.random.default_rng([seed, 203])) \
            if sway else None

    def _red(self, start_s: float, steps: int) -> np.ndarray:
        red = np.zeros((steps, 2 * len(self.town.junctions) + len(self.town.streets)), dtype=bool)
        for step in range(steps):
            time_s = start_s + step * STEP_S
            red[step, :2 * len(self.town.junctions)] = [
                junction.is_red(axis, time_s) for junction in self.town.junctions for axis in (0, 1)]
            for street in self.walkers.crossings:
                red[step, crossing_signal(self.town, street)] = self.walkers.occupied(street, time_s)
        return red

    def fixed_from_vehicle(self, time_s: float) -> np.ndarray:
        """Pose ``[4, 4]`` of the ego vehicle's frame (rear axle, on the ground) in the world."""
        level = self._level_pose(time_s)
        return level if self._sway is None else level @ self._sway.level_from_vehicle(time_s)

    def _level_pose(self, time_s: float) -> np.ndarray:
        (x, y, yaw), = self.traffic.at(time_s)[0][:1]
        return geometry.from_yaw(x - EGO_CENTRE_M * np.cos(yaw), y - EGO_CENTRE_M * np.sin(yaw), 0.0, yaw)

    def boxes(self, time_s: float) -> np.ndarray:
        """Boxes ``[n, 10]`` of all labelled objects in the world frame, rows as in ``classes``."""
        out = np.zeros((len(self._objects), boxes.BOX_COLUMNS))
        out[:, boxes.LENGTH:boxes.HEIGHT + 1] = self._objects.sizes
        out[:, boxes.Z] = self._objects.sizes[:, 2] / 2.0
        first = self._parked_count
        out[:first, [boxes.X, boxes.Y, boxes.YAW]] = self._objects.poses[:first][:, [0, 1, 3]]
        driven, walked = self.traffic.at(time_s), self.walkers.at(time_s)
        poses = np.concatenate([driven[0][1:], walked[0]])
        speeds = np.concatenate([driven[1][1:], walked[1]])
        out[first:, [boxes.X, boxes.Y, boxes.YAW]] = poses
        out[first:, boxes.VX] = speeds * np.cos(poses[:, 2])
        out[first:, boxes.VY] = speeds * np.sin(poses[:, 2])
        out[:, boxes.YAW] = boxes.wrap_angle(out[:, boxes.YAW])
        return out

    def objects(self, time_s: float) -> Instances:
        """All labelled objects as the renderer wants them; ids are row numbers plus one."""
        table = self.boxes(time_s)
        return Instances(self._objects.bodies, table[:, [boxes.X, boxes.Y, boxes.Z, boxes.YAW]],
                         self._objects.sizes, self._objects.colours, self._objects.ids)
