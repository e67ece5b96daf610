"""Paths of straight lines and circular arcs, and many of them evaluated at once.

Lines and arcs have closed forms for position, heading and their derivatives, so that the ground
truth's velocity is exact rather than a difference of samples.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# Columns of a path's piece.
_START, _X, _Y, _HEADING, _CURVATURE = range(5)


def rounded(vertices: np.ndarray, radius: float) -> np.ndarray:
    """Pieces ``[p, 5]`` (start, x, y, heading, curvature) of a polyline ``[n, 2]`` with rounded corners.

    Each corner gets the largest arc up to ``radius`` that leaves its neighbours room. The last
    piece goes on straight for ever.
    """
    vertices = np.asarray(vertices, dtype=np.float64)
    keep = np.concatenate([[True], np.linalg.norm(np.diff(vertices, axis=0), axis=1) > 1e-3])
    vertices = vertices[keep]
    if len(vertices) < 2:
        raise ValueError("a path needs two different points")
    legs = np.diff(vertices, axis=0)
    lengths = np.linalg.norm(legs, axis=1)
    headings = np.arctan2(legs[:, 1], legs[:, 0])
    pieces, position, travelled = [], vertices[0], 0.0
    for i, heading in enumerate(headings):
        end, cut, turn = vertices[i + 1], 0.0, 0.0
        if i + 1 < len(legs):
            turn = (headings[i + 1] - heading + np.pi) % (2.0 * np.pi) - np.pi
            cut = min(radius * np.tan(abs(turn) / 2.0), 0.48 * lengths[i], 0.48 * lengths[i + 1])
        direction = np.array([np.cos(heading), np.sin(heading)])
        straight = float(np.dot(end - cut * direction - position, direction))
        pieces.append((travelled, *position, heading, 0.0))
        travelled += straight
        position = position + straight * direction
        if abs(turn) > 1e-6 and cut > 1e-6:
            arc_radius = cut / np.tan(abs(turn) / 2.0)
            pieces.append((travelled, *position, heading, np.sign(turn) / arc_radius))
            travelled += arc_radius * abs(turn)
            following = headings[i + 1]
            position = end + cut * np.array([np.cos(following), np.sin(following)])
    return np.array(pieces)


class Paths:
    """A bundle of paths of the same number of pieces, padded."""

    def __init__(self, paths: Sequence[np.ndarray]) -> None:
        longest = max((len(path) for path in paths), default=1)
        self.pieces = np.zeros((len(paths), longest, 5))
        self.pieces[..., _START] = np.inf
        for row, path in enumerate(paths):
            self.pieces[row, :len(path)] = path

    def at(self, distance: np.ndarray, rows: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """x, y and heading of each path at ``distance`` ``[paths]`` or ``[paths, k]``; same shapes.

        ``rows`` picks paths (default: all in order). A negative distance goes back along the first line.
        """
        pieces = self.pieces if rows is None else self.pieces[rows]
        distance = np.asarray(distance, dtype=np.float64)
        shape, distance = distance.shape, distance.reshape(len(pieces), -1)
        index = (distance[:, :, None] >= pieces[:, None, :, _START]).sum(axis=2) - 1
        piece = np.take_along_axis(pieces, np.maximum(index, 0)[:, :, None], axis=1)
        start, x, y, heading, curvature = np.moveaxis(piece, 2, 0)
        along = distance - start
        turned = curvature * along
        # sin(t)/t and (1 - cos(t))/t stay finite on straight pieces through the half angle.
        chord = along * np.sinc(turned / (2.0 * np.pi))
        x = x + chord * np.cos(heading + turned / 2.0)
        y = y + chord * np.sin(heading + turned / 2.0)
        return x.reshape(shape), y.reshape(shape), (heading + turned).reshape(shape)

    def curvature(self, distance: np.ndarray) -> np.ndarray:
        """Absolute curvature, 1/m, of each path at ``distance`` ``[paths, k]``."""
        index = (distance[:, :, None] >= self.pieces[:, None, :, _START]).sum(axis=2) - 1
        return np.abs(np.take_along_axis(self.pieces[..., _CURVATURE], np.maximum(index, 0), axis=1))
