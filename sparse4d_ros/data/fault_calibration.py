"""Faults of calibration: what camera_info says, or that it says nothing."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from sparse4d_ros.data.fault import option
from sparse4d_ros.data.fault_cameras import IMAGES, CameraFault
from sparse4d_ros.data.ros_messages import CAMERA_INFO
from sparse4d_ros.data.timed_messages import TimedMessage


@dataclass(kw_only=True)
class CalibrationFault(CameraFault):
    """A fault of a camera's camera_info."""

    kinds: ClassVar[tuple[str, ...]] = (CAMERA_INFO,)

    def broken(self, message: TimedMessage) -> list[TimedMessage]:
        content = message.parsed()
        self.edit(content)
        return [message.holding(content)]

    @abc.abstractmethod
    def edit(self, content: Any) -> None:
        """Break the parsed message."""


@dataclass(kw_only=True)
class CalibrationMissing(CameraFault):
    """There is no camera_info."""

    kinds = (CAMERA_INFO,)

    rows = (19,)
    promise = "the camera waits (`waiting_camera_info`), no output"

    def broken(self, message: TimedMessage) -> list[TimedMessage]:
        return []


@dataclass(kw_only=True)
class CalibrationZero(CalibrationFault):
    """K is all zero, as of a camera that was never calibrated."""

    rows = (20,)
    promise = "refused in so many words (`camera_infos_rejected`), no output"

    def edit(self, content: Any) -> None:
        content.k = np.zeros(9)


@dataclass(kw_only=True)
class CalibrationSize(CalibrationFault):
    """camera_info is for pictures of another shape: twice as wide."""

    rows = (12,)
    promise = "its pictures are refused with both sizes (`images_rejected`)"

    def edit(self, content: Any) -> None:
        content.width *= 2


@dataclass(kw_only=True)
class CalibrationChanged(CalibrationFault):
    """The focal lengths change."""

    rows = (21,)
    promise = "the new K counts from the next picture, and is logged once"

    factor: float = option("by which", 1.1, low=0.01, high=100.0)

    def edit(self, content: Any) -> None:
        content.k = (content.k.reshape(3, 3) * [self.factor, self.factor, 1.0]).ravel()
        content.p = (content.p.reshape(3, 4) * [self.factor, self.factor, 1.0, 1.0]).ravel()


@dataclass(kw_only=True)
class CalibrationDistorted(CalibrationFault):
    """camera_info tells of a lens distortion that the pictures do not have."""

    rows = (22,)
    promise = "one warning, or straightened where `undistort` asks for it"

    k1: float = option("first radial coefficient", -0.3, low=-10.0, high=10.0)

    def edit(self, content: Any) -> None:
        content.distortion_model, content.d = "plumb_bob", np.array([self.k1, 0.0, 0.0, 0.0, 0.0])


@dataclass(kw_only=True)
class CalibrationFrameEmpty(CalibrationFault):
    """The frame_id of pictures and camera_info is empty."""

    rows = (23,)
    promise = "an error that asks for `camera_frames`, unless that is set"
    kinds = (*IMAGES, CAMERA_INFO)

    def edit(self, content: Any) -> None:
        content.header.frame_id = ""
