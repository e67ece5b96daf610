"""What neighbouring cameras both see, held against each other: findings for each pair, and which camera is to blame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from sparse4d_ros.findings import FAIL, OK, SKIP, WARN, Finding
from sparse4d_ros.rig_check.agreement import MOSTLY, Explanation, Pair, agreeing, explain, near_their_place
from sparse4d_ros.rig_check.aim import ANGLES, turn_axes
from sparse4d_ros.rig_check.coverage import overlaps
from sparse4d_ros.rig_check.mounted import MountedCamera
from sparse4d_ros.rig_check.neighbours import Moment, shared_points

#: Corners looked for in a picture, more where there are few moments; for trying an exchange, fewer moments do.
_CORNERS, _CORNERS_IN_ALL, _TRIAL_STEP = 60, 1500, 3
#: From here on a cause is a complaint: degrees, metres, seconds; and what it does must be seen: degrees.
_WARN = {"turned": 0.7, "moved": 0.12, "clock": 0.025}
_VISIBLE_DEG, _FAIL_DEG = 0.15, 3.0
#: Points that agree with each other, their share of all, and the moments they come from, for a verdict.
_MIN_POINTS, _MIN_SHARE, _MIN_MOMENTS = 25, 0.65, 3
#: Points against the calibration come from so many moments, or it may be one thing that moves.
_MIN_AGAINST = 6
#: Of these, so many at a known distance, or only the direction across the cameras' connection is judged.
_MIN_KNOWN = 15
#: Explanations whose cost is within this factor of the best are as good.
_AS_GOOD = 1.3
#: One change is not all, if it leaves so many times what changes for each pair would leave.
_NOT_ALL = 2.0
#: Of a moved camera: what positive and negative metres mean.
_DIRECTIONS = (("x", "ahead", "back"), ("y", "left", "right"), ("z", "up", "down"))
_REMEDIES = {
    "turned": "calibrate its mounting anew, or see whether it was knocked; a wrong focal length looks alike",
    "moved": "measure its place on the vehicle again",
    "clock": "let its driver stamp the exposure, and synchronise its clock",
}


@dataclass(frozen=True)
class Overlap:
    """A pair of neighbours with all points found in both pictures, and which of them agree with each other."""

    pair: Pair
    width_deg: float
    agree: np.ndarray  #: ``[n]``

    @property
    def judged(self) -> bool:
        """Whether there is enough to tell right from wrong."""
        return bool(self.agree.sum() >= _MIN_POINTS and self.agree.sum() >= _MIN_SHARE * len(self.agree)
                    and len(np.unique(self.pair.shared.moment[self.agree])) >= _MIN_MOMENTS)


def find_overlaps(mounted: dict[str, MountedCamera], moments: Sequence[Moment]) -> list[Overlap]:
    """Every pair of cameras that share directions, with what both see."""
    corners = max(_CORNERS, _CORNERS_IN_ALL // max(len(moments), 1))
    return [_overlap(mounted, moments, names, width_deg, corners) for names, width_deg in overlaps(mounted).items()]


def _overlap(mounted: dict[str, MountedCamera], moments: Sequence[Moment], names: tuple[str, str], width_deg: float,
             corners: int) -> Overlap:
    first, second = (mounted[name] for name in names)
    pair = Pair(first, second, shared_points(first, second, moments, corners))
    return Overlap(pair, width_deg, agreeing(pair))


def exchanged(mounted: dict[str, MountedCamera], moments: Sequence[Moment], found: Sequence[Overlap]
              ) -> tuple[str, str] | None:
    """The two cameras that agree with nobody, but would if their pictures were exchanged; None if there are none."""
    settled = {name for overlap in found if overlap.judged for name in overlap.pair.names}
    trials = {}
    for one, other in combinations(sorted({name for overlap in found for name in overlap.pair.names} - settled), 2):
        of = {one: other, other: one}
        crossed = [Moment(*({name: shots[of.get(name, name)] for name in shots if of.get(name, name) in shots}
                            for shots in (moment.shots, moment.elsewhere))) for moment in moments[::_TRIAL_STEP]]
        trials[one, other] = sum(_overlap(mounted, crossed, overlap.pair.names, overlap.width_deg, _CORNERS).judged
                                 for overlap in found if of.keys() & set(overlap.pair.names))
    ranked = sorted(trials, key=trials.get, reverse=True)
    # A ring of cameras looks a little like itself when it is turned: the right exchange settles more pairs.
    clear = ranked and trials[ranked[0]] > max([1, *(trials[pair] for pair in ranked[1:])])
    return ranked[0] if clear else None


def check_overlaps(found: Sequence[Overlap], crossed: tuple[str, str] | None = None) -> list[Finding]:
    """A finding for each pair, one for the camera whose change would make all agree, one for ``crossed`` cameras."""
    if not found:
        return [Finding(SKIP, "overlap", "all cameras", "no two cameras see the same directions")]
    findings, judged, alone = [], [], []
    for overlap in found:
        if overlap.judged:
            pair = overlap.pair.only(overlap.agree)
            explanations = explain([pair], [pair.second.name])  # within a pair it is the same which of the two changes
            near = near_their_place(pair)
            wrong = near.mean() < MOSTLY and _harmful(_as_good(explanations))
            against = len(np.unique(pair.shared.moment[~near]))
            if not wrong or against >= _MIN_AGAINST:
                findings.append(_of_pair(pair, wrong))
                judged.append(pair)
                alone.append(explanations[0].cost * len(pair.shared))
            else:
                findings.append(_may_move(pair, against))
        else:
            findings.append(_too_little(overlap))
    if any(finding.level in (WARN, FAIL) for finding in findings):
        findings.append(_blame(judged, sum(alone)))
    if crossed:
        findings.append(Finding(
            FAIL, "overlap", ", ".join(crossed),
            "agree with no neighbour, but would if their pictures were exchanged",
            "each carries the other's topic or cable"))
    return findings


def _as_good(explanations: Sequence[Explanation]) -> list[Explanation]:
    """The best explanation and those that are as good."""
    return [item for item in explanations if item.cost <= _AS_GOOD * explanations[0].cost]


def _harmful(explanations: Sequence[Explanation]) -> bool:
    """Whether something is wrong, whichever of them is true."""
    return all(item.amount > _WARN[item.cause] and item.effect_deg > _VISIBLE_DEG for item in explanations)


def _too_little(overlap: Overlap) -> Finding:
    points, agree = len(overlap.agree), int(overlap.agree.sum())
    moments = len(np.unique(overlap.pair.shared.moment[overlap.agree]))
    return Finding(
        SKIP, "overlap", _subject(overlap.pair),
        f"{agree} of {points} points found in both pictures agree with each other, in {moments} moments; a verdict "
        f"needs {_MIN_POINTS}, {_MIN_SHARE:.0%} and {_MIN_MOMENTS} ({overlap.width_deg:.0f} deg are shared)",
        "record more driving past things with edges, by day; a narrow overlap of lenses far apart may never do",
        {"shared_deg": overlap.width_deg, "points": points, "agreeing": agree, "moments": moments})


def _may_move(pair: Pair, moments: int) -> Finding:
    return Finding(
        SKIP, "overlap", _subject(pair),
        f"what both see is not where it should be, but in {moments} moments only ({_MIN_AGAINST} are needed): it may "
        "be something that moves",
        "record more driving past things that stand still",
        {"points": len(pair.shared), "moments": moments})


def _of_pair(pair: Pair, wrong: bool) -> Finding:
    known = ~np.isnan(pair.shared.distance)
    told = int(known.sum()) >= _MIN_KNOWN
    misses = np.degrees(pair.misses())[known if told else slice(None)]
    right, down = np.median(misses, axis=0)
    off = float(np.median(np.linalg.norm(misses, axis=1)))
    pixels = np.radians(off) * pair.second.calibration.intrinsic[0, 0]
    numbers = {"points": len(pair.shared), "known_distances": int(known.sum()), "off_deg": off, "off_px": float(pixels),
               "right_deg": float(right), "down_deg": float(down)}
    near, far = np.percentile(pair.shared.distance[known], [10, 90]) if told else (np.nan, np.nan)
    if wrong:
        way = ("right" if right > 0 else "left") if abs(right) > abs(down) else ("down" if down > 0 else "up")
        away = f", {near:.0f} to {far:.0f} m away" if told else ""
        return Finding(
            FAIL if off > _FAIL_DEG else WARN, "overlap", _subject(pair),
            f"what both see appears {'' if told else 'at least '}{off:.1f} deg ({pixels:.0f} px) further {way} in "
            f"{pair.second.name} than {pair.first.name} lets expect ({len(pair.shared)} points{away})",
            "one of the two is not where its calibration says, or its clock is off",
            numbers)
    hidden = "; how far away they are is unknown, so an error along the line between the lenses could hide"
    return Finding(
        OK, "overlap", _subject(pair),
        f"{len(pair.shared)} points that both see lie within {off:.2f} deg ({pixels:.1f} px) of their place"
        + (f", {near:.0f} to {far:.0f} m away" if told else hidden),
        numbers=numbers)


def _blame(judged: Sequence[Pair], cost_alone: float) -> Finding:
    """The change of one camera that would make all pairs agree, and the others that would do it as well.

    ``cost_alone`` is what is left if every pair changes as it likes.
    """
    cameras = {camera.name: camera for pair in judged for camera in (pair.first, pair.second)}
    explanations = explain(judged, cameras)
    if explanations[0].cost * sum(len(pair.shared) for pair in judged) > _NOT_ALL * cost_alone:
        return Finding(
            WARN, "overlap", "several cameras",
            "no change of one camera alone would make all neighbours agree",
            "mend what else is found, or calibrate all cameras anew; then record again")
    good = _as_good(explanations)
    told = [(item.camera, *_told(item, cameras[item.camera])) for item in good]
    (name, words, numbers), *others = told
    return Finding(
        FAIL if good[0].effect_deg > _FAIL_DEG else WARN, "overlap", name,
        f"all neighbours would agree if it {words}"
        + "".join(f"; or, as well, if {name} {words}" for name, words, _ in others),
        _REMEDIES[good[0].cause],
        numbers)


def _told(item: Explanation, camera: MountedCamera) -> tuple[str, dict[str, float]]:
    """What a change is, in words that follow the camera's name, and in numbers."""
    if item.cause == "clock":
        late_ms = -1e3 * float(item.change[6])
        way = "earlier" if late_ms > 0 else "later"
        return f"stamped its pictures {abs(late_ms):.0f} ms {way}", {"late_ms": late_ms}
    if item.cause == "moved":
        values, unit, names = item.change[3:6], "m", _DIRECTIONS
    else:
        values, unit, names = np.degrees(np.linalg.solve(turn_axes(camera), item.change[:3])), "deg", ANGLES
    shown = np.abs(values) >= 0.3 * np.abs(values).max()
    digits = 2 if unit == "m" else 1
    parts = [f"{abs(value):.{digits}f} {unit} further {positive if value > 0 else negative}"
             for value, (_, positive, negative), show in zip(values, names, shown, strict=True) if show]
    numbers = {f"{name}_{unit}": float(value) for value, (name, _, _) in zip(values, names, strict=True)}
    return f"{'sat' if unit == 'm' else 'looked'} {' and '.join(parts)}", numbers


def _subject(pair: Pair) -> str:
    return ", ".join(pair.names)
