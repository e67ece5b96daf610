"""The bank on a device: two sets of buffers that take turns, and who may still read which. No CUDA here.

Each frame reads the bank in one slot and writes the next bank into the other, so nothing is copied,
and a frame that fails leaves the bank that it read as it was. A bank older than that is overwritten;
using one is an error, not a silent mix of frames.

Features and anchors stay on the device. Confidences, four bytes per instance, travel with a frame's
other small inputs and outputs: the engine reads and changes them between frames.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sparse4d_ros.engine.onnx_backend import INPUT_NAMES, OUTPUT_NAMES
from sparse4d_ros.engine.package import ModelPackage

#: What stays on the device: input -> the output that is this input of the next frame.
RESIDENT = {"bank_feature": "next_feature", "bank_anchor": "next_anchor"}
#: What is copied to the device before a frame, and from it afterwards.
SENT = tuple(name for name in INPUT_NAMES if name not in RESIDENT)
FETCHED = tuple(name for name in OUTPUT_NAMES if name not in RESIDENT.values())


class TensorSpec(NamedTuple):
    """Shape and type of one input or output of the graph."""

    shape: tuple[int, ...]
    dtype: np.dtype


def tensor_specs(package: ModelPackage) -> dict[str, TensorSpec]:
    """All inputs and outputs of a package's graph by name; the same in every precision."""
    model, cameras = package.model, len(package.cameras)
    kept, rows, dims = model.num_temporal, model.num_anchors, model.embed_dims
    shapes = {
        "images": (1, cameras, 3, package.input_height, package.input_width), "projection": (1, cameras, 4, 4),
        "camera_valid": (1, cameras), "bank_feature": (1, kept, dims), "bank_anchor": (1, kept, 11),
        "bank_confidence": (1, kept), "has_history": (1,), "dt": (1,), "now_from_previous": (1, 4, 4),
        "anchors": (1, rows, 11), "classes": (1, rows, model.num_classes), "quality": (1, rows, 2),
        "next_feature": (1, kept, dims), "next_anchor": (1, kept, 11), "next_confidence": (1, kept),
        "kept_rows": (1, kept),
    }
    if not model.quality_estimation:
        del shapes["quality"]
    types = {"camera_valid": np.bool_, "has_history": np.bool_, "kept_rows": np.int64}
    return {name: TensorSpec(shape, np.dtype(types.get(name, np.float32))) for name, shape in shapes.items()}


class DeviceBank(NamedTuple):
    """A frame's bank: where its features and anchors lie, and its confidences."""

    slot: int
    serial: int              #: which writing of the slot it is; 0 is a bank before its first frame
    confidence: np.ndarray   #: ``[Nt]`` float32

    @property
    def has_history(self) -> bool:
        return self.serial > 0


class Slots:
    """Which of the two slots holds which bank."""

    def __init__(self) -> None:
        self._held = [0, 0]
        self._last = 0

    def check(self, bank: DeviceBank) -> None:
        """``ValueError`` if the bank has been overwritten. One without history is read by nobody and always fits."""
        if bank.has_history and self._held[bank.slot] != bank.serial:
            raise ValueError("this bank was overwritten on the device: only the last frame's bank and the one that "
                             "the last frame started from can be used")

    def begin(self, bank: DeviceBank) -> tuple[int, int]:
        """The slots that a frame from this bank reads and writes; what the second held is lost from now on."""
        self.check(bank)
        write = 1 - bank.slot
        self._held[write] = 0
        return bank.slot, write

    def finish(self, write: int, confidence: np.ndarray) -> DeviceBank:
        """The bank that a frame has written."""
        self._last += 1
        self._held[write] = self._last
        return DeviceBank(write, self._last, confidence)
