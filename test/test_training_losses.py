"""Losses, assignment and denoising on cases small enough to work out by hand."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from sparse4d_ros.boxes import NUSCENES_CLASSES  # noqa: E402
from sparse4d_ros.training.assignment import assign, dimension_weights  # noqa: E402
from sparse4d_ros.training.auxiliary import SemanticHead, depth_loss  # noqa: E402
from sparse4d_ros.training.config import DenoisingConfig, LossConfig, MatchingConfig  # noqa: E402
from sparse4d_ros.training.denoising import attention_mask, make_denoising  # noqa: E402
from sparse4d_ros.training.losses import DetectionLoss, RowTargets, focal_loss, gaussian_focal_loss  # noqa: E402
from sparse4d_ros.training.targets import BACKGROUND, IGNORED, collate_targets  # noqa: E402

BARRIER, PEDESTRIAN, CONE = (NUSCENES_CLASSES.index(n) for n in ("barrier", "pedestrian", "traffic_cone"))
BOX = np.array([10.0, 2.0, 1.0, 4.0, 2.0, 1.5, 0.3, 3.0, 1.0, 0.0])


def targets_of(*frames):
    """Targets of frames, each a list of (class, box)."""
    return collate_targets([np.array([b for _, b in f]).reshape(-1, 10) for f in frames],
                           [np.array([c for c, _ in f], dtype=np.int64) for f in frames],
                           [np.arange(len(f)) for f in frames])


def detection_loss(**changes):
    return DetectionLoss(LossConfig(**changes), MatchingConfig(), NUSCENES_CLASSES)


def rows_of(classes, boxes, weights=None):
    boxes = torch.as_tensor(boxes, dtype=torch.float32)[None, None]
    weights = torch.ones_like(boxes) if weights is None else weights
    return RowTargets(torch.tensor(classes)[None, None], boxes, weights)


def test_focal_loss_is_the_formula():
    logits = torch.tensor([[0.4, -1.3]])
    p = logits.sigmoid()[0]
    value = focal_loss(logits, torch.tensor([0]), 0.25, 2.0)[0]
    assert value[0].item() == pytest.approx(-0.25 * (1 - p[0]).item() ** 2 * math.log(p[0]), rel=1e-5)
    assert value[1].item() == pytest.approx(-0.75 * p[1].item() ** 2 * math.log(1 - p[1]), rel=1e-5)


def test_focal_loss_of_background_and_padding():
    logits = torch.zeros(2, 3)
    value = focal_loss(logits, torch.tensor([BACKGROUND, IGNORED]), 0.25, 2.0)
    assert value[0].numpy() == pytest.approx(np.full(3, 0.75 * 0.25 * math.log(2)), rel=1e-5)
    assert (value[1] == 0).all()


def test_gaussian_focal_loss():
    p = torch.tensor([0.8, 0.8])
    value = gaussian_focal_loss(p, torch.tensor([1.0, 0.0]))
    assert value[0].item() == pytest.approx(-math.log(0.8) * 0.2 ** 2, rel=1e-4)
    assert value[1].item() == pytest.approx(-math.log(0.2) * 0.8 ** 2, rel=1e-4)


def test_box_and_quality_losses_of_one_match():
    anchors = torch.zeros(1, 1, 2, 11)
    anchors[..., 7] = 1.0  # heading along x
    classes = torch.full((1, 1, 2, 10), -2.0)
    classes[0, 0, 0, 0] = 1.0
    wanted = np.zeros((2, 10))
    wanted[0] = [0.3, 0.4, 0.0, 0.1, 0, 0, 0.0, 1.0, 2.0, 0.0]
    values = detection_loss()(classes, anchors, torch.zeros(1, 1, 2, 2), rows_of([0, BACKGROUND], wanted))
    assert values["box"].item() == pytest.approx(0.25 * (2 * 0.3 + 2 * 0.4 + 0.1 + 2.0), rel=1e-5)
    # Centre error 0.5 m; logit 0 costs log 2 whatever the target; the heading agrees.
    assert values["centerness"].item() == pytest.approx(math.log(2), rel=1e-5)
    assert values["yawness"].item() == pytest.approx(math.log(2) * 0.25, rel=1e-4)


@pytest.mark.parametrize(("beta", "best"), [(0.0, 0.0), (4.0, 1.25)])
def test_who_cannot_tell_what_moves_says_rest_by_least_absolute_error_and_the_mean_by_smooth(beta, best):
    """Three cars at rest and one at 5 m/s."""
    wanted = np.zeros((4, 10))
    wanted[:, 7] = 1.0
    wanted[3, 8] = 5.0
    costs = {}
    for speed in np.arange(0.0, 5.1, 0.25):
        anchors = torch.zeros(1, 1, 4, 11)
        anchors[..., 7], anchors[..., 8] = 1.0, float(speed)
        values = detection_loss(velocity_beta=beta)(torch.ones(1, 1, 4, 10), anchors, None, rows_of([0] * 4, wanted))
        costs[float(speed)] = values["box"].item()
    assert min(costs, key=costs.get) == best


def test_centerness_has_its_minimum_at_the_exponential_of_the_centre_error():
    anchors = torch.zeros(1, 1, 1, 11)
    wanted = np.zeros((1, 10))
    wanted[0, :2] = 0.6, 0.8
    quality = torch.zeros(1, 1, 1, 2)
    quality[..., 0] = torch.logit(torch.tensor(math.exp(-1.0)))
    quality.requires_grad_()
    detection_loss()(torch.ones(1, 1, 1, 10), anchors, quality, rows_of([0], wanted))["centerness"].backward()
    assert quality.grad[0, 0, 0, 0].item() == pytest.approx(0.0, abs=1e-6)


def test_unlikely_matches_and_background_enter_no_box_loss():
    classes = torch.full((1, 1, 2, 10), -5.0)  # probability 0.7 %
    values = detection_loss()(classes, torch.zeros(1, 1, 2, 11), torch.zeros(1, 1, 2, 2),
                              rows_of([0, BACKGROUND], np.ones((2, 10))))
    assert values["box"].item() == values["centerness"].item() == values["yawness"].item() == 0.0
    assert values["class"].item() > 0


def test_decoders_add_up_each_over_its_own_matches():
    torch.manual_seed(0)
    classes, anchors, quality = torch.randn(2, 1, 3, 10), torch.randn(2, 1, 3, 11), torch.randn(2, 1, 3, 2)
    first, second = rows_of([0, 1, BACKGROUND], np.ones((3, 10))), rows_of([BACKGROUND] * 2 + [2], np.ones((3, 10)))
    both = RowTargets(*(torch.cat(pair) for pair in zip(first, second, strict=True)))
    loss = detection_loss()
    whole = loss(classes, anchors, quality, both)
    parts = [loss(classes[d:d + 1], anchors[d:d + 1], quality[d:d + 1], rows) for d, rows in enumerate((first, second))]
    for name, value in whole.items():
        assert value.item() == pytest.approx(sum(part[name].item() for part in parts), rel=1e-5)


def test_barriers_may_point_backwards_and_cars_may_not():
    anchors = torch.zeros(1, 1, 1, 11)
    anchors[..., 7] = -1.0
    wanted = np.zeros((1, 10))
    wanted[0, 7] = 1.0
    arguments = torch.ones(1, 1, 1, 10), anchors, torch.zeros(1, 1, 1, 2)
    assert detection_loss()(*arguments, rows_of([BARRIER], wanted))["box"].item() == pytest.approx(0.0)
    assert detection_loss()(*arguments, rows_of([0], wanted))["box"].item() == pytest.approx(0.25 * 2.0)


def test_unknown_values_weigh_nothing():
    box = BOX.copy()
    box[7:9] = np.nan
    weights = dimension_weights(LossConfig(), targets_of([(0, box), (CONE, BOX)]), NUSCENES_CLASSES)
    assert weights[0, 0].tolist() == [1] * 8 + [0, 0]
    assert weights[0, 1].tolist() == [2, 2, 2, 1, 1, 1, 0, 0, 1, 1]


def test_assignment_is_the_cheapest_of_all():
    torch.manual_seed(1)
    random = np.random.default_rng(1)
    boxes = [(int(random.integers(10)), BOX + random.uniform(-3, 3) * np.eye(10)[i % 2]) for i in range(3)]
    targets = targets_of(boxes, boxes[:1], [])
    classes, anchors = torch.randn(2, 3, 5, 10), torch.zeros(2, 3, 5, 11)
    anchors[..., :3] = torch.tensor([10.0, 2.0, 1.0]) + 2 * torch.randn(2, 3, 5, 3)
    losses, matching = LossConfig(), MatchingConfig()
    weights = dimension_weights(losses, targets, NUSCENES_CLASSES)
    rows = assign(classes, anchors, targets, weights, matching, losses)

    def cost(decoder, prediction, number):
        p = classes[decoder, 0, prediction, targets.classes[0, number]].sigmoid().item()
        focal = -0.25 * (1 - p) ** 2 * math.log(p) + 0.75 * p ** 2 * math.log(1 - p)
        difference = (anchors[decoder, 0, prediction] - targets.anchors[0, number]).abs()[:10]
        factors = torch.tensor(matching.dimension_weights) * weights[0, number]
        return 2.0 * focal + 0.25 * (difference * factors).sum().item()

    for decoder in range(2):
        best = min(itertools.permutations(range(5), 3), key=lambda p: sum(cost(decoder, p[g], g) for g in range(3)))
        assert [rows[decoder, 0].tolist().index(g) for g in range(3)] == list(best)
        assert sorted(rows[decoder, 0].tolist()) == [-1, -1, 0, 1, 2]
        assert sorted(rows[decoder, 1].tolist()) == [-1, -1, -1, -1, 0]
        assert rows[decoder, 2].tolist() == [-1] * 5


def test_assignment_survives_predictions_that_are_not_finite():
    targets = targets_of([(0, BOX)])
    anchors = torch.zeros(1, 1, 2, 11)
    anchors[0, 0, 0] = float("nan")
    losses = LossConfig()
    weights = dimension_weights(losses, targets, NUSCENES_CLASSES)
    rows = assign(torch.zeros(1, 1, 2, 10), anchors, targets, weights, MatchingConfig(), losses)
    assert rows.tolist() == [[[-1, 0]]]


def test_matched_targets_carry_the_object():
    targets = targets_of([(PEDESTRIAN, BOX)])
    anchors = torch.zeros(1, 1, 2, 11)
    anchors[0, 0, 1] = targets.anchors[0, 0]
    rows, assigned = detection_loss().matched(torch.zeros(1, 1, 2, 10), anchors, targets)
    assert assigned.tolist() == [[[-1, 0]]]
    assert rows.classes.tolist() == [[[BACKGROUND, PEDESTRIAN]]]
    assert torch.equal(rows.boxes[0, 0, 1], targets.anchors[0, 0, :10])
    assert (rows.boxes[0, 0, 0] == 0).all() and (rows.weights[0, 0, 0] == 0).all()


def test_attention_mask_keeps_groups_apart():
    mask = attention_mask(queries=3, groups=2, group_rows=2)
    expected = np.ones((7, 7), bool)
    for block in (slice(0, 3), slice(3, 5), slice(5, 7)):
        expected[block, block] = False
    assert np.array_equal(mask.numpy(), expected)


def denoise(targets, **changes):
    config = DenoisingConfig(**changes)
    weights = dimension_weights(LossConfig(), targets, NUSCENES_CLASSES)
    return make_denoising(targets, weights, 4, MatchingConfig().dimension_weights, config, np.random.default_rng(0))


def test_denoising_rows_know_their_objects():
    far = BOX + np.eye(10)[0] * 30
    targets = targets_of([(0, BOX), (PEDESTRIAN, far)], [(CONE, BOX)])
    rows = denoise(targets, groups=3, temporal_groups=0)
    assert rows.queries.anchors.shape == (2, 3 * 2 * 2, 11)
    assert rows.queries.attention_mask.shape == (4 + 12, 4 + 12)
    classes = rows.targets.classes[0].view(2, 3, 4)
    for group in range(3):
        assert sorted(classes[0, group].tolist()) == [BACKGROUND, BACKGROUND, 0, PEDESTRIAN]
        assert sorted(classes[1, group].tolist()) == [IGNORED, IGNORED, BACKGROUND, CONE]
    noise = rows.queries.anchors[0, :, :10] - rows.targets.boxes[0, 0]
    scale = torch.tensor(DenoisingConfig().noise_scale)
    matched = rows.targets.classes[0, 0] >= 0
    assert (noise[matched].abs() <= 2 * scale + 1e-5).all()
    assert noise[matched].abs().max() > 0


def test_denoising_limits_objects_and_needs_some():
    many = targets_of([(0, BOX + i * np.eye(10)[0]) for i in range(9)])
    assert denoise(many, groups=2, max_objects=4).queries.anchors.shape[1] == 2 * 2 * 4
    few = targets_of([(0, BOX)])
    assert denoise(few, groups=2, max_objects=4, temporal_groups=0).queries.anchors.shape[1] == 2 * 2 * 1
    assert denoise(few, groups=2, max_objects=4).queries.anchors.shape[1] == 2 * 2 * 4  # places must not move
    assert denoise(targets_of([])) is None
    assert denoise(many, groups=0) is None


def test_depth_loss_counts_only_near_cells():
    depth = torch.tensor([[[[10.0, float("inf")], [70.0, 20.0]]]])
    predicted = torch.tensor([[[[12.0, 5.0], [5.0, 21.0]]]])
    assert depth_loss([predicted], depth, 60.0).item() == pytest.approx((2.0 + 1.0) / 2)


def test_semantic_head_sees_a_small_object_on_a_coarse_level():
    semantics = torch.full((1, 1, 8, 8), 255, dtype=torch.uint8)
    semantics[0, 0, 5, 6] = 2
    head = SemanticHead(4, 1, 3)
    with torch.no_grad():
        head.layers[0].weight.zero_()
        head.layers[0].bias.copy_(torch.tensor([-20.0, -20.0, 20.0]))
    level = torch.zeros(1, 1, 4, 1, 1)
    assert head.loss([level], semantics, 0.25, 2.0).item() == pytest.approx(0.0, abs=1e-6)
    # A false alarm costs 0.75 * 20 in one cell of the one class of three, which is weighed as 20 cells.
    assert head.loss([level], torch.full_like(semantics, 255), 0.25, 2.0).item() == pytest.approx(15 / 20 / 3, rel=1e-3)
