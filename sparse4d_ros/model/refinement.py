"""Refinement: a decoder's last step, giving the new anchor, the class and the two qualities."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Scale(nn.Module):
    """A learnable factor per column."""

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(columns))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


def _classifier(embed_dims: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(embed_dims, embed_dims), nn.ReLU(), nn.LayerNorm(embed_dims),
        nn.Linear(embed_dims, embed_dims), nn.ReLU(), nn.LayerNorm(embed_dims),
        nn.Linear(embed_dims, outputs),
    )


class Refinement(nn.Module):
    """Box deltas from feature and position, classes from the feature alone, qualities from both."""

    def __init__(self, embed_dims: int, num_classes: int, quality: bool = True) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(embed_dims, embed_dims), nn.ReLU(), nn.Linear(embed_dims, embed_dims), nn.ReLU(),
            nn.LayerNorm(embed_dims),
            nn.Linear(embed_dims, embed_dims), nn.ReLU(), nn.Linear(embed_dims, embed_dims), nn.ReLU(),
            nn.LayerNorm(embed_dims),
            nn.Linear(embed_dims, 11), Scale(11),
        )
        self.cls_layers = _classifier(embed_dims, num_classes)
        self.quality_layers = _classifier(embed_dims, 2) if quality else None
        # A rare-positive prior of 1 % keeps the first focal losses small (Lin et al. 2017).
        nn.init.constant_(self.cls_layers[-1].bias, -4.595)

    def forward(
        self, features: Tensor, anchors: Tensor, embedding: Tensor, interval: Tensor, score: bool,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """New anchors ``[bs, n, 11]``, class logits ``[bs, n, classes]`` and quality logits ``[bs, n, 2]``.

        ``interval [bs]`` in seconds turns the velocity's delta, a displacement over the interval,
        into metres per second. Without ``score`` classes and qualities are None (nobody reads
        those of the middle decoders at inference); qualities also in a model without them.
        """
        both = features + embedding
        delta = self.layers(both)
        refined = torch.cat([
            delta[..., :8] + anchors[..., :8],
            delta[..., 8:] / interval[:, None, None] + anchors[..., 8:],
        ], dim=-1)
        if not score:
            return refined, None, None
        quality = None if self.quality_layers is None else self.quality_layers(both)
        return refined, self.cls_layers(features), quality
