"""How far scores scatter: over groups of drives, or over runs that differ in nothing but chance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from sparse4d_ros.evaluation.records import Drive

if TYPE_CHECKING:  # it asks for the nuScenes devkit, which no table needs
    from sparse4d_ros.evaluation.nuscenes_metrics import Scores

#: What models are compared by: heading and field of :class:`Scores`.
COLUMNS = {"mAP": "mean_ap", "NDS": "nds", "mATE": "mate", "mAOE": "maoe", "mAVE": "mave", "AMOTA": "amota"}


def deal(drives: Sequence[Drive], count: int) -> list[list[Drive]]:
    """Drives in ``count`` groups that are alike: those of one frame rate are dealt out in turn, by name."""
    ordered = sorted(drives, key=lambda drive: (round(drive.rate_hz, 1), drive.name))
    return [ordered[first::count] for first in range(count)]


def deviation(values: Sequence[float]) -> float:
    """Standard deviation of a sample (n - 1); nan for a single value."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")


def mean_text(values: Sequence[float], sign: str = "") -> str:
    """Mean and standard deviation, such as "0.212 ± 0.008"; without it for a single value, "-" if one is missing.

    ``sign`` "+" writes the sign of a positive mean too.
    """
    if not len(values) or not np.isfinite(values).all():
        return "-"
    return f"{np.mean(values):{sign}.3f}" + (f" ± {deviation(values):.3f}" if len(values) > 1 else "")


def spread_table(groups: Sequence[Sequence[Drive]], scores: Sequence[Scores | None]) -> str:
    """A line for each group, then mean and standard deviation; "-" for what is missing, as in groups without scores."""
    lines = [f"{'groups of drives':<21}" + "".join(f"{name:>8}" for name in COLUMNS)]
    table = np.array([[getattr(of, name) if of else np.nan for name in COLUMNS.values()] for of in scores])
    titles = [f"{number} ({len(group)} drives)" for number, group in enumerate(groups, 1)]
    rows = [*table, table.mean(axis=0), [deviation(column) for column in table.T]]
    for title, row in zip([*titles, "mean", "standard deviation"], rows, strict=True):
        lines.append(f"{title:<21}" + "".join(f"{value:>8.3f}" if np.isfinite(value) else f"{'-':>8}" for value in row))
    return "\n".join(lines)
