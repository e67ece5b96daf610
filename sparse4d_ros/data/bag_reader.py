"""A rosbag2 as a sequence of labelled frames: how evaluation and training see recorded drives.

Two passes over the file: the first reads stamps, calibration, transforms and ground truth, and
decides which images form a set; the second decodes the images of one set after another, so that
memory holds a few sets however long the drive is.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from rosbags.highlevel import AnyReader
from rosbags.interfaces import Connection

from sparse4d_ros import geometry
from sparse4d_ros.data import bag_files, camera_sets, images, ros_messages
from sparse4d_ros.data.bag_output import GROUND_TRUTH_TOPIC
from sparse4d_ros.data.camera_info import Calibration, read_camera_info
from sparse4d_ros.data.image_topics import IMAGE_TYPES, camera_info_topic, image_topics
from sparse4d_ros.data.transforms import TransformTree
from sparse4d_ros.errors import UserError
from sparse4d_ros.frame import CameraFrame, Frame, LabelledFrame, Objects

#: Where the ego motion is looked for, the best first (REP-105: a pose in ``map`` may jump).
FIXED_FRAMES = ("odom", "map")

log = logging.getLogger(__name__)


class BagDrive:
    """Iterates :class:`LabelledFrame` in order of time; ``len()`` is the number of sets.

    ``cameras``: names in model order, or a mapping of name to image topic. None takes every camera of the bag.
    ``images`` is the pattern of image topics, ``{name}`` standing for the camera, where they are not called as
    :func:`~sparse4d_ros.data.image_topics.image_topics` expects. camera_info is taken from beside the image topic, as
    image_transport does, and fits a picture by the node's rule
    (:meth:`~sparse4d_ros.data.camera_info.Calibration.intrinsic_for`).
    ``fixed_frame`` None takes ``odom`` or, in a bag whose transforms lead to no ``odom``, ``map``.

    Sets that lack a camera (unless ``min_cameras`` allows it: then its image is None) or whose
    time the transforms do not cover are skipped and counted in ``skipped``. ``objects`` is None
    where the bag holds no ground truth for a set. ``weather`` are words like "night, rain"; empty if unknown.
    """

    def __init__(self, path: str | Path, cameras: Sequence[str] | Mapping[str, str] | None = None, *,
                 images: str | None = None, fixed_frame: str | None = None, vehicle_frame: str = "base_link",
                 reference_camera: str | None = None, ground_truth_topic: str = GROUND_TRUTH_TOPIC,
                 max_spread_ms: float = 100.0, min_cameras: int | None = None) -> None:
        self.path = Path(path)
        self.vehicle_frame = vehicle_frame
        self.skipped = {"incomplete": 0, "no transform": 0}
        self._tree = TransformTree()
        self._objects: dict[int, Objects] = {}
        self._calibrations: dict[str, Calibration] = {}
        self._camera_frames: dict[str, str] = {}
        with bag_files.open_bag(self.path) as reader:
            self.image_topics = self._find_cameras(reader, cameras, images)
            self.camera_names = tuple(self.image_topics)
            self.reference_camera = reference_camera or self.camera_names[0]
            if self.reference_camera not in self.camera_names:
                raise UserError(f"the reference camera {self.reference_camera!r} is not among the cameras "
                                f"{', '.join(self.camera_names)}")
            self.weather = bag_files.custom_data(self.path).get(bag_files.WEATHER, "")
            self.has_ground_truth = ground_truth_topic in reader.topics
            stamps = self._index(reader, ground_truth_topic)
        self.fixed_frame = fixed_frame or self._find_fixed_frame()
        self._check(stamps)
        sets = camera_sets.group(stamps, self.reference_camera, round(max_spread_ms * 1e6))
        self._sets = self._usable(sets, len(self.camera_names) if min_cameras is None else min_cameras)

    def __len__(self) -> int:
        return len(self._sets)

    def __iter__(self) -> Iterator[LabelledFrame]:
        wanted = {(camera, stamp) for members in self._sets for camera, stamp in members.items()}
        camera_of = {topic: camera for camera, topic in self.image_topics.items()}
        held: dict[tuple[str, int], tuple[Connection, bytes]] = {}
        remaining = iter(self._sets)
        members = next(remaining, None)
        with bag_files.open_bag(self.path) as reader:
            for connection, _, raw in bag_files.messages(reader, self._connections(reader, camera_of)):
                key = (camera_of[connection.topic], bag_files.header_stamp_ns(raw))
                if key not in wanted:
                    continue
                held[key] = (connection, raw)
                while members is not None and all(item in held for item in members.items()):
                    pictures = {camera: self._decode(reader, *held.pop((camera, stamp)), camera)
                                for camera, stamp in members.items()}
                    wanted.difference_update(members.items())
                    yield self._labelled(members, pictures)
                    members = next(remaining, None)

    def without_pictures(self) -> Iterator[LabelledFrame]:
        """The same frames with no image in any camera, at once: the bag is not read again."""
        return (self._labelled(members, {}) for members in self._sets)

    # First pass

    def _find_cameras(self, reader: AnyReader, cameras: Sequence[str] | Mapping[str, str] | None,
                      pattern: str | None) -> dict[str, str]:
        """Image topic of each camera."""
        if isinstance(cameras, Mapping):
            missing = [topic for topic in cameras.values() if topic not in reader.topics]
            if missing:
                raise UserError(f"{self.path} has no image topic {missing[0]}; its topics are: "
                                f"{', '.join(sorted(reader.topics))}")
            for topic in cameras.values():
                if (kind := reader.topics[topic].msgtype) not in IMAGE_TYPES:
                    raise UserError(f"{self.path}: {topic} carries {kind}, not images")
            return dict(cameras)
        found = image_topics(self.path, reader.topics, pattern)
        if cameras is None:
            return found
        missing = [name for name in cameras if name not in found]
        if missing:
            raise UserError(f"{self.path} has no images of camera {missing[0]!r}; it has {', '.join(sorted(found))}")
        return {name: found[name] for name in cameras}

    def _index(self, reader: AnyReader, ground_truth_topic: str) -> dict[str, list[int]]:
        """Read everything but pixels; returns the image stamps of each camera."""
        stamps: dict[str, list[int]] = {camera: [] for camera in self.camera_names}
        camera_of = {topic: camera for camera, topic in self.image_topics.items()}
        info_of = {camera_info_topic(topic): camera for camera, topic in self.image_topics.items()}
        calibration: dict[str, bytes] = {}
        wanted = {*camera_of, *info_of, "/tf", "/tf_static", ground_truth_topic}
        for connection, _, raw in bag_files.messages(reader, self._connections(reader, wanted)):
            topic = connection.topic
            if topic in camera_of:
                camera = camera_of[topic]
                if camera not in self._camera_frames:
                    with self._blaming(topic):
                        self._camera_frames[camera] = self._parse(reader, connection, raw).header.frame_id
                stamps[camera].append(self._stamp(topic, raw))
            elif topic in info_of:
                camera = info_of[topic]
                self._stamp(topic, raw)  # too short a message must not pass as equal calibration
                if calibration.get(camera) != raw[12:]:
                    self._add_calibration(camera, topic, self._parse(reader, connection, raw))
                    calibration[camera] = raw[12:]
            elif topic == ground_truth_topic:
                self._add_objects(topic, self._parse(reader, connection, raw))
            else:
                self._add_transforms(topic, self._parse(reader, connection, raw))
        return stamps

    def _add_calibration(self, camera: str, topic: str, message) -> None:
        with self._blaming(topic):
            calibration = read_camera_info(message, camera)
        known = self._calibrations.setdefault(camera, calibration)
        if not calibration.same_as(known):
            raise UserError(f"{self.path}: the calibration of camera {camera!r} changes during the bag; "
                            "split the bag where it changes")
        if calibration is known and calibration.distorted:
            log.warning("%s: camera %r has lens distortion (%s) and its images are used as they are; "
                        "rectified images project boxes where they belong", self.path, camera, topic)

    def _add_objects(self, topic: str, message) -> None:
        with self._blaming(topic):
            frame_id, stamp_ns = message.header.frame_id, ros_messages.stamp_ns(message.header.stamp)
            self._objects[stamp_ns] = ros_messages.objects_of(message)
        if frame_id != self.vehicle_frame:
            raise UserError(f"{self.path}: {topic} is in frame {frame_id!r}, "
                            f"not in the vehicle frame {self.vehicle_frame!r}")

    def _add_transforms(self, topic: str, message) -> None:
        with self._blaming(topic):
            for item in message.transforms:
                parent, child, matrix = item.header.frame_id, item.child_frame_id, ros_messages.matrix_of(item)
                if topic == "/tf_static":
                    self._tree.add_static(parent, child, matrix)
                else:
                    self._tree.add(parent, child, ros_messages.stamp_ns(item.header.stamp), matrix)

    def _find_fixed_frame(self) -> str:
        for frame in FIXED_FRAMES:
            if self._connected(frame, self.vehicle_frame):
                return frame
        return FIXED_FRAMES[0]

    def _connected(self, target: str, source: str) -> bool:
        try:
            return self._tree.connected(target, source)
        except LookupError as error:
            raise UserError(f"{self.path}: {error}") from error

    def _check(self, stamps: Mapping[str, list[int]]) -> None:
        """What every set needs."""
        for camera, topic in self.image_topics.items():
            if not stamps[camera]:
                raise UserError(f"{self.path}: {topic} of camera {camera!r} holds no image")
            if camera not in self._calibrations:
                raise UserError(f"{self.path} has no calibration of camera {camera!r}: nothing was recorded "
                                f"on {camera_info_topic(topic)}")
        pairs = [(self.fixed_frame, self.vehicle_frame, "/tf")]
        pairs += [(self.vehicle_frame, frame, "/tf_static") for frame in self._camera_frames.values()]
        for target, source, topic in pairs:
            if not self._connected(target, source):
                raise UserError(f"{self.path}: no transform connects {target!r} and {source!r}; it is expected on "
                                f"{topic}")

    def _usable(self, sets: list[dict[str, int]], min_cameras: int) -> list[dict[str, int]]:
        """Sets with enough cameras and with transforms at all their stamps."""
        complete = [members for members in sets if len(members) >= min_cameras]
        usable = [members for members in complete if all(
            self._tree.covers(self.fixed_frame, frame, members.get(camera, members[self.reference_camera]))
            for camera in self.camera_names
            for frame in (self._camera_frames[camera], self.vehicle_frame)
        )]
        self.skipped = {"incomplete": len(sets) - len(complete), "no transform": len(complete) - len(usable)}
        if not usable:
            raise UserError(f"{self.path} has no usable frame: of {len(sets)} images of {self.reference_camera!r}, "
                            f"{self.skipped['incomplete']} lack a partner from another camera and "
                            f"{self.skipped['no transform']} lie outside the recorded transforms "
                            f"{self.fixed_frame} -> {self.vehicle_frame}")
        return usable

    # Second pass

    def _labelled(self, members: Mapping[str, int], pictures: Mapping[str, tuple[np.ndarray, np.ndarray]]
                  ) -> LabelledFrame:
        stamp_ns = members[self.reference_camera]
        fixed_from_vehicle = self._tree.lookup(self.fixed_frame, self.vehicle_frame, stamp_ns)
        cameras = []
        for camera in self.camera_names:
            at_ns = members.get(camera, stamp_ns)
            image, intrinsic = pictures.get(camera, (None, self._calibrations[camera].intrinsic))
            fixed_from_camera = self._tree.lookup(self.fixed_frame, self._camera_frames[camera], at_ns)
            cameras.append(CameraFrame(name=camera, image=image, intrinsic=intrinsic, stamp_ns=at_ns,
                                       camera_from_vehicle=geometry.inverse(fixed_from_camera) @ fixed_from_vehicle))
        return LabelledFrame(Frame(stamp_ns=stamp_ns, fixed_from_vehicle=fixed_from_vehicle, cameras=tuple(cameras)),
                             self._objects.get(stamp_ns))

    def _decode(self, reader: AnyReader, connection: Connection, raw: bytes, camera: str
                ) -> tuple[np.ndarray, np.ndarray]:
        """A picture and its K."""
        with self._blaming(f"{connection.topic} at {self._stamp(connection.topic, raw)} ns"):
            image = images.decode(self._parse(reader, connection, raw), camera)
            return image, self._calibrations[camera].intrinsic_for(image.shape[1], image.shape[0])

    def _stamp(self, topic: str, raw: bytes) -> int:
        with self._blaming(topic):
            return bag_files.header_stamp_ns(raw)

    @contextlib.contextmanager
    def _blaming(self, where: str) -> Iterator[None]:
        """Content that is not what the topic should carry becomes a sentence naming bag and topic.

        AttributeError: bags bring their own message definitions, which may lack a field.
        """
        try:
            yield
        except UserError as error:
            prefix = "" if str(self.path) in str(error) else f"{self.path}: {where}: "
            raise UserError(f"{prefix}{error}") from error
        except (ValueError, AttributeError, TypeError, OverflowError) as error:
            raise UserError(f"{self.path}: {where}: {error}") from error

    def _parse(self, reader: AnyReader, connection: Connection, raw: bytes):
        return bag_files.deserialize(reader, connection, raw)

    @staticmethod
    def _connections(reader: AnyReader, topics) -> list[Connection]:
        return [connection for connection in reader.connections if connection.topic in topics]
