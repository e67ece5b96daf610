"""Do the network's own measures of quality tell the truth?

Centerness should fall where the centre is placed badly and yawness where the heading is wrong:
Spearman's rank correlation with the error, over true positives within 2 m at any score, is then
negative, -1 at best. The score should mean what it says: of the objects reported at about 0.7,
seven in ten should be real.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import spearmanr

from sparse4d_ros.evaluation.matching import Matches
from sparse4d_ros.evaluation.records import Drive

BINS = 10


@dataclass(frozen=True)
class Quality:
    """A measure of quality beside the error that it should foretell, ``n`` true positives."""

    #: Column of the results: ``centerness`` or ``yawness``.
    column: str
    values: np.ndarray
    #: Metres for the centre, radians for the heading.
    errors: np.ndarray
    #: Spearman's rank correlation; nan with fewer than three pairs or where either side is constant.
    correlation: float


@dataclass(frozen=True)
class ReliabilityBin:
    """Reported objects with a score of ``low`` to ``high``; nan where there are none."""

    low: float
    high: float
    count: int
    mean_score: float
    #: Share of them that are true positives within 2 m.
    precision: float


@dataclass(frozen=True)
class Calibration:
    """Everything about trust; a quality is None where the results or the model do not have it."""

    centerness: Quality | None
    yawness: Quality | None
    reliability: tuple[ReliabilityBin, ...]
    #: Mean distance between score and precision over the bins, weighted by count (expected calibration error).
    expected_error: float

    def to_json(self) -> dict:
        """Plain values without the pairs."""
        return {
            "spearman": {name: None if (quality := getattr(self, name)) is None else
                         {"correlation": quality.correlation, "pairs": len(quality.values)}
                         for name in ("centerness", "yawness")},
            "expected_calibration_error": self.expected_error,
            "reliability": [vars(row) for row in self.reliability]}


def calibrate(drives: Sequence[Drive], matches: Matches) -> Calibration:
    """Correlations and reliability of all classes together, over reported objects within the devkit's ranges."""
    rows = reliability([of.scores for of in matches.classes.values()],
                       [of.matched[matches.distance_m] >= 0 for of in matches.classes.values()])
    counted = [row for row in rows if row.count]
    total = sum(row.count for row in counted)
    gap = sum(row.count * abs(row.precision - row.mean_score) for row in counted) / total if total else np.nan
    return Calibration(_quality(drives, matches, "centerness", "centre_error_m"),
                       _quality(drives, matches, "yawness", "heading_error"), rows, gap)


def _quality(drives: Sequence[Drive], matches: Matches, column: str, error: str) -> Quality | None:
    places, errors = [], []
    for of in matches.present:
        judged = np.isfinite(getattr(of, error))
        places.append(of.places[judged])
        errors.append(getattr(of, error)[judged])
    results = [{result.stamp_ns: result for result in drive.results} for drive in drives]
    if any(getattr(result, column) is None for by_stamp in results for result in by_stamp.values()):
        return None
    values = [getattr(results[d][drives[d].truths[f].stamp_ns], column)[row] for d, f, row in np.concatenate(places)]
    if np.isnan(values).any():
        return None
    return correlate(column, np.array(values, dtype=np.float64), np.concatenate(errors))


def correlate(column: str, values: np.ndarray, errors: np.ndarray) -> Quality:
    """Spearman's rank correlation of ``values [n]`` with ``errors [n]``."""
    telling = len(values) > 2 and np.ptp(values) > 0 and np.ptp(errors) > 0
    return Quality(column, values, errors, float(spearmanr(values, errors).statistic) if telling else np.nan)


def reliability(scores: Sequence[np.ndarray], hits: Sequence[np.ndarray]) -> tuple[ReliabilityBin, ...]:
    """Ten bins of equal width over 0..1 of scores and whether they were hits, given class by class."""
    score = np.concatenate([np.empty(0), *scores])
    hit = np.concatenate([np.empty(0, dtype=bool), *hits])
    index = np.clip((score * BINS).astype(int), 0, BINS - 1)
    rows = []
    for number in range(BINS):
        inside = index == number
        count = int(inside.sum())
        rows.append(ReliabilityBin(number / BINS, (number + 1) / BINS, count,
                                   float(score[inside].mean()) if count else np.nan,
                                   float(hit[inside].mean()) if count else np.nan))
    return tuple(rows)
