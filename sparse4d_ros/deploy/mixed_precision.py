"""Which convolutions can be in INT8 within a tolerance: each is tried alone, then the cheapest are put together.

A convolution's price is what it alone moves the boxes, squared (errors of many add up so), per
multiply-add that it turns to INT8. The rest stays in the precision of the graph that is given.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from tqdm import tqdm

from sparse4d_ros.deploy.doctor_model import MIN_SCORE, OPTIONS
from sparse4d_ros.deploy.quantise import spread, with_int8, work
from sparse4d_ros.engine import Engine, ModelPackage
from sparse4d_ros.engine.agreement import Step, follow, repeat
from sparse4d_ros.engine.onnx_backend import OnnxBackend
from sparse4d_ros.engine.package import sha256
from sparse4d_ros.errors import UserError
from sparse4d_ros.evaluation.sources import Source
from sparse4d_ros.writing import blaming


def package_of(package: ModelPackage, model: onnx.ModelProto, folder: Path) -> tuple[ModelPackage, str]:
    """The package with this graph in ``folder`` as its only file, and which kind of file that is."""
    path, kind = folder / "trial.onnx", "onnx_grid_int8"
    with blaming(path):
        onnx.save(model, str(path))
    return replace(package, folder=folder, files={kind: (path.name, sha256(path))}), kind


@contextlib.contextmanager
def reference_steps(package: ModelPackage, drive: Source, num_frames: int) -> Iterator[tuple[Engine, list[Step]]]:
    """Torch in float32 on the CPU, and ``num_frames`` frames of its way through a drive, evenly spread.

    Raises ``UserError`` if the drive cannot be read, lacks a camera of the model, or is empty.
    """
    bag = drive.frames()
    if not len(bag) or num_frames < 1:
        raise UserError(f"{drive.path} has {len(bag)} frames and {num_frames} were asked for: nothing to compare")
    chosen = set(spread(len(bag), num_frames))
    reference = Engine(package, "torch", "cpu", options=OPTIONS)
    frames = tqdm((item.frame for item in bag), desc="torch in float32", total=len(bag), unit="frame", leave=False,
                  disable=None)
    try:
        yield reference, [step for step in follow(reference, frames) if step.number in chosen]
    finally:
        reference.close()


class Trial:
    """A graph run beside a reference on some of its frames."""

    def __init__(self, package: ModelPackage, reference: Engine, steps: Sequence[Step]) -> None:
        self._package, self._reference, self._steps = package, reference, steps
        ort.set_default_logger_severity(3)  # it warns of fp16 constants that it cannot fold on a CPU

    def __call__(self, model: onnx.ModelProto) -> np.ndarray:
        """Differences of the objects that the node would publish ``[n, 10]``; raises ``UserError`` if there is none."""
        with tempfile.TemporaryDirectory() as folder:
            package, kind = package_of(self._package, model, Path(folder))
            engine = Engine(package, OnnxBackend(package, kind=kind), options=OPTIONS)
        try:
            values = [repeat(step, self._reference, engine).differences(MIN_SCORE) for step in self._steps]
        except RuntimeError as error:  # of the runtime, or numbers that are not finite
            raise UserError(f"the graph cannot be used on this drive: {error}") from error
        finally:
            engine.close()
        if not sum(map(len, values)):
            raise UserError(f"no object above a score of {MIN_SCORE} on {len(self._steps)} frames: nothing to compare")
        return np.concatenate(values)


def most(values: np.ndarray) -> float:
    """What 99 % of the objects of ``[n, 10]`` differences keep, in their worst number."""
    return float(np.quantile(values.max(axis=1), 0.99, method="higher"))


@dataclass(frozen=True)
class Mixture:
    """A graph with some convolutions in INT8."""

    model: onnx.ModelProto
    layers: tuple[str, ...]  #: in INT8
    left: tuple[str, ...]    #: not in INT8
    share: float             #: of the convolutions' multiply-adds
    values: np.ndarray       #: differences ``[n, 10]``


class Mixtures:
    """Mixtures of one graph; the trials are made once, whatever tolerances are asked for."""

    def __init__(self, model: onnx.ModelProto, reaches: dict[str, float], trial: Trial) -> None:
        """``model`` has no Q/DQ pairs yet, ``reaches`` is of :func:`sparse4d_ros.deploy.quantise.calibrate`."""
        self._model, self._reaches, self._trial = model, reaches, trial
        self._work = work(model)
        self._made: dict[int, Mixture] = {}
        #: layer -> differences ``[n, 10]`` if it alone is in INT8
        self.alone: dict[str, np.ndarray] = {}
        self._order: list[str] = []

    def of(self, count: int) -> Mixture:
        """The mixture with the ``count`` cheapest layers in INT8."""
        if 0 < count < len(self._work):
            self.rank()
        if count not in self._made:
            layers = tuple(self._order[:count]) if count < len(self._work) else tuple(self._work)
            model = with_int8(self._model, self._reaches, layers)
            share = sum(self._work[name] for name in layers) / sum(self._work.values())
            left = tuple(name for name in self._work if name not in layers)
            self._made[count] = Mixture(model, layers, left, share, self._trial(model))
        return self._made[count]

    def within(self, tolerance: float | None) -> Mixture:
        """The mixture with the most layers in INT8 that 99 % of the objects keep ``tolerance`` with; None for all.

        If they do not keep it with any, the one that has none in INT8.
        """
        low, high = 0, len(self._work)
        if tolerance is None or most(self.of(high).values) <= tolerance:
            return self.of(high)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if most(self.of(middle).values) <= tolerance else (low, middle)
        return self.of(low)

    def rank(self) -> None:
        """Try each layer alone, if that is not done yet."""
        if self._order:
            return
        shown = tqdm(self._work, desc="one layer in INT8 at a time", unit="layer", leave=False, disable=None)
        for name in shown:
            self.alone[name] = self._trial(with_int8(self._model, self._reaches, (name,)))
        price = {name: np.median(values.max(axis=1)) ** 2 / self._work[name] for name, values in self.alone.items()}
        self._order = sorted(price, key=price.__getitem__)
