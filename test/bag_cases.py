"""A small made-up drive for tests of bags and replay: six staggered cameras on a turning vehicle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer

from sparse4d_ros import geometry
from sparse4d_ros.data import bag_files
from sparse4d_ros.data.bag_writer import write_bag
from sparse4d_ros.data.image_topics import CAMERA_ORDER
from sparse4d_ros.data.ros_types import typestore
from sparse4d_ros.frame import CameraFrame, Frame, LabelledFrame, Objects

START_NS = 1_700_000_000_123_456_789
INTERVAL_NS = 200_000_000
STAGGER_NS = 7_000_000
CAMERA_YAWS = dict(zip(CAMERA_ORDER, np.radians([0, -60, 60, 180, 120, -120]), strict=True))
OPTICAL = np.array([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
INTRINSIC = np.array([[60.5, 0, 47.25], [0, 61.5, 31.75], [0, 0, 1]])


def rig() -> dict[str, np.ndarray]:
    """vehicle_from_camera of the six cameras."""
    return {name: geometry.from_yaw(1.0, 0.1 * index, 1.5, yaw) @ OPTICAL
            for index, (name, yaw) in enumerate(CAMERA_YAWS.items())}


def vehicle_pose(stamp_ns: int) -> np.ndarray:
    """fixed_from_vehicle on a curve, climbing a little."""
    seconds = (stamp_ns - START_NS) * 1e-9
    return geometry.from_yaw(1000.0 + 8 * seconds, 0.5 * seconds**2, 0.1 * seconds, 0.3 * seconds)


def picture(index: int, camera: int) -> np.ndarray:
    """``[64, 96, 3]``, smooth so that JPEG keeps it within a few grey levels."""
    rows, columns = np.mgrid[0:64, 0:96]
    return np.stack([rows * 2 + 10 * index, columns + 20 * camera, rows + columns], axis=-1).astype(np.uint8)


def frame(index: int) -> LabelledFrame:
    """Frame ``index``; cameras fire ``STAGGER_NS`` apart, the first at the reference stamp."""
    stamp_ns = START_NS + index * INTERVAL_NS
    now, mountings = vehicle_pose(stamp_ns), rig()
    cameras = []
    for number, name in enumerate(CAMERA_ORDER):
        at_ns = stamp_ns + number * STAGGER_NS
        cameras.append(CameraFrame(
            name=name, image=picture(index, number), intrinsic=INTRINSIC, stamp_ns=at_ns,
            camera_from_vehicle=geometry.inverse(vehicle_pose(at_ns) @ mountings[name]) @ now))
    count = 1 + index % 3
    objects = Objects(
        boxes=np.array([[10.0 + k, -2.0 * k, 0.8, 4.5, 1.9, 1.6, 0.4 * k - 3.0, 3.0, -0.5 * k, 0.1]
                        for k in range(count)]),
        names=("car", "pedestrian", "traffic_cone")[:count],
        instance_ids=np.arange(count) + 5, visibility=np.array([1.0, 0.5, 0.25])[:count])
    return LabelledFrame(Frame(stamp_ns=stamp_ns, cameras=tuple(cameras), fixed_from_vehicle=now), objects)


def frames(count: int) -> list[LabelledFrame]:
    return [frame(index) for index in range(count)]


def write(path: Path, count: int, **how) -> Path:
    """A bag of the first frames; ``how`` goes to ``write_bag``."""
    assert write_bag(path, frames(count), rig(), **how) == count
    return path


def rewrite(source, target, storage=StoragePlugin.MCAP, *, change=None, rename=str):
    """Copy a bag; ``change(topic, message, log_ns)`` returns (message type, message, log_ns), or None to drop;
    ``rename(topic)`` a topic's new name."""
    connections = {}
    with bag_files.open_bag(source) as reader, Writer(target, version=9, storage_plugin=storage) as writer:
        for connection, log_ns, raw in bag_files.messages(reader, reader.connections):
            kind, message = connection.msgtype, bag_files.deserialize(reader, connection, raw)
            if change is not None:
                changed = change(connection.topic, message, log_ns)
                if changed is None:
                    continue
                kind, message, log_ns = changed
            if connection.topic not in connections:
                connections[connection.topic] = writer.add_connection(rename(connection.topic), kind,
                                                                      typestore=typestore())
            writer.write(connections[connection.topic], log_ns, typestore().serialize_cdr(message, kind))
    return target


def without(source, target, unwanted):
    """Copy a bag but for the topics for which ``unwanted(topic)``."""
    return rewrite(source, target, change=lambda topic, message, log_ns: (
        None if unwanted(topic) else (message.__msgtype__, message, log_ns)))
