"""One pass over a bag: stamps, calibrations and transforms, taken down as they are.

Other readers refuse a bag that they cannot use; this one keeps what is wrong, for the checks to say it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.highlevel import AnyReader

from sparse4d_ros.data import bag_files, images, ros_messages
from sparse4d_ros.data.image_topics import camera_info_topic, image_topics
from sparse4d_ros.data.images import CameraError
from sparse4d_ros.data.transforms import TransformTree
from sparse4d_ros.errors import UserError


@dataclass
class Stamps:
    """Header stamps and log times of one topic (or one tf link), in order of arrival, nanoseconds."""

    stamps_ns: list[int] = field(default_factory=list)
    log_ns: list[int] = field(default_factory=list)

    def add(self, stamp_ns: int, log_ns: int) -> None:
        self.stamps_ns.append(stamp_ns)
        self.log_ns.append(log_ns)

    @property
    def latencies_ms(self) -> np.ndarray:
        """Log time less stamp, ``[n]``."""
        return (np.array(self.log_ns, dtype=np.int64) - np.array(self.stamps_ns, dtype=np.int64)) * 1e-6


@dataclass
class CameraRecord:
    """What the bag holds of one camera."""

    name: str
    image_topic: str
    info_topic: str
    pictures: Stamps = field(default_factory=Stamps)
    #: ``header.frame_id`` of the first picture.
    frame_id: str = ""
    #: Width and height of the first picture; None if it cannot be decoded.
    size: tuple[int, int] | None = None
    #: Calibrations that differ from the one before, as ``(stamp_ns, CameraInfo)``.
    infos: list[tuple[int, Any]] = field(default_factory=list)
    #: Why pictures could not be decoded, of those that were looked at, by stamp: some are looked at several times.
    broken: dict[int, str] = field(default_factory=dict)


class Recording:
    """A bag's cameras and transforms.

    ``cameras`` names those that should be there (None: all whose topics fit). ``images`` and ``camera_infos`` are
    patterns in which ``{name}`` stands for the camera; by default what :func:`image_topics` finds and ``camera_info``
    beside the image. Raises ``UserError`` if the bag cannot be read or no topic fits.
    """

    def __init__(self, path: str | Path, cameras: Sequence[str] | None = None, images: str | None = None,
                 camera_infos: str | None = None) -> None:
        self.path = Path(path)
        self.tree = TransformTree()
        #: By child frame: when its moving link was sent.
        self.links: dict[str, Stamps] = {}
        #: Messages that cannot be understood, one sentence each kind.
        self.problems: list[str] = []
        self._mountings: dict[str, tuple[str, np.ndarray]] = {}
        with bag_files.open_bag(self.path) as reader:
            topics = image_topics(self.path, reader.topics, images)
            self.cameras = {name: CameraRecord(name, topics.get(name, ""), _info_topic(name, topics, camera_infos))
                            for name in (topics if cameras is None else cameras)}
            self._read(reader)
        for child in sorted(self.links.keys() & self._mountings.keys()):
            self._note(f"the frame {child!r} is on both /tf and /tf_static; the static transform is used")

    @property
    def frames(self) -> list[str]:
        """Names of all frames below another one."""
        return sorted(self.links.keys() | self._mountings.keys())

    def _read(self, reader: AnyReader) -> None:
        camera_of = {camera.image_topic: camera for camera in self.cameras.values()}
        info_of = {camera.info_topic: camera for camera in self.cameras.values()}
        last_info: dict[str, bytes] = {}
        wanted = {*camera_of, *info_of, "/tf", "/tf_static"}
        for connection, log_ns, raw in bag_files.messages(
                reader, [connection for connection in reader.connections if connection.topic in wanted]):
            topic = connection.topic
            try:
                if topic in camera_of:
                    camera = camera_of[topic]
                    camera.pictures.add(bag_files.header_stamp_ns(raw), log_ns)
                    if len(camera.pictures.stamps_ns) == 1:
                        _look_at(camera, bag_files.deserialize(reader, connection, raw))
                elif topic in info_of:
                    stamp_ns = bag_files.header_stamp_ns(raw)
                    if last_info.get(topic) != raw[12:]:
                        last_info[topic] = raw[12:]
                        info_of[topic].infos.append((stamp_ns, bag_files.deserialize(reader, connection, raw)))
                else:
                    self._add_transforms(topic, bag_files.deserialize(reader, connection, raw), log_ns)
            except (UserError, ValueError) as error:
                self._note(f"{topic}: {error}")

    def _add_transforms(self, topic: str, message: Any, log_ns: int) -> None:
        for item in message.transforms:
            parent, child = item.header.frame_id.removeprefix("/"), item.child_frame_id.removeprefix("/")
            try:
                matrix = ros_messages.matrix_of(item)
                if topic == "/tf_static":
                    known = self._mountings.setdefault(child, (parent, matrix))
                    if known[0] != parent or not np.allclose(known[1], matrix, atol=1e-6):
                        self._note(f"/tf_static: the frame {child!r} was sent twice and differently (below "
                                   f"{known[0]!r} and {parent!r}); the later one counts")
                    self.tree.add_static(parent, child, matrix)
                else:
                    stamp_ns = ros_messages.stamp_ns(item.header.stamp)
                    self.tree.add(parent, child, stamp_ns, matrix)
                    self.links.setdefault(child, Stamps()).add(stamp_ns, log_ns)
            except ValueError as error:
                self._note(f"{topic}: {parent} -> {child}: {error}")

    def _note(self, text: str) -> None:
        if text not in self.problems:
            self.problems.append(text)

    def connected(self, target: str, source: str) -> bool:
        """Whether transforms join two frames; False for a loop, which becomes a problem."""
        try:
            return self.tree.connected(target, source)
        except LookupError as error:
            self._note(f"/tf: {error}")
            return False

    def camera_frame(self, name: str, camera_frames: dict[str, str]) -> str:
        """The optical frame of a camera: what the parameter names, else what its pictures or calibration name."""
        camera = self.cameras[name]
        named = [info.header.frame_id for _, info in camera.infos[:1]]
        return next((frame for frame in (camera_frames.get(name, ""), camera.frame_id, *named) if frame), "")


def _info_topic(name: str, topics: dict[str, str], pattern: str | None) -> str:
    """The calibration beside an image topic, as image_transport has it, or by the pattern."""
    if pattern is not None:
        return pattern.replace("{name}", name)
    return camera_info_topic(topics.get(name, ""))


def _look_at(camera: CameraRecord, message: Any) -> None:
    camera.frame_id = message.header.frame_id
    try:
        height, width = images.decode(message, camera.name).shape[:2]
        camera.size = (width, height)
    except CameraError as error:
        camera.broken[ros_messages.stamp_ns(message.header.stamp)] = str(error)
