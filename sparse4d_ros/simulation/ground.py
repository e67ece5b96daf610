"""The ground as flat polygons in painter's order: land, pavements, carriageways, markings.

All lie in z = 0 and are drawn without a depth test in this order, so that nothing flickers.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import ConvexHull

from sparse4d_ros.simulation.town import Street, Town

#: Floats per vertex: x, y, colour 3, grain (how much the surface's tone varies).
VERTEX_FLOATS = 6
_STRIPE_M = 0.14


class _Layers:
    """Triangles collected per layer."""

    def __init__(self, count: int) -> None:
        self.rows: list[list[np.ndarray]] = [[] for _ in range(count)]

    def polygon(self, layer: int, points: np.ndarray, colour: np.ndarray, grain: float) -> None:
        """A convex polygon ``[n, 2]`` as a fan."""
        fan = np.concatenate([[points[0], points[i], points[i + 1]] for i in range(1, len(points) - 1)])
        tail = np.tile([*colour, grain], (len(fan), 1))
        self.rows[layer].append(np.concatenate([fan, tail], axis=1))

    def stripe(self, layer: int, street: Street, along: tuple[float, float], offset: tuple[float, float],
               colour: np.ndarray, grain: float = 0.0) -> None:
        """A rectangle in a street's own coordinates."""
        corners = street.point(np.array([*along, *along[::-1]]), np.repeat(offset, 2))
        self.polygon(layer, corners, colour, grain)


def build_ground(town: Town, rng: np.random.Generator) -> np.ndarray:
    """Vertices ``[3 t, VERTEX_FLOATS]`` float32 of the whole town, in drawing order."""
    land = np.array([[0.30, 0.38, 0.18], [0.42, 0.40, 0.26], [0.45, 0.45, 0.42]])[rng.integers(3)]
    land = land * rng.uniform(0.85, 1.15)
    pavement = rng.uniform(0.50, 0.66) * np.array([1.0, 0.98, 0.94])
    asphalt = rng.uniform(0.24, 0.38) * np.array([1.0, 1.0, rng.uniform(1.0, 1.06)])
    cycle = np.array([[0.50, 0.24, 0.20], [0.26, 0.40, 0.30], asphalt * 1.08])[rng.integers(3)]
    white, kerb = np.array([0.88, 0.88, 0.86]), pavement * 1.18
    layers = _Layers(5)
    reach = 900.0
    layers.polygon(0, reach * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]), land, 0.25)
    edges: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {}
    for street in town.streets:
        section, length = street.section, street.length
        layers.stripe(1, street, (-1.0, length + 1.0), (-section.half_total, section.half_total), pavement, 0.12)
        layers.stripe(2, street, (0.0, length), (-section.half_road - 0.15, section.half_road + 0.15), kerb)
        layers.stripe(3, street, (0.0, length), (-section.half_road, section.half_road), asphalt, 0.15)
        for end, node in ((0.0, street.nodes[0]), (length, street.nodes[1])):
            for half, layer in ((section.half_total, 1), (section.half_road, 3)):
                edges.setdefault((node, layer), []).extend(
                    [street.point(end, half), street.point(end, -half)])
        _mark(layers, street, white, cycle)
    for (_node, layer), points in edges.items():
        hull = np.array(points)
        hull = hull[ConvexHull(hull).vertices]
        layers.polygon(layer, hull, pavement if layer == 1 else asphalt, 0.12 if layer == 1 else 0.15)
    return np.concatenate([np.concatenate(rows) for rows in layers.rows]).astype(np.float32)


def _between(first: float, second: float) -> tuple[float, float]:
    return min(first, second), max(first, second)


def _mark(layers: _Layers, street: Street, white: np.ndarray, cycle: np.ndarray) -> None:
    section, length, half = street.section, street.length, _STRIPE_M / 2.0
    lanes_edge = section.lanes * section.lane
    for side in (-1.0, 1.0):
        layers.stripe(4, street, (0.0, length), _between(side * lanes_edge, side * (lanes_edge + section.cycle)), cycle)
        for offset in (lanes_edge, lanes_edge + section.cycle):
            layers.stripe(4, street, (0.0, length), (side * offset - half, side * offset + half), white)
        stop = (length - 1.5, length - 0.9) if side < 0 else (0.9, 1.5)
        layers.stripe(4, street, stop, _between(0.0, side * lanes_edge), white)
        for lane in range(1, section.lanes):
            for dash in np.arange(3.0, length - 5.0, 7.0):
                offset = side * lane * section.lane
                layers.stripe(4, street, (dash, dash + 3.0), (offset - half, offset + half), white)
    if section.lanes > 1:
        for offset in (-0.12, 0.12):
            layers.stripe(4, street, (0.0, length), (offset - 0.06, offset + 0.06), white)
    else:
        for dash in np.arange(2.0, length - 4.0, 6.0):
            layers.stripe(4, street, (dash, dash + 3.0), (-half, half), white)
    if street.crossing is not None:
        for offset in np.arange(-section.half_road + 0.3, section.half_road - 0.4, 1.1):
            layers.stripe(4, street, (street.crossing - 1.7, street.crossing + 1.7), (offset, offset + 0.55), white)
