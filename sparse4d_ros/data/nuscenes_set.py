"""nuScenes on the disk, read through its devkit: scenes as pictures, poses and labelled objects in our terms.

nuScenes' vehicle frame ("ego") stands on the ground below the rear axle, x forward, y left, z up, as ours. Its
stamps are microseconds, its quaternions ``w x y z``, its sizes width, length, height. Every record of a sensor has
the vehicle's pose in the map at the very moment it was taken.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from nuscenes.eval.detection.utils import category_to_detection_name
from nuscenes.nuscenes import NuScenes

from sparse4d_ros import geometry
from sparse4d_ros.boxes import BOX_COLUMNS
from sparse4d_ros.errors import UserError
from sparse4d_ros.frame import Objects

#: nuScenes' channels and our camera names, in model order.
CHANNELS = {"CAM_FRONT": "front", "CAM_FRONT_RIGHT": "front_right", "CAM_FRONT_LEFT": "front_left",
            "CAM_BACK": "back", "CAM_BACK_LEFT": "back_left", "CAM_BACK_RIGHT": "back_right"}
REFERENCE_CHANNEL = "CAM_FRONT"
TABLES = ("category", "attribute", "visibility", "instance", "sensor", "calibrated_sensor", "ego_pose", "log", "scene",
          "sample", "sample_data", "sample_annotation", "map")


@dataclass(frozen=True)
class Picture:
    """One camera picture on the disk."""

    camera: str
    stamp_ns: int
    path: Path
    #: As the table has it, pixels.
    width: int
    height: int
    is_key_frame: bool


@dataclass(frozen=True)
class Scene:
    """Twenty seconds of driving."""

    name: str
    #: Mounting ``[4, 4]`` and K ``[3, 3]`` of each camera.
    vehicle_from_camera: dict[str, np.ndarray]
    intrinsics: dict[str, np.ndarray]
    #: In order of time.
    pictures: tuple[Picture, ...]
    #: The vehicle in the map at the stamp of every record of every sensor, ``[4, 4]``, in order of time.
    poses: dict[int, np.ndarray]
    #: Objects at the front camera's stamp of each key frame; empty where the data set has no annotations (v1.0-test).
    labels: dict[int, Objects]
    #: Annotations of detection classes that no lidar or radar point hit, which nuScenes does not score: left out.
    unhit: int


class NuScenesSet:
    """The tables of one version of the data set.

    Raises ``UserError`` naming what is missing or broken.
    """

    def __init__(self, dataroot: str | Path, version: str) -> None:
        self.dataroot, self.version = Path(dataroot), version
        self._tables = self._load()
        self._records: dict[str, list[dict]] = defaultdict(list)
        for record in self._tables.sample_data:
            self._records[record["sample_token"]].append(record)
        self._scenes = {record["name"]: record for record in self._tables.scene}

    @property
    def scene_names(self) -> list[str]:
        """In the order of the table."""
        return list(self._scenes)

    def check_scenes(self, names: Iterable[str]) -> None:
        """``UserError`` naming a scene that the version does not have."""
        for name in names:
            if name not in self._scenes:
                known = self.scene_names
                listed = ", ".join(known[:12]) + (f" and {len(known) - 12} more" if len(known) > 12 else "")
                raise UserError(f"{self.version} in {self.dataroot} has no scene {name!r}; it has {listed}")

    def scene(self, name: str, *, moved_labels: bool = True) -> Scene:
        """A scene by name.

        Objects are annotated for the lidar's stamp, tens of milliseconds away from the front camera's. With
        ``moved_labels`` their velocity takes them to the camera's stamp; without, they stay where they were.
        """
        self.check_scenes([name])
        try:
            return self._scene(self._scenes[name], moved_labels)
        except KeyError as error:
            raise UserError(f"{self.version} in {self.dataroot}: {name} points to a record or field {error} that no "
                            "table has") from error

    def _scene(self, scene: dict, moved_labels: bool) -> Scene:
        samples = self._samples(scene)
        records = sorted((record for sample in samples for record in self._records[sample["token"]]),
                         key=lambda record: record["timestamp"])
        cameras = [record for record in records if record["channel"] in CHANNELS]
        calibrations = self._calibrations(scene["name"], cameras)
        labels, unhit = {}, 0
        if self._tables.sample_annotation:
            labels, unhit = self._labels(samples, moved_labels)
        return Scene(
            name=scene["name"],
            vehicle_from_camera={name: self._pose(record, "calibrated_sensor")
                                 for name, record in calibrations.items()},
            intrinsics={name: np.array(record["camera_intrinsic"], dtype=np.float64)
                        for name, record in calibrations.items()},
            pictures=tuple(Picture(
                camera=CHANNELS[record["channel"]], stamp_ns=record["timestamp"] * 1000,
                path=self.dataroot / record["filename"], width=record["width"], height=record["height"],
                is_key_frame=record["is_key_frame"]) for record in cameras),
            poses={record["timestamp"] * 1000: self._ego_pose(record) for record in records},
            labels=labels, unhit=unhit)

    def _samples(self, scene: dict) -> list[dict]:
        """The scene's key frames in order, each with all six cameras."""
        samples, token = [], scene["first_sample_token"]
        while token:
            samples.append(self._tables.get("sample", token))
            for channel in CHANNELS:
                if channel not in samples[-1]["data"]:
                    raise UserError(f"{self.version} in {self.dataroot}: the sample {token} of {scene['name']} has no "
                                    f"picture of {channel}")
            token = samples[-1]["next"]
        return samples

    def _calibrations(self, scene: str, cameras: Sequence[dict]) -> dict[str, dict]:
        """The calibrated_sensor of each camera, which a scene does not change."""
        found: dict[str, dict] = {}
        for record in cameras:
            name, token = CHANNELS[record["channel"]], record["calibrated_sensor_token"]
            if name not in found:
                found[name] = self._tables.get("calibrated_sensor", token)
            elif found[name]["token"] != token:
                raise UserError(f"{self.version} in {self.dataroot}: the calibration of {record['channel']} changes "
                                f"during {scene}")
        return {name: found[name] for name in CHANNELS.values()}

    def _labels(self, samples: Sequence[dict], moved: bool) -> tuple[dict[int, Objects], int]:
        numbers: dict[str, int] = {}
        labels, unhit = {}, 0
        for sample in samples:
            reference = self._tables.get("sample_data", sample["data"][REFERENCE_CHANNEL])
            vehicle_from_map = geometry.inverse(self._ego_pose(reference))
            delay_s = (reference["timestamp"] - sample["timestamp"]) * 1e-6 if moved else 0.0
            rows, names, instances, visibility = [], [], [], []
            for token in sample["anns"]:
                annotation = self._tables.get("sample_annotation", token)
                name = category_to_detection_name(annotation["category_name"])
                if name is None:
                    continue
                if annotation["num_lidar_pts"] + annotation["num_radar_pts"] == 0:
                    unhit += 1
                    continue
                rows.append(self._box(annotation, vehicle_from_map, delay_s))
                names.append(name)
                # Numbers are given in order of appearance: the same in every conversion of the scene.
                instances.append(numbers.setdefault(annotation["instance_token"], len(numbers)))
                visibility.append(self._visibility(annotation))
            labels[reference["timestamp"] * 1000] = Objects(
                boxes=np.array(rows, dtype=np.float64).reshape(-1, BOX_COLUMNS), names=tuple(names),
                instance_ids=np.array(instances, dtype=np.int64), visibility=np.array(visibility, dtype=np.float64))
        return labels, unhit

    def _box(self, annotation: dict, vehicle_from_map: np.ndarray, delay_s: float) -> list[float]:
        """Columns of :mod:`sparse4d_ros.boxes` in the vehicle frame; an unknown velocity is NaN and moves nothing."""
        velocity = self._tables.box_velocity(annotation["token"])
        map_from_box = self._pose(annotation, "sample_annotation")
        map_from_box[:3, 3] += np.nan_to_num(velocity) * delay_s
        pose = vehicle_from_map @ map_from_box
        width, length, height = annotation["size"]
        return [*pose[:3, 3], length, width, height, geometry.yaw_of(pose), *(vehicle_from_map[:3, :3] @ velocity)]

    def _visibility(self, annotation: dict) -> float:
        """The middle of the bin, 0..1: the table's level ``v40-60`` gives 0.5."""
        level = self._tables.get("visibility", annotation["visibility_token"])["level"]
        try:
            low, high = (float(part) for part in level.removeprefix("v").split("-"))
        except ValueError as error:
            raise UserError(f"{self._file('visibility')}: the level {level!r} is not of the form v40-60") from error
        return (low + high) / 200.0

    def _ego_pose(self, record: dict) -> np.ndarray:
        return self._pose(self._tables.get("ego_pose", record["ego_pose_token"]), "ego_pose")

    def _pose(self, record: dict, table: str) -> np.ndarray:
        w, x, y, z = record["rotation"]
        try:
            return geometry.from_quaternion(np.array(record["translation"]), np.array([x, y, z, w]))
        except ValueError as error:
            raise UserError(f"{self._file(table)}: the record {record['token']}: {error}") from error

    def _file(self, table: str) -> Path:
        return self.dataroot / self.version / f"{table}.json"

    def _load(self) -> NuScenes:
        folder = self.dataroot / self.version
        if not folder.is_dir():
            versions = sorted(path.parent.name for path in self.dataroot.glob("*/scene.json"))
            found = f"it has {', '.join(versions)}" if versions else "it holds no version of nuScenes"
            raise UserError(f"there is no {self.version} in {self.dataroot}: {found}")
        for table in TABLES:
            if not self._file(table).is_file():
                raise UserError(f"the table {self._file(table)} is missing")
        try:
            return NuScenes(self.version, str(self.dataroot), verbose=False)
        except json.JSONDecodeError as error:
            raise UserError(f"{self._broken_table()} is not valid JSON: {error}") from error
        except KeyError as error:
            raise UserError(f"the tables in {folder} do not belong together: a record points to a record or field "
                            f"{error} that no table has") from error
        except (AssertionError, FileNotFoundError) as error:  # pictures of the map, label files of further tables
            raise UserError(f"{folder} is not complete: {error}") from error

    def _broken_table(self) -> Path:
        """The first table that is no JSON."""
        for table in TABLES:
            try:
                json.loads(self._file(table).read_text(encoding="utf-8"))
            except ValueError:
                return self._file(table)
        return self.dataroot / self.version
