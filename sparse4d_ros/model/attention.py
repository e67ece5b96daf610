"""Decoupled attention: feature and position stay apart, side by side, in queries of twice the width.

Sparse4D v3, section "decoupled attention". The projections ``fc_before`` and ``fc_after`` are
shared by all layers of the head, hence they live there and come in as arguments' results.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class MultiheadAttention(nn.Module):
    """Scaled dot-product attention over ``num_heads`` heads with a shortcut around it.

    Parameters are named and shaped as in ``torch.nn.MultiheadAttention`` (rows of ``in_proj_weight``: q, k, v).
    """

    def __init__(self, width: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.dropout = dropout
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, allowed: Tensor | None = None,
                shortcut: Tensor | None = None) -> Tensor:
        """``query [bs, n, W]``, ``key`` and ``value [bs, m, W]`` to ``[bs, n, W]``.

        ``allowed`` is bool and broadcasts to ``[bs, heads, n, m]``; True where a query may look at a key.
        ``shortcut [bs, n, W]`` is what the result is added to, None for the query itself.
        """
        weights = self.in_proj_weight.chunk(3)
        biases = self.in_proj_bias.chunk(3)
        q, k, v = (
            F.linear(x, weight, bias).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for x, weight, bias in zip((query, key, value), weights, biases, strict=True)
        )
        dropout = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=allowed, dropout_p=dropout)
        mixed = F.dropout(self.out_proj(mixed.transpose(1, 2).flatten(2)), dropout)
        return (query if shortcut is None else shortcut) + mixed


class History:
    """What temporal attention looks at, prepared once per frame for one graph with and without history.

    With history the keys are the cached instances. Without it (a sample's first frame) the reference
    does not skip the layer: the queries attend to themselves, with the shortcut, not ``fc_before`` of
    the feature, as value. Both have the same padded key count here, so that a batch can mix them
    and an exported graph needs no branch.
    """

    def __init__(self, has_history: Tensor, num_queries: int, num_temporal: int, self_allowed: Tensor | None) -> None:
        self.has_history = has_history[:, None, None]
        self.padding = num_queries - num_temporal
        columns = torch.arange(num_queries, device=has_history.device)
        cached = (columns < num_temporal)[None, None, :]
        without = self_allowed[None] if self_allowed is not None else torch.ones_like(cached)
        # Logic instead of torch.where: onnxruntime selects no booleans.
        self.allowed = ((self.has_history & cached) | (~self.has_history & without))[:, None]

    def select(self, cached: Tensor, query: Tensor) -> Tensor:
        """Rows of ``cached [bs, Nt, W]`` where a sample has history, else ``query [bs, n, W]``."""
        return torch.where(self.has_history, F.pad(cached, (0, 0, 0, self.padding)), query)
