"""What differs from drive to drive beyond the plain world: the rig, and by :mod:`weather` light and lenses.

Everything is drawn from the seed, in streams of its own: the plain world of a seed stays what it is.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from sparse4d_ros.errors import UserError
from sparse4d_ros.simulation.look import Look, weather_look
from sparse4d_ros.simulation.rig import Camera, Rig, default_rig
from sparse4d_ros.simulation.weather import draw_weather

VARIETIES = ("plain", "full")
_RIG_STREAM, _LOOK_STREAM = 201, 202
_SHIFT_M, _TURN_DEG, _FOCAL = 0.3, 3.0, 0.1
_LAST_SHOT_MS = 43.0


def check_variety(variety: str) -> bool:
    """Whether the drive is varied; ``UserError`` for an unknown word."""
    if variety not in VARIETIES:
        raise UserError(f"unknown variety {variety!r}: choose one of {', '.join(VARIETIES)}")
    return variety == "full"


def weather_of(seed: int, variety: str = "full") -> dict[str, str | float]:
    """The weather of the drive ``seed`` as plain numbers with a ``name`` like "night, rain"; JSON takes it as it is."""
    return draw_weather(seed).describe() if check_variety(variety) else {"name": "plain"}


def look_of(seed: int) -> Look:
    """Light and air of the varied drive ``seed``."""
    return weather_look(draw_weather(seed), np.random.default_rng([seed, _LOOK_STREAM]))


def rig_of(seed: int, variety: str = "plain") -> Rig:
    """The rig that the drive ``seed`` is seen by, with its exact calibration.

    Full variety moves each camera of the default rig by up to 0.3 m along each axis, turns it by up to
    3 degrees about each of its axes, changes its focal length by up to 10 percent, and lets the
    cameras after the first fire in any order within 43 ms.
    """
    rig = default_rig()
    if not check_variety(variety):
        return rig
    rng = np.random.default_rng([seed, _RIG_STREAM])
    count = len(rig.cameras) - 1
    slots = (np.arange(count) + rng.uniform(0.2, 1.0, count)) * _LAST_SHOT_MS / count
    offsets_ns = [0, *(round(slot * 1e6) for slot in rng.permutation(slots))]
    return Rig(tuple(_vary(camera, offset, rng) for camera, offset in zip(rig.cameras, offsets_ns, strict=True)))


def _vary(camera: Camera, offset_ns: int, rng: np.random.Generator) -> Camera:
    pose, intrinsic = camera.vehicle_from_camera.copy(), camera.reference_intrinsic.copy()
    pose[:3, 3] += rng.uniform(-_SHIFT_M, _SHIFT_M, 3)
    pose[:3, :3] = pose[:3, :3] @ Rotation.from_euler("XYZ", rng.uniform(-_TURN_DEG, _TURN_DEG, 3), True).as_matrix()
    intrinsic[[0, 1], [0, 1]] *= rng.uniform(1.0 - _FOCAL, 1.0 + _FOCAL)
    return Camera(camera.name, pose, intrinsic, offset_ns)
