"""Our objects as ROS messages and back, both directions of a type side by side (no ROS needed).

Messages are the plain classes of :func:`ros_types.typestore`; parsing reads attributes only, so
messages of the types that a bag carries along are as good.
"""

from __future__ import annotations

import numpy as np

from sparse4d_ros import geometry
from sparse4d_ros.boxes import BOX_COLUMNS, HEIGHT, LENGTH, VX, VZ, YAW
from sparse4d_ros.data.ros_types import PACKAGE, typestore
from sparse4d_ros.frame import Objects

COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
IMAGE = "sensor_msgs/msg/Image"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
TF = "tf2_msgs/msg/TFMessage"
OBJECTS = f"{PACKAGE}/msg/TrackedObject3DArray"


def new(name: str, **fields):
    """A message of type ``name`` with the given fields."""
    return typestore().types[name](**fields)


def to_stamp(stamp_ns: int):
    """builtin_interfaces/Time of nanoseconds."""
    seconds, nanoseconds = divmod(int(stamp_ns), 1_000_000_000)
    return new("builtin_interfaces/msg/Time", sec=seconds, nanosec=nanoseconds)


def stamp_ns(stamp) -> int:
    """Nanoseconds of a builtin_interfaces/Time."""
    return stamp.sec * 1_000_000_000 + stamp.nanosec


def header(at_ns: int, frame_id: str):
    """std_msgs/Header."""
    return new("std_msgs/msg/Header", stamp=to_stamp(at_ns), frame_id=frame_id)


def compressed_image(at_ns: int, frame_id: str, jpeg: bytes):
    """sensor_msgs/CompressedImage of JPEG bytes."""
    return new(COMPRESSED_IMAGE, header=header(at_ns, frame_id), format="jpeg",
               data=np.frombuffer(jpeg, dtype=np.uint8))


def camera_info(at_ns: int, frame_id: str, intrinsic: np.ndarray, width: int, height: int):
    """sensor_msgs/CameraInfo of an undistorted pinhole camera; ``intrinsic`` is K ``[3, 3]``."""
    projection = np.zeros((3, 4))
    projection[:, :3] = intrinsic
    return new(
        CAMERA_INFO, header=header(at_ns, frame_id), height=height, width=width,
        distortion_model="plumb_bob", d=np.zeros(5), k=np.asarray(intrinsic, dtype=np.float64).reshape(9),
        r=np.eye(3).reshape(9), p=projection.reshape(12), binning_x=0, binning_y=0,
        roi=new("sensor_msgs/msg/RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0, do_rectify=False),
    )


def transform(at_ns: int, parent: str, child: str, parent_from_child: np.ndarray):
    """geometry_msgs/TransformStamped of a 4x4 matrix."""
    x, y, z = parent_from_child[:3, 3]
    return new(
        "geometry_msgs/msg/TransformStamped", header=header(at_ns, parent), child_frame_id=child,
        transform=new("geometry_msgs/msg/Transform", translation=_vector(x, y, z),
                      rotation=_quaternion(geometry.to_quaternion(parent_from_child))),
    )


def matrix_of(transform_stamped) -> np.ndarray:
    """The 4x4 ``parent_from_child``; ``ValueError`` for numbers that are no rigid transform."""
    t, q = transform_stamped.transform.translation, transform_stamped.transform.rotation
    return geometry.from_quaternion((t.x, t.y, t.z), (q.x, q.y, q.z, q.w))


def tf_message(transforms: list):
    """tf2_msgs/TFMessage."""
    return new(TF, transforms=transforms)


def ground_truth(at_ns: int, frame_id: str, objects: Objects, classes: tuple[str, ...], sequence: int):
    """TrackedObject3DArray of labelled objects: ``score`` holds the visible share, ``track_id`` is
    the instance number plus one, since 0 means "no track" in that message. An unknown velocity is
    NaN with ``velocity_valid`` false."""
    return new(
        OBJECTS, header=header(at_ns, frame_id), sequence=sequence, bank_epoch=0, time_interval_s=0.0,
        flags=0, cameras=[],
        timing=new(f"{PACKAGE}/msg/FrameTiming", wait=0.0, decode=0.0, preprocess=0.0, inference=0.0,
                   postprocess=0.0, total=0.0, sensor_to_publish=0.0),
        objects=[
            _ground_truth_object(box, name, int(instance), float(seen), classes)
            for box, name, instance, seen in zip(
                objects.boxes, objects.names, objects.instance_ids, objects.visibility, strict=True)
        ],
    )


def boxes_of(message) -> np.ndarray:
    """Boxes ``[n, 10]`` of a TrackedObject3DArray, in its frame.

    ``ValueError`` naming stamp and field for a pose, size or score that is not finite, or a pose that is no rotation.
    """
    boxes = np.empty((len(message.objects), BOX_COLUMNS))
    for index, (row, item) in enumerate(zip(boxes, message.objects, strict=True)):
        p, q, s, v = item.pose.position, item.pose.orientation, item.size, item.velocity
        where = f"at {stamp_ns(message.header.stamp)} ns, objects[{index}]"
        try:
            pose = geometry.from_quaternion((p.x, p.y, p.z), (q.x, q.y, q.z, q.w))
        except ValueError as error:
            raise ValueError(f"{where}.pose: {error}") from None
        for name, values in (("size", (s.x, s.y, s.z)), ("score", item.score)):
            if not np.isfinite(values).all():
                raise ValueError(f"{where}.{name} is not finite")
        row[:] = (*pose[:3, 3], s.x, s.y, s.z, geometry.yaw_of(pose), v.x, v.y, v.z)
    return boxes


def objects_of(message) -> Objects:
    """Labelled objects of a ground-truth message; the inverse of :func:`ground_truth`. ``ValueError`` as
    :func:`boxes_of`."""
    boxes = boxes_of(message)
    boxes[[not item.velocity_valid for item in message.objects], VX:] = np.nan
    return Objects(
        boxes=boxes,
        names=tuple(item.class_name for item in message.objects),
        instance_ids=np.array([item.track_id - 1 for item in message.objects], dtype=np.int64),
        visibility=np.array([item.score for item in message.objects], dtype=np.float64),
    )


def _ground_truth_object(box: np.ndarray, name: str, instance: int, visible: float, classes: tuple[str, ...]):
    yaw, velocity = box[YAW], box[VX:VZ + 1]
    known = bool(np.isfinite(velocity).all())
    return new(
        f"{PACKAGE}/msg/TrackedObject3D", track_id=instance + 1, hits=0, frames_since_hit=0, age_s=0.0,
        class_id=classes.index(name), class_name=name, score=visible, class_score=1.0, centerness=1.0, yawness=1.0,
        pose=new("geometry_msgs/msg/Pose", position=_point(*box[:3]),
                 orientation=_quaternion((0.0, 0.0, np.sin(yaw / 2), np.cos(yaw / 2)))),
        size=_vector(*box[LENGTH:HEIGHT + 1]), velocity=_vector(*velocity), velocity_valid=known,
        depth=0.0, camera_mask=0,
    )


def _point(x: float, y: float, z: float):
    return new("geometry_msgs/msg/Point", x=float(x), y=float(y), z=float(z))


def _vector(x: float, y: float, z: float):
    return new("geometry_msgs/msg/Vector3", x=float(x), y=float(y), z=float(z))


def _quaternion(xyzw):
    x, y, z, w = (float(value) for value in xyzw)
    return new("geometry_msgs/msg/Quaternion", x=x, y=y, z=z, w=w)
