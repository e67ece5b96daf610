"""Every body of the world in one list, with its class, its sizes and its colours.

Sizes vary by a few percent around the modelled ones, which are near nuScenes' means.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from sparse4d_ros.boxes import NUSCENES_CLASSES
from sparse4d_ros.data.drive_cache import NO_OBJECT
from sparse4d_ros.simulation import scenery, street_users, vehicles
from sparse4d_ros.simulation.shapes import Mesh

# (hue range, saturation range, value range) families a body's colour is drawn from.
_PAINT = ((0.0, 1.0, 0.0, 0.10, 0.75, 1.0), (0.0, 1.0, 0.0, 0.12, 0.25, 0.6), (0.97, 1.03, 0.7, 0.95, 0.5, 0.8),
          (0.55, 0.66, 0.5, 0.9, 0.4, 0.8), (0.25, 0.40, 0.3, 0.6, 0.3, 0.5), (0.05, 0.12, 0.3, 0.6, 0.4, 0.7))
_BUS = ((0.55, 0.65, 0.6, 0.9, 0.5, 0.9), (0.98, 1.02, 0.7, 0.9, 0.6, 0.9), (0.3, 0.42, 0.5, 0.8, 0.5, 0.7),
        (0.11, 0.15, 0.7, 0.9, 0.85, 1.0))
_TRAILER = ((0.0, 1.0, 0.0, 0.08, 0.8, 1.0), (0.55, 0.62, 0.4, 0.8, 0.4, 0.7), (0.0, 0.04, 0.5, 0.8, 0.5, 0.7))
_PLANT = ((0.10, 0.14, 0.85, 1.0, 0.85, 1.0), (0.07, 0.09, 0.85, 1.0, 0.85, 0.95))
_CLOTHES = ((0.0, 1.0, 0.3, 0.9, 0.25, 0.9), (0.0, 1.0, 0.0, 0.2, 0.15, 0.9))
_AS_MODELLED = ((0.0, 1.0, 0.0, 0.0, 0.9, 1.0),)


@dataclass(frozen=True)
class Body:
    """A mesh with its place in the list (``index``), its class and how its colours are drawn."""

    index: int
    mesh: Mesh
    #: Index in NUSCENES_CLASSES, or NO_OBJECT.
    class_index: int
    palette: tuple[tuple[float, ...], ...]
    #: Relative standard deviation of length, width and height.
    size_spread: tuple[float, float, float]

    def draw_size(self, rng: np.random.Generator) -> np.ndarray:
        """Length, width, height of one instance, metres."""
        return self.mesh.size * (1.0 + np.clip(rng.normal(0.0, self.size_spread), -0.12, 0.12))

    def draw_colour(self, rng: np.random.Generator) -> np.ndarray:
        """Colour ``[3]`` of one instance, RGB in 0..1."""
        h0, h1, s0, s1, v0, v1 = self.palette[rng.integers(len(self.palette))]
        return np.array(colorsys.hsv_to_rgb(rng.uniform(h0, h1) % 1.0, rng.uniform(s0, s1), rng.uniform(v0, v1)))


@lru_cache(maxsize=1)
def bodies() -> tuple[Body, ...]:
    """All bodies; a body's index is its place here."""
    vehicle, person, rigid = (0.05, 0.02, 0.04), (0.03, 0.06, 0.05), (0.02, 0.03, 0.05)
    groups = (
        ("car", vehicles.cars(), _PAINT, vehicle), ("truck", vehicles.trucks(), _PAINT, vehicle),
        ("bus", vehicles.buses(), _BUS, vehicle), ("trailer", vehicles.trailers(), _TRAILER, vehicle),
        ("construction_vehicle", vehicles.construction_vehicles(), _PLANT, vehicle),
        ("pedestrian", street_users.pedestrians(), _CLOTHES, person),
        ("bicycle", street_users.bicycles(), _PAINT, rigid),
        ("motorcycle", street_users.motorcycles(), _PAINT, rigid),
        ("traffic_cone", street_users.cones(), _AS_MODELLED, rigid),
        ("barrier", street_users.barriers(), _AS_MODELLED, rigid),
    )
    found: list[Body] = []
    for name, meshes, palette, spread in groups:
        found += [Body(len(found) + i, mesh, NUSCENES_CLASSES.index(name), palette, spread)
                  for i, mesh in enumerate(meshes)]
    found += [Body(len(found) + i, mesh, NO_OBJECT, _AS_MODELLED, (0.0, 0.0, 0.0))
              for i, mesh in enumerate(scenery.meshes())]
    return tuple(found)


@lru_cache(maxsize=1)
def by_name() -> dict[str, Body]:
    """Bodies by mesh name."""
    return {body.mesh.name: body for body in bodies()}
