"""Everything that is found out about drives, in one value: what text, pages and files are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from sparse4d_ros.evaluation.breakdown import Breakdown, break_down
from sparse4d_ros.evaluation.calibration import Calibration, calibrate
from sparse4d_ros.evaluation.matching import Matches, match_drives
from sparse4d_ros.evaluation.misses import Switch, identity_switches
from sparse4d_ros.evaluation.nuscenes_metrics import Scores, evaluate, without_nan
from sparse4d_ros.evaluation.records import TIMING_STEPS, TRACKING_CLASS_SCORE, Drive
from sparse4d_ros.evaluation.report import percentiles_ms


@dataclass(frozen=True)
class Assessment:
    """Drives and what came out."""

    drives: tuple[Drive, ...]
    matches: Matches
    scores: Scores
    breakdown: Breakdown
    calibration: Calibration
    switches: tuple[Switch, ...]
    #: By step: median and 95th percentile, for steps that some frame measured.
    latency_ms: dict[str, tuple[float, float]]

    def to_json(self) -> dict:
        """The numbers as plain values: what ``--output`` writes and ``--compare`` reads."""
        return without_nan({
            "drives": [drive.name for drive in self.drives],
            "scores": self.scores.to_json(),
            "breakdown": asdict(self.breakdown),
            "calibration": self.calibration.to_json(),
            "identity_switches": [asdict(switch) for switch in self.switches],
            "latency_ms": {step: {"p50": p50, "p95": p95} for step, (p50, p95) in self.latency_ms.items()}})


def assess(drives: Sequence[Drive], score: float, tracking_class_score: float = TRACKING_CLASS_SCORE) -> Assessment:
    """Match once and judge everything from it.

    ``score`` is what an object must reach to count as reported in recall, centre error and identity switches; the
    nuScenes scores and the calibration take all. Raises ``UserError`` as :func:`evaluate` does.
    """
    drives = tuple(drives)
    matches = match_drives(drives)
    results = [result for drive in drives for result in drive.results]
    return Assessment(
        drives, matches, evaluate(drives, tracking_class_score=tracking_class_score, matches=matches),
        break_down(matches, score, [drive.weather for drive in drives]), calibrate(drives, matches),
        tuple(identity_switches(drives, matches, score)),
        {step: found for step in TIMING_STEPS if (found := percentiles_ms(results, step)) is not None})
