"""What `sparse4d robustness` does: score a model with and without its memory, and with each camera lost in turn."""

from __future__ import annotations

import argparse
import json
from functools import partial

from sparse4d_ros.engine import Engine, EngineOptions, ModelPackage
from sparse4d_ros.errors import UserError
from sparse4d_ros.evaluation.matching import Matches, match_drives
from sparse4d_ros.evaluation.nuscenes_metrics import evaluate, without_nan
from sparse4d_ros.evaluation.robustness import (
    CameraLoss,
    Seen,
    camera_loss,
    camera_table,
    found,
    memory_table,
    seen_by_others,
    watched,
    without_camera,
)
from sparse4d_ros.evaluation.run_model import drive_paths, run_source
from sparse4d_ros.evaluation.sources import Source
from sparse4d_ros.writing import write_text


def run(args: argparse.Namespace) -> int:
    """Run the model over the drives once as it is, once without memory and once for each lost camera."""
    paths = drive_paths(args.bag, args.drives)
    package = ModelPackage.load(args.model)
    cameras = args.camera or list(package.cameras)
    for camera in cameras:
        if camera not in package.cameras:
            raise UserError(f"--camera {camera}: the model's cameras are {', '.join(package.cameras)}")
    sources = [Source(path.name, path, is_bag, tuple(package.cameras), args.images) for path, is_bag in paths]
    engine = Engine(package, backend=args.backend, options=EngineOptions(score_threshold=0.0))
    try:
        seen: list[Seen] = [[] for _ in sources]
        drives = [run_source(engine, source, change=partial(watched, seen=of))
                  for source, of in zip(sources, seen, strict=True)]
        matches = match_drives(drives)
        scores = evaluate(drives, matches=matches)
        alone = evaluate([run_source(engine, source, memory=False, title="no memory") for source in sources])
        print(memory_table(scores, alone), end="\n\n")
        losses = _camera_losses(engine, sources, cameras, matches, seen, args.score)
    finally:
        engine.close()
    print(camera_table(losses, args.score))
    if args.output:
        write_text(args.output, json.dumps(without_nan({
            "with_memory": scores.to_json(), "without_memory": alone.to_json(), "score": args.score,
            "cameras": [vars(loss) | {"lost": loss.lost} for loss in losses]}), indent=2) + "\n")
    return 0


def _camera_losses(engine: Engine, sources: list[Source], cameras: list[str], matches: Matches, seen: list[Seen],
                   score: float) -> list[CameraLoss]:
    with_all, losses = found(matches, score), []
    for camera in cameras:
        drives = [run_source(engine, source, change=partial(without_camera, name=camera), title=f"without {camera}")
                  for source in sources]
        losses.append(camera_loss(camera, seen_by_others(seen, matches, camera), with_all,
                                  found(match_drives(drives), score)))
    return losses
