"""``geometry_msgs/TransformStamped`` read and checked, before it reaches any buffer.

tf2 normalises quaternions of any length before it looks at them, which hides a broken localisation; so
both our own buffer and the one of tf2_ros get only what passes here.
"""

from __future__ import annotations

from collections import defaultdict, deque
from itertools import takewhile
from math import isfinite, sqrt
from typing import Any, NamedTuple

from sparse4d_ros.node.quaternions import Rigid

# Longest deviation of a quaternion from unit length: rounding in float32 passes, a broken filter does not.
_QUATERNION_TOLERANCE = 0.01
# Farther than any frame on Earth is from another; chains of larger ones overflow.
_FARTHEST_M = 1e9
# More transforms of a frame than come before the pictures tell that time has gone back.
_RECENT = 300


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
    stamp, shift, turn = message.header.stamp, message.transform.translation, message.transform.rotation
    pose = Rigid(*map(float, (shift.x, shift.y, shift.z, turn.x, turn.y, turn.z, turn.w)))
    return StampedTransform(message.header.frame_id.lstrip("/"), message.child_frame_id.lstrip("/"),
                            stamp.sec * 1_000_000_000 + stamp.nanosec, pose)


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


class Recent:
    """The last transforms of each moving frame, in the order in which they came.

    When a recording begins again, some of its transforms come before anybody knows.
    """

    def __init__(self) -> None:
        self._arrivals: defaultdict[str, deque[tuple[int, Any]]] = defaultdict(lambda: deque(maxlen=_RECENT))

    def note(self, message: Any) -> None:
        """Keep a TransformStamped from /tf."""
        stamp = message.header.stamp
        self._arrivals[message.child_frame_id].append((stamp.sec * 1_000_000_000 + stamp.nanosec, message))

    def forget(self, message: Any) -> None:
        """Its frame does not move any more: a TransformStamped from /tf_static."""
        self._arrivals.pop(message.child_frame_id, None)

    def since(self, until_ns: int) -> list[Any]:
        """What came after the last stamp beyond ``until_ns``, frame by frame; all else is forgotten."""
        found = []
        for arrivals in self._arrivals.values():
            kept = list(takewhile(lambda arrival: arrival[0] <= until_ns, reversed(arrivals)))
            found += [message for _, message in reversed(kept)]
        self._arrivals.clear()
        return found
