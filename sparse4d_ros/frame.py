"""One frame set: what the node, a bag or the simulator hands to the engine.

Everything that is known about one moment and nothing about any network. All poses are rigid
float64 matrices ``a_from_b``. "vehicle" is the vehicle frame (base_link: x forward, y left, z up)
**at the reference stamp**; a camera that fired earlier or later has that motion folded into
``camera_from_vehicle``, so that projecting a point of the reference moment lands where the camera
saw it (design: each camera is projected with the ego pose at its own stamp).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class CameraFrame:
    """One camera's part of a frame set."""

    name: str
    #: ``[height, width, 3]`` uint8 in BGR (OpenCV order); None if the camera is missing from the set.
    image: np.ndarray | None
    #: K, ``[3, 3]`` float64, in pixels of ``image``.
    intrinsic: np.ndarray
    #: Camera's optical frame (z forward, at its own stamp) from the vehicle at the reference stamp, ``[4, 4]``.
    camera_from_vehicle: np.ndarray
    #: When the picture was taken, nanoseconds.
    stamp_ns: int


@dataclass(frozen=True)
class Frame:
    """A set of cameras at one reference stamp, in the model's camera order."""

    #: Reference stamp, nanoseconds.
    stamp_ns: int
    cameras: tuple[CameraFrame, ...]
    #: Pose of the vehicle in the fixed frame (odom) at the reference stamp, ``[4, 4]`` float64.
    fixed_from_vehicle: np.ndarray


@dataclass(frozen=True)
class Objects:
    """Ground-truth objects of one frame, in the vehicle frame at the frame's stamp."""

    #: ``[n, 10]``, columns of :mod:`sparse4d_ros.boxes`.
    boxes: np.ndarray
    #: ``[n]`` class names.
    names: tuple[str, ...]
    #: ``[n]`` int64, the same number for the same object throughout a drive.
    instance_ids: np.ndarray
    #: ``[n]`` float in 0..1, the share of the object that cameras can see; 1 where unknown.
    visibility: np.ndarray = field(default=None)  # type: ignore[assignment]

    def __post_init__(self) -> None:
        count = len(self.boxes)
        if self.visibility is None:
            object.__setattr__(self, "visibility", np.ones(count))
        if not len(self.names) == len(self.instance_ids) == len(self.visibility) == count:
            raise ValueError("boxes, names, instance_ids and visibility differ in length")


@dataclass(frozen=True)
class LabelledFrame:
    """A frame set with its ground truth; depth and semantics only where a simulator drew them."""

    frame: Frame
    objects: Objects
    #: Per camera ``[height, width]`` float32 metres along the optical axis, inf for the sky.
    depth: tuple[np.ndarray, ...] | None = None
    #: Per camera ``[height, width]`` uint8: class index of the nearest surface, 255 where it is no object.
    semantics: tuple[np.ndarray, ...] | None = None
