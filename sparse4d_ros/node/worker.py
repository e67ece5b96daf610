"""One thread that works on the newest item only: a mailbox with one slot, a drop counter, a watchdog.

No ROS here. The executor thread calls `put` and never waits; a slow or hanging job cannot build a
backlog, and an exception in a job costs that job alone.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Worker(Generic[Item]):
    """Runs ``job(item)`` for the newest item put, one at a time, in a thread of its own.

    ``on_error(exception)`` is called in that thread when the job raises; the thread goes on.
    """

    def __init__(self, job: Callable[[Item], None], on_error: Callable[[Exception], None],
                 name: str = "sparse4d_worker", clock: Callable[[], float] = time.monotonic) -> None:
        self._job, self._on_error, self._clock = job, on_error, clock
        self._condition = threading.Condition()
        self._slot: list[Item] = []
        self._busy_since: float | None = None
        self._stopping = False
        self._replaced = 0
        self._finished = 0
        self._ended = False
        self._at_end: list[Callable[[], None]] = []
        # A daemon: a job that hangs in native code must not keep the process alive.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, item: Item) -> None:
        """Hand over an item; one that still waits is replaced and counted. Never blocks on the job."""
        with self._condition:
            if self._stopping:
                return
            self._replaced += len(self._slot)
            self._slot = [item]
            self._condition.notify()

    def clear(self) -> None:
        """Forget an item that still waits (after a backward jump it belongs to the past); counted too."""
        with self._condition:
            self._replaced += len(self._slot)
            self._slot = []

    @property
    def replaced(self) -> int:
        """Items that were never worked on since a newer one, or a reset, came first."""
        return self._replaced

    @property
    def finished(self) -> int:
        """Jobs that ended, with or without an exception."""
        return self._finished

    def busy_s(self) -> float:
        """Watchdog: how long the job in work has been running, steady seconds; 0 while idle."""
        since = self._busy_since
        return 0.0 if since is None else self._clock() - since

    def stop(self, timeout_s: float) -> bool:
        """Take no more items and wait for the job in work; False if it still hangs after the timeout."""
        with self._condition:
            self._stopping = True
            self._slot = []
            self._condition.notify()
        if self._thread is not threading.current_thread():
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def at_end(self, action: Callable[[], None]) -> None:
        """Call ``action`` when no job runs any more: at once, or, where one hangs, in its thread when it comes back.

        For after :meth:`stop`.
        """
        with self._condition:
            if not self._ended:
                self._at_end.append(action)
                return
        action()

    def _run(self) -> None:
        self._work()
        with self._condition:
            self._ended = True
        for action in self._at_end:
            action()

    def _work(self) -> None:
        while True:
            with self._condition:
                while not self._slot and not self._stopping:
                    self._condition.wait()
                if self._stopping:
                    return
                item = self._slot.pop()
                self._busy_since = self._clock()
            try:
                self._job(item)
            except Exception as error:  # whatever one frame does, the next must have its chance
                try:
                    self._on_error(error)
                except Exception:
                    traceback.print_exc()
            finally:
                del item  # do not hold six images until the next set arrives
                self._busy_since = None
                self._finished += 1
