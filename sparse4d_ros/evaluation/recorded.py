"""What a node said while it was recorded: its results, its model, and what it complained of."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from sparse4d_ros.data import bag_files
from sparse4d_ros.data.bag_output import GROUND_TRUTH_TOPIC
from sparse4d_ros.data.image_topics import image_topics
from sparse4d_ros.data.ros_messages import OBJECTS, stamp_ns
from sparse4d_ros.errors import UserError
from sparse4d_ros.evaluation.records import FrameResult, from_message

_OUTPUT, _MODEL_INFO, _DIAGNOSTICS = "/output/objects", "/model_info", "/diagnostics"
#: Bits of TrackedObject3DArray.flags that tell of something wrong.
_FLAGS = {1: "lack a camera", 4: "were made with an ego motion continued from the last poses",
          8: "came at a rate outside the model's range"}
#: CameraInput.OK.
_OK = 0
_NUMBER = re.compile(r"\d+(\.\d+)?")


@dataclass(frozen=True)
class Complaint:
    """A diagnostic that was not OK; texts that differ in numbers, or in the camera's name, are one."""

    #: Each time that it came, as a stamp of results, the camera that it came for ("" for none), and as it came.
    times: tuple[tuple[int, str, str], ...]


@dataclass(frozen=True)
class Recorded:
    """A node in a bag."""

    topic: str
    #: Frame of the boxes.
    frame_id: str
    #: Camera whose stamps most results bear; None if the bag has no pictures under its name.
    reference_camera: str | None
    #: In order of time.
    results: tuple[FrameResult, ...]
    #: Name, version and backend; empty where the bag does not tell.
    model: str
    complaints: tuple[Complaint, ...]
    #: What the results themselves tell, in sentences.
    remarks: tuple[str, ...]


def read_recorded(path: str | Path, topic: str | None = None, images: str | None = None) -> Recorded:
    """What the node with this topic of objects said (None: the only node in the bag).

    ``images`` is the pattern of image topics, as of :func:`image_topics`. ``UserError`` if there is no such node, or
    no image topic.
    """
    with bag_files.open_bag(path) as reader:
        nodes = [name for name, info in reader.topics.items() if info.msgtype == OBJECTS and name != GROUND_TRUTH_TOPIC]
        topic = _choose(path, nodes, topic)
        node = topic.removesuffix(_OUTPUT)
        wanted = (topic, node + _MODEL_INFO, _DIAGNOSTICS)
        pictured = image_topics(path, reader.topics, images)
        results, logged_ns, complaints, model = [], [], [], ""
        for connection, log_ns, raw in bag_files.messages(
                reader, [item for item in reader.connections if item.topic in wanted]):
            message = bag_files.deserialize(reader, connection, raw)
            if connection.topic == topic:
                results.append(message)
                logged_ns.append(log_ns)
            elif connection.topic == _DIAGNOSTICS:
                complaints += [(log_ns, status.name.partition(": camera ")[2], status.message)
                               for status in message.status if status.level and status.hardware_id == node]
            else:
                model = f"{message.name} {message.version} on {message.backend}"
    if not results:
        raise UserError(f"{path}: {topic} holds no result")
    # Diagnostics have a time of their own clock; the log tells when they came among the results.
    delay_ns = int(np.median([at - stamp_ns(message.header.stamp)
                              for at, message in zip(logged_ns, results, strict=True)]))
    try:
        found = sorted(map(from_message, results), key=lambda result: result.stamp_ns)
    except ValueError as error:
        raise UserError(f"{path}: {topic}: {error}") from error
    references = Counter(camera.name for message in results for camera in message.cameras
                         if camera.state == _OK and camera.stamp == message.header.stamp)
    reference = next((name for name, _ in references.most_common() if name in pictured), None)
    return Recorded(topic, results[0].header.frame_id, reference, tuple(found), model,
                    _grouped([(at - delay_ns, camera, text) for at, camera, text in complaints]), _remarks(results))


def _choose(path: str | Path, nodes: list[str], topic: str | None) -> str:
    if topic is not None and topic not in nodes:
        raise UserError(f"{path} has no results on {topic}; it has {', '.join(nodes) or 'none of any node'}")
    if not nodes:
        raise UserError(f"{path} holds no results of a node; give --model to run one")
    if topic is None and len(nodes) > 1:
        raise UserError(f"{path} holds the results of several nodes; choose with --results: {', '.join(nodes)}")
    return topic or nodes[0]


def _grouped(complaints: list[tuple[int, str, str]]) -> tuple[Complaint, ...]:
    """One for each sentence, the most frequent first."""
    times: dict[str, list[tuple[int, str, str]]] = {}
    for at_ns, camera, text in complaints:
        sentence = _NUMBER.sub("#", re.sub(rf"\b{re.escape(camera)}\b", "#", text) if camera else text)
        times.setdefault(sentence, []).append((at_ns, camera, text))
    return tuple(Complaint(tuple(of)) for of in sorted(times.values(), key=len, reverse=True))


def _remarks(messages: list) -> tuple[str, ...]:
    flagged = Counter(bit for message in messages for bit in _FLAGS if message.flags & bit)
    remarks = [f"{flagged[bit]} of {len(messages)} results {words}" for bit, words in _FLAGS.items() if flagged[bit]]
    # They begin again at 0 when the node is configured anew.
    if lost := sum(max(after.sequence - before.sequence - 1, 0) for before, after in pairwise(messages)):
        remarks.append(f"{lost} results of the node are not in the recording")
    return tuple(remarks)
