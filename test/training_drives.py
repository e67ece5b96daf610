"""Tiny painted drives for the tests of training: coloured hulls of boxes on grey, exact labels."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from sparse4d_ros import boxes as box
from sparse4d_ros.data.drive_cache import write_drive
from sparse4d_ros.frame import CameraFrame, Frame, LabelledFrame, Objects
from sparse4d_ros.geometry import from_yaw, inverse, pad_intrinsic, project

CAMERAS = ("front", "front_right", "front_left", "back", "back_left", "back_right")
YAWS = np.deg2rad([0.0, -55.0, 55.0, 180.0, 110.0, -110.0])
SIZES = {"car": (4.6, 1.9, 1.7), "truck": (7.0, 2.5, 3.0), "pedestrian": (0.7, 0.7, 1.75), "traffic_cone": (.4, .4, 1.)}
COLOURS = np.array([[40, 40, 220], [40, 220, 40], [220, 40, 40], [30, 160, 250], [200, 200, 0],
                    [200, 0, 200], [0, 90, 160], [160, 90, 0], [240, 240, 240], [0, 120, 255]])
OPTICAL_FROM_FORWARD = np.array([[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]])


def camera_from_vehicle(index: int) -> np.ndarray:
    """Extrinsic of one of the six cameras, 1.5 m above the ground."""
    yaw = YAWS[index]
    return OPTICAL_FROM_FORWARD @ inverse(from_yaw(np.cos(yaw), np.sin(yaw), 1.5, yaw))


def frames(seed: int, count: int, size: tuple[int, int] = (352, 128), objects: int = 12, period_s: float = 0.1
           ) -> Iterator[LabelledFrame]:
    """A drive at 5 m/s past moving objects; everything follows from the seed."""
    random = np.random.default_rng(seed)
    names = [str(name) for name in random.choice(list(SIZES), objects)]
    start = np.stack([random.uniform(-30, 30, objects), random.uniform(-30, 30, objects)], -1)
    start += 4 * np.sign(start)
    yaw = random.uniform(-np.pi, np.pi, objects)
    speed = np.where(np.array(names) == "traffic_cone", 0.0, random.uniform(0, 6, objects))
    focal = 0.79 * size[0]
    intrinsic = np.array([[focal, 0, size[0] / 2], [0, focal, size[1] * 0.45], [0, 0, 1.0]])
    for index in range(count):
        time_s = index * period_s
        fixed_from_vehicle = from_yaw(5 * time_s, 0.0, 0.0, 0.05 * time_s)
        world = np.zeros((objects, 10))
        world[:, :2] = start + time_s * speed[:, None] * np.stack([np.cos(yaw), np.sin(yaw)], -1)
        world[:, 3:6] = [SIZES[name] for name in names]
        world[:, 2] = world[:, 5] / 2
        world[:, box.YAW] = yaw
        world[:, box.VX] = speed * np.cos(yaw)
        world[:, box.VY] = speed * np.sin(yaw)
        here = box.transform(world, inverse(fixed_from_vehicle))
        stamp = 1_000_000_000 + int(1e9 * time_s)
        painted = [_paint(here, names, intrinsic, camera_from_vehicle(c), size) for c in range(len(CAMERAS))]
        yield LabelledFrame(
            frame=Frame(stamp, tuple(
                CameraFrame(name, painted[c][0], intrinsic, camera_from_vehicle(c), stamp)
                for c, name in enumerate(CAMERAS)), fixed_from_vehicle),
            objects=Objects(here, tuple(names), np.arange(objects)),
            depth=tuple(p[1] for p in painted), semantics=tuple(p[2] for p in painted),
        )


def _paint(objects: np.ndarray, names: list[str], intrinsic: np.ndarray, extrinsic: np.ndarray, size: tuple[int, int]
           ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    width, height = size
    image = np.full((height, width, 3), 90, np.uint8)
    image[:int(0.45 * height)] = 170
    depth = np.full((height, width), np.inf, np.float32)
    semantics = np.full((height, width), 255, np.uint8)
    corners = box.corners(objects)
    pixels, depths = project(corners.reshape(-1, 3), pad_intrinsic(intrinsic) @ extrinsic)
    pixels, depths = pixels.reshape(-1, 8, 2), depths.reshape(-1, 8)
    for row in np.argsort(-depths.mean(1)):
        if depths[row].min() < 0.3:
            continue
        label = box.NUSCENES_CLASSES.index(names[row])
        hull = cv2.convexHull(np.round(pixels[row] - 0.5).astype(np.int32))
        front = cv2.convexHull(np.round(pixels[row][[0, 3, 4, 7]] - 0.5).astype(np.int32))
        cv2.fillConvexPoly(image, hull, COLOURS[label].tolist())
        cv2.fillConvexPoly(image, front, (COLOURS[label] // 2).tolist())
        cv2.fillConvexPoly(depth, hull, float(depths[row].mean()))
        cv2.fillConvexPoly(semantics, hull, label)
    return image, depth, semantics


def write(folder: Path, drives: int, count: int, **options: object) -> Path:
    """``drives`` drives of ``count`` frames under ``folder``."""
    for seed in range(drives):
        write_drive(folder / f"drive_{seed:03d}", frames(seed, count, **options), box.NUSCENES_CLASSES)
    return folder
