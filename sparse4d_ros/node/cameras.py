"""One camera as the node sees it: its calibration, whether its messages can be used, and its state in a word.

Message callbacks (the executor's thread) only note arrivals and calibrations; :meth:`Camera.read`
decodes in a worker thread. What they share are single references to immutable objects.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np

from sparse4d_ros.data.camera_info import Calibration, Undistorter, read_camera_info
from sparse4d_ros.node.images import CameraError, decode

__all__ = ["Calibration", "Camera", "CameraError", "CameraState", "CameraStatus", "decode", "read_camera_info"]

# Arrivals the rate is told from: two seconds at 10 Hz.
_RATE_WINDOW = 20


class CameraState(str, Enum):
    """The words of the diagnostics."""

    WAITING_CAMERA_INFO = "waiting_camera_info"
    WAITING_IMAGE = "waiting_image"
    ACTIVE = "active"
    STALE = "stale"
    REJECTED = "rejected"
    QOS_MISMATCH = "qos_mismatch"


@dataclass(frozen=True)
class CameraStatus:
    """A camera at one moment of the steady clock."""

    state: CameraState
    #: Why it is in that state; "" when active.
    text: str
    age_ms: float | None
    rate_hz: float | None
    images: int
    images_rejected: int
    camera_infos: int
    camera_infos_rejected: int


class Camera:
    """Calibration, checks and counters of one camera."""

    def __init__(self, name: str, *, frame_id: str = "", undistort: bool = False,
                 max_image_age_ms: float = 500.0) -> None:
        """``frame_id`` overrides an empty frame_id in the messages; any other must then be equal to it."""
        self.name = name
        self._configured_frame = frame_id
        self._undistort = undistort
        self._max_image_age_ns = round(max_image_age_ms * 1e6)
        # Replaced as one, so that a decoder never pairs one calibration with another's maps.
        self._optics: tuple[Calibration, Undistorter | None] | None = None
        self._image_frame = ""
        self._info_problem = self._image_problem = self._qos_problem = ""
        self._arrivals: deque[int] = deque(maxlen=_RATE_WINDOW)
        self._images = self._images_rejected = self._infos = self._infos_rejected = 0

    @property
    def calibration(self) -> Calibration | None:
        """What the last good camera_info said; None while there was none."""
        return self._optics[0] if self._optics else None

    @property
    def frame_id(self) -> str:
        """Optical frame: the configured one, else the images', else camera_info's; "" while unknown."""
        return self._configured_frame or self._image_frame or (self.calibration.frame_id if self.calibration else "")

    @property
    def distortion_ignored(self) -> bool:
        """The lens bends lines and nobody asked to straighten them."""
        return self.calibration is not None and self.calibration.distorted and not self._undistort

    def on_camera_info(self, message: Any) -> str:
        """Take a CameraInfo: a sentence for the log if something changed, else "". ``CameraError`` if it is wrong.

        A wrong one takes the calibration away: pictures of a camera that changed must not meet its old K.
        """
        self._infos += 1
        try:
            calibration = read_camera_info(message, self.name)
            self._check_frame(calibration.frame_id, "camera_info")
        except CameraError as error:
            self._infos_rejected += 1
            self._info_problem, self._optics = str(error), None
            raise
        self._info_problem = ""
        if calibration.same_as(self.calibration):
            return ""
        first = self._optics is None
        self._optics = (calibration, Undistorter(calibration) if self._undistort and calibration.distorted else None)
        text = (f"camera '{self.name}': {'calibrated' if first else 'new calibration'}, "
                f"{calibration.width}x{calibration.height}, focal length {calibration.intrinsic[0, 0]:.1f} px")
        if self.distortion_ignored:
            text += (f"; its {calibration.distortion_model} distortion is not zero and is ignored, "
                     "set undistort to take it out")
        return text

    def on_image(self, now_ns: int) -> None:
        """An image arrived at this steady time. Nothing is looked at: the callback must be short."""
        self._images += 1
        self._arrivals.append(now_ns)
        self._qos_problem = ""

    def on_qos_mismatch(self, policy: str) -> None:
        """The middleware says that a publisher offers less than we ask for."""
        self._qos_problem = f"camera '{self.name}': a publisher's QoS does not fit ours ({policy}), set input_qos"

    def read(self, message: Any, reduce: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """The picture ``[height, width, 3]`` BGR and its K ``[3, 3]``, without distortion where that is asked for.

        For a worker thread. ``CameraError`` if any of it cannot be used; that becomes the camera's state.
        """
        try:
            picture = self._read(message, reduce)
        except CameraError as error:
            self._images_rejected += 1
            self._image_problem = str(error)
            raise
        self._image_problem = ""
        return picture

    def _read(self, message: Any, reduce: int) -> tuple[np.ndarray, np.ndarray]:
        optics = self._optics
        if optics is None:
            raise CameraError(self._info_problem or f"camera '{self.name}': no camera_info yet")
        calibration, undistorter = optics
        frame_id = message.header.frame_id
        self._check_frame(frame_id, "the image")
        if frame_id and calibration.frame_id and frame_id != calibration.frame_id and not self._configured_frame:
            raise CameraError(f"camera '{self.name}': the image is in frame '{frame_id}', its camera_info in "
                              f"'{calibration.frame_id}': are topics swapped? If not, set camera_frames.{self.name}")
        if not (frame_id or calibration.frame_id or self._configured_frame):
            raise CameraError(f"camera '{self.name}': frame_id is empty in the image and in camera_info, "
                              f"set camera_frames.{self.name}")
        image = decode(message, self.name, reduce)
        intrinsic = calibration.intrinsic_for(image.shape[1], image.shape[0])
        self._image_frame = frame_id
        return (image if undistorter is None else undistorter(image)), intrinsic

    def _check_frame(self, frame_id: str, what: str) -> None:
        if frame_id and self._configured_frame and frame_id != self._configured_frame:
            raise CameraError(f"camera '{self.name}': the frame_id of {what} is '{frame_id}', but "
                              f"camera_frames.{self.name} says '{self._configured_frame}': are topics swapped?")

    def status(self, now_ns: int) -> CameraStatus:
        """The state at a steady time, to be asked by a timer so that silence shows."""
        arrivals = list(self._arrivals)
        age_ns = now_ns - arrivals[-1] if arrivals else None
        state, text = self._state(age_ns)
        # The time since the last image counts as well, or a dead camera would keep its rate.
        span_ns = max(arrivals[-1], now_ns - (arrivals[-1] - arrivals[0]) // max(len(arrivals) - 1, 1)) - arrivals[0] \
            if len(arrivals) > 1 else 0
        return CameraStatus(
            state, text, None if age_ns is None else age_ns / 1e6,
            (len(arrivals) - 1) * 1e9 / span_ns if span_ns > 0 else None,
            self._images, self._images_rejected, self._infos, self._infos_rejected)

    def _state(self, age_ns: int | None) -> tuple[CameraState, str]:
        if self._qos_problem:
            return CameraState.QOS_MISMATCH, self._qos_problem
        if self._info_problem:
            return CameraState.REJECTED, self._info_problem
        if self._optics is None:
            return CameraState.WAITING_CAMERA_INFO, f"camera '{self.name}': no camera_info yet"
        if age_ns is None:
            return CameraState.WAITING_IMAGE, f"camera '{self.name}': no image yet"
        if age_ns > self._max_image_age_ns:
            return CameraState.STALE, f"camera '{self.name}': the last image came {age_ns / 1e9:.1f} s ago"
        if self._image_problem:
            return CameraState.REJECTED, self._image_problem
        return CameraState.ACTIVE, ""
