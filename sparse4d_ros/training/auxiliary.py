"""Dense supervision of the image branch: depth (Sparse4D v3) and classes (ours), from a simulator's maps.

The depth loss is the reference's. The semantic head is not in the paper: it tells every cell of the
feature maps which classes are in it, so that a backbone without pre-training learns to see
from all pixels instead of from a few dozen matched queries. It is dropped after training.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from sparse4d_ros.training.losses import binary_focal_loss

#: A class with fewer cells in a batch is weighed as if it had so many.
_MIN_CELLS = 20.0


def depth_loss(predicted: list[torch.Tensor], depth: torch.Tensor, max_depth_m: float) -> torch.Tensor:
    """Mean L1 in metres over all valid cells of all levels.

    ``predicted`` holds ``[bs, C, h, w]`` per level, fine to coarse; ``depth [bs, C, h0, w0]`` is the
    map at the label resolution. Cells beyond ``max_depth_m`` (sky) do not count.
    """
    total, count = depth.new_zeros(()), 0
    for level in predicted:
        wanted = functional.interpolate(depth, size=level.shape[-2:], mode="nearest")
        valid = (wanted > 0) & (wanted <= max_depth_m)
        total = total + (level.float() - wanted)[valid].abs().sum()
        count += int(valid.sum())
    return total / max(1, count)


class SemanticHead(nn.Module):
    """A 1x1 convolution per feature level to one logit per class: is the class anywhere in this cell?"""

    def __init__(self, embed_dims: int, num_levels: int, num_classes: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(embed_dims, num_classes, 1) for _ in range(num_levels))
        for layer in self.layers:
            nn.init.constant_(layer.bias, -4.595)  # as the classification head: objects are rare

    def loss(self, maps: list[torch.Tensor], semantics: torch.Tensor, alpha: float, gamma: float) -> torch.Tensor:
        """Focal loss per object cell, mean of classes and levels.

        ``maps [bs, C, E, h, w]`` fine to coarse, ``semantics [bs, C, h0, w0]`` uint8.
        """
        numbers = torch.arange(self.layers[0].out_channels, device=semantics.device, dtype=semantics.dtype)
        present = (semantics.flatten(0, 1)[:, None] == numbers[None, :, None, None]).float()
        total = present.new_zeros(())
        for layer, level in zip(self.layers, maps, strict=True):
            # "Any pixel" instead of the nearest one: small objects must not fall through coarse levels.
            target = functional.adaptive_max_pool2d(present, level.shape[-2:])
            loss = binary_focal_loss(layer(level.flatten(0, 1).float()), target, alpha, gamma)
            # Class by class, or a bus would count as much as fifty pedestrians.
            total = total + (loss.sum((0, 2, 3)) / target.sum((0, 2, 3)).clamp(min=_MIN_CELLS)).mean()
        return total / len(self.layers)
