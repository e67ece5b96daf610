"""What the page draws, as JSON: one document about the drive, one for each frame, and the pictures as JPEG.

The browser projects and draws; it gets boxes and trails in the vehicle frame at the frame's stamp, and for each
camera the matrix that takes them to its picture.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from sparse4d_ros import boxes as box_columns
from sparse4d_ros.data.images import encode_jpeg
from sparse4d_ros.evaluation import canvas
from sparse4d_ros.evaluation.birds_eye import RANGE_M, UNNUMBERED, Trails, sight
from sparse4d_ros.evaluation.camera_view import NEAR
from sparse4d_ros.evaluation.pictures import DRAW_SCORE, sides
from sparse4d_ros.evaluation.records import FrameResult
from sparse4d_ros.frame import CameraFrame, Frame, Objects
from sparse4d_ros.geometry import inverse

_JPEG_QUALITY = 85
#: Points of a trail are this far apart at least, metres: what stands still needs no line.
_TRAIL_STEP_M = 0.4
_SIGHT_M = 80.0
#: A larger step back is another drive, a smaller one a result that comes after pictures shown alone.
REWIND_NS = 1_000_000_000
#: A track that was not reported for longer begins anew, seconds.
_FORGET_S = 10.0


def drive_document(name: str, subtitle: str, *, live: bool = False, draw_score: float = DRAW_SCORE) -> dict[str, Any]:
    """What holds for all frames: names, colours, and the geometry of a box."""
    return {
        "name": name, "subtitle": subtitle, "live": live, "draw_score": draw_score, "range_m": RANGE_M,
        "near_m": NEAR, "unnumbered": list(UNNUMBERED),
        "colours": {label: canvas.hex_code(colour) for label, colour in canvas.CLASS_COLOURS.items()},
        "other_colour": canvas.hex_code(canvas.class_colour("")),
        "edges": box_columns.EDGES,
        "unit_corners": box_columns.corners(np.array([[0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0]]))[0].tolist(),
    }


class DocumentMaker:
    """Makes the documents of one drive's frames, in order of time; it remembers trails and when tracks began."""

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self._trails = Trails()
        self._start_ns = self._last_ns = -1
        #: Track -> first and last stamp.
        self._seen: dict[int, tuple[int, int]] = {}

    def document(self, frame: Frame, result: FrameResult | None, truth: Objects | None = None,
                 failure: str = "") -> dict[str, Any]:
        """One frame. ``result`` is None where there is none, ``failure`` says why; stamps that jump back begin a
        new drive."""
        if frame.stamp_ns < self._last_ns - REWIND_NS:
            self._forget()
        self._start_ns = frame.stamp_ns if self._start_ns < 0 else self._start_ns
        self._last_ns = frame.stamp_ns
        rest = sides(frame.cameras[1:])
        return {
            "stamp_ns": str(frame.stamp_ns),  # a number of JavaScript would round it
            "seconds": round((frame.stamp_ns - self._start_ns) * 1e-9, 3),
            "cameras": [_camera(camera, frame.stamp_ns) for camera in frame.cameras],
            "columns": list(sides(frame.cameras)),
            "columns_below_first": [[index + 1 for index in column] for column in rest],
            "objects": None if result is None else self._objects(result, frame.fixed_from_vehicle),
            "truth": None if truth is None else _truth(truth),
            "total_ms": None if result is None else _number(result.timing_ms.get("total"), 1),
            "failure": failure,
        }

    def _objects(self, result: FrameResult, fixed_from_vehicle: np.ndarray) -> list[dict[str, Any]]:
        self._trails.update(result, fixed_from_vehicle)
        vehicle_from_fixed = inverse(fixed_from_vehicle)
        now_ns = result.stamp_ns
        for track in result.track_ids.tolist():
            self._seen[track] = (self._seen.get(track, (now_ns, now_ns))[0], now_ns)
        self._seen = {track: span for track, span in self._seen.items() if now_ns - span[1] <= _FORGET_S * 1e9}
        rows = []
        for row, track in enumerate(result.track_ids.tolist()):
            points, _ = self._trails.of(track, now_ns)
            rows.append({
                "id": track, "class": result.names[row], "box": _box(result.boxes[row]),
                "score": _number(result.scores[row]), "class_score": _number(result.class_scores[row]),
                "centerness": _number(None if result.centerness is None else result.centerness[row]),
                "yawness": _number(None if result.yawness is None else result.yawness[row]),
                "age_s": round((now_ns - self._seen[track][0]) * 1e-9, 2),
                "trail": _rounded(_thinned(points) @ vehicle_from_fixed[:2, :3].T + vehicle_from_fixed[:2, 3], 2),
            })
        return rows


def encode_pictures(frame: Frame, max_width: int) -> list[bytes | None]:
    """A JPEG for each camera, None where it is missing; pictures wider than ``max_width`` are made smaller."""
    return [None if camera.image is None else _encode(camera.image, max_width) for camera in frame.cameras]


def _encode(image: np.ndarray, max_width: int) -> bytes:
    height, width = image.shape[:2]
    if width > max_width:
        image = cv2.resize(image, (max_width, max(1, round(height * max_width / width))), interpolation=cv2.INTER_AREA)
    return encode_jpeg(image, _JPEG_QUALITY)


def _camera(camera: CameraFrame, reference_ns: int) -> dict[str, Any]:
    """``image_from_vehicle`` is 3x4 by rows; it gives ``(u d, v d, d)`` in pixels of the original picture, of which
    the upper left corner, not the middle of the first pixel, is 0 0 as on a canvas."""
    described: dict[str, Any] = {"name": camera.name, "picture": camera.image is not None}
    if camera.image is not None:
        height, width = camera.image.shape[:2]
        intrinsic = camera.intrinsic.copy()
        intrinsic[:2, 2] += 0.5
        described |= {
            "width": width, "height": height, "offset_ms": round((camera.stamp_ns - reference_ns) * 1e-6, 1),
            "image_from_vehicle": _rounded((intrinsic @ camera.camera_from_vehicle[:3]).ravel(), 6),
            "sight": _rounded(sight(camera, _SIGHT_M), 2),
        }
    return described


def _truth(truth: Objects) -> list[dict[str, Any]]:
    return [{"id": int(truth.instance_ids[row]), "class": truth.names[row], "box": _box(truth.boxes[row]),
             "visibility": _number(truth.visibility[row])} for row in range(len(truth.boxes))]


def _box(box: np.ndarray) -> list[float | None]:
    """The columns of a box; None, which JSON has, for a velocity that nobody knows."""
    return [_number(value) for value in box]


def _thinned(points: np.ndarray) -> np.ndarray:
    """Those of ``[n, 3]`` that are a step from the one kept before, and the last."""
    kept: list[np.ndarray] = []
    for point in points[::-1]:  # from where the object is now
        if not kept or np.hypot(*(point - kept[-1])[:2]) >= _TRAIL_STEP_M:
            kept.append(point)
    return np.array(kept[::-1]).reshape(-1, 3)


def _number(value: float | None, digits: int = 3) -> float | None:
    return None if value is None or not np.isfinite(value) else round(float(value), digits)


def _rounded(values: np.ndarray, digits: int = 3) -> list:
    return np.round(values, digits).tolist()
