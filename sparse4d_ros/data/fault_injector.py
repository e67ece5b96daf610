"""Faults put into a recording, one after another, with an account of what they hit."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from random import Random

from sparse4d_ros.data.fault import Fault
from sparse4d_ros.data.fault_time import ClockLoop, TimeFault
from sparse4d_ros.data.timed_messages import Recording, TimedMessage
from sparse4d_ros.errors import UserError

#: The running account has a line of each fault at most every so often.
_SAY_EVERY_NS = 1_000_000_000


class Injector:
    """A recording with faults: those of time come first (the loop, then as they happen), the others as given.

    Seconds count from the first message, with the pauses and loops of faults before. The same recording,
    faults and seed give the same stream.
    """

    def __init__(self, recording: Recording, faults: Sequence[Fault] = (), seed: int = 0,
                 say: Callable[[str], None] = lambda text: None) -> None:
        """``say`` takes sentences about what is broken while it is. ``UserError`` for what finds nothing to break."""
        self.recording, self.seed, self._say = recording, seed, say
        if sum(isinstance(fault, ClockLoop) for fault in faults) > 1:
            raise UserError("there can be one clock_loop; it has times=")
        in_time = [fault for fault in faults if isinstance(fault, TimeFault)]
        in_time.sort(key=lambda fault: (not isinstance(fault, ClockLoop), fault.from_))
        self.faults = [*in_time, *(fault for fault in faults if not isinstance(fault, TimeFault))]
        #: How many messages of a topic were hit by a fault, which is known by its place in ``faults``.
        self.counts: Counter[tuple[int, str]] = Counter()
        self.clock: Callable[[int], int] = lambda due_ns: recording.begin_ns + due_ns
        for fault in in_time:
            self.clock = fault.clock(self.clock)
        self._prepared()

    def messages(self) -> Iterator[TimedMessage]:
        """The broken stream, from its beginning; it can be asked for again."""
        stream = self.recording.read(0, None)
        for place, fault in enumerate(self._prepared()):
            stream = fault.run(stream, self._counter(place, str(fault)))
        return stream

    def report(self) -> str:
        """How many messages each fault has hit, by topic."""
        lines = []
        for place, fault in enumerate(self.faults):
            hits = sorted((topic, count) for (number, topic), count in self.counts.items() if number == place)
            lines += [f"{count:8d}  {topic}  {fault}" for topic, count in hits or [("nothing was hit", 0)]]
        return "\n".join([f"broken on purpose, seed {self.seed}:", *lines])

    def _prepared(self) -> list[Fault]:
        """Fresh copies, which keep what they have seen of one stream."""
        fresh = [dataclasses.replace(fault) for fault in self.faults]
        for place, fault in enumerate(fresh):
            fault.prepare(self.recording, Random(f"{self.seed}/{place}"))
        return fresh

    def _counter(self, place: int, name: str) -> Callable[[TimedMessage], None]:
        said_ns = -_SAY_EVERY_NS

        def count(message: TimedMessage) -> None:
            nonlocal said_ns
            self.counts[place, message.topic] += 1
            if message.due_ns >= said_ns + _SAY_EVERY_NS:
                said_ns = message.due_ns
                total = sum(number for (other, _), number in self.counts.items() if other == place)
                self._say(f"at {message.due_ns / 1e9:.1f} s {name} has hit {total}")
        return count
