"""Two seconds of a recording, broken by faults, and short words for what is left of it."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import MISSING

import numpy as np
from hypothesis import strategies as st

from sparse4d_ros.data import faults, ros_messages
from sparse4d_ros.data.fault import MessageFault
from sparse4d_ros.data.fault_injector import Injector
from sparse4d_ros.data.fault_time import TimeFault
from sparse4d_ros.data.faults import FAULTS
from sparse4d_ros.data.ros_types import typestore
from sparse4d_ros.data.timed_messages import Recording, TimedMessage

MS, S = 1_000_000, 1_000_000_000
BEGIN_NS = 100 * S
CAMERAS = ("front", "back", "raw")  # the last one sends raw pictures
INTRINSIC = np.array([[50.0, 0, 8], [0, 60.0, 6], [0, 0, 1]])


def picture_topic(camera):
    return f"/camera/{camera}/image" + ("" if camera == "raw" else "/compressed")


def message(due_ns, topic, kind, content):
    return TimedMessage(due_ns, topic, kind, bytes(typestore().serialize_cdr(content, kind)))


def picture(camera, due_ns):
    """Every byte tells the moment, so that pictures can be told apart."""
    stamp_ns, value = BEGIN_NS + due_ns, due_ns // (100 * MS) % 256
    if camera == "raw":
        image = ros_messages.new(
            ros_messages.IMAGE, header=ros_messages.header(stamp_ns, "raw_frame"), height=4, width=5, encoding="bgr8",
            is_bigendian=0, step=15, data=np.full(60, value, np.uint8))
        return message(due_ns, picture_topic(camera), ros_messages.IMAGE, image)
    return message(due_ns, picture_topic(camera), ros_messages.COMPRESSED_IMAGE,
                   ros_messages.compressed_image(stamp_ns, f"{camera}_frame", bytes([value]) * 40))


def drive(seconds=2.0):
    """Pictures and camera_info at 10 Hz, tf at 50 Hz (with a wheel in the same messages), as one stream."""
    stream = [message(0, "/tf_static", ros_messages.TF, ros_messages.tf_message(
        [ros_messages.transform(0, "base_link", f"{camera}_frame", np.eye(4)) for camera in CAMERAS]))]
    for due_ns in range(0, round(seconds * S), 20 * MS):
        stamp_ns = BEGIN_NS + due_ns
        stream.append(message(due_ns, "/tf", ros_messages.TF, ros_messages.tf_message(
            [ros_messages.transform(stamp_ns, "odom", "base_link", np.eye(4)),
             ros_messages.transform(stamp_ns, "base_link", "wheel", np.eye(4))])))
        if due_ns % (100 * MS) == 0:
            for camera in CAMERAS:
                stream.append(message(due_ns, f"/camera/{camera}/camera_info", ros_messages.CAMERA_INFO,
                                      ros_messages.camera_info(stamp_ns, f"{camera}_frame", INTRINSIC, 5, 4)))
                stream.append(picture(camera, due_ns))
    return stream


STREAM = drive()
RECORDING = Recording(
    "the bag", {item.topic: item.kind for item in STREAM},
    frozenset({ros_messages.IMAGE, ros_messages.COMPRESSED_IMAGE, ros_messages.CAMERA_INFO}), BEGIN_NS,
    lambda start_ns, stop_ns: iter([item for item in STREAM
                                    if start_ns <= item.due_ns < (math.inf if stop_ns is None else stop_ns)]))


def broken(*texts, seed=0):
    """The stream with these faults, and how many messages of each topic were hit."""
    injector = Injector(RECORDING, [faults.parse(text) for text in texts], seed)
    stream = list(injector.messages())
    hits = Counter()
    for (_, topic), count in injector.counts.items():
        hits[topic] += count
    return stream, hits


def of(stream, topic):
    return [item for item in stream if item.topic == topic]


def pictures(stream, camera="front"):
    """The moments of a camera's pictures in the order in which they come, in tenths of seconds."""
    return [round((item.stamp_ns - BEGIN_NS) / (100 * MS)) for item in of(stream, picture_topic(camera))]


def untouched(stream, *topics):
    """Whether all but these topics is as it was."""
    return [x for x in stream if x.topic not in topics] == [x for x in STREAM if x.topic not in topics]


def poses(stream, topic="/tf", child="base_link"):
    return [item for entry in of(stream, topic) for item in entry.parsed().transforms if item.child_frame_id == child]


MESSAGE_FAULTS = tuple(fault for fault in FAULTS.values() if issubclass(fault, MessageFault))
TIME_FAULTS = tuple(fault for fault in FAULTS.values() if issubclass(fault, TimeFault))


def specs(kinds=MESSAGE_FAULTS + TIME_FAULTS):
    """Any fault with any values of its fields; texts are those that find something in our stream."""
    def values(fault):
        def of_field(item):
            meta = item.metadata
            if item.type == "str":
                return st.sampled_from(list(meta["choices"]) or {
                    "camera": ["front"], "with_": ["back"], "child": ["base_link", "front_frame"]}.get(
                        item.name, ["elsewhere"]))
            if item.name in ("from_", "to"):
                return st.floats(0.0, 0.99) if item.name == "from_" else st.floats(1.0, 3.0)
            low, high = max(meta["low"], -1e3), min(meta["high"], 1e3)
            return st.integers(int(low), int(min(high, 5))) if item.type == "int" else st.floats(low, high)
        given = {key: of_field(item) for key, item in fault.options().items()}
        needed = {key for key, item in fault.options().items() if item.default is MISSING}
        # The camera is always named: `all` includes raw pictures, which not every fault takes.
        kept = needed | ({"camera"} & given.keys())
        if fault.name() == "wrong_step":
            given["camera"] = st.just("raw")
        return st.fixed_dictionaries({key: given[key] for key in kept},
                                     optional={key: value for key, value in given.items() if key not in kept}).map(
            lambda fields: fault.make({key: repr(value) if isinstance(value, float) else str(value)
                                       for key, value in fields.items()}))
    return st.sampled_from(kinds).flatmap(values)
