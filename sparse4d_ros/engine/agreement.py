"""How far two engines of one package are apart: the same frames, each from the same bank.

From its own bank each would go on with its own rounding; which of many unlikely instances is kept is
decided by the last digit, so after some frames one could not tell an error from luck.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sparse4d_ros.boxes import wrap_angle
from sparse4d_ros.engine.detections import Detections
from sparse4d_ros.engine.engine import Engine, EngineState
from sparse4d_ros.frame import Frame

#: What the columns of a box are called.
COLUMNS = ("x", "y", "z", "length", "width", "height", "yaw", "vx", "vy", "vz")


def differences(first: Detections, second: Detections, min_score: float) -> np.ndarray:
    """For each object of ``first`` above a score, what the nearest of its class in ``second`` differs in ``[n, 10]``.

    Metres, radians and metres per second; infinite where ``second`` has no object of the class.
    """
    rows = np.flatnonzero(first.scores > min_score)
    out = np.full((len(rows), len(COLUMNS)), np.inf)
    for index, row in enumerate(rows):
        same = np.flatnonzero(second.class_ids == first.class_ids[row])
        if len(same):
            difference = np.abs(second.boxes[same] - first.boxes[row])
            difference[:, 6] = np.abs(wrap_angle(second.boxes[same, 6] - first.boxes[row, 6]))
            out[index] = difference[difference.max(axis=1).argmin()]
    return out


@dataclass(frozen=True)
class Comparison:
    """One frame by a reference and by another engine, from the reference's bank."""

    frame: int  #: its number, from 0
    expected: Detections
    found: Detections

    def differences(self, min_score: float) -> np.ndarray:
        """``[n, 10]``: objects of the reference above the score in the other's, then the other way round."""
        return np.concatenate([differences(self.expected, self.found, min_score),
                               differences(self.found, self.expected, min_score)])

    def worst(self, min_score: float, class_names: tuple[str, ...]) -> str:
        """The object that differs most, in words; there must be one above the score."""
        objects = [(detections, index) for detections in (self.expected, self.found)
                   for index in np.flatnonzero(detections.scores > min_score)]
        values = self.differences(min_score)
        row, column = np.unravel_index(values.argmax(), values.shape)
        detections, index = objects[row]
        what = f"differs by {values[row, column]:.2g} in {COLUMNS[column]}"
        if np.isinf(values[row, column]):
            what = "has no partner"
        return (f"frame {self.frame}: {class_names[detections.class_ids[index]]} of score "
                f"{detections.scores[index]:.2f} at ({detections.boxes[index, 0]:.1f}, "
                f"{detections.boxes[index, 1]:.1f}) m {what}")


class Step(NamedTuple):
    """One frame by a reference, and from what it started."""

    number: int  #: from 0
    frame: Frame
    state: EngineState
    expected: Detections


def follow(reference: Engine, frames: Iterable[Frame]) -> Iterator[Step]:
    """The reference's way through a drive."""
    state = reference.initial_state()
    for number, frame in enumerate(frames):
        before = state
        expected, state = reference.step(frame, before)
        yield Step(number, frame, before, expected)


def repeat(step: Step, reference: Engine, other: Engine) -> Comparison:
    """The frame by another engine from the reference's bank; ``RuntimeError`` as :meth:`Engine.step`."""
    found, _ = other.step(step.frame, other.take_over(step.state, reference))
    return Comparison(step.number, step.expected, found)


def compare(
    reference: Engine, others: Mapping[str, Engine], frames: Iterable[Frame],
) -> Iterator[tuple[Detections, dict[str, Comparison | RuntimeError]]]:
    """Frame by frame the reference's result, and each other engine's beside it, or the error that it gave.

    They take turns, so that their times compare too.
    """
    for step in follow(reference, frames):
        found: dict[str, Comparison | RuntimeError] = {}
        for name, engine in others.items():
            try:
                found[name] = repeat(step, reference, engine)
            except RuntimeError as error:  # the backend's own, or numbers that are not finite
                found[name] = error
        yield step.expected, found
