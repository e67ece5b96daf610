"""One picture of a frame: every camera with its boxes beside the bird's-eye view, on a dark ground."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from sparse4d_ros.evaluation import canvas
from sparse4d_ros.evaluation.birds_eye import BirdsEye, Trails
from sparse4d_ros.evaluation.camera_view import draw_camera
from sparse4d_ros.evaluation.records import FrameResult
from sparse4d_ros.frame import CameraFrame, Frame, LabelledFrame, Objects
from sparse4d_ros.geometry import inverse
from sparse4d_ros.writing import replacing

#: Width and height of a picture in pixels; even, as video codecs ask.
SIZE = (1600, 900)
#: Objects below this score are not drawn.
DRAW_SCORE = 0.3
_MARGIN = 12
_HEADER = 56
_BIRDS_EYE_WIDTH = 640
_LEGEND_HEIGHT = 68
#: The reference camera gets a row of its own if that keeps it at least this share of the full width.
_WORTH_A_ROW = 0.85

Rectangle = tuple[int, int, int, int]


class FramePainter:
    """Paints the frames of one drive in order; it remembers the trails.

    ``facts`` are short label and value pairs for the header, for example ``("mAP", "0.41")``.
    """

    def __init__(self, title: str, facts: Sequence[tuple[str, str]] = (), draw_score: float = DRAW_SCORE) -> None:
        self.title, self.facts, self.draw_score = title, tuple(facts), draw_score
        self._trails = Trails()
        self._start_ns: int | None = None

    def follow(self, frame: Frame, result: FrameResult | None) -> FrameResult | None:
        """Remember a frame's time and trails without a picture of it; returns the part of the result that is drawn."""
        self._start_ns = frame.stamp_ns if self._start_ns is None else self._start_ns
        if result is None:
            return None
        drawn = result.select(result.scores >= self.draw_score)
        self._trails.update(drawn, frame.fixed_from_vehicle)
        return drawn

    def paint(self, frame: Frame, result: FrameResult | None, truth: Objects | None) -> np.ndarray:
        """The picture ``[900, 1600, 3]`` BGR of one frame; ``result`` None if none came for it."""
        result = self.follow(frame, result)
        width, height = SIZE
        picture = np.full((height, width, 3), canvas.BACKGROUND, dtype=np.uint8)
        self._paint_header(picture, frame, result)
        below = height - _HEADER - _MARGIN
        cells, legend = arrange(frame.cameras, (_MARGIN, _HEADER, width - _BIRDS_EYE_WIDTH - 3 * _MARGIN, below))
        for camera, (x, y, w, h) in zip(frame.cameras, cells, strict=True):
            _paste(picture, draw_camera(camera, result, (w, h)), x, y)
            self._paint_name(picture, camera.name, x, y + h)
        _paint_legend(picture, legend, result)
        left = max(x + w for x, _, w, _ in cells) + _MARGIN
        view = BirdsEye((width - _MARGIN - left, below)).draw(
            result, truth, self._trails, frame.fixed_from_vehicle, frame.cameras)
        _paste(picture, view, left, _HEADER)
        return picture

    def _paint_header(self, picture: np.ndarray, frame: Frame, result: FrameResult | None) -> None:
        x = _MARGIN + canvas.text(picture, self.title, _MARGIN, 14, 20, bold=True) + 18
        seconds = (frame.stamp_ns - self._start_ns) * 1e-9
        canvas.text(picture, f"{seconds:5.1f} s", x, 17, 16, canvas.MUTED)
        facts = list(self.facts)
        if result is None:
            facts.append(("frame", "no result"))
        elif np.isfinite(result.timing_ms.get("total", np.nan)):
            facts.append(("latency", f"{result.timing_ms['total']:.0f} ms"))
        x = SIZE[0] - _MARGIN
        for label, value in reversed(facts):
            colour = canvas.ALERT if value == "no result" else canvas.TEXT
            x -= canvas.text(picture, value, x, 15, 18, colour, bold=True, align="right") + 7
            x -= canvas.text(picture, label, x, 18, 14, canvas.MUTED, align="right") + 24

    @staticmethod
    def _paint_name(picture: np.ndarray, name: str, x: int, bottom: int) -> None:
        words = name.replace("_", " ")
        width, height = canvas.text_size(words, 12)
        canvas.box(picture, x, bottom - height - 6, width + 16, height + 6, canvas.BACKGROUND, 0.7)
        canvas.text(picture, words, x + 8, bottom - height - 3, 12, canvas.TEXT)


def paint_drive(painter: FramePainter, frames: Iterable[LabelledFrame], results: Iterable[FrameResult],
                only: Collection[int] | None = None) -> Iterator[tuple[int, np.ndarray]]:
    """Stamp and picture of a drive's frames in order, each with the result of its stamp.

    ``only`` are the stamps of the frames to paint; the others are followed for their trails, up to the last one.
    """
    by_stamp = {result.stamp_ns: result for result in results}
    last = max(only, default=-1) if only is not None else None
    for item in frames:
        stamp_ns = item.frame.stamp_ns
        if last is not None and stamp_ns > last:
            return
        if only is not None and stamp_ns not in only:
            painter.follow(item.frame, by_stamp.get(stamp_ns))
        else:
            yield stamp_ns, painter.paint(item.frame, by_stamp.get(stamp_ns), item.objects)


def keep_pictures(painted: Iterable[tuple[int, np.ndarray]], paths: Mapping[int, Path]) -> Iterator[np.ndarray]:
    """Pass pictures on, and write those of the stamps in ``paths``; ``UserError`` if one cannot be written."""
    for stamp_ns, picture in painted:
        if stamp_ns in paths:
            with replacing(paths[stamp_ns]) as partial:
                partial.write_bytes(cv2.imencode(paths[stamp_ns].suffix, picture)[1])
        yield picture


def arrange(cameras: Sequence[CameraFrame], area: Rectangle) -> tuple[list[Rectangle], Rectangle]:
    """Places for the cameras (in their order) and for the legend within ``area`` (x, y, width, height).

    Two columns, left and right as the cameras look, from front to back. The reference camera takes
    a row of its own where pictures are wide enough to leave room for it.
    """
    x, y, width, height = area
    gap = 8
    shapes = [camera.image.shape[:2] for camera in cameras if camera.image is not None]
    aspect = max((w / h for h, w in shapes), default=16 / 9)
    count = len(cameras)
    places: list[Rectangle | None] = [None] * count
    rows = count // 2
    # An even number of cameras leaves a free cell for the legend below the reference camera's row.
    room = height - rows * gap - (0 if count % 2 == 0 else _LEGEND_HEIGHT)
    wide = min(width, int(room * aspect / (1 + rows / 2)))
    if wide >= _WORTH_A_ROW * width:
        half = (wide - gap) // 2
        places[0] = (x, y, wide, round(wide / aspect))
        small, top, rest = round(half / aspect), y + round(wide / aspect) + gap, list(range(1, count))
    else:
        rows = -(-count // 2)
        small = min(round((width - gap) / 2 / aspect), (height - _LEGEND_HEIGHT) // rows - gap)
        half = min((width - gap) // 2, round(small * aspect))
        top, rest = y, list(range(count))
    left_side, right_side = sides([cameras[i] for i in rest])
    for column, side in enumerate((left_side, right_side)):
        for row, position in enumerate(side):
            places[rest[position]] = (x + column * (half + gap), top + row * (small + gap), half, small)
    bottom = top + rows * (small + gap)
    if len(left_side) > len(right_side):
        legend = (x + half + gap, bottom - small - gap, half, small)
    else:
        legend = (x, bottom, max(px + pw for px, _, pw, _ in places) - x, y + height - bottom)
    return places, legend  # type: ignore[return-value]


def sides(cameras: Sequence[CameraFrame]) -> tuple[list[int], list[int]]:
    """Indices for the left and the right column: by the side each camera looks to, front to back.

    Cameras that look straight ahead or back share rows of their own: the first row if they come in
    pairs, else the last one of them stands below the left column.
    """
    yaws = []
    for camera in cameras:
        axis = inverse(camera.camera_from_vehicle)[:3, 2]
        yaws.append(float(np.arctan2(axis[1], axis[0])))
    order = sorted(range(len(cameras)), key=lambda i: abs(yaws[i]))
    straight = [i for i in order if abs(np.sin(yaws[i])) < 0.2]
    left = [i for i in order if i not in straight and yaws[i] > 0]
    right = [i for i in order if i not in straight and yaws[i] <= 0]
    paired = len(straight) - len(straight) % 2
    left = straight[0:paired:2] + left + straight[paired:]
    right = straight[1:paired:2] + right
    while abs(len(left) - len(right)) > 1:  # an uneven rig: columns of equal length matter more than sides
        longer, shorter = (left, right) if len(left) > len(right) else (right, left)
        shorter.append(longer.pop())
    return (left, right) if len(left) >= len(right) else (right, left)


def _paint_legend(picture: np.ndarray, area: Rectangle, result: FrameResult | None) -> None:
    """Class colours with the number of tracks of each now; classes that are absent stand back."""
    x, y, width, height = area
    counts = Counter(result.names) if result is not None else Counter()
    names = list(canvas.CLASS_COLOURS) + sorted(set(counts) - set(canvas.CLASS_COLOURS))
    columns = max(1, width // 180)
    rows = -(-len(names) // columns)
    step = min(24, height // rows)
    for position, name in enumerate(names):
        left = x + 2 + (position // rows) * (width // columns)
        top = y + 2 + (position % rows) * step
        shown, colour = counts[name] > 0, canvas.class_colour(name)
        canvas.box(picture, left, top + 3, 11, 11, colour if shown else canvas.mix(canvas.BACKGROUND, colour, 0.4))
        used = canvas.text(picture, name.replace("_", " "), left + 18, top, 13,
                           canvas.TEXT if shown else canvas.MUTED)
        if shown:
            canvas.text(picture, str(counts[name]), left + 26 + used, top, 13, colour, bold=True)


def _paste(picture: np.ndarray, part: np.ndarray, x: int, y: int) -> None:
    picture[y:y + part.shape[0], x:x + part.shape[1]] = part
