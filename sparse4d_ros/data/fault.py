"""What a fault is: a declaration with a name, fields with ranges, and a stream of messages made a broken one.

A fault is a dataclass; its name on the command line and in files is that of its class (``TfJump`` is
``tf_jump``), its docstring says what goes wrong. Whoever runs it does so on a fresh copy.
"""

from __future__ import annotations

import abc
import dataclasses
import heapq
import itertools
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, ClassVar

from sparse4d_ros.data.timed_messages import Recording, TimedMessage
from sparse4d_ros.errors import UserError

_TYPES = {"float": float, "int": int, "str": str}


def option(text: str, default: Any = dataclasses.MISSING, *, low: float = -math.inf, high: float = math.inf,
           choices: Sequence[str] = ()) -> Any:
    """A field of a fault; without a default it must be given."""
    return dataclasses.field(default=default, metadata={"text": text, "low": low, "high": high, "choices": choices})


@dataclass(kw_only=True)
class Fault(abc.ABC):
    """The common part; ``make`` checks what people write."""

    #: Rows of docs/reliability.md that it exercises.
    rows: ClassVar[tuple[int, ...]] = ()
    #: What a good node does, and where ours counts it.
    promise: ClassVar[str]

    @classmethod
    def name(cls) -> str:
        """As people write it."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()

    @classmethod
    def options(cls) -> dict[str, dataclasses.Field]:
        """The fields by the keys that people write (``from`` is a word of Python's own), what before when."""
        items = sorted(dataclasses.fields(cls), key=lambda item: item.name in ("probability", "from_", "to"))
        return {item.name.rstrip("_"): item for item in items}

    @classmethod
    def make(cls, given: dict[str, str]) -> Fault:
        """The fault of keys and values. ``UserError`` names the key that is wrong."""
        options = cls.options()
        for key in given:
            if key not in options:
                raise UserError(f"the fault {cls.name()} has no field {key!r}; it has {', '.join(options)}")
        for key, item in options.items():
            if item.default is dataclasses.MISSING and key not in given:
                raise UserError(f"the fault {cls.name()} needs {key}= ({item.metadata['text']})")
        return cls(**{options[key].name: _checked(f"{cls.name()}: {key}", value, options[key])
                      for key, value in given.items()})

    def __str__(self) -> str:
        """As it could be written, without what has its default."""
        given = {key: getattr(self, item.name) for key, item in self.options().items()}
        words = [f"{key}={plain(value)}" for key, value in given.items() if value != self.options()[key].default]
        return self.name() + (":" + ",".join(words) if words else "")

    def prepare(self, recording: Recording, random: Random) -> None:  # noqa: B027 (not every fault has to)
        """Look at the recording before the first message. ``UserError`` if the fault finds nothing in it."""

    @abc.abstractmethod
    def run(self, messages: Iterable[TimedMessage], count: Callable[[TimedMessage], None]) -> Iterator[TimedMessage]:
        """The broken stream; ``count`` is told every message that was hit."""


@dataclass(kw_only=True)
class MessageFault(Fault):
    """A fault of single messages on some topics: each is hit or not, and replaced by others, which may come later."""

    probability: float = option("share of the messages that is hit", 1.0, low=0.0, high=1.0)
    from_: float = option("begins so many seconds after the first message", 0.0, low=0.0)
    to: float = option("ends so many seconds after the first message", math.inf, low=0.0)

    #: What it can hit; found by ``prepare``.
    topics = frozenset[str]()

    def __post_init__(self) -> None:
        if self.from_ >= self.to:
            raise UserError(f"{self.name()}: from={plain(self.from_)} is not before to={plain(self.to)}")

    def prepare(self, recording: Recording, random: Random) -> None:
        self._random = random

    def concerns(self, message: TimedMessage) -> bool:
        """Whether it could be hit at any time."""
        return message.topic in self.topics

    def hits(self, message: TimedMessage) -> bool:
        """Whether this one is hit."""
        return self.from_ <= message.due_ns / 1e9 < self.to and (
            self.probability == 1.0 or self._random.random() < self.probability)

    @abc.abstractmethod
    def broken(self, message: TimedMessage) -> list[TimedMessage]:
        """What goes out in place of a message that is hit; nothing of it earlier than that."""

    def spared(self, message: TimedMessage) -> list[TimedMessage]:
        """What goes out in place of a message that is not hit."""
        return [message]

    def rest(self) -> list[TimedMessage]:
        """What is still held back when the stream ends."""
        return []

    def run(self, messages: Iterable[TimedMessage], count: Callable[[TimedMessage], None]) -> Iterator[TimedMessage]:
        waiting: list[tuple[int, int, TimedMessage]] = []  # (due, order of arrival, message)
        arrivals = itertools.count()
        now_ns = 0
        for message in messages:
            now_ns = message.due_ns
            while waiting and waiting[0][0] <= now_ns:
                yield heapq.heappop(waiting)[2]
            if not self.concerns(message):
                yield message
                continue
            hit = self.hits(message)
            for item in self.broken(message) if hit else self.spared(message):
                heapq.heappush(waiting, (item.due_ns, next(arrivals), item))
            if hit:
                count(message)
        for item in self.rest():
            heapq.heappush(waiting, (now_ns, next(arrivals), item.at(now_ns)))
        while waiting:
            yield heapq.heappop(waiting)[2]


def _checked(what: str, value: str, item: dataclasses.Field) -> Any:
    meta, kind = item.metadata, _TYPES[item.type]
    try:
        result = kind(value)
    except ValueError:
        raise UserError(f"{what}={value} is not a {'whole ' if kind is int else ''}number") from None
    if meta["choices"] and result not in meta["choices"]:
        raise UserError(f"{what}={value} is not one of {', '.join(meta['choices'])}")
    if kind is not str and not meta["low"] <= result <= meta["high"]:
        raise UserError(f"{what}={value} does not lie between {plain(meta['low'])} and {plain(meta['high'])}")
    return result


def plain(value: Any) -> str:
    """A value as people write it: 3, not 3.0."""
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)
