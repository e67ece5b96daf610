"""Other bodies for a class: a model file (glTF, OBJ and what else trimesh reads) fitted to the unit cube.

The file is taken as glTF defines it: y up, facing +z, so x is its left; OBJ files, which say nothing of
axes, likewise. The model's bounding box is then stretched along each axis to the box of every object it
stands for, so that boxes stay tight whatever the file's units are.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sparse4d_ros.boxes import NUSCENES_CLASSES
from sparse4d_ros.errors import UserError
from sparse4d_ros.simulation.catalogue import Body
from sparse4d_ros.simulation.shapes import PLAIN, PRIMARY, SMOOTH, Mesh

if TYPE_CHECKING:
    import trimesh

MOST_TRIANGLES = 100_000
#: Rows of the model's axes (x left, y up, z forward) in the order of the vehicle's (x forward, y left, z up).
_FORWARD_LEFT_UP = [2, 0, 1]
_SLICES = 16


def with_models(catalogue: tuple[Body, ...], models: dict[str, Path]) -> tuple[Body, ...]:
    """The catalogue with a file's mesh in place of every body of a class; ``UserError`` for an unknown class."""
    for name in models:
        if name not in NUSCENES_CLASSES:
            raise UserError(f"there is no class {name!r} for a mesh; the classes are {', '.join(NUSCENES_CLASSES)}")
    meshes = {NUSCENES_CLASSES.index(name): load_model(path) for name, path in models.items()}
    return tuple(replace(body, mesh=replace(meshes[body.class_index], name=body.mesh.name, size=body.mesh.size))
                 if body.class_index in meshes else body for body in catalogue)


def load_model(path: str | Path) -> Mesh:
    """A model file as a mesh in the unit cube, x forward.

    Its own colours are kept; a model without any takes the colour of each instance. Raises ``UserError`` if trimesh
    is not installed, or the file cannot be read, is flat or has too many triangles.
    """
    try:
        import trimesh
    except ModuleNotFoundError as error:
        raise UserError("--mesh needs the Python package trimesh, which is not installed: "
                        "pip install trimesh") from error
    path = Path(path)
    if not path.is_file():
        raise UserError(f"the mesh {path} does not exist")
    try:
        pieces = [piece for piece in trimesh.load_scene(path).dump() if isinstance(piece, trimesh.Trimesh)]
        corners = np.concatenate([np.zeros((0, 3, 3)), *(piece.vertices[piece.faces] for piece in pieces)])
        colours = np.concatenate([np.zeros((0, 3)), *(_colours(piece) for piece in pieces)])
    except Exception as error:  # its readers raise whatever they meet
        raise UserError(f"the mesh {path} cannot be read: {error}") from error
    if not len(corners) or np.ptp(corners.reshape(-1, 3), axis=0).min() <= 0.0:
        raise UserError(f"the mesh {path} has no triangles or is flat: it cannot fill a box")
    if len(corners) > MOST_TRIANGLES:
        raise UserError(f"the mesh {path} has {len(corners)} triangles, more than {MOST_TRIANGLES}: simplify it")
    corners = corners[..., _FORWARD_LEFT_UP]
    low, high = corners.min(axis=(0, 1)), corners.max(axis=(0, 1))
    corners = (corners - (low + high) / 2.0) / (high - low)
    tints = np.where(np.isnan(colours[:, :1]), PRIMARY, PLAIN)
    colours = np.concatenate([np.nan_to_num(colours, nan=1.0), tints, np.full_like(tints, SMOOTH)], axis=1)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    length = np.linalg.norm(normals, axis=1)
    keep = length > 1e-12
    corners, colours, normals = corners[keep], colours[keep], (normals / np.maximum(length, 1e-12)[:, None])[keep]
    # Both sides: models have open surfaces, and their faces do not always turn the same way.
    corners = np.concatenate([corners, corners[:, ::-1]])
    normals, colours = np.concatenate([normals, -normals]), np.concatenate([colours, colours])
    rows = np.concatenate(
        [corners.reshape(-1, 3), np.repeat(normals, 3, axis=0), np.repeat(colours, 3, axis=0)], axis=1)
    return Mesh(path.stem, rows.astype(np.float32), _slices(corners[:len(corners) // 2]), high - low)


def _colours(piece: trimesh.Trimesh) -> np.ndarray:
    """Colour of each face ``[t, 3]`` in 0..1; NaN where the file gives none."""
    visual = piece.visual
    if visual.kind == "texture" and (visual.uv is None or _picture(visual.material) is None):
        return np.tile(np.asarray(visual.material.main_color)[:3] / 255.0, (len(piece.faces), 1))
    if visual.kind == "texture":
        visual = visual.to_color()
    if visual.kind is None:
        return np.full((len(piece.faces), 3), np.nan)
    colours = visual.face_colors if visual.kind == "face" else visual.vertex_colors[piece.faces].mean(axis=1)
    return np.asarray(colours)[:, :3] / 255.0


def _picture(material: trimesh.visual.material.Material) -> object:
    """A material's texture, if it has one."""
    return getattr(material, "baseColorTexture", None) or getattr(material, "image", None)


def _slices(corners: np.ndarray) -> tuple[np.ndarray, ...]:
    """Points of the model cut across its length; the hulls of the slices together are its silhouette, nearly."""
    edges = np.linspace(-0.5, 0.5, _SLICES + 1)
    starts, ends = corners.reshape(-1, 3), np.roll(corners, -1, axis=1).reshape(-1, 3)
    parts = []
    for low, high in zip(edges, edges[1:], strict=False):
        inside = starts[(starts[:, 0] >= low) & (starts[:, 0] <= high)]
        cuts = [inside]
        for edge in (low, high):
            across = (starts[:, 0] - edge) * (ends[:, 0] - edge) < 0.0
            a, b = starts[across], ends[across]
            cuts.append(a + (b - a) * ((edge - a[:, 0]) / (b[:, 0] - a[:, 0]))[:, None])
        points = np.unique(np.concatenate(cuts).round(4), axis=0)
        if len(points) >= 3:
            parts.append(points)
    return tuple(parts)
