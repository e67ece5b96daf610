"""Signatures first; bodies follow."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable
from typing import TypeVar

import numpy as np

T = TypeVar("T")


class TransformSource(ABC):
    """Where poses come from. Errors are the exceptions of transform_buffer, whichever implementation."""

    rejected: int = 0   # transforms refused (NaN, quaternion, names); last_rejection says why
    last_rejection: str = ""

    def lookup(self, target: str, source: str, time_ns: int = 0) -> np.ndarray: ...
    def lookup_full(self, target: str, target_time_ns: int, source: str, source_time_ns: int,
                    fixed: str) -> np.ndarray: ...
    def latest_time_ns(self, target: str, source: str) -> int: ...
    def clear(self) -> None: ...
    def wait_for(self, attempt: Callable[[], T], timeout_s: float) -> T:
        """Repeat ``attempt`` at each new transform until it raises no TransformError; the last one after the timeout."""
        ...
    def destroy(self) -> None:
        """Remove the subscriptions."""
        ...


def create_transform_source(node, cache_time_s: float = 10.0, prefer: str = "auto") -> TransformSource:
    """tf2_ros where it is installed, otherwise our buffer on /tf and /tf_static. prefer: auto, tf2_ros, own."""
    ...
