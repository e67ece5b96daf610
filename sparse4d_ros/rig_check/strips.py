"""What two neighbours both see, side by side: each point where it is, and where it should have been."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from sparse4d_ros.evaluation import canvas
from sparse4d_ros.rig_check.neighbours import CommonView, Moment
from sparse4d_ros.rig_check.overlap import Overlap

_HEIGHT, _GAP, _HEAD = 640, 6, 26
_SEEN: canvas.Colour = (118, 222, 132)
_EXPECTED: canvas.Colour = (74, 200, 250)
_WRONG: canvas.Colour = canvas.MUTED
#: Nearer than this the two marks would cover each other.
_APART_PX = 4.0


def draw_strip(overlap: Overlap, moments: Sequence[Moment]) -> np.ndarray | None:
    """The common view of both cameras at the moment with most points that agree; None if no point was found.

    Circles are where a point is seen, crosses where the first camera lets expect it; grey are matches that agree with
    no other.
    """
    pair, shared = overlap.pair, overlap.pair.shared
    if not len(shared):
        return None
    votes = np.bincount(shared.moment, 1 + overlap.agree)
    chosen = shared.moment == votes.argmax()
    moment = moments[int(votes.argmax())]
    common = CommonView(pair.first, pair.second)
    views, reaches = zip(*(common.of(moment.shots[camera.name].grey, moment.shots[camera.name].intrinsic, camera)
                           for camera in (pair.first, pair.second)), strict=True)
    rows = np.flatnonzero(np.maximum(*reaches).any(axis=1))
    top, scale = rows[0], _HEIGHT / len(rows)
    views = [cv2.cvtColor(cv2.resize(view[rows], None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC),
                          cv2.COLOR_GRAY2BGR) for view in views]
    seen = shared.second[chosen]
    expected = seen - pair.misses()[chosen] @ shared.view[:, :2].T
    for first, second, place, agrees in zip(
            *(scale * (common.pixels(rays) - [0, top]) for rays in (shared.first[chosen], seen, expected)),
            overlap.agree[chosen], strict=True):
        colour = _SEEN if agrees else _WRONG
        canvas.circle(views[0], tuple(first), 4, colour)
        if agrees and np.linalg.norm(second - place) > _APART_PX:
            canvas.polyline(views[1], np.stack([place, second]), _EXPECTED)
            for across in ([4, 4], [4, -4]):
                canvas.polyline(views[1], np.stack([place - across, place + across]), _EXPECTED)
        canvas.circle(views[1], tuple(second), 4, colour)
    width = views[0].shape[1]
    sheet = np.full((views[0].shape[0] + _HEAD, 2 * width + _GAP, 3), canvas.BACKGROUND, np.uint8)
    for column, (view, camera) in enumerate(zip(views, (pair.first, pair.second), strict=True)):
        left = column * (width + _GAP)
        sheet[_HEAD:, left:left + width] = view
        canvas.text(sheet, camera.name, left + 6, 5, 13, canvas.TEXT, bold=True)
    return sheet
