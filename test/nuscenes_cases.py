"""A tiny data set in nuScenes' own format: tables, maps and JPEGs of 160x90, every number of it computable here.

Two scenes of three key frames with one sweep between two of them. The lidar stands for the sensors that are no
cameras: it has records and poses but no files.
"""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from sparse4d_ros import geometry
from sparse4d_ros.data import images

SCENES = ("scene-0061", "scene-0103")
KEY_FRAMES = 3
VERSION = "v1.0-mini"
SIZE = (160, 90)
START_US = 1_532_402_927_647_951
INTERVAL_US = 500_000
#: When a camera fires, relative to the lidar's stamp, which is the sample's (microseconds).
OFFSETS_US = {"CAM_FRONT": -36_000, "CAM_FRONT_RIGHT": -27_000, "CAM_FRONT_LEFT": -43_000, "CAM_BACK": -10_000,
              "CAM_BACK_LEFT": 500, "CAM_BACK_RIGHT": -19_000}
NAMES = {"CAM_FRONT": "front", "CAM_FRONT_RIGHT": "front_right", "CAM_FRONT_LEFT": "front_left", "CAM_BACK": "back",
         "CAM_BACK_LEFT": "back_left", "CAM_BACK_RIGHT": "back_right"}
YAWS = dict(zip(OFFSETS_US, np.radians([0.3, -55, 55, 180, 108, -110]), strict=True))
OPTICAL = np.array([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
INTRINSIC = np.array([[126.6, 0, 81.6], [0, 126.6, 49.1], [0, 0, 1]])
#: Instance: category, size (width, length, height), velocity in the map, visibility token, key frames it is
#: annotated in, lidar and radar points.
INSTANCES = {
    "car": ("vehicle.car", (1.9, 4.6, 1.7), (6.0, 2.0, 0.0), "4", (0, 1, 2), (40, 3)),
    "walker": ("human.pedestrian.adult", (0.7, 0.6, 1.8), (0.0, 0.0, 0.0), "2", (0, 1), (5, 0)),
    "bus": ("vehicle.bus.rigid", (2.9, 11.0, 3.4), (-4.0, 0.0, 0.0), "1", (2,), (80, 9)),
    "truck": ("vehicle.truck", (2.5, 7.2, 3.1), (0.0, 9.0, 0.0), "3", (0, 1, 2), (0, 2)),
    "unhit cone": ("movable_object.trafficcone", (0.4, 0.4, 1.0), (0.0, 0.0, 0.0), "1", (0, 1, 2), (0, 0)),
    "dog": ("animal", (0.4, 0.9, 0.6), (0.0, 0.0, 0.0), "4", (0, 1, 2), (8, 0)),
}


def sample_us(scene: int, index: int) -> int:
    """The stamp of a key frame."""
    return START_US + scene * 100_000_000 + index * INTERVAL_US


def vehicle_pose(stamp_us: int) -> np.ndarray:
    """map_from_vehicle: a curve through the map, far from its origin; every scene drives the same one."""
    seconds = ((stamp_us - START_US) * 1e-6 + 1.0) % 100.0  # cameras fire before the first sample's stamp
    return geometry.from_yaw(411.3 + 7 * seconds, 1180.9 + 0.4 * seconds**2, 0.0, 1.9 + 0.25 * seconds)


def mounting(channel: str) -> np.ndarray:
    """vehicle_from_camera."""
    yaw = YAWS[channel]
    return geometry.from_yaw(1.0 + 0.7 * np.cos(yaw), 0.5 * np.sin(yaw), 1.5, yaw) @ OPTICAL


def jpeg(scene: int, channel: str, stamp_us: int) -> bytes:
    """A picture that no other record has."""
    rows, columns = np.mgrid[0:SIZE[1], 0:SIZE[0]]
    picture = np.stack([rows + 40 * scene, columns, np.full_like(rows, stamp_us // 1000 % 200)], axis=-1)
    picture = cv2.putText(picture.astype(np.uint8), channel[4:], (4, 50), cv2.FONT_HERSHEY_PLAIN, 1.0, (255, 255, 255))
    return images.encode_jpeg(picture, 80)


def box_in_map(scene: int, name: str, stamp_us: int) -> tuple[np.ndarray, np.ndarray]:
    """map_from_box and velocity of an instance at any time."""
    number, velocity = list(INSTANCES).index(name), np.array(INSTANCES[name][2])
    seconds = (stamp_us - sample_us(scene, 0)) * 1e-6
    here = vehicle_pose(sample_us(scene, 0)) @ geometry.from_yaw(9.0 + 5 * number, 4.0 - 3 * number, 0.9, 0.4 * number)
    here[:3, 3] += velocity * seconds
    return here, velocity



def write(root: Path, version: str = VERSION, annotated: bool = True) -> Path:
    """Write the data set and return its root; without ``annotated`` its tables are those of a test set."""
    tables = _fixed_tables()
    for scene, name in enumerate(SCENES):
        _add_scene(tables, root, scene, name, annotated)
    folder = root / version
    folder.mkdir(parents=True, exist_ok=True)
    (root / "maps").mkdir(exist_ok=True)
    cv2.imwrite(str(root / "maps" / "mask.png"), np.zeros((8, 8), np.uint8))
    for table, records in tables.items():
        (folder / f"{table}.json").write_text(json.dumps(records))
    return root


def edit(root: Path, table: str, change, version: str = VERSION) -> None:
    """Let ``change`` work on a table's records."""
    path = root / version / f"{table}.json"
    records = json.loads(path.read_text())
    change(records)
    path.write_text(json.dumps(records))


def _fixed_tables() -> dict[str, list[dict]]:
    levels = ("v0-40", "v40-60", "v60-80", "v80-100")
    return {
        "category": [{"token": value[0], "name": value[0], "description": ""} for value in INSTANCES.values()],
        "attribute": [],
        "visibility": [{"token": str(n), "level": level, "description": ""} for n, level in enumerate(levels, 1)],
        "instance": [],
        "sensor": [{"token": channel, "channel": channel, "modality": "camera"} for channel in OFFSETS_US]
        + [{"token": "LIDAR_TOP", "channel": "LIDAR_TOP", "modality": "lidar"}],
        "calibrated_sensor": [], "ego_pose": [],
        "log": [{"token": "log", "logfile": "n015", "vehicle": "n015", "date_captured": "", "location": "town"}],
        "scene": [], "sample": [], "sample_data": [], "sample_annotation": [],
        "map": [{"token": "map", "log_tokens": ["log"], "category": "semantic_prior", "filename": "maps/mask.png"}],
    }


def _pose_fields(pose: np.ndarray) -> dict:
    x, y, z, w = geometry.to_quaternion(pose)
    return {"translation": pose[:3, 3].tolist(), "rotation": [w, x, y, z]}


def _add_scene(tables: dict, root: Path, scene: int, name: str, annotated: bool) -> None:
    samples = [f"{name}/sample{index}" for index in range(KEY_FRAMES)]
    tables["scene"].append({"token": name, "name": name, "description": "", "log_token": "log",
                            "nbr_samples": KEY_FRAMES, "first_sample_token": samples[0],
                            "last_sample_token": samples[-1]})
    for index, token in enumerate(samples):
        tables["sample"].append({
            "token": token, "timestamp": sample_us(scene, index), "scene_token": name,
            "prev": samples[index - 1] if index else "", "next": samples[index + 1] if index < KEY_FRAMES - 1 else ""})
    for channel in (*OFFSETS_US, "LIDAR_TOP"):
        calibration = f"{name}/{channel}"
        camera = channel in OFFSETS_US
        tables["calibrated_sensor"].append({
            "token": calibration, "sensor_token": channel, "camera_intrinsic": INTRINSIC.tolist() if camera else [],
            **_pose_fields(mounting(channel) if camera else geometry.from_yaw(0.94, 0.0, 1.84, -np.pi / 2))})
        for index, sample in enumerate(samples):
            at_us = sample_us(scene, index) + OFFSETS_US.get(channel, 0)
            _add_record(tables, root, scene, name, channel, calibration, sample, at_us, key=True)
            if index < KEY_FRAMES - 1:
                swept_us = at_us + INTERVAL_US // 2
                _add_record(tables, root, scene, name, channel, calibration, sample, swept_us, key=False)
    if annotated:
        for instance in INSTANCES:
            _add_annotations(tables, scene, name, instance, samples)


def _add_record(tables: dict, root: Path, scene: int, name: str, channel: str, calibration: str, sample: str,
                at_us: int, key: bool) -> None:
    token, camera = f"{calibration}/{at_us}", channel in OFFSETS_US
    ending = "jpg" if camera else "pcd.bin"
    filename = f"{'samples' if key else 'sweeps'}/{channel}/{name}__{at_us}.{ending}"
    tables["ego_pose"].append({"token": token, "timestamp": at_us, **_pose_fields(vehicle_pose(at_us))})
    tables["sample_data"].append({
        "token": token, "sample_token": sample, "ego_pose_token": token, "calibrated_sensor_token": calibration,
        "timestamp": at_us, "fileformat": "jpg" if camera else "pcd", "is_key_frame": key,
        "height": SIZE[1] if camera else 0, "width": SIZE[0] if camera else 0, "filename": filename,
        "prev": "", "next": ""})
    if camera:
        (root / filename).parent.mkdir(parents=True, exist_ok=True)
        (root / filename).write_bytes(jpeg(scene, channel, at_us))


def _add_annotations(tables: dict, scene: int, name: str, instance: str, samples: list[str]) -> None:
    category, size, _, visibility, present, (lidar, radar) = INSTANCES[instance]
    tokens = [f"{name}/{instance}/{index}" for index in present]
    tables["instance"].append({
        "token": f"{name}/{instance}", "category_token": category, "nbr_annotations": len(tokens),
        "first_annotation_token": tokens[0], "last_annotation_token": tokens[-1]})
    for place, index in enumerate(present):
        pose, _ = box_in_map(scene, instance, sample_us(scene, index))
        tables["sample_annotation"].append({
            "token": tokens[place], "sample_token": samples[index], "instance_token": f"{name}/{instance}",
            "visibility_token": visibility, "attribute_tokens": [], "size": list(size), **_pose_fields(pose),
            "prev": tokens[place - 1] if place else "", "next": tokens[place + 1] if place < len(tokens) - 1 else "",
            "num_lidar_pts": lidar, "num_radar_pts": radar})
