"""Records a simulated drive's motion, so that it can be played again, edited, or compared."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from sparse4d_ros import boxes
from sparse4d_ros.boxes import NUSCENES_CLASSES
from sparse4d_ros.simulation.drive import DRAW_RANGE_M, check_pace, frame_count
from sparse4d_ros.simulation.rig import Rig
from sparse4d_ros.simulation.scene import Scene
from sparse4d_ros.simulation.splits import check_seed
from sparse4d_ros.simulation.tracks import Motion, ObjectTrack, Recording
from sparse4d_ros.simulation.variety import check_variety, rig_of
from sparse4d_ros.simulation.world import World


def record_town(seed: int, duration_s: float, rate_hz: float, split: str = "train",
                variety: str = "plain") -> Recording:
    """The motion of the drive that :func:`drive.simulate` renders for the same arguments."""
    check_seed(seed, split)
    check_pace(duration_s, rate_hz)
    world = World(seed, duration_s, sway=check_variety(variety))
    return record(world, shot_times(rig_of(seed, variety), duration_s, rate_hz))


def shot_times(rig: Rig, duration_s: float, rate_hz: float) -> np.ndarray:
    """Every moment of a drive at which a camera fires, and the drive's end, in seconds."""
    frames = [round(index / rate_hz * 1e9) for index in range(frame_count(duration_s, rate_hz))]
    shots = {frame + camera.offset_ns for frame in frames for camera in rig.cameras}
    return np.array(sorted(shots | {round(duration_s * 1e9)})) * 1e-9


def record(scene: Scene, times: np.ndarray) -> Recording:
    """Ego vehicle and objects of a scene at ``times`` ``[k]``, ascending, at least two.

    Objects that never come near enough to be drawn are left out. What stands still all the time is
    kept as its first and its last sample; what moves gets its velocities along.
    """
    poses = np.array([scene.fixed_from_vehicle(time_s) for time_s in times])
    angles = Rotation.from_matrix(poses[:, :3, :3]).as_euler("ZYX")
    tables = np.array([scene.boxes(time_s) for time_s in times])
    distance = np.linalg.norm(tables[:, :, :2] - poses[:, None, :2, 3], axis=2)
    tracks = []
    for row in np.flatnonzero((distance < DRAW_RANGE_M).any(axis=0)):
        there = np.flatnonzero(np.isfinite(tables[:, row, boxes.X]))
        if len(there) < 2:
            continue
        table = tables[there, row]
        still = (table == table[0]).all() and not table[0, boxes.VX:].any()
        keep = there[[0, -1]] if still else there
        table = tables[keep, row]
        turned = np.zeros((len(keep), 3))
        turned[:, 0] = table[:, boxes.YAW]
        motion = Motion(times[keep], table[:, :3], turned, None if still else table[:, boxes.VX:])
        tracks.append(ObjectTrack(int(scene.instance_ids[row]), NUSCENES_CLASSES[scene.classes[row]],
                                  table[0, boxes.LENGTH:boxes.HEIGHT + 1], motion))
    return Recording(Motion(times, poses[:, :3, 3], angles), tuple(tracks))
