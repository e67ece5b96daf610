"""Colours, type and the few drawing calls that pictures are made of; images are ``[h, w, 3]`` uint8 BGR.

OpenCV draws the lines (fast enough for video), Pillow the letters: Hershey strokes are hard to
read at small sizes. Strings are rasterised once and blended from a cache.
"""

from __future__ import annotations

import contextlib
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]

BACKGROUND: Colour = (22, 17, 14)
PANEL: Colour = (33, 26, 21)
LINE: Colour = (66, 54, 46)
MUTED: Colour = (158, 144, 132)
TEXT: Colour = (240, 235, 230)
TRUTH: Colour = (235, 235, 235)
ALERT: Colour = (92, 92, 255)

#: Colours by class, apart in hue and alike in lightness, on a dark ground.
CLASS_COLOURS: dict[str, Colour] = {
    "car": (250, 178, 74),
    "truck": (84, 140, 255),
    "construction_vehicle": (178, 92, 240),
    "bus": (72, 214, 255),
    "trailer": (128, 158, 196),
    "barrier": (182, 170, 146),
    "motorcycle": (112, 104, 244),
    "bicycle": (236, 128, 196),
    "pedestrian": (118, 222, 132),
    "traffic_cone": (60, 178, 250),
}
_OTHER: Colour = (200, 200, 120)

# Fixed-point digits of OpenCV's line drawing: ends of lines fall between pixels, edges do not jitter in video.
_SHIFT = 4


def class_colour(name: str) -> Colour:
    """The colour of a class; one common colour for names outside nuScenes."""
    return CLASS_COLOURS.get(name, _OTHER)


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """``share`` of the second colour over the first."""
    return tuple(round(a + (b - a) * share) for a, b in zip(first, second, strict=True))  # type: ignore[return-value]


def hex_code(colour: Colour) -> str:
    """The colour as ``#rrggbb``, for pages and charts."""
    return "#{2:02x}{1:02x}{0:02x}".format(*colour)


def polyline(image: np.ndarray, points: np.ndarray, colour: Colour, thickness: int = 1, closed: bool = False) -> None:
    """A smooth line through pixels ``[n, 2]``, which may lie outside the image."""
    fixed = np.round(np.asarray(points, dtype=np.float64) * (1 << _SHIFT)).astype(np.int32)
    cv2.polylines(image, [fixed.reshape(-1, 1, 2)], closed, colour, thickness, cv2.LINE_AA, _SHIFT)


def polygon(image: np.ndarray, points: np.ndarray, colour: Colour) -> None:
    """A filled convex polygon of pixels ``[n, 2]``."""
    fixed = np.round(np.asarray(points, dtype=np.float64) * (1 << _SHIFT)).astype(np.int32)
    cv2.fillConvexPoly(image, fixed.reshape(-1, 1, 2), colour, cv2.LINE_AA, _SHIFT)


def circle(image: np.ndarray, centre: tuple[float, float], radius: float, colour: Colour, thickness: int = 1) -> None:
    """A smooth circle; thickness -1 fills it."""
    scale = 1 << _SHIFT
    cv2.circle(image, (round(centre[0] * scale), round(centre[1] * scale)), round(radius * scale), colour, thickness,
               cv2.LINE_AA, _SHIFT)


def box(image: np.ndarray, x: int, y: int, width: int, height: int, colour: Colour, opacity: float = 1.0) -> None:
    """A filled rectangle, cut at the image's border."""
    part = image[max(y, 0):max(y + height, 0), max(x, 0):max(x + width, 0)]
    if part.size:
        part[:] = np.round(part * (1.0 - opacity) + np.array(colour) * opacity).astype(np.uint8)


def text_size(words: str, size: int, bold: bool = False) -> tuple[int, int]:
    """Width and height in pixels that :func:`text` covers."""
    height, width = _letters(words, size, bold).shape
    return width, height


def text(image: np.ndarray, words: str, x: float, y: float, size: int, colour: Colour = TEXT, bold: bool = False,
         align: str = "left") -> int:
    """Write words with the top of the line at ``y`` and return their width; cut at the border."""
    letters = _letters(words, size, bold)
    height, width = letters.shape
    left = round(x - {"left": 0.0, "centre": width / 2, "right": width}[align])
    top = round(y)
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + width, image.shape[1]), min(top + height, image.shape[0])
    if x1 > x0 and y1 > y0:
        alpha = letters[y0 - top:y1 - top, x0 - left:x1 - left, None]
        part = image[y0:y1, x0:x1]
        part[:] = np.round(part * (1.0 - alpha) + np.array(colour, dtype=np.float32) * alpha).astype(np.uint8)
    return width


def tag(image: np.ndarray, words: str, x: float, y: float, size: int, colour: Colour) -> None:
    """Words on a small dark plate with a coloured edge, its lower left corner at (x, y), kept inside the image."""
    width, height = text_size(words, size, bold=True)
    width, height = width + 9, height + 2
    left = int(np.clip(round(x), 0, max(image.shape[1] - width, 0)))
    top = int(np.clip(round(y) - height, 0, max(image.shape[0] - height, 0)))
    box(image, left, top, width, height, BACKGROUND, 0.78)
    box(image, left, top, 3, height, colour)
    text(image, words, left + 6, top + 1, size, TEXT, bold=True)


@lru_cache(maxsize=4096)
def _letters(words: str, size: int, bold: bool) -> np.ndarray:
    """Coverage ``[height, width]`` float32 in 0..1 of one line of text; height is that of the font's line."""
    font = _font(size, bold)
    ascent, descent = font.getmetrics()
    width = max(1, int(np.ceil(font.getlength(words))))
    canvas = Image.new("L", (width, ascent + descent))
    ImageDraw.Draw(canvas).text((0, ascent), words, fill=255, font=font, anchor="ls")
    return np.asarray(canvas, dtype=np.float32) / 255.0


@lru_cache(maxsize=32)
def _font(size: int, bold: bool) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, the system's or that which comes with matplotlib: the same letters on every machine."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    with contextlib.suppress(OSError):
        return ImageFont.truetype(name, size)
    import matplotlib

    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name), size)
