"""Pictures and calibration to network inputs, equal to the reference's test pipeline (spec section 2.2)."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from PIL import Image

from sparse4d_ros.engine.package import ModelPackage
from sparse4d_ros.frame import CameraFrame, Frame
from sparse4d_ros.geometry import pad_intrinsic


@dataclass(frozen=True)
class NetworkInputs:
    """One frame as the network takes it; a leading dimension of one everywhere."""

    images: np.ndarray        #: ``[1, C, 3, H, W]`` float32, normalised RGB
    projection: np.ndarray    #: ``[1, C, 4, 4]`` float32, network pixels from the model frame
    camera_valid: np.ndarray  #: ``[1, C]`` bool, False for missing cameras
    #: ``[C, 4, 4]`` float64, network pixels from the vehicle frame (for depth and camera mask).
    pixels_from_vehicle: np.ndarray


@dataclass(frozen=True)
class ImagePlan:
    """How a source picture becomes a network picture: scale to cover, keep the bottom, centre."""

    resize: float
    scaled: tuple[int, int]  #: (width, height) after scaling, before the crop
    crop: tuple[int, int]    #: (x, y) of the crop in the scaled picture

    @classmethod
    def of(cls, width: int, height: int, target_width: int, target_height: int) -> ImagePlan:
        """The plan for a source size, by the reference's arithmetic with its truncations."""
        resize = max(target_height / height, target_width / width)
        scaled = int(width * resize), int(height * resize)
        crop = int(max(0, scaled[0] - target_width) / 2), scaled[1] - target_height
        return cls(resize, scaled, crop)

    @property
    def matrix(self) -> np.ndarray:
        """``[4, 4]`` network pixels from source pixels; the nominal factor in both axes, as in the reference."""
        out = np.diag([self.resize, self.resize, 1.0, 1.0])
        out[0, 2], out[1, 2] = -self.crop[0], -self.crop[1]
        return out


def resize_and_crop(image: np.ndarray, target_width: int, target_height: int) -> np.ndarray:
    """A picture ``[h, w, 3]`` uint8 at network size, by Pillow's antialiased bicubic filter.

    The whole picture is scaled before the crop: asking Pillow for the crop's box alone saves a third
    of the time, but rounds a pixel in 10,000 to its neighbour value. A picture of the network's size
    is returned as it is.
    """
    height, width = image.shape[:2]
    if (width, height) == (target_width, target_height):
        return image
    plan = ImagePlan.of(width, height, target_width, target_height)
    left, top = plan.crop
    scaled = Image.fromarray(image).resize(plan.scaled, Image.Resampling.BICUBIC)
    return np.asarray(scaled.crop((left, top, left + target_width, top + target_height)))


class Preprocessor:
    """Frame sets to network inputs; buffers are made once and reused, so one frame is alive at a time."""

    def __init__(self, package: ModelPackage) -> None:
        self._package = package
        count = len(package.cameras)
        self._images = np.zeros((1, count, 3, package.input_height, package.input_width), np.float32)
        # uint8 -> normalised float32 is a look-up: the same two operations, done 256 times instead of per pixel.
        levels = np.arange(256, dtype=np.float32)
        self._tables = [
            (levels - np.float32(mean)) * np.float32(1.0 / np.float64(std))
            for mean, std in zip(package.mean, package.std, strict=True)
        ]
        self._pool = ThreadPoolExecutor(min(count, os.cpu_count() or 1), thread_name_prefix="preprocess")

    def __call__(self, frame: Frame) -> NetworkInputs:
        """Inputs of one frame; the image buffer is overwritten by the next call."""
        package = self._package
        list(self._pool.map(self._fill, range(len(frame.cameras)), frame.cameras))
        pixels_from_vehicle = np.stack([
            self._image_matrix(camera) @ pad_intrinsic(camera.intrinsic) @ camera.camera_from_vehicle
            for camera in frame.cameras
        ])
        projection = (pixels_from_vehicle @ package.vehicle_from_model).astype(np.float32)
        valid = np.array([[camera.image is not None for camera in frame.cameras]])
        return NetworkInputs(self._images, projection[None], valid, pixels_from_vehicle)

    def close(self) -> None:
        """Release the threads."""
        self._pool.shutdown(wait=False)

    def _image_matrix(self, camera: CameraFrame) -> np.ndarray:
        if camera.image is None:
            return np.eye(4)
        height, width = camera.image.shape[:2]
        return ImagePlan.of(width, height, self._package.input_width, self._package.input_height).matrix

    def _fill(self, index: int, camera: CameraFrame) -> None:
        out = self._images[0, index]
        if camera.image is None:
            out[:] = 0.0
            return
        image = resize_and_crop(camera.image, self._package.input_width, self._package.input_height)
        for channel in range(3):  # RGB out of BGR
            np.take(self._tables[channel], image[..., 2 - channel], out=out[channel], mode="clip")
