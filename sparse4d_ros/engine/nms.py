"""3-D non-maximum suppression of rotated boxes, for models that give duplicates."""

from __future__ import annotations

import cv2
import numpy as np

from sparse4d_ros.boxes import HEIGHT, LENGTH, WIDTH, YAW, Z

#: Sizes count up to this: with those of a network that has diverged OpenCV fails.
_LARGEST_M = 1e3


def iou_3d(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union of two upright boxes (rows of :mod:`sparse4d_ros.boxes`)."""
    sizes = [np.minimum(box[LENGTH:HEIGHT + 1], _LARGEST_M).astype(float) for box in (first, second)]
    low = max(box[Z] - size[2] / 2 for box, size in zip((first, second), sizes, strict=True))
    high = min(box[Z] + size[2] / 2 for box, size in zip((first, second), sizes, strict=True))
    if high <= low:
        return 0.0
    # Relative to the first centre: the intersection is computed in float32.
    shapes = [
        ((float(box[0] - first[0]), float(box[1] - first[1])), (size[0], size[1]), float(np.degrees(box[YAW])))
        for box, size in zip((first, second), sizes, strict=True)
    ]
    kind, polygon = cv2.rotatedRectangleIntersection(*shapes)
    if kind == cv2.INTERSECT_NONE or polygon is None:
        return 0.0
    area = cv2.contourArea(cv2.convexHull(polygon))
    common = area * (high - low)
    return float(common / (sizes[0].prod() + sizes[1].prod() - common))


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
