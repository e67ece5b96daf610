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
    """A drive on the disk that can be read more than once, frame by frame."""

    name: str
    path: Path
    is_bag: bool
    #: Camera names in the model's order; None takes the bag's.
    cameras: tuple[str, ...] | None = None

    def frames(self) -> Iterator[LabelledFrame]:
        """Its frames in order of time, with images."""
        if self.is_bag:
            yield from BagDrive(self.path, cameras=self.cameras)
            return
        cache = DriveCache(self.path)
        if self.cameras is not None and cache.camera_names != self.cameras:
            raise UserError(f"{self.path} has the cameras {', '.join(cache.camera_names)}; the model takes "
                            f"{', '.join(self.cameras)}")
        for index in range(len(cache)):
            yield LabelledFrame(cache.frame(index), cache.objects(index))
