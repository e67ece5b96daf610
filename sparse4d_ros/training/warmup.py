"""Decoders before attention: many noisy boxes per frame, each to be moved onto its object (ours).

To move a box, a decoder must turn "the centre is so many pixels to the left and so much farther"
into metres in the vehicle's frame. A few hundred queries of which one per object learns teach that
slowly. Here the first two decoders, chained without attention, see hundreds of boxes around objects
in every frame, and all that are near one learn.

They begin with objects before the vehicle. How "to the right" turns into metres of x and y depends
on the direction: over all directions the mean of what should be done is zero, and so is the first
gradient. Before the vehicle it is not; from there the sector widens, and the answer turns with it.

Afterwards the second one's weights start all later
decoders, and attention starts as an identity, so that the joint training begins with a chain that
refines.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from sparse4d_ros.model.aggregation import Features
from sparse4d_ros.model.head import Sparse4DHead
from sparse4d_ros.training.losses import RowTargets, row_targets
from sparse4d_ros.training.streams import Batch
from sparse4d_ros.training.targets import IGNORED, Targets

#: Boxes per frame.
_QUERIES = 400
#: Share of the boxes that are learned anchors, the rest lie around objects.
_ANCHOR_SHARE = 0.2
#: Distances in metres on the ground within which a box belongs to its nearest object, and beyond which to none.
_NEAR_M, _FAR_M = 3.0, 4.5
#: Half the sector at first, radians, and the shares of the phase at which it begins to widen and is the whole circle.
_FIRST_ANGLE, _WIDEN_FROM, _WIDEN_TO = 0.5, 0.15, 0.65
_PARTS = ("deformable", "feed_forward", "norm", "refinement")


def sector(progress: float) -> float:
    """Half the angle of the sector before the vehicle that is trained on, at a share of the phase in 0..1."""
    widened = min(max((progress - _WIDEN_FROM) / (_WIDEN_TO - _WIDEN_FROM), 0.0), 1.0)
    return _FIRST_ANGLE + widened * (math.pi - _FIRST_ANGLE)


def within(positions: Tensor, half_angle: float) -> Tensor:
    """Which of ``positions [..., >=2]`` lie in the sector."""
    return torch.atan2(positions[..., 1], positions[..., 0]).abs() <= half_angle


def queries(targets: Targets, chosen: Tensor, anchors: Tensor, random: np.random.Generator) -> Tensor:
    """Boxes ``[bs, n, 11]``: half like first anchors (mean size, heading along x, at rest), half like refined ones.

    They lie around the objects of the mask ``chosen [bs, g]``; ``anchors [N, 11]`` are the model's.
    """
    out = []
    for objects, valid in zip(targets.anchors, chosen, strict=True):
        own = anchors[torch.from_numpy(random.integers(len(anchors), size=_QUERIES))].clone()
        around = int(_QUERIES * (1 - _ANCHOR_SHARE)) if valid.any() else 0
        centre = torch.nan_to_num(objects[valid])
        if around:
            centre = centre[torch.from_numpy(random.integers(len(centre), size=around))]

            def noise(scale: float, columns: int, count: int = around, like: Tensor = centre) -> Tensor:
                return torch.from_numpy(random.uniform(-scale, scale, (count, columns))).to(like)

            wide = torch.from_numpy(random.random(around) < 0.5).to(centre.device)[:, None]
            own[:around, :2] = centre[:, :2] + torch.where(wide, noise(3.5, 2), noise(1.0, 2))
            own[:around, 2:3] = centre[:, 2:3] + noise(0.7, 1)
            refined = torch.cat([centre[:, 3:6] + noise(0.3, 3), centre[:, 6:8] + noise(0.3, 2),
                                 centre[:, 8:] + noise(0.5, 3)], dim=1)
            own[:around, 3:] = torch.where(wide, own[:around, 3:], refined)
        own[around:, :2] += torch.from_numpy(random.uniform(-3.0, 3.0, (_QUERIES - around, 2))).to(own)
        out.append(own)
    return torch.stack(out)


def nearest_targets(boxes: Tensor, targets: Targets, weights: Tensor, half_angle: float = math.pi) -> RowTargets:
    """Each box's nearest object on the ground, where it is near; D is 1. Boxes outside the sector are ignored."""
    distance = torch.cdist(boxes[..., :2], torch.nan_to_num(targets.anchors[..., :2]))
    distance = distance.masked_fill(~targets.valid[:, None], torch.inf)
    nearest, row = distance.min(dim=2)
    found = row_targets(torch.where(nearest < _NEAR_M, row, -1)[None], targets, weights)
    unclear = ((nearest >= _NEAR_M) & (nearest < _FAR_M)) | ~within(boxes, half_angle)
    return found._replace(classes=torch.where(unclear[None], IGNORED, found.classes))


def decode(head: Sparse4DHead, maps: list[Tensor], batch: Batch, boxes: Tensor
           ) -> tuple[Tensor, Tensor, Tensor | None]:
    """Classes, anchors and quality ``[2, bs, n, ...]`` of the first two decoders, chained without attention.

    Quality is None in a model that does not estimate it.
    """
    features = Features.of(maps, head.reading)
    x = boxes.new_zeros(*boxes.shape[:2], head.config.embed_dims)
    interval = torch.full_like(batch.dt, head.config.default_interval_s)
    found = []
    for decoder in head.decoders[:2]:
        embedding = head.anchor_encoder(boxes)
        x = decoder.deformable(x, boxes, embedding, features, batch.projection, batch.image_wh, batch.camera_valid)
        x = decoder.norm(decoder.feed_forward(x))
        boxes, classes, quality = decoder.refinement(x, boxes, embedding, interval, True)
        found.append((classes, boxes, quality))
    classes, anchors, quality = (
        None if values[0] is None else torch.stack(values) for values in zip(*found, strict=True))
    return classes, anchors, quality


@torch.no_grad()
def finish(head: Sparse4DHead) -> None:
    """Start the later decoders from the second one, and attention as an identity."""
    for decoder in head.decoders[2:]:
        for part in _PARTS:
            getattr(decoder, part).load_state_dict(getattr(head.decoders[1], part).state_dict())
    for decoder in head.decoders[1:]:
        for attention in (decoder.temporal_attention, decoder.self_attention):
            attention.out_proj.weight.mul_(0.1)
    if head.config.decoupled_attention:
        dims = head.config.embed_dims
        head.fc_after.weight.mul_(0.1)
        head.fc_after.weight[:, :dims] += torch.eye(dims, device=head.fc_after.weight.device)
