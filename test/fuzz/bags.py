"""Bags: the bytes of the file, and the bytes of the messages in it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from types import SimpleNamespace
from unittest import mock

import bag_cases
import numpy as np
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from fuzz import ACCEPTED, mutations, reason
from sparse4d_ros.data import bag_files
from sparse4d_ros.data.bag_reader import BagDrive
from sparse4d_ros.data.bag_writer import write_bag
from sparse4d_ros.data.ros_types import typestore
from sparse4d_ros.errors import UserError
from sparse4d_ros.frame import LabelledFrame

Message = tuple[str, str, int, bytes]  # topic, type, log time, content


def _messages(folder: Path) -> list[Message]:
    """Two frames of one camera."""
    frames = [replace(item, frame=replace(item.frame, cameras=item.frame.cameras[:1])) for item in bag_cases.frames(2)]
    rig = bag_cases.rig()
    write_bag(folder / "source", frames, {"front": rig["front"]})
    with bag_files.open_bag(folder / "source") as reader:
        return [(connection.topic, connection.msgtype, log_ns, bytes(raw))
                for connection, log_ns, raw in bag_files.messages(reader, reader.connections)]


def _read(path: Path) -> str:
    try:
        for item in BagDrive(path):
            _check(item)
    except UserError as error:
        assert str(path) in str(error), error
        return reason(error)
    return ACCEPTED


def _check(item: LabelledFrame) -> None:
    assert np.isfinite(item.frame.fixed_from_vehicle).all()
    for camera in item.frame.cameras:
        assert np.isfinite(camera.camera_from_vehicle).all() and np.isfinite(camera.intrinsic).all()
        assert camera.image is None or camera.image.dtype == np.uint8 and camera.image.ndim == 3


class Bags:
    """MCAP with plain and with compressed chunks, sqlite3, and the metadata beside them, damaged."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "bag"
        self.path.mkdir()
        self.files = []
        kinds = ((StoragePlugin.MCAP, None), (StoragePlugin.MCAP, CompressionFormat.ZSTD),
                 (StoragePlugin.SQLITE3, None))
        for number, (plugin, compression) in enumerate(kinds):
            self._write(folder / f"kind{number}", plugin, compression, _messages(folder / f"messages{number}"))

    def _write(self, folder: Path, plugin: StoragePlugin, compression: CompressionFormat | None,
               messages: list[Message]) -> None:
        connections: dict = {}
        writer = Writer(folder, version=9, storage_plugin=plugin)
        if compression:
            writer.set_compression(CompressionMode.STORAGE, compression)
        with writer:
            for topic, kind, log_ns, raw in messages:
                if topic not in connections:
                    connections[topic] = writer.add_connection(topic, kind, typestore=typestore())
                writer.write(connections[topic], log_ns, raw)
        data = next(path for path in folder.iterdir() if path.suffix in (".mcap", ".db3"))
        self.files.append((data.suffix, data.read_bytes(), data.name, (folder / "metadata.yaml").read_bytes()))

    def case(self, random: Random) -> tuple[str, bytes, str, bytes | None]:
        suffix, data, name, metadata = random.choice(self.files)
        if random.random() < 0.1:
            return suffix, data, name, mutations.damaged(random, metadata)
        return suffix, mutations.damaged(random, data, times=20), name, None

    def run(self, case: tuple[str, bytes, str, bytes | None]) -> Iterator[str]:
        suffix, data, name, metadata = case
        path = self.path if metadata is not None else self.path / f"file{suffix}"
        for old in self.path.iterdir():
            old.unlink()
        (self.path / name if metadata is not None else path).write_bytes(data)
        if metadata is not None:
            (self.path / "metadata.yaml").write_bytes(metadata)
        yield _read(path)


class Messages:
    """The same drive with damaged messages, handed to the reader without a file around them, which is what takes
    long."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "drive.mcap"  # only its name is used
        self.messages = _messages(folder / "messages")

    def case(self, random: Random) -> list[Message]:
        messages = list(self.messages)
        for _ in range(random.choice((1, 1, 3))):
            at = random.randrange(len(messages))
            topic, kind, log_ns, raw = messages[at]
            if random.random() < 0.3:  # a number in its place, rather than anything anywhere
                position = random.randrange(0, max(len(raw) - 8, 1), 4)
                number = np.float64(random.choice(mutations.FLOATS)).tobytes()
                raw = raw[:position] + number + raw[position + 8:]
            else:
                raw = mutations.damaged(random, raw)
            messages[at] = topic, kind, log_ns, raw
        return messages

    def run(self, case: list[Message]) -> Iterator[str]:
        connections = {topic: SimpleNamespace(topic=topic, msgtype=kind) for topic, kind, _, _ in case}
        reader = SimpleNamespace(
            paths=[self.path], topics=connections, connections=list(connections.values()),
            messages=lambda connections, *span: ((c, log_ns, raw) for topic, _, log_ns, raw in case for c in connections
                                          if c.topic == topic),
            deserialize=typestore().deserialize_cdr)
        with mock.patch.object(bag_files, "open_bag", lambda path: contextlib.nullcontext(reader)):
            yield _read(self.path)
