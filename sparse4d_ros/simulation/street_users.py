"""Bodies of pedestrians, bicycles and motorcycles (with and without riders), cones and barriers."""

from __future__ import annotations

import numpy as np

from sparse4d_ros.simulation.shapes import (
    GLOW,
    PRIMARY,
    SECONDARY,
    Colour,
    Mesh,
    Part,
    ball,
    block,
    extrude,
    mesh,
    tube,
)

SKIN = (0.80, 0.60, 0.48)
HAIR = (0.16, 0.11, 0.08)
CLOTH = (0.95, 0.95, 0.95)
RUBBER = (0.06, 0.06, 0.07)
METAL = (0.45, 0.46, 0.48)
ORANGE = (0.98, 0.36, 0.06)
RED = (0.82, 0.08, 0.08)
WHITE = (0.95, 0.95, 0.93)
CONCRETE = (0.66, 0.65, 0.62)


def _pedestrian(name: str, stride: float, bag: bool = False) -> Mesh:
    """A walker of 1.75 m; ``stride`` in metres between the feet, swinging legs and arms."""
    half = stride / 2.0
    parts: list[Part] = [
        tube((half, 0.10, 0.0), (0.0, 0.09, 0.85), 0.075, CLOTH, SECONDARY, end_radius=0.11),
        tube((-half, -0.10, 0.0), (0.0, -0.09, 0.85), 0.075, CLOTH, SECONDARY, end_radius=0.11),
        block((-0.12, 0.12), (-0.19, 0.19), (0.80, 1.45), CLOTH, PRIMARY, top_y=(-0.24, 0.24)),
        tube((-0.8 * half, 0.28, 0.80), (0.0, 0.25, 1.42), 0.05, CLOTH, PRIMARY, end_radius=0.07),
        tube((0.8 * half, -0.28, 0.80), (0.0, -0.25, 1.42), 0.05, CLOTH, PRIMARY, end_radius=0.07),
        *ball((0.02, 0.0, 1.60), (0.11, 0.10, 0.14), SKIN),
        block((-0.11, 0.02), (-0.10, 0.10), (1.58, 1.76), HAIR, top_x=(-0.09, 0.06)),
    ]
    if bag:
        parts.append(block((-0.34, -0.12), (-0.17, 0.17), (0.95, 1.42), (0.55, 0.55, 0.58), SECONDARY))
    return mesh(name, parts)


def pedestrians() -> list[Mesh]:
    """Standing, two phases of a step, and both again with a rucksack. Index 0 stands."""
    return [_pedestrian("standing", 0.36), _pedestrian("stepping", 0.66), _pedestrian("passing", 0.26),
            _pedestrian("stepping_bag", 0.62, True), _pedestrian("passing_bag", 0.24, True)]


def _ring(x: float, radius: float, thickness: float, sides: int = 9) -> list[Part]:
    """A wheel one can look through, standing in the xz plane."""
    angle = 2.0 * np.pi * np.arange(sides + 1) / sides
    points = np.stack([x + (radius - thickness) * np.cos(angle), np.zeros(sides + 1),
                       radius + (radius - thickness) * np.sin(angle)], axis=1)
    return [tube(a, b, thickness, RUBBER) for a, b in zip(points, points[1:], strict=False)]


def _rider(seat: tuple[float, float], hands: tuple[float, float], feet: tuple[float, float], lean: float,
           helmet: tuple[float, float, float]) -> list[Part]:
    """A person on two wheels; positions are (x, z)."""
    shoulder = (seat[0] + lean, seat[1] + 0.55)
    parts: list[Part] = [
        tube((seat[0], 0.0, seat[1]), (shoulder[0], 0.0, shoulder[1]), 0.17, CLOTH, PRIMARY, end_radius=0.22, sides=6),
        *ball((shoulder[0] + 0.08, 0.0, shoulder[1] + 0.20), (0.13, 0.11, 0.15), helmet),
    ]
    for side in (-1.0, 1.0):
        knee = (0.5 * (seat[0] + feet[0]) + 0.18, 0.5 * (seat[1] + feet[1]) + 0.08)
        parts += [
            tube((seat[0], 0.09 * side, seat[1]), (knee[0], 0.14 * side, knee[1]), 0.09, CLOTH, SECONDARY),
            tube((knee[0], 0.14 * side, knee[1]), (feet[0], 0.11 * side, feet[1]), 0.07, CLOTH, SECONDARY),
            tube((shoulder[0], 0.21 * side, shoulder[1] - 0.05), (hands[0], 0.25 * side, hands[1]), 0.055, CLOTH,
                 PRIMARY),
        ]
    return parts


def _bicycle() -> list[Part]:
    frame = [((-0.52, 0.34), (-0.05, 0.30)), ((-0.05, 0.30), (-0.20, 0.88)), ((-0.16, 0.80), (0.40, 0.84)),
             ((-0.05, 0.30), (0.42, 0.80)), ((0.54, 0.34), (0.38, 1.00)), ((-0.52, 0.34), (-0.18, 0.80))]
    return [
        *_ring(-0.52, 0.35, 0.028), *_ring(0.54, 0.35, 0.028),
        *[tube((a[0], 0, a[1]), (b[0], 0, b[1]), 0.030, CLOTH, PRIMARY) for a, b in frame],
        tube((0.38, -0.28, 1.02), (0.38, 0.28, 1.02), 0.025, RUBBER),
        block((-0.32, -0.08), (-0.08, 0.08), (0.86, 0.93), RUBBER),
    ]


def bicycles() -> list[Mesh]:
    """Parked, ridden."""
    helmet = (0.85, 0.85, 0.85)
    return [mesh("bicycle", _bicycle()),
            mesh("cyclist", [*_bicycle(), *_rider((-0.18, 0.93), (0.36, 1.04), (0.0, 0.22), 0.30, helmet)])]


def _motorcycle() -> list[Part]:
    return [
        *[tube((x, -0.08, 0.31), (x, 0.08, 0.31), 0.31, RUBBER, sides=10) for x in (-0.70, 0.72)],
        block((-0.45, 0.40), (-0.20, 0.20), (0.25, 0.62), METAL),
        extrude([(-0.10, 0.62), (0.45, 0.62), (0.38, 0.92), (0.0, 0.88)], (-0.20, 0.20), CLOTH, PRIMARY),
        extrude([(-0.95, 0.72), (-0.10, 0.66), (-0.08, 0.82), (-0.90, 0.90)], (-0.16, 0.16), (0.12, 0.12, 0.13)),
        block((-0.98, -0.80), (-0.14, 0.14), (0.55, 0.80), CLOTH, PRIMARY),
        tube((0.72, 0.0, 0.31), (0.45, 0.0, 1.05), 0.07, METAL),
        tube((0.40, -0.36, 1.05), (0.40, 0.36, 1.05), 0.035, RUBBER),
        block((0.48, 0.62), (-0.15, 0.15), (0.82, 1.08), CLOTH, PRIMARY),
        block((0.60, 0.66), (-0.09, 0.09), (0.86, 1.00), (1.0, 0.97, 0.80), pattern=GLOW),
        block((-1.01, -0.96), (-0.10, 0.10), (0.64, 0.76), (0.85, 0.05, 0.05), pattern=GLOW),
    ]


def motorcycles() -> list[Mesh]:
    """Parked, ridden."""
    helmet = (0.12, 0.12, 0.14)
    return [mesh("motorcycle", _motorcycle()),
            mesh("motorcyclist", [*_motorcycle(), *_rider((-0.30, 0.86), (0.40, 1.06), (-0.05, 0.30), 0.28, helmet)])]


def cones() -> list[Mesh]:
    """A cone with one collar, a tall one with two, a drum."""
    def stack(levels: list[tuple[float, float]], colours: list[Colour]) -> list[Part]:
        return [tube((0, 0, low[0]), (0, 0, high[0]), low[1], colour, end_radius=high[1], sides=8)
                for low, high, colour in zip(levels, levels[1:], colours, strict=False)]
    foot = block((-0.20, 0.20), (-0.20, 0.20), (0.0, 0.05), (0.14, 0.13, 0.13))
    one_collar, two_collars = [ORANGE, WHITE, ORANGE], [ORANGE, WHITE, ORANGE, WHITE, ORANGE]
    return [
        mesh("cone", [foot, *stack([(0.05, 0.15), (0.32, 0.105), (0.52, 0.07), (0.75, 0.03)], one_collar)]),
        mesh("tall_cone", [foot, *stack(
            [(0.05, 0.15), (0.35, 0.12), (0.52, 0.10), (0.68, 0.08), (0.84, 0.06), (1.05, 0.03)], two_collars)]),
        mesh("drum", stack(
            [(0.0, 0.24), (0.28, 0.22), (0.48, 0.21), (0.68, 0.20), (0.88, 0.19), (1.0, 0.18)], two_collars)),
    ]


def barriers() -> list[Mesh]:
    """Concrete wall element, red and white plastic element, striped board on feet. They stand across x."""
    jersey = mesh("jersey", [
        block((-0.28, 0.28), (-1.25, 1.25), (0.0, 0.30), CONCRETE, top_x=(-0.16, 0.16)),
        block((-0.16, 0.16), (-1.25, 1.25), (0.30, 0.92), CONCRETE, top_x=(-0.09, 0.09)),
    ])
    edges = np.linspace(-1.25, 1.25, 6)
    plastic = mesh("plastic", [
        block((-0.24, 0.24), (a, b), (0.0, 1.0), RED if i % 2 == 0 else WHITE, top_x=(-0.12, 0.12))
        for i, (a, b) in enumerate(zip(edges, edges[1:], strict=False))
    ])
    stripes = np.linspace(-1.25, 1.25, 9)
    board = mesh("board", [
        *[block((-0.03, 0.03), (a, b), (0.55, 1.0), RED if i % 2 == 0 else WHITE)
          for i, (a, b) in enumerate(zip(stripes, stripes[1:], strict=False))],
        *[block((-0.03, 0.03), (y - 0.04, y + 0.04), (0.05, 0.55), METAL) for y in (-1.0, 1.0)],
        *[block((-0.25, 0.25), (y - 0.10, y + 0.10), (0.0, 0.08), (0.2, 0.2, 0.2)) for y in (-1.0, 1.0)],
        block((-0.02, 0.02), (-1.2, 1.2), (0.22, 0.34), WHITE),
    ])
    return [jersey, plastic, board]
