"""Instance denoising: noisy copies of the ground truth as extra queries (Sparse4D v3, after DN-DETR).

Each group holds one copy of every object with small noise (positive) and one with large noise
(negative). Within a group the copies are matched to the objects again, by distance, so that a
"negative" that landed nearer becomes the positive. Groups see neither each other nor the ordinary
queries, and are seen by none of them.

Some groups go on to the next frame as the bank's instances do (temporal denoising): after the first
decoder they take the place of that frame's new copies in the same group, and answer for the same
object, by its instance number.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

from sparse4d_ros.model.head import Carried, Denoising, HeadOutput
from sparse4d_ros.training.config import DenoisingConfig
from sparse4d_ros.training.losses import RowTargets, row_targets
from sparse4d_ros.training.targets import BACKGROUND, IGNORED, NOBODY, SUPERVISED, Targets


class Copies(NamedTuple):
    """Denoising rows between two frames."""

    feature: torch.Tensor    #: ``[bs, M, E]``
    anchor: torch.Tensor     #: ``[bs, M, 11]`` in their frame's coordinates
    rows: torch.Tensor       #: ``[bs, M]`` bool, those that go on
    instances: torch.Tensor  #: ``[bs, M]`` int64 instance number of the row's object, NOBODY for background

    @classmethod
    def after(cls, out: HeadOutput, made: DenoisingRows, targets: Targets, config: DenoisingConfig,
              random: np.random.Generator) -> Copies:
        """What a frame leaves for the next; ``made`` are its denoising rows."""
        first = out.anchors[-1].shape[1] - made.matched.shape[1]
        groups = np.zeros(config.groups, dtype=bool)
        groups[random.permutation(config.groups)[:config.temporal_groups]] = True
        rows = torch.from_numpy(groups).to(made.exists.device).repeat_interleave(made.exists.shape[1] // config.groups)
        number = targets.instances.gather(1, made.matched.clamp(min=0))
        return cls(out.features[:, first:].detach(), out.anchors[-1][:, first:].detach(), rows & made.exists,
                   torch.where(made.matched >= 0, number, NOBODY))


class DenoisingRows(NamedTuple):
    """Extra queries and what they should become."""

    queries: Denoising
    #: D is 1: the match is made once, on the noisy boxes, and holds for every decoder; with carried rows
    #: it is 2, the first decoder's and the others'.
    targets: RowTargets
    #: ``[bs, M]`` int64 object of each row after the last decoder, -1 for none.
    matched: torch.Tensor
    #: ``[bs, M]`` bool, False for padding.
    exists: torch.Tensor

    def to(self, device: torch.device) -> DenoisingRows:
        """The same rows on a device; new ones, so without carried rows."""
        queries = self.queries._replace(anchors=self.queries.anchors.to(device),
                                        attention_mask=self.queries.attention_mask.to(device))
        return DenoisingRows(queries, RowTargets(*(tensor.to(device) for tensor in self.targets)),
                             self.matched.to(device), self.exists.to(device))

    def with_carried(self, copies: Copies, recent: torch.Tensor, targets: Targets, weights: torch.Tensor
                     ) -> DenoisingRows:
        """The same rows with those of the last frame in their places from the second decoder on.

        ``recent [bs]`` bool: whether a batch row continues its clip. A copy whose object is gone is background.
        """
        use = copies.rows & recent[:, None]
        same = (copies.instances[:, :, None] == targets.instances[:, None]) & targets.valid[:, None]  # [bs, M, g]
        own = torch.where(same.any(2), same.int().argmax(2), -1)
        old = row_targets(own[None], targets, weights)
        later = RowTargets(*(torch.where(use[(None, ..., *[None] * (mine.dim() - 3))], other, mine)
                             for mine, other in zip(self.targets, old, strict=True)))
        return DenoisingRows(
            queries=self.queries._replace(carried=Carried(copies.feature, copies.anchor, use)),
            targets=RowTargets(*(torch.cat(pair) for pair in zip(self.targets, later, strict=True))),
            matched=torch.where(use, own, self.matched), exists=self.exists | use,
        )


def attention_mask(queries: int, groups: int, group_rows: int) -> torch.Tensor:
    """``[n, n]`` bool with n = queries + groups * group_rows; True: may not attend."""
    group = torch.cat([torch.full((queries,), -1), torch.arange(groups).repeat_interleave(group_rows)])
    return group[:, None] != group[None, :]


def make_denoising(targets: Targets, weights: torch.Tensor, queries: int, matching_weights: tuple[float, ...],
                   config: DenoisingConfig, random: np.random.Generator) -> DenoisingRows | None:
    """Groups for a batch, or None if it has no object; all on the host.

    ``weights [bs, g, 10]`` as in :func:`assignment.dimension_weights`; ``queries`` is the number of
    ordinary rows. Objects beyond ``max_objects`` are left out at random.
    """
    valid = targets.valid.numpy()
    fullest = int(valid.sum(1).max(initial=0))
    if fullest == 0 or config.groups == 0:
        return None
    # Rows that go on need the same places in every frame.
    width = config.max_objects if config.temporal_groups else min(config.max_objects, fullest)
    chosen = np.full((len(valid), width), -1)
    for frame, present in enumerate(valid):
        numbers = random.permutation(np.flatnonzero(present))[:width]
        chosen[frame, :len(numbers)] = numbers

    source = np.nan_to_num(targets.anchors.numpy())
    frame = np.arange(len(valid))[:, None]
    objects = source[frame, chosen.clip(0)]  # [bs, width, 11]
    noisy = _add_noise(objects, config, random)  # [bs, groups, 2 * width, 11]
    exists = np.broadcast_to((chosen >= 0)[:, None, None], (len(valid), config.groups, 2, width))
    exists = exists.reshape(len(valid), config.groups, 2 * width)
    noisy[~exists] = 0.0
    factors = np.asarray(matching_weights) * weights.numpy()[frame, chosen.clip(0)]
    match = _match_groups(noisy, objects, factors, chosen >= 0)  # column of `chosen`, -1 for none

    flat = (len(valid), -1)
    rows = np.where(match >= 0, chosen[np.arange(len(valid))[:, None, None], match.clip(0)], 0).reshape(flat)
    matched, exists = (match >= 0).reshape(flat), exists.reshape(flat)
    label = np.where(matched, targets.classes.numpy()[frame, rows], np.where(exists, BACKGROUND, IGNORED))
    box = source[frame, rows][..., :SUPERVISED] * matched[..., None]
    factor = weights.numpy()[frame, rows] * matched[..., None]
    return DenoisingRows(
        queries=Denoising(anchors=torch.from_numpy(noisy.reshape(len(valid), -1, noisy.shape[-1])),
                          attention_mask=attention_mask(queries, config.groups, 2 * width)),
        targets=RowTargets(*(torch.from_numpy(a)[None] for a in (label, box, factor))),
        matched=torch.from_numpy(np.where(matched, rows, -1)), exists=torch.from_numpy(exists.copy()),
    )


def _add_noise(objects: np.ndarray, config: DenoisingConfig, random: np.random.Generator) -> np.ndarray:
    """``[bs, groups, 2 * width, 11]`` float32: positive copies first, then negative ones."""
    bs, width = objects.shape[:2]
    shape = (bs, config.groups, width, SUPERVISED)
    positive = random.uniform(-1, 1, shape) * config.positive
    negative = random.uniform(config.positive, config.negative, shape) * random.choice([-1.0, 1.0], shape)
    noise = np.concatenate([positive, negative], axis=2) * np.asarray(config.noise_scale)
    copies = np.repeat(np.concatenate([objects, objects], axis=1)[:, None], config.groups, axis=1)
    copies[..., :SUPERVISED] += noise
    return copies.astype(np.float32)


def _match_groups(noisy: np.ndarray, objects: np.ndarray, factors: np.ndarray, exists: np.ndarray) -> np.ndarray:
    """Column of the matched object for each copy, ``[bs, groups, 2 * width]``, -1 for none."""
    match = np.full(noisy.shape[:3], -1)
    for frame, present in enumerate(exists):
        columns = np.flatnonzero(present)
        rows = np.concatenate([columns, columns + exists.shape[1]])
        distance = np.abs(noisy[frame][:, rows, None, :SUPERVISED] - objects[frame][None, None, columns, :SUPERVISED])
        cost = (distance * factors[frame][columns]).sum(-1)
        for group in range(len(cost)):
            copy, column = linear_sum_assignment(cost[group])
            match[frame, group, rows[copy]] = columns[column]
    return match
