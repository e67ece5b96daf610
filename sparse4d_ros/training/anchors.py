"""Initial anchors: where objects tend to be, by k-means over the training drives (Sparse4D, section 4)."""

from __future__ import annotations

import warnings

import numpy as np
from scipy.cluster.vq import kmeans2

from sparse4d_ros.boxes import ANCHOR_COLUMNS, COS_YAW, HEIGHT, LENGTH
from sparse4d_ros.errors import UserError
from sparse4d_ros.training.streams import DriveFolder

_MAX_CENTRES = 50_000


def initial_anchors(drives: DriveFolder, count: int, radius_m: float, min_visibility: float, seed: int) -> np.ndarray:
    """``[count, 11]`` float32: k-means centres, the mean size, heading along x, at rest.

    Raises ``UserError`` if the drives hold fewer objects than anchors are wanted.
    """
    boxes = []
    for name in drives.names():
        table = drives[name].table
        box = table["object_box"]
        keep = (np.hypot(box[:, 0], box[:, 1]) <= radius_m) & (table["object_visibility"] > min_visibility)
        boxes.append(box[keep])
    objects = np.concatenate(boxes)
    if len(objects) < count:
        raise UserError(f"{drives.folder} holds {len(objects)} visible objects; {count} anchors need at least as many")
    random = np.random.default_rng(seed)
    sample = objects[random.permutation(len(objects))[:_MAX_CENTRES], :3]
    with warnings.catch_warnings():
        # Parked objects repeat, so a cluster may lose all its points; it stays where it began, on an object.
        warnings.filterwarnings("ignore", message="One of the clusters is empty")
        centres, _ = kmeans2(sample, sample[:count], minit="matrix", iter=20)
    anchors = np.zeros((count, ANCHOR_COLUMNS), dtype=np.float32)
    anchors[:, :3] = centres
    anchors[:, 3:6] = np.log(objects[:, LENGTH:HEIGHT + 1].mean(axis=0))
    anchors[:, COS_YAW] = 1.0
    return anchors
