"""Detection scores of parts of the ground truth: by distance from the vehicle, by visibility and by weather.

Objects are matched once, over everything (:mod:`~sparse4d_ros.evaluation.matching`), and then shared
out, so that an object near a border between two parts is not lost because the reported box lies
beyond it. In a part count

* the true objects of the part;
* the reported objects that were matched to one of them, as hits, wherever they lie themselves;
* **by range**: the unmatched reported objects whose own centre lies in the part, as false alarms. Those
  matched to a true object of another part are left out;
* **by visibility**: *all* unmatched reported objects, as false alarms, for a reported object has no
  visibility. A part with few true objects so has a lower AP than the whole: compare a visibility
  part between models, not with another part. Recall and centre error have no such limit;
* **by weather**: all of the drives that have the word ("night", "rain"). A drive can have several.

Hits within a matching distance are those of the devkit's evaluation at that distance. AP is the
devkit's ``calc_ap``, the mean over its four distances and over the classes with a true object in
the part. Recall and centre error are at 2 m, over all classes together, of reported objects whose
score reaches ``score``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from nuscenes.eval.detection.algo import calc_ap
from nuscenes.eval.detection.data_classes import DetectionMetricData

from sparse4d_ros.evaluation.matching import ClassMatches, Matches

RANGES_M = ((0, 10), (10, 20), (20, 30), (30, 40), (40, 50))
#: The four bins of nuScenes' ``visibility_token``, as shares.
VISIBILITIES = ((0.0, 0.4), (0.4, 0.6), (0.6, 0.8), (0.8, 1.0))


@dataclass(frozen=True)
class Part:
    """Scores of one part; nan where it has no true object, or no hit for the error."""

    label: str
    true_boxes: int
    recall: float
    mean_ap: float
    centre_error_m: float


@dataclass(frozen=True)
class Breakdown:
    """All parts, and the score that recall and centre error rest on."""

    score: float
    by_range: tuple[Part, ...]
    by_visibility: tuple[Part, ...]
    #: Empty if the weather of no drive is known.
    by_weather: tuple[Part, ...] = ()

    @property
    def groups(self) -> dict[str, tuple[Part, ...]]:
        """The parts by title, without empty groups."""
        groups = {"distance": self.by_range, "visible share": self.by_visibility, "weather": self.by_weather}
        return {title: parts for title, parts in groups.items() if parts}


#: Which true objects ``[m]`` and which false alarms ``[n]`` of a class belong to a part.
_Choice = Callable[[ClassMatches], tuple[np.ndarray, np.ndarray]]


def break_down(matches: Matches, score: float, weathers: Sequence[str] = ()) -> Breakdown:
    """Scores of all parts; see the module for who counts where. ``weathers``: of each drive that was matched."""
    by_range = [_part(matches, f"{low}-{high} m", score, lambda of, low=low, high=high: (
        (of.truth_range_m >= low) & (of.truth_range_m < high), (of.range_m >= low) & (of.range_m < high)))
        for low, high in RANGES_M]
    by_visibility = [_part(matches, f"{low:.0%}-{high:.0%}".replace("%-", "-"), score, lambda of, low=low, high=high: (
        (of.truth_visibility >= low) & ((of.truth_visibility < high) | (high == 1.0)), np.ones(len(of.scores), bool)))
        for low, high in VISIBILITIES]
    return Breakdown(score, tuple(by_range), tuple(by_visibility), tuple(_by_weather(matches, score, weathers)))


def _by_weather(matches: Matches, score: float, weathers: Sequence[str]) -> list[Part]:
    words = [{word.strip() for word in weather.split(",")} - {""} for weather in weathers]
    out = []
    for word in sorted(set().union(*words)):
        has = np.array([word in of_drive for of_drive in words])
        out.append(_part(matches, word, score, lambda of, has=has: (has[of.truth_places[:, 0]], has[of.places[:, 0]])))
    return out


def _part(matches: Matches, label: str, score: float, choose: _Choice) -> Part:
    aps, errors, true_boxes, hits = [], [], 0, 0
    for of in matches.present:
        truths, alarms = choose(of)
        if not truths.any():
            continue
        true_boxes += int(truths.sum())
        aps.append(np.mean([_average_precision(matched, truths, alarms, matches)
                            for matched in of.matched.values()]))
        reported = _hits(of.matched[matches.distance_m], truths) & (of.scores >= score)
        hits += int(reported.sum())
        errors.append(of.centre_error_m[reported])
    if not true_boxes:
        return Part(label, 0, np.nan, np.nan, np.nan)
    error = np.concatenate(errors)
    return Part(label, true_boxes, hits / true_boxes, float(np.mean(aps)),
                float(error.mean()) if len(error) else np.nan)


def _hits(matched: np.ndarray, truths: np.ndarray) -> np.ndarray:
    """Which reported objects ``[n]`` are matched to one of the chosen true objects."""
    out = matched >= 0
    out[out] = truths[matched[out]]
    return out


def _average_precision(matched: np.ndarray, truths: np.ndarray, alarms: np.ndarray, matches: Matches) -> float:
    hit = _hits(matched, truths)
    precision = sampled_precision(hit[hit | (alarms & (matched < 0))], int(truths.sum()))
    curve = DetectionMetricData.no_predictions()
    curve.precision = precision
    return calc_ap(curve, matches.config.min_recall, matches.config.min_precision)


def sampled_precision(hit: np.ndarray, true_boxes: int) -> np.ndarray:
    """Precision ``[101]`` at the devkit's steps of recall, of reported objects in order of their score.

    Zero beyond the highest recall, and throughout without a hit, as in the devkit's ``accumulate``.
    """
    steps = np.linspace(0.0, 1.0, DetectionMetricData.nelem)
    if not hit.any():
        return np.zeros_like(steps)
    hits = np.cumsum(hit)
    return np.interp(steps, hits / true_boxes, hits / np.arange(1, len(hit) + 1), right=0.0)
