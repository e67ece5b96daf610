"""A camera on the vehicle: where it sits, where it looks, and where a point of the vehicle's world appears in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sparse4d_ros import geometry
from sparse4d_ros.data.camera_info import Calibration
from sparse4d_ros.node.settings import Settings
from sparse4d_ros.rig_check.lenses import calibration_of
from sparse4d_ros.rig_check.recording import Recording


@dataclass(frozen=True)
class MountedCamera:
    """A camera whose mounting is known, and perhaps its calibration."""

    name: str
    #: Its optical frame (z forward, x right, y down) in the vehicle frame, ``[4, 4]``.
    vehicle_from_camera: np.ndarray
    calibration: Calibration | None

    @property
    def position(self) -> np.ndarray:
        """``[3]`` in the vehicle frame, metres."""
        return self.vehicle_from_camera[:3, 3]

    @property
    def azimuth_deg(self) -> float:
        """Where it looks, seen from above: 0 forward, 90 left, 180 back."""
        x, y = self.vehicle_from_camera[:2, 2]
        return float(np.degrees(np.arctan2(y, x)))

    @property
    def elevation_deg(self) -> float:
        """How far it looks up."""
        return float(np.degrees(np.arcsin(np.clip(self.vehicle_from_camera[2, 2], -1.0, 1.0))))

    @property
    def roll_deg(self) -> float:
        """How far the picture's right side hangs down; 180 is upside down."""
        right, down = self.vehicle_from_camera[2, :2]
        return float(np.degrees(np.arctan2(-right, -down)))

    def borders_deg(self) -> tuple[float, float]:
        """Azimuths of the right and the left border of the picture at the height of the principal point."""
        intrinsic, width = self.calibration.intrinsic, self.calibration.width
        across = (np.array([width, 0.0]) - intrinsic[0, 2]) / intrinsic[0, 0]
        rays = np.stack([across, np.zeros(2), np.ones(2)], axis=-1) @ self.vehicle_from_camera[:3, :3].T
        right, left = np.degrees(np.arctan2(rays[:, 1], rays[:, 0]))
        return float(right), float(left if left >= right else left + 360.0)


def shared_sector_deg(first: MountedCamera, second: MountedCamera) -> tuple[float, float]:
    """Azimuths of the right and the left border of what both see; right lies left of left if they share nothing."""
    (right_a, left_a), (right_b, left_b) = first.borders_deg(), second.borders_deg()
    turn = 360.0 * round(((right_a + left_a) - (right_b + left_b)) / 720.0)
    return max(right_a, right_b + turn), min(left_a, left_b + turn)


def mounted_cameras(recording: Recording, settings: Settings) -> dict[str, MountedCamera]:
    """Every camera that a transform connects to the vehicle frame, by name."""
    found = {}
    for name, camera in recording.cameras.items():
        frame = recording.camera_frame(name, dict(settings.camera_frames))
        if not frame or not recording.connected(settings.base_frame, frame):
            continue
        pose = _pose(recording, settings.base_frame, frame, camera.pictures.stamps_ns)
        if pose is not None:
            found[name] = MountedCamera(name, geometry.check_rigid(pose, name), calibration_of(camera))
    return found


def _pose(recording: Recording, target: str, source: str, stamps_ns: list[int]) -> np.ndarray | None:
    """The pose at the first picture for which it is known; a static one always is."""
    known = (stamp for stamp in stamps_ns or [0] if recording.tree.covers(target, source, stamp))
    stamp_ns = next(known, None)
    return None if stamp_ns is None else recording.tree.lookup(target, source, stamp_ns)
