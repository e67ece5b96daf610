"""3-D non-maximum suppression of rotated boxes, for models that give duplicates."""

from __future__ import annotations

import cv2
import numpy as np

from sparse4d_ros.boxes import HEIGHT, LENGTH, WIDTH, YAW, Z


def iou_3d(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union of two upright boxes (rows of :mod:`sparse4d_ros.boxes`)."""
    low = max(first[Z] - first[HEIGHT] / 2, second[Z] - second[HEIGHT] / 2)
    high = min(first[Z] + first[HEIGHT] / 2, second[Z] + second[HEIGHT] / 2)
    if high <= low:
        return 0.0
    # Relative to the first centre: the intersection is computed in float32.
    shapes = [
        ((float(b[0] - first[0]), float(b[1] - first[1])), (float(b[LENGTH]), float(b[WIDTH])),
         float(np.degrees(b[YAW])))
        for b in (first, second)
    ]
    kind, polygon = cv2.rotatedRectangleIntersection(*shapes)
    if kind == cv2.INTERSECT_NONE or polygon is None:
        return 0.0
    area = cv2.contourArea(cv2.convexHull(polygon))
    common = area * (high - low)
    volumes = np.prod(first[LENGTH:HEIGHT + 1]) + np.prod(second[LENGTH:HEIGHT + 1])
    return float(common / (volumes - common))


def suppress(boxes: np.ndarray, class_ids: np.ndarray, threshold: float) -> np.ndarray:
    """Mask ``[n]`` of the boxes to keep; ``boxes [n, 10]`` and ``class_ids [n]`` come best score first."""
    keep = np.ones(len(boxes), dtype=bool)
    reach = np.hypot(boxes[:, LENGTH], boxes[:, WIDTH]) / 2
    for index in range(len(boxes)):
        if not keep[index]:
            continue
        later = np.flatnonzero(keep[index + 1:] & (class_ids[index + 1:] == class_ids[index])) + index + 1
        distance = np.hypot(boxes[later, 0] - boxes[index, 0], boxes[later, 1] - boxes[index, 1])
        for other in later[distance < reach[index] + reach[later]]:
            keep[other] = iou_3d(boxes[index], boxes[other]) <= threshold
    return keep
