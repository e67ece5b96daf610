"""Signatures first; bodies follow. (decode lives in node/images.py, CameraInfo in node/calibration.py; re-exported here.)"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from sparse4d_ros.errors import UserError


class CameraError(UserError):
    """An image or a camera_info that cannot be used; names the camera."""


def decode(message, camera: str, reduce: int = 1) -> np.ndarray:
    """BGR uint8 [height, width, 3] of an Image or CompressedImage; reduce 1, 2, 4, 8 (JPEG decoded smaller, ceil)."""
    ...


class CameraState(str, Enum):
    WAITING_CAMERA_INFO = "waiting_camera_info"
    WAITING_IMAGE = "waiting_image"
    ACTIVE = "active"
    STALE = "stale"
    REJECTED = "rejected"
    QOS_MISMATCH = "qos_mismatch"


@dataclass(frozen=True)
class CameraStatus:
    state: CameraState
    text: str                  # why; "" when active
    age_ms: float | None       # steady time since the last image
    rate_hz: float | None
    images: int
    images_rejected: int
    camera_infos: int
    camera_infos_rejected: int


class Camera:
    """One camera's calibration, checks and state. on_* from the executor thread, read() from a worker thread."""

    def __init__(self, name: str, *, frame_id: str = "", undistort: bool = False, max_image_age_ms: float = 500.0) -> None: ...

    @property
    def calibration(self):
        """Calibration or None (waiting_camera_info)."""
        ...

    @property
    def frame_id(self) -> str:
        """Optical frame: the configured one, else that of the messages; "" if unknown yet."""
        ...

    def on_camera_info(self, message) -> str:
        """Takes a CameraInfo; returns a sentence worth logging once ("" if nothing changed); CameraError if refused."""
        ...

    def on_image(self, now_ns: int) -> None:
        """An image arrived (no look inside)."""
        ...

    def on_qos_mismatch(self, policy: str) -> None: ...

    def read(self, message, reduce: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Decoded (undistorted when asked) BGR image and its K [3, 3]; CameraError (counted, becomes the state)."""
        ...

    def status(self, now_ns: int) -> CameraStatus: ...
