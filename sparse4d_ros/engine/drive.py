"""A whole drive through the engine, starting with an empty bank: what evaluation and viewer run."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sparse4d_ros.engine.detections import Detections
from sparse4d_ros.engine.engine import Engine, FrameRejected, NumericalError
from sparse4d_ros.frame import LabelledFrame


@dataclass(frozen=True)
class DriveStep:
    """One frame and what the engine made of it."""

    item: LabelledFrame
    #: None where the engine refused the frame. Its timing has ``total`` too, the whole step.
    detections: Detections | None
    #: Why there are no detections.
    failure: str


def run_drive(engine: Engine, frames: Iterable[LabelledFrame], memory: bool = True) -> Iterator[DriveStep]:
    """The frames in their order, each with its detections; a frame that fails costs only itself.

    Without ``memory`` the bank is emptied before every frame.
    """
    state = engine.initial_state()
    for item in frames:
        if not memory:
            state = engine.reset(state)
        detections, failure = None, ""
        start = time.perf_counter()
        try:
            detections, state = engine.step(item.frame, state)
            detections.timing_ms["total"] = (time.perf_counter() - start) * 1e3
        except FrameRejected as error:
            failure = str(error)
        except NumericalError as error:  # nothing of the bank can be trusted after it
            failure = str(error)
            state = engine.reset(state)
        yield DriveStep(item, detections, failure)
