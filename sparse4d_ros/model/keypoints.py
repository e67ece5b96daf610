"""3-D key points of an anchor: where on the object the image features are read."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class KeyPoints(nn.Module):
    """Seven fixed and some learnable points, relative to the box's size, turned with its yaw.

    ``fix_scale`` belongs to the checkpoint: official training overwrote the centre-and-faces pattern
    by random numbers, so a network that hard-codes the pattern is wrong with official weights.
    """

    def __init__(self, embed_dims: int, num_learnable: int) -> None:
        super().__init__()
        faces = 0.45 * torch.cat([torch.zeros(1, 3), torch.eye(3), -torch.eye(3)])
        self.fix_scale = nn.Parameter(faces, requires_grad=False)
        self.num_learnable = num_learnable
        if num_learnable:
            self.learnable_fc = nn.Linear(embed_dims, 3 * num_learnable)

    def forward(self, anchors: Tensor, features: Tensor) -> Tensor:
        """``anchors [bs, n, 11]``, ``features [bs, n, E]`` to points ``[bs, n, K, 3]`` in metres."""
        size = anchors[..., None, 3:6].exp()
        scales = self.fix_scale.expand(*anchors.shape[:2], -1, -1)
        if self.num_learnable:
            learned = self.learnable_fc(features).unflatten(-1, (self.num_learnable, 3)).sigmoid() - 0.5
            scales = torch.cat([scales, learned], dim=-2)
        offset = scales * size
        # Sine and cosine are used as they are: the reference does not normalise them here.
        sin, cos = anchors[..., 6:7], anchors[..., 7:8]
        x, y, z = offset.unbind(-1)
        return torch.stack([cos * x - sin * y, sin * x + cos * y, z], dim=-1) + anchors[..., None, :3]
