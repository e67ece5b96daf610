"""A model package: a folder with `model.yaml`, weights and exported graphs, checked when it is loaded.

Everything that belongs to whoever trained the model is in here (classes, cameras, picture size,
normalisation, sizes and habits of the network, training interval, model frame), so that the code
has no model constants. A package never leads outside its folder and never holds pickles.
"""

from __future__ import annotations

import hashlib
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import yaml

from sparse4d_ros.errors import UserError, shown
from sparse4d_ros.geometry import from_quaternion, to_quaternion
from sparse4d_ros.model.config import ModelConfig
from sparse4d_ros.writing import write_text

FORMAT_VERSION = 1
FILE_NAME = "model.yaml"
#: Picture sizes (width, height) of the published configurations.
INPUT_SIZES = {"small": (704, 256), "base": (1408, 512), "large": (1600, 640)}
#: precision -> kind of graph that a TensorRT engine is built of
GRID_KINDS = {"fp32": "onnx_grid", "fp16": "onnx_grid_fp16", "int8": "onnx_grid_int8"}
#: The same, with the reading of image features as a node of the optional plugin.
PLUGIN_KINDS = {precision: kind.replace("grid", "plugin") for precision, kind in GRID_KINDS.items()}
FILE_KINDS = ("weights", "onnx", *GRID_KINDS.values(), *PLUGIN_KINDS.values())
_IMAGENET_MEAN = (123.675, 116.28, 103.53)
_IMAGENET_STD = (58.395, 57.12, 57.375)


@dataclass(frozen=True)
class ModelPackage:
    """The content of ``model.yaml``; ``folder`` is where it was read."""

    name: str
    version: str
    classes: tuple[str, ...]
    #: Camera names in the order in which pictures and matrices are paired.
    cameras: tuple[str, ...]
    input_width: int
    input_height: int
    model: ModelConfig
    #: Seconds between frames in training, and the range in which results can be trusted.
    training_interval_s: float
    interval_range_s: tuple[float, float]
    #: RGB, on the 0..255 scale.
    mean: tuple[float, float, float] = _IMAGENET_MEAN
    std: tuple[float, float, float] = _IMAGENET_STD
    #: Pose of the frame the network was trained in, in the vehicle frame.
    vehicle_from_model: np.ndarray = field(default_factory=lambda: np.eye(4))
    #: 3-D IoU above which boxes of one class are duplicates, for a model that gives such; None for one that does not.
    nms_iou: float | None = None
    #: kind -> (file name, SHA-256)
    files: dict[str, tuple[str, str]] = field(default_factory=dict)
    folder: Path = Path(".")

    @classmethod
    def load(cls, folder: str | Path) -> ModelPackage:
        """Read and check a package; ``UserError`` names the path or the field that is wrong.

        Checksums are verified by :meth:`path`, when a file is used.
        """
        folder = Path(folder)
        path = folder / FILE_NAME
        if not folder.is_dir():
            raise UserError(f"there is no folder {folder}: a model package is given by its path, not by its name")
        if not path.is_file():
            raise UserError(f"{folder} is not a model package: it has no {FILE_NAME}")
        try:
            values = yaml.safe_load(path.read_text(encoding="utf-8"))
        except Exception as error:  # PyYAML raises whatever its parts do, for dates of the 99th month, say
            raise UserError(f"{path} is not valid YAML: {error}") from None
        return _parse(values, path)

    def save(self, folder: str | Path) -> None:
        """Write ``model.yaml`` into a folder that holds the files already."""
        pose = self.vehicle_from_model
        values = {
            "format_version": FORMAT_VERSION, "name": self.name, "version": self.version,
            "classes": list(self.classes), "cameras": list(self.cameras),
            "input": {"width": self.input_width, "height": self.input_height,
                      "mean": list(self.mean), "std": list(self.std)},
            "training_interval_s": self.training_interval_s, "interval_range_s": list(self.interval_range_s),
            "vehicle_from_model": {"translation": pose[:3, 3].tolist(),
                                   "quaternion_xyzw": to_quaternion(pose).tolist()},
            **({"nms_iou": self.nms_iou} if self.nms_iou is not None else {}),
            "model": self.model.to_dict(),
            "files": {kind: {"path": name, "sha256": digest} for kind, (name, digest) in self.files.items()},
        }
        text = yaml.safe_dump(values, sort_keys=False, default_flow_style=None, width=110)
        write_text(Path(folder) / FILE_NAME, text)

    def path(self, kind: str) -> Path:
        """A file of the package, its checksum verified; ``UserError`` if absent or altered."""
        if kind not in self.files:
            raise UserError(f"the model package {self.folder} has no {kind} file (field files.{kind})")
        name, digest = self.files[kind]
        path = self.folder / name
        if not os.path.isfile(path):
            raise UserError(f"the model package misses a file: {path} (field files.{kind}.path)")
        # `colcon build --symlink-install` makes links of model.yaml and of the files beside it, to one folder.
        if path.resolve().parent not in (self.folder.resolve(), (self.folder / FILE_NAME).resolve().parent):
            raise UserError(f"{path} leads out of the model package, to {path.resolve()} (field files.{kind}.path); "
                            "put the file itself there")
        actual = sha256(path)
        if actual != digest:
            raise UserError(f"{path} is not the file that was packed: its SHA-256 is {actual[:12]}…, "
                            f"{FILE_NAME} says {digest[:12]}…; copy the package again")
        return path


def sha256(path: Path) -> str:
    """Hex SHA-256 of a file, read in blocks."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


class _Reader:
    """Typed access to the fields of one mapping, with errors that name file and field."""

    def __init__(self, values: object, path: Path, prefix: str = "") -> None:
        self.path, self.prefix = path, prefix
        if not isinstance(values, dict):
            raise UserError(f"{path}: {prefix.rstrip('.') or 'the file'} must be a mapping")
        for name in values:
            if not isinstance(name, str) or len(name) > 100:
                raise self.fail(shown(name), "is not known")
        self.values = values
        self.used: set[str] = set()

    def fail(self, name: str, text: str) -> UserError:
        return UserError(f"{self.path}: field {self.prefix}{name} {text}")

    def take(self, name: str, kind: type | tuple[type, ...], what: str) -> object:
        self.used.add(name)
        if name not in self.values:
            raise self.fail(name, "is missing")
        value = self.values[name]
        if not isinstance(value, kind) or isinstance(value, bool):
            raise self.fail(name, f"must be {what}, not {shown(value)}")
        return value

    def section(self, name: str) -> _Reader:
        self.used.add(name)
        return _Reader(self.values.get(name), self.path, f"{self.prefix}{name}.")

    def number(self, name: str, above: float) -> float:
        value = self.take(name, (int, float), "a number")
        if not above < value <= sys.float_info.max:  # type: ignore[operator]
            raise self.fail(name, f"must be above {above}, not {shown(value)}")
        return float(value)  # type: ignore[arg-type]

    def numbers(self, name: str, count: int) -> tuple[float, ...]:
        values = self.take(name, list, f"a list of {count} numbers")
        if len(values) != count or not all(  # type: ignore[arg-type]
                type(v) in (int, float) and abs(v) <= sys.float_info.max for v in values):  # type: ignore[union-attr]
            raise self.fail(name, f"must be a list of {count} finite numbers, not {shown(values)}")
        return tuple(float(v) for v in values)  # type: ignore[union-attr]

    def names(self, name: str) -> tuple[str, ...]:
        values = self.take(name, list, "a list of names")
        if not values or not all(isinstance(v, str) and v for v in values) or len(set(values)) != len(values):
            raise self.fail(name, "must be a list of different names")
        return tuple(values)  # type: ignore[arg-type]

    def done(self) -> None:
        for name in self.values:
            if name not in self.used:
                raise self.fail(name, "is not known")


def _parse(values: object, path: Path) -> ModelPackage:
    top = _Reader(values, path)
    version = top.take("format_version", int, "a whole number")
    if version != FORMAT_VERSION:
        raise top.fail("format_version", f"is {shown(version)}; this program reads {FORMAT_VERSION}")
    size = top.section("input")
    width, height = (int(size.number(name, 31)) for name in ("width", "height"))
    pose = top.section("vehicle_from_model")
    try:
        matrix = from_quaternion(pose.numbers("translation", 3), pose.numbers("quaternion_xyzw", 4))
    except ValueError as error:
        raise pose.fail("quaternion_xyzw", f"is wrong: {error}") from None
    cameras = top.names("cameras")
    try:
        model = ModelConfig.from_dict(top.take("model", dict, "a mapping"))  # type: ignore[arg-type]
        model.check_cameras(len(cameras))
    except UserError as error:
        raise UserError(f"{path}: field {error}") from None
    classes = top.names("classes")
    if len(classes) != model.num_classes:
        raise top.fail("classes", f"has {len(classes)} names, but model.num_classes is {model.num_classes}")
    low, high = top.numbers("interval_range_s", 2)
    if not 0 < low <= high:
        raise top.fail("interval_range_s", f"must be two ascending numbers above 0, not {[low, high]}")
    files = {}
    for kind, entry in top.section("files").values.items():
        if kind not in FILE_KINDS:
            raise top.fail(f"files.{kind}", f"is not known; known are {', '.join(FILE_KINDS)}")
        reader = _Reader(entry, path, f"files.{kind}.")
        name = str(reader.take("path", str, "a file name"))
        if Path(name).name != name:
            raise reader.fail("path", f"must be a file name inside the package, not {shown(name)}")
        files[kind] = (name, str(reader.take("sha256", str, "a SHA-256")))
        reader.done()
    nms_iou = None
    if "nms_iou" in top.values:
        nms_iou = top.number("nms_iou", 0.0)
        if nms_iou >= 1.0:
            raise top.fail("nms_iou", f"must be below 1, not {nms_iou}; leave it out if the model gives no duplicates")
    mean, std = size.numbers("mean", 3), size.numbers("std", 3)
    if min(std) <= 0:
        raise size.fail("std", "must be above 0")
    package = ModelPackage(
        name=str(top.take("name", str, "text")), version=str(top.take("version", str, "text in quotes")),
        classes=classes, cameras=cameras, input_width=width, input_height=height, model=model,
        training_interval_s=top.number("training_interval_s", 0.0), interval_range_s=(low, high),
        mean=mean, std=std, vehicle_from_model=matrix, nms_iou=nms_iou, files=files, folder=path.parent,  # type: ignore[arg-type]
    )
    for reader in (size, pose, top):
        reader.done()
    return package
