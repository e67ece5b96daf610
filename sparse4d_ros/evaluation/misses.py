"""Where it went wrong: frames in which most objects were missed, and objects that changed their track.

Both look at reported objects whose score reaches ``score``, matched within 2 m and within a class:
an object reported under a wrong class is missed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sparse4d_ros.evaluation.matching import ClassMatches, Matches
from sparse4d_ros.evaluation.records import Drive

NEAR_M = 30.0
#: An object counts as visible from this share on: above the lowest of nuScenes' visibility bins.
VISIBLE = 0.4
#: Neighbouring frames show the same; the worst ones of a drive are at least so far apart.
APART_NS = 1_000_000_000


@dataclass(frozen=True)
class BadFrame:
    """A frame and what was missed in it."""

    drive: int
    frame: int
    stamp_ns: int
    #: Seconds since the drive's first frame.
    seconds: float
    #: How many visible objects there were within 30 m.
    visible: int
    #: How many of these were missed, by class.
    missed: dict[str, int]

    @property
    def misses(self) -> int:
        """Number of missed objects."""
        return sum(self.missed.values())


@dataclass(frozen=True)
class Switch:
    """A true object that was reported under one track number and later under another."""

    drive: int
    #: Seconds since the drive's first frame.
    seconds: float
    name: str
    instance: int
    old_track: int
    new_track: int
    #: How long it had not been reported in between, seconds; the time between two frames if not at all.
    gap_s: float
    range_m: float


def worst_frames(drives: Sequence[Drive], matches: Matches, score: float, count: int) -> list[BadFrame]:
    """At most ``count`` frames with the most visible objects missed within 30 m, worst first.

    Frames without a miss are left out, as are those within a second of a worse one of the same drive.
    """
    visible: Counter[tuple[int, int]] = Counter()
    missed: dict[tuple[int, int], Counter[str]] = {}
    for of in matches.present:
        near = (of.truth_range_m < NEAR_M) & (of.truth_visibility >= VISIBLE)
        hit = _reported(of, matches, score) >= 0
        for (d, f, _), seen in zip(of.truth_places[near].tolist(), hit[near], strict=True):
            visible[d, f] += 1
            if not seen:
                missed.setdefault((d, f), Counter())[of.name] += 1
    chosen: list[BadFrame] = []
    for (d, f), names in sorted(missed.items(), key=lambda item: (-item[1].total(), item[0])):
        if len(chosen) >= count:
            break
        stamp_ns = drives[d].truths[f].stamp_ns
        if any(other.drive == d and abs(other.stamp_ns - stamp_ns) < APART_NS for other in chosen):
            continue
        chosen.append(BadFrame(d, f, stamp_ns, _seconds(drives[d], f), visible[d, f], dict(names.most_common())))
    return chosen


def identity_switches(drives: Sequence[Drive], matches: Matches, score: float) -> list[Switch]:
    """Every change of the track number under which a true object is reported, in order of drive and time.

    The devkit's count (``IDS``) differs somewhat: it prefers to keep a match of the frame before, takes the score
    threshold at which MOTA is best for each class, and counts only classes that move.
    """
    tracks = [{result.stamp_ns: result.track_ids for result in drive.results} for drive in drives]
    switches = []
    for of in matches.present:
        last: dict[tuple[int, int], tuple[int, int]] = {}
        reported = _reported(of, matches, score)
        for index in np.lexsort((of.truth_places[:, 1], of.truth_places[:, 0])):
            if reported[index] < 0:
                continue
            d, f, row = of.truth_places[index].tolist()
            truth = drives[d].truths[f]
            instance = int(truth.objects.instance_ids[row])
            track = int(tracks[d][truth.stamp_ns][of.places[reported[index], 2]])
            old, frame = last.get((d, instance), (track, f))
            if old != track:
                gap_s = _seconds(drives[d], f) - _seconds(drives[d], frame)
                switches.append(Switch(d, _seconds(drives[d], f), of.name, instance, old, track, gap_s,
                                       float(of.truth_range_m[index])))
            last[d, instance] = (track, f)
    return sorted(switches, key=lambda switch: (switch.drive, switch.seconds, switch.instance))


def _reported(of: ClassMatches, matches: Matches, score: float) -> np.ndarray:
    """Index ``[m]`` of the reported object of each true one, -1 for none."""
    out = np.full(len(of.truth_places), -1)
    matched = of.matched[matches.distance_m]
    rows = np.flatnonzero((matched >= 0) & (of.scores >= score))
    out[matched[rows]] = rows
    return out


def _seconds(drive: Drive, frame: int) -> float:
    return (drive.truths[frame].stamp_ns - drive.truths[0].stamp_ns) * 1e-9
