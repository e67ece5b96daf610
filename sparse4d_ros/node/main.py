"""Entry point of the node's process: signals and exit codes.

The imports below take seconds, and a signal must count from the first moment on: everything but the
standard library is imported after the signals are caught.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

#: A process that was told to stop is gone after this, whatever hangs.
_EXIT_WITHIN_S = 4.5
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def main(arguments: list[str] | None = None, engine_factory: Callable[[Any], Any] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM (exit 0); with one sentence on stderr 2 for wrong ROS arguments or an
    unreadable parameter file, 1 if it cannot start for another reason.

    ``engine_factory`` makes the engine from the settings; None loads the model package.
    """
    stop = StopSignals()
    try:
        from sparse4d_ros.node.process import run

        return run(arguments, engine_factory, stop)
    except ModuleNotFoundError as error:
        from sparse4d_ros.installing import missing

        print(missing("sparse4d_node", str(error.name)), file=sys.stderr)
        return 1
    finally:
        stop.ignore()


class StopSignals:
    """SIGINT and SIGTERM, heard by a thread of its own.

    Python runs handlers in the main thread between two lines of Python; that thread may be inside a
    library for long. A descriptor is written at once, and the thread reads it. rclpy's handlers are
    not used: they end the context before the node could deactivate in order.
    """

    def __init__(self) -> None:
        #: Set by the first signal.
        self.told = threading.Event()
        self._wake: Callable[[], object] | None = None
        self._lock = threading.Lock()
        self._reader, writer = os.pipe()
        os.set_blocking(writer, False)
        for number in _SIGNALS:
            signal.signal(number, lambda number, frame: None)
        signal.set_wakeup_fd(writer)
        threading.Thread(target=self._watch, name="signals", daemon=True).start()

    def wake_with(self, wake: Callable[[], object]) -> None:
        """From now on the first signal calls ``wake`` and gives the process time to end in order; before, it
        ends at once."""
        with self._lock:
            self._wake = wake

    def ignore(self) -> None:
        """The process ends by itself: a further signal must not kill it while the interpreter leaves."""
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)

    def _watch(self) -> None:
        os.read(self._reader, 1)
        with self._lock:
            self.told.set()
            if self._wake is None:
                leave(0)  # nothing has begun that must be ended in order
            self._wake()
        threading.Event().wait(_EXIT_WITHIN_S)
        print("sparse4d_node: something hangs; leaving without it", file=sys.stderr)
        leave(0)


def leave(code: int) -> None:
    """End the process at once, without waiting for any thread."""
    sys.stderr.flush()
    sys.stdout.flush()
    os._exit(code)


if __name__ == "__main__":
    leave(main())
