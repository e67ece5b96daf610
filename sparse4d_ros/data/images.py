"""Pixels of ROS image messages as BGR uint8, the order of the whole package (OpenCV does the work)."""

from __future__ import annotations

import cv2
import numpy as np

# encoding -> (bytes per pixel, OpenCV conversion to BGR or None).
# OpenCV names a Bayer pattern by its second row from the second column on, ROS by its first row from
# the first: rggb is "BayerBG" there.
_ENCODINGS: dict[str, tuple[int, int | None]] = {
    "bgr8": (3, None),
    "8UC3": (3, None),
    "rgb8": (3, cv2.COLOR_RGB2BGR),
    "bgra8": (4, cv2.COLOR_BGRA2BGR),
    "rgba8": (4, cv2.COLOR_RGBA2BGR),
    "mono8": (1, cv2.COLOR_GRAY2BGR),
    "8UC1": (1, cv2.COLOR_GRAY2BGR),
    "bayer_rggb8": (1, cv2.COLOR_BayerBG2BGR),
    "bayer_bggr8": (1, cv2.COLOR_BayerRG2BGR),
    "bayer_gbrg8": (1, cv2.COLOR_BayerGR2BGR),
    "bayer_grbg8": (1, cv2.COLOR_BayerGB2BGR),
    "yuv422": (2, cv2.COLOR_YUV2BGR_UYVY),
    "uyvy": (2, cv2.COLOR_YUV2BGR_UYVY),
    "yuv422_yuy2": (2, cv2.COLOR_YUV2BGR_YUY2),
    "yuyv": (2, cv2.COLOR_YUV2BGR_YUY2),
}
ENCODINGS = tuple(_ENCODINGS)


def decode_raw(data: bytes | np.ndarray, encoding: str, height: int, width: int, step: int) -> np.ndarray:
    """``[height, width, 3]`` BGR of a sensor_msgs/Image's fields; ``step`` is bytes per row, padding allowed.

    Raises ``ValueError`` for an unknown encoding or sizes that do not fit the data.
    """
    if encoding not in _ENCODINGS:
        raise ValueError(f"the encoding {encoding!r} is not supported (these are: {', '.join(ENCODINGS)})")
    channels, conversion = _ENCODINGS[encoding]
    if height < 1 or width < 1:
        raise ValueError(f"the image is {width}x{height} pixels")
    if step < width * channels:
        raise ValueError(f"a row of {width} pixels in {encoding} needs {width * channels} bytes, step says {step}")
    pixels = np.frombuffer(data, dtype=np.uint8)
    if pixels.size < step * height:
        raise ValueError(f"{height} rows of {step} bytes are announced, the data has {pixels.size} bytes")
    rows = pixels[:step * height].reshape(height, step)[:, :width * channels]
    image = rows.reshape(height, width, channels) if channels > 1 else rows
    if conversion is None:
        return np.ascontiguousarray(image)
    try:
        return cv2.cvtColor(np.ascontiguousarray(image), conversion)
    except cv2.error as error:  # e.g. 4:2:2 with an odd width
        raise ValueError(f"a {width}x{height} image cannot be converted from {encoding}: {error.err}") from error


def decode_compressed(data: bytes | np.ndarray) -> np.ndarray:
    """``[height, width, 3]`` BGR of JPEG or PNG bytes; ``ValueError`` if they are neither or cut short."""
    buffer = np.frombuffer(data, dtype=np.uint8)
    image = cv2.imdecode(buffer, cv2.IMREAD_COLOR) if buffer.size else None
    if image is None:
        raise ValueError(f"the {buffer.size} bytes are no JPEG or PNG image that can be decoded")
    return image


def encode_jpeg(image: np.ndarray, quality: int) -> bytes:
    """JPEG bytes of a BGR image."""
    ok, buffer = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not ok:
        raise ValueError(f"an image of shape {image.shape} and type {image.dtype} cannot be written as JPEG")
    return buffer.tobytes()
