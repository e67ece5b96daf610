"""A bag as a stream of serialised messages with the moment at which each goes out, and the clock beside it.

What plays, writes or breaks a bag passes such streams on. Times of a stream are nanoseconds since the bag's
begin and never fall; what the clock says at each of them is a function, since time itself may be broken.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from rosbags.highlevel import AnyReader
from rosbags.interfaces import Connection

from sparse4d_ros.data import bag_files
from sparse4d_ros.data.ros_types import typestore
from sparse4d_ros.errors import UserError

CLOCK_TOPIC, CLOCK = "/clock", "rosgraph_msgs/msg/Clock"


@dataclass(frozen=True)
class TimedMessage:
    """One serialised message (CDR) on its way."""

    due_ns: int
    topic: str
    kind: str
    raw: bytes

    def at(self, due_ns: int) -> TimedMessage:
        """The same message, going out at another time."""
        return replace(self, due_ns=due_ns)

    @property
    def stamp_ns(self) -> int:
        """The header's stamp; only for types that begin with a header. ``UserError`` for too few bytes."""
        try:
            return bag_files.header_stamp_ns(self.raw)
        except ValueError as error:
            raise UserError(f"{self.topic}: {error}") from error

    def stamped(self, stamp_ns: int) -> TimedMessage:
        """The same message with another header stamp; ``UserError`` for too few bytes, or no time that fits."""
        try:
            return replace(self, raw=bag_files.with_header_stamp(self.raw, stamp_ns))
        except ValueError as error:
            raise UserError(f"{self.topic}: {error}") from error

    def parsed(self) -> Any:
        """The message itself, of a type of :func:`ros_types.typestore`; ``UserError`` if its bytes do not fit."""
        try:
            return typestore().deserialize_cdr(self.raw, self.kind)
        except bag_files.DAMAGED as error:
            raise UserError(f"a message on {self.topic} is not a valid {self.kind}: {error}") from error

    def holding(self, content: Any) -> TimedMessage:
        """The same message with another content."""
        return replace(self, raw=bytes(typestore().serialize_cdr(content, self.kind)))


@dataclass(frozen=True)
class Recording:
    """What is known of a bag before it is played."""

    name: str
    #: Message type by topic.
    kinds: Mapping[str, str]
    #: Types that begin with a std_msgs/Header.
    headed: frozenset[str]
    #: What the clock says at time 0 of the stream.
    begin_ns: int
    #: The messages from one time (inclusive) to another (exclusive; None: to the end) as a stream.
    read: Callable[[int, int | None], Iterator[TimedMessage]]


def recording_of(reader: AnyReader, connections: Collection[Connection]) -> Recording:
    """The recording in an open bag, of these connections alone."""
    begin_ns = reader.start_time

    def read(start_ns: int, stop_ns: int | None) -> Iterator[TimedMessage]:
        stop_log_ns = None if stop_ns is None else begin_ns + stop_ns
        for connection, log_ns, raw in bag_files.messages(reader, connections, begin_ns + start_ns, stop_log_ns):
            yield TimedMessage(log_ns - begin_ns, connection.topic, connection.msgtype, bytes(raw))

    kinds = {connection.topic: connection.msgtype for connection in connections}
    headed = frozenset(kind for kind in kinds.values() if _begins_with_header(reader, kind))
    return Recording(str(reader.paths[0]), kinds, headed, begin_ns, read)


def _begins_with_header(reader: AnyReader, kind: str) -> bool:
    _, fields = reader.typestore.fielddefs.get(kind, ((), ()))
    return bool(fields) and fields[0][1][1] == "std_msgs/msg/Header"


def with_clock(messages: Iterable[TimedMessage], clock: Callable[[int], int], period_ns: int
               ) -> Iterator[TimedMessage]:
    """The stream with /clock before every message, and each ``period_ns`` in longer gaps, where it has moved."""
    shown_ns = previous_ns = None
    for message in messages:
        # One less than a period before the message would only add to what everybody must take in.
        between = () if previous_ns is None else range(previous_ns + period_ns, message.due_ns - period_ns, period_ns)
        for due_ns in itertools.chain(between, (message.due_ns,)):
            if (now_ns := clock(due_ns)) != shown_ns:
                shown_ns = now_ns
                yield TimedMessage(due_ns, CLOCK_TOPIC, CLOCK,
                                   b"\0\1\0\0" + struct.pack("<iI", *divmod(now_ns, 1_000_000_000)))
        yield message
        previous_ns = message.due_ns
