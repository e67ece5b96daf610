"""Finished frames between the thread that makes them and those that serve them, and how far the making is."""

from __future__ import annotations

import json
import os
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from sparse4d_ros.writing import blaming

#: Where a blob lies in the file; kept in memory, the blob itself.
_Place = tuple[int, int] | bytes


@dataclass(frozen=True)
class Status:
    """What the page is told whenever it changes."""

    #: Frames so far; the newest has the number ``count - 1``.
    count: int = 0
    #: How many there will be; None where nobody knows.
    total: int | None = None
    #: No more frames will come.
    done: bool = False
    #: Why frames are missing, in a sentence.
    problem: str = ""

    def to_json(self) -> dict[str, Any]:
        """For the page."""
        return asdict(self)


class FrameStore:
    """Frames by number, from 0; one thread appends, any thread reads.

    All are kept in a temporary file, so that going back costs nothing and memory stays small; with ``keep``, only the
    newest so many, in memory.
    """

    def __init__(self, total: int | None = None, keep: int | None = None) -> None:
        self._keep = keep
        self._file = tempfile.TemporaryFile() if keep is None else None
        self._size = 0
        self._frames: dict[int, tuple[_Place, list[_Place | None]]] = {}
        self._status = Status(total=total)
        self._changed = threading.Condition()
        self._closed = False

    def append(self, document: dict[str, Any], pictures: Sequence[bytes | None]) -> None:
        """Add a frame; ``ValueError`` if the document holds a number that is not finite."""
        text = json.dumps(document, separators=(",", ":"), allow_nan=False).encode()
        places = self._put(text), [None if picture is None else self._put(picture) for picture in pictures]
        with self._changed:
            count = self._status.count
            self._frames[count] = places
            if self._keep is not None:
                self._frames.pop(count - self._keep, None)
        self._update(count=count + 1)

    def document(self, number: int) -> bytes:
        """The JSON of a frame; ``KeyError`` if it is not there."""
        return self._get(self._frames[number][0])

    def picture(self, number: int, camera: int) -> bytes:
        """The JPEG of a camera; ``KeyError`` if it is not there."""
        pictures = self._frames[number][1]
        if not 0 <= camera < len(pictures) or pictures[camera] is None:
            raise KeyError(camera)
        return self._get(pictures[camera])

    @property
    def status(self) -> Status:
        """How far it is."""
        return self._status

    def finish(self, problem: str = "") -> None:
        """No more frames come."""
        self._update(done=True, total=self._status.count, problem=problem)

    def report(self, problem: str) -> None:
        """Tell the page of a problem, or with "" that it is over."""
        if problem != self._status.problem:
            self._update(problem=problem)

    def close(self) -> None:
        """Let go of those who wait for news."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def wait_for_news(self, known: Status | None, timeout_s: float) -> Status | None:
        """The status as soon as it is another than ``known``, or after ``timeout_s``; None once closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._status != known, timeout_s)
            return None if self._closed else self._status

    def _update(self, **changes: Any) -> None:
        with self._changed:
            self._status = replace(self._status, **changes)
            self._changed.notify_all()

    def _put(self, blob: bytes) -> _Place:
        if self._file is None:
            return blob
        offset = self._size
        with blaming(f"the temporary file in {tempfile.gettempdir()}"):
            self._file.write(blob)
            self._file.flush()
        self._size += len(blob)
        return offset, len(blob)

    def _get(self, place: _Place) -> bytes:
        return place if isinstance(place, bytes) else os.pread(self._file.fileno(), place[1], place[0])
