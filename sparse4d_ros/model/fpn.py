"""Feature pyramid network (Lin et al. 2017) without norms or activations, as Sparse4D uses it."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class FPN(nn.Module):
    """Maps of ``in_channels`` each, fine to coarse, to as many maps of ``out_channels``."""

    def __init__(self, in_channels: tuple[int, ...], out_channels: int) -> None:
        super().__init__()
        self.lateral_convs = nn.ModuleList(nn.Conv2d(channels, out_channels, 1) for channels in in_channels)
        self.fpn_convs = nn.ModuleList(nn.Conv2d(out_channels, out_channels, 3, padding=1) for _ in in_channels)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        laterals = [convolution(x) for convolution, x in zip(self.lateral_convs, maps, strict=True)]
        for level in range(len(laterals) - 1, 0, -1):
            finer = laterals[level - 1]
            # To the exact size of the finer map: odd sizes do not double.
            laterals[level - 1] = finer + F.interpolate(laterals[level], size=finer.shape[-2:], mode="nearest")
        return [convolution(x) for convolution, x in zip(self.fpn_convs, laterals, strict=True)]
