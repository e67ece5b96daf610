"""Losses of the detection head, for all decoders at once (Sparse4D v3).

Every decoder is supervised the same way: focal classification of all rows, and for rows that
match an object L1 of the box, binary cross-entropy of centerness with ``exp(-|centre error|)``,
and a Gaussian focal loss of yawness with "the heading is off by less than a quarter turn". Each is
summed over rows, divided by the number of matches, and added up over the decoders.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch.nn import functional

from sparse4d_ros.boxes import COS_YAW, SIN_YAW
from sparse4d_ros.training.assignment import assign, dimension_weights
from sparse4d_ros.training.config import LossConfig, MatchingConfig
from sparse4d_ros.training.targets import BACKGROUND, IGNORED, SUPERVISED, Targets

_HEADING = slice(SIN_YAW, COS_YAW + 1)
_VELOCITY = slice(COS_YAW + 1, SUPERVISED)


class RowTargets(NamedTuple):
    """What each predicted row should say.

    D may be 1 where all decoders share the targets, and 2 where all but the first do.
    """

    #: ``[D, bs, n]`` int64 class, :data:`BACKGROUND` or :data:`IGNORED`.
    classes: torch.Tensor
    #: ``[D, bs, n, 10]`` float32, zeros where there is no object.
    boxes: torch.Tensor
    #: ``[D, bs, n, 10]`` factors of the dimensions.
    weights: torch.Tensor

    def of_decoders(self, count: int) -> RowTargets:
        """The same with an entry for each of ``count`` decoders."""
        return RowTargets(*(torch.cat([field[:1], field[-1:].expand(count - 1, *field.shape[1:])]) for field in self))


def row_targets(rows: torch.Tensor, targets: Targets, weights: torch.Tensor) -> RowTargets:
    """Spread targets over prediction rows by an assignment ``[D, bs, n]`` (-1: none)."""
    matched = rows >= 0
    index = rows.clamp(min=0)
    frame = torch.arange(rows.shape[1], device=rows.device)[None, :, None].expand_as(rows)
    boxes = torch.nan_to_num(targets.anchors[..., :SUPERVISED])[frame, index]
    return RowTargets(
        classes=torch.where(matched, targets.classes[frame, index], BACKGROUND),
        boxes=boxes * matched[..., None],
        weights=weights[frame, index] * matched[..., None],
    )


def focal_loss(logits: torch.Tensor, classes: torch.Tensor, alpha: float, gamma: float) -> torch.Tensor:
    """Sigmoid focal loss ``[..., n, K]`` for class numbers ``[..., n]`` (Lin et al., RetinaNet); 0 where ignored."""
    target = functional.one_hot(classes.clamp(min=0), logits.shape[-1]).to(logits.dtype) * (classes >= 0)[..., None]
    return binary_focal_loss(logits, target, alpha, gamma) * (classes != IGNORED)[..., None]


def binary_focal_loss(logits: torch.Tensor, target: torch.Tensor, alpha: float, gamma: float) -> torch.Tensor:
    """Element-wise sigmoid focal loss for targets 0 or 1."""
    probability = logits.sigmoid()
    miss = probability + target - 2 * probability * target
    factor = (1 - alpha) + (2 * alpha - 1) * target
    return functional.binary_cross_entropy_with_logits(logits, target, reduction="none") * factor * miss.pow(gamma)


def gaussian_focal_loss(probability: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Element-wise Gaussian focal loss (CornerNet, alpha 2 and gamma 4) for targets 0 or 1."""
    epsilon = 1e-12
    positive = -(probability + epsilon).log() * (1 - probability).pow(2) * target
    negative = -(1 - probability + epsilon).log() * probability.pow(2) * (1 - target).pow(4)
    return positive + negative


class DetectionLoss:
    """All losses of one set of rows (the queries, or the denoising copies)."""

    def __init__(self, losses: LossConfig, matching: MatchingConfig, class_names: tuple[str, ...]) -> None:
        self.config, self.matching, self.class_names = losses, matching, class_names
        self._symmetric = [class_names.index(name) for name in losses.symmetric_classes]

    def matched(self, classes: torch.Tensor, anchors: torch.Tensor, targets: Targets,
                owns: torch.Tensor | None = None) -> tuple[RowTargets, torch.Tensor]:
        """Targets of the rows by Hungarian assignment, for each decoder on its own; also the assignment itself.

        ``owns`` as in :func:`assignment.assign`, ``[bs, Nt, g]``.
        """
        weights = dimension_weights(self.config, targets, self.class_names)
        rows = assign(classes, anchors, targets, weights, self.matching, self.config, owns)
        return row_targets(rows, targets, weights), rows

    def __call__(self, classes: torch.Tensor, anchors: torch.Tensor, quality: torch.Tensor | None,
                 rows: RowTargets) -> dict[str, torch.Tensor]:
        """Weighted scalars by name, each summed over the D decoders.

        ``classes [D, bs, n, K]`` and ``quality [D, bs, n, 2]`` are logits, ``anchors [D, bs, n, 11]``. Without
        quality there are no losses of it.
        """
        config = self.config
        decoders = classes.shape[0]
        rows = rows.of_decoders(decoders) if len(rows.classes) != decoders else rows
        matched = rows.classes >= 0
        count = matched.flatten(1).sum(1).clamp(min=1).to(classes.dtype)  # per decoder
        per_decoder = (1.0 / count)[:, None, None]
        focal = focal_loss(classes, rows.classes, config.focal_alpha, config.focal_gamma).sum(-1)

        confident = classes.detach().max(-1).values.sigmoid() > config.min_class_probability
        selected = matched & confident
        share = per_decoder.expand_as(selected)[selected]
        box, wanted = anchors[selected][:, :SUPERVISED], rows.boxes[selected]
        wanted = self._turn_symmetric(box, wanted, rows.classes[selected])
        factors = rows.weights[selected] * box.new_tensor(config.dimension_weights)
        slow = functional.smooth_l1_loss(box[:, _VELOCITY], wanted[:, _VELOCITY], reduction="none",
                                         beta=config.velocity_beta)
        difference = torch.cat([(box - wanted)[:, :_VELOCITY.start].abs(), slow], dim=-1)
        distance = (difference * factors).sum(-1)

        result = {"class": config.classification * (focal * per_decoder).sum(),
                  "box": config.box * (distance * share).sum()}
        if quality is None:
            return result
        with torch.no_grad():
            centre_error = (box[:, :3] - wanted[:, :3]).norm(dim=-1)
            agrees = functional.cosine_similarity(box[:, _HEADING], wanted[:, _HEADING], dim=-1) > 0
        centerness, yawness = quality[selected].unbind(-1)
        centerness = functional.binary_cross_entropy_with_logits(centerness, (-centre_error).exp(), reduction="none")
        yawness = gaussian_focal_loss(yawness.sigmoid(), agrees.to(yawness.dtype))
        return result | {"centerness": config.centerness * (centerness * share).sum(),
                         "yawness": config.yawness * (yawness * share).sum()}

    def _turn_symmetric(self, box: torch.Tensor, wanted: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        """Targets of front-back symmetric classes, turned by half a turn where that is nearer."""
        if not self._symmetric:
            return wanted
        symmetric = torch.isin(classes, classes.new_tensor(self._symmetric))
        opposite = (box[:, _HEADING].detach() * wanted[:, _HEADING]).sum(-1) < 0
        sign = torch.where(symmetric & opposite, -1.0, 1.0)
        turned = wanted.clone()
        turned[:, _HEADING] = wanted[:, _HEADING] * sign[:, None]
        return turned
