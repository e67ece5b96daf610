"""`sparse4d samples-to-bag`: a folder of pictures with a ``sequence.json`` as a bag.

``sequence.json`` is the plain form any recording can be brought into without ROS::

    {"frames": [{
        "stamp_ns": 1, "world_from_vehicle": 4x4,
        "cameras": {"front": {"image": "images/front.jpg", "stamp_ns": 1, "K": 3x3,
                              "vehicle_from_camera": 4x4, "world_from_camera": 4x4}},
        "boxes": [{"class": "car", "size_lwh": [m, m, m], "world_from_box": 4x4,
                   "velocity_world": [m/s, m/s, m/s], "instance": 1}]}]}

Where the vehicle was when a camera fired follows from ``world_from_camera``, or from
``camera_from_reference_lidar_compensated`` with the frame's ``vehicle_from_lidar`` (nuScenes), or,
with neither, is taken to be its pose at the frame's stamp. ``velocity_world`` and ``instance`` may
be absent. JPEG files go into the bag byte by byte.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from sparse4d_ros import geometry
from sparse4d_ros.boxes import BOX_COLUMNS, NUSCENES_CLASSES
from sparse4d_ros.data import images, ros_messages
from sparse4d_ros.data.bag_writer import BagWriter
from sparse4d_ros.data.image_topics import in_order
from sparse4d_ros.errors import UserError, shown
from sparse4d_ros.frame import CameraFrame, Frame, LabelledFrame, Objects

#: Class names of other data sets that mean a nuScenes class.
CLASS_ALIASES = {"motorcyclist": "motorcycle", "bicyclist": "bicycle", "cyclist": "bicycle", "person": "pedestrian"}
REFERENCE_CAMERA = "front"
#: Types of fields with their names for people, and shapes of those that hold numbers; poses are checked as such.
_TYPES = {"stamp_ns": (int, "a whole number"), "cameras": (dict, "an object"), "boxes": (list, "a list"),
          "image": (str, "text"), "class": (str, "text"), "instance": ((int, str), "a whole number or text")}
_SHAPES = {"K": (3, 3), "size_lwh": (3,), "velocity_world": (3,), "world_from_box": (4, 4)}


@dataclass(frozen=True)
class Sequence:
    """A read ``sequence.json``."""

    folder: Path
    frames: list[dict]
    cameras: tuple[str, ...]

    @property
    def vehicle_from_camera(self) -> dict[str, np.ndarray]:
        """The mountings, from the first frame."""
        cameras = self.frames[0]["cameras"]
        return {name: _pose(cameras[name], "vehicle_from_camera", f"frames[0].cameras.{name}")
                for name in self.cameras}


def read_sequence(folder: str | Path) -> Sequence:
    """Read and check ``folder/sequence.json``; ``UserError`` naming the field that is wrong."""
    folder = Path(folder)
    path = folder / "sequence.json"
    if not path.is_file():
        raise UserError(f"{folder} holds no sequence.json")
    try:
        frames = json.loads(path.read_text(encoding="utf-8"))["frames"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is not JSON with a list \"frames\": {error}") from error
    if not isinstance(frames, list) or not frames:
        raise UserError(f"{path} holds no frames")
    for index, frame in enumerate(frames):
        _require(frame, ("stamp_ns", "world_from_vehicle", "cameras", "boxes"), f"frames[{index}]")
        for name, camera in frame["cameras"].items():
            _require(camera, ("image", "stamp_ns", "K", "vehicle_from_camera"), f"frames[{index}].cameras.{name}")
        for number, box in enumerate(frame["boxes"]):
            given = [field for field in ("instance", "velocity_world") if isinstance(box, dict) and
                     box.get(field) is not None]
            _require(box, ("class", "size_lwh", "world_from_box", *given), f"frames[{index}].boxes[{number}]")
    names = set(frames[0]["cameras"])
    if REFERENCE_CAMERA not in names:
        raise UserError(f"{path}: frames[0].cameras has no camera {REFERENCE_CAMERA!r}")
    for index, frame in enumerate(frames):
        if set(frame["cameras"]) != names:
            raise UserError(f"{path}: frames[{index}] has not the cameras of frames[0]")
    frames = sorted(frames, key=lambda frame: frame["stamp_ns"])
    for first, second in pairwise(frames):
        if first["stamp_ns"] == second["stamp_ns"]:
            raise UserError(f"{path}: two frames have the stamp_ns {first['stamp_ns']}")
    return Sequence(folder, frames, tuple(in_order(names)))


def labelled_frames(sequence: Sequence) -> Iterator[tuple[LabelledFrame, dict[str, bytes]]]:
    """Frames at the reference camera's stamp, each with its JPEG bytes by camera.

    Boxes are moved by their velocity from the time they were labelled for to the reference stamp.
    """
    numbers: dict = {}
    velocities = _velocities(sequence.frames)
    for index, item in enumerate(sequence.frames):
        where = f"frames[{index}]"
        world_from_vehicle = _pose(item, "world_from_vehicle", where)
        camera_from_world = {
            name: _camera_from_vehicle(item, name, where) @ geometry.inverse(world_from_vehicle)
            for name in sequence.cameras
        }
        reference = item["cameras"][REFERENCE_CAMERA]
        mounting = _pose(reference, "vehicle_from_camera", f"{where}.cameras.{REFERENCE_CAMERA}")
        world_from_reference = geometry.inverse(mounting @ camera_from_world[REFERENCE_CAMERA])
        pictures = {name: _jpeg(sequence.folder / item["cameras"][name]["image"]) for name in sequence.cameras}
        frame = Frame(
            stamp_ns=int(reference["stamp_ns"]), fixed_from_vehicle=world_from_reference,
            cameras=tuple(CameraFrame(
                name=name, image=None, intrinsic=np.array(item["cameras"][name]["K"], dtype=np.float64),
                camera_from_vehicle=camera_from_world[name] @ world_from_reference,
                stamp_ns=int(item["cameras"][name]["stamp_ns"]),
            ) for name in sequence.cameras),
        )
        delay_s = (frame.stamp_ns - item["stamp_ns"]) * 1e-9
        objects = _objects(item["boxes"], velocities[index], geometry.inverse(world_from_reference), delay_s,
                           numbers, where)
        yield LabelledFrame(frame, objects), pictures


def _camera_from_vehicle(item: dict, name: str, where: str) -> np.ndarray:
    """Camera at its own stamp from the vehicle at the frame's stamp."""
    camera = item["cameras"][name]
    if "world_from_camera" in camera:
        pose = _pose(camera, "world_from_camera", f"{where}.cameras.{name}")
        return geometry.inverse(pose) @ _pose(item, "world_from_vehicle", where)
    if "camera_from_reference_lidar_compensated" in camera:
        pose = _pose(camera, "camera_from_reference_lidar_compensated", f"{where}.cameras.{name}")
        return pose @ geometry.inverse(_pose(item, "vehicle_from_lidar", where))
    return geometry.inverse(_pose(camera, "vehicle_from_camera", f"{where}.cameras.{name}"))


def _velocities(frames: list[dict]) -> list[list[np.ndarray]]:
    """Velocity of each box in the world: as given, else from the positions of the same instance in
    the frames around it, else NaN (unknown)."""
    tracks: dict = {}
    for index, item in enumerate(frames):
        for box in item["boxes"]:
            if box.get("instance") is not None:
                tracks.setdefault(box["instance"], {})[index] = np.array(box["world_from_box"])[:3, 3]
    out = []
    for index, item in enumerate(frames):
        row = []
        for box in item["boxes"]:
            track = tracks.get(box.get("instance"), {})
            first, last = (index - 1 if index - 1 in track else index), (index + 1 if index + 1 in track else index)
            if box.get("velocity_world") is not None:
                row.append(np.array(box["velocity_world"], dtype=np.float64))
            elif track and first != last:
                seconds = (frames[last]["stamp_ns"] - frames[first]["stamp_ns"]) * 1e-9
                row.append((track[last] - track[first]) / seconds)
            else:
                row.append(np.full(3, np.nan))
        out.append(row)
    return out


def _objects(items: list[dict], velocities: list[np.ndarray], vehicle_from_world: np.ndarray, delay_s: float,
             numbers: dict, where: str) -> Objects:
    """Boxes of the ten classes in the vehicle frame; those of other classes are left out."""
    boxes, names, instances = [], [], []
    for index, (item, velocity) in enumerate(zip(items, velocities, strict=True)):
        name = item["class"].lower()
        name = CLASS_ALIASES.get(name, name)
        if name not in NUSCENES_CLASSES:
            continue
        world_from_box = _pose(item, "world_from_box", f"{where}.boxes[{index}]")
        world_from_box[:3, 3] += np.nan_to_num(velocity) * delay_s
        pose = vehicle_from_world @ world_from_box
        boxes.append([*pose[:3, 3], *item["size_lwh"], geometry.yaw_of(pose), *(vehicle_from_world[:3, :3] @ velocity)])
        names.append(name)
        # Without an instance number every box is an object of its own.
        key = (where, index) if item.get("instance") is None else item["instance"]
        instances.append(numbers.setdefault(key, len(numbers)))
    return Objects(boxes=np.array(boxes, dtype=np.float64).reshape(-1, BOX_COLUMNS), names=tuple(names),
                   instance_ids=np.array(instances, dtype=np.int64))


def _require(holder: dict, fields: tuple[str, ...], where: str) -> None:
    for field in fields:
        if not isinstance(holder, dict) or field not in holder:
            raise UserError(f"sequence.json: {where} has no {field}")
        value, fits, words = holder[field], True, ""
        if field in _TYPES:
            kind, words = _TYPES[field]
            fits = isinstance(value, kind)
        elif field in _SHAPES:
            words = f"{'x'.join(map(str, _SHAPES[field]))} numbers"
            fits = _shape(value) == _SHAPES[field]
        if not fits:
            raise UserError(f"sequence.json: {where}.{field} is {shown(value)}, not {words}")


def _shape(value: object) -> tuple[int, ...] | None:
    """The shape of lists of numbers; None for anything else."""
    try:
        return np.array(value, dtype=np.float64).shape
    except (ValueError, TypeError):
        return None


def _pose(holder: dict, field: str, where: str) -> np.ndarray:
    """A field as a rigid transform with an exactly orthonormal rotation (files carry rounded digits)."""
    _require(holder, (field,), where)
    try:
        matrix = geometry.check_rigid(np.array(holder[field], dtype=np.float64), f"{where}.{field}")
    except (ValueError, TypeError) as error:
        raise UserError(f"sequence.json: {error}") from error
    return geometry.from_quaternion(matrix[:3, 3], geometry.to_quaternion(matrix))


def _jpeg(path: Path) -> bytes:
    """The file itself if it is JPEG, else its picture as JPEG of high quality."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"the image {path} cannot be read: {error.strerror}") from error
    if data.startswith(b"\xff\xd8"):
        return data
    try:
        return images.encode_jpeg(images.decode(ros_messages.compressed_image(0, "", data), path.stem), quality=95)
    except UserError as error:
        raise UserError(f"the image {path}: {error}") from error


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="folder with sequence.json and its pictures")
    parser.add_argument("output", type=Path, help="the bag to write (a folder)")
    parser.add_argument("--overwrite", action="store_true", help="replace the bag if it exists")
    parser.epilog = "Example: sparse4d samples-to-bag samples/six_cameras_nuscenes /tmp/nuscenes_bag"


def run(args: argparse.Namespace) -> int:
    sequence = read_sequence(args.folder)
    left_out = {box["class"] for frame in sequence.frames for box in frame["boxes"]
                if CLASS_ALIASES.get(box["class"].lower(), box["class"].lower()) not in NUSCENES_CLASSES}
    with BagWriter(args.output, sequence.vehicle_from_camera, overwrite=args.overwrite) as writer:
        for item, pictures in labelled_frames(sequence):
            try:
                writer.add(item, pictures)
            except ValueError as error:  # frames that are out of order or contradict each other
                raise UserError(f"{args.folder}: {error}") from error
    print(f"{args.output}: {writer.frames_written} frame(s) of {len(sequence.cameras)} cameras"
          + (f"; boxes of other classes left out: {', '.join(sorted(left_out))}" if left_out else ""))
    return 0
