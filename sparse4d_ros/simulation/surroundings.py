"""Buildings, trees, lamp posts and fences along the streets of a town."""

from __future__ import annotations

import colorsys

import numpy as np

from sparse4d_ros.simulation.actors import Placement
from sparse4d_ros.simulation.catalogue import by_name
from sparse4d_ros.simulation.town import Street, Town


def _clearance(points: np.ndarray, town: Town) -> float:
    """Smallest distance of points ``[n, 2]`` from the edge of any street or junction, negative inside."""
    starts = np.array([street.start for street in town.streets])
    directions = np.array([street.direction for street in town.streets])
    lengths = np.array([street.length for street in town.streets])
    halves = np.array([street.section.half_total for street in town.streets])
    relative = points[:, None] - starts
    along = np.clip(np.einsum("nsk,sk->ns", relative, directions), 0.0, lengths)
    from_street = np.linalg.norm(relative - along[..., None] * directions, axis=2) - halves
    centres = np.array([junction.centre for junction in town.junctions])
    radii = np.array([junction.radius for junction in town.junctions])
    from_junction = np.linalg.norm(points[:, None] - centres, axis=2) - radii - 3.0
    return float(min(from_street.min(), from_junction.min()))


def _footprint(centre: np.ndarray, yaw: float, size: np.ndarray) -> np.ndarray:
    grid = np.stack(np.meshgrid([-0.5, 0.0, 0.5], [-0.5, 0.0, 0.5]), axis=-1).reshape(-1, 2) * size[:2]
    cos, sin = np.cos(yaw), np.sin(yaw)
    return centre + grid @ np.array([[cos, sin], [-sin, cos]])


def _facade_colour(rng: np.random.Generator) -> np.ndarray:
    return np.array(colorsys.hsv_to_rgb(rng.uniform(0.02, 0.16) if rng.random() < 0.75 else rng.uniform(0.5, 0.65),
                                        rng.uniform(0.05, 0.45), rng.uniform(0.45, 0.95)))


def _leaf_colour(rng: np.random.Generator) -> np.ndarray:
    return np.array(colorsys.hsv_to_rgb(rng.uniform(0.17, 0.36), rng.uniform(0.35, 0.7), rng.uniform(0.25, 0.5)))


def _build_side(street: Street, side: float, town: Town, placement: Placement, taken: list[tuple[float, float, float]],
                rng: np.random.Generator) -> None:
    along, line = -6.0, street.section.half_total
    while along < street.length + 6.0:
        width = rng.uniform(9.0, 24.0)
        depth = rng.uniform(8.0, 13.0)
        if rng.random() < 0.18:  # an open plot: a fence or nothing
            if rng.random() < 0.6 and 0.0 < along < street.length - 8.0:
                for k in range(int(width // 8.0)):
                    placement.add(by_name()["fence"], street.point(along + 4.0 + 8.0 * k, side * (line + 0.4)),
                                  street.heading, rng, colour=_facade_colour(rng))
            for _ in range(rng.integers(0, 3)):
                spot = street.point(along + rng.uniform(0.0, width), side * (line + rng.uniform(3.0, 9.0)))
                if _clearance(spot[None], town) > 2.0:
                    _plant(placement, spot, rng)
            along += width
            continue
        house = rng.random() < 0.35
        height = rng.uniform(6.0, 9.0) if house else rng.uniform(7.0, 22.0)
        size = np.array([width, depth, height])
        centre = street.point(along + width / 2.0, side * (line + rng.uniform(0.3, 4.0) + depth / 2.0))
        reach = float(np.hypot(width, depth)) / 2.0
        others = np.array(taken).reshape(-1, 3)
        free = np.hypot(others[:, 0] - centre[0], others[:, 1] - centre[1]) > 0.8 * (reach + others[:, 2])
        if free.all() and _clearance(_footprint(centre, street.heading, size), town) > 0.2:
            placement.add(by_name()["house" if house else "building"], centre, street.heading, rng, size=size,
                          colour=_facade_colour(rng))
            taken.append((centre[0], centre[1], reach))
            along += width + rng.choice([0.2, rng.uniform(2.0, 8.0)])
        else:
            along += 5.0


def _plant(placement: Placement, position: np.ndarray, rng: np.random.Generator) -> None:
    body = by_name()["tree" if rng.random() < 0.75 else "conifer"]
    placement.add(body, position, rng.uniform(-np.pi, np.pi), rng,
                  size=body.mesh.size * rng.uniform(0.75, 1.25) * np.array([0.85, 0.85, 1.0]), colour=_leaf_colour(rng))


def furnish(town: Town, rng: np.random.Generator) -> Placement:
    """Surroundings of all streets."""
    placement, taken = Placement(), []
    for street in town.streets:
        edge = street.section.half_road + 0.45
        for side in (-1.0, 1.0):
            _build_side(street, side, town, placement, taken, rng)
            trees = rng.random() < 0.6
            for along in np.arange(rng.uniform(4.0, 10.0), street.length - 3.0, rng.uniform(9.0, 16.0)):
                if street.crossing is not None and abs(along - street.crossing) < 4.0:
                    continue
                if trees and rng.random() < 0.7:
                    _plant(placement, street.point(along, side * edge), rng)
                elif rng.random() < 0.5:
                    placement.add(by_name()["lamp_post"], street.point(along, side * edge),
                                  street.heading - side * np.pi / 2.0, rng, colour=np.ones(3))
            if rng.random() < 0.3:
                placement.add(by_name()["kiosk"], street.point(rng.uniform(0.2, 0.8) * street.length,
                                                               side * (street.section.half_total - 0.9)),
                              street.heading + (np.pi if side > 0 else 0.0), rng, colour=_facade_colour(rng))
    return placement
