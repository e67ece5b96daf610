"""Faults of tf: transforms that are lost, late, repeated, wrong, or lead nowhere."""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random
from typing import Any

from sparse4d_ros.data.fault import MessageFault, option
from sparse4d_ros.data.ros_messages import TF
from sparse4d_ros.data.timed_messages import Recording, TimedMessage
from sparse4d_ros.errors import UserError


@dataclass(kw_only=True)
class TransformFault(MessageFault):
    """A fault of the transforms to one frame, on /tf and /tf_static; others of the same message pass untouched."""

    child: str = option("child frame of the transforms", "base_link")

    def prepare(self, recording: Recording, random: Random) -> None:
        super().prepare(recording, random)
        self.topics = frozenset(topic for topic, kind in recording.kinds.items() if kind == TF)
        if not self.topics:
            raise UserError(f"{self}: {recording.name} has no {TF}")

    def concerns(self, message: TimedMessage) -> bool:
        return super().concerns(message) and any(map(self._ours, message.parsed().transforms))

    def broken(self, message: TimedMessage) -> list[TimedMessage]:
        content = message.parsed()
        ours = [item for item in content.transforms if self._ours(item)]
        content.transforms = [item for item in content.transforms if not self._ours(item)]
        others = [message.holding(content)] if content.transforms else []
        for item in ours:
            self.edit(item)
        content.transforms = ours
        return others + self.sent(message.holding(content))

    def edit(self, transform: Any) -> None:
        """Break one transform."""

    def sent(self, message: TimedMessage) -> list[TimedMessage]:
        """When the message with the broken transforms goes out."""
        return [message]

    def _ours(self, transform: Any) -> bool:
        return transform.child_frame_id.removeprefix("/") == self.child.removeprefix("/")


@dataclass(kw_only=True)
class TfDrop(TransformFault):
    """Transforms are lost on the way."""

    promise = "poses between those that came are interpolated; a set that is ahead of them waits, nothing else does"

    def sent(self, message: TimedMessage) -> list[TimedMessage]:
        return []


@dataclass(kw_only=True)
class TfStop(TfDrop):
    """Transforms stop, or never were; with `child` a camera's frame, its mounting is missing."""

    rows = (24, 26, 28)
    promise = ("no output, and an error that names both frames; identity is never assumed, motion never guessed unless "
               "allowed (`ego motion`: `sets_dropped`)")


@dataclass(kw_only=True)
class TfDelay(TransformFault):
    """Transforms come late."""

    rows = (27,)
    promise = "sets wait for them up to the timeout, nothing else does"

    ms: float = option("how late", 30.0, low=0.0, high=10_000.0)

    def sent(self, message: TimedMessage) -> list[TimedMessage]:
        return [message.at(message.due_ns + round(self.ms * 1e6))]


@dataclass(kw_only=True)
class TfRepeat(TransformFault):
    """Old transforms come again among newer ones."""

    rows = (31,)
    promise = "no effect"

    ms: float = option("how much later", 100.0, low=0.0, high=10_000.0)

    def sent(self, message: TimedMessage) -> list[TimedMessage]:
        return [message, message.at(message.due_ns + round(self.ms * 1e6))]


@dataclass(kw_only=True)
class TfJump(TransformFault):
    """The fixed frame jumps: the vehicle is suddenly elsewhere."""

    rows = (29,)
    promise = "the memory of tracks is emptied (`resets_ego_jump`, next epoch) with a warning"

    metres: float = option("along x of the parent frame", 20.0, low=-1e6, high=1e6)

    def edit(self, transform: Any) -> None:
        transform.transform.translation.x += self.metres


@dataclass(kw_only=True)
class TfNan(TransformFault):
    """Transforms hold a number that is none."""

    rows = (30,)
    promise = "refused (`transforms_rejected`); sets that need them are dropped"

    def edit(self, transform: Any) -> None:
        transform.transform.translation.x = math.nan


@dataclass(kw_only=True)
class TfQuaternion(TransformFault):
    """Quaternions are not of unit length."""

    rows = (30,)
    promise = "refused (`transforms_rejected`); sets that need them are dropped"

    length: float = option("their length", 2.0, low=0.0, high=1000.0)

    def edit(self, transform: Any) -> None:
        rotation = transform.transform.rotation
        for axis in "xyzw":
            setattr(rotation, axis, getattr(rotation, axis) * self.length)


@dataclass(kw_only=True)
class TfDetach(TransformFault):
    """Transforms lead to another parent, so that there are two trees."""

    rows = (32,)
    promise = "the lookup's error in the diagnostics, logged at most once a second"

    parent: str = option("the other parent", "elsewhere")

    def edit(self, transform: Any) -> None:
        transform.header.frame_id = self.parent
