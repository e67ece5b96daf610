"""Results from topics with the pictures that they were made of, for looking at.

Callbacks keep references and return; :meth:`LiveFrames.newest` decodes and projects in the thread that asks, and only
the newest result: what came in between is passed over.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from sparse4d_ros.evaluation.records import FrameResult, from_message
from sparse4d_ros.frame import CameraFrame, Frame
from sparse4d_ros.msg import CameraInput, TrackedObject3DArray
from sparse4d_ros.node import qos
from sparse4d_ros.node.cameras import Camera, CameraError
from sparse4d_ros.node.ego_motion import EgoMotion
from sparse4d_ros.node.frame_set import Entry, FrameSet, InputState
from sparse4d_ros.node.messages import nanoseconds
from sparse4d_ros.node.tf_source import TransformSource
from sparse4d_ros.viewer.documents import REWIND_NS

#: Pictures that are kept of each camera until their result comes: seconds of JPEG; raw ones are large.
_KEPT = {"compressed": 40, "raw": 12}
#: Without a result for so long, pictures are shown alone.
_SILENCE_S = 5.0
_TF_TIMEOUT_MS = 200.0
#: So many silent topics are named.
_NAMED = 3
#: Decoding a JPEG at a fraction of its size is much cheaper.
_REDUCTIONS = (8, 4, 2)


@dataclass(frozen=True)
class Inputs:
    """The topics; of those of cameras, by name in the model's order."""

    objects: str
    images: Mapping[str, str]
    camera_infos: Mapping[str, str]
    #: "compressed" or "raw".
    transport: str
    base_frame: str = "base_link"
    fixed_frame: str = "odom"


def nothing_on(silent: Sequence[str]) -> str:
    """The sentence that names silent topics, the first of them; "" for none."""
    if not silent:
        return ""
    others = f" and {len(silent) - _NAMED} other topics" if len(silent) > _NAMED else ""
    return f"nothing comes on {', '.join(silent[:_NAMED])}{others}"


class LiveFrames:
    """Subscribes, best effort. Pictures wider than ``width`` may come smaller."""

    def __init__(self, node: Node, inputs: Inputs, transforms: TransformSource, width: int) -> None:
        self._inputs, self._transforms, self._width = inputs, transforms, width
        self._cameras = {name: Camera(name) for name in inputs.images}
        self._pictures: dict[str, OrderedDict[int, Any]] = {name: OrderedDict() for name in inputs.images}
        #: Stamp of each camera's newest picture.
        self._stamps_ns: dict[str, int] = {}
        self._message: TrackedObject3DArray | None = None
        self._news = threading.Event()
        self._shown_ns = 0
        self._heard_s = time.monotonic()
        newest, kind = qos.profile("sensor_data"), CompressedImage if inputs.transport == "compressed" else Image
        node.create_subscription(TrackedObject3DArray, inputs.objects, self._on_objects, newest)
        for name in inputs.images:
            node.create_subscription(kind, inputs.images[name],
                                     lambda message, name=name: self._on_image(name, message), newest)
            node.create_subscription(CameraInfo, inputs.camera_infos[name],
                                     lambda message, name=name: self._on_info(name, message),
                                     qos.profile("camera_info"))

    def newest(self, timeout_s: float) -> tuple[Frame, FrameResult | None, list[str]] | None:
        """The newest frame that was not given before, its result, and what is wrong with it in sentences.

        Where no results come, pictures alone. None if nothing came within ``timeout_s``; ``EgoMotionError`` if the
        poses are unknown.
        """
        if self._news.wait(timeout_s):
            self._news.clear()
            message, self._heard_s = self._message, time.monotonic()
            stamps = {camera.name: nanoseconds(camera.stamp) for camera in message.cameras
                      if camera.state == CameraInput.OK}
            problems = self._strangers([camera.name for camera in message.cameras])
            frame = self._frame(nanoseconds(message.header.stamp), stamps, message.header.frame_id, problems)
            return frame, from_message(message), problems
        if time.monotonic() - self._heard_s < _SILENCE_S:
            return None
        stamps = dict(self._stamps_ns)
        reference_ns = next((stamps[name] for name in self._cameras if name in stamps), self._shown_ns)
        if reference_ns == self._shown_ns:
            return None
        problems = [f"no result on {self._inputs.objects} for {_SILENCE_S:g} s"]
        return self._frame(reference_ns, stamps, self._inputs.base_frame, problems), None, problems

    def missing(self) -> str:
        """Which topics nothing came on, in a sentence; "" if all are there."""
        silent = [self._inputs.objects] if self._message is None else []
        silent += [self._inputs.images[name] for name, kept in self._pictures.items() if not kept]
        silent += [self._inputs.camera_infos[name] for name, camera in self._cameras.items()
                   if camera.calibration is None]
        return nothing_on(silent)

    def _strangers(self, names: Sequence[str]) -> list[str]:
        if set(names) <= self._cameras.keys():
            return []
        return [f"the node's cameras are {', '.join(names)}; name them with --cameras"]

    def _frame(self, reference_ns: int, stamps: Mapping[str, int], vehicle_frame: str, problems: list[str]) -> Frame:
        """Decode and find the poses; cameras without a usable picture have none in the frame."""
        if reference_ns < self._shown_ns - REWIND_NS:  # a recording began anew
            self._transforms.go_back((reference_ns + self._shown_ns) // 2)
        self._shown_ns = reference_ns
        images: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        entries = {}
        for name, camera in self._cameras.items():
            entries[name] = Entry(InputState.MISSING)
            message = self._pictures[name].get(stamps.get(name, -1))
            if message is None:
                continue
            try:
                images[name] = camera.read(message, self._reduction(camera))
                entries[name] = Entry(InputState.OK, stamp_ns=stamps[name])
            except CameraError as error:
                problems.append(str(error))
        motion = EgoMotion(self._transforms, vehicle_frame=vehicle_frame, fixed_frame=self._inputs.fixed_frame,
                           tf_timeout_ms=_TF_TIMEOUT_MS)
        poses = motion.poses(FrameSet(reference_ns, next(iter(entries)), entries, 0, 0, 0),
                             {name: camera.frame_id for name, camera in self._cameras.items()})
        return Frame(reference_ns, tuple(
            CameraFrame(name, *images.get(name, (None, np.eye(3))), poses.camera_from_vehicle.get(name, np.eye(4)),
                        entry.stamp_ns or reference_ns) for name, entry in entries.items()), poses.fixed_from_vehicle)

    def _reduction(self, camera: Camera) -> int:
        calibration = camera.calibration
        return next((by for by in _REDUCTIONS if calibration and calibration.width // by >= self._width), 1)

    def _on_objects(self, message: TrackedObject3DArray) -> None:
        self._message = message
        self._news.set()

    def _on_image(self, name: str, message: Any) -> None:
        kept, stamp_ns = self._pictures[name], nanoseconds(message.header.stamp)
        kept[stamp_ns] = message
        self._stamps_ns[name] = stamp_ns
        if len(kept) > _KEPT[self._inputs.transport]:
            kept.popitem(last=False)

    def _on_info(self, name: str, message: CameraInfo) -> None:
        try:
            self._cameras[name].on_camera_info(message)
        except CameraError:
            pass  # the camera keeps the sentence, and says it when its next picture is read
