"""`sparse4d ablate`: train variants of a configuration alike, score them alike, and put them into one table.

Every variant begins from random weights and gets the same steps, seed and drives. Variants that differ in
their decoders only have the image phase in common, which is trained once. With several seeds the spread of
a variant says which differences are more than chance.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sparse4d_ros.boxes import NUSCENES_CLASSES
from sparse4d_ros.deploy.pack import pack
from sparse4d_ros.engine import Engine, EngineOptions
from sparse4d_ros.errors import UserError, shown
from sparse4d_ros.evaluation.run_model import engine_options, run_source
from sparse4d_ros.evaluation.sources import Source
from sparse4d_ros.evaluation.spread import COLUMNS, mean_text
from sparse4d_ros.installing import require
from sparse4d_ros.training.checkpoint import CHECKPOINT, WEIGHTS
from sparse4d_ros.training.command import carry_out, merged
from sparse4d_ros.training.config import config_from_dict, read_yaml
from sparse4d_ros.training.drive_folder import DriveFolder
from sparse4d_ros.training.parallel import Group
from sparse4d_ros.writing import write_text

_EPILOG = """examples:
  sparse4d ablate --config config/train_small.yaml --variants config/ablations.yaml --drives drives/train --validation drives/val --output runs/ablations
  torchrun --nproc-per-node 2 -m sparse4d_ros.cli ablate --config ...     # two processes, one thread each on CPUs

The output folder holds ablations.md and ablations.csv, written anew after every run, and each run. The same command
goes on where it was stopped, and runs nothing twice."""  # noqa: E501 (a command has to be one line)
#: What a run's folder has once it is scored.
_RESULT = "scores.json"
#: Sections and fields of a configuration that the image phase does not see.
_DECODERS_ONLY = {"model": ("decoupled_attention", "quality_estimation", "camera_embedding"),
                  "training": ("decoder_steps", "denoising", "matching")}
#: Folder of the image phases in the output; no variant's name has a dot.
_IMAGE_PHASES = "image.phases"

#: Scores by heading, by seed, by variant.
Results = Mapping[str, Mapping[int, Mapping[str, float]]]


def read_variants(path: Path, base: Any) -> dict[str, Any]:
    """Whole configurations by name: ``base``, over it the file's ``common``, over that the variant's own changes.

    Raises ``UserError`` naming file and variant for what is missing, unknown or wrong.
    """
    content = read_yaml(path)
    if not isinstance(content, dict) or set(content) != {"common", "variants"} or \
            not isinstance(content["variants"], dict) or not content["variants"]:
        raise UserError(f"{path} must have exactly the sections 'common' and 'variants', with at least one variant")
    out = {}
    for name, changes in content["variants"].items():
        if not isinstance(name, str) or not re.fullmatch(r"\w[\w-]*", name):
            raise UserError(f"{path}: a variant's name is that of a folder and a row: letters, digits, _ and -; "
                            f"not {shown(name)}")
        # In YAML a key with nothing behind it is None: a section that changes nothing.
        common, own = ({} if section is None else section for section in (content["common"], changes))
        out[name] = merged(merged(base, common), own)
        config_from_dict(out[name], f"{path}: variant {name}")
    return out


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.epilog = _EPILOG
    parser.add_argument("--config", type=Path, required=True, help="training file that the variants change")
    parser.add_argument("--variants", type=Path, required=True,
                        help="file of variants (config/ablations.yaml); the others are compared with its first")
    parser.add_argument("--drives", type=Path, nargs="+", required=True, metavar="FOLDER",
                        help="folders of training drives")
    parser.add_argument("--validation", type=Path, required=True, metavar="FOLDER",
                        help="folder of the drives to score on")
    parser.add_argument("--seeds", type=int, default=1, metavar="N",
                        help="train each variant N times, with training seeds that count up from the configuration's")
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE",
                        help="option of the engine in scoring, for example nms_iou=0.1; may be given again")
    parser.add_argument("--output", type=Path, required=True, help="folder of runs and tables")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")


def run(args: argparse.Namespace) -> int:
    """Train and score what is not there yet, and print the table."""
    if args.seeds < 1:
        raise UserError(f"--seeds must be at least 1, not {args.seeds}")
    require("the command 'ablate'", "nuscenes")  # is missed now, not after half an hour
    variants = read_variants(args.variants, read_yaml(args.config))
    options = engine_options(args.option, score_threshold=0.0)
    drives, validation = (DriveFolder(folders, NUSCENES_CLASSES) for folders in (args.drives, args.validation))
    group = Group(torch.device(args.device))
    results: dict[str, dict[int, dict[str, float]]] = {name: {} for name in variants}
    for name, seed, content in _runs(variants, args.seeds):
        folder = args.output / name / f"seed_{seed}"
        made_of = {"config": content, "drives": validation.names(), "options": args.option}
        found = _finished(folder / _RESULT, made_of)
        if found is None:
            if group.leads:
                print(f"{name}, seed {seed}: {sum(map(len, results.values())) + 1} of {len(variants) * args.seeds}",
                      flush=True)
            image_phase = args.output / _IMAGE_PHASES / image_phase_name(content)
            if not _train(content, f"variant {name}", folder, image_phase, drives, group):
                if group.leads:
                    print("the same command goes on")
                return 130 if group.leads else 0
            if not group.leads:
                continue  # to the next run, whose first step waits for the leading process
            found = _score(folder, validation, options, args.device)
            write_text(folder / _RESULT, json.dumps(made_of | {"scores": found}, indent=2) + "\n")
        results[name][seed] = {heading: np.nan if found[field] is None else found[field]
                               for heading, field in COLUMNS.items()}
        if group.leads:
            write_text(args.output / "ablations.md", markdown(results))
            write_text(args.output / "ablations.csv", table_csv(results))
    group.close()
    if group.leads:
        print(markdown(results), end="")
    return 0


def image_phase_name(content: Any) -> str:
    """A name that configurations share whose image phases are the same."""
    return hashlib.sha256(json.dumps(_image_phase(content), sort_keys=True).encode()).hexdigest()[:12]


def _image_phase(content: Any) -> Any:
    """A configuration without what only decoders see."""
    return {section: {key: value for key, value in values.items() if key not in _DECODERS_ONLY[section]}
            for section, values in content.items()}


def _train(content: Any, where: str, output: Path, image_phase: Path, drives: DriveFolder, group: Group) -> bool:
    """Train a run to its end, and the image phase that it goes on from if nobody did; False if interrupted."""
    steps = config_from_dict(content, where).training.image_steps
    if steps == 0 or (output / CHECKPOINT).exists():
        return carry_out(content, where, output, drives, group)
    if not carry_out(_image_phase(content), where, image_phase, drives, group, until=steps):
        return False
    group.wait()  # for the checkpoint that the leading process writes
    return carry_out(content, where, output, drives, group, image_phase=image_phase)


def _runs(variants: dict[str, Any], seeds: int) -> Iterator[tuple[str, int, Any]]:
    """Name, training seed and configuration of every run: all variants with the first seed, then with the next."""
    for number in range(seeds):
        for name, content in variants.items():
            seed = config_from_dict(content, name).training.seed + number
            yield name, seed, merged(content, {"training": {"seed": seed}})


def _finished(path: Path, made_of: dict[str, Any]) -> dict[str, Any] | None:
    """The scores of a run that is done; ``UserError`` if it was made of something else."""
    if not path.is_file():
        return None
    content = json.loads(path.read_text())
    for key, value in made_of.items():
        if content.get(key) != value:
            raise UserError(f"{path} was made with another {key}: choose another --output, or remove that run")
    return content["scores"]


def _score(folder: Path, validation: DriveFolder, options: EngineOptions, device: str) -> dict[str, Any]:
    """The nuScenes scores of a run's averaged weights, by PyTorch: no graph needs to be exported."""
    from sparse4d_ros.evaluation.nuscenes_metrics import evaluate

    package = pack(folder / WEIGHTS, folder / "model", version="1")
    engine = Engine(package, backend="torch", device=device, options=options)
    try:
        return evaluate([run_source(engine, Source(name, path, False, package.cameras))
                         for name, path in validation.paths().items()]).to_json()
    finally:
        engine.close()


def _differences(results: Results, name: str, heading: str) -> dict[int, float]:
    """By seed: a variant's score less the first variant's with the same seed."""
    whole = next(iter(results.values()))
    return {seed: scores[heading] - whole[seed][heading] for seed, scores in results[name].items() if seed in whole}


def markdown(results: Results) -> str:
    """The table for people: mean and deviation over the seeds, and the difference to the first variant."""
    first, *others = (name for name, scores in results.items() if scores)
    lines = [f"| variant | runs | {' | '.join(COLUMNS)} |", "| --- | --- |" + " --- |" * len(COLUMNS)]
    for name in (first, *others):
        cells = [str(len(results[name]))]
        for heading in COLUMNS:
            cells.append(mean_text([scores[heading] for scores in results[name].values()]))
            if name != first:
                cells[-1] += f" ({mean_text(list(_differences(results, name, heading).values()), '+')})"
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", f"In brackets the difference to {first}, seed by seed; ± is the standard deviation "
                      "over runs with different seeds.", ""])


def table_csv(results: Results) -> str:
    """The table for programs: a row for each run."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["variant", "seed", *COLUMNS, *(f"{heading} difference" for heading in COLUMNS)])
    for name, by_seed in results.items():
        for seed, scores in by_seed.items():
            differences = (_differences(results, name, heading).get(seed, np.nan) for heading in COLUMNS)
            writer.writerow([name, seed, *(_cell(scores[heading]) for heading in COLUMNS), *map(_cell, differences)])
    return text.getvalue()


def _cell(value: float) -> str:
    return f"{value:.6g}" if np.isfinite(value) else ""
