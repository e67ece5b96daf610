"""Points that two neighbouring cameras both see at (nearly) one moment, and how far away they are.

Neighbours look in directions 50 to 70 degrees apart: at their common border the same thing looks different in both
pictures. Both are therefore turned into one common view of the directions that they share, by rotation alone, which
needs no distances; there a patch of one picture is found again in the other. What is left between the two places is
parallax (the cameras sit apart), the vehicle's motion between the two shots, and whatever is wrong.

How far away a point is follows from the motion of the same camera's picture while the vehicle drives, not from the
pair: a turned camera would be taken for another distance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import cv2
import numpy as np

from sparse4d_ros import geometry
from sparse4d_ros.rig_check.flow import followed, rays_of
from sparse4d_ros.rig_check.mounted import MountedCamera, shared_sector_deg

#: A common view shows so much beyond the shared directions: near things and wrong calibrations displace what is seen.
_MARGIN_DEG = 4.0
_WIDEST_DEG, _UP_DEG, _DOWN_DEG = 50.0, 20.0, 25.0
#: Pixels per radian, at most.
_FINEST = 1500.0
#: Half the side of a patch, pixels of the common view.
_HALF = 7
#: A patch is searched from infinity to this distance, and so far around.
_NEAREST_M = 4.0
_AROUND_DEG = 4.0
#: Correlation of a found patch, and by how much it must beat the second best place.
_ALIKE, _UNIQUE = 0.8, 0.08
#: Searched back from there, it must be found within so many pixels.
_RETURN_PX = 1.5
#: The camera must have moved so far across the line of sight, and the point be no further than this.
_ACROSS_M, _FARTHEST_M = 0.25, 80.0
#: Where parallax ends: what stands for the distance of a point of which nobody knows it.
FAR_M = 1e4
#: A followed point further off its epipolar plane is not one that stands still.
_ASTRAY_DEG = 0.4


@dataclass(frozen=True)
class Shot:
    """A grey picture, its K for that size, and the vehicle's pose and motion when it was taken."""

    grey: np.ndarray
    intrinsic: np.ndarray
    #: ``[4, 4]`` fixed_from_vehicle.
    pose: np.ndarray
    #: Velocity in m/s and turning in rad/s ``[6]``, in the axes of the vehicle.
    twist: np.ndarray


@dataclass(frozen=True)
class Moment:
    """The shots of one set by camera, and for each another one of the same camera from a place further on or back."""

    shots: dict[str, Shot]
    elsewhere: dict[str, Shot]


@dataclass(frozen=True)
class Shared:
    """``n`` points that two cameras both see. Rays are of unit length, in the vehicle frame at their camera's stamp."""

    #: Axes of the common view (right, down, forward) in the vehicle frame, in columns, ``[3, 3]``.
    view: np.ndarray
    #: Which moment each point is from, ``[n]``.
    moment: np.ndarray
    first: np.ndarray  #: ``[n, 3]``
    second: np.ndarray  #: ``[n, 3]``
    #: Metres from the first camera's lens, ``[n]``; nan where nobody knows.
    distance: np.ndarray
    #: ``[n, 4, 4]``: takes points from the vehicle frame at the first camera's stamp to that at the second's.
    second_from_first: np.ndarray
    #: Of the vehicle at each camera's stamp, ``[n, 6]``.
    first_twist: np.ndarray
    second_twist: np.ndarray

    def __len__(self) -> int:
        return len(self.moment)

    def only(self, kept: np.ndarray) -> Shared:
        """The points where ``kept [n]`` is true."""
        columns = {field.name: getattr(self, field.name) for field in fields(self)}
        return Shared(columns.pop("view"), **{name: column[kept] for name, column in columns.items()})


class CommonView:
    """A pinhole picture of the directions that two cameras share."""

    def __init__(self, first: MountedCamera, second: MountedCamera) -> None:
        right, left = shared_sector_deg(first, second)
        cos, sin = np.cos(np.radians((right + left) / 2)), np.sin(np.radians((right + left) / 2))
        self.axes = np.array([[sin, 0.0, cos], [-cos, 0.0, sin], [0.0, -1.0, 0.0]])
        self.focal = min(max(_fineness(first), _fineness(second)), _FINEST)
        # Mountings that are upside down share anything between nothing and all round.
        across = np.clip((left - right) / 2, 0.0, _WIDEST_DEG / 2)
        half, up, down = np.radians([across + _MARGIN_DEG, _UP_DEG, _DOWN_DEG])
        self.width = int(2 * np.tan(half) * self.focal)
        self.height = int((np.tan(up) + np.tan(down)) * self.focal)
        self.intrinsic = np.array([[self.focal, 0.0, self.width / 2], [0.0, self.focal, np.tan(up) * self.focal],
                                   [0.0, 0.0, 1.0]])

    def of(self, picture: np.ndarray, intrinsic: np.ndarray, camera: MountedCamera) -> tuple[np.ndarray, np.ndarray]:
        """A camera's picture in this view ``[height, width(, 3)]``, and where it reaches (255) and not (0)."""
        turn = self.intrinsic @ self.axes.T @ camera.vehicle_from_camera[:3, :3] @ np.linalg.inv(intrinsic)
        size = (self.width, self.height)
        reach = cv2.warpPerspective(np.full(picture.shape[:2], 255, np.uint8), turn, size, flags=cv2.INTER_NEAREST)
        return cv2.warpPerspective(picture, turn, size, flags=cv2.INTER_LINEAR), reach

    def rays(self, pixels: np.ndarray) -> np.ndarray:
        """Unit rays ``[n, 3]`` in the vehicle frame of pixels ``[n, 2]``."""
        return rays_of(pixels, self.intrinsic) @ self.axes.T

    def pixels(self, points: np.ndarray) -> np.ndarray:
        """Pixels ``[n, 2]`` of directions ``[n, 3]`` in the vehicle frame."""
        return geometry.project(points @ self.axes, geometry.pad_intrinsic(self.intrinsic))[0]


def _fineness(camera: MountedCamera) -> float:
    """Pixels per radian near the border of the picture."""
    intrinsic = camera.calibration.intrinsic
    across = max(intrinsic[0, 2], camera.calibration.width - intrinsic[0, 2]) / intrinsic[0, 0]
    return float(intrinsic[0, 0] * np.hypot(1.0, across))


def shared_points(first: MountedCamera, second: MountedCamera, moments: Sequence[Moment], corners: int) -> Shared:
    """The points that both cameras see in all moments, of so many corners in each."""
    view = CommonView(first, second)
    found = []
    for index, moment in enumerate(moments):
        if first.name in moment.shots and second.name in moment.shots:
            found.append(_in_moment(view, first, second, moment, index, corners))
    return Shared(view.axes, *(np.concatenate(column) for column in zip(_NOTHING, *found, strict=True)))


#: Columns of :class:`Shared` without a point.
_NOTHING = (np.zeros(0, int), np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0), np.zeros((0, 4, 4)), np.zeros((0, 6)),
            np.zeros((0, 6)))


def _in_moment(view: CommonView, first: MountedCamera, second: MountedCamera, moment: Moment, index: int,
               corners: int) -> tuple[np.ndarray, ...]:
    shot, other = moment.shots[first.name], moment.shots[second.name]
    second_from_first = geometry.inverse(other.pose) @ shot.pose

    def places(rays: np.ndarray, metres: np.ndarray | float) -> np.ndarray:
        points = (first.position + np.reshape(metres, (-1, 1)) * rays) @ second_from_first[:3, :3].T
        return view.pixels(points + second_from_first[:3, 3] - second.position)

    pictures = [view.of(shot.grey, shot.intrinsic, first), view.of(other.grey, other.intrinsic, second)]
    here, there = _match(*pictures[0], *pictures[1], lambda pixels: places(view.rays(pixels), _NEAREST_M),
                         np.radians(_AROUND_DEG) * view.focal, corners)
    seen, seen_too = view.rays(here), view.rays(there)
    distance = _distances(first, shot, moment.elsewhere.get(first.name), seen)
    # What only the second camera knows is measured from the first.
    further = _distances(second, other, moment.elsewhere.get(second.name), seen_too)
    points = (second.position + further[:, None] * seen_too - second_from_first[:3, 3]) @ second_from_first[:3, :3]
    distance = np.where(np.isnan(distance), np.linalg.norm(points - first.position, axis=1), distance)
    # Of a row of windows only the wrong ones are found where the right one lies outside the picture.
    x, y = np.floor(places(seen, np.nan_to_num(distance, nan=FAR_M))).astype(int).T
    within = (x >= 0) & (x < view.width) & (y >= 0) & (y < view.height)
    within[within] = pictures[1][1][y[within], x[within]] > 0
    seen, seen_too, distance = seen[within], seen_too[within], distance[within]
    count = len(seen)
    return (np.full(count, index), seen, seen_too, distance, np.repeat(second_from_first[None], count, axis=0),
            np.repeat(shot.twist[None], count, axis=0), np.repeat(other.twist[None], count, axis=0))


def _match(here: np.ndarray, reach_here: np.ndarray, there: np.ndarray, reach_there: np.ndarray, nearest, around: float,
           count: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixels ``[n, 2]`` of corners of one view, and of the same patches in the other, to a fraction of a pixel."""
    patch = np.ones((2 * _HALF + 1, 2 * _HALF + 1), np.uint8)
    inside_here, inside_there = (cv2.erode(reach, patch, borderValue=0) for reach in (reach_here, reach_there))
    corners = cv2.goodFeaturesToTrack(here, count, 0.02, 6, mask=inside_here)
    pairs = []
    for corner in np.empty((0, 2)) if corners is None else corners[:, 0].astype(np.float64).round():
        ends = np.stack([np.zeros(2), nearest(corner[None])[0] - corner])
        low, high = ends.min(axis=0) - around, ends.max(axis=0) + around
        place = _find(here, corner, there, inside_there, low, high)
        if place is None:
            continue
        back = _find(there, place.round(), here, inside_here, -high, -low)
        if back is not None and np.abs(back - place.round() + place - corner).max() < _RETURN_PX:
            pairs.append((corner, place))
    return tuple(np.array(pairs, dtype=np.float64).reshape(-1, 2, 2).transpose(1, 0, 2))


def _find(here: np.ndarray, corner: np.ndarray, there: np.ndarray, inside: np.ndarray, low: np.ndarray, high: np.ndarray
          ) -> np.ndarray | None:
    """Where the patch around a pixel ``(x, y)`` of one view is in the other, between two offsets; None if it is nowhere
    for certain."""
    x, y = corner.astype(int)
    (x0, y0), (x1, y1) = (np.clip(np.floor(corner + end).astype(int), _HALF, np.array(there.shape[::-1]) - _HALF - 1)
                          for end in (low, high))
    if not inside[y0:y1 + 1, x0:x1 + 1].any():
        return None
    alike = cv2.matchTemplate(there[y0 - _HALF:y1 + _HALF + 1, x0 - _HALF:x1 + _HALF + 1],
                              here[y - _HALF:y + _HALF + 1, x - _HALF:x + _HALF + 1], cv2.TM_CCOEFF_NORMED)
    alike[inside[y0:y1 + 1, x0:x1 + 1] == 0] = -1.0
    place = _peak(alike)
    return None if place is None else place + [x0, y0]


def _peak(alike: np.ndarray) -> np.ndarray | None:
    """The place ``(x, y)`` of the highest value to a fraction of a pixel; None if it is low, or another is as high."""
    y, x = np.unravel_index(int(alike.argmax()), alike.shape)
    best = alike[y, x]
    if best < _ALIKE or not (0 < y < alike.shape[0] - 1 and 0 < x < alike.shape[1] - 1):
        return None
    around = alike[max(y - 4, 0):y + 5, max(x - 4, 0):x + 5]
    kept = around.copy()
    around[:] = -1.0
    rival = alike.max()
    around[:] = kept
    if rival > best - _UNIQUE:
        return None
    return np.array([x + _top(alike[y, x - 1:x + 2]), y + _top(alike[y - 1:y + 2, x])])


def _top(values: np.ndarray) -> float:
    """Where the parabola through three values has its top, -0.5 to 0.5 from the middle one."""
    before, middle, after = (float(value) for value in values)
    bend = before - 2 * middle + after
    return 0.0 if bend >= 0 else float(np.clip(0.5 * (before - after) / bend, -0.5, 0.5))


def _distances(camera: MountedCamera, shot: Shot, elsewhere: Shot | None, rays: np.ndarray) -> np.ndarray:
    """Metres ``[n]`` from the lens along rays ``[n, 3]`` (vehicle frame) of points that stand still; nan if unknown."""
    distance = np.full(len(rays), np.nan)
    if elsewhere is None or not len(rays):
        return distance
    mounting = camera.vehicle_from_camera[:3, :3]
    start = geometry.project(rays @ mounting, geometry.pad_intrinsic(shot.intrinsic))[0]
    there, kept = followed(shot.grey, elsewhere.grey, start)
    move = geometry.inverse(shot.pose) @ elsewhere.pose
    other = rays_of(there, elsewhere.intrinsic) @ (move[:3, :3] @ mounting).T
    baseline = move[:3, :3] @ camera.position + move[:3, 3] - camera.position
    normal = np.cross(baseline, rays)
    across = np.maximum(np.linalg.norm(normal, axis=1), 1e-9)
    astray = np.abs((other * normal).sum(axis=1)) / across
    # The point of the ray that the other ray comes nearest to.
    cos = (rays * other).sum(axis=1)
    along = (rays @ baseline - cos * (other @ baseline)) / np.maximum(1.0 - cos ** 2, 1e-12)
    known = (kept & (across > _ACROSS_M) & (astray < np.radians(_ASTRAY_DEG))
             & (along > 1.0) & (along < _FARTHEST_M))
    distance[known] = along[known]
    return distance
