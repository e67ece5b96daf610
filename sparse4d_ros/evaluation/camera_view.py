"""Boxes drawn on a camera's picture: wireframes cut at the near plane, with class and track number."""

from __future__ import annotations

import cv2
import numpy as np

from sparse4d_ros import boxes as box_columns
from sparse4d_ros.evaluation import canvas
from sparse4d_ros.evaluation.records import FrameResult
from sparse4d_ros.frame import CameraFrame

#: Metres in front of the camera where edges are cut: behind it a projection is meaningless.
NEAR = 0.2
_FRONT_FACE = (0, 3, 7, 4)
_FILL = 0.14


def project_box(box: np.ndarray, camera_from_vehicle: np.ndarray, intrinsic: np.ndarray,
                size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, float] | None:
    """Pixels ``[k, 2, 2]`` of the visible edges of a box ``[10]``, their edge indices, and the centre's depth.

    None if no part of it can appear in a picture of ``size`` (width, height).
    """
    rotation, translation = camera_from_vehicle[:3, :3], camera_from_vehicle[:3, 3]
    corners = box_columns.corners(box[None])[0] @ rotation.T + translation
    segments, index = box_columns.clip_edges(corners, NEAR)
    if not len(segments):
        return None
    homogeneous = segments @ intrinsic.T
    pixels = homogeneous[..., :2] / homogeneous[..., 2:]
    low, high = pixels.reshape(-1, 2).min(axis=0), pixels.reshape(-1, 2).max(axis=0)
    if (high < 0).any() or low[0] >= size[0] or low[1] >= size[1]:
        return None
    return pixels, index, float(rotation[2] @ box[:3] + translation[2])


def draw_camera(camera: CameraFrame, result: FrameResult | None, size: tuple[int, int]) -> np.ndarray:
    """The camera's picture scaled to ``size`` (width, height) with the result's boxes on it."""
    width, height = size
    if camera.image is None:
        view = np.full((height, width, 3), canvas.PANEL, dtype=np.uint8)
        canvas.text(view, "no image", width / 2, height / 2 - 9, 14, canvas.ALERT, bold=True, align="centre")
        return view
    old_height, old_width = camera.image.shape[:2]
    shrinks = width < old_width
    view = cv2.resize(camera.image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
    if result is None or not len(result):
        return view
    # Pixel centres are at whole numbers, so that the picture's border lies at -0.5.
    scale = np.array([width / old_width, height / old_height])
    intrinsic = camera.intrinsic.copy()
    intrinsic[:2] *= scale[:, None]
    intrinsic[:2, 2] += 0.5 * scale - 0.5
    draw_boxes(view, result, camera.camera_from_vehicle, intrinsic)
    return view


def draw_boxes(view: np.ndarray, result: FrameResult, camera_from_vehicle: np.ndarray, intrinsic: np.ndarray) -> None:
    """Draw all boxes on ``view [h, w, 3]`` in place, the nearest last."""
    size = (view.shape[1], view.shape[0])
    shown = []
    for row in range(len(result)):
        projected = project_box(result.boxes[row], camera_from_vehicle, intrinsic, size)
        if projected is not None:
            shown.append((projected[2], row, *projected[:2]))
    shown.sort(key=lambda item: -item[0])
    filled = view.copy()
    for _, row, pixels, _ in shown:
        hull = cv2.convexHull(pixels.reshape(-1, 2).astype(np.float32))[:, 0]
        canvas.polygon(filled, hull, canvas.class_colour(result.names[row]))
    cv2.addWeighted(filled, _FILL, view, 1.0 - _FILL, 0.0, dst=view)
    for _, row, pixels, index in shown:
        _draw_wireframe(view, pixels, index, canvas.class_colour(result.names[row]))
    taken: list[tuple[int, int, int, int]] = []
    for _, row, pixels, _ in reversed(shown):
        _draw_label(view, pixels, result.names[row], int(result.track_ids[row]), taken)


def _draw_wireframe(view: np.ndarray, pixels: np.ndarray, index: np.ndarray, colour: canvas.Colour) -> None:
    """A dark halo, then the edges; those of the front face are thicker and tell the heading."""
    extent = float(np.ptp(pixels.reshape(-1, 2), axis=0).max())
    large = extent > 40
    for segment in pixels:
        canvas.polyline(view, segment, canvas.mix(canvas.BACKGROUND, colour, 0.2), 3 if large else 2)
    for segment, edge in zip(pixels, index, strict=True):
        front = set(box_columns.EDGES[edge]) <= set(_FRONT_FACE)
        canvas.polyline(view, segment, colour, 2 if large and front else 1)


def _draw_label(view: np.ndarray, pixels: np.ndarray, name: str, track_id: int,
                taken: list[tuple[int, int, int, int]]) -> None:
    """Class and number where the box is wide enough, the number alone on smaller ones, nothing on specks.

    ``taken`` holds the places of labels of nearer boxes; a label that would cover one is left out.
    """
    points = pixels.reshape(-1, 2)
    low, high = np.maximum(points.min(axis=0), 0), np.minimum(points.max(axis=0), [view.shape[1], view.shape[0]])
    extent = high - low
    if extent.max() < 18:
        return
    words = f"{name.replace('_', ' ')} {track_id}" if extent[0] >= 64 else f"{track_id}"
    width, height = canvas.text_size(words, 11, bold=True)
    x, y, width, height = round(low[0]), round(low[1]) - height - 4, width + 9, height + 2
    if any(x < ox + ow and ox < x + width and y < oy + oh and oy < y + height for ox, oy, ow, oh in taken):
        return
    taken.append((x, y, width, height))
    canvas.tag(view, words, low[0], low[1] - 2, 11, canvas.class_colour(name))
