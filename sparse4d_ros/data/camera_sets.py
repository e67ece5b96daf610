"""Which images of a recording belong together: sets around the reference camera's stamps.

Offline every stamp is known before the first decision, so this is exact where the node's
synchronizer has to decide with what has arrived.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np


def group(stamps_ns: Mapping[str, Sequence[int]], reference: str, max_spread_ns: int) -> list[dict[str, int]]:
    """Sets ``{camera: stamp}`` in time order, one for each stamp of the reference camera.

    A camera joins with the image nearest to the reference stamp if that lies within
    ``max_spread_ns`` and no other reference stamp is nearer to the image, so no image is used
    twice. A camera without such an image is absent from the set.
    """
    anchors = np.unique(np.asarray(stamps_ns[reference], dtype=np.int64))
    sets: list[dict[str, int]] = [{reference: int(anchor)} for anchor in anchors]
    if not len(anchors):
        return []
    for camera, values in stamps_ns.items():
        stamps = np.unique(np.asarray(values, dtype=np.int64))
        if camera == reference or not len(stamps):
            continue
        nearest = _nearest(stamps, anchors)
        back = _nearest(anchors, stamps[nearest])
        near_enough = np.abs(stamps[nearest] - anchors) <= max_spread_ns
        for index in np.flatnonzero(near_enough & (back == np.arange(len(anchors)))):
            sets[index][camera] = int(stamps[nearest[index]])
    return sets


def _nearest(values: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Index into sorted ``values`` of the one nearest to each target (the earlier one on a tie)."""
    right = np.clip(np.searchsorted(values, targets), 0, len(values) - 1)
    left = np.maximum(right - 1, 0)
    return np.where(np.abs(targets - values[left]) <= np.abs(values[right] - targets), left, right)
