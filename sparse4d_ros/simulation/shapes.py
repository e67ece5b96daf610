"""Meshes built from convex parts: the one primitive (`loft`), its special cases, and `Mesh`.

A mesh is normalised to the unit cube, so that an instance of it scaled by a box's length, width
and height fills exactly that box: ground-truth boxes are tight by construction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Colour = tuple[float, float, float]

# How the instance's colour enters a part: not at all, as it is, or as its companion (trousers, stripes).
PLAIN, PRIMARY, SECONDARY = 0.0, 1.0, 2.0
# Fragment patterns; what glows is smooth where no lamps are lit.
SMOOTH, FACADE, FOLIAGE, GLOW = 0.0, 1.0, 2.0, -1.0

#: Floats per vertex: position 3, normal 3, colour 3, tint 1, pattern 1.
VERTEX_FLOATS = 11


@dataclass(frozen=True)
class Part:
    """A convex polyhedron: faces as triangles ``[t, 3, 3]`` in metres, with one colour."""

    triangles: np.ndarray
    colour: Colour
    tint: float
    pattern: float


@dataclass(frozen=True)
class Mesh:
    """Triangles in the unit cube centred on the origin, and the convex parts they came from."""

    name: str
    #: ``[3 t, VERTEX_FLOATS]`` float32, every three rows a triangle, counter-clockwise from outside.
    vertices: np.ndarray
    #: Corner points ``[k, 3]`` of each convex part, in the unit cube.
    parts: tuple[np.ndarray, ...]
    #: Length, width and height in metres as modelled.
    size: np.ndarray


def loft(bottom: np.ndarray, top: np.ndarray, colour: Colour, tint: float = PLAIN, pattern: float = SMOOTH) -> Part:
    """The convex solid between two rings of as many points ``[k, 3]`` each, with both caps."""
    bottom, top = np.asarray(bottom, dtype=np.float64), np.asarray(top, dtype=np.float64)
    following = np.roll(np.arange(len(bottom)), -1)
    sides = [(bottom, bottom[following], top[following]), (bottom, top[following], top)]
    triangles = [np.stack(side, axis=1) for side in sides]
    for ring in (bottom, top):
        fan = [(ring[0], ring[i], ring[i + 1]) for i in range(1, len(ring) - 1)]
        triangles.append(np.array(fan))
    faces = np.concatenate(triangles)
    normals = np.cross(faces[:, 1] - faces[:, 0], faces[:, 2] - faces[:, 0])
    faces = faces[np.linalg.norm(normals, axis=1) > 1e-9]  # a ring that ends in a point has empty faces
    normals = np.cross(faces[:, 1] - faces[:, 0], faces[:, 2] - faces[:, 0])
    centre = np.concatenate([bottom, top]).mean(axis=0)
    inward = np.einsum("ij,ij->i", normals, faces.mean(axis=1) - centre) < 0
    faces[inward] = faces[inward][:, ::-1]
    return Part(faces, colour, tint, pattern)


def block(x: tuple[float, float], y: tuple[float, float], z: tuple[float, float], colour: Colour,
          tint: float = PLAIN, top_x: tuple[float, float] | None = None, top_y: tuple[float, float] | None = None,
          pattern: float = SMOOTH) -> Part:
    """A box between two x, two y and two z; with ``top_x``, ``top_y`` the upper face is another rectangle."""
    def ring(xs: tuple[float, float], ys: tuple[float, float], height: float) -> np.ndarray:
        return np.array([[x, y, height] for x, y in ((xs[0], ys[0]), (xs[1], ys[0]), (xs[1], ys[1]), (xs[0], ys[1]))])
    return loft(ring(x, y, z[0]), ring(top_x or x, top_y or y, z[1]), colour, tint, pattern)


def tube(start: Sequence[float], end: Sequence[float], radius: float, colour: Colour, tint: float = PLAIN,
         end_radius: float | None = None, sides: int = 4, pattern: float = SMOOTH) -> Part:
    """A cylinder, or with ``end_radius`` a cone, of a few sides around the line from start to end."""
    start, end = np.asarray(start, dtype=np.float64), np.asarray(end, dtype=np.float64)
    axis = (end - start) / np.linalg.norm(end - start)
    helper = np.array([0.0, 0.0, 1.0]) if abs(axis[2]) < 0.9 else np.array([1.0, 0.0, 0.0])
    across = np.cross(axis, helper)
    across /= np.linalg.norm(across)
    other = np.cross(axis, across)
    angle = 2.0 * np.pi * (np.arange(sides) + 0.5) / sides
    ring = np.cos(angle)[:, None] * across + np.sin(angle)[:, None] * other
    return loft(start + radius * ring, end + (radius if end_radius is None else end_radius) * ring,
                colour, tint, pattern)


def extrude(profile: Sequence[tuple[float, float]], y: tuple[float, float], colour: Colour,
            tint: float = PLAIN) -> Part:
    """A convex outline of (x, z) points, swept along y."""
    outline = np.array(profile, dtype=np.float64)
    rings = [np.stack([outline[:, 0], np.full(len(outline), side), outline[:, 1]], axis=1) for side in y]
    return loft(rings[0], rings[1], colour, tint)


def ball(centre: Sequence[float], radius: Sequence[float], colour: Colour, tint: float = PLAIN,
         pattern: float = SMOOTH, sides: int = 6) -> tuple[Part, ...]:
    """A rounded body of four stacked rings around ``centre`` with the three radii."""
    centre, radius = np.asarray(centre, dtype=np.float64), np.asarray(radius, dtype=np.float64)
    angle = 2.0 * np.pi * np.arange(sides) / sides
    levels = ((-1.0, 0.45), (-0.45, 0.95), (0.45, 0.95), (1.0, 0.45))
    rings = [centre + radius * np.stack([w * np.cos(angle), w * np.sin(angle), np.full(sides, h)], axis=1)
             for h, w in levels]
    return tuple(loft(low, high, colour, tint, pattern) for low, high in zip(rings, rings[1:], strict=False))


def mesh(name: str, parts: Sequence[Part]) -> Mesh:
    """Join parts and normalise them to the unit cube."""
    points = np.concatenate([part.triangles.reshape(-1, 3) for part in parts])
    low, high = points.min(axis=0), points.max(axis=0)
    size, centre = high - low, (high + low) / 2.0
    rows, hulls = [], []
    for part in parts:
        corners = part.triangles
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        # A normal transforms with the inverse scale: stored for the unit cube, as the positions are.
        normals = normals * size
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
        unit = (corners - centre) / size
        count = len(unit) * 3
        rows.append(np.concatenate([
            unit.reshape(-1, 3), np.repeat(normals, 3, axis=0), np.tile(part.colour, (count, 1)),
            np.full((count, 1), part.tint), np.full((count, 1), part.pattern),
        ], axis=1))
        hulls.append(np.unique(unit.reshape(-1, 3).round(6), axis=0))
    return Mesh(name, np.concatenate(rows).astype(np.float32), tuple(hulls), size)
