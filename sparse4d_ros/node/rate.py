"""Which frame sets to use when cameras are faster than the rate the network was trained at. No ROS here."""

from __future__ import annotations


class Stride:
    """Takes each n-th set so that the interval between taken ones is as near as can be to a target.

    By stamps, not by counting: a lost set or a change of the camera rate does not shift the interval.
    """

    def __init__(self, target_s: float) -> None:
        self._target_ns = round(target_s * 1e9)
        self._taken_ns: int | None = None
        self._seen_ns: int | None = None

    def take(self, stamp_ns: int) -> bool:
        """Whether to use the set of this stamp; a stamp that went back starts over."""
        seen_ns, self._seen_ns = self._seen_ns, stamp_ns
        if self._taken_ns is None or seen_ns is None or stamp_ns <= seen_ns:
            self._taken_ns = stamp_ns
            return True
        period_ns = stamp_ns - seen_ns
        # This one, unless the next (expected a period later) would come nearer to the target.
        if 2 * (stamp_ns - self._taken_ns) + period_ns < 2 * self._target_ns:
            return False
        self._taken_ns = stamp_ns
        return True
