"""How much of each object the cameras see.

Visibility = pixels in which the object is the nearest surface / pixels that it would cover if
nothing stood before it, both summed over the cameras, within the pictures. The first number comes
from the rendered identities; the second from the object's own geometry: the union of the
silhouettes of its convex parts, each the convex hull of its projected corners.
"""

from __future__ import annotations

import cv2
import numpy as np

from sparse4d_ros.simulation.actors import Instances
from sparse4d_ros.simulation.catalogue import Body, bodies

_NEAREST_M = 0.3


def seen_pixels(ids: np.ndarray, highest: int) -> np.ndarray:
    """``[highest + 1]`` number of pixels of each id in an identity picture."""
    return np.bincount(ids.ravel(), minlength=highest + 1)


def covered_pixels(instances: Instances, intrinsic: np.ndarray, camera_from_world: np.ndarray,
                   image_size: tuple[int, int], catalogue: tuple[Body, ...] | None = None) -> np.ndarray:
    """``[n]`` number of pixels that each instance would cover if it stood alone."""
    width, height = image_size
    catalogue = bodies() if catalogue is None else catalogue
    return np.array([
        _silhouette(catalogue[body].mesh.parts, pose, size, intrinsic, camera_from_world, width, height)
        for body, pose, size in zip(instances.bodies, instances.poses, instances.sizes, strict=True)])


def _silhouette(parts: tuple[np.ndarray, ...], pose: np.ndarray, size: np.ndarray, intrinsic: np.ndarray,
                camera_from_world: np.ndarray, width: int, height: int) -> float:
    counts = [len(part) for part in parts]
    local = np.concatenate(parts) * size
    cos, sin = np.cos(pose[3]), np.sin(pose[3])
    world = local @ np.array([[cos, sin, 0.0], [-sin, cos, 0.0], [0.0, 0.0, 1.0]]) + pose[:3]
    camera = world @ camera_from_world[:3, :3].T + camera_from_world[:3, 3]
    depth = np.maximum(camera[:, 2], 1e-6)
    pixels = camera[:, :2] / depth[:, None] * intrinsic[[0, 1], [0, 1]] + intrinsic[:2, 2]
    # Only the window that the object takes of the picture is rastered, small ones finer: a raster
    # counts pixels that an outline merely touches.
    ahead = camera[:, 2] > _NEAREST_M
    if not ahead.any():
        return 0
    low = np.clip(np.floor(pixels[ahead].min(axis=0)), 0, [width, height]).astype(int)
    high = np.clip(np.ceil(pixels[ahead].max(axis=0)) + 1, 0, [width, height]).astype(int)
    if (high <= low).any():
        return 0
    fine = int(np.clip(256 // (high - low).max(), 1, 8))
    mask = np.zeros((high - low)[::-1] * fine, dtype=np.uint8)
    points = np.clip(np.round(((pixels - low) * fine - 0.5) * 16.0), -2e5, 2e5).astype(np.int32)  # 4 fractional bits
    first = 0
    for count in counts:
        rows = slice(first, first + count)
        first += count
        if ahead[rows].all():
            cv2.fillConvexPoly(mask, cv2.convexHull(points[rows]), 1, shift=4)
    return np.count_nonzero(mask) / fine ** 2
