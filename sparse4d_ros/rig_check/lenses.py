"""camera_info: would the node take it, and can it be true?"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from sparse4d_ros.data.camera_info import Calibration, read_camera_info
from sparse4d_ros.data.images import CameraError
from sparse4d_ros.findings import FAIL, OK, SKIP, WARN, Finding
from sparse4d_ros.node.settings import Settings
from sparse4d_ros.rig_check.recording import CameraRecord, Recording

#: Pictures are often cut at the top or bottom, seldom at the sides: share of the size off the centre.
_CENTRE_X, _CENTRE_Y = 0.1, 0.25
_FOCAL_RATIO = 0.05
#: Horizontal field of view of a pinhole picture, degrees: beyond is a wrong K or a lens that is no pinhole.
_NARROW_DEG, _WIDE_DEG = 15.0, 130.0
#: K and P of a rectified camera agree; of another one they differ by far more.
_K_P_RATIO = 0.01


def calibration_of(camera: CameraRecord) -> Calibration | None:
    """The first calibration that the node would accept for these pictures; None if there is none."""
    for _, info in camera.infos:
        try:
            calibration = read_camera_info(info, camera.name)
            if camera.size is not None:
                calibration.intrinsic_for(*camera.size)
            return calibration
        except CameraError:
            continue
    return None


def check_lenses(recording: Recording, settings: Settings) -> list[Finding]:
    """Findings for every camera; one OK for a camera without fault."""
    findings = []
    for camera in recording.cameras.values():
        findings += _of_camera(camera, settings)
    return findings


def _of_camera(camera: CameraRecord, settings: Settings) -> list[Finding]:
    name = camera.name
    if not camera.infos:
        return [Finding(
            FAIL, "camera_info", name,
            f"no calibration: nothing was recorded on {camera.info_topic}",
            "calibrate, publish camera_info beside the pictures and record it; other topics are named with "
            "--camera-infos")]
    message = camera.infos[0][1]
    findings = [] if len(camera.infos) == 1 else [_changes(camera)]
    try:
        calibration = read_camera_info(message, name)
        width, height = camera.size or (calibration.width, calibration.height)
        intrinsic = calibration.intrinsic_for(width, height)
    except CameraError as error:
        words = str(error).removeprefix(f"camera '{name}': ")
        return [*findings, Finding(
            FAIL, "camera_info", name,
            words,
            "calibrate the camera at the size at which its pictures are published; the node refuses it as it is")]
    if camera.size is None and camera.pictures.stamps_ns:
        findings.append(Finding(
            SKIP, "camera_info", name,
            "its first picture cannot be decoded: sizes were not compared"))
    required = settings.camera_frames.get(name) or calibration.frame_id
    if camera.frame_id and required and camera.frame_id.removeprefix("/") != required.removeprefix("/"):
        findings.append(Finding(
            FAIL, "camera_info", name,
            f"pictures are in frame {camera.frame_id!r}, calibration in {required!r}",
            "see whether topics of two cameras are exchanged; the parameter camera_frames names the right frame"))
    findings += [*_shape(name, intrinsic, width, height), *_distortion(name, calibration, message, settings)]
    fov = field_of_view_deg(intrinsic, width)
    return findings or [Finding(
        OK, "camera_info", name,
        f"{width}x{height}, focal length {intrinsic[0, 0]:.0f} px, field of view {fov:.0f} deg, principal point "
        f"{intrinsic[0, 2]:.0f}, {intrinsic[1, 2]:.0f}",
        numbers={"width": width, "height": height, "fx": float(intrinsic[0, 0]), "fy": float(intrinsic[1, 1]),
                 "field_of_view_deg": fov})]


def field_of_view_deg(intrinsic: np.ndarray, width: int) -> float:
    """Horizontal field of view of a pinhole picture, degrees."""
    focal, centre = intrinsic[0, 0], intrinsic[0, 2]
    return float(np.degrees(np.arctan(centre / focal) + np.arctan((width - centre) / focal)))


def _changes(camera: CameraRecord) -> Finding:
    (_, first), (stamp_ns, second) = camera.infos[:2]
    changed = [field for field in ("width", "height", "distortion_model", "d", "k", "r", "p", "binning_x", "binning_y")
               if not np.array_equal(getattr(first, field), getattr(second, field))]
    seconds = (stamp_ns - camera.infos[0][0]) * 1e-9
    return Finding(
        FAIL, "camera_info", camera.name,
        f"the calibration changes {len(camera.infos) - 1} times, first after {seconds:.1f} s "
        f"({', '.join(changed) or 'header.frame_id'})",
        f"see whether two nodes publish on {camera.info_topic}, or the lens zooms")


def _shape(name: str, intrinsic: np.ndarray, width: int, height: int) -> list[Finding]:
    findings = []
    fx, fy, cx, cy = intrinsic[0, 0], intrinsic[1, 1], intrinsic[0, 2], intrinsic[1, 2]
    if abs(cx / width - 0.5) > _CENTRE_X or abs(cy / height - 0.5) > _CENTRE_Y:
        findings.append(Finding(
            WARN, "camera_info", name,
            f"the principal point {cx:.0f}, {cy:.0f} is far from the centre of a {width}x{height} picture",
            "see whether K is for another size or crop, or its numbers are exchanged",
            {"cx": float(cx), "cy": float(cy)}))
    if abs(fx / fy - 1) > _FOCAL_RATIO:
        findings.append(Finding(
            WARN, "camera_info", name,
            f"the focal lengths {fx:.0f} and {fy:.0f} px differ: pixels would not be square",
            "see whether the picture was scaled unevenly after calibration",
            {"fx": float(fx), "fy": float(fy)}))
    fov = field_of_view_deg(intrinsic, width)
    if not _NARROW_DEG < fov < _WIDE_DEG:
        findings.append(Finding(
            WARN, "camera_info", name,
            f"a focal length of {fx:.0f} px gives a {width} pixel wide picture a field of view of {fov:.0f} deg",
            "see whether K is for another picture size",
            {"field_of_view_deg": fov}))
    return findings


def _distortion(name: str, calibration: Calibration, message: Any, settings: Settings) -> list[Finding]:
    if not calibration.distorted:
        projection = np.asarray(message.p, dtype=np.float64).reshape(3, 4)[:, :3]
        focal = np.asarray(message.k, dtype=np.float64)[0]
        if projection.any() and abs(projection[0, 0] / focal - 1) > _K_P_RATIO:
            return [Finding(
                WARN, "camera_info", name,
                f"K and P have different focal lengths, {focal:.0f} and {projection[0, 0]:.0f} px, though there is "
                "no distortion; the node uses K",
                "pictures that were rectified need K equal to the left part of P",
                {"k_fx": float(focal), "p_fx": float(projection[0, 0])})]
        return []
    if settings.undistort:
        return []
    width, height = calibration.width, calibration.height
    border = np.array([[[x, y]] for x in (0.0, width / 2, width) for y in (0.0, height / 2, height)])
    undistort = cv2.fisheye.undistortPoints if calibration.distortion_model == "equidistant" else cv2.undistortPoints
    straight = undistort(border, calibration.intrinsic, np.array(calibration.distortion), P=calibration.intrinsic)
    shift = float(np.linalg.norm(straight - border, axis=-1).max())
    return [Finding(
        WARN, "camera_info", name,
        f"the lens bends the picture by up to {shift:.0f} px ({calibration.distortion_model}), and pictures are "
        "used as they are",
        "set undistort: true, or publish rectified pictures with their own camera_info",
        {"largest_shift_px": shift})]
