"""The node's log: each text at most once a second (rclpy throttles by line of code only), and the libraries' logs."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from rclpy.impl.rcutils_logger import RcutilsLogger


class ThrottledLog:
    """Warnings and errors by key, from any thread; what is suppressed in between is counted in the next text."""

    def __init__(self, logger: RcutilsLogger, period_s: float = 1.0,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self._logger, self._period_s, self._clock = logger, period_s, clock
        self._last: dict[str, tuple[float, int]] = {}
        self._lock = threading.Lock()

    def info(self, text: str) -> None:
        """What happens rarely by itself; never throttled."""
        self._logger.info(text)

    def warning(self, key: str, text: str) -> None:
        """Log a warning unless one of the same key was logged just before."""
        suffix = self._due(key)
        if suffix is not None:
            self._logger.warning(text + suffix)

    def error(self, key: str, text: str) -> None:
        """Log an error unless one of the same key was logged just before."""
        suffix = self._due(key)
        if suffix is not None:
            self._logger.error(text + suffix)

    def _due(self, key: str) -> str | None:
        now = self._clock()
        with self._lock:
            last, suppressed = self._last.get(key, (float("-inf"), 0))
            if now - last < self._period_s:
                self._last[key] = (last, suppressed + 1)
                return None
            self._last[key] = (now, 0)
        return f" ({suppressed} more like this)" if suppressed else ""


class ForwardToRos(logging.Handler):
    """Hands what the parts without ROS log to the node's logger, so that it reaches /rosout."""

    def __init__(self, logger: RcutilsLogger) -> None:
        super().__init__()
        self._to = logger

    def emit(self, record: logging.LogRecord) -> None:
        """Pass one record on, at its own level."""
        text = record.getMessage()
        if record.levelno >= logging.ERROR:
            self._to.error(text)
        elif record.levelno >= logging.WARNING:
            self._to.warning(text)
        else:
            self._to.info(text)
