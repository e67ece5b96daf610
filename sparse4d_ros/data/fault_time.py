"""Faults of time: a clock that loops, pauses or jumps, with everything that is stamped by it.

They come before all others, the loop first, and change what /clock says at each moment of the stream.
"""

from __future__ import annotations

import abc
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from random import Random

from sparse4d_ros.data.fault import Fault, option
from sparse4d_ros.data.ros_messages import TF, stamp_ns, to_stamp
from sparse4d_ros.data.timed_messages import CLOCK, CLOCK_TOPIC, Recording, TimedMessage
from sparse4d_ros.errors import UserError

Clock = Callable[[int], int]


@dataclass(kw_only=True)
class TimeFault(Fault):
    """A fault of time at one moment."""

    from_: float = option("happens so many seconds after the first message", 0.0, low=0.0)

    @property
    def from_ns(self) -> int:
        """That moment of the stream."""
        return round(self.from_ * 1e9)

    @abc.abstractmethod
    def clock(self, before: Clock) -> Clock:
        """What the clock says at each time of the stream, from what it said without this fault."""


@dataclass(kw_only=True)
class LaterMoved(TimeFault):
    """A fault of time that moves every message after its moment."""

    def run(self, messages: Iterable[TimedMessage], count: Callable[[TimedMessage], None]) -> Iterator[TimedMessage]:
        happened = False
        for message in messages:
            if message.due_ns < self.from_ns:
                yield message
                continue
            if not happened:
                happened = True
                count(TimedMessage(self.from_ns, CLOCK_TOPIC, CLOCK, b""))
            yield self.moved(message)

    @abc.abstractmethod
    def moved(self, message: TimedMessage) -> TimedMessage:
        """A message after that moment."""


@dataclass(kw_only=True)
class ClockPause(LaterMoved):
    """The recording pauses, as a bag player does: nothing comes and the clock stands still."""

    rows = (36,)
    promise = "no reset; diagnostics go on and call the cameras stale"

    seconds: float = option("how long", 5.0, low=0.0, high=3600.0)

    def clock(self, before: Clock) -> Clock:
        pause_ns = round(self.seconds * 1e9)
        return lambda due_ns: before(due_ns if due_ns < self.from_ns else max(self.from_ns, due_ns - pause_ns))

    def moved(self, message: TimedMessage) -> TimedMessage:
        return message.at(message.due_ns + round(self.seconds * 1e9))


@dataclass(kw_only=True)
class ClockForward(LaterMoved):
    """Clock and all stamps jump forward."""

    rows = (37,)
    promise = "the memory of tracks is emptied (`resets_long_gap`), output goes on in a new epoch"

    seconds: float = option("how far", 30.0, low=0.0, high=1e6)

    @property
    def shift_ns(self) -> int:
        """What is added to every stamp."""
        return round(self.seconds * 1e9)

    def prepare(self, recording: Recording, random: Random) -> None:
        self._headed = recording.headed

    def clock(self, before: Clock) -> Clock:
        return lambda due_ns: before(due_ns) + (self.shift_ns if due_ns >= self.from_ns else 0)

    def moved(self, message: TimedMessage) -> TimedMessage:
        if message.kind in self._headed:
            return message.stamped(message.stamp_ns + self.shift_ns)
        if message.kind != TF:
            return message
        content = message.parsed()
        for item in content.transforms:
            item.header.stamp = to_stamp(stamp_ns(item.header.stamp) + self.shift_ns)
        return message.holding(content)


@dataclass(kw_only=True)
class ClockBackward(ClockForward):
    """Clock and all stamps jump backward."""

    rows = (33, 34, 35)
    promise = ("0.01 s: a frame is dropped, the memory is kept; 1 s and more: everything is emptied "
               "(`resets_backward_jump`), output within 1 s in a new epoch, no id twice")

    @property
    def shift_ns(self) -> int:
        return -super().shift_ns


@dataclass(kw_only=True)
class ClockLoop(TimeFault):
    """The recording is played again from `from` when it reaches `to`, clock and all."""

    rows = (33,)
    promise = "everything is emptied (`resets_backward_jump`), output within 1 s in a new epoch, no id twice"

    from_: float = option("goes back to so many seconds after the first message", 0.0, low=0.0)
    to: float = option("goes back when it is there", low=0.0, high=1e6)
    times: int = option("how often", 1, low=1, high=1_000_000)

    def __post_init__(self) -> None:
        if self.from_ >= self.to:
            raise UserError(f"clock_loop: from={self.from_:g} is not before to={self.to:g}")

    @property
    def _to_ns(self) -> int:
        return round(self.to * 1e9)

    def prepare(self, recording: Recording, random: Random) -> None:
        self._read = recording.read

    def clock(self, before: Clock) -> Clock:
        def looped(due_ns: int) -> int:
            length_ns = self._to_ns - self.from_ns
            rounds = max(0, min(self.times, (due_ns - self._to_ns) // length_ns + 1))
            return before(due_ns - rounds * length_ns)
        return looped

    def run(self, messages: Iterable[TimedMessage], count: Callable[[TimedMessage], None]) -> Iterator[TimedMessage]:
        length_ns = self._to_ns - self.from_ns
        yield from itertools.takewhile(lambda message: message.due_ns < self._to_ns, messages)
        for number in range(1, self.times + 1):
            count(TimedMessage(self._to_ns + (number - 1) * length_ns, CLOCK_TOPIC, CLOCK, b""))
            for message in self._read(self.from_ns, self._to_ns if number < self.times else None):
                yield message.at(message.due_ns + number * length_ns)
