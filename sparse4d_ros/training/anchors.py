"""Initial anchors: where objects tend to be, by k-means over the training drives (Sparse4D, section 4)."""

from __future__ import annotations

import warnings

import numpy as np
from scipy.cluster.vq import kmeans2

from sparse4d_ros.boxes import ANCHOR_COLUMNS, COS_YAW, HEIGHT, LENGTH
from sparse4d_ros.errors import UserError
from sparse4d_ros.training.config import StreamConfig
from sparse4d_ros.training.drive_folder import DriveFolder
from sparse4d_ros.training.streams import worth_finding

_MAX_CENTRES = 50_000


def initial_anchors(drives: DriveFolder, count: int, config: StreamConfig, seed: int) -> np.ndarray:
    """``[count, 11]`` float32: k-means centres, the mean size, heading along x, at rest.

    Raises ``UserError`` if the drives hold fewer objects than anchors are wanted.
    """
    boxes = []
    for name in drives.names():
        table = drives[name].table
        number = np.array([drives.class_names.index(n) for n in drives[name].classes])[table["object_class"]]
        keep = worth_finding(table["object_box"], number, table["object_visibility"], config, drives.class_names)
        boxes.append(table["object_box"][keep])
    objects = np.concatenate(boxes)
    if len(objects) < count:
        raise UserError(f"the drives hold {len(objects)} visible objects; {count} anchors need at least as many")
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
