"""``geometry_msgs/TransformStamped`` read and checked, before it reaches any buffer.

tf2 normalises quaternions of any length before it looks at them, which hides a broken localisation; so
both our own buffer and the one of tf2_ros get only what passes here.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from itertools import takewhile
from math import isfinite, sqrt
from typing import Any, NamedTuple

from sparse4d_ros.data.ros_messages import stamp_ns
from sparse4d_ros.node.quaternions import Rigid

# Longest deviation of a quaternion from unit length: rounding in float32 passes, a broken filter does not.
_QUATERNION_TOLERANCE = 0.01
# Farther than any frame on Earth is from another; chains of larger ones overflow.
_FARTHEST_M = 1e9
# More transforms of a frame than come before the pictures tell that time has gone back.
_RECENT = 300
# A transform was ahead of time if everything of its frame that came in half a second after it (by their own stamps)
# is older by more than two. A buffer, tf2's too, would refuse the right ones, or give out poses on the way to it.
_AHEAD_NS, _BEHIND_FOR_NS = 2_000_000_000, 500_000_000


class StampedTransform(NamedTuple):
    """A pose of ``child`` in ``parent``, not checked yet."""

    parent: str
    child: str
    time_ns: int
    pose: Rigid

    def problem(self) -> str:
        """Why it cannot be used, or ""."""
        if not self.parent or not self.child:
            return "a frame name is empty"
        if self.parent == self.child:
            return "a frame cannot be its own parent"
        if not all(map(isfinite, self.pose)):
            return "it holds a number that is not finite"
        if max(map(abs, self.pose[:3])) > _FARTHEST_M:
            return f"it is more than {_FARTHEST_M:.0e} m long"
        norm = sqrt(sum(value * value for value in self.pose[3:]))
        if abs(norm - 1.0) > _QUATERNION_TOLERANCE:
            return f"its quaternion has length {norm:.4f}, not 1"
        return ""


def read_transform(message: Any) -> StampedTransform:
    """The content of a TransformStamped or anything alike; leading slashes of old publishers are dropped."""
    shift, turn = message.transform.translation, message.transform.rotation
    pose = Rigid(*map(float, (shift.x, shift.y, shift.z, turn.x, turn.y, turn.z, turn.w)))
    return StampedTransform(message.header.frame_id.lstrip("/"), message.child_frame_id.lstrip("/"),
                            stamp_ns(message.header.stamp), pose)


class Rejections:
    """How many transforms were refused because they were wrong, and why the last one was."""

    def __init__(self) -> None:
        self.count = 0
        self.last = ""

    def note(self, transform: StampedTransform, authority: str, problem: str) -> None:
        """Count one."""
        self.count += 1
        sender = f" on {authority}" if authority else ""
        self.last = f"the transform from '{transform.parent}' to '{transform.child}'{sender} is ignored: {problem}"


class Ahead(NamedTuple):
    """A frame's transforms were ahead of time, as those that came after them show."""

    problem: str
    #: The right ones have stamps up to this.
    until_ns: int


@dataclass
class _Arrivals:
    """Of one frame."""

    newest_ns: int
    #: Oldest stamp of those that came last and are all far behind the newest.
    behind_ns: int | None = None
    last: deque[tuple[int, Any]] = field(default_factory=lambda: deque(maxlen=_RECENT))


class Recent:
    """The last transforms of each moving frame, in the order in which they came.

    When a recording begins again, some of its transforms come before anybody knows.
    """

    def __init__(self) -> None:
        self._frames: dict[str, _Arrivals] = {}

    def note(self, message: Any) -> Ahead | None:
        """Keep a TransformStamped from /tf; tells when earlier ones turn out to have been ahead of time."""
        time_ns = stamp_ns(message.header.stamp)
        frame = self._frames.setdefault(message.child_frame_id, _Arrivals(time_ns))
        frame.last.append((time_ns, message))
        if time_ns >= frame.newest_ns - _AHEAD_NS:
            frame.newest_ns, frame.behind_ns = max(time_ns, frame.newest_ns), None
            return None
        frame.behind_ns = time_ns if frame.behind_ns is None else min(time_ns, frame.behind_ns)
        if time_ns - frame.behind_ns < _BEHIND_FOR_NS:
            return None
        return Ahead(f"its stamp was {(frame.newest_ns - time_ns) / 1e9:.1f} s ahead of what came after it",
                     time_ns + _AHEAD_NS)

    def forget(self, message: Any) -> None:
        """Its frame does not move any more: a TransformStamped from /tf_static."""
        self._frames.pop(message.child_frame_id, None)

    def since(self, until_ns: int, only: str = "") -> list[Any]:
        """What came after the last stamp beyond ``until_ns``, frame by frame; all else is forgotten.

        Where ``only`` names a frame, of the others everything that is kept here.
        """
        found = []
        for name, frame in self._frames.items():
            arrivals = list(frame.last)
            if only in ("", name):
                arrivals = list(takewhile(lambda arrival: arrival[0] <= until_ns, reversed(arrivals)))[::-1]
            found += [message for _, message in arrivals]
        self._frames.clear()
        return found
