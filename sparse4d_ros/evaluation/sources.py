"""Drives on the disk, as bags or as training arrays, read alike: frame by frame, more than once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sparse4d_ros.data.bag_reader import BagDrive
from sparse4d_ros.data.drive_cache import DriveCache
from sparse4d_ros.errors import UserError
from sparse4d_ros.frame import LabelledFrame


@dataclass(frozen=True)
class Source:
    """A drive on the disk."""

    name: str
    path: Path
    is_bag: bool
    #: Camera names in the model's order; None takes the bag's.
    cameras: tuple[str, ...] | None = None
    #: Pattern of a bag's image topics; None looks for the usual ones.
    images: str | None = None

    def frames(self) -> BagDrive | CachedFrames:
        """Its frames in order of time, with images, read while they are iterated; it has a length."""
        if self.is_bag:
            return BagDrive(self.path, cameras=self.cameras, images=self.images)
        cache = DriveCache(self.path)
        if self.cameras is not None and cache.camera_names != self.cameras:
            raise UserError(f"{self.path} has the cameras {', '.join(cache.camera_names)}; the model takes "
                            f"{', '.join(self.cameras)}")
        return CachedFrames(cache)


class CachedFrames:
    """The frames of a drive of arrays."""

    def __init__(self, cache: DriveCache) -> None:
        self._cache = cache
        self.weather = cache.weather

    def __len__(self) -> int:
        return len(self._cache)

    def without_pictures(self) -> Iterator[LabelledFrame]:
        """As :meth:`BagDrive.without_pictures`; here pictures are read from the disk only where they are looked at."""
        return iter(self)

    def __iter__(self) -> Iterator[LabelledFrame]:
        for index in range(len(self._cache)):
            yield LabelledFrame(self._cache.frame(index), self._cache.objects(index))
