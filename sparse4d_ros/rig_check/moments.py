"""Sets of pictures spread over a drive, each with a second picture of every camera from another place."""

from __future__ import annotations

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from sparse4d_ros.node.settings import Settings
from sparse4d_ros.rig_check.flow import LONGEST_NS, small
from sparse4d_ros.rig_check.motion import Motion
from sparse4d_ros.rig_check.mounted import MountedCamera
from sparse4d_ros.rig_check.neighbours import Moment, Shot
from sparse4d_ros.rig_check.pictures import read_pictures
from sparse4d_ros.rig_check.recording import Recording
from sparse4d_ros.rig_check.sets import frame_sets

#: So many sets of a drive say enough.
_MOMENTS = 24
#: The second picture is taken so far away.
_APART_M = 0.8
#: The vehicle's velocity is taken over so much time.
_TWIST_NS = 100_000_000


def read_moments(recording: Recording, mounted: dict[str, MountedCamera], motion: Motion, settings: Settings
                 ) -> list[Moment]:
    """The moments of a bag, as far as cameras have calibration and mounting and the vehicle's pose is known."""
    places = {name: _Places(recording, name, motion, settings) for name, camera in mounted.items()
              if camera.calibration is not None}
    sets = [{name: stamp for name, stamp in members.items() if name in places and stamp in places[name].poses}
            for members in frame_sets(recording, settings)]
    sets = [members for members in sets if len(members) > 1]
    chosen = [sets[index] for index in np.unique(np.linspace(0, len(sets) - 1, min(_MOMENTS, len(sets))).astype(int))]
    elsewhere = [{name: other for name, stamp in members.items() if (other := places[name].elsewhere(stamp))}
                 for members in chosen]
    wanted = {item for members in (*chosen, *elsewhere) for item in members.items()}
    shots = {}
    for name, stamp_ns, image in read_pictures(recording, mounted, wanted, settings):
        grey, intrinsic = small(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), mounted[name])
        shots[name, stamp_ns] = Shot(grey, intrinsic, places[name].poses[stamp_ns], places[name].twist(stamp_ns))
    return [Moment(*({name: shots[name, stamp] for name, stamp in members.items() if (name, stamp) in shots}
                     for members in pair)) for pair in zip(chosen, elsewhere, strict=True)]


class _Places:
    """Where the vehicle was at the stamps of one camera's pictures, and how it moved."""

    def __init__(self, recording: Recording, name: str, motion: Motion, settings: Settings) -> None:
        self._tree, self._frames = recording.tree, (motion.fixed_frame, settings.base_frame)
        self._ends = int(motion.stamps_ns[0]), int(motion.stamps_ns[-1])
        self.poses = {stamp: self._tree.lookup(*self._frames, stamp)
                      for stamp in sorted(set(recording.cameras[name].pictures.stamps_ns))
                      if self._tree.covers(*self._frames, stamp)}

    def elsewhere(self, stamp_ns: int) -> int | None:
        """The stamp of the picture next in time that was taken far enough away, before or after; None if none was."""
        for other in sorted(self.poses, key=lambda other: abs(other - stamp_ns)):
            if abs(other - stamp_ns) > LONGEST_NS:
                break
            if np.linalg.norm(self.poses[other][:3, 3] - self.poses[stamp_ns][:3, 3]) >= _APART_M:
                return other
        return None

    def twist(self, stamp_ns: int) -> np.ndarray:
        """Velocity and turning ``[6]`` in the axes of the vehicle, m/s and rad/s; zeros if there is a single pose."""
        first_ns, last_ns = max(stamp_ns - _TWIST_NS, self._ends[0]), min(stamp_ns + _TWIST_NS, self._ends[1])
        if first_ns == last_ns:
            return np.zeros(6)
        first, last = (self._tree.lookup(*self._frames, stamp) for stamp in (first_ns, last_ns))
        axes = self.poses[stamp_ns][:3, :3].T
        turn = Rotation.from_matrix(axes @ last[:3, :3] @ first[:3, :3].T @ axes.T).as_rotvec()
        return np.concatenate([axes @ (last[:3, 3] - first[:3, 3]), turn]) / ((last_ns - first_ns) * 1e-9)
