"""What a drive asks of a world, be it a simulated town or a recording."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from sparse4d_ros.simulation.actors import Instances
from sparse4d_ros.simulation.catalogue import Body
from sparse4d_ros.simulation.look import Look


class Scene(Protocol):
    """A world over time, in its own fixed frame; times are seconds from the drive's start.

    An object that is not there at some time has NaN as its pose: it is neither drawn nor labelled.
    """

    #: The bodies that instances name by index.
    catalogue: tuple[Body, ...]
    #: Vertices of :mod:`ground`.
    ground: np.ndarray
    #: Light and air of the plain drive.
    look: Look
    #: What stands still and has no label.
    scenery: Instances
    #: ``[n]`` class index of every labelled object.
    classes: np.ndarray
    #: ``[n]`` int64, the number each object has in the ground truth.
    instance_ids: np.ndarray
    #: ``[n]`` whether an object takes part in the traffic, so that its lamps are lit by night.
    in_traffic: np.ndarray

    def fixed_from_vehicle(self, time_s: float) -> np.ndarray:
        """Pose ``[4, 4]`` of the vehicle frame."""

    def boxes(self, time_s: float) -> np.ndarray:
        """Boxes ``[n, 10]`` of all labelled objects."""

    def objects(self, time_s: float) -> Instances:
        """All labelled objects as the renderer wants them; ids are row numbers plus one."""
