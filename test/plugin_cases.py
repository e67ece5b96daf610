"""What the tests of the plugin share: its sources, its shapes, and what torch gives."""

from __future__ import annotations

import ctypes
import shutil
from pathlib import Path

import numpy as np
import torch

from sparse4d_ros import deploy
from sparse4d_ros.model.aggregation import sample_grid

SOURCES = Path(deploy.__path__[0]) / "plugin"


class Shape(ctypes.Structure):
    """`sparse4d::Shape`."""

    _fields_ = [*((name, ctypes.c_int) for name in (
        "batch", "cameras", "anchors", "points", "levels", "groups", "channels")),
        ("heights", ctypes.c_int * 8), ("widths", ctypes.c_int * 8), ("drop", ctypes.c_bool)]

    @classmethod
    def of(cls, maps: list[np.ndarray], points: np.ndarray, weights: np.ndarray, border: str) -> Shape:
        """The shape of channels-last maps, points and weights."""
        return cls(*points.shape[:4], len(maps), weights.shape[-1], maps[0].shape[-1],
                   (ctypes.c_int * 8)(*(x.shape[2] for x in maps)), (ctypes.c_int * 8)(*(x.shape[3] for x in maps)),
                   border == "drop")

    def output(self) -> np.ndarray:
        """Where the result goes, ``[batch, anchors, channels]``."""
        return np.full((self.batch, self.anchors, self.channels), np.nan, np.float32)


def missing(*programs: str) -> str:
    """Why something cannot be compiled here, or nothing."""
    return next((f"{program} is not installed" for program in programs if shutil.which(program) is None), "")


def by_torch(maps: list[np.ndarray], points: np.ndarray, weights: np.ndarray, border: str) -> np.ndarray:
    """The reading by torch on the CPU."""
    return sample_grid([torch.from_numpy(x).movedim(-1, 2) for x in maps], torch.from_numpy(points),
                       torch.from_numpy(weights), border).numpy()
