"""Routes of vehicles through a town: which streets, which lane, and the path that results."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sparse4d_ros.simulation import paths
from sparse4d_ros.simulation.town import Section, Street, Town

_CORNER_RADIUS_M = 10.0
_LANE_CHANGE_M = 28.0
CYCLE_LANE = -1


@dataclass(frozen=True)
class Route:
    """A path with the places where it may have to stop."""

    #: Pieces of :func:`paths.rounded`.
    pieces: np.ndarray
    #: ``[k, 2]``: distance along the path of a stop line, and the signal that rules it.
    stops: np.ndarray
    length: float


def junction_signal(junction: int, axis: int) -> int:
    """Number of a junction's signal for one axis."""
    return 2 * junction + axis


def crossing_signal(town: Town, street: int) -> int:
    """Number of the signal of a street's pedestrian crossing."""
    return 2 * len(town.junctions) + street


def _offset(section: Section, lane: int) -> float:
    return section.cycle_offset if lane == CYCLE_LANE else section.lane_offset(min(lane, section.lanes - 1))


def _allowed(turn: float, lane: int, lanes: int) -> bool:
    """Lane discipline: right turns from the kerb side, left turns from the inner lane, no U-turns."""
    if abs(turn) > 2.6:
        return False
    if turn < -0.6:
        return lane in (CYCLE_LANE, lanes - 1)
    if turn > 0.6:
        return lane == 0
    return True


def draw_route(town: Town, rng: np.random.Generator, street: Street, forward: bool, lane: int, along: float,
               distance: float, turning: float = 0.6) -> Route:
    """A route that starts ``along`` a street and goes on for at least ``distance`` metres.

    ``turning`` is the wish to turn at a junction, 0..1; at the town's edge turning is forced.
    """
    vertices = [street.directed(forward, along, _offset(street.section, lane))]
    stops: list[tuple[np.ndarray, int]] = []
    travelled = -along
    while True:
        section = street.section
        changed = lane
        if lane != CYCLE_LANE and section.lanes > 1 and street.length - along > 45.0 and rng.random() < 0.35:
            changed = 1 - min(lane, 1)
        if changed != lane:
            begin = along + rng.uniform(5.0, street.length - along - _LANE_CHANGE_M - 10.0)
            vertices += [street.directed(forward, begin, _offset(section, lane)),
                         street.directed(forward, begin + _LANE_CHANGE_M, _offset(section, changed))]
            lane = changed
        offset = _offset(section, lane)
        if street.crossing is not None:
            middle = street.crossing if forward else street.length - street.crossing
            if middle - 3.0 > along:
                stops.append((street.directed(forward, middle - 3.0, offset), crossing_signal(town, street.index)))
        end = street.directed(forward, street.length, offset)
        node = street.nodes[1] if forward else street.nodes[0]
        stops.append((street.directed(forward, street.length - 1.0, offset), junction_signal(node, street.axis)))
        travelled += street.length
        if travelled > distance:
            vertices.append(end)
            break
        heading = street.heading if forward else street.heading + np.pi
        options, weights = [], []
        for index, onward in town.exits[node]:
            following = town.streets[index]
            bend = (following.heading if onward else following.heading + np.pi) - heading
            bend = (bend + np.pi) % (2.0 * np.pi) - np.pi
            if abs(bend) < 2.6:
                lawful = _allowed(bend, lane, section.lanes)
                options.append((following, onward, bend))
                weights.append((turning if abs(bend) > 0.6 else 1.0 - turning) + 1e-3 if lawful else 1e-9)
        choice = rng.choice(len(options), p=np.array(weights) / np.sum(weights))
        following, onward, bend = options[choice]
        if lane != CYCLE_LANE:
            lane = min(lane, following.section.lanes - 1)
        begin = following.directed(onward, 0.0, _offset(following.section, lane))
        # A turn rounds the one point where the two lanes meet; going on shifts from lane to lane.
        vertices += [_meeting(end, heading, begin, heading + bend)] if abs(bend) > 0.6 else [end, begin]
        street, forward, along = following, onward, 0.0
    pieces = paths.rounded(np.array(vertices), _CORNER_RADIUS_M)
    return Route(pieces, _stop_distances(pieces, stops, travelled), travelled)


def _meeting(first: np.ndarray, first_heading: float, second: np.ndarray, second_heading: float) -> np.ndarray:
    """Where two lines, each a point and a heading, meet."""
    directions = np.array([[np.cos(first_heading), -np.cos(second_heading)],
                           [np.sin(first_heading), -np.sin(second_heading)]])
    return first + np.linalg.solve(directions, second - first)[0] * directions[:, 0]


def _stop_distances(pieces: np.ndarray, stops: list[tuple[np.ndarray, int]], length: float) -> np.ndarray:
    """Distance along the path of the sample nearest to each stop point, in order."""
    samples = np.arange(0.0, 1.2 * length + 50.0, 0.5)
    x, y, _ = paths.Paths([pieces]).at(samples[None])
    rows, last = [], 0.0
    for point, signal in stops:
        # Searching onwards only: a route may pass a place twice.
        ahead = (samples >= last) & (samples <= last + 150.0)
        gap = np.hypot(x[0] - point[0], y[0] - point[1])
        nearest = int(np.argmin(np.where(ahead, gap, np.inf)))
        rows.append((samples[nearest], signal))
        last = samples[nearest]
    return np.array(rows).reshape(-1, 2)
