"""What training carries between frames: the bank, and which object each of its instances answers for."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from sparse4d_ros.boxes import NUSCENES_CLASSES  # noqa: E402
from sparse4d_ros.model.bank import Bank  # noqa: E402
from sparse4d_ros.model.config import ModelConfig  # noqa: E402
from sparse4d_ros.training.assignment import assign, dimension_weights  # noqa: E402
from sparse4d_ros.training.config import LossConfig, MatchingConfig  # noqa: E402
from sparse4d_ros.training.memory import NOBODY, Memory  # noqa: E402
from sparse4d_ros.training.targets import collate_targets  # noqa: E402

CONFIG = ModelConfig(num_anchors=5, num_temporal=3, embed_dims=8, num_groups=2)


def targets_of(*instances):
    """One frame with cars of the given instance numbers, ten metres apart."""
    boxes = np.array([[10.0 * i, 0, 1, 4, 2, 1.5, 0, 0, 0, 0] for i in range(len(instances))]).reshape(-1, 10)
    return collate_targets([boxes], [np.zeros(len(instances), np.int64)], [np.array(instances, np.int64)])


def memory_of(*owned):
    bank = Bank.empty(CONFIG, 1)._replace(has_history=torch.ones(1, dtype=torch.bool))
    return Memory(bank, torch.tensor([owned]))


def test_a_new_memory_owns_nothing():
    memory = Memory.empty(CONFIG, 2)
    assert (memory.owned == NOBODY).all() and not memory.owns(targets_of(0, 1)).any()


def test_slots_own_the_objects_of_their_instances():
    assert memory_of(7, NOBODY, 9).owns(targets_of(9, 7)).tolist() == [[[False, True], [False, False], [True, False]]]


def test_padding_is_nobodys():
    nothing = targets_of()
    assert nothing.instances.tolist() == [[NOBODY]]  # padding has the number of no one, and must not match it
    assert not memory_of(NOBODY, NOBODY, NOBODY).owns(nothing).any()


def test_a_new_clip_forgets():
    memory = memory_of(7, 8, 9)
    assert memory.continued(torch.tensor([True])).owned.tolist() == [[7, 8, 9]]
    fresh = memory.continued(torch.tensor([False]))
    assert fresh.owned.tolist() == [[NOBODY] * 3] and not fresh.bank.has_history.any()


def test_ownership_follows_the_rows_that_the_bank_keeps():
    # Rows 0..2 are the bank's: the first lost its object 7 to row 4, the second saw nothing, the third keeps 9.
    memory, targets = memory_of(7, NOBODY, 9), targets_of(7, 9)
    rows = torch.tensor([[-1, -1, 1, -1, 0]])
    after = memory.after(memory.bank, torch.tensor([[4, 2, 0]]), rows, targets)
    assert after.owned.tolist() == [[7, 9, NOBODY]]


def test_an_object_out_of_sight_stays_its_slots():
    memory, targets = memory_of(7, 8, 9), targets_of(9)
    rows = torch.tensor([[-1, -1, 0, -1, -1]])
    after = memory.after(memory.bank, torch.tensor([[0, 1, 2]]), rows, targets)
    assert after.owned.tolist() == [[7, 8, 9]]
    # ... unless its slot took over another one.
    rows = torch.tensor([[0, -1, -1, -1, -1]])
    assert memory.after(memory.bank, torch.tensor([[0, 1, 2]]), rows, targets).owned.tolist() == [[9, 8, NOBODY]]


def test_continuity_prefers_the_owner_from_the_second_decoder_on():
    targets, memory = targets_of(7), memory_of(NOBODY, 7, NOBODY)
    losses = LossConfig()
    weights = dimension_weights(losses, targets, NUSCENES_CLASSES)
    anchors = torch.zeros(2, 1, 5, 11)
    anchors[..., 0] = torch.tensor([30.0, 2.0, 30.0, 0.5, 30.0])  # the owner is two metres off, a new row half a metre
    anchors[..., 2:6] = targets.anchors[0, 0, 2:6]

    def matched_row(continuity):
        rows = assign(torch.zeros(2, 1, 5, 10), anchors, targets, weights, MatchingConfig(continuity=continuity),
                      losses, memory.owns(targets))
        return [rows[decoder, 0].tolist().index(0) for decoder in range(2)]

    assert matched_row(0.0) == [3, 3]
    assert matched_row(1.5) == [3, 1]  # 1.5 m cost 0.75
    assert matched_row(0.5) == [3, 3]  # a bonus, no command
