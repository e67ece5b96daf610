"""Bodies of cars, trucks, buses, trailers and construction vehicles, x forward, wheels on z = 0.

Metres as modelled; instances are scaled to sizes of their own. Pale lamps in front and red ones
behind tell the heading.
"""

from __future__ import annotations

from sparse4d_ros.simulation.shapes import GLOW, PRIMARY, SECONDARY, Mesh, Part, block, extrude, mesh, tube

GLASS = (0.10, 0.13, 0.17)
RUBBER = (0.06, 0.06, 0.07)
METAL = (0.35, 0.36, 0.38)
DARK = (0.15, 0.15, 0.16)
LAMP = (1.0, 0.97, 0.80)
TAIL = (0.85, 0.05, 0.05)
WHITE = (1.0, 1.0, 1.0)
SHADE = (0.78, 0.78, 0.78)


def _wheels(axles: tuple[float, ...], half_width: float, radius: float, thickness: float = 0.24) -> list[Part]:
    return [tube((x, side * half_width, radius), (x, side * (half_width - thickness), radius), radius, RUBBER, sides=8)
            for x in axles for side in (-1.0, 1.0)]


def _lamps(front: float, rear: float, half_width: float, z_front: float, z_rear: float,
           size: float = 0.28) -> list[Part]:
    parts = []
    for side in (-1.0, 1.0):
        outer, inner = side * half_width, side * (half_width - 1.6 * size)
        y = (min(outer, inner), max(outer, inner))
        parts.append(block((front - 0.05, front + 0.03), y, (z_front, z_front + 0.6 * size), LAMP, pattern=GLOW))
        parts.append(block((rear - 0.03, rear + 0.05), y, (z_rear, z_rear + size), TAIL, pattern=GLOW))
    return parts


def _car(name: str, length: float, height: float, belt: float, cabin: tuple[float, float],
         roof: tuple[float, float]) -> Mesh:
    """A car body: lower shell to the belt line, glass cabin narrowing to a roof."""
    half, half_width = length / 2.0, 0.92
    return mesh(name, [
        block((-half, half), (-half_width, half_width), (0.28, 0.62), SHADE, PRIMARY),
        block((-half, half), (-half_width, half_width), (0.62, belt), WHITE, PRIMARY,
              top_x=(-half + 0.12, half - 0.35), top_y=(-half_width + 0.06, half_width - 0.06)),
        block(cabin, (-0.84, 0.84), (belt, height - 0.06), GLASS, top_x=roof, top_y=(-0.68, 0.68)),
        block((roof[0] - 0.05, roof[1] + 0.05), (-0.71, 0.71), (height - 0.08, height), WHITE, PRIMARY),
        # The middle pillar, which gives the side view its two windows.
        block((-0.12, 0.02), (-0.86, 0.86), (belt - 0.02, height - 0.05), WHITE, PRIMARY, top_y=(-0.71, 0.71)),
        *_wheels((0.30 * length, -0.29 * length), 0.93, 0.34),
        *_lamps(half, -half, 0.88, 0.58, 0.62),
    ])


def cars() -> list[Mesh]:
    """Sedan, hatchback, sport utility, van."""
    return [
        _car("sedan", 4.75, 1.45, 0.92, (-1.75, 1.05), (-1.05, 0.30)),
        _car("hatchback", 4.05, 1.50, 0.94, (-1.95, 0.95), (-1.60, 0.25)),
        _car("utility", 4.65, 1.75, 1.06, (-2.20, 1.00), (-1.95, 0.45)),
        _car("van", 4.90, 1.95, 1.10, (-2.38, 1.75), (-2.25, 0.95)),
    ]


def _cab(front: float, rear: float, half_width: float, floor: float, top: float) -> list[Part]:
    belt = floor + 0.52 * (top - floor)
    return [
        block((rear, front), (-half_width, half_width), (floor, belt), WHITE, PRIMARY),
        block((rear, front), (-half_width, half_width), (belt, top), WHITE, PRIMARY,
              top_x=(rear, front - 0.35), top_y=(-half_width + 0.08, half_width - 0.08)),
        # Windscreen and side windows stand a little proud of the shell.
        block((front - 0.32, front + 0.02), (-half_width + 0.12, half_width - 0.12), (belt, top - 0.22), GLASS,
              top_x=(front - 0.60, front - 0.24)),
        block((front - 1.15, front - 0.45), (-half_width - 0.01, half_width + 0.01), (belt, top - 0.28), GLASS,
              top_x=(front - 1.15, front - 0.65), top_y=(-half_width + 0.05, half_width - 0.05)),
        block((front - 0.02, front + 0.03), (-0.7 * half_width, 0.7 * half_width), (floor + 0.25, floor + 0.55), DARK),
    ]


def trucks() -> list[Mesh]:
    """Pick-up, box truck, tractor unit, tipper."""
    pickup = mesh("pickup", [
        block((-2.75, 2.75), (-0.98, 0.98), (0.42, 1.10), WHITE, PRIMARY, top_x=(-2.75, 2.55)),
        block((-0.75, 1.35), (-0.90, 0.90), (1.10, 1.82), GLASS, top_x=(-0.60, 0.65), top_y=(-0.74, 0.74)),
        block((-0.65, 0.70), (-0.78, 0.78), (1.80, 1.90), WHITE, PRIMARY),
        block((-2.62, -0.85), (-0.84, 0.84), (1.09, 1.12), DARK),
        block((-2.75, -0.80), (0.84, 0.98), (1.08, 1.28), WHITE, PRIMARY),
        block((-2.75, -0.80), (-0.98, -0.84), (1.08, 1.28), WHITE, PRIMARY),
        block((-2.75, -2.62), (-0.98, 0.98), (1.08, 1.28), WHITE, PRIMARY),
        *_wheels((1.75, -1.65), 1.00, 0.40), *_lamps(2.75, -2.75, 0.95, 0.78, 0.80),
    ])
    box_truck = mesh("box_truck", [
        *_cab(3.75, 1.95, 1.15, 0.55, 2.55),
        block((-3.75, 1.75), (-1.25, 1.25), (1.00, 3.30), (0.92, 0.92, 0.90), SECONDARY),
        block((-3.75, 1.75), (-1.27, 1.27), (1.55, 1.85), WHITE, PRIMARY),
        block((-3.70, 3.50), (-0.55, 0.55), (0.55, 1.00), DARK),
        *_wheels((2.80, -2.30), 1.22, 0.48, 0.40), *_lamps(3.75, -3.75, 1.10, 0.70, 0.85),
    ])
    tractor = mesh("tractor", [
        *_cab(3.00, 0.75, 1.22, 0.60, 3.30),
        block((0.75, 2.20), (-1.15, 1.15), (3.28, 3.65), SHADE, PRIMARY, top_x=(0.75, 1.10)),
        block((-3.00, 0.75), (-0.50, 0.50), (0.55, 1.05), DARK),
        block((-2.30, -0.80), (-0.70, 0.70), (1.05, 1.20), METAL),
        block((-0.10, 0.70), (-1.15, 1.15), (0.50, 1.00), METAL),
        *_wheels((2.05, -1.00, -2.30), 1.24, 0.50, 0.45), *_lamps(3.00, -3.00, 1.15, 0.75, 0.75),
    ])
    tipper = mesh("tipper", [
        *_cab(3.60, 1.90, 1.18, 0.60, 2.80),
        block((-3.40, 1.60), (-1.05, 1.05), (1.10, 2.60), WHITE, SECONDARY, top_x=(-3.60, 1.75), top_y=(-1.28, 1.28)),
        block((-3.50, 1.65), (-1.16, 1.16), (2.58, 2.66), (0.45, 0.36, 0.26)),
        block((-3.50, 3.30), (-0.55, 0.55), (0.55, 1.10), DARK),
        *_wheels((2.60, -1.40, -2.60), 1.22, 0.50, 0.42), *_lamps(3.60, -3.55, 1.10, 0.75, 0.80),
    ])
    return [pickup, box_truck, tractor, tipper]


def _bus(name: str, length: float, height: float, belt: float, doors: bool) -> Mesh:
    half, half_width, top = length / 2.0, 1.30, height - 0.45
    parts = [
        block((-half, half), (-half_width, half_width), (0.35, belt), WHITE, PRIMARY),
        block((-half, half), (-half_width, half_width), (belt, height), WHITE, PRIMARY,
              top_x=(-half + 0.05, half - 0.18), top_y=(-half_width + 0.08, half_width - 0.08)),
        block((-half + 0.5, half - 0.9), (-half_width - 0.01, half_width + 0.01), (belt, top), GLASS,
              top_y=(-half_width + 0.05, half_width - 0.05)),
        block((half - 0.2, half + 0.02), (-half_width + 0.12, half_width - 0.12), (belt - 0.25, top), GLASS,
              top_x=(half - 0.2, half - 0.08)),
        block((half - 0.3, half - 0.02), (-0.85, 0.85), (top + 0.06, height - 0.12), (0.95, 0.65, 0.15)),
        block((-half - 0.01, -half + 0.2), (-half_width + 0.25, half_width - 0.25), (belt + 0.2, top), GLASS),
        block((-half, half), (-half_width - 0.015, half_width + 0.015), (0.55, 0.75), WHITE, SECONDARY),
        block((-0.35 * length, 0.1 * length), (-0.75, 0.75), (height - 0.02, height + 0.16), SHADE),
        *_wheels((0.31 * length, -0.27 * length), 1.33, 0.50, 0.35),
        *_lamps(half, -half, 1.20, 0.62, 0.85, 0.34),
    ]
    if doors:
        parts += [block((x, x + 1.1), (-half_width - 0.02, -half_width + 0.1), (0.42, top), GLASS)
                  for x in (half - 1.5, -0.6)]
    return mesh(name, parts)


def buses() -> list[Mesh]:
    """City bus, coach, minibus."""
    return [_bus("city_bus", 11.8, 3.15, 1.35, True), _bus("coach", 12.4, 3.60, 1.75, False),
            _bus("minibus", 7.6, 2.85, 1.30, True)]


def _trailer_frame(half: float, axles: tuple[float, ...]) -> list[Part]:
    return [
        block((-half, half), (-0.50, 0.50), (0.75, 1.12), DARK),
        *_wheels(axles, 1.25, 0.50, 0.42),
        *[block((half - 2.6, half - 2.4), (y - 0.08, y + 0.08), (0.0, 0.9), METAL) for y in (-0.8, 0.8)],
        block((-half, -half + 0.1), (-1.2, 1.2), (0.45, 0.62), (0.9, 0.9, 0.88)),
        *[block((-half - 0.03, -half + 0.02), (min(a, b), max(a, b)), (0.68, 0.95), TAIL, pattern=GLOW)
          for a, b in ((0.75, 1.2), (-0.75, -1.2))],
    ]


def trailers() -> list[Mesh]:
    """Box trailer, container on a flat bed, tank trailer."""
    box = mesh("box_trailer", [
        *_trailer_frame(6.0, (-3.0, -4.2, -5.4)),
        block((-6.0, 6.0), (-1.27, 1.27), (1.12, 3.95), WHITE, PRIMARY),
        block((-6.01, 6.0), (-1.28, 1.28), (1.15, 1.32), (0.80, 0.15, 0.12)),
        block((-6.02, -5.95), (-0.04, 0.04), (1.15, 3.90), DARK),
    ])
    container = mesh("container_trailer", [
        *_trailer_frame(5.2, (-2.6, -3.8)),
        block((-5.2, 5.2), (-1.25, 1.25), (1.10, 1.30), DARK),
        block((-5.1, 4.6), (-1.20, 1.20), (1.30, 3.75), WHITE, PRIMARY),
        *[block((x - 0.07, x + 0.07), (-1.23, 1.23), (1.32, 3.72), SHADE, PRIMARY)
          for x in (-4, -2.4, -0.8, 0.8, 2.4, 4)],
    ])
    tank = mesh("tank_trailer", [
        *_trailer_frame(5.6, (-2.8, -4.0, -5.0)),
        tube((-5.5, 0, 2.20), (5.5, 0, 2.20), 1.25, (0.95, 0.95, 0.97), PRIMARY, sides=8),
        *[block((x - 0.35, x + 0.35), (-0.3, 0.3), (3.30, 3.60), METAL) for x in (-2.5, 2.0)],
        block((-3.0, 3.0), (-1.20, 1.20), (2.0, 2.4), WHITE, SECONDARY),
    ])
    return [box, container, tank]


def construction_vehicles() -> list[Mesh]:
    """Excavator, wheel loader, roller."""
    excavator = mesh("excavator", [
        *[block((-1.9, 1.9), (min(a, b), max(a, b)), (0.0, 0.85), RUBBER, top_x=(-1.6, 1.6))
          for a, b in ((0.85, 1.40), (-0.85, -1.40))],
        block((-0.8, 0.8), (-0.9, 0.9), (0.45, 1.0), DARK),
        block((-2.3, 1.2), (-1.30, 1.30), (1.0, 1.75), WHITE, PRIMARY),
        block((-2.4, -0.6), (-1.30, 1.30), (1.75, 2.25), WHITE, PRIMARY, top_x=(-2.2, -0.6)),
        block((-0.5, 1.2), (0.30, 1.28), (1.75, 2.95), GLASS, top_x=(-0.5, 0.85)),
        block((-0.55, 0.95), (0.26, 1.32), (2.93, 3.05), WHITE, PRIMARY),
        extrude([(0.8, 1.5), (1.2, 1.4), (3.5, 3.15), (3.2, 3.55)], (-0.55, -0.10), WHITE, PRIMARY),
        extrude([(3.1, 3.50), (3.6, 3.40), (4.5, 1.05), (4.2, 1.0)], (-0.50, -0.15), WHITE, PRIMARY),
        extrude([(4.1, 1.2), (4.7, 1.1), (4.5, 0.35), (3.7, 0.30)], (-0.95, 0.30), METAL),
    ])
    loader = mesh("wheel_loader", [
        *_wheels((1.35, -1.45), 1.30, 0.78, 0.60),
        block((-2.7, -0.3), (-1.0, 1.0), (0.75, 1.95), WHITE, PRIMARY, top_x=(-2.5, -0.3)),
        block((-0.5, 2.0), (-0.75, 0.75), (0.75, 1.45), WHITE, PRIMARY),
        block((-0.7, 0.7), (-0.85, 0.85), (1.75, 3.10), GLASS, top_x=(-0.6, 0.5), top_y=(-0.75, 0.75)),
        block((-0.8, 0.75), (-0.88, 0.88), (3.08, 3.22), WHITE, PRIMARY),
        extrude([(1.2, 1.3), (1.5, 1.7), (3.1, 0.95), (3.0, 0.6)], (-0.45, 0.45), SHADE, PRIMARY),
        extrude([(2.9, 0.10), (3.9, 0.10), (3.75, 0.45), (3.05, 1.20), (2.85, 1.10)], (-1.40, 1.40), METAL),
    ])
    roller = mesh("roller", [
        tube((1.7, -1.05, 0.75), (1.7, 1.05, 0.75), 0.75, METAL, sides=10),
        *_wheels((-1.4,), 1.05, 0.72, 0.55),
        block((-2.2, -0.1), (-0.95, 0.95), (0.85, 1.65), WHITE, PRIMARY, top_x=(-2.0, -0.1)),
        block((0.1, 2.3), (-1.12, 1.12), (0.95, 1.15), SHADE, PRIMARY),
        block((-0.9, 0.6), (-0.80, 0.80), (1.60, 2.75), GLASS, top_x=(-0.8, 0.45)),
        block((-1.0, 0.7), (-0.90, 0.90), (2.73, 2.90), WHITE, PRIMARY),
        block((-0.1, 0.8), (-0.4, 0.4), (0.6, 1.3), DARK),
    ])
    return [excavator, loader, roller]
