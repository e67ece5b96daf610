"""Does each camera look where its calibration says? The pictures' own motion tells, while the vehicle drives.

A point that stands still must move, from one picture to the next, in the plane through the camera's two positions
and the point (the epipolar plane; on a straight drive: away from the focus of expansion). The camera's positions
follow from odometry and mounting. The small turn of the camera for which the points obey best is how far the
calibration is off. Moving objects and mismatches lose their weight by a robust loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from sparse4d_ros.findings import FAIL, OK, SKIP, WARN, Finding
from sparse4d_ros.rig_check.flow import Flow
from sparse4d_ros.rig_check.mounted import MountedCamera

_WARN_DEG, _FAIL_DEG = 1.0, 3.0
#: An angle is judged if it is known this well (one standard deviation), and reported beyond so many of them.
_SURE_DEG, _SIGMAS = 0.35, 3.0
_MIN_PAIRS, _MIN_POINTS = 8, 200
_MAX_POINTS = 3000
#: Robust scales, from coarse to fine, degrees: the first finds the basin, the last is a pixel's noise.
_SCALES_DEG = (1.0, 0.3, 0.1)
#: Parts of the drive that are left out in turn, for the uncertainty.
_PARTS = 6
#: Static points obey to some hundredths of a degree; more means that odometry and pictures do not belong together.
_RESIDUAL_DEG = 0.15
#: Share of the points that must move away from where the vehicle drives to.
_EXPANDING = 0.4
#: Of a turned camera: what a positive and a negative angle means.
ANGLES = (("yaw", "left", "right"), ("pitch", "up", "down"), ("roll", "clockwise", "counter-clockwise"))


@dataclass(frozen=True)
class Aim:
    """How far a camera is turned from its calibration: yaw to the left, pitch up, roll clockwise, degrees."""

    turn_deg: np.ndarray  #: ``[3]``
    sigma_deg: np.ndarray  #: ``[3]``
    #: Three quarters of the points lie this near to their epipolar planes after the turn.
    residual_deg: float
    #: Share of the moving points that move the way the vehicle's motion makes static points move.
    expanding: float
    pairs: int
    points: int


def turn_axes(camera: MountedCamera) -> np.ndarray:
    """Axes of yaw, pitch and roll in the vehicle frame, in columns ``[3, 3]``: its z, the camera's right, its sight."""
    return np.column_stack([[0.0, 0.0, 1.0], camera.vehicle_from_camera[:3, 0], camera.vehicle_from_camera[:3, 2]])


def measure(camera: MountedCamera, flows: Sequence[Flow]) -> Aim | None:
    """The turn of one camera; None if too few points were followed."""
    sizes = [len(flow.first) for flow in flows]
    if len(flows) < _MIN_PAIRS or sum(sizes) < _MIN_POINTS:
        return None
    pair = np.repeat(np.arange(len(flows)), sizes)
    chosen = np.unique(np.linspace(0, len(pair) - 1, min(_MAX_POINTS, len(pair))).astype(int))
    points = _Points(camera, flows, pair[chosen], np.concatenate([flow.first for flow in flows])[chosen],
                     np.concatenate([flow.second for flow in flows])[chosen])
    everything = np.ones(len(chosen), dtype=bool)
    turn = points.fit(everything)
    parts = np.array_split(np.arange(len(flows)), _PARTS)
    without = np.array([points.fit(~np.isin(points.pair, part)) for part in parts])
    sigma = np.sqrt((_PARTS - 1) / _PARTS * ((without - without.mean(axis=0)) ** 2).sum(axis=0))  # jackknife
    residual = float(np.degrees(np.percentile(np.abs(points.residuals(turn)), 75)))
    return Aim(np.degrees(turn), np.degrees(sigma), residual, points.expanding(), len(flows), len(chosen))


class _Points:
    """Followed points of one camera with the motion between their pictures."""

    def __init__(self, camera: MountedCamera, flows: Sequence[Flow], pair: np.ndarray, first: np.ndarray,
                 second: np.ndarray) -> None:
        self.pair, self._first, self._second = pair, first, second
        moves = np.stack([flow.later_from_earlier for flow in flows])
        self._mounting = camera.vehicle_from_camera[:3, :3]
        self._axes = turn_axes(camera)
        # Where the camera was, seen from where it is, in the axes of the later vehicle frame.
        self._rotation = moves[pair, :3, :3]
        self._behind = (moves[:, :3, :3] @ camera.position + moves[:, :3, 3] - camera.position)[pair]

    def residuals(self, turn: np.ndarray) -> np.ndarray:
        """Angle ``[n]`` of each later ray to its epipolar plane for a camera turned by yaw, pitch, roll; all rad."""
        earlier, later = self._in_vehicle(turn)
        normal = np.cross(self._behind, earlier)
        # At the focus of expansion the plane is undefined: such points count little instead of much.
        length = np.maximum(np.linalg.norm(normal, axis=1), 1e-3 * np.linalg.norm(self._behind, axis=1))
        return (later * normal).sum(axis=1) / length

    def _in_vehicle(self, turn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rotation = Rotation.from_rotvec(self._axes @ turn).as_matrix() @ self._mounting
        earlier = np.einsum("nij,nj->ni", self._rotation, self._first @ rotation.T)
        return earlier, self._second @ rotation.T

    def fit(self, kept: np.ndarray) -> np.ndarray:
        """Yaw, pitch and roll (rad) that the points ``kept [n]`` obey best."""
        turn = np.zeros(3)
        for scale in _SCALES_DEG:
            turn = least_squares(lambda x: self.residuals(x)[kept], turn, loss="cauchy", f_scale=np.radians(scale)).x
        return turn

    def expanding(self) -> float:
        """Share of the points with visible motion that moved away from where the vehicle drives to; 1 if none did."""
        earlier, later = self._in_vehicle(np.zeros(3))
        moved = later - earlier
        visible = np.linalg.norm(moved, axis=1) > np.radians(0.3)
        along = (moved * self._behind).sum(axis=1)[visible]
        return float((along > 0).mean()) if visible.any() else 1.0


def check_aim(mounted: dict[str, MountedCamera], flows: dict[str, list[Flow]]) -> list[Finding]:
    """Findings for every camera, and one if all are turned alike."""
    aims = {name: measure(mounted[name], found) for name, found in flows.items()}
    findings = []
    for name, aim in aims.items():
        if aim is None:
            points = sum(len(flow.first) for flow in flows[name])
            findings.append(Finding(
                SKIP, "aim", name,
                f"{points} points followed through {len(flows[name])} pairs of pictures while driving: too few to "
                "check where it looks",
                f"record 30 m or more of driving, by day ({_MIN_PAIRS} pairs and {_MIN_POINTS} points are needed)"))
        else:
            findings.append(_of_camera(name, aim))
    return [*findings, *_common(aims)]


def _of_camera(name: str, aim: Aim) -> Finding:
    numbers = {"pairs": aim.pairs, "points": aim.points, "residual_deg": aim.residual_deg, "expanding": aim.expanding}
    for (angle, _, _), turn, sigma in zip(ANGLES, aim.turn_deg, aim.sigma_deg, strict=True):
        numbers |= {f"{angle}_deg": float(turn), f"{angle}_sigma_deg": float(sigma)}
    if aim.expanding < _EXPANDING:
        return Finding(
            FAIL, "aim", name,
            f"its picture moves the wrong way while driving ({1 - aim.expanding:.0%} of the points)",
            "its pictures may be those of the camera on the other side (topics exchanged), its mounting may be "
            "turned round, or the odometry runs backward",
            numbers)
    if aim.residual_deg > _RESIDUAL_DEG:
        return Finding(
            WARN, "aim", name,
            f"its picture does not move as odometry says, whichever way it is turned ({aim.residual_deg:.2f} deg "
            "left over)",
            "compare the clocks of camera and odometry, the sign of its rotation, K and distortion",
            numbers)
    known = aim.sigma_deg < _SURE_DEG
    off = known & (np.abs(aim.turn_deg) > np.maximum(_WARN_DEG, _SIGMAS * aim.sigma_deg))
    if off.any():
        words = " and ".join(
            f"{abs(turn):.1f} deg (+-{sigma:.1f}) further {positive if turn > 0 else negative}"
            for (_, positive, negative), turn, sigma, wrong
            in zip(ANGLES, aim.turn_deg, aim.sigma_deg, off, strict=True) if wrong)
        return Finding(
            FAIL if np.abs(aim.turn_deg[off]).max() > _FAIL_DEG else WARN, "aim", name,
            f"looks {words} than its calibration says",
            "calibrate its mounting anew, or see whether it was knocked",
            numbers)
    if not known[0]:
        return Finding(
            SKIP, "aim", name,
            f"its yaw is known to {aim.sigma_deg[0]:.1f} deg only, which is not enough",
            "record more driving past things that stand still",
            numbers)
    words = ", ".join(f"{angle} {turn:+.2f} (+-{sigma:.2f})" for (angle, _, _), turn, sigma, sure
                      in zip(ANGLES, aim.turn_deg, aim.sigma_deg, known, strict=True) if sure)
    return Finding(
        OK, "aim", name,
        f"the pictures agree with its calibration: {words} deg",
        numbers=numbers)


def _common(aims: dict[str, Aim | None]) -> list[Finding]:
    """One turn of all cameras is a turn of what they are measured against."""
    yaws = np.array([aim.turn_deg[0] for aim in aims.values() if aim is not None and aim.sigma_deg[0] < _SURE_DEG])
    if len(yaws) < 3 or np.abs(yaws).min() < _WARN_DEG or np.ptp(yaws) > _WARN_DEG:
        return []
    return [Finding(
        WARN, "aim", "all cameras",
        f"are turned alike, by {np.median(yaws):+.1f} deg of yaw",
        "it is the frame they share: base_link or the odometry is rotated against the vehicle",
        {"yaw_deg": float(np.median(yaws))})]
