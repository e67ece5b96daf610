"""What stands along the kerbs: parked vehicles of all classes, bicycle racks, road works."""

from __future__ import annotations

import numpy as np

from sparse4d_ros.simulation.actors import Placement
from sparse4d_ros.simulation.catalogue import Body, by_name
from sparse4d_ros.simulation.town import Street, Town

# What comes next along a parking strip and how likely. Rare classes are more frequent than in a
# real town: each class counts alike in the metric and must be learnt from small data.
_NEXT = (
    ("gap", 0.25), ("car", 0.22), ("truck", 0.06), ("bus", 0.06), ("trailer", 0.07),
    ("construction", 0.04), ("motorcycle", 0.09), ("bicycle", 0.05), ("works", 0.16),
)
KINDS = {
    "car": ("sedan", "hatchback", "utility", "van"), "truck": ("pickup", "box_truck", "tractor", "tipper"),
    "bus": ("city_bus", "coach", "minibus"), "trailer": ("box_trailer", "container_trailer", "tank_trailer"),
    "construction": ("excavator", "wheel_loader", "roller"),
}
_CONES = ("cone", "tall_cone", "drum")
_BARRIERS = ("jersey", "plastic", "board")


def pick(rng: np.random.Generator, names: tuple[str, ...]) -> Body:
    """One of the named bodies at random."""
    return by_name()[names[rng.integers(len(names))]]


class _Side:
    """One kerb of a street, positions measured along the travel of its traffic."""

    def __init__(self, street: Street, forward: bool, placement: Placement, rng: np.random.Generator) -> None:
        self.street, self.forward, self.placement, self.rng = street, forward, placement, rng
        self.heading = street.heading + (0.0 if forward else np.pi)
        self.offset = street.section.parking_offset

    def put(self, body: Body, along: float, offset: float, yaw: float = 0.0, size: np.ndarray | None = None) -> None:
        """Place a body; yaw is relative to the traffic's heading."""
        position = self.street.directed(self.forward, along, offset)
        self.placement.add(body, position, self.heading + yaw, self.rng, size=size)

    def park(self, body: Body, begin: float) -> float:
        """Park a vehicle whose rear is at ``begin``; returns where the next thing may begin."""
        size = body.draw_size(self.rng)
        yaw = self.rng.normal(0.0, 0.03) + (np.pi if self.rng.random() < 0.15 else 0.0)
        self.put(body, begin + size[0] / 2.0, self.offset + self.rng.normal(0.0, 0.08), yaw, size)
        return begin + size[0] + self.rng.uniform(0.8, 2.5)

    def two_wheelers(self, body: Body, begin: float, gap: float) -> float:
        """A row of parked two-wheelers, slanted to the kerb, ``gap`` metres apart across their length."""
        slant = self.rng.choice([-1.0, 1.0]) * self.rng.uniform(0.7, 1.5)
        for _ in range(self.rng.integers(1, 4)):
            self.put(body, begin + 0.5, self.offset + self.rng.uniform(0.1, 0.5), slant + self.rng.normal(0.0, 0.12))
            begin += gap / np.sin(abs(slant)) + self.rng.uniform(0.0, 0.5)
        return begin + 1.0

    def works(self, begin: float, end: float) -> float:
        """Road works: barriers across both ends, cones or barriers along the traffic, often a machine."""
        cone, barrier = pick(self.rng, _CONES), pick(self.rng, _BARRIERS)
        edge = self.offset - self.street.section.parking / 2.0 - 0.15
        size = np.zeros(3)
        if self.rng.random() < 0.55:
            machine = pick(self.rng, KINDS["construction"])
            size = machine.draw_size(self.rng)
        length = max(size[0] + 2.5, self.rng.uniform(6.0, 11.0))
        if begin + length + 1.0 > end:
            return end
        if size[0] > 0.0:
            self.put(machine, begin + length / 2.0, self.offset + 0.25,
                     self.rng.normal(0.0, 0.08) + self.rng.choice([0.0, np.pi]), size)
        for along in (begin + 0.4, begin + length - 0.4):
            self.put(barrier, along, self.offset + 0.2, self.rng.normal(0.0, 0.08))
        if self.rng.random() < 0.7:
            step = self.rng.uniform(1.6, 2.6)
            for along in np.arange(begin + 1.0, begin + length, step):
                self.put(cone, along + self.rng.normal(0.0, 0.1), edge + self.rng.normal(0.0, 0.06),
                         self.rng.uniform(-np.pi, np.pi))
        else:
            for along in np.arange(begin + 1.9, begin + length - 1.0, 2.7):
                self.put(barrier, along, edge, np.pi / 2.0 + self.rng.normal(0.0, 0.04))
        return begin + length + self.rng.uniform(1.0, 2.0)

    def fill(self) -> None:
        """Fill the kerb from the street's begin to its end, leaving the crossing free."""
        stretches = [(2.0, self.street.length - 5.0)]
        if self.street.crossing is not None:
            middle = self.street.crossing if self.forward else self.street.length - self.street.crossing
            stretches = [(2.0, middle - 4.5), (middle + 3.0, self.street.length - 5.0)]
        names, weights = zip(*_NEXT, strict=True)
        for begin, end in stretches:
            along = begin
            while along < end - 2.0:
                kind = self.rng.choice(names, p=weights)
                if kind == "gap":
                    along += self.rng.uniform(4.0, 9.0)
                elif kind == "works":
                    along = self.works(along, end)
                elif kind in KINDS:
                    body = pick(self.rng, KINDS[kind])
                    along = self.park(body, along) if along + 1.12 * body.mesh.size[0] < end else along + 2.0
                else:
                    along = self.two_wheelers(by_name()[kind], along, 0.75 if kind == "bicycle" else 0.95)


def fill_kerbs(town: Town, rng: np.random.Generator) -> Placement:
    """Fill both kerbs of every street."""
    placement = Placement()
    for street in town.streets:
        for forward in (True, False):
            _Side(street, forward, placement, rng).fill()
    return placement
