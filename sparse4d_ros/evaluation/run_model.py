"""A model package over drives, for the commands that score it. Stands on the floor of the command line."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import yaml
from tqdm import tqdm

from sparse4d_ros.engine import Engine, EngineOptions
from sparse4d_ros.engine.drive import run_drive
from sparse4d_ros.errors import UserError
from sparse4d_ros.evaluation.records import Drive, from_detections, truth_of
from sparse4d_ros.evaluation.sources import Source
from sparse4d_ros.frame import LabelledFrame


def drive_paths(bags: Sequence[Path], drives: Sequence[Path]) -> list[tuple[Path, bool]]:
    """All of them, with whether each is a bag. ``UserError`` for none, or for one that does not exist."""
    paths = [(path, True) for path in bags] + [(path, False) for path in drives]
    if not paths:
        raise UserError("give at least one drive with --bag or --drives")
    for path, _ in paths:
        if not path.exists():
            raise UserError(f"{path} does not exist; --bag and --drives take recorded drives")
    return paths


def engine_options(texts: Iterable[str], score_threshold: float) -> EngineOptions:
    """The engine's options from NAME=VALUE; ``UserError`` naming one that does not exist."""
    known = [field.name for field in dataclasses.fields(EngineOptions)]
    values = {"score_threshold": score_threshold}
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator or name not in known:
            raise UserError(f"--option {text!r} is not NAME=VALUE with one of the engine's options: {', '.join(known)}")
        values[name] = yaml.safe_load(value)
    return EngineOptions(**values)


def run_source(engine: Engine, source: Source, *, change: Callable[[Iterable[LabelledFrame]], Iterable[LabelledFrame]]
               | None = None, memory: bool = True, title: str = "running") -> Drive:
    """All frames of a drive through the engine, starting with an empty bank; what fails is a frame without result.

    ``change`` gets the source's frames and gives those to run; without ``memory`` every frame stands alone.
    """
    truths, results, failures = [], [], []
    frames = source.frames()
    shown = tqdm(change(frames) if change else frames, desc=f"{title} {source.name}", unit="frame", total=len(frames),
                 leave=False, disable=None)
    for step in run_drive(engine, shown, memory):
        if step.detections is None:
            failures.append(step.failure)
        if step.item.objects is None:
            continue
        truths.append(truth_of(step.item))
        if step.detections is not None:
            record = from_detections(step.detections, engine.package.classes)
            results.append(record)
    if failures:
        print(f"{source.name}: {len(failures)} frames gave no result (first: {failures[0]})")
    return Drive(source.name, tuple(truths), tuple(results), frames.weather)
