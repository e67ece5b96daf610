"""What the synchronizer hands over: one image per camera that belong to one moment, and its counters."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from enum import IntEnum
from typing import Any


class InputState(IntEnum):
    """What became of a camera in a frame set; the numbers are those of ``CameraInput.state``."""

    OK = 0
    #: No image of this moment came.
    MISSING = 1
    #: None came in time, but the camera lives: its image of the set before came after that was closed.
    LATE = 2
    #: The image was there and could not be used (see :meth:`FrameSet.reject`).
    REJECTED = 3


@dataclass(frozen=True)
class Entry:
    """One camera's part of a frame set."""

    state: InputState
    #: Whatever was given to ``add``; None unless the state is OK.
    payload: Any = None
    stamp_ns: int | None = None
    #: This camera's stamp minus the set's reference stamp.
    offset_ms: float = 0.0


@dataclass(frozen=True)
class FrameSet:
    """Images of one moment. Arrival and completion are steady-clock times, stamps the messages' own."""

    reference_stamp_ns: int
    #: Whose stamp that is: the reference camera, or the one standing in while that is silent.
    reference_camera: str
    #: Every camera, in the order given to the synchronizer (the model's).
    entries: dict[str, Entry]
    first_arrival_ns: int
    complete_ns: int
    #: How often the synchronizer was cleared before this set; a new number means that time ran backwards.
    epoch: int

    @property
    def degraded(self) -> bool:
        """True if any camera is not OK."""
        return any(entry.state is not InputState.OK for entry in self.entries.values())

    @property
    def wait_ms(self) -> float:
        """From the first image in to the set complete."""
        return (self.complete_ns - self.first_arrival_ns) / 1e6

    def reject(self, camera: str) -> FrameSet:
        """The same set with one camera REJECTED: its image turned out broken when it was decoded."""
        entry = replace(self.entries[camera], state=InputState.REJECTED, payload=None)
        return replace(self, entries={**self.entries, camera: entry})


@dataclass
class Counters:
    """Where one camera's images went: ``received`` is the sum of all the other fields at any moment."""

    received: int = 0
    used: int = 0
    #: Came when its set was closed or given up already.
    late: int = 0
    #: Same stamp again: the newer message took its place, or the set was closed already.
    duplicate: int = 0
    #: Older than the image before it, by less than a reset.
    out_of_order: int = 0
    #: Its stamp is not a time (zero or negative).
    rejected: int = 0
    #: Pushed out of a full buffer.
    overflow: int = 0
    #: Part of no set: the set lacked cameras, or a newer one was complete first.
    unmatched: int = 0
    #: Thrown away by a reset.
    cleared: int = 0
    #: Waiting at the moment.
    buffered: int = 0

    def accounted(self) -> int:
        """The sum that must equal ``received``."""
        return sum(getattr(self, item.name) for item in fields(self)) - self.received
