"""Image messages to BGR pictures: ``sensor_msgs/Image`` and ``CompressedImage``, from rclpy or from a bag.

What cannot be trusted is refused with the two numbers that disagree; channels are never guessed. No ROS
import: messages are only read.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from sparse4d_ros.errors import UserError

# Encoding (sensor_msgs/image_encodings.hpp) → bytes per pixel and OpenCV conversion to BGR. OpenCV names a
# Bayer pattern by its second row, ROS by its first.
_ENCODINGS: dict[str, tuple[int, int | None]] = {
    "bgr8": (3, None),
    "rgb8": (3, cv2.COLOR_RGB2BGR),
    "bgra8": (4, cv2.COLOR_BGRA2BGR),
    "rgba8": (4, cv2.COLOR_RGBA2BGR),
    "mono8": (1, cv2.COLOR_GRAY2BGR),
    "bayer_rggb8": (1, cv2.COLOR_BayerBG2BGR),
    "bayer_bggr8": (1, cv2.COLOR_BayerRG2BGR),
    "bayer_gbrg8": (1, cv2.COLOR_BayerGR2BGR),
    "bayer_grbg8": (1, cv2.COLOR_BayerGB2BGR),
    "yuv422": (2, cv2.COLOR_YUV2BGR_UYVY),
    "uyvy": (2, cv2.COLOR_YUV2BGR_UYVY),
    "yuv422_yuy2": (2, cv2.COLOR_YUV2BGR_YUY2),
    "yuyv": (2, cv2.COLOR_YUV2BGR_YUY2),
}
ENCODINGS = frozenset(_ENCODINGS)
_YUV422 = ("yuv422", "uyvy", "yuv422_yuy2", "yuyv")

_JPEG_START, _JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
_PNG_START = b"\x89PNG\r\n\x1a\n"
# The picture as the camera stored it: an orientation tag would turn it away from its camera_info.
_FLAGS = {1: cv2.IMREAD_COLOR, 2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4,
          8: cv2.IMREAD_REDUCED_COLOR_8}
# Four times 4K; what a header beyond it announces is not a picture but a broken header.
_MAX_PIXELS = 1 << 25


class CameraError(UserError):
    """An image or a camera_info that cannot be used; the sentence names the camera."""


def decode(message: Any, camera: str, reduce: int = 1) -> np.ndarray:
    """The picture of a message, ``[height, width, 3]`` BGR uint8.

    ``reduce`` 2, 4 or 8 decodes a JPEG at that fraction of its size (rounded up), which is much cheaper; K then
    scales with the size. Others gain nothing by it and keep their size. ``bgr8`` is a view of the message's
    data, not to be written to. ``CameraError`` if the message does not hold what it says.
    """
    if reduce not in _FLAGS:
        raise ValueError(f"reduce is {reduce}, expected one of {sorted(_FLAGS)}")
    if hasattr(message, "encoding"):
        return _decode_raw(message, camera)
    return _decode_compressed(message, camera, reduce)


def _decode_raw(message: Any, camera: str) -> np.ndarray:
    encoding, width, height = message.encoding, message.width, message.height
    if width < 1 or height < 1:
        raise CameraError(f"camera '{camera}': the image's size is {width}x{height}")
    if encoding not in _ENCODINGS:
        raise CameraError(f"camera '{camera}': encoding '{encoding}' is not supported (known: "
                          f"{', '.join(_ENCODINGS)})")
    pixel_bytes, conversion = _ENCODINGS[encoding]
    if message.step < width * pixel_bytes:
        raise CameraError(f"camera '{camera}': the image's step is {message.step} bytes, but {width} pixels of "
                          f"{encoding} take {width * pixel_bytes}")
    data = _bytes(message, camera)
    if data.size != message.step * height:
        raise CameraError(f"camera '{camera}': the image holds {data.size} bytes, but {height} rows of "
                          f"{message.step} bytes are {message.step * height}")
    if encoding in _YUV422 and width % 2:
        raise CameraError(f"camera '{camera}': a {encoding} image cannot be {width} pixels wide, they come in pairs")
    if encoding.startswith("bayer_") and min(width, height) < 4:
        raise CameraError(f"camera '{camera}': a {encoding} image of {width}x{height} is too small for its pattern")
    # Rows may be padded; a view with the message's own step needs no copy.
    shape = (height, width) if pixel_bytes == 1 else (height, width, pixel_bytes)
    strides = (message.step, 1) if pixel_bytes == 1 else (message.step, pixel_bytes, 1)
    pixels = np.ndarray(shape, np.uint8, data.data, strides=strides)
    return pixels if conversion is None else cv2.cvtColor(pixels, conversion)


def _decode_compressed(message: Any, camera: str, reduce: int) -> np.ndarray:
    if "compressedDepth" in message.format:
        raise CameraError(f"camera '{camera}': format '{message.format}' is a depth image")
    data = _bytes(message, camera)
    start = data[:24].tobytes()
    if start.startswith(_JPEG_START):
        # Decoders fill a truncated picture with grey, or with what came before.
        end = data.size - int(np.argmax(data[::-1] != 0))  # USB cameras pad their buffers with zeros
        if data[end - 2:end].tobytes() != _JPEG_END:
            raise CameraError(f"camera '{camera}': the JPEG of {data.size} bytes is truncated: it has no end marker")
        width, height, flags = *_jpeg_size(data), _FLAGS[reduce]
    elif start.startswith(_PNG_START) and len(start) == 24:
        if problem := _png_problem(data):
            raise CameraError(f"camera '{camera}': the PNG of {data.size} bytes {problem}")
        width, height = int.from_bytes(start[16:20], "big"), int.from_bytes(start[20:24], "big")
        flags = _FLAGS[1]
    else:
        raise CameraError(f"camera '{camera}': the compressed image (format '{message.format}', {data.size} bytes) "
                          "is neither JPEG nor PNG")
    if not width * height:
        raise CameraError(f"camera '{camera}': the compressed image of {data.size} bytes cannot be decoded: its size "
                          "does not stand where it should")
    if width * height > _MAX_PIXELS:
        raise CameraError(f"camera '{camera}': the compressed image of {data.size} bytes says it is {width}x{height}, "
                          f"more than {_MAX_PIXELS} pixels")
    try:
        image = cv2.imdecode(data, flags | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise CameraError(f"camera '{camera}': the compressed image of {data.size} bytes cannot be decoded: "
                          f"{error.err or error}") from error
    if image is None:
        raise CameraError(f"camera '{camera}': the compressed image of {data.size} bytes cannot be decoded")
    return image


def _jpeg_size(data: np.ndarray) -> tuple[int, int]:
    """Width and height as the frame header gives them, 0 0 if there is none where it should be: a broken one could ask
    for gigabytes, and a decoder looks for it farther on."""
    position = 2
    while position + 9 <= data.size and data[position] == 0xFF:
        marker, head = int(data[position + 1]), data[position + 2:position + 9].tobytes()
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return int.from_bytes(head[5:7], "big"), int.from_bytes(head[3:5], "big")
        # Fill bytes before a marker have no length.
        position += 1 if marker == 0xFF else 2 + int.from_bytes(head[:2], "big")
    return 0, 0


def _png_problem(data: np.ndarray) -> str:
    """What in the parts of a PNG OpenCV must not see, or "": it reserves the length that a part gives, up to 4 GB, and
    frees memory twice when an animation is damaged."""
    position = len(_PNG_START)
    while position + 12 <= data.size:
        head = data[position:position + 8].tobytes()
        if head[4:] in (b"acTL", b"fcTL", b"fdAT"):
            return "is an animation, not a picture"
        position += 12 + int.from_bytes(head[:4], "big")
        if head[4:] == b"IEND" and position <= data.size:
            return ""
    return "is truncated or damaged: its parts are longer than itself"


def _bytes(message: Any, camera: str) -> np.ndarray:
    """The data as uint8 without a copy: ``array.array`` from rclpy, an array or bytes from a bag."""
    try:
        return np.frombuffer(message.data, np.uint8) if len(message.data) else np.empty(0, np.uint8)
    except (TypeError, ValueError, BufferError) as error:
        raise CameraError(f"camera '{camera}': the image's data is not a row of bytes: {error}") from error


def encode_jpeg(image: np.ndarray, quality: int) -> bytes:
    """JPEG bytes of a BGR image, ``quality`` 0 to 100; ``ValueError`` for an array that is no image."""
    try:
        ok, buffer = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    except cv2.error as error:
        raise ValueError(f"an array of shape {image.shape} and type {image.dtype} is no image: {error.err}") from error
    if not ok:
        raise ValueError(f"an image of shape {image.shape} and type {image.dtype} cannot be written as JPEG")
    return buffer.tobytes()
