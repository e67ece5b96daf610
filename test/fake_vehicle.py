"""A vehicle for tests on real topics: six cameras with camera_info and tf, and a listener for the answers.

In every image a bright spot marks a point of the ground `SPOT_M` metres from the vehicle in that
camera's direction, as seen from where the vehicle is at the camera's own stamp. Whoever gets images,
matrices and ego motion right finds it at the same place in base_link at the reference stamp.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

import cv2
import numpy as np
from fake_engine import NAMES
from geometry_msgs.msg import TransformStamped
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from tf2_msgs.msg import TFMessage

from sparse4d_ros import geometry
from sparse4d_ros.node import topics
from sparse4d_ros.node.messages import time_message

SPOT_M = 8.0
SPEED = 10.0  # m/s
YAW_RATE = 0.1  # rad/s
WIDTH, HEIGHT, FOCAL = 160, 120, 100.0
YAWS = dict(zip(NAMES, np.radians([0.0, -60.0, 60.0, 180.0, 120.0, -120.0]), strict=True))
INTRINSIC = np.array([[FOCAL, 0.0, WIDTH / 2], [0.0, FOCAL, HEIGHT / 2], [0.0, 0.0, 1.0]])
MS = 1_000_000
S = 1_000_000_000
#: How long a loaded machine may take for anything; no contract.
WITHIN_S = 60.0


def ego_pose(stamp_ns: int) -> np.ndarray:
    """Pose of base_link in odom: a wide circle."""
    angle = YAW_RATE * stamp_ns / 1e9
    radius = SPEED / YAW_RATE
    return geometry.from_yaw(radius * np.sin(angle), radius * (1.0 - np.cos(angle)), 0.0, angle)


def vehicle_from_camera(name: str) -> np.ndarray:
    """Extrinsic of a camera, optical axes, looking 10 degrees down from 1.5 m above the ground."""
    optical = np.array([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
    pitch = np.radians(10.0)
    down = np.array([[np.cos(pitch), 0, np.sin(pitch), 0], [0, 1, 0, 0], [-np.sin(pitch), 0, np.cos(pitch), 0],
                     [0, 0, 0, 1]])
    yaw = YAWS[name]
    return geometry.from_yaw(0.5 * np.cos(yaw), 0.5 * np.sin(yaw), 1.5, yaw) @ down @ optical


def spot(name: str) -> np.ndarray:
    """The marked point in base_link at the reference stamp."""
    return np.array([SPOT_M * np.cos(YAWS[name]), SPOT_M * np.sin(YAWS[name]), 0.0])


def picture(name: str, reference_ns: int, stamp_ns: int) -> np.ndarray:
    """BGR image ``[HEIGHT, WIDTH, 3]`` of a camera."""
    camera_from_reference = (geometry.inverse(vehicle_from_camera(name)) @ geometry.inverse(ego_pose(stamp_ns))
                             @ ego_pose(reference_ns))
    (u, v), depth = geometry.project(spot(name), geometry.pad_intrinsic(INTRINSIC) @ camera_from_reference)
    assert depth > 0
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    value = 255.0 * np.exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * 4.0 ** 2))
    return cv2.merge([value.astype(np.uint8)] * 3)


def transform_message(parent: str, child: str, matrix: np.ndarray, stamp_ns: int) -> TransformStamped:
    message = TransformStamped()
    message.header.stamp, message.header.frame_id, message.child_frame_id = time_message(stamp_ns), parent, child
    for axis, value in zip("xyz", matrix[:3, 3], strict=True):
        setattr(message.transform.translation, axis, float(value))
    for axis, value in zip("xyzw", geometry.to_quaternion(matrix), strict=True):
        setattr(message.transform.rotation, axis, float(value))
    return message


class FakeVehicle:
    """Publishes one frame set when told to; `publish` returns at once."""

    def __init__(self, node: Node, target: str = "/sparse4d_node", transport: str = "compressed",
                 cameras: Iterable[str] = NAMES, reliable: bool = False,
                 topic_pattern: tuple[str, str] | None = None) -> None:
        """Publishes on the inputs of the node `target`, or on topics by patterns with ``{name}``."""
        self.cameras, self.transport = tuple(cameras), transport
        self.frames = {name: f"{name}_optical_frame" for name in self.cameras}
        self._kind = CompressedImage if transport == "compressed" else Image
        quality = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE if reliable
                             else ReliabilityPolicy.BEST_EFFORT)
        image, info = topic_pattern or (topics.image("{name}", transport).replace("~", target),
                                        topics.camera_info("{name}").replace("~", target))
        self.images = {name: node.create_publisher(self._kind, image.format(name=name), quality)
                       for name in self.cameras}
        self.infos = {name: node.create_publisher(CameraInfo, info.format(name=name), quality)
                      for name in self.cameras}
        self.tf = node.create_publisher(TFMessage, "/tf", 100)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.tf_static = node.create_publisher(TFMessage, "/tf_static", latched)
        self.tf_static.publish(TFMessage(transforms=[
            transform_message("base_link", self.frames[name], vehicle_from_camera(name), 0) for name in self.cameras]))

    def connected(self) -> bool:
        return all(p.get_subscription_count() > 0 for p in (*self.images.values(), *self.infos.values(), self.tf,
                                                            self.tf_static))

    def publish(self, stamp_ns: int, skip: Iterable[str] = (), offsets_ns: dict[str, int] | None = None,
                pose: Callable[[int], np.ndarray] | None = ego_pose, info: bool = True,
                change: Callable[[str, object], object] = lambda name, message: message) -> None:
        """One set: tf around the stamp, camera_info, images. `change` may break an image message."""
        stamps = {name: stamp_ns + (offsets_ns or {}).get(name, 10 * MS * index)
                  for index, name in enumerate(self.cameras) if name not in skip}
        # All are painted before the first goes out: the node's wait for the rest of the set begins with it.
        images = {name: change(name, self.image_message(name, stamp_ns, own)) for name, own in stamps.items()}
        if pose is not None:
            self.publish_tf(range(stamp_ns - 100 * MS, stamp_ns + 150 * MS, 20 * MS), pose)
        for name, image in images.items():
            if info:
                self.infos[name].publish(self.info_message(name, stamps[name]))
            self.images[name].publish(image)

    def publish_tf(self, stamps: Iterable[int], pose: Callable[[int], np.ndarray] = ego_pose) -> None:
        self.tf.publish(TFMessage(transforms=[transform_message("odom", "base_link", pose(s), s) for s in stamps]))

    def info_message(self, name: str, stamp_ns: int) -> CameraInfo:
        message = CameraInfo(width=WIDTH, height=HEIGHT, distortion_model="plumb_bob", d=[0.0] * 5,
                             k=INTRINSIC.ravel(), r=np.eye(3).ravel(),
                             p=np.hstack([INTRINSIC, np.zeros((3, 1))]).ravel())
        message.header.stamp, message.header.frame_id = time_message(stamp_ns), self.frames[name]
        return message

    def image_message(self, name: str, reference_ns: int, stamp_ns: int) -> Image | CompressedImage:
        image = picture(name, reference_ns, stamp_ns)
        if self.transport == "compressed":
            message = CompressedImage(format="jpeg")
            message.data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
        else:
            message = Image(width=WIDTH, height=HEIGHT, encoding="bgr8", step=3 * WIDTH)
            message.data = image.tobytes()
        message.header.stamp, message.header.frame_id = time_message(stamp_ns), self.frames[name]
        return message


class Listener:
    """Keeps every message of a topic and waits for more."""

    def __init__(self, node: Node, kind: type, topic: str, quality: QoSProfile | int = 50) -> None:
        self.messages: list = []
        self._changed = threading.Condition()
        self.subscription = node.create_subscription(kind, topic, self._add, quality)

    def _add(self, message: object) -> None:
        with self._changed:
            self.messages.append(message)
            self._changed.notify_all()

    def wait(self, wanted: Callable[[list], object], timeout_s: float = WITHIN_S) -> object:
        """The first true answer of `wanted(messages)`; None if the timeout passes first."""
        end = time.monotonic() + timeout_s
        with self._changed:
            while True:
                answer = wanted(self.messages)
                left = end - time.monotonic()
                if answer or left <= 0:
                    return answer or None
                self._changed.wait(left)
