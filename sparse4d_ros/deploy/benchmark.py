"""`sparse4d benchmark`: what each step of a frame costs on this machine, with ratios from one run.

Steps that are compared take turns frame by frame, so that a machine whose speed drifts changes the
figures but not the ratios. `make benchmark` adds the node on real topics to the same table.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from tqdm import tqdm

from sparse4d_ros.data.bag_reader import BagDrive
from sparse4d_ros.data.image_topics import add_images_option
from sparse4d_ros.deploy.timing import Row, machine, table, timed
from sparse4d_ros.engine import Engine, EngineOptions, ModelPackage
from sparse4d_ros.engine.package import INPUT_SIZES
from sparse4d_ros.engine.preprocess import Preprocessor, resize_and_crop
from sparse4d_ros.engine.select import PRECISIONS
from sparse4d_ros.frame import Frame
from sparse4d_ros.resources import share_path

#: Of the published R50 (width, height), and how far from the vehicle its untrained anchors lie.
_PUBLISHED_SIZE, _RADIUS_M = INPUT_SIZES["small"], 50.0
T = TypeVar("T")


def gpu_precisions() -> tuple[str, ...]:
    """What torch is timed in on a GPU; nothing where there is none."""
    import torch

    return PRECISIONS["torch"] if torch.cuda.is_available() else ()


def engine_rows(package: ModelPackage, frames: list[Frame]) -> list[Row]:
    """All backends of a package on the same frames, in turns."""
    ways = {"onnxruntime": ("onnxruntime", "cpu", "fp32"), "torch": ("torch", "cpu", "fp32")}
    ways |= {f"torch {precision} on GPU": ("torch", "cuda", precision) for precision in gpu_precisions()}
    engines = {name: Engine(package, *way, options=EngineOptions()) for name, way in ways.items()}
    states = {}
    for name, engine in engines.items():
        engine.warmup(5)
        states[name] = engine.initial_state()
    times: dict[str, list[float]] = {}
    for frame in tqdm(frames, desc="backends", unit="frame", leave=False, disable=None):
        for name, engine in engines.items():
            detections, states[name] = engine.step(frame, states[name])
            for step, value in detections.timing_ms.items():
                times.setdefault(f"{name} {step}", []).append(value)
    for engine in engines.values():
        engine.close()
    first, *others = (f"{name} inference" for name in ways)
    return [
        ("preprocess, six pictures", times["onnxruntime preprocess"], None),
        (first, times[first], None), *((name, times[name], first) for name in others),
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


def published_size_rows(
    projection: np.ndarray, runs: int, device: str = "cpu", precision: str = "fp32", label: str = "torch",
) -> list[Row]:
    """The published R50 256x704 model (untrained numbers, the same work) by torch.

    ``projection [1, 6, 4, 4]`` is a rig's, in pixels of that size: the work depends on how many points are seen.
    """
    import torch

    from sparse4d_ros.engine.torch_backend import DTYPES, torch_device
    from sparse4d_ros.model.bank import Bank
    from sparse4d_ros.model.config import ModelConfig
    from sparse4d_ros.model.detector import Sparse4D, empty_inputs

    place, dtype = torch_device(device), DTYPES[precision]
    network = Sparse4D(ModelConfig()).eval()
    network.head.anchor.data[:, :2].uniform_(-_RADIUS_M, _RADIUS_M)
    network.to(place)
    images, _, image_wh, valid, bank, dt, motion = empty_inputs(network.config, 6, *_PUBLISHED_SIZE)
    images, image_wh, valid, dt, motion = (x.to(place) for x in (images, image_wh, valid, dt, motion))
    bank, projection = Bank(*(part.to(place) for part in bank)), torch.from_numpy(projection).to(place)

    def waited(result: T) -> T:
        if place.type == "cuda":
            torch.cuda.synchronize(place)
        return result

    def image_branch() -> list[torch.Tensor]:
        with torch.autocast(place.type, dtype, enabled=dtype is not None):
            return waited([x.float() for x in network.extract(images)])

    branch, decoders = [], []
    with torch.inference_mode():
        maps = image_branch()
        for index in tqdm(range(runs + 3), desc="R50 256x704", unit="frame", leave=False, disable=None):
            times = timed(image_branch), timed(
                lambda: waited(network.head(maps, projection, image_wh, valid, bank, dt, motion)))
            if index >= 3:  # the first ones allocate and choose
                branch.append(times[0])
                decoders.append(times[1])
    name = f"R50 256x704 {label}"
    return [(f"{name}, image branch", branch, None), (f"{name}, decoders", decoders, f"{name}, image branch")]


def offline_rows(package: ModelPackage, drive: BagDrive, num_frames: int) -> list[Row]:
    """Every row that needs no ROS."""
    frames = [item.frame for item in itertools.islice(drive, num_frames)]
    rows = [*picture_rows(frames, num_frames), *engine_rows(package, frames)]
    preprocess = Preprocessor(package)
    width, height = _PUBLISHED_SIZE
    scale = np.diag([width / package.input_width, height / package.input_height, 1.0, 1.0])
    projection = (scale @ preprocess(frames[0]).projection).astype(np.float32)
    preprocess.close()
    rows += published_size_rows(projection, max(3, num_frames // 10))
    for precision in gpu_precisions():
        rows += published_size_rows(projection, num_frames, "cuda", precision, f"torch {precision} on GPU")
    return rows


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
