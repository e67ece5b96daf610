"""Everything that is labelled, in one table: what it looks like and where it is at any time."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from sparse4d_ros.simulation.catalogue import Body


@dataclass
class Placement:
    """Things that stand still, collected row by row: scenery, or labelled objects that are parked."""

    bodies: list[int] = field(default_factory=list)
    #: x, y, z of the centre and yaw.
    poses: list[tuple[float, float, float, float]] = field(default_factory=list)
    sizes: list[np.ndarray] = field(default_factory=list)
    colours: list[np.ndarray] = field(default_factory=list)

    def add(self, body: Body, position: np.ndarray, yaw: float, rng: np.random.Generator,
            size: np.ndarray | None = None, colour: np.ndarray | None = None) -> None:
        """Put one instance on the ground."""
        size = body.draw_size(rng) if size is None else np.asarray(size, dtype=np.float64)
        self.bodies.append(body.index)
        self.poses.append((float(position[0]), float(position[1]), float(size[2]) / 2.0, float(yaw)))
        self.sizes.append(size)
        self.colours.append(body.draw_colour(rng) if colour is None else np.asarray(colour, dtype=np.float64))

    def instances(self) -> Instances:
        """The rows as arrays, without identity."""
        count = len(self.bodies)
        return Instances(
            np.array(self.bodies, dtype=np.int64), np.array(self.poses).reshape(count, 4),
            np.array(self.sizes).reshape(count, 3), np.array(self.colours).reshape(count, 3),
            np.zeros(count, dtype=np.int64))


@dataclass(frozen=True)
class Instances:
    """What the renderer draws, one row per instance, in the world frame."""

    #: ``[n]`` index in the catalogue.
    bodies: np.ndarray
    #: ``[n, 4]`` x, y, z of the centre, yaw.
    poses: np.ndarray
    #: ``[n, 3]`` length, width, height.
    sizes: np.ndarray
    #: ``[n, 3]`` RGB in 0..1.
    colours: np.ndarray
    #: ``[n]`` number in the identity picture; 0 for what has no label.
    ids: np.ndarray

    def __len__(self) -> int:
        return len(self.bodies)

    def __add__(self, other: Instances) -> Instances:
        pairs = ((getattr(self, name), getattr(other, name)) for name in self.__dataclass_fields__)
        return Instances(*(np.concatenate(pair) for pair in pairs))

    def pick(self, rows: np.ndarray) -> Instances:
        """Some of the rows (indices or mask)."""
        return Instances(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))

    def near(self, position: np.ndarray, radius: float) -> Instances:
        """Those whose centre is within ``radius`` of a point ``[2]``."""
        return self.pick(np.hypot(*(self.poses[:, :2] - position).T) < radius)


def in_view(instances: Instances, intrinsic: np.ndarray, camera_from_world: np.ndarray, width: int,
            margin: float = 0.0) -> np.ndarray:
    """Mask ``[n]`` of those whose bounding sphere, grown by ``margin`` metres, is between the sides of the view."""
    centre = instances.poses[:, :3] @ camera_from_world[:3, :3].T + camera_from_world[:3, 3]
    radius = np.linalg.norm(instances.sizes, axis=1) / 2.0 + margin
    keep = centre[:, 2] > -radius
    for sign, edge in ((-1.0, intrinsic[0, 2]), (1.0, width - intrinsic[0, 2])):
        # Signed distance from the plane through the camera and this side of the picture.
        across, along = np.array([intrinsic[0, 0], edge]) / np.hypot(intrinsic[0, 0], edge)
        keep &= sign * across * centre[:, 0] - along * centre[:, 2] < radius
    return keep
