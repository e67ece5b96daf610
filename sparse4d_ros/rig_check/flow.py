"""Points followed from one picture of a camera to a later one, between which the vehicle has moved."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from sparse4d_ros import geometry
from sparse4d_ros.node.settings import Settings
from sparse4d_ros.rig_check.motion import Motion
from sparse4d_ros.rig_check.mounted import MountedCamera
from sparse4d_ros.rig_check.pictures import read_pictures
from sparse4d_ros.rig_check.recording import Recording

#: The vehicle drives so far between two pictures that are compared, and takes no longer.
_BASELINE_M = 0.5
LONGEST_NS = 1_000_000_000
#: So many pairs of each camera, spread over the drive, say enough.
_PAIRS = 40
_POINTS = 300
#: Pictures are followed at about this width: finer pixels only cost time.
_WIDTH = 800
_LUCAS_KANADE = {"winSize": (21, 21), "maxLevel": 4}
#: A point followed there and back must come home within this many pixels.
_RETURN_PX = 0.3


@dataclass(frozen=True)
class Flow:
    """``n`` points of one camera in two pictures."""

    #: Unit rays ``[n, 3]`` in the camera's optical frame, in the earlier and in the later picture.
    first: np.ndarray
    second: np.ndarray
    #: What the vehicle did between, ``[4, 4]``: takes points from the earlier vehicle frame to the later.
    later_from_earlier: np.ndarray


def follow(recording: Recording, mounted: dict[str, MountedCamera], motion: Motion, settings: Settings
           ) -> dict[str, list[Flow]]:
    """The flow of every camera that has calibration and mounting; an empty list where the vehicle hardly moves."""
    base = settings.base_frame
    moves: dict[tuple[str, int], tuple[int, np.ndarray]] = {}  # (camera, later stamp) -> earlier stamp and motion
    flows: dict[str, list[Flow]] = {}
    for name, camera in mounted.items():
        if camera.calibration is None:
            continue
        flows[name] = []
        stamps = sorted({stamp for stamp in recording.cameras[name].pictures.stamps_ns
                         if recording.tree.covers(motion.fixed_frame, base, stamp)})
        poses = [recording.tree.lookup(motion.fixed_frame, base, stamp) for stamp in stamps]
        pairs = _pairs(stamps, poses)
        for index in np.unique(np.linspace(0, len(pairs) - 1, min(_PAIRS, len(pairs))).astype(int)) if pairs else []:
            before, after = pairs[index]
            moves[name, stamps[after]] = stamps[before], geometry.inverse(poses[after]) @ poses[before]
    wanted = {*moves, *((name, earlier) for (name, _), (earlier, _) in moves.items())}
    waiting: dict[tuple[str, int], np.ndarray] = {}
    for name, stamp_ns, image in read_pictures(recording, mounted, wanted, settings):
        grey, intrinsic = small(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), mounted[name])
        waiting = {key: picture for key, picture in waiting.items()
                   if key[0] != name or stamp_ns - key[1] <= LONGEST_NS}
        waiting[name, stamp_ns] = grey
        earlier_ns, move = moves.get((name, stamp_ns), (None, None))
        if (name, earlier_ns) in waiting:
            flow = _between(waiting[name, earlier_ns], grey, intrinsic, move)
            if flow is not None:
                flows[name].append(flow)
    return flows


def _pairs(stamps: list[int], poses: list[np.ndarray]) -> list[tuple[int, int]]:
    """Indices of pictures with the next one that the vehicle reached after the baseline."""
    pairs = []
    for before in range(len(stamps)):
        for after in range(before + 1, len(stamps)):
            if stamps[after] - stamps[before] > LONGEST_NS:
                break
            if np.linalg.norm(poses[after][:3, 3] - poses[before][:3, 3]) >= _BASELINE_M:
                pairs.append((before, after))
                break
    return pairs


def small(grey: np.ndarray, camera: MountedCamera) -> tuple[np.ndarray, np.ndarray]:
    """The picture at a width that is quick to follow, and its K."""
    height, width = grey.shape
    if width > 1.5 * _WIDTH:
        width, height = _WIDTH, round(height * _WIDTH / width)
        grey = cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA)
    return grey, camera.calibration.intrinsic_for(width, height)


def _between(before: np.ndarray, after: np.ndarray, intrinsic: np.ndarray, move: np.ndarray) -> Flow | None:
    """Corners followed forth and back (Lucas-Kanade); those that do not return are dropped."""
    corners = cv2.goodFeaturesToTrack(before, _POINTS, 0.01, 8)
    if corners is None:
        return None
    there, kept = followed(before, after, corners[:, 0])
    if not kept.any():
        return None
    return Flow(rays_of(corners[kept, 0], intrinsic), rays_of(there[kept], intrinsic), move)


def followed(before: np.ndarray, after: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where pixels ``[n, 2]`` of one picture are in another, and which of them were followed there and back.

    None are between pictures of different size.
    """
    start = np.asarray(points, dtype=np.float32)[:, None]
    if before.shape != after.shape:
        return start[:, 0], np.zeros(len(start), dtype=bool)
    there, found, _ = cv2.calcOpticalFlowPyrLK(before, after, start, None, **_LUCAS_KANADE)
    back, found_back, _ = cv2.calcOpticalFlowPyrLK(after, before, there, None, **_LUCAS_KANADE)
    kept = (found[:, 0] > 0) & (found_back[:, 0] > 0) & (np.abs(back - start).max(axis=(1, 2)) < _RETURN_PX)
    return there[:, 0], kept


def rays_of(pixels: np.ndarray, intrinsic: np.ndarray) -> np.ndarray:
    """Unit rays ``[n, 3]`` in the camera's optical frame through pixels ``[n, 2]``."""
    rays = np.column_stack([pixels, np.ones(len(pixels))]) @ np.linalg.inv(intrinsic).T
    return rays / np.linalg.norm(rays, axis=1, keepdims=True)
