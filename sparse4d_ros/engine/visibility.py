"""Which cameras see an object's centre, and how far away it is along the best one's axis."""

from __future__ import annotations

import numpy as np

from sparse4d_ros.geometry import project


def depth_and_cameras(
    centres: np.ndarray, pixels_from_vehicle: np.ndarray, valid: np.ndarray, width: int, height: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Depths ``[n]`` in metres (nan where no camera sees the centre) and camera bit masks ``[n]`` uint32.

    ``centres [n, 3]`` in the vehicle frame, ``pixels_from_vehicle [C, 4, 4]``, ``valid [C]`` bool.
    The best camera is the one in whose picture the centre lies nearest to the middle.
    """
    count = len(centres)
    mask = np.zeros(count, np.uint32)
    depth = np.full(count, np.nan)
    best = np.full(count, np.inf)
    for index, matrix in enumerate(pixels_from_vehicle):
        if not valid[index]:
            continue
        pixels, along = project(centres, matrix)
        seen = (along > 0) & (pixels >= 0).all(axis=1) & (pixels[:, 0] < width) & (pixels[:, 1] < height)
        mask |= (seen.astype(np.uint32) << np.uint32(index)).astype(np.uint32)
        off_centre = np.abs(pixels[:, 0] / width - 0.5)
        better = seen & (off_centre < best)
        depth[better], best[better] = along[better], off_centre[better]
    return depth, mask
