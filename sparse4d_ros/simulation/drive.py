"""A drive through a simulated town, or through any other scene, as labelled frame sets."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from sparse4d_ros import boxes, geometry
from sparse4d_ros.boxes import NUSCENES_CLASSES
from sparse4d_ros.data.drive_cache import NO_OBJECT
from sparse4d_ros.errors import UserError
from sparse4d_ros.frame import CameraFrame, Frame, LabelledFrame, Objects
from sparse4d_ros.simulation import visibility
from sparse4d_ros.simulation.actors import Instances, in_view
from sparse4d_ros.simulation.catalogue import Body
from sparse4d_ros.simulation.renderer import Picture, Renderer
from sparse4d_ros.simulation.rig import REFERENCE_SIZE, Rig
from sparse4d_ros.simulation.scene import Scene
from sparse4d_ros.simulation.splits import check_seed
from sparse4d_ros.simulation.variety import check_variety, rig_of
from sparse4d_ros.simulation.weathering import Weathering
from sparse4d_ros.simulation.world import World

#: Objects farther than this from the vehicle are not labelled, metres.
LABEL_RANGE_M = 65.0
#: An object needs this many visible pixels, counted at REFERENCE_SIZE over all cameras, to be labelled.
LEAST_PIXELS = 6
#: Bodies farther than this are not drawn, metres.
DRAW_RANGE_M = 110.0
#: Stamp of a drive's first frame; bags with stamp 0 upset ROS tools.
START_NS = 1_000_000_000
_NOISE_LEVELS = 2.0


def simulate(seed: int, duration_s: float, rate_hz: float, image_size: tuple[int, int] = (352, 128),
             split: str = "train", rig: Rig | None = None, renderer: Renderer | None = None,
             variety: str = "plain", catalogue: tuple[Body, ...] | None = None) -> Iterator[LabelledFrame]:
    """Frames of the drive through town ``seed``, the first at 0 s, ``rate_hz`` a second.

    The same arguments give the same frames. ``split`` must be the one the seed belongs to.
    ``renderer`` may be passed in to use one GL context for many drives; its size must be
    ``image_size``. ``variety`` "full" varies light, weather, lenses, rig and the ego vehicle's pitch
    and roll (:mod:`variety`); the town and all motion stay those of the seed. ``catalogue`` may give
    bodies other meshes and must then be the renderer's too. Labels: see :func:`render`. Raises
    ``UserError`` for a seed of the other split, a duration or rate that is not positive, an unknown
    variety, or a machine without EGL.
    """
    check_seed(seed, split)
    check_pace(duration_s, rate_hz)
    world = World(seed, duration_s, sway=check_variety(variety), catalogue=catalogue)
    yield from render(world, seed, duration_s, rate_hz, image_size, rig, renderer, variety)


def check_pace(duration_s: float, rate_hz: float) -> None:
    """Raise ``UserError`` unless both numbers are positive."""
    if not (duration_s > 0.0 and rate_hz > 0.0):
        raise UserError(f"duration {duration_s} s and rate {rate_hz} Hz must be positive")


def render(scene: Scene, seed: int, duration_s: float, rate_hz: float, image_size: tuple[int, int],
           rig: Rig | None = None, renderer: Renderer | None = None,
           variety: str = "plain") -> Iterator[LabelledFrame]:
    """Frames of any scene, arguments as of :func:`simulate`; ``seed`` draws noise and variety.

    Objects that no camera sees (fewer than ``LEAST_PIXELS``) are left out, as nuScenes leaves out
    boxes without lidar points. Boxes are those at the frame's stamp, while every camera shows the
    world at its own.
    """
    rig = rig_of(seed, variety) if rig is None else rig
    own_renderer = renderer is None
    renderer = Renderer(image_size, catalogue=scene.catalogue) if own_renderer else renderer
    if renderer.image_size != tuple(image_size):
        raise ValueError(f"the renderer draws {renderer.image_size}, not {tuple(image_size)}")
    if renderer.catalogue is not scene.catalogue:
        raise ValueError("the renderer draws another catalogue of bodies than the scene's")
    weathering = Weathering(scene, seed, image_size, len(rig.cameras)) if check_variety(variety) else None
    renderer.set_world(scene.ground, scene.look if weathering is None else weathering.look)
    levels = _NOISE_LEVELS if weathering is None else weathering.noise_levels
    noise = _sensor_noise(np.random.default_rng([seed, 99]), image_size, levels)
    try:
        for index in range(frame_count(duration_s, rate_hz)):
            yield _frame(scene, rig, renderer, round(index / rate_hz * 1e9), noise, weathering)
    finally:
        if own_renderer:
            renderer.release()


def frame_count(duration_s: float, rate_hz: float) -> int:
    """How many frames a drive has; at least one."""
    return max(1, round(duration_s * rate_hz))


def _sensor_noise(rng: np.random.Generator, image_size: tuple[int, int], levels: float) -> np.ndarray:
    """A field of grey-value noise larger than a picture; each picture takes another window of it."""
    width, height = image_size
    return rng.normal(0.0, levels, (height + 64, width + 64, 3)).round().astype(np.int16)


def _add_noise(image: np.ndarray, noise: np.ndarray, stamp_ns: int, camera: int) -> np.ndarray:
    row, column = np.random.default_rng([stamp_ns, camera]).integers(0, 64, 2)
    window = noise[row:row + image.shape[0], column:column + image.shape[1]]
    return cv2.add(image, window, dtype=cv2.CV_8U)


def _frame(world: Scene, rig: Rig, renderer: Renderer, time_ns: int, noise: np.ndarray,
           weathering: Weathering | None) -> LabelledFrame:
    fixed_from_vehicle = world.fixed_from_vehicle(time_ns * 1e-9)
    table = boxes.transform(world.boxes(time_ns * 1e-9), geometry.inverse(fixed_from_vehicle))
    cameras, pictures, views = [], [], []
    for number, camera in enumerate(rig.cameras):
        shot_ns = time_ns + camera.offset_ns
        pose = world.fixed_from_vehicle(shot_ns * 1e-9)
        camera_from_fixed = geometry.inverse(pose @ camera.vehicle_from_camera)
        intrinsic = camera.intrinsic(renderer.image_size)
        objects = world.objects(shot_ns * 1e-9)
        drawn = (objects + world.scenery).near(pose[:2, 3], DRAW_RANGE_M)
        if weathering is None:
            picture = renderer.draw(drawn, intrinsic, camera_from_fixed)
            image = picture.image
        else:
            picture, image = weathering.shoot(renderer, drawn, intrinsic, number, camera, shot_ns)
        pictures.append(picture)
        views.append((objects, intrinsic, camera_from_fixed))
        cameras.append(CameraFrame(
            camera.name, _add_noise(image, noise, time_ns, number), intrinsic,
            camera_from_fixed @ fixed_from_vehicle, START_NS + shot_ns))
    return LabelledFrame(
        Frame(START_NS + time_ns, tuple(cameras), fixed_from_vehicle),
        _labels(world, table, pictures, views, renderer.image_size),
        tuple(picture.depth for picture in pictures), tuple(_semantics(picture, world) for picture in pictures))


def _labels(world: Scene, table: np.ndarray, pictures: list[Picture],
            views: list[tuple[Instances, np.ndarray, np.ndarray]], image_size: tuple[int, int]) -> Objects:
    """The objects that are near and seen, with the share that is seen."""
    count = len(world.classes)
    seen = np.sum([visibility.seen_pixels(picture.ids, count) for picture in pictures], axis=0)[1:]
    scale = REFERENCE_SIZE[0] * REFERENCE_SIZE[1] / (image_size[0] * image_size[1])
    rows = np.flatnonzero((np.hypot(table[:, boxes.X], table[:, boxes.Y]) < LABEL_RANGE_M)
                          & (seen * scale >= LEAST_PIXELS))
    alone = np.zeros(count)
    for objects, intrinsic, camera_from_fixed in views:
        ahead = rows[in_view(objects.pick(rows), intrinsic, camera_from_fixed, image_size[0])]
        alone[ahead] += visibility.covered_pixels(objects.pick(ahead), intrinsic, camera_from_fixed, image_size,
                                                  world.catalogue)
    return Objects(
        boxes=table[rows], names=tuple(NUSCENES_CLASSES[c] for c in world.classes[rows]),
        instance_ids=world.instance_ids[rows],
        visibility=np.clip(seen[rows] / np.maximum(alone[rows], 1e-3), 0.0, 1.0))


def _semantics(picture: Picture, world: Scene) -> np.ndarray:
    lookup = np.concatenate([[NO_OBJECT], world.classes]).astype(np.uint8)
    return lookup[picture.ids]
