"""Drives as plain arrays on disk, for training: no decoding, memory-mapped, random access.

A drive is a folder: ``images.npy [frames, cameras, height, width, 3]`` uint8 BGR,
``depth.npy [frames, cameras, height/4, width/4]`` float16 metres (inf for the sky),
``semantics.npy`` likewise uint8 (class index, 255 for no object), and ``frames.npz`` with stamps,
calibration, poses, the objects of all frames in rows and the weather. Only a simulator knows depth and class of
every pixel: a drive made of a recording lacks these files, and ``maps`` in ``frames.npz`` names those
there are. Bags stay the exchange format; this one trades disk space for the time that six JPEGs a
frame would cost in every epoch.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np

from sparse4d_ros.errors import UserError
from sparse4d_ros.frame import CameraFrame, Frame, LabelledFrame, Objects
from sparse4d_ros.writing import blaming

LABEL_STRIDE = 4
#: Semantic label of a pixel that shows no object.
NO_OBJECT = 255
#: Label maps that a drive may have, each a file and a field of :class:`LabelledFrame`, and their types.
MAPS = {"depth": np.float16, "semantics": np.uint8}


def write_drive(folder: str | Path, frames: Iterable[LabelledFrame], classes: tuple[str, ...], weather: str = ""
                ) -> int:
    """Write a drive and return its number of frames; the folder appears only when it is whole.

    Depth and semantics are thinned to one pixel in ``LABEL_STRIDE`` (the pixel at the cell's
    centre: averaging a depth edge would invent surfaces); frames without one make a drive without it.
    ``weather`` are words separated by commas, like "night, rain"; empty where nobody knows it.
    Pictures go to the disk one frame after another: a long drive does not fit into memory. Raises ``UserError`` for no
    frames, a class that is not in ``classes`` or a full disk, ``ValueError`` if some frames have a map and others have
    not, or pictures differ in size.
    """
    folder = Path(folder)
    shape, rows, per_frame = (), [], []
    maps: dict[str, list[np.ndarray]] = {name: [] for name in MAPS}
    partial = folder.with_name(folder.name + ".partial")
    try:
        with blaming(folder):
            partial.mkdir(parents=True, exist_ok=True)
            with open(partial / "images.npy", "wb") as file:
                for index, item in enumerate(frames):
                    images = np.stack([camera.image for camera in item.frame.cameras])
                    if not index:
                        shape = images.shape
                        _write_head(file, (0, *shape))
                    if images.shape != shape:
                        raise ValueError(f"pictures of the drive for {folder} are {images.shape}, before {shape}")
                    file.write(images.data)
                    for name, kept in maps.items():
                        if index and (getattr(item, name) is None) == bool(kept):
                            raise ValueError(f"some frames of the drive for {folder} have {name}, others have not")
                        kept += _thinned(getattr(item, name), MAPS[name])
                    per_frame.append(replace(item.frame, cameras=tuple(
                        replace(camera, image=None) for camera in item.frame.cameras)))
                    rows += _rows(index, item.objects, classes, folder)
                if not per_frame:
                    raise UserError(f"the drive for {folder} has no frames")
                _write_head(file, (len(per_frame), *shape))
            table = np.array(rows, dtype=np.float64).reshape(-1, 14)
            for name, kept in maps.items():
                if kept:
                    np.save(partial / f"{name}.npy", np.stack(kept))
            np.savez(
                partial / "frames.npz",
                stamp_ns=np.array([f.stamp_ns for f in per_frame], dtype=np.int64),
                camera_names=np.array([c.name for c in per_frame[0].cameras]),
                camera_stamp_ns=np.array([[c.stamp_ns for c in f.cameras] for f in per_frame], dtype=np.int64),
                intrinsic=np.array([[c.intrinsic for c in f.cameras] for f in per_frame]),
                camera_from_vehicle=np.array([[c.camera_from_vehicle for c in f.cameras] for f in per_frame]),
                fixed_from_vehicle=np.array([f.fixed_from_vehicle for f in per_frame]),
                object_frame=table[:, 0].astype(np.int64),
                object_class=table[:, 1].astype(np.int64),
                object_instance=table[:, 2].astype(np.int64),
                object_visibility=table[:, 3],
                object_box=table[:, 4:],
                classes=np.array(classes),
                weather=np.array(weather),
                maps=np.array([name for name, kept in maps.items() if kept], dtype=np.str_),
            )
            os.replace(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return len(per_frame)


def _thinned(pictures: Iterable[np.ndarray] | None, kind: type) -> list[np.ndarray]:
    """One map of all cameras; nothing where there are no pictures."""
    half = LABEL_STRIDE // 2
    return [] if pictures is None else [
        np.stack([picture[half::LABEL_STRIDE, half::LABEL_STRIDE] for picture in pictures]).astype(kind)]


def _rows(frame: int, objects: Objects, classes: tuple[str, ...], folder: Path) -> list[tuple[float, ...]]:
    """Frame, class, instance, visibility and box of each object."""
    if unknown := set(objects.names) - set(classes):
        raise UserError(f"the drive for {folder} has objects of the class {min(unknown)!r}; the classes are "
                        f"{', '.join(classes)}")
    return [(frame, classes.index(name), instance, seen, *box) for name, instance, seen, box in zip(
        objects.names, objects.instance_ids, objects.visibility, objects.boxes, strict=True)]


def _write_head(file: BinaryIO, shape: tuple[int, ...]) -> None:
    """What an ``.npy`` file of uint8 begins with; NumPy makes it as long for any count of frames."""
    file.seek(0)
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})


class DriveCache:
    """Random access to one written drive; images stay on disk until a frame is asked for.

    ``depth`` and ``semantics`` are None where the drive has no such maps.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if not (self.folder / "frames.npz").is_file():
            raise UserError(f"{self.folder} is not a drive: it has no frames.npz")
        with np.load(self.folder / "frames.npz") as table:
            self.table = dict(table)
        self.images = np.load(self.folder / "images.npy", mmap_mode="r")
        # Drives that were written before the entry was all have both.
        present = self.table.pop("maps", np.array(list(MAPS)))
        self.depth, self.semantics = (
            np.load(self.folder / f"{name}.npy", mmap_mode="r") if name in present else None for name in MAPS)
        self.classes = tuple(str(name) for name in self.table["classes"])
        self.weather = str(self.table.pop("weather", ""))
        self.camera_names = tuple(str(name) for name in self.table["camera_names"])

    def __len__(self) -> int:
        return len(self.table["stamp_ns"])

    def objects(self, index: int) -> Objects:
        """Ground truth of one frame, boxes in the vehicle frame."""
        rows = self.table["object_frame"] == index
        return Objects(
            boxes=self.table["object_box"][rows],
            names=tuple(self.classes[c] for c in self.table["object_class"][rows]),
            instance_ids=self.table["object_instance"][rows],
            visibility=self.table["object_visibility"][rows],
        )

    def frame(self, index: int) -> Frame:
        """One frame set as the engine takes it."""
        t = self.table
        return Frame(
            stamp_ns=int(t["stamp_ns"][index]),
            cameras=tuple(
                CameraFrame(
                    name=name, image=self.images[index, c], intrinsic=t["intrinsic"][index, c],
                    camera_from_vehicle=t["camera_from_vehicle"][index, c],
                    stamp_ns=int(t["camera_stamp_ns"][index, c]),
                )
                for c, name in enumerate(self.camera_names)
            ),
            fixed_from_vehicle=t["fixed_from_vehicle"][index],
        )
