"""Boxes drawn on camera images, for checking calibration and swapped cameras by eye. No ROS here."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from sparse4d_ros import boxes, geometry

#: What lies nearer to the camera than this is cut off, metres.
_NEAR_M = 0.1
_FRONT = np.array([0, 3, 7, 4])  # corners of the front face, in drawing order


def draw_boxes(image: np.ndarray, rows: np.ndarray, image_from_vehicle: np.ndarray,
               colors: Sequence[tuple[int, int, int]], labels: Sequence[str]) -> np.ndarray:
    """A copy of a BGR image ``[h, w, 3]`` with boxes ``[n, 10]`` of the vehicle frame drawn on it.

    ``image_from_vehicle`` ``[4, 4]`` is the padded K times camera_from_vehicle at the image's own
    stamp; ``colors`` are BGR. The front face is filled half through, so that the heading is seen.
    """
    canvas = image.copy()
    if not len(rows):
        return canvas
    height, width = canvas.shape[:2]
    thickness = max(1, round(width / 800))
    homogeneous = boxes.corners(rows) @ image_from_vehicle[:3, :3].T + image_from_vehicle[:3, 3]  # [n, 8, (ud, vd, d)]
    centres = geometry.project(rows[:, :3], image_from_vehicle)[1]
    for index in np.argsort(-centres):  # far boxes first: near ones cover them
        corners = homogeneous[index]
        if corners[:, 2].max() <= _NEAR_M:
            continue
        segments, _ = boxes.clip_edges(corners, _NEAR_M)
        lines = segments[..., :2] / segments[..., 2:]
        points = lines.reshape(-1, 2)
        if (points.max(axis=0) < 0).any() or (points.min(axis=0) >= (width, height)).any():
            continue
        if corners[_FRONT, 2].min() > _NEAR_M:
            _tint(canvas, corners[_FRONT, :2] / corners[_FRONT, 2:], colors[index])
        for start, end in lines:
            cv2.line(canvas, _pixel(start), _pixel(end), colors[index], thickness, cv2.LINE_AA)
        corner = _pixel(np.clip(points.min(axis=0), 0, (width - 1, height - 1)))
        cv2.putText(canvas, labels[index], (corner[0], max(corner[1] - 3, 10)), cv2.FONT_HERSHEY_SIMPLEX,
                    0.4 * thickness, colors[index], thickness, cv2.LINE_AA)
    return canvas


def jpeg(image: np.ndarray, quality: int = 80) -> bytes:
    """The image as JPEG data."""
    ok, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not ok:
        raise ValueError(f"an image of shape {list(image.shape)} cannot be written as JPEG")
    return data.tobytes()


def _pixel(point: np.ndarray) -> tuple[int, int]:
    # OpenCV's line drawing overflows silently beyond 16 bits of fixed point.
    x, y = np.clip(point, -30000, 30000)
    return round(float(x)), round(float(y))


def _tint(canvas: np.ndarray, polygon: np.ndarray, color: tuple[int, int, int]) -> None:
    """Blend a colour into a convex polygon, touching only its bounding rectangle."""
    height, width = canvas.shape[:2]
    left, top = np.clip(np.floor(polygon.min(axis=0)), 0, (width, height)).astype(int)
    right, bottom = np.clip(np.ceil(polygon.max(axis=0)) + 1, 0, (width, height)).astype(int)
    if right <= left or bottom <= top:
        return
    region = canvas[top:bottom, left:right]
    painted = region.copy()
    corners = np.array([_pixel(point - (left, top)) for point in polygon], dtype=np.int32)
    cv2.fillConvexPoly(painted, corners, color, cv2.LINE_AA)
    cv2.addWeighted(painted, 0.35, region, 0.65, 0.0, dst=region)
