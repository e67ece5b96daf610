"""Anchors to embeddings: four small perceptrons for position, size, yaw and velocity."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def _perceptron(in_dims: int, width: int, layers: int = 4) -> nn.Sequential:
    modules: list[nn.Module] = []
    for _ in range(layers):
        modules += [nn.Linear(in_dims, width), nn.ReLU(), nn.LayerNorm(width)]
        in_dims = width
    return nn.Sequential(*modules)


class AnchorEncoder(nn.Module):
    """Anchors ``[..., 11]`` to embeddings ``[..., E]``; raw metres go in, the parts are concatenated."""

    def __init__(self, embed_dims: int) -> None:
        super().__init__()
        self.pos_fc = _perceptron(3, embed_dims // 2)
        self.size_fc = _perceptron(3, embed_dims // 8)
        self.yaw_fc = _perceptron(2, embed_dims // 8)
        self.vel_fc = _perceptron(3, embed_dims // 4)

    def forward(self, anchors: Tensor) -> Tensor:
        return torch.cat([
            self.pos_fc(anchors[..., 0:3]),
            self.size_fc(anchors[..., 3:6]),
            self.yaw_fc(anchors[..., 6:8]),
            self.vel_fc(anchors[..., 8:11]),
        ], dim=-1)
