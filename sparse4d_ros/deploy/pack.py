"""`sparse4d pack`: the weights of a training run as a model package, ready to export."""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from sparse4d_ros.engine.package import FILE_NAME, ModelPackage, sha256
from sparse4d_ros.errors import UserError
from sparse4d_ros.model.config import ModelConfig
from sparse4d_ros.writing import blaming

WEIGHTS = "weights.safetensors"


def save_weights(state: dict[str, torch.Tensor], path: Path) -> None:
    """Write safetensors that everyone may read; ``OSError`` if the disk is full."""
    try:
        save_file(state, path)
    except SafetensorError as error:
        raise OSError(str(error)) from error
    os.chmod(path, 0o644)  # safetensors writes files for their owner alone


def pack(weights: Path, output: Path, version: str, nms_iou: float | None = None) -> ModelPackage:
    """Write ``model.yaml`` and weights into the folder ``output``; other files in it stay.

    ``nms_iou`` is for a model that gives duplicates, see :class:`ModelPackage`. Raises ``UserError`` if the
    run's file is absent or not one of `sparse4d train`, or the disk is full.
    """
    if not weights.is_file():
        raise UserError(f"there is no {weights}; `sparse4d train` writes it into the run's folder")
    try:
        content = torch.load(weights, map_location="cpu", weights_only=True)
        model = ModelConfig.from_dict(content["model"])
        intervals = [float(value) for value in content["intervals_s"]]
        state = {key: value.contiguous() for key, value in content["state_dict"].items()}
        package = ModelPackage(
            name=output.name, version=version, classes=tuple(content["classes"]), cameras=tuple(content["cameras"]),
            input_width=content["input_width"], input_height=content["input_height"], model=model,
            mean=tuple(content["mean"]), std=tuple(content["std"]),
            training_interval_s=min(intervals),
            interval_range_s=(round(0.5 * min(intervals), 3), round(1.5 * max(intervals), 3)), nms_iou=nms_iou,
        )
    except Exception as error:  # an unpickler fails in many ways on what is none of its files
        reason = repr(error).partition("\\n")[0]
        raise UserError(f"{weights} is not a weights file of `sparse4d train`: {reason}") from None
    with blaming(output):
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=output) as folder:
            save_weights(state, Path(folder) / WEIGHTS)
            package.files[  # the exported graphs of older weights are not this model's: they are not listed any more
                "weights"] = (WEIGHTS, sha256(Path(folder) / WEIGHTS))
            package.save(folder)
            os.replace(Path(folder) / WEIGHTS, output / WEIGHTS)
            os.replace(Path(folder) / FILE_NAME, output / FILE_NAME)
    return ModelPackage.load(output)


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("run", type=Path, help="folder of a run of `sparse4d train` (its weights.pt is taken)")
    parser.add_argument("output", type=Path, help="folder of the model package")
    parser.add_argument("--version", default="1", help="version of the model (default 1)")
    parser.add_argument("--nms-iou", type=float, metavar="IOU",
                        help="for a model that gives duplicates (`sparse4d evaluate --option nms_iou=0.1` tells): the "
                             "3-D IoU above which engines suppress them, unless told otherwise")
    parser.epilog = "example:\n  sparse4d pack runs/small models/my_model\n  sparse4d export models/my_model"


def run(args: argparse.Namespace) -> int:
    """Pack and say what to do next."""
    if args.nms_iou is not None and not 0.0 < args.nms_iou < 1.0:
        raise UserError(f"--nms-iou must lie between 0 and 1, not {args.nms_iou}")
    package = pack(args.run / "weights.pt", args.output, args.version, args.nms_iou)
    size = (args.output / WEIGHTS).stat().st_size
    print(f"wrote {args.output} ({size / 1e6:.1f} MB of weights, {package.input_width}x{package.input_height})")
    print(f"next: sparse4d export {args.output}")
    return 0
