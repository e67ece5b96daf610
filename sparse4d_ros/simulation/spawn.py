"""Puts moving vehicles on the lanes around the ego vehicle's route."""

from __future__ import annotations

import numpy as np

from sparse4d_ros.simulation.catalogue import Body, by_name
from sparse4d_ros.simulation.kerbside import KINDS, pick
from sparse4d_ros.simulation.paths import Paths
from sparse4d_ros.simulation.routes import CYCLE_LANE, Route, draw_route
from sparse4d_ros.simulation.town import Street, Town
from sparse4d_ros.simulation.traffic import Vehicle

EGO_SIZE = np.array([4.6, 1.9, 1.6])
#: Distance of the ego body's centre ahead of its rear axle, the origin of the vehicle frame.
EGO_CENTRE_M = 1.4
_MOST_VEHICLES = 90
_HITCH_GAP_M = -1.2  # a trailer's front stands over the tractor's rear

# kind, share, desired speed range in m/s
_MIX = (
    ("car", 0.36, (8.0, 14.0)), ("truck", 0.11, (7.0, 12.0)), ("bus", 0.11, (7.0, 11.0)),
    ("lorry", 0.11, (7.0, 11.0)), ("motorcycle", 0.23, (8.0, 14.0)), ("construction", 0.08, (5.0, 8.0)),
)


def ego_vehicle(town: Town, rng: np.random.Generator, distance: float) -> Vehicle:
    """The ego vehicle, driving a street near the middle of the town for at least ``distance`` metres."""
    middle = np.mean([junction.centre for junction in town.junctions], axis=0)
    near = sorted(town.streets, key=lambda street: np.linalg.norm(street.point(street.length / 2.0, 0.0) - middle))
    street = near[rng.integers(12)]
    lane = int(rng.integers(street.section.lanes))
    along = rng.uniform(3.0, 0.6 * street.length)
    route = draw_route(town, rng, street, bool(rng.random() < 0.5), lane, along, distance)
    body = by_name()["sedan"]
    return Vehicle(body.index, EGO_SIZE, np.ones(3), route, 0.0, rng.uniform(9.0, 14.0))


def streets_near(town: Town, route: Route, radius: float) -> list[Street]:
    """Streets with any point within ``radius`` of a route."""
    x, y, _ = Paths([route.pieces]).at(np.arange(0.0, route.length, 5.0)[None])
    trail = np.stack([x[0], y[0]], axis=1)
    return [street for street in town.streets
            if min(np.linalg.norm(trail - street.point(along, 0.0), axis=1).min()
                   for along in np.linspace(0.0, street.length, 5)) < radius]


def spawn(town: Town, rng: np.random.Generator, ego: Vehicle, distance: float) -> list[Vehicle]:
    """Vehicles around the ego vehicle's route; the ego vehicle is the first."""
    vehicles = [ego]
    start = ego.route.pieces[0, 1:3]
    seats = [(street, forward, lane, along)
             for street in streets_near(town, ego.route, 60.0) for forward in (True, False)
             for lane in (*range(street.section.lanes), CYCLE_LANE)
             for along in _spacing(rng, street, lane)]
    rng.shuffle(seats)
    for street, forward, lane, along in seats:
        if len(vehicles) >= _MOST_VEHICLES:
            break
        offset = street.section.cycle_offset if lane == CYCLE_LANE else street.section.lane_offset(lane)
        if np.linalg.norm(street.directed(forward, along, offset) - start) < 14.0:
            continue
        route = draw_route(town, rng, street, forward, lane, along, distance)
        if lane == CYCLE_LANE:
            vehicles.append(_vehicle(by_name()["cyclist"], rng, route, 0.0, (3.0, 6.5)))
            continue
        kind, _, speeds = _MIX[rng.choice(len(_MIX), p=[share for _, share, _ in _MIX])]
        if kind == "lorry":
            trailer = _vehicle(pick(rng, KINDS["trailer"]), rng, route, 0.0, speeds)
            tractor = _vehicle(by_name()["tractor"], rng, route, 0.0, speeds)
            tractor.position = trailer.size[0] / 2.0 + tractor.size[0] / 2.0 + _HITCH_GAP_M
            if along + tractor.position > street.length - 4.0:
                continue
            trailer.towed_by = len(vehicles)
            vehicles += [tractor, trailer]
        else:
            body = by_name()["motorcyclist"] if kind == "motorcycle" else pick(rng, KINDS[kind])
            vehicles.append(_vehicle(body, rng, route, 0.0, speeds))
    return vehicles


def _spacing(rng: np.random.Generator, street: Street, lane: int) -> list[float]:
    """Starting places along one lane, far enough apart for the longest vehicles."""
    low, high = (12.0, 40.0) if lane == CYCLE_LANE else (17.0, 42.0)
    places, along = [], rng.uniform(7.0, high)
    while along < street.length - 7.0:
        places.append(along)
        along += rng.uniform(low, high)
    return places


def _vehicle(body: Body, rng: np.random.Generator, route: Route, position: float,
             speeds: tuple[float, float]) -> Vehicle:
    return Vehicle(body.index, body.draw_size(rng), body.draw_colour(rng), route, position, rng.uniform(*speeds))
