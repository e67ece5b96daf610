"""Which towns belong to training and which to validation: the one place that says so.

A score means something only on towns the network never saw, so the split of a seed is checked
wherever a drive is made.
"""

from __future__ import annotations

from sparse4d_ros.errors import UserError

SPLITS = {
    "train": range(0, 10_000),
    "val": range(10_000, 11_000),
}


def check_seed(seed: int, split: str) -> None:
    """Raise ``UserError`` unless the town ``seed`` belongs to ``split`` (``train`` or ``val``)."""
    if split not in SPLITS:
        raise UserError(f"unknown split {split!r}: choose one of {', '.join(SPLITS)}")
    seeds = SPLITS[split]
    if seed not in seeds:
        raise UserError(
            f"seed {seed} is no {split} town: {split} seeds are {seeds.start} to {seeds.stop - 1} "
            "(training and validation towns never mix)")
