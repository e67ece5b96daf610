"""Model packages and recorded motion: what people write, edit and download."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
import yaml
from engine_cases import package_of
from safetensors.torch import save_file

from fuzz import ACCEPTED, mutations, reason
from sparse4d_ros.engine import package as package_module
from sparse4d_ros.engine.package import FILE_NAME, ModelPackage, sha256
from sparse4d_ros.engine.torch_backend import load_network
from sparse4d_ros.errors import UserError
from sparse4d_ros.model.detector import Sparse4D
from sparse4d_ros.simulation.tracks_file import read_tracks

#: A few anchors, a billion words when they are written out.
_LAUGHS = b"[&a0 [x, x, x, x, x, x, x, x]" + b"".join(
    b", &a%d [%s]" % (level, b", ".join([b"*a%d" % (level - 1)] * 8)) for level in range(1, 13)) + b"]"


def _write_package(folder: Path) -> ModelPackage:
    (folder / "weights.safetensors").write_bytes(b"numbers")
    package_of(files={"weights": ("weights.safetensors", sha256(folder / "weights.safetensors"))}).save(folder)
    return ModelPackage.load(folder)


def _check(package: ModelPackage, folder: Path) -> str:
    """Whatever its ``model.yaml`` says, no file outside the folder is given out."""
    assert np.isfinite(package.vehicle_from_model).all() and package.training_interval_s > 0
    for kind in package.files:
        try:
            assert package.path(kind).resolve().parent == folder.resolve()
        except UserError as error:
            return reason(error)
    return ACCEPTED


class PackageTexts:
    """model.yaml as text, damaged."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        _write_package(folder)
        self.text = (folder / FILE_NAME).read_bytes()
        self.words = (b"&a [*a]", b"!!python/object/apply:os.system [id]", b"!!binary x", b"2001-99-99", b"1" * 5000,
                      b"[" * 400, b"{? [] : x}", b"<<: 1", b"!!timestamp x", b"!!float x", b"!!int x", b"0x", b"1:99",
                      b"\t", b"---\n---", b"%YAML 9", b"../weights.safetensors", b"/etc/passwd", b"*a", b"!!set {}",
                      b".inf", _LAUGHS)

    def case(self, random: Random) -> bytes:
        text = self.text
        for _ in range(random.choice((1, 1, 3))):
            at, length, word = random.randrange(len(text)), random.choice((0, 1, 4, 10)), random.choice(self.words)
            if random.random() < 0.7:  # in place of a value
                at = text.find(b": ", at) + 2
                length = max(text.find(b"\n", at) - at, 0)
            elif random.random() < 0.5:
                word = random.choice(b" -:,[]{}#&*!|>'\"%@`0159.ae\n").to_bytes(1, "big")
            text = text[:at] + word + text[at + length:]
        return mutations.damaged(random, text, times=2) if random.random() < 0.15 else text

    def run(self, case: bytes) -> Iterator[str]:
        (self.folder / FILE_NAME).write_bytes(case)
        try:
            yield _check(ModelPackage.load(self.folder), self.folder)
        except UserError as error:
            assert str(self.folder) in str(error) and len(str(error)) < 10_000
            yield reason(error)


class PackageTrees:
    """model.yaml as the values in it: without the reading of YAML, which takes a hundred times as long."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        _write_package(folder)
        self.values = yaml.safe_load((folder / FILE_NAME).read_text())

    def case(self, random: Random) -> Any:
        values = mutations.tree(random, self.values)
        if random.random() < 0.01 and isinstance(values, dict) and values:
            values[random.choice(list(values))] = mutations.laughs()
        return values

    def run(self, case: Any) -> Iterator[str]:
        try:
            yield _check(package_module._parse(case, self.folder / FILE_NAME), self.folder)
        except UserError as error:
            assert str(self.folder) in str(error) and len(str(error)) < 10_000
            yield reason(error)


class Weights:
    """weights.safetensors, damaged, under the checksum that it then has."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        package = _write_package(folder)
        self.model = package.model
        self.file = folder / "weights.safetensors"
        torch.manual_seed(0)
        save_file(Sparse4D(package.model).state_dict(), self.file)
        self.data = self.file.read_bytes()
        self.header = 8 + int.from_bytes(self.data[:8], "little")
        self._load()  # what torch does once, and what takes seconds, is not the cases'

    def case(self, random: Random) -> bytes:
        if random.random() < 0.2:
            return mutations.damaged(random, self.data)
        head = mutations.damaged(random, self.data[8:self.header])
        if random.random() < 0.6:  # the entries as values
            tree = mutations.tree(random, json.loads(self.data[8:self.header]))
            try:
                head = json.dumps(tree, default=str).encode()
            except (TypeError, ValueError, RecursionError):
                pass
            if len(head) > 1 << 20:
                head = head[:1 << 20]
        return len(head).to_bytes(8, "little") + head + self.data[self.header:]

    def run(self, case: bytes) -> Iterator[str]:
        self.file.write_bytes(case)
        yield self._load()

    def _load(self) -> str:
        package = package_of(files={"weights": (self.file.name, sha256(self.file))}, folder=self.folder)
        try:
            with torch.device("meta"), warnings.catch_warnings():  # the network's own numbers are not asked for
                warnings.simplefilter("ignore")
                load_network(package)
        except UserError as error:
            assert str(self.file) in str(error)
            return reason(error)
        return ACCEPTED


class Tracks:
    """Recorded motion as JSON: text and values, damaged."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "tracks.json"
        times, positions = [0.0, 0.5, 1.0], [[0.0, 0.0, 0.0], [2.0, 0.1, 0.0], [4.0, 0.3, 0.0]]
        motion = {"times": times, "positions": positions, "yaws": [0.0, 0.1, 0.2]}
        self.values = {
            "format": "sparse4d_tracks", "version": 1, "ego": {**motion, "pitches": [0.0, 0.0, 0.1]},
            "objects": [{"id": 3, "class": "car", "size": [4.5, 1.9, 1.6], **motion, "velocities": positions},
                        {"id": 4, "class": "pedestrian", "size": [0.5, 0.5, 1.7], **motion}]}
        self.text = json.dumps(self.values).encode()

    def case(self, random: Random) -> bytes:
        if random.random() < 0.3:
            return mutations.damaged(random, self.text, times=4)
        try:
            text = json.dumps(mutations.tree(random, self.values), default=str).encode()
        except (TypeError, ValueError, RecursionError):
            text = b"[" * 5000
        return text[:1 << 20]

    def run(self, case: bytes) -> Iterator[str]:
        self.file.write_bytes(case)
        try:
            recording = read_tracks(self.file)
        except UserError as error:
            assert str(self.file) in str(error) and len(str(error)) < 10_000
            yield reason(error)
            return
        for motion in (recording.ego, *(track.motion for track in recording.objects)):
            position, angles, _ = motion.at((motion.times[0] + motion.times[-1]) / 2)
            assert np.isfinite(position).all() and np.isfinite(angles).all()
        yield ACCEPTED
