"""A model package as `sparse4d doctor` sees it: its files, and whether every backend here gives the same objects."""

from __future__ import annotations

import importlib.util
import itertools
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from tqdm import tqdm

from sparse4d_ros.deploy.build_engine import build_engine
from sparse4d_ros.deploy.timing import Row
from sparse4d_ros.engine import Engine, EngineOptions, ModelPackage
from sparse4d_ros.engine.agreement import Comparison, compare
from sparse4d_ros.engine.engine_file import engine_is_at, engine_path, read_engine
from sparse4d_ros.engine.onnx_backend import OnnxBackend
from sparse4d_ros.engine.package import GRID_KINDS
from sparse4d_ros.errors import UserError
from sparse4d_ros.findings import FAIL, INFO, OK, SKIP, WARN, Finding
from sparse4d_ros.installing import remedy

#: Objects that the node would publish; their partners are looked for further down.
MIN_SCORE = 0.3
OPTIONS = EngineOptions(score_threshold=0.05, nms_iou=1.0)
#: precision -> differences in m, rad or m/s: what 99 % of the objects must keep to be OK, and not to FAIL.
LIMITS = {"fp32": (1e-3, 5e-3), "fp16": (5e-3, 5e-2), "int8": (5e-3, 1.0)}

#: A way to compute the network here: name, precision, how to make its engine.
Candidate = tuple[str, str, Callable[[], Engine]]


def examine_package(folder: Path) -> tuple[ModelPackage | None, list[Finding]]:
    """The package, if it can be read, and its files with their checksums."""
    try:
        package = ModelPackage.load(folder)
    except UserError as error:
        return None, [Finding(FAIL, "model", "model package", str(error), "name another one with --model")]
    found = [Finding(OK, "model", "model package", f"{package.name} {package.version}, {len(package.cameras)} cameras, "
                     f"{package.input_width}x{package.input_height}")]
    for kind in package.files:
        try:
            found.append(Finding(OK, "model", kind, f"{package.path(kind).name}, checksum as packed"))
        except UserError as error:
            found.append(Finding(FAIL, "model", kind, str(error), "copy the package again, or export it again"))
    return package, found


def examine_engines(package: ModelPackage, build: str | None) -> list[Finding]:
    """TensorRT engines of the package's graphs, after building the one of the precision ``build``."""
    found = []
    if build is not None:
        started = time.monotonic()
        try:
            header = build_engine(package, build, engine_path(package, build))
            found.append(Finding(OK, "model", f"build {build}", f"{time.monotonic() - started:.0f} s on {header.gpu}"))
        except UserError as error:
            found.append(Finding(FAIL, "model", f"build {build}", str(error)))
    for precision, kind in GRID_KINDS.items():
        path = engine_path(package, precision)
        try:
            if engine_is_at(path):
                header, plan = read_engine(path)
                text = (f"{path}: {len(plan) / 1e6:.1f} MB for {header.gpu}, TensorRT {header.tensorrt}"
                        + f", plugin {header.plugin}" * bool(header.plugin))
                found.append(Finding(INFO, "model", f"engine {precision}", text))
            elif kind in package.files:
                found.append(Finding(INFO, "model", f"engine {precision}", f"none at {path}",
                                     "on a vehicle with TensorRT: "
                                     f"sparse4d build-engine {package.folder} --precision {precision}"))
        except UserError as error:
            found.append(Finding(FAIL, "model", f"engine {precision}", str(error)))
    return found


def candidates(package: ModelPackage) -> list[Candidate]:
    """Everything on this machine that can compute the package's network, the reference first: the CPU in float32."""
    out: list[Candidate] = []
    torch = "weights" in package.files and importlib.util.find_spec("torch") is not None
    if torch:
        out.append(("torch cpu", "fp32", lambda: Engine(package, "torch", "cpu", options=OPTIONS)))
    for kind, precision in {"onnx": "fp32", **{kind: name for name, kind in GRID_KINDS.items()}}.items():
        if kind in package.files:
            out.append((f"onnxruntime cpu {package.files[kind][0]}", precision,
                        lambda kind=kind: Engine(package, OnnxBackend(package, kind=kind), options=OPTIONS)))
    if torch and _torch_has_gpu():
        out.append(("torch cuda", "fp32", lambda: Engine(package, "torch", "cuda", options=OPTIONS)))
    for precision in GRID_KINDS:
        if os.path.isfile(engine_path(package, precision)):  # one that cannot be read has its line already
            out.append((f"tensorrt {precision}", precision,
                        lambda precision=precision: Engine(package, "tensorrt", None, precision, OPTIONS)))
    return out


def _torch_has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def examine_backends(
    package: ModelPackage, drive: Path, num_frames: int, images: str | None = None,
) -> tuple[list[Finding], list[Row]]:
    """Whether all backends agree with the first on frames of a drive, and rows of what a frame costs each.

    ``images`` is the pattern of the drive's image topics; None looks for the usual ones.
    """
    findings, engines, precisions = [], {}, {}
    for name, precision, make in candidates(package):
        try:
            engines[name], precisions[name] = make(), precision
            engines[name].warmup(2)
        except (UserError, RuntimeError) as error:
            findings.append(Finding(FAIL, "model", name, str(error)))
            engines.pop(name, None)
    if not engines:
        return [*findings, Finding(FAIL, "model", "backends", "none can be loaded",
                                   "`sparse4d export` makes a graph")], []
    reference, *others = engines
    try:
        from sparse4d_ros.data.bag_reader import BagDrive  # its package is no part of what the node needs

        bag = BagDrive(drive, cameras=package.cameras, images=images)
        frames = (item.frame for item in itertools.islice(bag, num_frames))
        steps = list(tqdm(compare(engines[reference], {name: engines[name] for name in others}, frames),
                          total=num_frames, desc="comparing backends", unit="frame", leave=False, disable=None))
    except ModuleNotFoundError as error:
        return [*findings, Finding(SKIP, "model", "drive", f"not compared: nothing here reads a bag ({error})",
                                   remedy(str(error.name)))], []
    except UserError as error:
        return [*findings, Finding(FAIL, "model", "drive", str(error), "name another one with --bag")], []
    finally:
        for engine in engines.values():
            engine.close()
    findings.append(Finding(INFO, "model", reference, f"the reference, on {len(steps)} frames of {drive}"))
    for name in others:
        findings.append(agreement(name, precisions[name], [found[name] for _, found in steps], package.classes))
    rows: list[Row] = [(reference, [detections.timing_ms["inference"] for detections, _ in steps], None)]
    for name in others:
        times = [item.found.timing_ms["inference"] for _, found in steps if isinstance(item := found[name], Comparison)]
        rows += [(name, times, reference)] * bool(times)
    return findings, rows


def agreement(
    name: str, precision: str, steps: list[Comparison | RuntimeError], class_names: tuple[str, ...],
) -> Finding:
    """The verdict on one backend."""
    for number, step in enumerate(steps):
        if isinstance(step, RuntimeError):
            return Finding(FAIL, "model", name, f"frame {number}: {step}")
    values = np.concatenate([step.differences(MIN_SCORE).max(axis=1) for step in steps])
    if not len(values):
        return Finding(WARN, "model", name, f"no object above a score of {MIN_SCORE}: nothing to compare",
                       "name a drive that the model knows with --bag")
    most = float(np.quantile(values, 0.99, method="higher"))  # no mean of infinities, where objects have no partner
    worst = steps[int(np.argmax([step.differences(MIN_SCORE).max(initial=0.0) for step in steps]))]
    wanted, limit = LIMITS[precision]
    text = (f"{len(values)} objects compared: median {np.median(values):.1e}, 99 % below {most:.1e}, largest "
            f"{values.max():.1e} (m, rad, m/s); {worst.worst(MIN_SCORE, class_names)}")
    if most <= wanted:
        return Finding(OK, "model", name, text)
    if most <= limit:
        return Finding(WARN, "model", name, f"{text}; {precision} should keep {wanted:g} for 99 %",
                       "measure what it costs with `sparse4d precision --score` before driving with it")
    return Finding(FAIL, "model", name, text, "its graph or engine is not of these weights: export, and build, again")

