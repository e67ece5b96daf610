"""What lens, shutter and sensor make of a varied drive's pictures, after they are rendered.

Motion blur, rain, dirt on the lens, glare of sun and lamps, and the exposure of each camera. Nothing here moves
a pixel's place on average: labels stay where they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from sparse4d_ros import geometry
from sparse4d_ros.simulation.weather import Weather

_GRID = 8           # pixels between the points at which motion is worked out
_LONGEST_BLUR = 0.02  # of the picture's width
_SKY_M = 500.0
_COARSE = 4         # glare is worked out at a fraction of the resolution


@dataclass(frozen=True)
class Shot:
    """What is known of one picture beside its pixels."""

    #: ``[height, width]`` metres, inf for the sky.
    depth: np.ndarray
    intrinsic: np.ndarray
    #: Pose ``[4, 4]`` of this moment's camera in the camera at the end of the exposure.
    late_from_camera: np.ndarray
    #: Direction towards the sun in the optical frame, ``[3]``.
    sun: np.ndarray


class Lens:
    """The lenses and sensors of one drive."""

    def __init__(self, weather: Weather, image_size: tuple[int, int], cameras: int, rng: np.random.Generator) -> None:
        self.weather, self.image_size = weather, image_size
        self.exposure_s = weather.exposure_ms * 1e-3
        self._tables = [_response(weather, rng) for _ in range(cameras)]
        self._dirt = [_blotches(image_size, rng, weather.dirt) for _ in range(cameras)]
        self._rain = _streaks(image_size, rng, weather) if weather.rain > 0.0 else None
        self._halo = _halo(image_size) if weather.glare > 0.0 else None

    def apply(self, image: np.ndarray, camera: int, shot: Shot, rng: np.random.Generator) -> np.ndarray:
        """The picture ``[height, width, 3]`` uint8 as camera number ``camera`` delivers it; ``rng`` places the rain."""
        image = motion_blur(image, image_motion(shot))
        if self._rain is not None:
            row, column = rng.integers(0, self._rain.shape[0] // 2), rng.integers(0, self._rain.shape[1] // 2)
            image = cv2.add(image, self._rain[row:row + image.shape[0], column:column + image.shape[1]])
        if self.weather.hour != "day":
            image = _bloom(image)
        if self._halo is not None:
            image = self._sun_glare(image, shot)
        if self._dirt[camera] is not None:
            image = _soil(image, self._dirt[camera])
        return cv2.LUT(image, self._tables[camera])

    def _sun_glare(self, image: np.ndarray, shot: Shot) -> np.ndarray:
        height, width = image.shape[:2]
        if shot.sun[2] < 0.2:
            return image
        place = shot.sun[:2] / shot.sun[2] * shot.intrinsic[[0, 1], [0, 1]] + shot.intrinsic[:2, 2]
        beyond = np.abs(place - np.clip(place, 0, [width, height])).max()
        if beyond > 0.5 * width:
            return image
        # The sun counts as far as it shines through between what stands before it, judged at the picture's edge
        # where it is outside.
        column, row = np.clip(place, 0, [width - 1, height - 1]).astype(int)
        around = shot.depth[max(row - 3, 0):row + 4, max(column - 3, 0):column + 4]
        strength = self.weather.glare * np.isinf(around).mean()
        if strength < 0.02:
            return image
        # The halo is twice the picture's size with the sun in its middle: cut out the part that the picture sees.
        corner = (np.array([width, height]) - place) / _COARSE
        matrix = np.array([[1.0, 0.0, corner[0]], [0.0, 1.0, corner[1]]])
        part = cv2.warpAffine(self._halo, matrix, (-(-width // _COARSE), -(-height // _COARSE)),
                              flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        veil = cv2.resize(np.clip(part * strength, 0.0, 255.0).astype(np.uint8), (width, height))
        return cv2.add(image, veil)


def image_motion(shot: Shot) -> np.ndarray:
    """How far each pixel moves by the camera's motion until the exposure ends, ``[height, width, 2]`` pixels."""
    height, width = shot.depth.shape
    rows, columns = np.arange(_GRID // 2, height, _GRID), np.arange(_GRID // 2, width, _GRID)
    depth = np.minimum(shot.depth[np.ix_(rows, columns)], _SKY_M).astype(np.float64)
    grid = np.stack(np.meshgrid(columns + 0.5, rows + 0.5), axis=-1)
    focal, middle = shot.intrinsic[[0, 1], [0, 1]], shot.intrinsic[:2, 2]
    points = np.concatenate([(grid - middle) / focal * depth[..., None], depth[..., None]], axis=-1)
    moved, ahead = geometry.project(points, geometry.pad_intrinsic(shot.intrinsic) @ shot.late_from_camera)
    shift = np.where((ahead > 0.3)[..., None], moved - grid, 0.0)
    length = np.linalg.norm(shift, axis=-1, keepdims=True)
    shift *= np.minimum(1.0, 0.5 * _LONGEST_BLUR * width / np.maximum(length, 1e-9))
    return cv2.resize(shift.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)


def motion_blur(image: np.ndarray, motion: np.ndarray) -> np.ndarray:
    """The mean of five moments of an exposure that moves the picture by ``motion`` before and after its middle.

    ``motion`` is ``[height, width, 2]`` in pixels.

    Objects' own motion does not blur them. A picture that moves less than a third of a pixel stays as it is.
    """
    if np.abs(motion).max() < 0.33:
        return image
    grid = _pixels(image.shape[:2])
    moved = [cv2.remap(image, grid + np.float32(share) * motion, None, cv2.INTER_LINEAR,
                       borderMode=cv2.BORDER_REPLICATE) for share in (-1.0, 1.0, -0.5, 0.5)]
    outer, inner = (cv2.addWeighted(*pair, 0.0) for pair in ((moved[0], 0.5, moved[1], 0.5),
                                                             (moved[2], 0.5, moved[3], 0.5)))
    return cv2.addWeighted(cv2.addWeighted(outer, 0.5, inner, 0.5, 0.0), 0.8, image, 0.2, 0.0)


@lru_cache(maxsize=4)
def _pixels(shape: tuple[int, int]) -> np.ndarray:
    """Every pixel's own column and row, ``[height, width, 2]`` float32."""
    return np.stack(np.meshgrid(*(np.arange(side, dtype=np.float32) for side in shape[::-1])), axis=-1)


def _bloom(image: np.ndarray) -> np.ndarray:
    """Light of bright spots spread around them by lens and sensor."""
    height, width = image.shape[:2]
    small = cv2.resize(image, (max(width // _COARSE, 1), max(height // _COARSE, 1)), interpolation=cv2.INTER_AREA)
    bright = cv2.GaussianBlur(cv2.subtract(small, (130, 130, 130, 0)), (0, 0), width / 176.0)
    return cv2.add(image, cv2.resize(cv2.convertScaleAbs(bright, alpha=0.9), (width, height)))


def _soil(image: np.ndarray, dirt: np.ndarray) -> np.ndarray:
    """Mix in, by the shares ``dirt`` ``[height, width]``, a blurred and paler picture."""
    side = max(3, image.shape[1] // 16) | 1
    blurred = cv2.convertScaleAbs(cv2.blur(image, (side, side)), alpha=0.75, beta=22.0)
    return cv2.blendLinear(image, blurred, 1.0 - dirt, dirt)


def _response(weather: Weather, rng: np.random.Generator) -> np.ndarray:
    """What a camera makes of each grey value and channel, ``[1, 256, 3]`` uint8: gain, gamma, white balance."""
    gain = rng.uniform(0.85, 1.18) * (rng.uniform(1.0, 1.3) if weather.hour == "night" else 1.0)
    balance = 1.0 + rng.uniform(-0.05, 0.05, 3)
    level = np.linspace(0.0, 1.0, 256)[:, None] ** rng.uniform(0.88, 1.14)
    black = rng.uniform(0.0, 6.0)
    return np.clip(black + (255.0 - black) * gain * balance * level, 0.0, 255.0).round().astype(np.uint8)[None]


def _streaks(image_size: tuple[int, int], rng: np.random.Generator, weather: Weather) -> np.ndarray:
    """A field of rain twice as large as a picture, ``[2 height, 2 width, 3]`` uint8; pictures take windows of it."""
    width, height = 2 * image_size[0], 2 * image_size[1]
    field = np.zeros((height, width), dtype=np.uint8)
    slant = rng.uniform(-0.25, 0.25)
    brightness = {"day": 46.0, "dusk": 36.0, "night": 26.0}[weather.hour]
    for _ in range(int(weather.rain * width * height / 500.0)):
        length = image_size[1] * rng.uniform(0.03, 0.14)
        x, y = rng.uniform(0.0, width), rng.uniform(-0.1 * height, height)
        ends = np.round(16.0 * np.array([[x, y], [x + slant * length, y + length]])).astype(int)
        cv2.line(field, ends[0].tolist(), ends[1].tolist(), int(brightness * rng.uniform(0.2, 1.0)), 1, cv2.LINE_AA, 4)
    return cv2.cvtColor(cv2.GaussianBlur(field, (3, 3), 0.6), cv2.COLOR_GRAY2BGR)


def _blotches(image_size: tuple[int, int], rng: np.random.Generator, amount: float) -> np.ndarray | None:
    """Soft blotches of one lens as shares ``[height, width]`` float32; None for a clean one."""
    count = rng.poisson(3.0 * amount)
    if count == 0:
        return None
    width, height = image_size
    columns, rows = np.meshgrid(np.arange(width), np.arange(height))
    clear = np.ones((height, width))
    for _ in range(count):
        centre, radius = rng.uniform(0.0, 1.0, 2) * image_size, width * rng.uniform(0.015, 0.07, 2)
        square = ((columns - centre[0]) / radius[0]) ** 2 + ((rows - centre[1]) / radius[1]) ** 2
        clear *= 1.0 - rng.uniform(0.25, 0.75) * np.exp(-square ** 1.5)
    return (1.0 - clear).astype(np.float32)


def _halo(image_size: tuple[int, int]) -> np.ndarray:
    """Light added around the sun, BGR float32, coarse and twice as large as a picture, the sun in the middle."""
    width, height = (2 * side // _COARSE for side in image_size)
    columns, rows = np.meshgrid(np.arange(width) - width / 2.0, np.arange(height) - height / 2.0)
    distance = np.hypot(columns, rows) * _COARSE / image_size[0]
    level = 190.0 * np.exp(-(distance / 0.05) ** 2) + 110.0 * np.exp(-distance / 0.10) + 45.0 * np.exp(-distance / 0.45)
    return (level[..., None] * np.array([0.75, 0.9, 1.0])).astype(np.float32)
