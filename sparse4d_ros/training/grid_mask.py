"""GridMask (Chen et al. 2020, arXiv 2001.04086): squares of a regular grid are hidden, so that no detail is enough."""

from __future__ import annotations

import numpy as np

#: Side of a hidden square relative to the period of the grid; the reference keeps half of each period visible.
_HIDDEN = 0.5


def draw_grid_mask(height: int, width: int, random: np.random.Generator) -> np.ndarray:
    """Which pixels ``[height, width]`` bool stay visible.

    The period is drawn from 2 to ``height`` pixels, where the grid begins within one period.
    """
    period = int(random.integers(2, max(3, height)))
    hidden = min(max(round(_HIDDEN * period), 1), period - 1)
    row, column = ((np.arange(size) + random.integers(period)) % period < hidden for size in (height, width))
    return ~(row[:, None] & column[None, :])
