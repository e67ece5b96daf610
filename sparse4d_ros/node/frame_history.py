"""Where one frame was: its poses in its parent over the last seconds, by time."""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from sparse4d_ros.node.quaternions import Rigid, interpolate
from sparse4d_ros.node.transform_errors import ExtrapolationException


def seconds(time_ns: int) -> str:
    """A time as tf2 prints it."""
    return f"{time_ns // 1_000_000_000}.{time_ns % 1_000_000_000:09d}"


class FrameHistory:
    """Poses of one frame. Static ones have a single pose for all times.

    Every sample bears its parent, since a frame may be handed from one parent to another; nothing is
    interpolated across that change.
    """

    def __init__(self, static: bool, cache_time_ns: int, max_samples: int) -> None:
        self.static = static
        self._cache_time_ns = cache_time_ns
        self._max_samples = max_samples
        self._times: list[int] = []
        self._samples: list[tuple[str, Rigid]] = []

    def __len__(self) -> int:
        return len(self._samples)

    def insert(self, time_ns: int, parent: str, pose: Rigid) -> bool:
        """Keep a pose, in the place of any other of that time; False if it is too old."""
        if self.static:
            self._times, self._samples = [0], [(parent, pose)]
            return True
        times = self._times
        if times and time_ns < times[-1] - self._cache_time_ns:
            return False
        index = bisect_left(times, time_ns)
        if index < len(times) and times[index] == time_ns:
            self._samples[index] = (parent, pose)
            return True
        times.insert(index, time_ns)
        self._samples.insert(index, (parent, pose))
        old = max(bisect_left(times, times[-1] - self._cache_time_ns), len(times) - self._max_samples)
        if old > 0:
            del times[:old], self._samples[:old]
        return True

    def clear(self) -> None:
        """Forget everything, unless it holds for all times."""
        if not self.static:
            self._times, self._samples = [], []

    @property
    def latest_ns(self) -> int | None:
        """Time of the newest pose; None for a static frame, whose pose holds at any."""
        return None if self.static or not self._times else self._times[-1]

    def parent_at(self, time_ns: int) -> str | None:
        """The parent at a time, even outside the data (then the nearest one); None when there is no pose at all."""
        if not self._samples:
            return None
        return self._samples[max(bisect_right(self._times, time_ns) - 1, 0)][0]

    def at(self, time_ns: int) -> tuple[str, Rigid]:
        """Parent and pose at a time; ``ExtrapolationException`` outside the data."""
        times = self._times
        if self.static:
            return self._samples[0]
        index = bisect_left(times, time_ns)
        if index < len(times) and times[index] == time_ns:
            return self._samples[index]
        if len(times) == 1:
            raise ExtrapolationException(f"Lookup would require extrapolation at time {seconds(time_ns)}, "
                                         f"but only time {seconds(times[0])} is in the buffer")
        if index == len(times):
            raise ExtrapolationException(f"Lookup would require extrapolation into the future.  Requested time "
                                         f"{seconds(time_ns)} but the latest data is at time {seconds(times[-1])}")
        if index == 0:
            raise ExtrapolationException(f"Lookup would require extrapolation into the past.  Requested time "
                                         f"{seconds(time_ns)} but the earliest data is at time {seconds(times[0])}")
        (parent, before), (next_parent, after) = self._samples[index - 1], self._samples[index]
        if parent != next_parent:
            return parent, before
        return parent, interpolate(before, after, (time_ns - times[index - 1]) / (times[index] - times[index - 1]))
