"""Signatures first; bodies follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class InputState(Enum):
    """What became of a camera in a frame set; the values are those of ``CameraInput.state``."""

    OK = 0
    MISSING = 1
    LATE = 2
    REJECTED = 3


@dataclass(frozen=True)
class Entry:
    """One camera's part of a frame set."""

    state: InputState
    payload: Any = None
    stamp_ns: int | None = None
    offset_ms: float = 0.0   # stamp minus the set's reference stamp


@dataclass(frozen=True)
class FrameSet:
    """Images that belong together; ``entries`` holds every camera, in the given order."""

    reference_stamp_ns: int
    reference_camera: str     # whose stamp that is; another one only while the reference camera is dead
    entries: dict[str, Entry]
    first_arrival_ns: int     # steady clock
    complete_ns: int          # steady clock, when the set closed
    epoch: int                # how often the synchronizer was cleared; a change means: time ran backwards

    @property
    def degraded(self) -> bool: ...

    def reject(self, camera: str) -> FrameSet:
        """The same set with one camera REJECTED (its image could not be decoded)."""
        ...


@dataclass
class Counters:
    """received = the sum of all others, always (buffered: still waiting)."""

    received: int = 0
    used: int = 0
    late: int = 0
    duplicate: int = 0
    out_of_order: int = 0
    rejected: int = 0
    overflow: int = 0
    unmatched: int = 0
    cleared: int = 0
    buffered: int = field(default=0)


class Synchronizer:
    """Not thread-safe: add and poll from one thread (the executor's)."""

    def __init__(self, cameras: Sequence[str], reference: str, *, max_stamp_spread_ms: float = 100.0,
                 max_wait_ms: float = 60.0, min_cameras: int | None = None,
                 reset_on_backward_jump_ms: float = 500.0) -> None: ...

    def add(self, camera: str, stamp_ns: int, payload: Any, now_ns: int | None = None) -> FrameSet | None: ...

    def poll(self, now_ns: int | None = None) -> FrameSet | None:
        """Close what max_wait_ms has ended; call from a timer (about 10 ms), or at ``next_deadline_ns``."""
        ...

    def next_deadline_ns(self) -> int | None: ...

    def reset(self) -> None:
        """Forget all images (counted as cleared); epoch + 1."""
        ...

    @property
    def epoch(self) -> int: ...

    @property
    def sets_closed(self) -> int: ...

    @property
    def sets_dropped(self) -> int: ...

    @property
    def counters(self) -> dict[str, Counters]: ...

    def clock_offset_ms(self, camera: str) -> float | None:
        """By how much this camera's clock seems ahead of the reference camera's (diagnostics); None if unknown."""
        ...
