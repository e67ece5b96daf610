"""Which prediction answers for which object: the Hungarian assignment of Sparse4D.

The cost is the focal classification cost plus a weighted L1 distance of the boxes. Costs of all
decoders and frames are computed in one batch on the device and moved to the host once; only the
assignment itself (scipy) runs problem by problem.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

from sparse4d_ros.training.config import LossConfig, MatchingConfig
from sparse4d_ros.training.targets import SUPERVISED, Targets

_IMPOSSIBLE = 1e8
_EPSILON = 1e-12


def dimension_weights(config: LossConfig, targets: Targets, class_names: tuple[str, ...]) -> torch.Tensor:
    """Factors ``[bs, g, 10]`` of the targets' box dimensions: by class, 0 where the target is NaN."""
    table = torch.ones(len(class_names), SUPERVISED, device=targets.anchors.device)
    for name, weights in config.class_dimension_weights.items():
        table[class_names.index(name)] = table.new_tensor(weights)
    known = torch.isfinite(targets.anchors[..., :SUPERVISED])
    return table[targets.classes.clamp(min=0)] * known


@torch.no_grad()
def assign(classes: torch.Tensor, anchors: torch.Tensor, targets: Targets, weights: torch.Tensor,
           matching: MatchingConfig, losses: LossConfig, owns: torch.Tensor | None = None) -> torch.Tensor:
    """Row of the matched object for every prediction, ``[D, bs, n]`` int64, -1 for none.

    ``classes [D, bs, n, K]`` are logits, ``anchors [D, bs, n, 11]`` predictions of D decoders for
    the same targets; ``weights [bs, g, 10]`` come from :func:`dimension_weights`. ``owns [bs, Nt, g]``
    marks rows that answered for an object before: from the second decoder on, where rows 0..Nt-1 are
    the bank's, they get it ``matching.continuity`` cheaper.
    """
    probability = classes.float().sigmoid()
    alpha, gamma = losses.focal_alpha, losses.focal_gamma
    negative = -(1 - probability + _EPSILON).log() * (1 - alpha) * probability.pow(gamma)
    positive = -(probability + _EPSILON).log() * alpha * (1 - probability).pow(gamma)
    label = targets.classes.clamp(min=0)[None, :, None].expand(*classes.shape[:3], -1)
    cost = matching.class_weight * (positive - negative).gather(3, label)

    # Only dimensions that count are subtracted: the reference leaves out heading and velocity.
    factors = torch.tensor(matching.dimension_weights, device=anchors.device)
    used = factors.nonzero().flatten()
    predicted = anchors.float()[..., used]
    wanted = torch.nan_to_num(targets.anchors[..., used])
    scale = matching.box_weight * (weights[..., used] * factors[used])
    for column in range(len(used)):
        distance = (predicted[..., None, column] - wanted[None, :, None, :, column]).abs()
        cost += distance * scale[None, :, None, :, column]
    if owns is not None and matching.continuity:
        cost[1:, :, :owns.shape[1]] -= matching.continuity * owns
    return _solve(cost, targets.valid).to(classes.device)


def _solve(cost: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Optimal assignment of each ``[n, g]`` slice of ``cost [D, bs, n, g]``; padding never matches."""
    table = np.nan_to_num(cost.cpu().numpy(), nan=_IMPOSSIBLE, posinf=_IMPOSSIBLE, neginf=_IMPOSSIBLE)
    objects = valid.cpu().numpy()
    rows = np.full(table.shape[:3], -1, dtype=np.int64)
    for frame in range(table.shape[1]):
        present = np.flatnonzero(objects[frame])
        if not len(present):
            continue
        for decoder in range(table.shape[0]):
            predictions, matched = linear_sum_assignment(table[decoder, frame][:, present])
            rows[decoder, frame, predictions] = present[matched]
    return torch.from_numpy(rows)
