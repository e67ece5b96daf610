"""The calibration drawn on a camera's picture: horizon, distances on the ground, the vehicle's axes, known objects."""

from __future__ import annotations

import cv2
import numpy as np

from sparse4d_ros import geometry
from sparse4d_ros.evaluation import canvas
from sparse4d_ros.evaluation.camera_view import draw_boxes
from sparse4d_ros.evaluation.records import FrameResult
from sparse4d_ros.rig_check.mounted import MountedCamera

GROUND_M = (5, 10, 20, 40)
AXIS_M = 60.0
HORIZON: canvas.Colour = (255, 214, 92)
GROUND: canvas.Colour = (118, 222, 132)
FORWARD: canvas.Colour = (84, 140, 255)
SIDEWAYS: canvas.Colour = (236, 128, 196)
#: Points nearer than this to the lens's plane have no place in a picture.
_NEAR_M = 0.2
_TEXT = 11


def draw_overlay(image: np.ndarray, camera: MountedCamera, width: int, objects: FrameResult | None) -> np.ndarray:
    """The picture ``[height, width, 3]`` at a given width with lines on the plane z = 0 of the vehicle frame, and with
    objects (vehicle frame, at the picture's stamp)."""
    height = round(image.shape[0] * width / image.shape[1])
    shrinks = width < image.shape[1]
    view = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
    intrinsic, camera_from_vehicle = (camera.calibration.intrinsic_for(width, height),
                                      geometry.inverse(camera.vehicle_from_camera))
    matrix = geometry.pad_intrinsic(intrinsic) @ camera_from_vehicle
    turn = np.radians(np.arange(0.0, 360.5, 0.5))
    circle = np.column_stack([np.cos(turn), np.sin(turn), np.zeros_like(turn)])
    along = np.linspace(-AXIS_M, AXIS_M, 481)[:, None]
    lines = [(metres * circle, GROUND, f"{metres} m", place)  # labels side by side, or they cover each other
             for metres, place in zip(GROUND_M, (0.28, 0.38, 0.6, 0.7), strict=True)]
    lines += [(along * [1.0, 0.0, 0.0], FORWARD, "x axis", None), (along * [0.0, 1.0, 0.0], SIDEWAYS, "y axis", None),
              # So far away that the camera's own place does not matter.
              (1e6 * circle, HORIZON, "horizon", 0.8)]
    shown = [_line(view, geometry.project(points, matrix), colour) for points, colour, _, _ in lines]
    for pixels, (_, colour, label, place) in zip(shown, lines, strict=True):
        _label(view, pixels, colour, label, place)
    if objects is not None:
        draw_boxes(view, objects, camera_from_vehicle, intrinsic)
    canvas.tag(view, camera.name, 0, 20, 14, canvas.TEXT)
    return view


def _line(view: np.ndarray, projected: tuple[np.ndarray, np.ndarray], colour: canvas.Colour) -> np.ndarray:
    """Draw a line through pixels ``[n, 2]`` with depths ``[n]``; returns those well inside the picture."""
    height, width = view.shape[:2]
    pixels, depth = projected
    near = (depth > _NEAR_M) & (np.abs(pixels - [width / 2, height / 2]) < [2 * width, 2 * height]).all(axis=1)
    for run in np.split(np.arange(len(pixels)), np.flatnonzero(np.diff(near.astype(int))) + 1):
        if near[run[0]] and len(run) > 1:
            canvas.polyline(view, pixels[run], canvas.BACKGROUND, 3)
            canvas.polyline(view, pixels[run], colour, 1)
    return pixels[near & (pixels >= [4, 4]).all(axis=1) & (pixels < [width - 60, height - 4]).all(axis=1)]


def _label(view: np.ndarray, pixels: np.ndarray, colour: canvas.Colour, label: str, place: float | None) -> None:
    """Name a line at this share of the width, or at its lowest point, if it is seen."""
    if len(pixels):
        x, y = pixels[pixels[:, 1].argmax() if place is None else np.abs(pixels[:, 0] - place * view.shape[1]).argmin()]
        canvas.tag(view, label, x, y + 8, _TEXT, colour)
