"""Ground truth as the losses take it: padded, batched, as anchors."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from sparse4d_ros.boxes import ANCHOR_COLUMNS, to_anchors

#: Columns of an anchor that are supervised: all but vz.
SUPERVISED = 10
#: Target class of a row that matches no object.
BACKGROUND = -1
#: Target class of a row that enters no loss (padding).
IGNORED = -2
#: Instance number of padding, and of a row that answers for no object.
NOBODY = -1


class Targets(NamedTuple):
    """Objects of a batch of frames, padded to the fullest frame."""

    #: ``[bs, g, 11]`` float32; NaN where a value is unknown (velocity on the first frame, say).
    anchors: torch.Tensor
    #: ``[bs, g]`` int64, :data:`BACKGROUND` in padding.
    classes: torch.Tensor
    #: ``[bs, g]`` int64, the same number for the same object throughout a drive.
    instances: torch.Tensor

    @property
    def valid(self) -> torch.Tensor:
        """``[bs, g]`` bool: True for objects, False for padding."""
        return self.classes >= 0

    def to(self, device: torch.device, non_blocking: bool = False) -> Targets:
        return Targets(*(tensor.to(device, non_blocking=non_blocking) for tensor in self))


def collate_targets(boxes: list[np.ndarray], classes: list[np.ndarray], instances: list[np.ndarray]) -> Targets:
    """One entry per frame: boxes ``[n, 10]`` in the model frame, class numbers ``[n]``, instances ``[n]``."""
    count, width = len(boxes), max([1, *(len(b) for b in boxes)])
    anchors = np.zeros((count, width, ANCHOR_COLUMNS), dtype=np.float32)
    labels = np.full((count, width), BACKGROUND, dtype=np.int64)
    numbers = np.full((count, width), NOBODY, dtype=np.int64)
    for row, (box, label, number) in enumerate(zip(boxes, classes, instances, strict=True)):
        anchors[row, :len(box)] = to_anchors(box)
        labels[row, :len(box)] = label
        numbers[row, :len(box)] = number
    return Targets(torch.from_numpy(anchors), torch.from_numpy(labels), torch.from_numpy(numbers))
