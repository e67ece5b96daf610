"""``sparse4d train``: train a model on drives."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import load_file

from sparse4d_ros.boxes import NUSCENES_CLASSES
from sparse4d_ros.engine.package import ModelPackage
from sparse4d_ros.errors import UserError
from sparse4d_ros.training import checkpoint
from sparse4d_ros.training.config import config_from_dict, read_yaml
from sparse4d_ros.training.drive_folder import DriveFolder
from sparse4d_ros.training.loop import train
from sparse4d_ros.training.parallel import Group
from sparse4d_ros.training.trainer import Trainer
from sparse4d_ros.writing import blaming, write_text

_EPILOG = """examples:
  sparse4d simulate --help                     # first make drives
  sparse4d train --config config/train_small.yaml --drives drives/train --output runs/small --minutes 90
  sparse4d train --output runs/small --drives drives/train --resume
  sparse4d train --config config/train_small.yaml --drives drives/train --output runs/small --resume   # begin or go on
  sparse4d train --config config/train_small_joint.yaml --begin-from models/sparse4d_small --drives ... --output ...
  torchrun --nproc-per-node 2 -m sparse4d_ros.cli train --config ...      # two processes, one thread each on CPUs

The run's folder holds checkpoint.pt (to resume), weights.pt (averaged weights and sizes), losses.csv
and, with --validation, validation.csv. Ctrl-C ends the run with a checkpoint."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.epilog = _EPILOG
    parser.add_argument("--config", type=Path, help="training file (config/train_*.yaml); not needed with --resume")
    parser.add_argument("--drives", type=Path, nargs="+", required=True, metavar="FOLDER",
                        help="folders of training drives")
    parser.add_argument("--validation", type=Path, help="folder of other drives for a quick score now and then")
    parser.add_argument("--output", type=Path, required=True, help="folder of the run")
    parser.add_argument("--begin-from", type=Path, metavar="PACKAGE",
                        help="model package whose weights the run begins with, instead of random ones")
    parser.add_argument("--backbone-weights", type=Path, metavar="FILE",
                        help="published weights (.pth, .safetensors) that the backbone begins with: of torchvision's "
                             "ResNets, EfficientNet-lite0, an official Sparse4D checkpoint")
    parser.add_argument("--minutes", type=float, help="time budget: the schedule ends when it is used up")
    parser.add_argument("--resume", action="store_true",
                        help="go on from the run's checkpoint; with --config, begin the run if there is none")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")


def run(args: argparse.Namespace) -> int:
    """Build or resume a run and train it."""
    if args.config is None and not args.resume:
        raise UserError("--config is missing: name a training file, or --resume a run")
    if args.config is None and (args.begin_from is not None or args.backbone_weights is not None):
        raise UserError("--resume takes the weights from the checkpoint; leave out --begin-from and "
                        "--backbone-weights")
    if not args.resume and (args.output / checkpoint.CHECKPOINT).exists():
        raise UserError(f"{args.output} already holds a run: choose another --output, or --resume it")
    if args.minutes is not None and args.minutes <= 0:
        raise UserError(f"--minutes must be positive, not {args.minutes}")
    content = read_yaml(args.config) if args.config else None
    if args.backbone_weights is not None:
        content = merged(content, {"training": {"backbone_weights": str(args.backbone_weights)}})
    drives = DriveFolder(args.drives, NUSCENES_CLASSES)
    validation = DriveFolder(args.validation, NUSCENES_CLASSES) if args.validation else None
    group = Group(torch.device(args.device))
    whole = carry_out(content, str(args.config), args.output, drives, group, validation=validation,
                      begin_from=args.begin_from, budget_s=args.minutes * 60 if args.minutes else None)
    group.close()
    if not group.leads:
        return 0
    if not whole:
        print(f"`sparse4d train --resume --output {args.output} --drives {' '.join(map(str, args.drives))}` goes on")
        return 130
    return 0


def merged(base: Any, changes: Any) -> Any:
    """``base`` with ``changes`` put over it: mappings key by key, anything else as a whole."""
    if not isinstance(base, dict) or not isinstance(changes, dict):
        return changes
    return base | {key: merged(base.get(key), value) for key, value in changes.items()}


def carry_out(content: dict[str, Any] | None, where: str, output: Path, drives: DriveFolder, group: Group, *,
              validation: DriveFolder | None = None, begin_from: Path | None = None, image_phase: Path | None = None,
              budget_s: float | None = None, until: int | None = None) -> bool:
    """Train a run to its end, from the checkpoint in ``output`` if there is one; False if it was interrupted.

    ``content`` is the configuration as a mapping, read from ``where``; None takes the checkpoint's.
    A new run may begin with a package's weights, or go on from the ``image_phase`` that another run's
    folder holds. ``until`` is a step to end at, in the middle of the schedule.
    Raises ``UserError`` if the checkpoint is of another configuration, or as :class:`Trainer`.
    """
    path = output / checkpoint.CHECKPOINT
    state = checkpoint.load(path) if content is None or path.exists() else None
    if state is not None:
        if content is not None and content != state["config"]:
            raise UserError(f"{path} is of a run with another configuration than {where}: choose another --output")
        content, where = state["config"], str(path)
    config = config_from_dict(content, where)
    if config.model.num_classes != len(NUSCENES_CLASSES):
        raise UserError(f"{where}: model.num_classes is {config.model.num_classes}; drives have "
                        f"{len(NUSCENES_CLASSES)} classes")
    if begin_from is not None and config.training.backbone_weights:
        raise UserError("--begin-from brings the weights of the backbone too: leave out training.backbone_weights")
    trainer = Trainer(config, drives, group)
    if state is not None:
        trainer.load_state_dict(state)
    elif begin_from is not None:
        trainer.begin_from(load_file(ModelPackage.load(begin_from).path("weights")))
    elif image_phase is not None:
        trainer.take_image_phase(checkpoint.load(image_phase / checkpoint.CHECKPOINT))
    elif config.training.backbone_weights:
        trainer.begin_backbone_from(Path(config.training.backbone_weights))
    with blaming(output):
        output.mkdir(parents=True, exist_ok=True)
    if group.leads:
        write_text(output / "config.yaml", yaml.safe_dump(content, sort_keys=False))
    whole = train(trainer, output, content, budget_s, validation, resumed=state is not None,
                  until=config.training.steps if until is None else until)
    if group.leads:
        print(f"{output / checkpoint.WEIGHTS}: averaged weights, {'done' if whole else 'stopped'} at step "
              f"{trainer.step}", flush=True)
    return whole
