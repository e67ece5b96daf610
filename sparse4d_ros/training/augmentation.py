"""Random changes of a scene that leave it a possible scene: images, matrices, boxes and poses together.

Drawn once per clip, since a sequence must not jump. The model frame is ``model_from_vehicle``:
a bird's-eye rotation, after mirroring the world left to right where ``flip`` is drawn. Mirroring
needs no swap of left and right cameras: the network knows a camera by its matrix alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from sparse4d_ros import boxes as box
from sparse4d_ros.geometry import from_yaw
from sparse4d_ros.training.config import AugmentationConfig

_MIRROR = np.diag([1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class SceneAugmentation:
    """One draw; the default changes nothing."""

    flip: bool = False
    rotation_rad: float = 0.0
    #: Image scale relative to the one that just covers the input.
    resize: float = 1.0
    #: Sideways shift of the crop as a fraction of the input's width.
    shift: float = 0.0
    #: Pixel value becomes ``gain * value + offset``, per colour channel (BGR), in 0..255.
    gain: tuple[float, float, float] = (1.0, 1.0, 1.0)
    offset: float = 0.0

    @classmethod
    def draw(cls, config: AugmentationConfig, random: np.random.Generator) -> SceneAugmentation:
        """A random scene change within the configured ranges."""
        contrast = 1.0 + random.uniform(-config.contrast, config.contrast)
        colour = 1.0 + random.uniform(-config.colour, config.colour, 3)
        return cls(
            flip=bool(random.random() < config.flip_probability),
            rotation_rad=random.uniform(-config.rotation_rad, config.rotation_rad),
            resize=random.uniform(*config.resize),
            shift=random.uniform(-config.shift_fraction, config.shift_fraction),
            gain=tuple(float(x) for x in contrast * colour),
            offset=255.0 * random.uniform(-config.brightness, config.brightness) + 127.5 * (1.0 - contrast),
        )

    @property
    def _rotation(self) -> np.ndarray:
        return from_yaw(0.0, 0.0, 0.0, self.rotation_rad)

    def image_matrix(self, source_size: tuple[int, int], target_size: tuple[int, int]) -> np.ndarray:
        """4x4 matrix from source pixels to network pixels; sizes are ``(width, height)``.

        Scale, crop (the bottom rows, the middle columns, plus the shift), then mirror.
        """
        (width, height), (wanted_width, wanted_height) = source_size, target_size
        scale = max(wanted_width / width, wanted_height / height) * self.resize
        matrix = np.eye(4)
        matrix[0, 0] = matrix[1, 1] = scale
        matrix[0, 2] = (wanted_width - scale * width) / 2 + self.shift * wanted_width
        matrix[1, 2] = wanted_height - scale * height
        if self.flip:
            mirror = np.eye(4)
            mirror[0, 0], mirror[0, 2] = -1.0, wanted_width
            matrix = mirror @ matrix
        return matrix

    def vehicle_from_model(self) -> np.ndarray:
        """4x4 from the model frame to the vehicle frame: for projections, which take model points."""
        back = self._rotation.T
        return _MIRROR @ back if self.flip else back

    def fixed_from_model(self, fixed_from_vehicle: np.ndarray) -> np.ndarray:
        """Pose of the model frame in a (mirrored) fixed frame: rigid, for the motion between two frames."""
        pose = _MIRROR @ fixed_from_vehicle @ _MIRROR if self.flip else fixed_from_vehicle
        return pose @ self._rotation.T

    def boxes(self, boxes: np.ndarray) -> np.ndarray:
        """Boxes ``[n, 10]`` of the vehicle frame in the model frame."""
        out = np.array(boxes, dtype=np.float64, copy=True)
        if self.flip:
            out[:, [box.Y, box.YAW, box.VY]] *= -1.0
        return box.transform(out, self._rotation)


def warp_image(image: np.ndarray, matrix: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """``image [h, w, 3]`` moved by a 4x4 image matrix to ``size`` (width, height); black outside."""
    if image.shape[1::-1] == size and np.array_equal(matrix, np.eye(4)):
        return image
    return cv2.warpAffine(image, _index_matrix(matrix), size, flags=cv2.INTER_LINEAR, borderValue=(0, 0, 0))


def warp_labels(labels: np.ndarray, matrix: np.ndarray, size: tuple[int, int], stride: int, outside: float
                ) -> np.ndarray:
    """A label map (one value per ``stride`` pixels) moved by the image's matrix; ``outside`` fills the border.

    Nearest neighbour: between two depths or classes nothing is in between.
    """
    moved = matrix.copy()
    moved[:2, 2] /= stride
    return cv2.warpAffine(labels, _index_matrix(moved), (size[0] // stride, size[1] // stride),
                          flags=cv2.INTER_NEAREST, borderValue=outside)


def _index_matrix(matrix: np.ndarray) -> np.ndarray:
    """2x3 for OpenCV, whose coordinates are pixel indices: the middle of pixel i lies at i + 0.5."""
    out = np.array([[matrix[0, 0], 0.0, matrix[0, 2]], [0.0, matrix[1, 1], matrix[1, 2]]])
    out[:, 2] += 0.5 * np.array([out[0, 0], out[1, 1]]) - 0.5
    return out
