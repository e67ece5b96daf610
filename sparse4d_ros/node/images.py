"""How the node decodes image messages: :mod:`sparse4d_ros.data.images`, and cv_bridge for the encodings it lacks."""

from __future__ import annotations

from typing import Any

import numpy as np

from sparse4d_ros.data import images
from sparse4d_ros.data.images import ENCODINGS, CameraError

__all__ = ["CameraError", "decode"]


def decode(message: Any, camera: str, reduce: int = 1) -> np.ndarray:
    """As :func:`sparse4d_ros.data.images.decode`; other encodings go to cv_bridge where it is installed."""
    known = not hasattr(message, "encoding") or message.encoding in ENCODINGS or min(message.width, message.height) < 1
    return images.decode(message, camera, reduce) if known else _by_cv_bridge(message, camera)


def _by_cv_bridge(message: Any, camera: str) -> np.ndarray:
    """Encodings beyond ours, where a ROS distribution brings the converter."""
    known = f"known without cv_bridge: {', '.join(sorted(ENCODINGS))}"
    try:
        from cv_bridge import CvBridge
    except ImportError:
        raise CameraError(f"camera '{camera}': encoding '{message.encoding}' is not supported ({known})") from None
    try:
        image = CvBridge().imgmsg_to_cv2(message, "bgr8")
    except Exception as error:  # its own error class, cv2's or a KeyError, depending on the version
        raise CameraError(f"camera '{camera}': cv_bridge cannot convert '{message.encoding}': {error}") from error
    if image.shape[:2] != (message.height, message.width) or image.dtype != np.uint8:
        raise CameraError(f"camera '{camera}': cv_bridge made {image.shape} {image.dtype} out of a "
                          f"{message.width}x{message.height} {message.encoding} image")
    return image
