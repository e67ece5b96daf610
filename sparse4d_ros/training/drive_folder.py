"""The drives that a run trains or is validated on: arrays in some folders, which may grow while it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from sparse4d_ros.data.drive_cache import DriveCache
from sparse4d_ros.errors import UserError


class DriveFolder:
    """The drives of some folders, opened on demand; drives that appear later are found.

    Raises ``UserError`` when a drive is opened whose cameras are not those of the others, in the same order.
    """

    def __init__(self, folders: str | Path | Sequence[Path], class_names: tuple[str, ...]) -> None:
        self.folders = [Path(folder) for folder in ([folders] if isinstance(folders, (str, Path)) else folders)]
        self.class_names = class_names
        self._open: dict[str, DriveCache] = {}
        self._needed: dict[str, str] = {}
        for folder in self.folders:
            if not any(path.parent == folder for path in self.paths().values()):
                raise UserError(f"{folder} has no drives; `sparse4d simulate --help` tells how to make some")

    @property
    def camera_names(self) -> tuple[str, ...]:
        """Of every drive, in their order."""
        return self[self.names()[0]].camera_names

    def require(self, maps: Mapping[str, str]) -> None:
        """Every drive must have these label maps; each stands with the setting that needs it.

        Raises ``UserError`` for a drive that lacks one, now or when it is opened.
        """
        self._needed = dict(maps)
        for name in self.names():
            self._check_maps(self[name])

    def paths(self) -> dict[str, Path]:
        """Folders of the complete drives by name, sorted; ``UserError`` if two have one name."""
        found: dict[str, Path] = {}
        for path in (path.parent for folder in self.folders for path in folder.glob("*/frames.npz")):
            if path.name in found:
                raise UserError(f"{found[path.name]} and {path} have one name; drives need different names")
            if not path.name.endswith(".partial"):
                found[path.name] = path
        return dict(sorted(found.items()))

    def names(self) -> list[str]:
        """Names of the complete drives, sorted."""
        return list(self.paths())

    def __getitem__(self, name: str) -> DriveCache:
        if name not in self._open:
            drive = DriveCache(self.paths()[name])
            unknown = set(drive.classes) - set(self.class_names)
            if unknown:
                raise UserError(f"{drive.folder} has the class {min(unknown)!r}, which the model does not know")
            first = next(iter(self._open.values()), drive)
            if drive.camera_names != first.camera_names:
                raise UserError(f"{drive.folder} has the cameras {', '.join(drive.camera_names)}, but {first.folder} "
                                f"has {', '.join(first.camera_names)}: all drives need the same, in the same order")
            self._check_maps(drive)
            self._open[name] = drive
        return self._open[name]

    def _check_maps(self, drive: DriveCache) -> None:
        for needed, setting in self._needed.items():
            if getattr(drive, needed) is None:
                raise UserError(f"{drive.folder} has no {needed} maps, as recordings have none, but {setting} needs "
                                "them: set it to 0, or train on simulated drives")
