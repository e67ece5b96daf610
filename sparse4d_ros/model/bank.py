"""The temporal instance bank as an explicit state: what one frame leaves for the next.

Sparse4D v3 keeps the best instances of a frame, moves their anchors to the next frame by ego pose
and velocity, and lets them lead the queries there. Here the bank is a value that goes in and comes
out; nothing hides in the module. Identity (ids, ages) is book-keeping over ``kept_rows`` and lives
in the engine.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from sparse4d_ros.model.config import ModelConfig


class Bank(NamedTuple):
    """State between frames; every tensor has a fixed shape."""

    feature: Tensor      #: ``[bs, Nt, E]``
    anchor: Tensor       #: ``[bs, Nt, 11]`` in the previous frame's coordinates
    confidence: Tensor   #: ``[bs, Nt]`` decayed, descending
    has_history: Tensor  #: ``[bs]`` bool

    @classmethod
    def empty(cls, config: ModelConfig, batch_size: int, device: torch.device | str = "cpu") -> Bank:
        """A bank before its first frame."""
        return cls(
            torch.zeros(batch_size, config.num_temporal, config.embed_dims, device=device),
            torch.zeros(batch_size, config.num_temporal, 11, device=device),
            torch.zeros(batch_size, config.num_temporal, device=device),
            torch.zeros(batch_size, dtype=torch.bool, device=device),
        )

    def detach(self) -> Bank:
        """The same state cut from the graph that made it."""
        return Bank(*(x.detach() for x in self))


def project_anchors(anchors: Tensor, now_from_previous: Tensor, dt: Tensor, swap_yaw: bool) -> Tensor:
    """Anchors ``[bs, n, 11]`` of the previous frame in the current one.

    ``now_from_previous [bs, 4, 4]`` is the rigid motion between the two model frames, ``dt [bs]``
    the seconds between them. Centres move with their velocity first (in the old frame, all three
    components), then everything is rotated. ``swap_yaw`` reproduces the reference, which writes the
    new cosine to the sine's column and the other way round (spec section 11.1).
    """
    rotation = now_from_previous[:, :3, :3]
    centre = anchors[..., :3] + anchors[..., 8:11] * dt[:, None, None]
    centre = centre @ rotation.mT + now_from_previous[:, None, :3, 3]
    cos_sin = anchors[..., [7, 6]] @ rotation[:, :2, :2].mT
    yaw = cos_sin if swap_yaw else cos_sin.flip(-1)
    velocity = anchors[..., 8:11] @ rotation.mT
    return torch.cat([centre, anchors[..., 3:6], yaw, velocity], dim=-1)


def intervals(dt: Tensor, has_history: Tensor, config: ModelConfig) -> tuple[Tensor, Tensor]:
    """Whether the history is recent ``[bs]`` bool, and the interval ``[bs]`` for the velocity refinement.

    ``|dt| <= max_interval_s`` is history, the limit included; a dt of zero gives the default interval.
    """
    recent = has_history & (dt.abs() <= config.max_interval_s)
    default = torch.full_like(dt, config.default_interval_s)
    return recent, torch.where(recent & (dt != 0), dt, default)


def merge_history(
    features: Tensor, anchors: Tensor, classes: Tensor,
    cached_features: Tensor, cached_anchors: Tensor, recent: Tensor,
) -> tuple[Tensor, Tensor]:
    """Queries after the first decoder: cached instances first, then its best new ones.

    ``features [bs, N, E]``, ``anchors [bs, N, 11]`` and class logits ``[bs, N, classes]`` of the
    first decoder; samples whose history is not ``recent`` keep their rows.
    """
    num_new = features.shape[1] - cached_features.shape[1]
    rows = torch.topk(classes.amax(-1), num_new, dim=1).indices[..., None]
    merged_features = torch.cat([cached_features, features.gather(1, rows.expand(-1, -1, features.shape[-1]))], dim=1)
    merged_anchors = torch.cat([cached_anchors, anchors.gather(1, rows.expand(-1, -1, anchors.shape[-1]))], dim=1)
    use = recent[:, None, None]
    return torch.where(use, merged_features, features), torch.where(use, merged_anchors, anchors)


def store(
    features: Tensor, anchors: Tensor, classes: Tensor, bank: Bank, decay: float,
) -> tuple[Bank, Tensor, Tensor]:
    """The bank after a frame, the rows kept ``[bs, Nt]`` and all rows' confidences ``[bs, N]``.

    The confidence of a row that came out of the bank does not fall below its decayed old one.
    """
    num_temporal = bank.feature.shape[1]
    confidence = classes.amax(-1).sigmoid()
    decayed = torch.maximum(confidence[:, :num_temporal], decay * bank.confidence)
    carried = torch.where(bank.has_history[:, None], decayed, confidence[:, :num_temporal])
    confidence = torch.cat([carried, confidence[:, num_temporal:]], dim=1)
    best, rows = torch.topk(confidence, num_temporal, dim=1)
    index = rows[..., None]
    stored = Bank(
        features.gather(1, index.expand(-1, -1, features.shape[-1])),
        anchors.gather(1, index.expand(-1, -1, anchors.shape[-1])),
        best,
        torch.ones_like(bank.has_history),
    )
    return stored, rows, confidence
