"""Dense depth from the finest feature levels: a training branch, and an output for debugging."""

from __future__ import annotations

import torch
from torch import Tensor, nn

#: The focal length at which the branch's raw output is in metres (reference: "equal_focal").
REFERENCE_FOCAL = 100.0


class DepthBranch(nn.Module):
    """Depth in metres per pixel of the first ``num_levels`` feature levels."""

    def __init__(self, embed_dims: int, num_levels: int) -> None:
        super().__init__()
        self.depth_layers = nn.ModuleList(nn.Conv2d(embed_dims, 1, 1) for _ in range(num_levels))

    def forward(self, maps: list[Tensor], focal: Tensor) -> list[Tensor]:
        """Metres ``[bs, cameras, h, w]`` per level.

        ``maps`` are ``[bs, cameras, E, h, w]``, ``focal [bs, cameras]`` is in network pixels.

        A given size in pixels is farther away the longer the lens, hence the scaling by the focal length.
        """
        depths = []
        for layer, x in zip(self.depth_layers, maps, strict=False):  # the finest levels only
            raw = layer(x.flatten(0, 1).float()).exp().squeeze(1)
            depths.append(raw.unflatten(0, x.shape[:2]) * (focal[..., None, None] / REFERENCE_FOCAL))
        return depths


def clip_depth(depth: Tensor, minimum_m: float = 1.0, maximum_m: float = 60.0) -> Tensor:
    """Depth limited to the range that the branch is trained on."""
    return torch.clamp(depth, minimum_m, maximum_m)
