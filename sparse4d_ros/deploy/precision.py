"""`sparse4d precision`: what fp16 and INT8 cost a model on a drive, in one table; needs no GPU and leaves the package.

Each graph runs in onnxruntime on the CPU beside torch in float32, every frame from torch's bank, and
may be scored on the drive's ground truth. The layers' table says what INT8 costs where.
"""

from __future__ import annotations

import argparse
import importlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx

from sparse4d_ros.data.image_topics import add_images_option
from sparse4d_ros.deploy.doctor_model import MIN_SCORE
from sparse4d_ros.deploy.export import TRIAL_FRAMES, export_onnx
from sparse4d_ros.deploy.mixed_precision import Mixtures, Trial, most, package_of, reference_steps
from sparse4d_ros.deploy.quantise import calibrate, pictures, work
from sparse4d_ros.engine import Engine, EngineOptions, ModelPackage
from sparse4d_ros.engine.onnx_backend import OnnxBackend
from sparse4d_ros.evaluation.run_model import run_source
from sparse4d_ros.evaluation.sources import Source
from sparse4d_ros.resources import share_path

#: Columns of a box by what they say; no training supervises the last.
PARTS = {"place": slice(0, 3), "size": slice(3, 6), "yaw": slice(6, 7), "speed": slice(7, 9), "vz": slice(9, 10)}
_TOLERANCES = (0.005, 0.02, 0.05, 0.1)


def row(name: str, share: float, values: np.ndarray) -> str:
    """A line of the table, of differences ``[n, 10]``."""
    worst = values.max(axis=1)
    parts = "".join(f"{values[:, columns].max():>9.1e}" for columns in PARTS.values())
    return (f"{name:<22}{share:>6.0%}{len(worst):>9}{np.mean(worst <= 5e-3):>9.1%}{np.median(worst):>9.1e}"
            f"{most(values):>9.1e}{worst.max():>9.1e}{parts}")


def heading() -> str:
    """What the columns of :func:`row` are."""
    return (f"{'graph':<22}{'int8':>6}{'compared':>9}{'<= 5e-3':>9}{'median':>9}{'99 %':>9}{'largest':>9}"
            + "".join(f"{name:>9}" for name in PARTS))


def scores(package: ModelPackage, model: onnx.ModelProto, drive: Source) -> str:
    """mAP and NDS of a graph on a drive with ground truth."""
    from sparse4d_ros.evaluation.nuscenes_metrics import evaluate

    with tempfile.TemporaryDirectory() as folder:
        trial, kind = package_of(package, model, Path(folder))
        engine = Engine(trial, OnnxBackend(trial, kind=kind), options=EngineOptions(score_threshold=0.0))
    try:
        found = evaluate([run_source(engine, drive)], progress=False)
    finally:
        engine.close()
    return f"   mAP {found.mean_ap:.3f}  NDS {found.nds:.3f}"


def lines(
    package: ModelPackage, drive: Source, calibration: Source, num_frames: int, tolerances: list[float], score: bool,
) -> Iterator[str]:
    """The page, line by line as it comes. Raises ``UserError`` if a drive cannot be used."""
    images = pictures(package, calibration, num_frames)  # a drive that cannot be used is named before a minute of work
    with tempfile.TemporaryDirectory() as folder:
        graphs = {}
        for name in ("fp32", "fp16"):
            path = Path(folder) / f"{name}.onnx"
            export_onnx(package, path, "grid", half=name == "fp16")
            graphs[name] = onnx.load(str(path))
    reaches = calibrate(graphs["fp16"], images)
    with reference_steps(package, drive, num_frames) as (reference, steps):
        trial = Trial(package, reference, steps)
        yield (f"{package.name} {package.version}, {len(steps)} frames of {drive.path}, calibrated on "
               f"{calibration.path}.\n"
               f"Objects above a score of {MIN_SCORE}: differences from torch in float32, in m, rad and m/s. "
               "int8: its share of the\nmultiply-adds of backbone and neck; the rest of these is in fp16.\n")
        yield heading()

        def line(name: str, share: float, model: onnx.ModelProto) -> str:
            return row(name, share, trial(model)) + (scores(package, model, drive) if score else "")

        for name, model in graphs.items():
            yield line(name, 0.0, model)
        with reference_steps(package, calibration, min(num_frames, TRIAL_FRAMES)) as (other, fewer):
            mixtures = Mixtures(graphs["fp16"], reaches, Trial(package, other, fewer))
            for tolerance in [*sorted(tolerances), None]:
                mixture = mixtures.within(tolerance)
                name = "int8" if tolerance is None else f"int8 within {tolerance:g}"
                yield line(name, mixture.share, mixture.model) if mixture.layers else f"{name:<22}{0:>6.0%}"
            mixtures.rank()
    layers = work(graphs["fp16"])
    yield f"\n{'layer in int8 alone':<34}{'work':>6}{'median':>10}{'99 %':>10}"
    for name, values in sorted(mixtures.alone.items(), key=lambda item: -most(item[1])):
        yield (f"{name:<34}{layers[name] / sum(layers.values()):>6.1%}{np.median(values.max(axis=1)):>10.1e}"
               f"{most(values):>10.1e}")


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    model = share_path("models", "sparse4d_small")
    parser.add_argument("package", type=Path, nargs="?", default=model,
                        help="model package with weights (default: the shipped one)")
    parser.add_argument("--bag", type=Path, default=model / "demo_drive", help="drive to compare on (default: shipped)")
    parser.add_argument("--calibrate", type=Path, metavar="BAG",
                        help="drive that int8 takes its ranges from, and chooses layers on (default: the same)")
    add_images_option(parser)
    parser.add_argument("--frames", type=int, default=50, help="frames of each drive, evenly spread (default 50)")
    parser.add_argument("--tolerance", type=float, nargs="+", default=list(_TOLERANCES), metavar="T",
                        help="mixtures of int8 and fp16 to make, as `sparse4d export --tolerance` "
                             f"(default {' '.join(map(str, _TOLERANCES))})")
    parser.add_argument("--score", action="store_true", help="also mAP and NDS on the drive's ground truth")
    parser.epilog = ("examples:\n  sparse4d precision --score\n"
                     "  sparse4d precision my_model --bag my_drive --calibrate another_drive --tolerance 0.05")


def run(args: argparse.Namespace) -> int:
    """Print the tables."""
    if args.score:
        importlib.import_module("nuscenes")  # is missed now, not after minutes
    package = ModelPackage.load(args.package)
    drive, calibration = (Source(path.name, path, True, package.cameras, args.images)
                          for path in (args.bag, args.calibrate or args.bag))
    for line in lines(package, drive, calibration, args.frames, args.tolerance, args.score):
        print(line, flush=True)
    return 0
