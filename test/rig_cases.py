"""A tiny bag of six flawless cameras on a vehicle that drives straight, and ways to break it."""

from __future__ import annotations

import contextlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from sparse4d_ros import geometry
from sparse4d_ros.data import bag_files, ros_messages
from sparse4d_ros.data.bag_writer import write_bag
from sparse4d_ros.data.ros_types import typestore
from sparse4d_ros.frame import CameraFrame, Frame, LabelledFrame
from sparse4d_ros.simulation.rig import default_rig

START_NS = 1_700_000_000_000_000_000
INTERVAL_NS = 200_000_000
FRAMES = 20
SIZE = (88, 32)
SPEED = 8.0


def vehicle_pose(stamp_ns: int) -> np.ndarray:
    """odom_from_base_link."""
    return geometry.from_yaw(*(SPEED * (stamp_ns - START_NS) * 1e-9 * np.array([0.8, 0.6])), 0.0, np.arctan2(0.6, 0.8))


def write(path: Path) -> Path:
    """The bag; its pictures are plain grey, so nothing in them can be followed."""
    image = np.full((SIZE[1], SIZE[0], 3), 90, np.uint8)
    frames = []
    for index in range(FRAMES):
        stamp_ns = START_NS + index * INTERVAL_NS
        now = vehicle_pose(stamp_ns)
        frames.append(LabelledFrame(Frame(stamp_ns, tuple(CameraFrame(
            camera.name, image, camera.intrinsic(SIZE), stamp_ns=stamp_ns + camera.offset_ns,
            camera_from_vehicle=geometry.inverse(
                vehicle_pose(stamp_ns + camera.offset_ns) @ camera.vehicle_from_camera) @ now,
        ) for camera in default_rig().cameras), now), None))
    write_bag(path, frames, default_rig().vehicle_from_camera)
    return path


def of_camera(name: str, what: str, change):
    """Lets ``change(message, log_ns, index)`` work on the ``what`` ("image", "camera_info") messages of a camera.

    It returns the log time, or None to drop the message, and may change the message.
    """
    count = 0

    def apply(topic, message, log_ns):
        nonlocal count
        if topic.startswith(f"/camera/{name}/{what}"):
            log_ns = change(message, log_ns, count)
            count += 1
        return None if log_ns is None else (message.__msgtype__, message, log_ns)
    return apply


def restamped(name: str, shift):
    """Pictures of a camera whose stamps move by ``shift(index)`` milliseconds."""
    def change(message, log_ns, index):
        at_ns = ros_messages.stamp_ns(message.header.stamp) + round(shift(index) * 1e6)
        message.header.stamp = ros_messages.to_stamp(at_ns)
        return log_ns
    return of_camera(name, "image", change)


def relogged(name: str, shift):
    """Pictures of a camera that are recorded ``shift(index)`` milliseconds later."""
    return of_camera(name, "image", lambda message, log_ns, index: log_ns + round(shift(index) * 1e6))


def dropped(name: str, drop):
    """Without the pictures of a camera for which ``drop(index)``."""
    return of_camera(name, "image", lambda message, log_ns, index: None if drop(index) else log_ns)


def calibrated(name: str, change):
    """``change(message, index)`` works on the camera_info of a camera."""
    def apply(message, log_ns, index):
        change(message, index)
        return log_ns
    return of_camera(name, "camera_info", apply)


def mounted(name: str, change):
    """A mounting ``vehicle_from_camera [4, 4]`` replaced by ``change(mounting)``; None removes it."""
    def apply(topic, message, log_ns):
        if topic == "/tf_static":
            kept = []
            for item in message.transforms:
                if item.child_frame_id == f"{name}_optical_frame":
                    pose = change(ros_messages.matrix_of(item))
                    item = None if pose is None else ros_messages.transform(START_NS, "base_link", item.child_frame_id,
                                                                            pose)
                kept += [] if item is None else [item]
            message.transforms = kept
        return message.__msgtype__, message, log_ns
    return apply


def driven(change):
    """``change(pose, seconds)`` works on every pose of the vehicle; None drops it."""
    def apply(topic, message, log_ns):
        if topic == "/tf":
            (item,) = message.transforms
            at_ns = ros_messages.stamp_ns(item.header.stamp)
            pose = change(ros_messages.matrix_of(item), (at_ns - START_NS) * 1e-9)
            if pose is None:
                return None
            message.transforms = [ros_messages.transform(at_ns, "odom", "base_link", pose)]
        return message.__msgtype__, message, log_ns
    return apply


class Stream:
    """A bag in memory, with what `rig_check.recording` asks of `bag_files`: writing seventy bags would take long."""

    header_stamp_ns = staticmethod(bag_files.header_stamp_ns)

    def __init__(self, messages: list[tuple[int, str, str, bytes]]) -> None:
        self._messages = sorted(messages, key=lambda item: item[0])
        self.topics = {topic: SimpleNamespace(topic=topic, msgtype=kind) for _, topic, kind, _ in messages}
        self.connections = list(self.topics.values())

    @classmethod
    def of(cls, bag: Path) -> Stream:
        """The content of a bag."""
        with bag_files.open_bag(bag) as reader:
            return cls([(log_ns, connection.topic, connection.msgtype, bytes(raw))
                        for connection, log_ns, raw in bag_files.messages(reader, reader.connections)])

    def changed(self, change) -> Stream:
        """The stream after ``change(topic, message, log_ns)``, as `bag_cases.rewrite` takes it."""
        kept = []
        for log_ns, topic, kind, raw in self._messages:
            found = change(topic, typestore().deserialize_cdr(raw, kind), log_ns)
            if found is not None:
                kept.append((found[2], topic, kind, bytes(typestore().serialize_cdr(found[1], kind))))
        return Stream(kept)

    @contextlib.contextmanager
    def open_bag(self, path):
        yield self

    def messages(self, reader, connections):
        for log_ns, topic, _, raw in self._messages:
            if self.topics[topic] in connections:
                yield self.topics[topic], log_ns, raw

    def deserialize(self, reader, connection, raw):
        return typestore().deserialize_cdr(raw, connection.msgtype)
