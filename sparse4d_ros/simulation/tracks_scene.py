"""A recording as a scene: its objects on a plain road plane with simple surroundings."""

from __future__ import annotations

import numpy as np

from sparse4d_ros import boxes
from sparse4d_ros.boxes import NUSCENES_CLASSES
from sparse4d_ros.simulation.actors import Instances
from sparse4d_ros.simulation.catalogue import Body, bodies
from sparse4d_ros.simulation.look import draw_look
from sparse4d_ros.simulation.open_land import lay_ground, sight_lines, strew
from sparse4d_ros.simulation.tracks import ObjectTrack, Recording

#: What goes farther than this in a recording takes part in the traffic, metres.
_MOVED_M = 1.0
_WALKING = ("stepping", "passing", "stepping_bag", "passing_bag")
# Which of a class's bodies stand and which have a rider or walk; other classes go by their size.
_STILL = {"pedestrian": ("standing",), "bicycle": ("bicycle",), "motorcycle": ("motorcycle",)}
_MOVING = {"pedestrian": _WALKING, "bicycle": ("cyclist",), "motorcycle": ("motorcyclist",)}


class TracksScene:
    """The :class:`scene.Scene` of a recording; time 0 is the ego vehicle's first sample.

    ``seed`` draws bodies, colours, light and surroundings. ``catalogue`` may give bodies other meshes.
    """

    def __init__(self, recording: Recording, seed: int, catalogue: tuple[Body, ...] | None = None) -> None:
        self.recording = recording
        self.catalogue = bodies() if catalogue is None else catalogue
        tracks = recording.objects
        self._start_s = float(recording.ego.times[0])
        self.classes = np.array([NUSCENES_CLASSES.index(track.name) for track in tracks], dtype=np.int64)
        self.instance_ids = np.array([track.id for track in tracks], dtype=np.int64)
        self.in_traffic = np.array([_moves(track) for track in tracks], dtype=bool)
        self._sizes = np.array([track.size for track in tracks]).reshape(-1, 3)
        # An object's looks depend on its id alone, so that taking another one out changes nothing else.
        streams = [np.random.default_rng([seed, 11, track.id]) for track in tracks]
        drawn = [choose_body(self.catalogue, track, moves, rng)
                 for track, moves, rng in zip(tracks, self.in_traffic, streams, strict=True)]
        self._bodies = np.array([body.index for body in drawn], dtype=np.int64)
        self._colours = np.array(
            [body.draw_colour(rng) for body, rng in zip(drawn, streams, strict=True)]).reshape(-1, 3)
        self.look = draw_look(np.random.default_rng([seed, 12]))
        rng = np.random.default_rng([seed, 13])
        self.ground = lay_ground(recording, rng)
        self.scenery = strew(recording.ego.positions[:, :2], sight_lines(recording), rng).instances()

    def fixed_from_vehicle(self, time_s: float) -> np.ndarray:
        """Pose ``[4, 4]`` of the vehicle frame as recorded; after the last sample the vehicle stands."""
        return self.recording.ego.pose(self._start_s + time_s)

    def boxes(self, time_s: float) -> np.ndarray:
        """Boxes ``[n, 10]`` of all objects in the recording's frame, NaN for those that are not there."""
        out = np.full((len(self._sizes), boxes.BOX_COLUMNS), np.nan)
        out[:, boxes.LENGTH:boxes.HEIGHT + 1] = self._sizes
        for row, track in enumerate(self.recording.objects):
            if track.motion.exists(self._start_s + time_s):
                position, angles, velocity = track.motion.at(self._start_s + time_s)
                out[row, :3], out[row, boxes.YAW], out[row, boxes.VX:] = position, angles[0], velocity
        out[:, boxes.YAW] = boxes.wrap_angle(out[:, boxes.YAW])
        return out

    def objects(self, time_s: float) -> Instances:
        """All objects as the renderer wants them; ids are row numbers plus one."""
        table = self.boxes(time_s)
        return Instances(self._bodies, table[:, [boxes.X, boxes.Y, boxes.Z, boxes.YAW]], self._sizes, self._colours,
                         np.arange(1, len(self._sizes) + 1))


def choose_body(catalogue: tuple[Body, ...], track: ObjectTrack, moves: bool, rng: np.random.Generator) -> Body:
    """The body of a class that suits an object's motion, or else is nearest to its size."""
    names = (_MOVING if moves else _STILL).get(track.name)
    if names is not None:
        wanted = names[rng.integers(len(names))]
        return next(body for body in bodies() if body.mesh.name == wanted)
    alike = [body for body in catalogue if body.class_index == NUSCENES_CLASSES.index(track.name)]
    return min(alike, key=lambda body: np.abs(np.log(body.mesh.size / track.size)).sum())


def _moves(track: ObjectTrack) -> bool:
    return bool(np.linalg.norm(track.motion.positions - track.motion.positions[0], axis=1).max() > _MOVED_M)
