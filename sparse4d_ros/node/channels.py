"""The topics of a vehicle and its node as the programs beside the node name them: to show them, or to record them."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.exceptions import InvalidTopicNameException
from rclpy.expand_topic_name import expand_topic_name
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.validate_full_topic_name import validate_full_topic_name
from rclpy.validate_topic_name import validate_topic_name
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from tf2_msgs.msg import TFMessage

from sparse4d_ros.data import ros_messages
from sparse4d_ros.data.bag_output import GROUND_TRUTH_TOPIC
from sparse4d_ros.errors import UserError
from sparse4d_ros.msg import ModelInfo, TrackedObject3DArray
from sparse4d_ros.node import topics
from sparse4d_ros.node.live_frames import Inputs
from sparse4d_ros.node.settings import NUSCENES_CAMERAS

#: Names under which :class:`~sparse4d_ros.data.bag_reader.BagDrive` finds cameras.
_IMAGES, _CAMERA_INFOS = "/camera/{name}/image/compressed", "/camera/{name}/camera_info"


def add_topic_options(parser: argparse.ArgumentParser) -> None:
    """Options that name node, cameras and their topics."""
    parser.add_argument("--node", default=f"/{topics.NODE_NAME}", help="name of the node (default %(default)s)")
    parser.add_argument("--cameras", default=",".join(NUSCENES_CAMERAS), metavar="A,B,...",
                        help="camera names as the node has them (default %(default)s)")
    parser.add_argument("--images", default=_IMAGES, metavar="TOPIC",
                        help="image topics, {name} stands for the camera; compressed if it ends so (default "
                             "%(default)s)")
    parser.add_argument("--camera-infos", default=_CAMERA_INFOS, metavar="TOPIC",
                        help="calibration topics (default %(default)s)")


def named_inputs(args: argparse.Namespace) -> Inputs:
    """The topics that :func:`add_topic_options` name; ``UserError`` for an option that cannot be."""
    names = [name.strip() for name in args.cameras.split(",") if name.strip()]
    if not names:
        raise UserError("--cameras names no camera")
    for option, pattern in (("--images", args.images), ("--camera-infos", args.camera_infos)):
        if "{name}" not in pattern and len(names) > 1:
            raise UserError(f"{option} {pattern} would be one topic for all cameras; {{name}} stands for a camera's")
    return Inputs(
        objects=_topic("--node", topics.OBJECTS.replace("~", "/" + args.node.strip("/"))),
        images={name: _topic("--images", args.images.replace("{name}", name)) for name in names},
        camera_infos={name: _topic("--camera-infos", args.camera_infos.replace("{name}", name)) for name in names},
        transport="compressed" if args.images.endswith("/compressed") else "raw")


def _topic(option: str, topic: str) -> str:
    try:
        validate_topic_name(topic)
        validate_full_topic_name(expand_topic_name(topic, topics.NODE_NAME, "/"))
    except InvalidTopicNameException as error:
        raise UserError(f"{option} makes {topic!r}, which is no name of a topic: {error}") from error
    return topic


@dataclass(frozen=True)
class Channel:
    """A topic to record."""

    topic: str
    kind: type
    profile: QoSProfile
    #: Topic in the bag.
    recorded_as: str
    #: Nothing on it means that something is wrong.
    expected: bool = True
    latched: bool = False
    #: The camera whose raw pictures become JPEG; empty for everything else.
    camera: str = ""

    @property
    def recorded_kind(self) -> str:
        """Message type in the bag."""
        if self.camera:
            return ros_messages.COMPRESSED_IMAGE
        return f"{self.kind.__module__.partition('.')[0]}/msg/{self.kind.__name__}"


def channels_of(inputs: Inputs) -> list[Channel]:
    """Everything that somebody needs who looks at the drive, or runs a model over it, later."""
    # Cameras as the node hears them: a reliable reader could hold up a driver.
    fast = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
    sure = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)
    latched = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE,
                         durability=DurabilityPolicy.TRANSIENT_LOCAL)
    model_info = inputs.objects.removesuffix(topics.OBJECTS[1:]) + topics.MODEL_INFO[1:]
    found = [Channel(inputs.objects, TrackedObject3DArray, sure, inputs.objects)]
    for name, topic in inputs.images.items():
        raw = inputs.transport == "raw"
        found += [Channel(topic, Image if raw else CompressedImage, fast, _IMAGES.format(name=name),
                          camera=name if raw else ""),
                  Channel(inputs.camera_infos[name], CameraInfo, fast, _CAMERA_INFOS.format(name=name))]
    return [*found, Channel("/tf", TFMessage, sure, "/tf"),
            Channel("/tf_static", TFMessage, latched, "/tf_static", latched=True),
            Channel(topics.DIAGNOSTICS, DiagnosticArray, sure, topics.DIAGNOSTICS),
            Channel(model_info, ModelInfo, latched, model_info, latched=True),
            Channel(GROUND_TRUTH_TOPIC, TrackedObject3DArray, sure, GROUND_TRUTH_TOPIC, expected=False)]
