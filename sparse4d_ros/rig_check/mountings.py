"""The cameras' transforms: are they there, in optical axes, at places and in directions that fit their names?"""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np

from sparse4d_ros import geometry
from sparse4d_ros.findings import FAIL, OK, WARN, Finding
from sparse4d_ros.node.settings import Settings
from sparse4d_ros.rig_check.mounted import MountedCamera
from sparse4d_ros.rig_check.recording import Recording

#: Road cameras look at the road: beyond, the axes are wrong, not the aim.
_STEEP_DEG, _ROLLED_DEG = 50.0, 45.0
_TILTED_DEG = 20.0
#: Lens heights above base_link, which lies on the ground in nuScenes and in our models.
_LOW_M, _HIGH_M = 0.3, 4.5
_FAR_M = 15.0
_SAME_PLACE_M, _SAME_AIM = 0.02, 0.02
#: A side is meant by a name if the camera looks at least so far to it.
_SIDE_DEG = 10.0
_AHEAD_DEG = 60.0
_BODY_FROM_OPTICAL = np.array([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
_OPTICAL = "an optical frame has z forward, x right, y down (REP-103)"


def check_mountings(recording: Recording, mounted: dict[str, MountedCamera], settings: Settings) -> list[Finding]:
    """Findings for every camera and for pairs; one OK for a camera without fault."""
    findings = []
    for name in recording.cameras:
        found = _of_camera(mounted[name]) if name in mounted else [_missing(recording, name, settings)]
        findings += found
    return [*findings, *_twins(mounted),
            *(Finding(WARN, "tf", "transforms", text, "correct who sends it") for text in recording.problems)]


def _missing(recording: Recording, name: str, settings: Settings) -> Finding:
    frame, base = recording.camera_frame(name, dict(settings.camera_frames)), settings.base_frame
    if not frame:
        return Finding(
            FAIL, "mounting", name,
            "neither its pictures nor its calibration name a frame",
            "let the driver fill header.frame_id, or set the parameter camera_frames")
    if recording.connected(base, frame):
        return Finding(
            FAIL, "mounting", name,
            f"the transform {base} -> {frame} is not known at any of its stamps",
            "publish the mounting on /tf_static")
    known = ", ".join(recording.frames) or "none"
    return Finding(
        FAIL, "mounting", name,
        f"no transform connects {base!r} and {frame!r}; the bag has the frames {known}",
        f"publish {base} -> {frame} on /tf_static, and record it")


def _of_camera(camera: MountedCamera) -> list[Finding]:
    name, (x, y, z) = camera.name, camera.position
    azimuth, elevation, roll = camera.azimuth_deg, camera.elevation_deg, camera.roll_deg
    numbers = {"x": float(x), "y": float(y), "z": float(z), "azimuth_deg": azimuth, "elevation_deg": elevation,
               "roll_deg": roll}
    if wrong_axes := _axes(camera, numbers):
        return [wrong_axes]
    findings = []
    if abs(elevation) > _TILTED_DEG or abs(roll) > _TILTED_DEG:
        findings.append(Finding(
            WARN, "mounting", name,
            f"looks {abs(elevation):.0f} deg {'up' if elevation > 0 else 'down'} and is rolled by {roll:.0f} deg",
            "check the rotation of its transform",
            numbers))
    if max(abs(x), abs(y)) > _FAR_M:
        findings.append(Finding(
            FAIL, "mounting", name,
            f"sits at {x:.1f}, {y:.1f}, {z:.1f} m: no part of a vehicle",
            "transforms are in metres",
            numbers))
    elif not _LOW_M < z < _HIGH_M:
        findings.append(Finding(
            WARN, "mounting", name,
            f"sits {z:.2f} m above base_link's origin",
            "models expect the vehicle frame on the ground; check the mounting's z, and where base_link lies",
            numbers))
    findings += [Finding(
        FAIL, "mounting", name,
        text,
        "the topics, the frame names or the signs of two cameras are exchanged",
        numbers) for text in _contradictions(camera)]
    return findings or [Finding(
        OK, "mounting", name,
        f"at {x:.2f}, {y:.2f}, {z:.2f} m, looks {_direction(azimuth)}, pitch {_signed(elevation)}, roll "
        f"{_signed(roll)} deg",
        numbers=numbers)]


def _axes(camera: MountedCamera, numbers: dict[str, float]) -> Finding | None:
    """What a wrong convention of axes looks like: straight up or down, or lying on the side."""
    elevation, roll = camera.elevation_deg, camera.roll_deg
    if abs(elevation) < _STEEP_DEG and abs(roll) < _ROLLED_DEG:
        return None
    if abs(elevation) >= _STEEP_DEG:
        text = f"looks {abs(elevation):.0f} deg {'up' if elevation > 0 else 'down'}"
    else:
        text = "is upside down" if abs(roll) > 180 - _ROLLED_DEG else f"lies on its side (rolled {roll:.0f} deg)"
    inverse = replace(camera, vehicle_from_camera=geometry.inverse(camera.vehicle_from_camera))
    of_body = replace(camera, vehicle_from_camera=camera.vehicle_from_camera @ _BODY_FROM_OPTICAL)
    if _upright(of_body):
        remedy = (f"the transform has the axes of a body (x forward): {_OPTICAL}. Add the rotation "
                  "qx -0.5 qy 0.5 qz -0.5 qw 0.5 below it; the camera then looks "
                  f"{_direction(of_body.azimuth_deg)}")
    elif _upright(inverse):
        remedy = "parent and child of the transform seem to be exchanged: its inverse is upright"
    else:
        remedy = f"check the rotation: {_OPTICAL}"
    return Finding(FAIL, "mounting", camera.name, text, remedy, numbers)


def _upright(camera: MountedCamera) -> bool:
    return abs(camera.elevation_deg) < _TILTED_DEG and abs(camera.roll_deg) < _TILTED_DEG


def _contradictions(camera: MountedCamera) -> list[str]:
    """Where name and direction, or name and place, disagree."""
    words = camera.name.lower().split("_")
    to_left, ahead = np.sin(np.radians(camera.azimuth_deg)), np.cos(np.radians(camera.azimuth_deg))
    side, rest = np.sin(np.radians(_SIDE_DEG)), np.cos(np.radians(_AHEAD_DEG))
    looks = f"looks {_direction(camera.azimuth_deg)}, against its name"
    sideways = {"left", "right"} & set(words)
    if ("left" in words and to_left < side) or ("right" in words and to_left > -side):
        return [looks]
    if "front" in words and ahead < (-side if sideways else rest):
        return [looks]
    if {"back", "rear"} & set(words) and ahead > (side if sideways else -rest):
        return [looks]
    y = camera.position[1]
    if ("left" in words and y < -0.2) or ("right" in words and y > 0.2):
        return [f"sits {abs(y):.2f} m to the {'left' if y > 0 else 'right'} of the vehicle's axis, against its name"]
    return []


def _direction(azimuth_deg: float) -> str:
    """``55 deg to the left``, seen from above."""
    if abs(azimuth_deg) < 0.5:
        return "straight ahead"
    if abs(azimuth_deg) > 179.5:
        return "straight back"
    return f"{abs(azimuth_deg):.0f} deg to the {'left' if azimuth_deg > 0 else 'right'}"


def _signed(value: float) -> str:
    return f"{round(value, 1) + 0.0:+.1f}"  # no "-0.0"


def _twins(mounted: dict[str, MountedCamera]) -> list[Finding]:
    findings = []
    for first, second in combinations(mounted.values(), 2):
        apart = np.abs(first.vehicle_from_camera - second.vehicle_from_camera)
        if apart[:3, 3].max() < _SAME_PLACE_M and apart[:3, :3].max() < _SAME_AIM:
            findings.append(Finding(
                FAIL, "mounting", f"{first.name}, {second.name}",
                "have the same pose",
                "one of them carries the other's transform"))
    return findings
