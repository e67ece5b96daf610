"""The bank on a device: two slots that take turns, and no frame that reads another bank's content."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparse4d_ros.engine.device_bank import DeviceBank, Slots

CONFIDENCE = np.zeros(3, np.float32)
EMPTY = DeviceBank(0, 0, CONFIDENCE)


@given(st.lists(st.tuples(st.integers(0, 50), st.booleans())))
def test_a_frame_reads_the_bank_that_it_was_given_or_is_refused(steps):
    """Frames from any earlier bank in any order, some of which fail half-way: never another bank's content."""
    slots, memory, banks = Slots(), ["nothing", "nothing"], [(EMPTY, "nothing")]
    for number, (choice, fails) in enumerate(steps):
        bank, content = banks[choice % len(banks)]
        try:
            read, write = slots.begin(bank)
        except ValueError:
            continue
        assert read != write
        assert not bank.has_history or memory[read] == content
        memory[write] = f"frame {number}, half-way"
        if not fails:
            memory[write] = f"frame {number}"
            banks.append((slots.finish(write, CONFIDENCE), memory[write]))


@given(st.lists(st.booleans()))
def test_a_drive_goes_on_and_a_frame_that_fails_can_be_repeated(failures):
    slots, bank = Slots(), EMPTY
    for fails in failures:
        read, write = slots.begin(bank)
        assert read == bank.slot
        if not fails:
            bank = slots.finish(write, CONFIDENCE)
    slots.check(bank)


def test_an_overwritten_bank_is_an_error():
    slots = Slots()
    first = slots.finish(slots.begin(EMPTY)[1], CONFIDENCE)
    second = slots.finish(slots.begin(first)[1], CONFIDENCE)
    slots.finish(slots.begin(second)[1], CONFIDENCE)
    with pytest.raises(ValueError, match="overwritten"):
        slots.begin(first)
