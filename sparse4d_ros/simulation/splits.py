"""Which towns are for what: the one place that says so.

A score means something only on towns that had no part in making the model, so the split of a seed
is checked wherever a drive is made:

* ``train``: the network learns from them;
* ``val``: looked at while training; checkpoints, thresholds and everything else are chosen on them;
* ``test``: scored, and nothing is chosen on them (``config/test_drives.yaml``);
* ``sealed``: scored once for a released model (``config/sealed_drives.yaml``).
"""

from __future__ import annotations

from sparse4d_ros.errors import UserError

SPLITS = {
    "train": range(0, 10_000),
    "val": range(10_000, 11_000),
    "test": range(11_000, 12_000),
    "sealed": range(12_000, 13_000),
}


def check_seed(seed: int, split: str) -> None:
    """Raise ``UserError`` unless the town ``seed`` belongs to ``split``."""
    if split not in SPLITS:
        raise UserError(f"unknown split {split!r}: choose one of {', '.join(SPLITS)}")
    seeds = SPLITS[split]
    if seed not in seeds:
        raise UserError(
            f"seed {seed} is no {split} town: {split} seeds are {seeds.start} to {seeds.stop - 1} "
            "(towns of two splits never mix)")
