"""``sparse4d train``: train a model on drives."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
import yaml
from safetensors.torch import load_file

from sparse4d_ros.boxes import NUSCENES_CLASSES
from sparse4d_ros.engine.package import ModelPackage
from sparse4d_ros.errors import UserError
from sparse4d_ros.training import checkpoint
from sparse4d_ros.training.config import config_from_dict, read_yaml
from sparse4d_ros.training.loop import train
from sparse4d_ros.training.parallel import Group
from sparse4d_ros.training.streams import DriveFolder
from sparse4d_ros.training.trainer import Trainer
from sparse4d_ros.writing import write_text

_EPILOG = """examples:
  sparse4d simulate --help                     # first make drives
  sparse4d train --config config/train_small.yaml --drives drives/train --output runs/small --minutes 90
  sparse4d train --output runs/small --drives drives/train --resume
  sparse4d train --config config/train_small_joint.yaml --begin-from models/sparse4d_small --drives ... --output ...
  torchrun --nproc-per-node 2 -m sparse4d_ros.cli train --config ...      # two processes, one thread each on CPUs

The run's folder holds checkpoint.pt (to resume), weights.pt (averaged weights and sizes), losses.csv
and, with --validation, validation.csv. Ctrl-C ends the run with a checkpoint."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.epilog = _EPILOG
    parser.add_argument("--config", type=Path, help="training file (config/train_*.yaml); not needed with --resume")
    parser.add_argument("--drives", type=Path, required=True, help="folder of training drives")
    parser.add_argument("--validation", type=Path, help="folder of other drives for a quick score now and then")
    parser.add_argument("--output", type=Path, required=True, help="folder of the run")
    parser.add_argument("--begin-from", type=Path, metavar="PACKAGE",
                        help="model package whose weights the run begins with, instead of random ones")
    parser.add_argument("--minutes", type=float, help="time budget: the schedule ends when it is used up")
    parser.add_argument("--resume", action="store_true", help="go on from the run's checkpoint")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")


def run(args: argparse.Namespace) -> int:
    """Build or resume a run and train it."""
    state = None
    if args.resume:
        if args.config is not None:
            raise UserError("--resume takes the configuration from the checkpoint; leave out --config")
        if args.begin_from is not None:
            raise UserError("--resume takes the weights from the checkpoint; leave out --begin-from")
        state = checkpoint.load(args.output / checkpoint.CHECKPOINT)
        content = state["config"]
        config = config_from_dict(content, str(args.output / checkpoint.CHECKPOINT))
    else:
        if args.config is None:
            raise UserError("--config is missing: name a training file, or --resume a run")
        if (args.output / checkpoint.CHECKPOINT).exists():
            raise UserError(f"{args.output} already holds a run: choose another --output, or --resume it")
        content = read_yaml(args.config)
        config = config_from_dict(content, str(args.config))
    if config.model.num_classes != len(NUSCENES_CLASSES):
        raise UserError(f"model.num_classes is {config.model.num_classes}; drives have {len(NUSCENES_CLASSES)} classes")
    if args.minutes is not None and args.minutes <= 0:
        raise UserError(f"--minutes must be positive, not {args.minutes}")
    drives = DriveFolder(args.drives, NUSCENES_CLASSES)
    validation = DriveFolder(args.validation, NUSCENES_CLASSES) if args.validation else None
    group = Group(torch.device(args.device))
    trainer = Trainer(config, drives, torch.device(args.device), group)
    if state is not None:
        trainer.load_state_dict(state)
    elif args.begin_from is not None:
        package = ModelPackage.load(args.begin_from)
        trainer.begin_from(load_file(package.path("weights")))
    args.output.mkdir(parents=True, exist_ok=True)
    write_text(args.output / "config.yaml", yaml.safe_dump(content, sort_keys=False))
    budget_s = args.minutes * 60 if args.minutes else None
    whole = train(trainer, args.output, content, budget_s, validation, resumed=args.resume)
    group.close()
    if not group.leads:
        return 0
    if not whole:
        print(f"stopped at step {trainer.step}; `sparse4d train --resume --output {args.output} "
              f"--drives {args.drives}` goes on")
        return 130
    print(f"{args.output / checkpoint.WEIGHTS}: averaged weights after {trainer.step} steps")
    return 0

