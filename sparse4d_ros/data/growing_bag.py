"""A rosbag2 (MCAP) that grows while a vehicle drives, and can be read up to its last part at any moment.

A part is a file of its own. Whatever ends a recording (a full disk, a power cut, a file system that takes no larger
files) costs at most the part that was being written: those before it are whole, and so is the metadata that makes
one bag of them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from time import monotonic_ns
from typing import Any

import yaml

from sparse4d_ros.data.bag_output import BagOutput
from sparse4d_ros.errors import UserError
from sparse4d_ros.writing import blaming, write_text

PART_S = 60.0
#: So often free space is looked at and the disk is made to take what it was given: a part shall not end with a
#: minute's worth of writing.
_LOOK_NS = 1_000_000_000


class _Since:
    """How long ago something was, by log times or by the steady clock: log times can stand still."""

    def __init__(self) -> None:
        self._log_ns = self._steady_ns = 0

    def over(self, log_ns: int, limit_ns: int) -> bool:
        """Whether it is ``limit_ns`` ago by either."""
        return max(log_ns - self._log_ns, monotonic_ns() - self._steady_ns) >= limit_ns

    def begin(self, log_ns: int) -> None:
        """It is now."""
        self._log_ns, self._steady_ns = log_ns, monotonic_ns()


class GrowingBag:
    """Takes serialised messages in order of log time; use as a context manager, which keeps what was written.

    ``path`` is a new folder. ``keep_free`` bytes of its disk are left to others.
    """

    def __init__(self, path: str | Path, *, part_s: float = PART_S, keep_free: int = 0) -> None:
        self.path = Path(path)
        self._part_ns, self._keep_free = round(part_s * 1e9), keep_free
        self._part: BagOutput | None = None
        self._begun, self._looked = _Since(), _Since()
        self._metadata: dict[str, Any] = {}
        #: Bytes of messages that were taken.
        self.size = 0

    @property
    def parts(self) -> int:
        """Finished files."""
        return len(self._metadata.get("files", ()))

    def __enter__(self) -> GrowingBag:
        try:
            with blaming(self.path):
                self.path.mkdir(parents=True)
        except UserError as error:
            if self.path.exists():
                raise UserError(f"{self.path} exists already; remove it or choose another name") from error
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._end_part()
        finally:
            with contextlib.suppress(OSError):
                self.path.rmdir()  # where nothing was recorded

    def write(self, topic: str, kind: str, log_ns: int, raw: bytes, *, latched: bool = False) -> None:
        """Write one message (CDR) of a type that ``ros_types`` knows.

        ``UserError`` if the disk is as full as it may be (all that was written before is kept) or cannot be written
        to (the part that was being written is lost).
        """
        if self._looked.over(log_ns, _LOOK_NS):
            self._looked.begin(log_ns)
            self._check_space()
            if self._part:
                _sync(self._part.file)
        if not self._part or self._begun.over(log_ns, self._part_ns):
            self._end_part()
            self._part = BagOutput(self.path / f"{self.path.name}_{self.parts}").__enter__()
            self._begun.begin(log_ns)
        try:
            self._part.put_raw(topic, kind, log_ns, raw, latched=latched)
            self._part.flush()
        except UserError as error:
            part, self._part = self._part, None
            part.__exit__(type(error), error, None)
            raise UserError(f"{error}; what was recorded before this file is in {self.path}") from error
        self.size += len(raw)

    def _check_space(self) -> None:
        free = shutil.disk_usage(self.path).free
        if free < self._keep_free:
            raise UserError(f"the disk of {self.path} is nearly full: {free / 1e9:.1f} GB are free and "
                            f"{self._keep_free / 1e9:.1f} GB shall stay so")

    def _end_part(self) -> None:
        """Make the open part, if it holds anything, a file of the bag."""
        part, self._part = self._part, None
        if part is None:
            return
        part.__exit__(None, None, None)
        found = yaml.safe_load((part.path / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
        file = part.path / part.file.name
        _sync(file)  # the metadata must not name a file that a power cut empties
        with blaming(file):
            file.rename(self.path / file.name)
        metadata = _joined(self._metadata, found) if self._metadata else found
        write_text(self.path / "metadata.yaml", yaml.safe_dump({"rosbag2_bagfile_information": metadata}))
        _sync(self.path / "metadata.yaml")
        _sync(self.path)
        self._metadata = metadata
        shutil.rmtree(part.path)


def _sync(path: Path) -> None:
    """Have the disk hold what was written to a file, or which files a folder has."""
    with blaming(path):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _joined(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """The metadata of a bag, and of one that follows it in time, as that of both."""
    topics = {item["topic_metadata"]["name"]: item for item in first["topics_with_message_count"]}
    for item in second["topics_with_message_count"]:
        name = item["topic_metadata"]["name"]
        before = topics[name]["message_count"] if name in topics else 0
        topics[name] = {**item, "message_count": before + item["message_count"]}
    begin_ns = first["starting_time"]["nanoseconds_since_epoch"]
    end_ns = second["starting_time"]["nanoseconds_since_epoch"] + second["duration"]["nanoseconds"]
    return {**first, "duration": {"nanoseconds": end_ns - begin_ns},
            "message_count": first["message_count"] + second["message_count"],
            "topics_with_message_count": list(topics.values()),
            **{key: first[key] + second[key] for key in ("files", "relative_file_paths")}}
