"""Rigid transforms as 4x4 matrices, their interpolation, and projection into a pinhole camera.

``a_from_b`` is the matrix that takes column vectors from frame b to frame a, so that a product
reads by its inner names: ``a_from_c = a_from_b @ b_from_c``. Float64 throughout: map coordinates
lose centimetres in float32. Quaternions are ``x y z w`` as in ROS.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation, Slerp


def from_quaternion(translation: np.ndarray, quaternion_xyzw: np.ndarray) -> np.ndarray:
    """The 4x4 matrix of a translation in metres and a quaternion ``x y z w``.

    Raises ``ValueError`` if a number is not finite or the quaternion is not of unit length
    within 1 % (what a broken localisation sends; normalising it would hide the fault).
    """
    translation = np.asarray(translation, dtype=np.float64)
    quaternion = np.asarray(quaternion_xyzw, dtype=np.float64)
    if not (np.isfinite(translation).all() and np.isfinite(quaternion).all()):
        raise ValueError("the pose holds a number that is not finite")
    norm = float(np.linalg.norm(quaternion))
    if abs(norm - 1.0) > 0.01:
        raise ValueError(f"the quaternion has length {norm:.4f}, not 1")
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_quat(quaternion).as_matrix()
    matrix[:3, 3] = translation
    return matrix


def to_quaternion(matrix: np.ndarray) -> np.ndarray:
    """Quaternion ``x y z w`` of the rotation in a 4x4 or 3x3 matrix."""
    return Rotation.from_matrix(np.asarray(matrix)[:3, :3]).as_quat()


def from_yaw(x: float, y: float, z: float, yaw: float) -> np.ndarray:
    """The 4x4 pose of a frame at (x, y, z) turned by yaw about z."""
    cos, sin = np.cos(yaw), np.sin(yaw)
    return np.array([[cos, -sin, 0.0, x], [sin, cos, 0.0, y], [0.0, 0.0, 1.0, z], [0.0, 0.0, 0.0, 1.0]])


def yaw_of(matrix: np.ndarray) -> float:
    """Heading of the x axis of a pose in the xy plane, radians."""
    return float(np.arctan2(matrix[1, 0], matrix[0, 0]))


def inverse(matrix: np.ndarray) -> np.ndarray:
    """Inverse of a rigid 4x4 matrix, by transposition."""
    rotation = matrix[:3, :3]
    out = np.eye(4)
    out[:3, :3] = rotation.T
    out[:3, 3] = -rotation.T @ matrix[:3, 3]
    return out


def interpolate(first: np.ndarray, second: np.ndarray, fraction: float) -> np.ndarray:
    """The pose a fraction of the way from one pose to another: linear and slerp, as tf2 does."""
    rotations = Rotation.from_matrix(np.stack([first[:3, :3], second[:3, :3]]))
    out = np.eye(4)
    out[:3, :3] = Slerp([0.0, 1.0], rotations)(fraction).as_matrix()
    out[:3, 3] = (1.0 - fraction) * first[:3, 3] + fraction * second[:3, 3]
    return out


def check_rigid(matrix: np.ndarray, name: str) -> np.ndarray:
    """The matrix as float64 ``[4, 4]``; ``ValueError`` naming it if it is not a rigid transform."""
    matrix = np.asarray(matrix, dtype=np.float64)
    if matrix.shape != (4, 4):
        raise ValueError(f"{name} has shape {list(matrix.shape)}, not [4, 4]")
    if not np.isfinite(matrix).all():
        raise ValueError(f"{name} holds a number that is not finite")
    rotation = matrix[:3, :3]
    if np.abs(rotation @ rotation.T - np.eye(3)).max() > 1e-3 or np.linalg.det(rotation) < 0:
        raise ValueError(f"{name} is not a rigid transform: its rotation is not orthonormal")
    if np.abs(matrix[3] - [0.0, 0.0, 0.0, 1.0]).max() > 1e-9:
        raise ValueError(f"{name} is not a rigid transform: its last row is not 0 0 0 1")
    return matrix


def pad_intrinsic(intrinsic: np.ndarray) -> np.ndarray:
    """A 3x3 camera matrix K as 4x4, so that it multiplies rigid matrices."""
    out = np.eye(4)
    out[:3, :3] = intrinsic
    return out


def project(points: np.ndarray, image_from_source: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels ``[..., 2]`` and depths ``[...]`` in metres of points ``[..., 3]``.

    ``image_from_source`` is K (padded) times the extrinsic. Points behind the camera keep their
    negative depth and meaningless pixels: mask them by depth.
    """
    points = np.asarray(points, dtype=np.float64)
    homogeneous = points @ image_from_source[:3, :3].T + image_from_source[:3, 3]
    depth = homogeneous[..., 2]
    safe = np.where(np.abs(depth) < 1e-6, 1e-6, depth)
    return homogeneous[..., :2] / safe[..., None], depth
