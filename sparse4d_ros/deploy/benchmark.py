"""`sparse4d benchmark`: what each step of a frame costs on this machine, with ratios from one run.

Steps that are compared take turns frame by frame, so that a machine whose speed drifts changes the
figures but not the ratios. `make benchmark` adds the node on real topics to the same table.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import cv2
from tqdm import tqdm

from sparse4d_ros.data.bag_reader import BagDrive
from sparse4d_ros.data.image_topics import add_images_option
from sparse4d_ros.deploy.timing import Row, machine, table, timed
from sparse4d_ros.engine import Engine, EngineOptions, ModelPackage
from sparse4d_ros.engine.preprocess import resize_and_crop
from sparse4d_ros.frame import Frame
from sparse4d_ros.resources import share_path


def engine_rows(package: ModelPackage, frames: list[Frame]) -> list[Row]:
    """Both backends of a package on the same frames, in turns."""
    engines = {name: Engine(package, name, options=EngineOptions()) for name in ("onnxruntime", "torch")}
    states = {}
    for name, engine in engines.items():
        engine.warmup(2)
        states[name] = engine.initial_state()
    times: dict[str, list[float]] = {}
    for frame in tqdm(frames, desc="backends", unit="frame", leave=False, disable=None):
        for name, engine in engines.items():
            detections, states[name] = engine.step(frame, states[name])
            for step, value in detections.timing_ms.items():
                times.setdefault(f"{name} {step}", []).append(value)
    for engine in engines.values():
        engine.close()
    return [
        ("preprocess, six pictures", times["onnxruntime preprocess"], None),
        ("onnxruntime inference", times["onnxruntime inference"], None),
        ("torch inference", times["torch inference"], "onnxruntime inference"),
        ("postprocess", times["onnxruntime postprocess"], None),
    ]


def picture_rows(frames: list[Frame], runs: int) -> list[Row]:
    """Decoding six JPEG pictures of the drive's size and of 1600x900, full and at half scale, and resizing."""
    native = [cv2.imencode(".jpg", camera.image)[1] for camera in frames[0].cameras]
    large = [cv2.imencode(".jpg", cv2.resize(camera.image, (1600, 900)))[1] for camera in frames[0].cameras]
    full = [cv2.imdecode(data, cv2.IMREAD_COLOR) for data in large]
    width, height = frames[0].cameras[0].image.shape[1::-1]
    steps = {
        f"decode six JPEG {width}x{height}": lambda: [cv2.imdecode(d, cv2.IMREAD_COLOR) for d in native],
        "decode six JPEG 1600x900": lambda: [cv2.imdecode(d, cv2.IMREAD_COLOR) for d in large],
        "decode six JPEG 1600x900, half scale": lambda: [cv2.imdecode(d, cv2.IMREAD_REDUCED_COLOR_2) for d in large],
        "resize six 1600x900 to 704x256 (one thread)": lambda: [resize_and_crop(image, 704, 256) for image in full],
    }
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in tqdm(range(runs), desc="pictures", unit="run", leave=False, disable=None):
        for name, step in steps.items():
            times[name].append(timed(step))
    names = list(steps)
    return [(name, times[name], names[1] if name == names[2] else None) for name in names]


def published_size_rows(runs: int) -> list[Row]:
    """The published R50 256x704 model (untrained numbers, the same work) by torch on the CPU."""
    import torch

    from sparse4d_ros.model.config import ModelConfig
    from sparse4d_ros.model.detector import Sparse4D, empty_inputs

    network = Sparse4D(ModelConfig()).eval()
    inputs = empty_inputs(network.config, 6, 704, 256)
    backbone, whole = [], []
    with torch.inference_mode():
        for index in tqdm(range(runs + 1), desc="R50 256x704", unit="frame", leave=False, disable=None):
            times = timed(lambda: network.extract(inputs[0])), timed(lambda: network(*inputs))
            if index:  # the first one allocates
                backbone.append(times[0])
                whole.append(times[1])
    return [("R50 256x704 torch, image branch", backbone, None),
            ("R50 256x704 torch, whole network", whole, "R50 256x704 torch, image branch")]


def offline_rows(package: ModelPackage, drive: BagDrive, num_frames: int) -> list[Row]:
    """Every row that needs no ROS."""
    frames = [item.frame for item in itertools.islice(drive, num_frames)]
    return [*picture_rows(frames, num_frames), *engine_rows(package, frames),
            *published_size_rows(max(3, num_frames // 10))]


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    model = share_path("models", "sparse4d_small")
    parser.add_argument("--model", type=Path, default=model, help="model package (default: the shipped one)")
    parser.add_argument("--bag", type=Path, default=model / "demo_drive", help="drive (default: the shipped one)")
    add_images_option(parser)
    parser.add_argument("--frames", type=int, default=50, help="frames to time (default 50)")
    parser.epilog = "example:\n  sparse4d benchmark --frames 100"


def opened(args: argparse.Namespace) -> tuple[ModelPackage, BagDrive]:
    """The model package and the drive that the options name; ``UserError`` if one cannot be used."""
    package = ModelPackage.load(args.model)
    return package, BagDrive(args.bag, cameras=package.cameras, images=args.images)


def run(args: argparse.Namespace) -> int:
    """Print the table."""
    package, drive = opened(args)
    print(machine())
    print(table(offline_rows(package, drive, args.frames)))
    return 0
