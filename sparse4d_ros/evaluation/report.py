"""Scores and latencies as text for people."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from sparse4d_ros.evaluation.records import FrameResult

if TYPE_CHECKING:  # their modules need the nuScenes devkit, latencies do not
    from sparse4d_ros.evaluation.breakdown import Breakdown
    from sparse4d_ros.evaluation.calibration import Calibration
    from sparse4d_ros.evaluation.nuscenes_metrics import Scores

_COLUMNS = ("AP", "ATE", "ASE", "AOE", "AVE", "AAE", "AMOTA", "AMOTP", "MOTA", "recall", "IDS", "frag")
_MEANS = ("mean_ap", "mate", "mase", "maoe", "mave", "maae", "amota", "amotp", "mota", "recall", "ids", "frag")
_COUNTS = ("IDS", "frag")


def score_table(scores: Scores) -> str:
    """Per-class table, means, and what the numbers rest on."""
    lines = [f"{'class':<21}{'boxes':>7}" + "".join(f"{name:>8}" for name in _COLUMNS)]
    for name, of_class in sorted(scores.classes.items(), key=lambda item: -item[1].true_boxes):
        cells = "".join(_cell(column, getattr(of_class, column.lower())) for column in _COLUMNS)
        lines.append(f"{name:<21}{of_class.true_boxes:>7}{cells}")
    boxes = sum(of_class.true_boxes for of_class in scores.classes.values())
    cells = "".join(_cell(column, getattr(scores, mean)) for column, mean in zip(_COLUMNS, _MEANS, strict=True))
    lines.append(f"{'all':<21}{boxes:>7}{cells}")
    lines += [
        "",
        f"mAP {_plain(scores.mean_ap)}   NDS {_plain(scores.nds)}   AMOTA {_plain(scores.amota)}   "
        f"AMOTP {_plain(scores.amotp)} m   identity switches {_plain(scores.ids, 0)} "
        f"({_plain(scores.ids_per_100_s, 1)} in 100 object-seconds)",
        f"{scores.frames} frames with ground truth; {scores.missing_frames} without a result, counted as if nothing "
        "was seen in them.",
        "Computed by the nuScenes devkit over the classes above: those visible within its ranges (30 to 50 m).",
        "AAE: attributes follow from speed, on both sides. IDS and frag are sums.",
    ]
    return "\n".join(lines)


def percentiles_ms(results: Iterable[FrameResult], step: str) -> tuple[float, float] | None:
    """Median and 95th percentile of a step's milliseconds; None if no frame measured it."""
    values = np.array([result.timing_ms.get(step, np.nan) for result in results])
    values = values[np.isfinite(values)]
    return (float(np.percentile(values, 50)), float(np.percentile(values, 95))) if len(values) else None


def latency_table(results: Iterable[FrameResult], steps: Iterable[str]) -> str:
    """One line a step: median and 95th percentile."""
    results = list(results)
    lines = [f"{'milliseconds':<21}{'p50':>8}{'p95':>8}"]
    for step in steps:
        found = percentiles_ms(results, step)
        if found is not None:
            lines.append(f"{step:<21}{found[0]:>8.1f}{found[1]:>8.1f}")
    return "\n".join(lines)


def breakdown_table(found: Breakdown) -> str:
    """A line for each part."""
    lines = []
    for title, parts in found.groups.items():
        lines.append(f"{title:<21}{'boxes':>7}{'recall':>8}{'mAP':>8}{'error m':>9}")
        lines += [f"{part.label:<21}{part.true_boxes:>7}{_plain(part.recall):>8}{_plain(part.mean_ap):>8}"
                  f"{_plain(part.centre_error_m):>9}" for part in parts]
    lines.append(f"Recall and centre error at a score of {found.score:g}; mAP at all scores.")
    return "\n".join(lines)


def calibration_table(found: Calibration) -> str:
    """Score against precision, and the rank correlations."""
    lines = [f"{'score':<21}{'boxes':>7}{'mean':>8}{'precision':>11}"]
    lines += [f"{f'{row.low:.1f} to {row.high:.1f}':<21}{row.count:>7}{_plain(row.mean_score):>8}"
              f"{_plain(row.precision):>11}" for row in found.reliability if row.count]
    lines.append(f"mean distance of score and precision {_plain(found.expected_error)}")
    for quality, error in ((found.centerness, "centre error"), (found.yawness, "heading error")):
        if quality is not None:
            lines.append(f"Spearman of {quality.column} and {error}: {_plain(quality.correlation)} "
                         f"({len(quality.values)} true positives; -1 is best)")
    return "\n".join(lines)


def score_facts(scores: Scores) -> list[tuple[str, str]]:
    """The three numbers for a picture's header."""
    return [("mAP", _plain(scores.mean_ap, 2)), ("NDS", _plain(scores.nds, 2)), ("AMOTA", _plain(scores.amota, 2))]


def _cell(column: str, value: float) -> str:
    if not np.isfinite(value):
        return f"{'-':>8}"
    return f"{value:>8.0f}" if column in _COUNTS else f"{value:>8.3f}"


def _plain(value: float, digits: int = 3) -> str:
    return f"{value:.{digits}f}" if np.isfinite(value) else "-"
