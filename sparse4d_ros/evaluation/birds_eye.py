"""The bird's-eye view: tracks with trails, ground truth as thin outlines, the vehicle and range rings."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import cv2
import numpy as np

from sparse4d_ros import boxes as box_columns
from sparse4d_ros.evaluation import canvas
from sparse4d_ros.evaluation.records import FrameResult
from sparse4d_ros.frame import CameraFrame, Objects
from sparse4d_ros.geometry import inverse

RANGE_M = 52.0
_RINGS_M = (10, 20, 30, 40, 50)
#: Length and width of the drawn vehicle, and how far its rear axle (the origin) is from its rear end, metres.
_VEHICLE_M = (4.6, 1.9, 1.0)
#: Cameras' fans reach beyond the corners, so that only what no camera sees stays dark.
_SIGHT_M = 120.0
#: Objects that stay where they are need no number.
UNNUMBERED = ("barrier", "traffic_cone")
_ARROW_S = 1.0
_ARROW_MIN_SPEED = 0.5


class Trails:
    """Where each track has been in the fixed frame during the last seconds."""

    def __init__(self, window_s: float = 4.0) -> None:
        self._window_ns = int(window_s * 1e9)
        self._points: dict[int, deque[tuple[int, np.ndarray]]] = {}

    def update(self, result: FrameResult, fixed_from_vehicle: np.ndarray) -> None:
        """Add the centres of one frame and forget what is older than the window."""
        fixed = box_columns.transform(result.boxes, fixed_from_vehicle)[:, :3]
        for track, centre in zip(result.track_ids, fixed, strict=True):
            self._points.setdefault(int(track), deque()).append((result.stamp_ns, centre))
        oldest = result.stamp_ns - self._window_ns
        for track in list(self._points):
            points = self._points[track]
            while points and points[0][0] < oldest:
                points.popleft()
            if not points:
                del self._points[track]

    def of(self, track: int, stamp_ns: int) -> tuple[np.ndarray, np.ndarray]:
        """Points ``[n, 3]`` in the fixed frame, oldest first, and their age ``[n]`` as a share of the window."""
        points = self._points.get(track, ())
        ages = np.array([(stamp_ns - stamp) / self._window_ns for stamp, _ in points])
        return np.array([point for _, point in points]).reshape(-1, 3), ages


class BirdsEye:
    """Draws one view; x (forward) points up and y to the left, as one sits in the vehicle."""

    def __init__(self, size: tuple[int, int], range_m: float = RANGE_M) -> None:
        self.width, self.height = size
        self.pixels_per_metre = self.height / (2.0 * range_m)

    def pixels(self, points: np.ndarray) -> np.ndarray:
        """Pixels ``[..., 2]`` of points ``[..., >=2]`` in the vehicle frame."""
        points = np.asarray(points, dtype=np.float64)
        return np.stack([
            self.width / 2 - points[..., 1] * self.pixels_per_metre,
            self.height / 2 - points[..., 0] * self.pixels_per_metre,
        ], axis=-1)

    def draw(self, result: FrameResult | None, truth: Objects | None, trails: Trails,
             fixed_from_vehicle: np.ndarray, cameras: Iterable[CameraFrame] = ()) -> np.ndarray:
        """The view ``[height, width, 3]`` of one frame; boxes are in the vehicle frame."""
        view = np.full((self.height, self.width, 3), canvas.PANEL, dtype=np.uint8)
        self._draw_ground(view, cameras)
        if result is not None:
            self._draw_trails(view, result, trails, inverse(fixed_from_vehicle))
            self._draw_tracks(view, result)
        if truth is not None:
            self._draw_truth(view, truth)
        self._draw_vehicle(view)
        if result is not None:
            self._draw_numbers(view, result)
        self._draw_key(view, truth is not None)
        return view

    def _draw_ground(self, view: np.ndarray, cameras: Iterable[CameraFrame]) -> None:
        centre = self.pixels(np.zeros(2))
        fan = view.copy()
        for camera in cameras:
            if camera.image is not None:
                canvas.polygon(fan, self.pixels(sight(camera, _SIGHT_M)), canvas.mix(canvas.PANEL, canvas.MUTED, 0.5))
        cv2.addWeighted(fan, 0.12, view, 0.88, 0.0, dst=view)
        for ring in _RINGS_M:
            canvas.circle(view, tuple(centre), ring * self.pixels_per_metre, canvas.LINE)
            spot = self.pixels(ring * np.array([np.cos(0.62), -np.sin(0.62)]))
            if 0 < spot[0] < self.width - 24 and 0 < spot[1]:
                canvas.text(view, f"{ring} m", spot[0] + 3, spot[1] - 12, 11, canvas.MUTED)

    def _draw_trails(self, view: np.ndarray, result: FrameResult, trails: Trails,
                     vehicle_from_fixed: np.ndarray) -> None:
        for track, name in zip(result.track_ids, result.names, strict=True):
            points, ages = trails.of(int(track), result.stamp_ns)
            pixels = self.pixels(points @ vehicle_from_fixed[:3, :3].T + vehicle_from_fixed[:3, 3])
            for first, second, age in zip(pixels[:-1], pixels[1:], ages[:-1], strict=True):
                faded = canvas.mix(canvas.PANEL, canvas.class_colour(name), 0.15 + 0.6 * max(0.0, 1.0 - age))
                canvas.polyline(view, np.stack([first, second]), faded, 2)

    def _draw_tracks(self, view: np.ndarray, result: FrameResult) -> None:
        outlines = self.pixels(box_columns.corners(result.boxes)[:, :4, :2])
        filled = view.copy()
        for outline, name in zip(outlines, result.names, strict=True):
            canvas.polygon(filled, outline, canvas.class_colour(name))
        cv2.addWeighted(filled, 0.45, view, 0.55, 0.0, dst=view)
        for outline, box, name in zip(outlines, result.boxes, result.names, strict=True):
            colour = canvas.class_colour(name)
            canvas.polyline(view, outline, colour, 1, closed=True)
            canvas.polyline(view, outline[[0, 3]], canvas.mix(colour, canvas.TEXT, 0.5), 2)
            velocity = box[box_columns.VX:box_columns.VY + 1]
            if np.hypot(*velocity) > _ARROW_MIN_SPEED:
                canvas.polyline(view, self.pixels(np.stack([box[:2], box[:2] + _ARROW_S * velocity])), colour, 1)

    def _draw_truth(self, view: np.ndarray, truth: Objects) -> None:
        shown = np.asarray(truth.visibility) > 0
        over = view.copy()
        for outline in self.pixels(box_columns.corners(np.asarray(truth.boxes)[shown])[:, :4, :2]):
            canvas.polyline(over, outline, canvas.TRUTH, 1, closed=True)
        cv2.addWeighted(over, 0.7, view, 0.3, 0.0, dst=view)

    def _draw_vehicle(self, view: np.ndarray) -> None:
        length, width, behind = _VEHICLE_M
        front, rear, half = length - behind, -behind, width / 2
        body = np.array([[front, half * 0.6], [front - 0.5, half], [rear + 0.3, half], [rear, half * 0.7],
                         [rear, -half * 0.7], [rear + 0.3, -half], [front - 0.5, -half], [front, -half * 0.6]])
        canvas.polygon(view, self.pixels(body), canvas.TEXT)
        glass = np.array([[1.9, 0.72], [1.9, -0.72], [1.2, -0.62], [1.2, 0.62]])
        canvas.polygon(view, self.pixels(glass), canvas.PANEL)

    def _draw_numbers(self, view: np.ndarray, result: FrameResult) -> None:
        """Track numbers right of their objects, best score first; one that would cover another is left out."""
        taken: list[tuple[float, float]] = []
        for row in np.argsort(-result.scores, kind="stable"):
            box, name = result.boxes[row], result.names[row]
            if name in UNNUMBERED:
                continue
            reach = 0.5 * float(np.hypot(box[box_columns.LENGTH], box[box_columns.WIDTH]))
            x, y = self.pixels(box[:2]) + [min(reach * 0.7, 2.0) * self.pixels_per_metre + 2, -14]
            if any(abs(x - other_x) < 22 and abs(y - other_y) < 10 for other_x, other_y in taken):
                continue
            taken.append((x, y))
            canvas.text(view, str(int(result.track_ids[row])), x, y, 11,
                        canvas.mix(canvas.class_colour(name), canvas.TEXT, 0.45))

    def _draw_key(self, view: np.ndarray, with_truth: bool) -> None:
        """What the shapes mean, in the lower left corner."""
        y = self.height - 24
        x = 12
        sample = np.array([[0, 4], [20, 4], [20, 13], [0, 13]], dtype=np.float64)
        canvas.box(view, x, y + 4, 20, 9, canvas.mix(canvas.PANEL, canvas.CLASS_COLOURS["car"], 0.5))
        canvas.polyline(view, sample + [x, y], canvas.CLASS_COLOURS["car"], 1, closed=True)
        x += 28 + canvas.text(view, "track, trail, velocity", x + 28, y, 12, canvas.MUTED) + 18
        if with_truth:
            canvas.polyline(view, sample + [x, y], canvas.mix(canvas.PANEL, canvas.TRUTH, 0.75), 1, closed=True)
            canvas.text(view, "ground truth", x + 28, y, 12, canvas.MUTED)


def sight(camera: CameraFrame, reach_m: float) -> np.ndarray:
    """Corners ``[3, 2]`` in the vehicle frame of the triangle that a camera sees from above."""
    vehicle_from_camera = inverse(camera.camera_from_vehicle)
    width = camera.image.shape[1]
    rays = np.array([[(u - camera.intrinsic[0, 2]) / camera.intrinsic[0, 0], 0.0, 1.0] for u in (0.0, width)])
    directions = (rays @ vehicle_from_camera[:3, :3].T)[:, :2]
    directions *= reach_m / np.linalg.norm(directions, axis=1, keepdims=True)
    origin = vehicle_from_camera[:2, 3]
    return np.stack([origin, origin + directions[0], origin + directions[1]])
