"""``sensor_msgs/CameraInfo`` checked and turned into the K of an image; lens distortion taken out on request."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

from sparse4d_ros.data.images import CameraError

# Distortion models of REP-104 and image_pipeline, and how many coefficients each may have.
_MODELS = {"plumb_bob": (4, 5), "rational_polynomial": (4, 5, 8, 12, 14), "equidistant": (4,)}


@dataclass(frozen=True)
class Calibration:
    """One camera's calibration for its image as published (after binning and region of interest)."""

    camera: str
    frame_id: str
    width: int
    height: int
    #: K in pixels of a width x height image, ``[3, 3]`` float64. Compared by ``same_as``, hence not by ``==``.
    intrinsic: np.ndarray = field(compare=False)
    distortion_model: str
    distortion: tuple[float, ...]

    @property
    def distorted(self) -> bool:
        """Straight lines are bent: projecting with K alone is wrong towards the edges."""
        return any(self.distortion)

    def same_as(self, other: Calibration | None) -> bool:
        """Equal in all that matters to projection."""
        return self == other and np.array_equal(self.intrinsic, other.intrinsic)

    def intrinsic_for(self, width: int, height: int) -> np.ndarray:
        """K for an image of this size, ``[3, 3]``: scaled if the whole picture was resized, else ``CameraError``.

        Resized means the same aspect within a pixel (a reduced JPEG is rounded up). Scales by the size ratio, as
        image_geometry and image_proc do.
        """
        if (width, height) == (self.width, self.height):
            return self.intrinsic.copy()
        if abs(width * self.height - height * self.width) > max(self.width, self.height):
            raise CameraError(f"camera '{self.camera}': the image is {width}x{height}, but camera_info is for "
                              f"{self.width}x{self.height}, which is no scaled version of it")
        scale = np.diag([width / self.width, height / self.height, 1.0])
        return scale @ self.intrinsic


def read_camera_info(message: Any, camera: str) -> Calibration:
    """The calibration in a CameraInfo. ``CameraError`` says which field is wrong."""
    width, height = int(message.width), int(message.height)
    if width < 1 or height < 1:
        raise CameraError(f"camera '{camera}': camera_info gives the image size as {width}x{height}")
    intrinsic = np.array(message.k, dtype=np.float64)
    if intrinsic.size != 9:
        raise CameraError(f"camera '{camera}': K in camera_info has {intrinsic.size} numbers, not 9")
    intrinsic = intrinsic.reshape(3, 3)
    if not intrinsic.any():
        raise CameraError(f"camera '{camera}': K in camera_info is all zero: the camera is not calibrated")
    if not np.isfinite(intrinsic).all():
        raise CameraError(f"camera '{camera}': K in camera_info holds a number that is not finite")
    if intrinsic[0, 0] <= 0 or intrinsic[1, 1] <= 0:
        raise CameraError(f"camera '{camera}': the focal lengths in camera_info are {intrinsic[0, 0]:g} and "
                          f"{intrinsic[1, 1]:g}, they must be positive")
    if intrinsic[1, 0] or not np.array_equal(intrinsic[2], [0.0, 0.0, 1.0]):
        raise CameraError(f"camera '{camera}': K in camera_info is not of the form fx s cx, 0 fy cy, 0 0 1 "
                          f"but {intrinsic.ravel().tolist()}")
    width, height = _region_and_binning(message, camera, intrinsic, width, height)
    model, distortion = _distortion(message, camera)
    return Calibration(camera, message.header.frame_id, width, height, intrinsic, model, distortion)


def _region_and_binning(message: Any, camera: str, intrinsic: np.ndarray, width: int, height: int) -> tuple[int, int]:
    """Size of the published image; changes K in place. K is given for the full sensor, the region is cut from it
    in full-resolution pixels, then binned (CameraInfo.msg)."""
    region = message.roi
    if region.width or region.height:
        if region.x_offset + region.width > width or region.y_offset + region.height > height:
            cut = f"{region.width}x{region.height} at {region.x_offset}, {region.y_offset}"
            raise CameraError(f"camera '{camera}': the region of interest in camera_info ({cut}) exceeds the "
                              f"{width}x{height} image")
        intrinsic[0, 2] -= region.x_offset
        intrinsic[1, 2] -= region.y_offset
        width, height = region.width or width, region.height or height
    across, down = max(int(message.binning_x), 1), max(int(message.binning_y), 1)
    if across > width or down > height:
        raise CameraError(f"camera '{camera}': binning by {across}x{down} in camera_info leaves nothing of a "
                          f"{width}x{height} image")
    intrinsic[0] /= across
    intrinsic[1] /= down
    return width // across, height // down


def _distortion(message: Any, camera: str) -> tuple[str, tuple[float, ...]]:
    coefficients = tuple(float(value) for value in message.d)
    if not all(np.isfinite(coefficients)):
        raise CameraError(f"camera '{camera}': D in camera_info holds a number that is not finite")
    model = message.distortion_model
    if any(coefficients):
        if model not in _MODELS:
            raise CameraError(f"camera '{camera}': distortion_model '{model}' in camera_info is unknown, expected "
                              f"one of {', '.join(_MODELS)}")
        if len(coefficients) not in _MODELS[model]:
            raise CameraError(f"camera '{camera}': D in camera_info has {len(coefficients)} numbers, {model} has "
                              f"{' or '.join(map(str, _MODELS[model]))}")
    return model, coefficients


class Undistorter:
    """Takes the lens out of an image so that K alone describes it; the maps are made once per size."""

    def __init__(self, calibration: Calibration) -> None:
        self._calibration = calibration
        self._maps: dict[tuple[int, int], tuple[np.ndarray, np.ndarray]] = {}

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """The same picture with straight lines straight, same K, same size; black where the lens saw nothing."""
        size = (image.shape[1], image.shape[0])
        if size not in self._maps:
            self._maps = {size: self._make_maps(*size)}  # one size at a time: memory stays bounded
        return cv2.remap(image, *self._maps[size], interpolation=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)

    def _make_maps(self, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
        intrinsic = self._calibration.intrinsic_for(width, height)
        distortion = np.array(self._calibration.distortion)
        make = (cv2.fisheye if self._calibration.distortion_model == "equidistant" else cv2).initUndistortRectifyMap
        return make(intrinsic, distortion, np.eye(3), intrinsic, (width, height), cv2.CV_16SC2)
