"""A tree of frames over time with the calls of ``tf2_ros.Buffer``, for distributions that come without tf2.

The ROS packages on PyPI have no tf2. Same names, same answers and the same kinds of error (one test suite
runs over both), but no ROS types inside: messages are only read (``geometry_msgs/TransformStamped`` or
anything alike), times are integer nanoseconds, results are 4x4 float64 matrices ``target_from_source``.
Memory is bounded by time, by samples per frame and by the number of frames. Thread-safe.
"""

from __future__ import annotations

from threading import RLock
from typing import Any

import numpy as np

from sparse4d_ros.node.frame_history import FrameHistory
from sparse4d_ros.node.quaternions import IDENTITY, Rigid, compose, invert, matrix
from sparse4d_ros.node.transform_errors import (
    ConnectivityException,
    ExtrapolationException,
    InvalidArgumentException,
    LookupException,
    TransformError,
)
from sparse4d_ros.node.transform_messages import Recent, Rejections, read_transform

__all__ = ["ConnectivityException", "ExtrapolationException", "InvalidArgumentException", "LookupException",
           "TransformBuffer", "TransformError"]

# Later than any stamp: asks for the newest.
_ENDLESS = 1 << 63


class TransformBuffer:
    """Frames, each with its poses in its parent; a lookup walks both ends up to where they meet."""

    def __init__(self, cache_time_s: float = 10.0, max_samples: int = 10_000, max_frames: int = 1_000) -> None:
        self._cache_time_ns = round(cache_time_s * 1e9)
        self._max_samples = max_samples
        self._max_frames = max_frames
        self._frames: dict[str, FrameHistory] = {}
        #: Names that occur as a parent only: known, but nothing is known about them.
        self._roots: set[str] = set()
        self._lock = RLock()
        self._rejections = Rejections()
        self._recent = Recent()

    @property
    def rejected(self) -> int:
        """Transforms refused because they were wrong, not merely old."""
        return self._rejections.count

    @property
    def last_rejection(self) -> str:
        """Why the last one was."""
        return self._rejections.last

    # -- in ----------------------------------------------------------------------------------

    def set_transform(self, transform: Any, authority: str = "") -> bool:
        """Take a TransformStamped; False if it was not kept. A wrong one is counted, never raised:
        it arrives in a message with others that are right."""
        return self._set(transform, authority, static=False)

    def set_transform_static(self, transform: Any, authority: str = "") -> bool:
        """The same for a pose that holds at all times; a newer one takes its place."""
        return self._set(transform, authority, static=True)

    def clear(self) -> None:
        """Forget all that moves; static poses stay, since nobody would send them again."""
        with self._lock:
            for history in self._frames.values():
                history.clear()

    def go_back(self, until_ns: int, only: str = "") -> None:
        """Time went back: forget all that moves, but for what has come since, with stamps up to ``until_ns``.

        Where ``only`` names a frame it went back for that one; of the others stays what came last.
        """
        with self._lock:  # as one step: what another thread brings meanwhile must not be forgotten
            since = self._recent.since(until_ns, only)
            self.clear()
            for transform in since:
                self.set_transform(transform)

    def _set(self, message: Any, authority: str, static: bool) -> bool:
        transform = read_transform(message)
        parent, child = transform.parent, transform.child
        problem = transform.problem()
        with self._lock:
            new = sum(name not in self._frames and name not in self._roots for name in (parent, child))
            if not problem and new and len(self._frames) + len(self._roots) + new > self._max_frames:
                problem = f"there would be more than {self._max_frames} frames"
            if problem:
                self._rejections.note(transform, authority, problem)
                return False
            history = self._frames.get(child)
            if history is None or history.static != static:
                history = self._frames[child] = FrameHistory(static, self._cache_time_ns, self._max_samples)
            self._roots.discard(child)
            if parent not in self._frames:
                self._roots.add(parent)
            kept = history.insert(transform.time_ns, parent, transform.pose.normalised())
            if static:
                self._recent.forget(message)
            elif ahead := self._recent.note(message):
                self._rejections.note(transform, authority, ahead.problem)
                self.go_back(ahead.until_ns, message.child_frame_id)
                return True
            return kept

    # -- out ---------------------------------------------------------------------------------

    def lookup_transform(self, target_frame: str, source_frame: str, time_ns: int = 0) -> np.ndarray:
        """``target_from_source`` at a time; 0 means the latest at which the whole way is known.

        Raises one of the four kinds of ``TransformError``.
        """
        with self._lock:
            pose = self._lookup(target_frame, source_frame, time_ns)
        return matrix(pose)

    def lookup_transform_full(self, target_frame: str, target_time_ns: int, source_frame: str, source_time_ns: int,
                              fixed_frame: str) -> np.ndarray:
        """Target at its time from source at its own, through a frame that does not move in between."""
        with self._lock:
            fixed_from_source = self._lookup(fixed_frame, source_frame, source_time_ns)
            target_from_fixed = self._lookup(target_frame, fixed_frame, target_time_ns)
        return matrix(compose(target_from_fixed, fixed_from_source))

    def get_latest_common_time(self, target_frame: str, source_frame: str) -> int:
        """Newest time at which the whole way between two frames is known; 0 if all of it is static."""
        with self._lock:
            self._check_names(target_frame, source_frame, "getLatestCommonTime")
            return self._latest_common_time(target_frame, source_frame)

    def _check_names(self, target_frame: str, source_frame: str, caller: str) -> None:
        for argument, name in (("target_frame", target_frame), ("source_frame", source_frame)):
            if not name:
                raise InvalidArgumentException(f"Invalid argument passed to {caller} argument {argument} in tf2 "
                                               "frame_ids cannot be empty")
            if name.startswith("/"):
                raise InvalidArgumentException(f'Invalid argument "{name}" passed to {caller} argument {argument} in '
                                               "tf2 frame_ids cannot start with a '/'")
        for argument, name in (("target_frame", target_frame), ("source_frame", source_frame)):
            if name not in self._frames and name not in self._roots:
                raise LookupException(f'"{name}" passed to {caller} argument {argument} does not exist.')

    def _lookup(self, target: str, source: str, time_ns: int) -> Rigid:
        self._check_names(target, source, "lookupTransform")
        if target == source:
            return IDENTITY
        if time_ns == 0:
            time_ns = self._latest_common_time(target, source)
        source_chain, target_chain = self._ancestors(source, time_ns), self._ancestors(target, time_ns)
        meeting = next((frame for frame in source_chain if frame in target_chain), None)
        if meeting is None:
            raise self._unconnected(target, source)
        try:
            up, down = self._climb(source, meeting, time_ns), self._climb(target, meeting, time_ns)
        except ExtrapolationException as error:
            raise ExtrapolationException(f"{error}, when looking up transform from frame [{source}] "
                                         f"to frame [{target}]") from None
        return up if down is IDENTITY else compose(invert(down), up)

    def _climb(self, frame: str, end: str, time_ns: int) -> Rigid:
        """``end_from_frame``, end being above the frame."""
        pose = IDENTITY
        while frame != end:
            frame, parent_from_frame = self._frames[frame].at(time_ns)
            pose = parent_from_frame if pose is IDENTITY else compose(parent_from_frame, pose)
        return pose

    def _ancestors(self, frame: str, time_ns: int) -> list[str]:
        """The frame and all above it at a time."""
        chain = [frame]
        while history := self._frames.get(chain[-1]):
            chain.append(history.parent_at(time_ns))
            if len(chain) > len(self._frames) + 1:
                raise LookupException(f"The tf tree is invalid because it contains a loop above frame [{frame}].")
        return chain

    def _latest_common_time(self, target: str, source: str) -> int:
        chains = [self._ancestors(source, _ENDLESS), self._ancestors(target, _ENDLESS)]
        shared = set(chains[0]) & set(chains[1])
        if not shared:
            raise self._unconnected(target, source)
        times = []
        for chain in chains:
            for frame in chain:
                if frame in shared:
                    break
                times.append(self._frames[frame].latest_ns)
        return min((time_ns for time_ns in times if time_ns is not None), default=0)

    @staticmethod
    def _unconnected(target: str, source: str) -> ConnectivityException:
        return ConnectivityException(f"Could not find a connection between '{target}' and '{source}' because they "
                                     "are not part of the same tree. Tf has two or more unconnected trees.")
