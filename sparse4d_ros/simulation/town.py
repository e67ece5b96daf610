"""The street network of a town: junctions on a jittered grid, streets between them, lanes, crossings.

Traffic keeps to the right. Across a street, from its middle outwards on either side: lanes, a
cycle lane, a parking strip, the pavement. A whole line of the grid shares one cross-section, so
that lanes meet at junctions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

GRID = 6
_CLEARING_S = 1.5


@dataclass(frozen=True)
class Section:
    """Cross-section of a street, metres; ``lanes`` counts one direction."""

    lanes: int
    lane: float
    cycle: float
    parking: float
    pavement: float

    def lane_offset(self, index: int) -> float:
        """Distance of a lane's middle from the street's middle; lane 0 is the inner one."""
        return (index + 0.5) * self.lane

    @property
    def cycle_offset(self) -> float:
        """Distance of the cycle lane's middle from the street's middle."""
        return self.lanes * self.lane + self.cycle / 2.0

    @property
    def parking_offset(self) -> float:
        """Distance of the parking strip's middle from the street's middle."""
        return self.lanes * self.lane + self.cycle + self.parking / 2.0

    @property
    def half_road(self) -> float:
        """Half of the carriageway, kerb to middle."""
        return self.lanes * self.lane + self.cycle + self.parking

    @property
    def half_total(self) -> float:
        """Half of the street with its pavement."""
        return self.half_road + self.pavement


@dataclass(frozen=True)
class Street:
    """A straight street from one junction's edge to another's. Offsets are positive to the left."""

    index: int
    nodes: tuple[int, int]
    #: 0 along the grid's x, 1 along its y: the junction's signal phase.
    axis: int
    section: Section
    start: np.ndarray
    direction: np.ndarray
    length: float
    #: Distance from the start of the pedestrian crossing's middle; None without one.
    crossing: float | None

    @property
    def heading(self) -> float:
        """Direction from the first node to the second."""
        return float(np.arctan2(self.direction[1], self.direction[0]))

    def point(self, along: np.ndarray | float, offset: np.ndarray | float) -> np.ndarray:
        """World points ``[..., 2]``."""
        left = np.array([-self.direction[1], self.direction[0]])
        return (self.start + np.multiply.outer(along, self.direction) + np.multiply.outer(offset, left)
                if np.ndim(along) == np.ndim(offset) == 0
                else self.start + np.asarray(along)[..., None] * self.direction + np.asarray(offset)[..., None] * left)

    def directed(self, forward: bool, along: float, right_offset: float) -> np.ndarray:
        """World point ``[2]`` for traffic in one direction: ``along`` its travel, ``right_offset`` to its right."""
        return self.point(along, -right_offset) if forward else self.point(self.length - along, right_offset)


@dataclass(frozen=True)
class Junction:
    """Where streets meet; ``period_s`` and ``phase_s`` time its two signal phases."""

    centre: np.ndarray
    radius: float
    period_s: float
    phase_s: float

    def is_red(self, axis: int, time_s: float) -> bool:
        """Whether traffic on that axis must wait; both wait for a moment at each change."""
        moment = (time_s + self.phase_s + axis * self.period_s / 2.0) % self.period_s
        return moment > self.period_s / 2.0 - _CLEARING_S


@dataclass(frozen=True)
class Town:
    """Junctions, streets, and at each junction the streets that leave it as (street index, forward)."""

    junctions: tuple[Junction, ...]
    streets: tuple[Street, ...]
    exits: tuple[tuple[tuple[int, bool], ...], ...]


def build_town(rng: np.random.Generator) -> Town:
    """A town of ``GRID`` x ``GRID`` junctions about 75 m apart."""
    sections = [[_draw_section(rng) for _ in range(GRID)] for _ in range(2)]
    lines = [np.cumsum(rng.uniform(66.0, 92.0, GRID)) for _ in range(2)]
    centres = np.stack(np.meshgrid(lines[0], lines[1], indexing="ij"), axis=-1)
    centres = centres - centres.mean(axis=(0, 1)) + rng.uniform(-5.0, 5.0, centres.shape)
    turn = rng.uniform(0.0, 2.0 * np.pi)
    centres = centres @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    node = np.arange(GRID * GRID).reshape(GRID, GRID)
    junctions = tuple(
        Junction(centres[i, j], max(sections[0][j].half_road, sections[1][i].half_road) + 3.5,
                 rng.uniform(10.0, 14.0), rng.uniform(0.0, 14.0))
        for i in range(GRID) for j in range(GRID))
    pairs = [(node[i, j], node[i + 1, j], 0, sections[0][j]) for i in range(GRID - 1) for j in range(GRID)]
    pairs += [(node[i, j], node[i, j + 1], 1, sections[1][i]) for i in range(GRID) for j in range(GRID - 1)]
    streets: list[Street] = []
    exits: list[list[tuple[int, bool]]] = [[] for _ in junctions]
    for first, second, axis, section in pairs:
        a, b = junctions[first], junctions[second]
        span = b.centre - a.centre
        direction = span / np.linalg.norm(span)
        length = float(np.linalg.norm(span)) - a.radius - b.radius
        crossing = float(rng.uniform(0.25, 0.75) * length) if rng.random() < 0.5 else None
        exits[first].append((len(streets), True))
        exits[second].append((len(streets), False))
        streets.append(Street(len(streets), (int(first), int(second)), axis, section,
                              a.centre + a.radius * direction, direction, length, crossing))
    return Town(junctions, tuple(streets), tuple(tuple(e) for e in exits))


def _draw_section(rng: np.random.Generator) -> Section:
    return Section(
        lanes=int(rng.choice([1, 1, 2])), lane=rng.uniform(3.3, 3.7), cycle=rng.uniform(1.4, 1.8),
        parking=rng.uniform(2.9, 3.2), pavement=rng.uniform(2.8, 4.2))
