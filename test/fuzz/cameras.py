"""Camera messages: compressed and raw pictures and calibrations, through `Camera` as the node's worker calls it."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np

from fuzz import ACCEPTED, mutations, reason
from sparse4d_ros.data.images import ENCODINGS
from sparse4d_ros.node.cameras import Camera, CameraError

_SIZES = ((1, 1), (8, 8), (17, 9), (33, 48), (64, 48))
_PNG = b"\x89PNG\r\n\x1a\n"
_HEADER = SimpleNamespace(frame_id="")
_MODELS = ("plumb_bob", "rational_polynomial", "equidistant", "")


def _info(width: int, height: int, **changes: Any) -> SimpleNamespace:
    values = dict(
        header=SimpleNamespace(frame_id="optical"), width=width, height=height, distortion_model="plumb_bob",
        d=[0.1, -0.05, 0.001, 0.0, 0.0], k=[50.0, 0.0, width / 2, 0.0, 50.0, height / 2, 0.0, 0.0, 1.0],
        binning_x=0, binning_y=0, roi=SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0))
    return SimpleNamespace(**{**values, **changes})


def _cameras() -> dict[tuple[int, int], Camera]:
    """A calibrated camera for each size; those of odd width take the lens's distortion out."""
    cameras = {}
    for width, height in _SIZES:
        camera = cameras[width, height] = Camera("front", undistort=bool(width % 2))
        camera.on_camera_info(_info(width, height))
    return cameras


def _read(camera: Camera, message: Any, reduce: int = 1) -> str:
    before = camera.status(0).images_rejected
    try:
        picture, intrinsic = camera.read(message, reduce)
    except CameraError as error:
        assert str(error).startswith("camera 'front'") and camera.status(0).images_rejected == before + 1
        return reason(error)
    assert picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3 and picture.size
    assert intrinsic.shape == (3, 3) and np.isfinite(intrinsic).all()
    return ACCEPTED


class CompressedImages:
    """JPEG and PNG files of many kinds, damaged."""

    def __init__(self, folder: Path) -> None:
        self.cameras = _cameras()
        self.files: list[tuple[tuple[int, int], bytes]] = []
        noise = np.random.default_rng(0)
        for width, height in _SIZES:
            smooth = np.add.outer(np.arange(height) * 3, np.arange(width) * 2).astype(np.uint8)
            for pixels in (np.dstack([smooth] * 3), noise.integers(0, 256, (height, width, 3), np.uint8), smooth):
                for flags in ([cv2.IMWRITE_JPEG_QUALITY, 40], [cv2.IMWRITE_JPEG_QUALITY, 95],
                              [cv2.IMWRITE_JPEG_PROGRESSIVE, 1], [cv2.IMWRITE_JPEG_RST_INTERVAL, 1]):
                    self._add(".jpg", pixels, flags)
                self._add(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 9])
                self._add(".png", pixels.astype(np.uint16) * 257, [])
            self._add(".png", np.dstack([smooth] * 4), [])
            self._add(".png", smooth, [cv2.IMWRITE_PNG_BILEVEL, 1])
        still = [(size, data) for size, data in self.files if data.startswith(_PNG)]
        self.files += [(size, animated(data)) for size, data in still[::10]]
        self.others = tuple(data for _, data in self.files)

    def _add(self, suffix: str, pixels: np.ndarray, flags: list[int]) -> None:
        data = cv2.imencode(suffix, pixels, flags)[1].tobytes()
        self.files.append(((pixels.shape[1], pixels.shape[0]), data))

    def case(self, random: Random) -> tuple[tuple[int, int], SimpleNamespace, int]:
        size, data = random.choice(self.files)
        if random.random() > 0.05:
            data = mutations.damaged(random, data, self.others)
        if random.random() < 0.5:
            data = _with_checksums(data)
        elif data.startswith(b"\xff\xd8") and random.random() < 0.5:
            data += b"\xff\xd9"  # cut off, and yet with an end
        kind = random.choice(("jpeg", "png", "", "rgb8; jpeg compressed bgr8", "16UC1; compressedDepth png"))
        if kind.startswith("16UC1") and random.random() < 0.9:
            kind = "jpeg"
        return size, SimpleNamespace(header=_HEADER, format=kind, data=data), random.choice((1, 1, 2, 4, 8))

    def run(self, case: tuple[tuple[int, int], SimpleNamespace, int]) -> Iterator[str]:
        size, message, reduce = case
        yield _read(self.cameras[size], message, reduce)


def animated(data: bytes) -> bytes:
    """A PNG of one picture as an animation of two."""
    def chunk(kind: bytes, content: bytes) -> bytes:
        return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")

    begin, end = data.index(b"IDAT") - 4, data.index(b"IEND") - 4
    size, pixels = data[16:24], data[begin + 8:end - 4]
    control = [chunk(b"fcTL", number.to_bytes(4, "big") + size + bytes(8) + b"\0\1\0\x64\0\0") for number in (0, 1)]
    return (data[:begin] + chunk(b"acTL", b"\0\0\0\2\0\0\0\0") + control[0] + data[begin:end] + control[1]
            + chunk(b"fdAT", b"\0\0\0\2" + pixels) + data[end:])


def _with_checksums(data: bytes) -> bytes:
    """A PNG whose chunks have the right checksums again, so that damage gets past them."""
    if not data.startswith(_PNG):
        return data
    out, at = bytearray(data), len(_PNG)
    while at + 12 <= len(out):
        length = int.from_bytes(out[at:at + 4], "big")
        if at + 12 + length > len(out):
            break
        out[at + 8 + length:at + 12 + length] = zlib.crc32(out[at + 4:at + 8 + length]).to_bytes(4, "big")
        at += 12 + length
    return bytes(out)


class RawImages:
    """sensor_msgs/Image with any fields, near to right ones often enough to get through."""

    def __init__(self, folder: Path) -> None:
        self.cameras = _cameras()
        self.noise = Random(0).randbytes(1 << 16)

    def case(self, random: Random) -> tuple[tuple[int, int], SimpleNamespace]:
        size = random.choice(_SIZES)
        encoding = random.choice((*sorted(ENCODINGS), "mono16", "8UC3", "", "x" * 300, "\0"))
        width, height = size if random.random() < 0.8 else (random.choice(mutations.EDGES), random.choice(size))
        pixel = random.choice((1, 2, 3, 4))
        step = min(width * pixel, 2**32 - 1) + random.choice((0, 0, 0, 1, 10))
        if random.random() < 0.1:
            step = random.choice(mutations.EDGES) & 0xFFFFFFFF
        length = min(step * height, len(self.noise))
        if random.random() < 0.1:
            length = random.choice((0, length // 2, min(length + 1, len(self.noise))))
        data = self.noise[:length]
        if random.random() < 0.02:
            data = random.choice((["a"], [1.5], None, "text", [300], memoryview(b"abcd")[::2]))
        frame = "" if random.random() < 0.9 else random.choice(("optical", "other", "\0"))
        return size, SimpleNamespace(
            header=SimpleNamespace(frame_id=frame), encoding=encoding,
            width=width & 0xFFFFFFFF, height=height & 0xFFFFFFFF, step=step & 0xFFFFFFFF, is_bigendian=0, data=data)

    def run(self, case: tuple[tuple[int, int], SimpleNamespace]) -> Iterator[str]:
        yield _read(self.cameras[case[0]], case[1])


class CameraInfos:
    """sensor_msgs/CameraInfo with any numbers, and a picture for each that is taken."""

    def __init__(self, folder: Path) -> None:
        self.pictures = {size: np.zeros((size[1], size[0], 3), np.uint8).tobytes() for size in _SIZES}

    def case(self, random: Random) -> SimpleNamespace:
        width, height = random.choice(_SIZES)
        info = _info(width, height)
        model = random.choice(_MODELS)
        count = random.choice((0, 4, 5, 8, 12, 14, 3))
        scale = random.choice((0.0, 0.1, 10.0, 1e6))
        info.distortion_model, info.d = model, [random.gauss(0.0, scale) for _ in range(count)]
        for _ in range(random.randrange(4)):
            field = random.choice(("k", "d", "size", "roi", "binning", "frame", "model"))
            if field in ("k", "d") and getattr(info, field):
                numbers = getattr(info, field)
                numbers[random.randrange(len(numbers))] = random.choice((*mutations.FLOATS, random.gauss(0.0, 1e3)))
                if random.random() < 0.05:
                    numbers.pop()
            elif field == "size":
                info.width, info.height = (random.choice(mutations.EDGES) & 0xFFFFFFFF for _ in "wh")
            elif field == "roi":
                info.roi = SimpleNamespace(**{name: random.choice((0, 1, 4, 16, 2**32 - 1))
                                              for name in ("x_offset", "y_offset", "width", "height")})
            elif field == "binning":
                info.binning_x, info.binning_y = random.choice((0, 1, 2, 2**32 - 1)), random.choice((0, 1, 2, 3))
            elif field == "frame":
                info.header = SimpleNamespace(frame_id=random.choice(("", "other", "/optical", "\0")))
            else:
                info.distortion_model = random.choice(mutations.TEXTS)
        return info

    def run(self, case: SimpleNamespace) -> Iterator[str]:
        camera = Camera("front", undistort=True)
        try:
            camera.on_camera_info(case)
        except CameraError as error:
            assert str(error).startswith("camera 'front'")
            assert camera.calibration is None and camera.status(0).camera_infos_rejected == 1
            yield reason(error)
            return
        calibration = camera.calibration
        assert np.isfinite(calibration.intrinsic).all() and min(np.diag(calibration.intrinsic)) > 0
        width, height = calibration.width, calibration.height
        yield ACCEPTED
        if width * height <= 1 << 14:
            outcome = _read(camera, SimpleNamespace(
                header=_HEADER, encoding="mono8", width=width, height=height, step=width, data=bytes(width * height)))
            if outcome != ACCEPTED:
                yield outcome
