"""Faults of cameras: pictures that are lost, late, twice, frozen or damaged, clocks and topics that are wrong."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random
from typing import ClassVar

import numpy as np

from sparse4d_ros.data.fault import MessageFault, option
from sparse4d_ros.data.ros_messages import CAMERA_INFO, COMPRESSED_IMAGE, IMAGE
from sparse4d_ros.data.timed_messages import Recording, TimedMessage
from sparse4d_ros.errors import UserError

IMAGES = (IMAGE, COMPRESSED_IMAGE)


@dataclass(kw_only=True)
class CameraFault(MessageFault):
    """A fault of one camera's messages, or of all cameras'."""

    camera: str = option("all, a part of the topic's name such as front, or a whole topic", "all")

    #: Message types that it hits.
    kinds: ClassVar[tuple[str, ...]] = IMAGES

    def prepare(self, recording: Recording, random: Random) -> None:
        super().prepare(recording, random)
        self.topics = frozenset(self.topics_of(recording, self.camera))

    def topics_of(self, recording: Recording, camera: str) -> list[str]:
        """The camera's topics of our types, in order; ``UserError`` if there are none."""
        of_kind = sorted(topic for topic, kind in recording.kinds.items() if kind in self.kinds)
        found = [topic for topic in of_kind if camera in ("all", topic, *topic.split("/"))]
        if not found:
            raise UserError(f"{self}: {recording.name} has no {' or '.join(self.kinds)} of a camera {camera!r}; "
                            f"its topics of that kind are: {', '.join(of_kind) or 'none'}")
        return found


@dataclass(kw_only=True)
class Drop(CameraFault):
    """Pictures are lost on the way."""

    rows = (2, 4)
    promise = ("a set that lacks a picture is given up or, where `min_cameras` allows it, goes out flagged; the next "
               "full set is used. The camera's `received` is lower by the count")

    def broken(self, message: TimedMessage) -> list[TimedMessage]:
        return []


@dataclass(kw_only=True)
class Silence(Drop):
    """A camera is off: neither pictures nor camera_info."""

    rows = (1, 2, 3, 4, 5)
    promise = ("diagnostics name the camera as an error, its last picture is never used again, and with its next "
               "picture all is as before")
    kinds = (*IMAGES, CAMERA_INFO)


@dataclass(kw_only=True)
class Delay(CameraFault):
    """Pictures come late; their stamps stay."""

    rows = (6,)
    promise = "left out of its set or the set is given up, and never joined to the next one: counted as `late`"

    ms: float = option("how late", 200.0, low=0.0, high=10_000.0)

    def broken(self, message: TimedMessage) -> list[TimedMessage]:
        return [message.at(message.due_ns + round(self.ms * 1e6))]


@dataclass(kw_only=True)
class Stall(CameraFault):
    """Nothing comes for a while, then everything at once."""

    rows = (18,)
    promise = ("the newest set is used and no older one after it (`overflow`, `unmatched`, `dropped_newer_set`); "
               "latency is normal with the next frame")

    to: float = option("ends so many seconds after the first message", low=0.0, high=1e6)

    def broken(self, message: TimedMessage) -> list[TimedMessage]:
        return [message.at(max(message.due_ns, round(self.to * 1e9)))]


@dataclass(kw_only=True)
class Reorder(CameraFault):
    """A picture comes after the next one of its camera."""

    rows = (7,)
    promise = "the older picture is dropped and counted as `out_of_order`"

    ms: float = option("how long after it", 10.0, low=0.0, high=10_000.0)

    def prepare(self, recording: Recording, random: Random) -> None:
        super().prepare(recording, random)
        self._held: dict[str, TimedMessage] = {}

    def hits(self, message: TimedMessage) -> bool:
        return message.topic not in self._held and super().hits(message)

    def broken(self, message: TimedMessage) -> list[TimedMessage]:
        self._held[message.topic] = message
        return []

    def spared(self, message: TimedMessage) -> list[TimedMessage]:
        held = self._held.pop(message.topic, None)
        return [message] if held is None else [message, held.at(message.due_ns + round(self.ms * 1e6))]

    def rest(self) -> list[TimedMessage]:
        return list(self._held.values())


@dataclass(kw_only=True)
class Duplicate(CameraFault):
    """Pictures come twice."""

    rows = (8,)
    promise = "one output for each stamp; counted as `duplicate`"

    ms: float = option("how long after the first", 10.0, low=0.0, high=10_000.0)

    def broken(self, message: TimedMessage) -> list[TimedMessage]:
        return [message, message.at(message.due_ns + round(self.ms * 1e6))]


@dataclass(kw_only=True)
class Freeze(CameraFault):
    """The last picture comes again and again, with new stamps."""

    promise = "nothing can tell it from standing still; tracks must not fly away, and all is as before when it ends"

    def prepare(self, recording: Recording, random: Random) -> None:
        super().prepare(recording, random)
        self._last: dict[str, TimedMessage] = {}

    def broken(self, message: TimedMessage) -> list[TimedMessage]:
        last = self._last.setdefault(message.topic, message)
        return [last.at(message.due_ns).stamped(message.stamp_ns)]

    def spared(self, message: TimedMessage) -> list[TimedMessage]:
        self._last[message.topic] = message
        return [message]


@dataclass(kw_only=True)
class Truncate(CameraFault):
    """A picture's data ends too early."""

    rows = (14, 15)
    promise = "that picture is refused (`images_rejected`), the node lives"

    keep: float = option("share of the bytes that is left", 0.5, low=0.0, high=0.99)

    def broken(self, message: TimedMessage) -> list[TimedMessage]:
        image = message.parsed()
        image.data = image.data[:int(len(image.data) * self.keep)]
        return [message.holding(image)]


@dataclass(kw_only=True)
class Corrupt(CameraFault):
    """Single bytes of a picture's data are wrong."""

    rows = (15, 61)
    promise = "no crash; what cannot be decoded is refused (`images_rejected`)"

    bytes: int = option("how many are overwritten", 20, low=1, high=1_000_000)

    def broken(self, message: TimedMessage) -> list[TimedMessage]:
        image = message.parsed()
        if len(image.data):
            image.data = image.data.copy()
            image.data[[self._random.randrange(len(image.data)) for _ in range(self.bytes)]] = np.frombuffer(
                self._random.randbytes(self.bytes), np.uint8)
        return [message.holding(image)]


@dataclass(kw_only=True)
class WrongStep(CameraFault):
    """A raw picture's rows are said to be a byte longer than they are."""

    rows = (14,)
    promise = "that picture is refused (`images_rejected`); its pixels are never read shifted"
    kinds = (IMAGE,)

    def broken(self, message: TimedMessage) -> list[TimedMessage]:
        image = message.parsed()
        image.step += 1
        return [message.holding(image)]


@dataclass(kw_only=True)
class ZeroStamp(CameraFault):
    """Pictures bear the stamp zero."""

    rows = (9,)
    promise = "refused (`rejected`) and never mixed with real time"

    def broken(self, message: TimedMessage) -> list[TimedMessage]:
        return [message.stamped(0)]


@dataclass(kw_only=True)
class Skew(CameraFault):
    """A camera's clock is wrong: the stamps of its pictures and camera_info are off."""

    rows = (10, 11)
    promise = "no sets, and diagnostics name the camera and its offset; far in the future, a warning of its clock"
    kinds = (*IMAGES, CAMERA_INFO)

    ms: float = option("by how much it is ahead; below 0 it is behind", 300.0, low=-1e9, high=1e9)

    def broken(self, message: TimedMessage) -> list[TimedMessage]:
        return [message.stamped(message.stamp_ns + round(self.ms * 1e6))]


@dataclass(kw_only=True)
class Swap(CameraFault):
    """Two cameras' pictures come on each other's topics."""

    rows = (16,)
    promise = ("an error where the frame_id of picture and camera_info differ, or differs from the configured one; "
               "with `what=all` only the overlay shows it")

    kinds = (*IMAGES, CAMERA_INFO)

    camera: str = option("one camera: a part of the topic's name such as front, or a whole topic")
    with_: str = option("the other camera")
    what: str = option("images, or all: camera_info too", "images", choices=("images", "all"))

    def prepare(self, recording: Recording, random: Random) -> None:
        super().prepare(recording, random)
        kinds = self.kinds if self.what == "all" else IMAGES
        sides = [sorted((kind, topic) for topic in self.topics_of(recording, camera)
                        if (kind := recording.kinds[topic]) in kinds) for camera in (self.camera, self.with_)]
        pairs = list(zip(*sides, strict=False))
        if not pairs or len(sides[0]) != len(sides[1]) or any(
                one[0] != other[0] or one == other for one, other in pairs):
            raise UserError(f"{self}: camera= and with= must be two cameras with topics of the same types, not "
                            f"{' and '.join(', '.join(topic for _, topic in side) or 'nothing' for side in sides)}")
        self._other = {one: other for pair in pairs for (_, one), (_, other) in (pair, pair[::-1])}
        self.topics = frozenset(self._other)

    def broken(self, message: TimedMessage) -> list[TimedMessage]:
        return [replace(message, topic=self._other[message.topic])]
