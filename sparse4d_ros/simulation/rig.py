"""The camera rig of the simulated vehicle: six cameras placed and aimed as on the nuScenes cars.

Focal lengths and principal points are those of a 1600x900 nuScenes picture after the usual
preparation for 704x256 networks (resize by 0.44, drop the upper 140 rows), rounded; other picture
sizes scale them. Pixel coordinates are continuous: a picture of width w spans 0..w and the first
pixel's centre is at 0.5, so scaling a picture scales K.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sparse4d_ros import geometry

REFERENCE_SIZE = (704, 256)
_PRINCIPAL_POINT = (352.0, 76.0)

# Optical axes (x right, y down, z forward) in a body frame (x forward, y left, z up).
_BODY_FROM_OPTICAL = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])


@dataclass(frozen=True)
class Camera:
    """One camera of a rig."""

    name: str
    #: Pose of the optical frame in the vehicle frame, ``[4, 4]``.
    vehicle_from_camera: np.ndarray
    #: K for pictures of ``REFERENCE_SIZE``, ``[3, 3]``.
    reference_intrinsic: np.ndarray
    #: When the camera fires, after the reference camera.
    offset_ns: int

    def intrinsic(self, image_size: tuple[int, int]) -> np.ndarray:
        """K ``[3, 3]`` for pictures of ``(width, height)``."""
        scale = np.array([image_size[0] / REFERENCE_SIZE[0], image_size[1] / REFERENCE_SIZE[1], 1.0])
        return scale[:, None] * self.reference_intrinsic


@dataclass(frozen=True)
class Rig:
    """Cameras in model order; the first one is the reference and has offset 0."""

    cameras: tuple[Camera, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Camera names in order."""
        return tuple(camera.name for camera in self.cameras)

    @property
    def vehicle_from_camera(self) -> dict[str, np.ndarray]:
        """Mounting ``[4, 4]`` of each camera by name."""
        return {camera.name: camera.vehicle_from_camera for camera in self.cameras}


def _camera(name: str, position: tuple[float, float, float], yaw_deg: float, focal: float, offset_ms: float) -> Camera:
    pose = geometry.from_yaw(*position, np.deg2rad(yaw_deg))
    pose[:3, :3] = pose[:3, :3] @ _BODY_FROM_OPTICAL
    intrinsic = np.array([[focal, 0.0, _PRINCIPAL_POINT[0]], [0.0, focal, _PRINCIPAL_POINT[1]], [0.0, 0.0, 1.0]])
    return Camera(name, pose, intrinsic, round(offset_ms * 1e6))


def default_rig(spread: float = 1.0) -> Rig:
    """The nuScenes-like rig; ``spread`` scales the firing offsets (0: all cameras fire at once).

    Cameras fire clockwise, as a lidar that sweeps past them would trigger them.
    """
    front, back = 557.0, 356.0
    return Rig((
        _camera("front", (1.70, 0.00, 1.51), 0.0, front, 0.0),
        _camera("front_right", (1.55, -0.49, 1.50), -55.0, front, 8.0 * spread),
        _camera("front_left", (1.52, 0.49, 1.51), 55.0, front, 39.0 * spread),
        _camera("back", (0.03, 0.00, 1.57), 180.0, back, 24.0 * spread),
        _camera("back_left", (1.04, 0.48, 1.59), 108.0, front, 31.0 * spread),
        _camera("back_right", (1.01, -0.48, 1.56), -108.0, front, 16.0 * spread),
    ))
