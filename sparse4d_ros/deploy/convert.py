"""`sparse4d convert`: an official Sparse4D v3 checkpoint (.pth) to a model package."""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from sparse4d_ros.boxes import NUSCENES_CLASSES
from sparse4d_ros.deploy.pack import WEIGHTS, save_weights
from sparse4d_ros.engine.package import INPUT_SIZES, ModelPackage, sha256
from sparse4d_ros.errors import UserError
from sparse4d_ros.geometry import from_quaternion
from sparse4d_ros.model.checkpoint import from_official, read_checkpoint, sizes_of_official
from sparse4d_ros.model.detector import Sparse4D
from sparse4d_ros.writing import blaming

#: nuScenes' LIDAR_TOP in its vehicle frame (the usual mounting): x right, y forward, z up.
NUSCENES_VEHICLE_FROM_LIDAR = from_quaternion(
    np.array([0.943713, 0.0, 1.84023]), np.array([0.0, 0.0, -np.sqrt(0.5), np.sqrt(0.5)]))
NUSCENES_CAMERAS = ("front", "front_right", "front_left", "back", "back_left", "back_right")


def convert(path: Path, output: Path, options: argparse.Namespace) -> ModelPackage:
    """Write a model package with the weights of an official checkpoint into the new folder ``output``."""
    if output.exists():
        raise UserError(f"{output} exists already; choose another folder or remove it")
    official = read_checkpoint(path)
    try:
        config = sizes_of_official(official)
    except (KeyError, ValueError) as error:
        reason = error.args[0] if error.args else error
        raise UserError(f"{path} is not a Sparse4D v3 checkpoint: it has no entry {reason}") from None
    config = replace(
        config, num_temporal=options.num_temporal or config.num_temporal,
        swap_yaw_on_projection=not options.corrected_yaw, border=options.border)
    network = Sparse4D(config)
    state, missing, unexpected, wrong = from_official(official, network.state_dict())
    for title, entries in (("missing", missing), ("unexpected", unexpected), ("wrong shape", wrong)):
        for entry in entries:
            print(f"  {title}: {entry}")
    if missing or wrong:
        raise UserError(f"{path} does not fit: {len(missing)} entries missing, {len(wrong)} of wrong shape "
                        "(listed above)")
    width, height = INPUT_SIZES[options.size]
    with blaming(output):
        output.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=output.parent, prefix=f".{output.name}."))
        try:
            save_weights({key: value.contiguous() for key, value in state.items()}, folder / WEIGHTS)
            package = ModelPackage(
                name=output.name, version="1", classes=tuple(options.classes), cameras=NUSCENES_CAMERAS,
                input_width=width, input_height=height, model=config,
                training_interval_s=0.5, interval_range_s=(0.4, 1.1), vehicle_from_model=NUSCENES_VEHICLE_FROM_LIDAR,
                files={"weights": (WEIGHTS, sha256(folder / WEIGHTS))},
            )
            if len(package.classes) != config.num_classes:
                raise UserError(f"the checkpoint has {config.num_classes} classes; name as many with --classes")
            package.save(folder)
            os.chmod(folder, 0o755)
            os.replace(folder, output)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    return ModelPackage.load(output)


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("checkpoint", type=Path, help="official .pth file")
    parser.add_argument("output", type=Path, help="folder of the new model package")
    parser.add_argument("--size", choices=tuple(INPUT_SIZES), default="small",
                        help="picture size: small 704x256 (default), base 1408x512, large 1600x640")
    parser.add_argument("--classes", nargs="+", default=list(NUSCENES_CLASSES),
                        help="class names, in the model's order")
    parser.add_argument("--num-temporal", type=int, help="instances carried over (default: two thirds of the anchors)")
    parser.add_argument("--border", choices=("drop", "zeros"), default="drop",
                        help="samples outside a picture: dropped whole (official training), or interpolated with zeros")
    parser.add_argument("--corrected-yaw", action="store_true",
                        help="the checkpoint was trained with the corrected yaw order of anchor projection")
    parser.epilog = ("example:\n  sparse4d convert sparse4dv3_r50.pth models/sparse4d_r50\n"
                     "  sparse4d export models/sparse4d_r50")


def run(args: argparse.Namespace) -> int:
    """Convert and say what to do next."""
    package = convert(args.checkpoint, args.output, args)
    model = package.model
    print(f"wrote {args.output}: ResNet-{model.backbone.depth}, {model.num_anchors} anchors, "
          f"{model.num_decoders} decoders, {package.input_width}x{package.input_height}")
    print(f"next: sparse4d export {args.output}")
    return 0
