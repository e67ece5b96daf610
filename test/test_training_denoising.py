"""Temporal denoising: copies that go on to the next frame answer for the same objects there."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from sparse4d_ros.boxes import NUSCENES_CLASSES  # noqa: E402
from sparse4d_ros.model.bank import Bank  # noqa: E402
from sparse4d_ros.model.config import BackboneConfig, ModelConfig  # noqa: E402
from sparse4d_ros.model.head import Carried, Denoising, Sparse4DHead  # noqa: E402
from sparse4d_ros.training.assignment import dimension_weights  # noqa: E402
from sparse4d_ros.training.config import DenoisingConfig, LossConfig, MatchingConfig  # noqa: E402
from sparse4d_ros.training.denoising import Copies, make_denoising  # noqa: E402
from sparse4d_ros.training.targets import BACKGROUND, IGNORED, NOBODY, collate_targets  # noqa: E402

MODEL = ModelConfig(num_anchors=6, num_temporal=4, embed_dims=16, num_groups=2, num_decoders=3, strides=(4, 8),
                    num_learnable_points=1, dropout=0.0, sampling_dropout=0.0,
                    backbone=BackboneConfig(depth=0, stem_width=8, widths=(8, 16), blocks=(1, 1)))
CONFIG = DenoisingConfig(groups=3, temporal_groups=2, max_objects=2)


def targets_of(*instances):
    """One frame; instance i is a box of class i that stands at x = 10 i."""
    boxes = np.array([[10.0 * i, 2, 1, 4, 2, 1.5, 0, 0, 0, 0] for i in instances]).reshape(-1, 10)
    return collate_targets([boxes], [np.array(instances, np.int64)], [np.array(instances, np.int64)])


def made(targets, random=None):
    weights = dimension_weights(LossConfig(), targets, NUSCENES_CLASSES)
    return make_denoising(targets, weights, MODEL.num_anchors, MatchingConfig().dimension_weights, CONFIG,
                          random or np.random.default_rng(0)), weights


def head_output(denoising, bank=None, motion=None, refine=True):
    torch.manual_seed(0)
    head = Sparse4DHead(MODEL).eval()
    maps = [torch.randn(1, 2, 16, 8, 8), torch.randn(1, 2, 16, 4, 4)]
    projection = torch.eye(4).expand(1, 2, 4, 4)
    bank = bank or Bank.empty(MODEL, 1)
    with torch.no_grad():
        for decoder in head.decoders:
            decoder.refinement.layers[-1].scale.mul_(float(refine))
        return head(maps, projection, torch.full((1, 2, 2), 32.0), None, bank, torch.tensor([0.5]),
                    torch.eye(4)[None] if motion is None else motion, denoising)


def copies_of(instances, rows):
    count = len(instances)
    anchor = torch.zeros(1, count, 11)
    anchor[..., 0] = torch.arange(count)
    return Copies(torch.ones(1, count, 16), anchor, torch.tensor([rows]), torch.tensor([instances]))


def test_copies_remember_whose_they_are():
    targets = targets_of(3, 5)
    rows, _ = made(targets)
    out = head_output(rows.queries)
    copies = Copies.after(out, rows, targets, CONFIG, np.random.default_rng(0))
    assert copies.feature.shape == (1, 12, 16) and copies.anchor.shape == (1, 12, 11)
    groups = copies.rows.view(3, 4)
    assert groups.all(1).sum() == 2 and (groups.any(1) == groups.all(1)).all()  # whole groups, two of three
    for group in copies.instances.view(3, 4):
        assert sorted(group.tolist()) == [NOBODY, NOBODY, 3, 5]
    classes = rows.targets.classes[0, 0]
    assert torch.equal(torch.where(classes == BACKGROUND, NOBODY, classes), copies.instances[0])


def test_carried_copies_answer_for_the_same_object_or_none():
    targets = targets_of(7, 5)  # 3 is gone, 7 is new
    rows, weights = made(targets)
    carried = rows.with_carried(copies_of([3, 5, NOBODY, 5] * 3, [True] * 4 + [False] * 8), torch.tensor([True]),
                                targets, weights)
    first, later = carried.targets.classes[:, 0]
    assert torch.equal(first, rows.targets.classes[0, 0])
    assert later[:4].tolist() == [BACKGROUND, 5, BACKGROUND, 5]
    assert carried.targets.boxes[1, 0, 1, 0] == 50.0 and (carried.targets.boxes[1, 0, 0] == 0).all()
    assert torch.equal(later[4:], first[4:])
    assert carried.matched[0, :4].tolist() == [-1, 1, -1, 1]
    assert carried.targets.of_decoders(4).classes[:, 0, 1].tolist() == [first[1], 5, 5, 5]


def test_nothing_is_carried_into_a_new_clip():
    targets = targets_of(7, 5)
    rows, weights = made(targets)
    carried = rows.with_carried(copies_of([3, 5, NOBODY, 5] * 3, [True] * 12), torch.tensor([False]), targets, weights)
    assert torch.equal(carried.targets.classes[1], rows.targets.classes[0])
    assert torch.equal(carried.matched, rows.matched) and not carried.queries.carried.rows.any()


def test_padding_of_a_frame_may_hold_copies_of_the_last():
    targets = targets_of(5)
    rows, weights = made(targets)
    assert (rows.targets.classes[0, 0] == IGNORED).sum() == 6
    carried = rows.with_carried(copies_of([5, 3, 5, 3] * 3, [True] * 12), torch.tensor([True]), targets, weights)
    assert carried.targets.classes[1, 0].tolist() == [5, BACKGROUND] * 6 and carried.exists.all()


def test_the_head_moves_carried_copies_as_it_moves_instances():
    targets = targets_of(3, 5)
    rows, _ = made(targets)
    bank = Bank.empty(MODEL, 1)._replace(has_history=torch.ones(1, dtype=torch.bool))
    anchor = torch.zeros(1, 12, 11)
    anchor[..., :3], anchor[..., 7], anchor[..., 8] = torch.tensor([4.0, 1.0, 0.5]), 1.0, 2.0
    motion = torch.eye(4)[None].clone()
    motion[0, 0, 3] = -1.5
    use = torch.tensor([[True] * 4 + [False] * 8])
    queries = Denoising(rows.queries.anchors, rows.queries.attention_mask, Carried(torch.randn(1, 12, 16), anchor, use))
    plain, out = head_output(rows.queries, bank, motion), head_output(queries, bank, motion)
    # The ordinary queries see none of it, the first decoder neither.
    assert torch.equal(plain.anchors[-1][:, :6], out.anchors[-1][:, :6])
    assert torch.equal(plain.anchors[0], out.anchors[0])
    assert torch.equal(plain.anchors[1][:, 10:], out.anchors[1][:, 10:])
    # Where refinements are taken out, they stand where they are now: 1 m on at 2 m/s, the vehicle 1.5 m nearer.
    still = head_output(queries, bank, motion, refine=False).anchors[-1][0, 6:]
    assert still[:4, :3].tolist() == [[3.5, 1.0, 0.5]] * 4
    assert torch.equal(still[4:], rows.queries.anchors[0, 4:])
