"""Where poses come from: tf2_ros where a distribution has it, otherwise our own buffer on /tf and /tf_static.

Both answer the same calls with 4x4 matrices and raise the same errors; one test suite runs over both.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import ExitStack
from threading import Condition, RLock
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from sparse4d_ros.node.quaternions import Rigid, matrix
from sparse4d_ros.node.transform_buffer import TransformBuffer
from sparse4d_ros.node.transform_errors import (
    ConnectivityException,
    ExtrapolationException,
    InvalidArgumentException,
    LookupException,
    TransformError,
)
from sparse4d_ros.node.transform_messages import Recent, Rejections, read_transform

if TYPE_CHECKING:
    from rclpy.node import Node

T = TypeVar("T")


class TransformSource(ABC):
    """Poses by frame names and integer nanoseconds; 0 is the latest time at which all of the way is known."""

    def __init__(self) -> None:
        self._news = Condition()
        self._generation = 0
        self._stopping = False

    @abstractmethod
    def lookup(self, target: str, source: str, time_ns: int = 0) -> np.ndarray:
        """``target_from_source`` [4, 4]; ``TransformError``."""

    @abstractmethod
    def lookup_full(self, target: str, target_time_ns: int, source: str, source_time_ns: int, fixed: str) -> np.ndarray:
        """Target at its time from source at its own, through ``fixed``, which does not move in between."""

    @abstractmethod
    def latest_time_ns(self, target: str, source: str) -> int:
        """Newest time at which the way is known; 0 if it is static."""

    @abstractmethod
    def go_back(self, until_ns: int) -> None:
        """Time went back: forget what moves, but for what has come since, with stamps up to ``until_ns``.

        Static transforms stay.
        """

    @property
    @abstractmethod
    def rejected(self) -> int:
        """Transforms that were refused because they were wrong."""

    @property
    @abstractmethod
    def last_rejection(self) -> str:
        """Why the last one was."""

    def destroy(self) -> None:  # noqa: B027 (nothing to remove unless there are subscriptions)
        """Remove the subscriptions."""

    def wait_for(self, attempt: Callable[[], T], timeout_s: float) -> T:
        """Repeat ``attempt`` as transforms come in, until it succeeds or time is up; then its error.

        For a worker thread: it sleeps on a condition, and nothing else waits for it. :meth:`stop_waiting` ends it.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            with self._news:
                seen = self._generation
            try:
                return attempt()
            except InvalidArgumentException:
                raise
            except TransformError:
                with self._news:
                    remaining = deadline - time.monotonic()
                    if self._stopping or remaining <= 0 or not self._news.wait_for(
                            lambda: self._stopping or self._generation != seen, remaining):  # noqa: B023
                        raise

    def stop_waiting(self) -> None:
        """From now on nobody waits for a transform: the node goes out of work."""
        with self._news:
            self._stopping = True
            self._news.notify_all()

    def _notify(self) -> None:
        with self._news:
            self._generation += 1
            self._news.notify_all()


class BufferTransformSource(TransformSource):
    """Our own buffer. Feed it with ``take`` (tests, bags), or by :func:`subscribe` from topics."""

    def __init__(self, buffer: TransformBuffer | None = None, cache_time_s: float = 10.0) -> None:
        super().__init__()
        self.buffer = buffer or TransformBuffer(cache_time_s)
        self._subscriptions = ExitStack()

    def take(self, message: Any, static: bool = False) -> None:
        """All transforms of a ``tf2_msgs/TFMessage``."""
        store = self.buffer.set_transform_static if static else self.buffer.set_transform
        topic = "/tf_static" if static else "/tf"
        for transform in message.transforms:
            store(transform, topic)
        self._notify()

    def subscribe(self, node: Node) -> BufferTransformSource:
        """Listen to /tf and /tf_static with the QoS of tf2_ros."""
        from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile
        from tf2_msgs.msg import TFMessage

        with ExitStack() as made:  # both or none
            for topic, durability, static in (("/tf", DurabilityPolicy.VOLATILE, False),
                                              ("/tf_static", DurabilityPolicy.TRANSIENT_LOCAL, True)):
                qos = QoSProfile(depth=100, durability=durability, history=HistoryPolicy.KEEP_LAST)
                subscription = node.create_subscription(
                    TFMessage, topic, lambda message, static=static: self.take(message, static), qos)
                made.callback(node.destroy_subscription, subscription)
            self._subscriptions = made.pop_all()
        return self

    def destroy(self) -> None:
        self._subscriptions.close()

    def lookup(self, target: str, source: str, time_ns: int = 0) -> np.ndarray:
        return self.buffer.lookup_transform(target, source, time_ns)

    def lookup_full(self, target: str, target_time_ns: int, source: str, source_time_ns: int, fixed: str) -> np.ndarray:
        return self.buffer.lookup_transform_full(target, target_time_ns, source, source_time_ns, fixed)

    def latest_time_ns(self, target: str, source: str) -> int:
        return self.buffer.get_latest_common_time(target, source)

    def go_back(self, until_ns: int) -> None:
        self.buffer.go_back(until_ns)
        self._notify()

    @property
    def rejected(self) -> int:
        return self.buffer.rejected

    @property
    def last_rejection(self) -> str:
        return self.buffer.last_rejection


class Tf2TransformSource(TransformSource):
    """tf2_ros. Imported here only, so that the module loads where it is missing."""

    def __init__(self, node: Node | None = None, cache_time_s: float = 10.0) -> None:
        """Without a node nothing listens, and ``take`` feeds it."""
        import tf2_ros
        from rclpy.duration import Duration
        from rclpy.time import Time

        super().__init__()
        self._time = lambda time_ns: Time(nanoseconds=time_ns)
        self._kinds = ((tf2_ros.LookupException, LookupException),
                       (tf2_ros.ConnectivityException, ConnectivityException),
                       (tf2_ros.ExtrapolationException, ExtrapolationException),
                       (tf2_ros.InvalidArgumentException, InvalidArgumentException),
                       (tf2_ros.TransformException, TransformError))
        self._rejections = Rejections()
        self._recent = recent = Recent()
        self._lock = lock = RLock()
        is_good, note, notify = self._is_good, self._note, self._notify

        class CheckingBuffer(tf2_ros.Buffer):
            """Between the listener and tf2: refuses what is wrong, and tells who waits."""

            def set_transform(self, transform, authority):
                if is_good(transform, "/tf"):
                    with lock:
                        super().set_transform(transform, authority)
                        note(transform)
                    notify()

            def set_transform_static(self, transform, authority):
                if is_good(transform, "/tf_static"):
                    with lock:
                        recent.forget(transform)
                        super().set_transform_static(transform, authority)
                    notify()

        self.buffer = CheckingBuffer(cache_time=Duration(nanoseconds=round(cache_time_s * 1e9)))
        self._listener = None if node is None else tf2_ros.TransformListener(self.buffer, node, spin_thread=False)

    def take(self, message: Any, static: bool = False) -> None:
        """All transforms of a ``tf2_msgs/TFMessage``."""
        store = self.buffer.set_transform_static if static else self.buffer.set_transform
        for transform in message.transforms:
            store(transform, "/tf_static" if static else "/tf")

    def destroy(self) -> None:
        if self._listener is not None:
            self._listener.unregister()
            self._listener = None

    def lookup(self, target: str, source: str, time_ns: int = 0) -> np.ndarray:
        return self._matrix(self.buffer.lookup_transform, target, source, self._time(time_ns))

    def lookup_full(self, target: str, target_time_ns: int, source: str, source_time_ns: int, fixed: str) -> np.ndarray:
        return self._matrix(self.buffer.lookup_transform_full, target, self._time(target_time_ns), source,
                            self._time(source_time_ns), fixed)

    def latest_time_ns(self, target: str, source: str) -> int:
        return self._call(self.buffer.get_latest_common_time, target, source).nanoseconds

    def go_back(self, until_ns: int) -> None:
        self._go_back(until_ns)

    def _go_back(self, until_ns: int, only: str = "") -> None:
        with self._lock:  # as one step: what another thread brings meanwhile must not be forgotten
            since = self._recent.since(until_ns, only)
            self.buffer.clear()
            for transform in since:
                self.buffer.set_transform(transform, "/tf")

    def _note(self, message: Any) -> None:
        """Remember what came on /tf, and forget what was ahead of time."""
        if ahead := self._recent.note(message):
            self._rejections.note(read_transform(message), "/tf", ahead.problem)
            self._go_back(ahead.until_ns, message.child_frame_id)

    @property
    def rejected(self) -> int:
        return self._rejections.count

    @property
    def last_rejection(self) -> str:
        return self._rejections.last

    def _is_good(self, message: Any, topic: str) -> bool:
        transform = read_transform(message)
        problem = transform.problem()
        if problem:
            self._rejections.note(transform, topic, problem)
        return not problem

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            with self._lock:
                return function(*arguments)
        except Exception as error:
            for theirs, ours in self._kinds:
                if isinstance(error, theirs):
                    raise ours(str(error)) from error
            raise

    def _matrix(self, function: Callable[..., Any], *arguments: Any) -> np.ndarray:
        transform = self._call(function, *arguments).transform
        shift, turn = transform.translation, transform.rotation
        return matrix(Rigid(shift.x, shift.y, shift.z, turn.x, turn.y, turn.z, turn.w))


def create_transform_source(node: Node, cache_time_s: float = 10.0, prefer: str = "auto") -> TransformSource:
    """A listening source: ``tf2_ros``, ``own``, or ``auto`` (tf2_ros if it can be imported)."""
    if prefer not in ("auto", "tf2_ros", "own"):
        raise ValueError(f"transform source '{prefer}' is unknown, expected auto, tf2_ros or own")
    if prefer != "own":
        try:
            return Tf2TransformSource(node, cache_time_s)
        except ModuleNotFoundError:
            if prefer == "tf2_ros":
                raise
    return BufferTransformSource(cache_time_s=cache_time_s).subscribe(node)
