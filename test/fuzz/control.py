"""What steers the node: transforms, the order of events, parameters."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import numpy as np
from test_synchronizer_any_order import AnyOrder

from fuzz import ACCEPTED, mutations, reason
from sparse4d_ros.errors import UserError
from sparse4d_ros.node import parameters
from sparse4d_ros.node.tf_source import BufferTransformSource
from sparse4d_ros.node.transform_buffer import TransformBuffer
from sparse4d_ros.node.transform_errors import TransformError

_MAX_FRAMES, _MAX_SAMPLES = 8, 6
_FRAMES = ("map", "odom", "base_link", "/base_link", "camera", "imu", "", "/", "\0", "ä", *"abcdefgh")


class Transforms:
    """Short lives of a transform buffer: TFMessages of any content, lookups of any kind."""

    def __init__(self, folder: Path) -> None:
        pass

    def case(self, random: Random) -> list[tuple]:
        return [self._event(random) for _ in range(random.randrange(2, 20))]

    @staticmethod
    def _event(random: Random) -> tuple:
        frames = random.choice((_FRAMES[:5], _FRAMES))
        what = random.randrange(10)
        if what == 0 and random.random() < 0.2:
            return "go_back", random.choice((0, 10**11, 101 * 10**9, -1, 2**62))
        if what < 6:
            turn = [random.gauss(0.0, 1.0) for _ in range(4)]
            norm = sum(part * part for part in turn) ** 0.5
            numbers = [random.gauss(0.0, 10.0) for _ in range(3)] + [part / norm for part in turn]
            if random.random() < 0.15:
                numbers[random.randrange(7)] = random.choice(mutations.FLOATS)
            seconds = random.choice((0, 1, 100, 100, 100, 101, 2**31 - 1, -2**31))
            stamp = seconds, random.choice((0, 5, 10**9 - 1, 2**32 - 1))
            return "take", random.choice(frames), random.choice(frames), stamp, numbers, random.random() < 0.3
        time_ns = random.choice((0, 10**11, 10**11 + 5, 101 * 10**9, -1, 2**62))
        return ("lookup" if what < 9 else "latest"), random.choice(frames), random.choice(frames), time_ns

    def run(self, case: list[tuple]) -> Iterator[str]:
        buffer = TransformBuffer(max_samples=_MAX_SAMPLES, max_frames=_MAX_FRAMES)
        source = BufferTransformSource(buffer)
        for what, *rest in case:
            if what == "take":
                yield self._take(source, *rest)
            elif what == "go_back":
                source.go_back(*rest)
            else:
                yield self._look(source, what, *rest)

    @staticmethod
    def _take(source: BufferTransformSource, parent: str, child: str, stamp: tuple, numbers: list, static: bool) -> str:
        x, y, z, *turn = numbers
        before = source.rejected
        source.take(SimpleNamespace(transforms=[SimpleNamespace(
            header=SimpleNamespace(stamp=SimpleNamespace(sec=stamp[0], nanosec=stamp[1]), frame_id=parent),
            child_frame_id=child, transform=SimpleNamespace(
                translation=SimpleNamespace(x=x, y=y, z=z),
                rotation=SimpleNamespace(**dict(zip("xyzw", turn, strict=True)))))]), static)
        if source.rejected == before:
            return ACCEPTED
        return reason(ValueError(source.last_rejection.split("ignored: ")[1]))

    @staticmethod
    def _look(source: BufferTransformSource, what: str, target: str, origin: str, time_ns: int) -> str:
        try:
            if what == "latest":
                assert isinstance(source.latest_time_ns(target, origin), int)
                return ACCEPTED
            found = source.lookup(target, origin, time_ns)
        except TransformError as error:
            return type(error).__name__ + (": a loop" if "loop" in str(error) else "")
        assert np.isfinite(found).all(), found
        np.testing.assert_allclose(found[:3, :3] @ found[:3, :3].T, np.eye(3), atol=1e-6)
        return ACCEPTED


class Events:
    """Images in any order, with jumps, repeats, odd stamps and silence, under test_synchronizer_any_order's rules."""

    def __init__(self, folder: Path) -> None:
        pass

    def case(self, random: Random) -> tuple[dict, list[tuple]]:
        start = dict(minimum=random.randint(1, 3), spread=random.choice((0, 1, 50, 100, 120)),
                     wait=random.choice((0, 10, 60, 100)))
        return start, [self._event(random) for _ in range(random.randrange(5, 60))]

    @staticmethod
    def _event(random: Random) -> tuple[str, dict]:
        what = random.randrange(20)
        camera = random.choice(AnyOrder.CAMERAS)
        if what < 8:
            return "image", dict(camera=camera, delay=random.randint(-40, 120), elapsed=random.randint(0, 30))
        if what < 14:
            return "trigger", dict(elapsed=random.randint(0, 200), order=random.sample(AnyOrder.CAMERAS, 3))
        if what == 14:
            stamp = random.choice((0, -1, 1, -2**63, 2**62, random.randrange(2**61)))
            return "odd_stamp", dict(camera=camera, stamp=stamp)
        if what == 15:
            return "jump", dict(seconds=random.choice((-20, -1, 30, 0.4, -0.01)))
        if what == 16 and random.random() < 0.2:
            return "reset", {}
        return "poll", dict(elapsed=random.choice((0, 1, 60, 500, 2000)))

    def run(self, case: tuple[dict, list[tuple]]) -> Iterator[str]:
        start, events = case
        machine = AnyOrder()
        machine.start(**start)
        for name, values in events:
            getattr(machine, name)(**values)
            machine.counters_add_up()
        # One outcome an image: used and waiting are what a set is made of, the rest has its counter.
        for counters in machine.synchronizer.counters.values():
            for name, count in vars(counters).items():
                if name != "received":
                    yield from [ACCEPTED if name in ("used", "buffered") else name] * count


class Parameters:
    """A parameter file's names and values."""

    def __init__(self, folder: Path) -> None:
        self.names = [item.metadata["spec"].name + (".front" if item.metadata["spec"].per == "camera" else "")
                      + (".car" if item.metadata["spec"].per == "class" else "") for item in parameters.FIELDS]

    def case(self, random: Random) -> dict[str, Any]:
        values = {}
        for _ in range(random.randint(1, 4)):
            name = random.choice(self.names)
            if random.random() < 0.1:
                name = random.choice((name[:-1], name + "s", name + ".x", name.upper(), *mutations.TEXTS))
            values[name] = self._value(random, name)
        return values

    @staticmethod
    def _value(random: Random, name: str) -> Any:
        found = parameters.field_of(name)
        kind = found.metadata["type"] if found is not None and random.random() < 0.7 else None
        if kind is bool:
            return random.random() < 0.5
        if kind is int:
            return random.choice((0, 1, 2, 6, 32, 300, *mutations.EDGES))
        if kind is float:
            return random.choice((0.3, 1, 50.0, random.uniform(-2.0, 2.0), *mutations.FLOATS))
        if kind is str:
            return random.choice((*found.metadata["spec"].choices, "front", *mutations.TEXTS))
        if kind is tuple:
            names = [random.choice(("front", "back", "left", *mutations.TEXTS)) for _ in range(random.randrange(7))]
            return random.choice((["front"], ["front", "back"], ["front"] * 40, [f"c{n}" for n in range(40)], names))
        return mutations.value(random)

    def run(self, case: dict[str, Any]) -> Iterator[str]:
        try:
            settings = parameters.settings_from(case)
        except UserError as error:
            assert "arameter '" in str(error)
            yield reason(error)
            return
        assert 1 <= settings.required_cameras <= len(settings.cameras) <= 32
        yield ACCEPTED
