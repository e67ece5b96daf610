"""Signatures first; bodies follow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sparse4d_ros.errors import UserError


class EgoMotionError(UserError):
    """The poses of a frame set are not to be had; the text is that of the lookup."""


@dataclass(frozen=True)
class EgoPoses:
    fixed_from_vehicle: np.ndarray | None          # None only with require_ego_motion=False: no history
    camera_from_vehicle: dict[str, np.ndarray]     # by camera name; cameras without an image: best known extrinsic, or absent
    extrapolated: bool
    jump: str                                      # "" or a sentence: the fixed frame jumped, reset the bank


class EgoMotion:
    def __init__(self, source, *, vehicle_frame: str = "base_link", fixed_frame: str = "odom",
                 tf_timeout_ms: float = 50.0, max_extrapolation_ms: float = 0.0, require_ego_motion: bool = True,
                 max_ego_jump_m: float = 5.0, max_ego_jump_deg: float = 20.0) -> None: ...

    def poses(self, frame_set, camera_frames: Mapping[str, str]) -> EgoPoses:
        """For the worker thread: waits up to tf_timeout_ms. camera_frames: camera name -> optical frame id."""
        ...

    def reset(self) -> None:
        """Forget the previous pose (no jump is reported for the next frame)."""
        ...
