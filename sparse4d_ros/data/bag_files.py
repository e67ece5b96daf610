"""Opening a rosbag2 (MCAP or sqlite3): every way a file can be broken becomes one sentence."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Collection, Iterator
from pathlib import Path

import yaml
from rosbags.highlevel import AnyReader
from rosbags.interfaces import Connection

from sparse4d_ros.data.ros_types import typestore
from sparse4d_ros.errors import UserError

# For a damaged file rosbags lets through whatever its parts raise. Fuzzing (test/fuzz) saw, beside the errors of
# rosbags itself, KeyError, MemoryError, OverflowError, UnicodeDecodeError and struct.error, and those of apsw and
# backports.zstd: packages that are its own affair, and others in another version. A list would be wrong with the next.
DAMAGED = Exception

#: The key of a bag's ``custom_data`` that names the weather, in words separated by commas.
WEATHER = "weather"


def custom_data(path: str | Path) -> dict[str, str]:
    """What the writer of a bag noted about the whole of it; nothing for a single file or an older format.

    Raises ``UserError`` if the metadata is damaged.
    """
    path = Path(path)
    if not path.is_dir():
        return {}
    try:
        metadata = yaml.safe_load((path / "metadata.yaml").read_text())
        noted = metadata["rosbag2_bagfile_information"].get("custom_data") or {}
        return {str(key): str(value) for key, value in noted.items()}
    except DAMAGED as error:
        raise _unreadable(path, error) from error


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
    except DAMAGED as error:
        raise _unreadable(path, error) from error
    try:
        yield reader
    finally:
        reader.close()


def messages(reader: AnyReader, connections: Collection[Connection], start_ns: int | None = None,
             stop_ns: int | None = None) -> Iterator[tuple[Connection, int, bytes]]:
    """``(connection, log time in ns, serialised message)`` in order of log time, from start to before stop.

    Unlike ``reader.messages`` an empty selection gives nothing, and damage raises ``UserError``.
    """
    if not connections:
        return
    iterator = reader.messages(connections, start_ns, stop_ns)
    while True:
        try:
            item = next(iterator)
        except StopIteration:
            return
        except DAMAGED as error:
            raise _unreadable(reader.paths[0], error) from error
        yield item


def deserialize(reader: AnyReader, connection: Connection, raw: bytes):
    """The message; ``UserError`` naming bag and topic if its bytes do not fit its type."""
    try:
        return reader.deserialize(raw, connection.msgtype)
    except DAMAGED as error:
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


def with_header_stamp(raw: bytes, stamp_ns: int) -> bytes:
    """The serialised message with another stamp in its Header, which it starts with.

    Raises ``ValueError`` for fewer bytes, and for a stamp beyond 68 years of 1970.
    """
    if len(raw) < 12:
        raise ValueError("the message is too short for a header")
    try:
        stamp = struct.pack("<iI" if raw[1] & 1 else ">iI", *divmod(stamp_ns, 1_000_000_000))
    except struct.error as error:
        raise ValueError(f"{stamp_ns} ns is no stamp") from error
    return raw[:4] + stamp + raw[12:]


def _unreadable(path: str | Path, error: Exception) -> UserError:
    return UserError(f"{path} cannot be read as a rosbag2 (damaged, or still being written): "
                     f"{str(error) or type(error).__name__}")
