"""The 3-D box: its columns, the class names, corners and conversions between forms.

Two forms exist and both keep boxes in rows:

* a *box* (what people and messages use), 10 columns: ``x y z length width height yaw vx vy vz``;
* an *anchor* (what the network refines), 11 columns:
  ``x y z log_length log_width log_height sin_yaw cos_yaw vx vy vz`` with an unnormalised
  sine and cosine (Sparse4D; the reference calls columns 3 and 4 "W" and "L").

Metres, radians, metres per second. ``x y z`` is the centre of the box, yaw is measured about z
from the x axis of the frame, the box's own x axis is its length (REP-103). Velocity is over
ground, in the axes of the frame the box is given in.
"""

from __future__ import annotations

import numpy as np

X, Y, Z = 0, 1, 2
LENGTH, WIDTH, HEIGHT = 3, 4, 5
YAW = 6
VX, VY, VZ = 7, 8, 9
BOX_COLUMNS = 10

SIN_YAW, COS_YAW = 6, 7
ANCHOR_COLUMNS = 11

#: The ten detection classes of nuScenes, in the order of the published checkpoints.
NUSCENES_CLASSES = (
    "car", "truck", "construction_vehicle", "bus", "trailer",
    "barrier", "motorcycle", "bicycle", "pedestrian", "traffic_cone",
)

# Unit cube corners, the four of the bottom first, counter-clockwise seen from above.
_UNIT_CORNERS = 0.5 * np.array([
    [1, 1, -1], [-1, 1, -1], [-1, -1, -1], [1, -1, -1],
    [1, 1, 1], [-1, 1, 1], [-1, -1, 1], [1, -1, 1],
], dtype=np.float64)

#: Pairs of corner indices that form the twelve edges of a box.
EDGES = ((0, 1), (1, 2), (2, 3), (3, 0), (4, 5), (5, 6), (6, 7), (7, 4), (0, 4), (1, 5), (2, 6), (3, 7))


def wrap_angle(angle: np.ndarray | float) -> np.ndarray:
    """The same angle in [-pi, pi)."""
    return (np.asarray(angle) + np.pi) % (2.0 * np.pi) - np.pi


def corners(boxes: np.ndarray) -> np.ndarray:
    """Corners ``[n, 8, 3]`` of boxes ``[n, >=7]``; 0-3 bottom, 4-7 top, 0 3 4 7 are the front face."""
    boxes = np.asarray(boxes, dtype=np.float64)
    local = _UNIT_CORNERS[None] * boxes[:, None, LENGTH:HEIGHT + 1]
    cos, sin = np.cos(boxes[:, YAW])[:, None], np.sin(boxes[:, YAW])[:, None]
    rotated = np.stack([
        cos * local[..., 0] - sin * local[..., 1],
        sin * local[..., 0] + cos * local[..., 1],
        local[..., 2],
    ], axis=-1)
    return rotated + boxes[:, None, :3]


def clip_edges(corners: np.ndarray, near: float) -> tuple[np.ndarray, np.ndarray]:
    """The parts of a box's twelve edges that lie in front of a camera.

    ``corners [8, 3]`` in the optical frame, or projected and not yet divided by the depth ``(u d, v d, d)``;
    returns segments ``[k, 2, 3]`` and the index ``[k]`` in :data:`EDGES` of the edge each belongs to. An
    edge that crosses the plane at depth ``near`` (metres) is shortened to it: behind it a projection is meaningless.
    """
    ends = corners[np.array(EDGES)]
    depth = ends[..., 2]
    index = np.flatnonzero((depth >= near).any(axis=1))
    segments = ends[index].copy()
    for segment in segments:
        behind = segment[:, 2] < near
        if behind.any():
            hidden, seen = segment[int(behind[1])].copy(), segment[1 - int(behind[1])]
            share = (near - hidden[2]) / (seen[2] - hidden[2])
            segment[int(behind[1])] = hidden + share * (seen - hidden)
    return segments, index


def transform(boxes: np.ndarray, target_from_source: np.ndarray) -> np.ndarray:
    """Boxes ``[n, 10]`` expressed in another frame.

    The heading is rotated as a vector and projected on the target's xy plane, so that pitch and
    roll between the frames cost only the tilt that a box with a yaw alone cannot express.
    """
    matrix = np.asarray(target_from_source, dtype=np.float64)
    out = np.array(boxes, dtype=np.float64, copy=True)
    rotation = matrix[:3, :3]
    out[:, :3] = out[:, :3] @ rotation.T + matrix[:3, 3]
    heading = np.stack([np.cos(boxes[:, YAW]), np.sin(boxes[:, YAW])], axis=-1) @ rotation[:2, :2].T
    out[:, YAW] = np.arctan2(heading[:, 1], heading[:, 0])
    out[:, VX:VZ + 1] = out[:, VX:VZ + 1] @ rotation.T
    return out


def from_anchors(anchors: np.ndarray) -> np.ndarray:
    """Boxes ``[n, 10]`` of anchors ``[n, 11]``, in the anchors' dtype (Sparse4D decoder)."""
    anchors = np.asarray(anchors)
    return np.concatenate([
        anchors[:, :3],
        np.exp(anchors[:, 3:6]),
        np.arctan2(anchors[:, SIN_YAW], anchors[:, COS_YAW])[:, None],
        anchors[:, 8:11],
    ], axis=-1)


def to_anchors(boxes: np.ndarray) -> np.ndarray:
    """Anchors ``[n, 11]`` of boxes ``[n, 10]``; sizes must be positive."""
    boxes = np.asarray(boxes)
    return np.concatenate([
        boxes[:, :3],
        np.log(boxes[:, LENGTH:HEIGHT + 1]),
        np.sin(boxes[:, YAW])[:, None],
        np.cos(boxes[:, YAW])[:, None],
        boxes[:, VX:VZ + 1],
    ], axis=-1)
