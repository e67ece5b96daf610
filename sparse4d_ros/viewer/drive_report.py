"""What a person asks of a drive: how long and far, what was seen and for how long, how quickly, and what went wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from sparse4d_ros.evaluation.recorded import Complaint
from sparse4d_ros.evaluation.records import TIMING_STEPS, FrameResult
from sparse4d_ros.evaluation.report import percentiles_ms
from sparse4d_ros.frame import Frame

#: Intervals longer than so many usual ones are named.
_GAP = 2.5
#: Boxes that come and go several times a second hurt the eye, where a node takes every second picture, say.
_SHOW_ANYWAY_NS = 1_000_000_000


class DriveReport:
    """Is told of a drive's frames in order of time, and sums up at the end.

    Objects count from a score of ``draw_score`` on, as the page shows them at first.
    """

    def __init__(self, draw_score: float) -> None:
        self.draw_score = draw_score
        self.results: list[FrameResult] = []
        self.stamps_ns: list[int] = []
        #: Frames worth showing: those with a result, and those after a second without.
        self.shown_ns: list[int] = []
        self._positions: list[np.ndarray] = []
        #: Camera -> stamps of the frames in which it is missing.
        self._missing: dict[str, list[int]] = {}
        #: Why there is no result -> stamps of frames.
        self._failures: dict[str, list[int]] = {}

    def add(self, frame: Frame, result: FrameResult | None, failure: str) -> bool:
        """The next frame, and whether it is worth showing; ``failure`` says why there is no result."""
        self.stamps_ns.append(frame.stamp_ns)
        self._positions.append(frame.fixed_from_vehicle[:3, 3])
        for camera in frame.cameras:
            stamps = self._missing.setdefault(camera.name, [])
            if camera.image is None:
                stamps.append(frame.stamp_ns)
        if result is not None:
            self.results.append(result)
        if failure:
            self._failures.setdefault(failure, []).append(frame.stamp_ns)
        shown = result is not None or not self.results or \
            frame.stamp_ns - self.results[-1].stamp_ns > _SHOW_ANYWAY_NS
        if shown:
            self.shown_ns.append(frame.stamp_ns)
        return shown

    def fullest(self, count: int) -> list[int]:
        """Stamps of the frames with the most objects, the fullest first, each a while away from the others."""
        if not self.results:
            return []
        apart_ns = (self.stamps_ns[-1] - self.stamps_ns[0]) / (2 * count)
        chosen: list[int] = []
        for result in sorted(self.results, key=lambda result: -int((result.scores >= self.draw_score).sum())):
            if len(chosen) < count and all(abs(result.stamp_ns - other) >= apart_ns for other in chosen):
                chosen.append(result.stamp_ns)
        return chosen

    def numbers(self) -> dict[str, Any]:
        """The drive in numbers: metres, seconds, milliseconds."""
        frames = len(self.stamps_ns)
        steps = [np.hypot(*(b - a)[:2]) for a, b in pairwise(self._positions)]
        latency = {step: found for step in TIMING_STEPS if (found := percentiles_ms(self.results, step)) is not None}
        return {
            "length_s": (self.stamps_ns[-1] - self.stamps_ns[0]) * 1e-9, "distance_m": float(sum(steps)),
            "frames": frames, "frames_without_result": frames - len(self.results), "rate_hz": rate_hz(self.stamps_ns),
            "draw_score": self.draw_score, "classes": self._classes(),
            "cameras": {name: {"pictures": frames - len(stamps), "missing": len(stamps)}
                        for name, stamps in self._missing.items()},
            "latency_ms": {step: {"p50": p50, "p95": p95} for step, (p50, p95) in latency.items()},
        }

    def problems(self, complaints: Iterable[Complaint] = ()) -> list[str]:
        """What went wrong, a sentence each: with frames, with cameras, and what the node complained of."""
        found = []
        for failure, stamps in self._failures.items():
            found.append(f"{_frames(len(stamps))} without a result, {self._when(stamps[0], stamps[-1])}: {failure}")
        for name, stamps in self._missing.items():
            if stamps:
                found.append(f"camera {name}: no picture in {len(stamps)} of {_frames(len(self.stamps_ns))}, "
                             f"{self._when(stamps[0], stamps[-1])}")
        usual_ns = 1e9 / rate_hz(self.stamps_ns)
        gaps = [pair for pair in pairwise(self.stamps_ns) if pair[1] - pair[0] > _GAP * usual_ns]
        found += [f"no frame {self._when(*gap)}" for gap in gaps]
        return found + [text for complaint in complaints if (text := self._told(complaint))]

    def _classes(self) -> dict[str, dict[str, float]]:
        """By class, most tracks first; a track has the class that it was given most often."""
        seen: dict[int, list[int]] = {}
        names: dict[int, Counter[str]] = {}
        objects: Counter[str] = Counter()
        for result in self.results:
            for row in np.flatnonzero(result.scores >= self.draw_score):
                track, name = int(result.track_ids[row]), result.names[row]
                seen.setdefault(track, []).append(result.stamp_ns)
                names.setdefault(track, Counter())[name] += 1
                objects[name] += 1
        lives: dict[str, list[float]] = {}
        for track, stamps in seen.items():
            lives.setdefault(names[track].most_common(1)[0][0], []).append((stamps[-1] - stamps[0]) * 1e-9)
        return {name: {"tracks": len(of), "objects_a_frame": objects[name] / len(self.results),
                       "median_life_s": round(float(np.median(of)), 3), "longest_life_s": round(max(of), 3)}
                for name, of in sorted(lives.items(), key=lambda item: -len(item[1]))}

    def _told(self, complaint: Complaint) -> str:
        """In words; "" if it came before the first frame or after the last one alone."""
        during = [item for item in complaint.times if self.stamps_ns[0] <= item[0] <= self.stamps_ns[-1]]
        if not during:
            return ""
        _, first, text = during[0]
        others = dict.fromkeys(camera for _, camera, _ in during if camera != first)
        also = f"; as well: {', '.join(others)}" if others else ""
        times = "once" if len(during) == 1 else f"{len(during)} times"
        return f"{text} ({times}, {self._when(during[0][0], during[-1][0])}{also})"

    def _when(self, first_ns: int, last_ns: int) -> str:
        begin, end = ((at - self.stamps_ns[0]) * 1e-9 for at in (first_ns, last_ns))
        return f"at {begin:.1f} s" if first_ns == last_ns else f"from {begin:.1f} s to {end:.1f} s"


def rate_hz(stamps_ns: Sequence[int]) -> float:
    """Frames a second, by the usual interval; 1 for a single frame."""
    return 1e9 / float(np.median(np.diff(stamps_ns))) if len(stamps_ns) > 1 else 1.0


def headline(numbers: dict[str, Any]) -> str:
    """Length, distance and rate in a few words."""
    minutes, seconds = divmod(round(numbers["length_s"]), 60)
    return f"{minutes}:{seconds:02d} min · {numbers['distance_m']:.0f} m · {numbers['rate_hz']:.1f} Hz"


def report_document(numbers: dict[str, Any], problems: list[str]) -> dict[str, Any]:
    """The report as the page shows it: facts, tables of text, and sentences."""
    classes, cameras, latency = numbers["classes"], numbers["cameras"], numbers["latency_ms"]
    tracks = sum(of["tracks"] for of in classes.values())
    return {
        "facts": [["length", f"{numbers['length_s']:.1f} s"], ["distance", f"{numbers['distance_m']:.0f} m"],
                  ["frames", f"{numbers['frames']}"], ["rate", f"{numbers['rate_hz']:.1f} Hz"],
                  ["tracks", f"{tracks}"],
                  *([["latency, median", f"{latency['total']['p50']:.0f} ms"]] if "total" in latency else [])],
        "tables": [
            {"title": f"Objects with a score of {numbers['draw_score']:g} or more",
             "header": ["class", "tracks", "in a frame", "median life s", "longest s"],
             "rows": [[name.replace("_", " "), f"{of['tracks']}", f"{of['objects_a_frame']:.1f}",
                       f"{of['median_life_s']:.1f}", f"{of['longest_life_s']:.1f}"] for name, of in classes.items()]},
            {"title": "Cameras", "header": ["camera", "pictures", "missing"],
             "rows": [[name.replace("_", " "), f"{of['pictures']}", f"{of['missing']}"]
                      for name, of in cameras.items()]},
            {"title": "Milliseconds", "header": ["step", "median", "95 %"],
             "rows": [[step.replace("_", " "), f"{of['p50']:.1f}", f"{of['p95']:.1f}"]
                      for step, of in latency.items()]},
        ],
        "problems": problems,
    }


def _frames(count: int) -> str:
    return "1 frame" if count == 1 else f"{count} frames"
