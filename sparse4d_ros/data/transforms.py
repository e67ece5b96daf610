"""The transform tree of a whole recording, for looking poses up at any time in it.

The node has tf2's buffer, which knows the last seconds; here everything was read beforehand, so a
lookup is a search in sorted arrays and never has to wait.
"""

from __future__ import annotations

import bisect

import numpy as np

from sparse4d_ros import geometry


class PoseTable:
    """Poses over time, interpolated as tf2 does (linear and slerp), never beyond the ends."""

    def __init__(self) -> None:
        self._stamps_ns: list[int] = []
        self._poses: list[np.ndarray] = []

    def add(self, stamp_ns: int, pose: np.ndarray) -> None:
        """Insert a pose; a second one at the same stamp replaces the first."""
        index = bisect.bisect_left(self._stamps_ns, stamp_ns)
        if index < len(self._stamps_ns) and self._stamps_ns[index] == stamp_ns:
            self._poses[index] = pose
        else:
            self._stamps_ns.insert(index, stamp_ns)
            self._poses.insert(index, pose)

    def covers(self, stamp_ns: int) -> bool:
        """Whether ``at`` has an answer."""
        return bool(self._stamps_ns) and self._stamps_ns[0] <= stamp_ns <= self._stamps_ns[-1]

    def at(self, stamp_ns: int) -> np.ndarray:
        """The pose ``[4, 4]`` at a stamp; ``LookupError`` outside the recorded time."""
        if not self.covers(stamp_ns):
            known = f"{self._stamps_ns[0]} to {self._stamps_ns[-1]} ns" if self._stamps_ns else "nothing"
            raise LookupError(f"no pose at {stamp_ns} ns: known is {known}")
        index = bisect.bisect_left(self._stamps_ns, stamp_ns)
        after = self._stamps_ns[index]
        if after == stamp_ns:
            return self._poses[index]
        before = self._stamps_ns[index - 1]
        return geometry.interpolate(
            self._poses[index - 1], self._poses[index], (stamp_ns - before) / (after - before))


class TransformTree:
    """All of ``/tf`` and ``/tf_static``: for each child frame its parent and pose in it."""

    def __init__(self) -> None:
        self._static: dict[str, tuple[str, np.ndarray]] = {}
        self._dynamic: dict[str, tuple[str, PoseTable]] = {}

    def add_static(self, parent: str, child: str, parent_from_child: np.ndarray) -> None:
        """A fixed mounting."""
        self._static[_plain(child)] = (_plain(parent), parent_from_child)

    def add(self, parent: str, child: str, stamp_ns: int, parent_from_child: np.ndarray) -> None:
        """A pose at one time. ``ValueError`` if the child had another parent before."""
        parent, child = _plain(parent), _plain(child)
        known_parent, table = self._dynamic.setdefault(child, (parent, PoseTable()))
        if known_parent != parent:
            raise ValueError(f"the frame {child!r} has two parents, {known_parent!r} and {parent!r}")
        table.add(stamp_ns, parent_from_child)

    def connected(self, target: str, source: str) -> bool:
        """Whether any chain joins the two frames."""
        return self._chain(_plain(target))[-1] == self._chain(_plain(source))[-1]

    def covers(self, target: str, source: str, stamp_ns: int) -> bool:
        """Whether every moving link between two connected frames is known at a stamp."""
        return all(self._dynamic[child][1].covers(stamp_ns) for child in self.moving_links(target, source))

    def moving_links(self, target: str, source: str) -> list[str]:
        """Child frames of the links between two connected frames that are not static."""
        up, down = self._split(_plain(target), _plain(source))
        return [child for child in up + down if child not in self._static]

    def lookup(self, target: str, source: str, stamp_ns: int) -> np.ndarray:
        """``target_from_source [4, 4]`` at a stamp; ``LookupError`` if unconnected or not known then."""
        up, down = self._split(_plain(target), _plain(source))
        common_from_target = self._product(up, stamp_ns)
        common_from_source = self._product(down, stamp_ns)
        return geometry.inverse(common_from_target) @ common_from_source

    def _product(self, children: list[str], stamp_ns: int) -> np.ndarray:
        """``top_from_bottom`` of a chain of child frames that starts at the bottom."""
        out = np.eye(4)
        for child in children:
            out = self._link(child, stamp_ns) @ out
        return out

    def _link(self, child: str, stamp_ns: int) -> np.ndarray:
        if child in self._static:
            return self._static[child][1]
        try:
            return self._dynamic[child][1].at(stamp_ns)
        except LookupError as error:
            raise LookupError(f"{self._dynamic[child][0]} -> {child}: {error}") from None

    def _split(self, target: str, source: str) -> tuple[list[str], list[str]]:
        """The frames below the common ancestor on the way up from target and from source."""
        up, down = self._chain(target), self._chain(source)
        if up[-1] != down[-1]:
            raise LookupError(f"nothing connects {target!r} and {source!r}")
        while len(up) > 1 and len(down) > 1 and up[-2] == down[-2]:
            up.pop()
            down.pop()
        return up[:-1], down[:-1]

    def _chain(self, frame: str) -> list[str]:
        """The frame, its parent, and so on to the root. ``LookupError`` for a loop."""
        chain = [frame]
        while (link := self._static.get(chain[-1]) or self._dynamic.get(chain[-1])) is not None:
            if link[0] in chain:
                raise LookupError(f"the frames {' -> '.join([*chain, link[0]])} form a loop")
            chain.append(link[0])
        return chain


def _plain(frame: str) -> str:
    """tf2 ignores a leading slash, an old habit of frame names."""
    return frame.removeprefix("/")
