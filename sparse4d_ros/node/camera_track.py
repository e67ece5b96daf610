"""What the synchronizer knows of one camera: the images that wait, its rhythm and its clock."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from sparse4d_ros.node.frame_set import Counters

# Rhythm is told from this many steps between images, from three on. Dropped images make steps longer, never
# shorter: the lower quartile is the period even when most are too long, or two stray ones too short.
_RECENT = 9
_ENOUGH = 3
# A replay this much slower than its stamps stretches the waits; below it is jitter.
_SLOW_REPLAY, _SLOWEST_REPLAY = 1.25, 10.0
# How far the usual offset follows one new observation.
_PHASE_GAIN = 0.2
# Sets without this camera after which its usual offset is forgotten, so that a wrong one cannot lock it out.
_PHASE_MISSES = 3


@dataclass
class BufferedImage:
    """An image that waits for its set; ``stamp_ns`` is the camera's clock, ``arrival_ns`` our steady one."""

    stamp_ns: int
    arrival_ns: int
    payload: Any

    @property
    def delay_ns(self) -> int:
        """Arrival minus stamp. Means nothing alone (two clocks); between cameras it shows a clock that is off."""
        return self.arrival_ns - self.stamp_ns


@dataclass
class CameraTrack:
    """One camera. Stamps in ``images`` ascend; ``newest_ns`` outlives them, so that none comes back."""

    name: str
    images: list[BufferedImage] = field(default_factory=list)
    counters: Counters = field(default_factory=Counters)
    newest_ns: int | None = None
    last_arrival_ns: int | None = None
    #: An image came too late since the last set: the camera is slow, not dead.
    came_late: bool = False
    #: Usual stamp difference to the reference camera; None until a set has shown it.
    phase_ns: float | None = None
    #: Time between two triggers by the stamps; follows at once when the rate goes up.
    period_ns: float | None = None
    #: How many times slower than its stamps it arrives: 1 live, 3.3 in a bag played at rate 0.3.
    slowness: float = 1.0
    _misses: int = 0
    _stamp_steps: deque[int] = field(default_factory=lambda: deque(maxlen=_RECENT))
    _arrival_steps: deque[int] = field(default_factory=lambda: deque(maxlen=_RECENT))
    _delays: deque[int] = field(default_factory=lambda: deque(maxlen=_RECENT))

    @property
    def offset_ns(self) -> float:
        """Expected stamp difference to the reference camera."""
        return self.phase_ns or 0.0

    @property
    def knows_period(self) -> bool:
        """Enough images in a row were seen that one dropped among them does not double the period."""
        return len(self._stamp_steps) >= _ENOUGH

    def delay_ns(self) -> float | None:
        """Usual arrival minus stamp."""
        return median(self._delays) if self._delays else None

    def observe(self, stamp_ns: int, arrival_ns: int) -> None:
        """Note the rhythm of an image that is newer than all before it."""
        if self.newest_ns is not None and self.last_arrival_ns is not None:
            self._stamp_steps.append(stamp_ns - self.newest_ns)
            self._arrival_steps.append(arrival_ns - self.last_arrival_ns)
            self.period_ns = min(sorted(self._stamp_steps)[len(self._stamp_steps) // 4], self._stamp_steps[-1])
            if len(self._stamp_steps) > _RECENT // 2:
                ratio = median(self._arrival_steps) / median(self._stamp_steps)
                self.slowness = min(ratio, _SLOWEST_REPLAY) if ratio > _SLOW_REPLAY else 1.0
        self._delays.append(arrival_ns - stamp_ns)
        self.newest_ns, self.last_arrival_ns = stamp_ns, arrival_ns

    def matched(self, difference_ns: float) -> None:
        """Learn the usual offset from a closed set."""
        self._misses = 0
        self.phase_ns = difference_ns if self.phase_ns is None else self.phase_ns + _PHASE_GAIN * (
            difference_ns - self.phase_ns)

    def wrap(self, period_ns: float | None) -> None:
        """Beyond three quarters of a period the usual offset is that to the neighbouring trigger.

        Cameras that run free drift there; so late that the change does not flutter about one half.
        """
        if period_ns and self.phase_ns and abs(self.phase_ns) > 0.75 * period_ns:
            self.phase_ns -= period_ns if self.phase_ns > 0 else -period_ns

    def missed(self) -> None:
        """A set was closed or given up without this camera."""
        self._misses += 1
        if self._misses >= _PHASE_MISSES:
            self.phase_ns = None

    def clear(self) -> None:
        """Throw the images away and forget which stamp was newest."""
        self.counters.cleared += len(self.images)
        self.images.clear()
        self.newest_ns, self.came_late = None, False
        self._delays.clear()
