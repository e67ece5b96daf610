"""Opening a rosbag2 (MCAP or sqlite3): every way a file can be broken becomes one sentence."""

from __future__ import annotations

import contextlib
import sqlite3
import struct
from collections.abc import Collection, Iterator
from pathlib import Path

from rosbags.highlevel import AnyReader, AnyReaderError
from rosbags.interfaces import Connection
from rosbags.rosbag2 import ReaderError
from rosbags.serde import SerdeError

from sparse4d_ros.data.ros_types import typestore
from sparse4d_ros.errors import UserError

# What rosbags lets through for damaged files besides its own errors: unpacking short records, asserting on
# footers, reading as many bytes as a broken length says, decompressing garbage (zstd and lz4 raise RuntimeErrors).
_DAMAGED = (AnyReaderError, ReaderError, SerdeError, sqlite3.Error, struct.error, AssertionError, OSError,
            EOFError, ValueError, TypeError, KeyError, IndexError, RuntimeError, AttributeError,
            MemoryError, OverflowError)


@contextlib.contextmanager
def open_bag(path: str | Path) -> Iterator[AnyReader]:
    """A reader of the bag at ``path``: a rosbag2 folder, or one ``.mcap`` or ``.db3`` file.

    Raises ``UserError`` if it is missing, unfinished or damaged.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"there is no bag at {path}")
    if path.is_dir() and not (path / "metadata.yaml").is_file():
        raise UserError(f"{path} is not a finished rosbag2: it has no metadata.yaml "
                        "(`ros2 bag reindex` repairs an interrupted recording)")
    try:
        reader = AnyReader([path], default_typestore=typestore())
        reader.open()
    except _DAMAGED as error:
        raise _unreadable(path, error) from error
    try:
        yield reader
    finally:
        reader.close()


def messages(reader: AnyReader, connections: Collection[Connection]) -> Iterator[tuple[Connection, int, bytes]]:
    """``(connection, log time in ns, serialised message)`` in order of log time.

    Unlike ``reader.messages`` an empty selection gives nothing, and damage raises ``UserError``.
    """
    if not connections:
        return
    iterator = reader.messages(connections=connections)
    while True:
        try:
            item = next(iterator)
        except StopIteration:
            return
        except _DAMAGED as error:
            raise _unreadable(reader.paths[0], error) from error
        yield item


def deserialize(reader: AnyReader, connection: Connection, raw: bytes):
    """The message; ``UserError`` naming bag and topic if its bytes do not fit its type."""
    try:
        return reader.deserialize(raw, connection.msgtype)
    except _DAMAGED as error:
        raise UserError(f"{reader.paths[0]}: a message on {connection.topic} is not a valid {connection.msgtype}: "
                        f"{error or type(error).__name__}") from error


def header_stamp_ns(raw: bytes) -> int:
    """Stamp of a serialised message that starts with a Header, without deserialising the rest.

    CDR: four bytes of encapsulation (the second tells the byte order), then ``int32 sec`` and
    ``uint32 nanosec``. Raises ``ValueError`` for fewer bytes.
    """
    if len(raw) < 12:
        raise ValueError("the message is too short for a header")
    seconds, nanoseconds = struct.unpack_from("<iI" if raw[1] & 1 else ">iI", raw, 4)
    return seconds * 1_000_000_000 + nanoseconds


def _unreadable(path: str | Path, error: Exception) -> UserError:
    return UserError(f"{path} cannot be read as a rosbag2 (damaged, or still being written): "
                     f"{str(error) or type(error).__name__}")
