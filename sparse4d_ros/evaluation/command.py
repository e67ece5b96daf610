"""What `sparse4d evaluate` does: run a model over drives, or take recorded tracks, and score them.

A command stands on the floor of the command line: it joins `data`, `engine` and `evaluation`, of
which none imports another.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from tqdm import tqdm

from sparse4d_ros.engine import Engine, ModelPackage
from sparse4d_ros.errors import UserError
from sparse4d_ros.evaluation.assessment import Assessment, assess
from sparse4d_ros.evaluation.comparison import compare_files, comparison_page, comparison_table
from sparse4d_ros.evaluation.html_report import evaluation_page, paint_worst
from sparse4d_ros.evaluation.matching import match_drives
from sparse4d_ros.evaluation.misses import worst_frames
from sparse4d_ros.evaluation.nuscenes_metrics import Scores, evaluate
from sparse4d_ros.evaluation.pictures import FramePainter, paint_drive
from sparse4d_ros.evaluation.records import (
    TIMING_STEPS,
    Drive,
    load_results,
    save_results,
    truth_of,
)
from sparse4d_ros.evaluation.report import (
    breakdown_table,
    calibration_table,
    latency_table,
    score_facts,
    score_table,
)
from sparse4d_ros.evaluation.run_model import drive_paths, engine_options, run_source
from sparse4d_ros.evaluation.sources import Source
from sparse4d_ros.evaluation.spread import deal, spread_table
from sparse4d_ros.evaluation.submission import write_submission
from sparse4d_ros.evaluation.video import write_video
from sparse4d_ros.writing import write_text


def run(args: argparse.Namespace) -> int:
    """Score and report; 0 when it is done."""
    if args.compare:
        return _compare(args)
    if bool(args.model) == bool(args.tracks):
        raise UserError("give either --model, to run one, or --tracks, to score recorded ones")
    paths = drive_paths(args.bag, args.drives)
    if args.save_tracks and len(paths) != 1:
        raise UserError("--save-tracks writes the tracks of one drive; give one --bag or one folder")
    if args.worst_frames < 0:
        raise UserError(f"--worst-frames {args.worst_frames} is not a number of frames")
    if args.groups is not None and not 2 <= args.groups <= len(paths):
        raise UserError(f"--groups {args.groups}: give 2 or more, and at least as many drives, not {len(paths)}")
    drives, sources = _run_model(args, paths) if args.model else _read_tracks(args, paths)
    if args.save_tracks:  # before anything can go wrong: running the model is what takes long
        save_results(args.save_tracks, drives[0].results)
    assessment = assess(drives, args.draw_score, args.tracking_class_score)
    _print(assessment)
    document = assessment.to_json()
    if args.groups:
        groups = deal(drives, args.groups)
        scores = [_evaluate_group(group, args.tracking_class_score) for group in groups]
        print("", spread_table(groups, scores), sep="\n")
        document["groups"] = [{"drives": [drive.name for drive in group], "scores": of.to_json() if of else None}
                              for group, of in zip(groups, scores, strict=True)]
    if args.output:
        write_text(args.output, json.dumps(document, indent=2) + "\n")
    _write(args, assessment, sources)
    return 0


def _compare(args: argparse.Namespace) -> int:
    if args.model or args.tracks or args.bag or args.drives:
        raise UserError("--compare reads two files of --output; it takes no model, tracks or drives")
    comparison = compare_files(*args.compare)
    print(comparison_table(comparison))
    if args.report:
        write_text(args.report, comparison_page(comparison))
    return 0


def _print(assessment: Assessment) -> None:
    results = [result for drive in assessment.drives for result in drive.results]
    print(score_table(assessment.scores), breakdown_table(assessment.breakdown),
          calibration_table(assessment.calibration), latency_table(results, TIMING_STEPS), sep="\n\n")


def _evaluate_group(group: list[Drive], tracking_class_score: float) -> Scores | None:
    """The scores of some of the drives; None if none of their objects is in range."""
    matches = match_drives(group)
    return evaluate(group, tracking_class_score=tracking_class_score, matches=matches) if matches.present else None


def _write(args: argparse.Namespace, assessment: Assessment, sources: list[Source]) -> None:
    """Every other file that was asked for."""
    if args.submission:
        count = write_submission(args.submission, assessment.drives, args.submission_task, args.tracking_class_score)
        print(f"\n{args.submission}: {count} boxes for the {args.submission_task} task")
    if args.video:
        count = _paint_video(args.video, sources[0], assessment, args.draw_score)
        print(f"\n{args.video}: {count} frames")
    if args.report:
        worst = worst_frames(assessment.drives, assessment.matches, args.draw_score, args.worst_frames)
        subject = f"The model {args.model.name}" if args.model else "Recorded tracks"
        write_text(args.report, evaluation_page(assessment, subject, paint_worst(assessment, sources, worst)))
        print(f"\n{args.report}: open it in a browser")


def _run_model(args: argparse.Namespace, paths: list[tuple[Path, bool]]) -> tuple[list[Drive], list[Source]]:
    package = ModelPackage.load(args.model)
    engine = Engine(package, backend=args.backend, options=engine_options(args.option, args.score_threshold))
    try:
        sources = [Source(path.name, path, is_bag, tuple(package.cameras), args.images) for path, is_bag in paths]
        return [run_source(engine, source) for source in sources], sources
    finally:
        engine.close()


def _read_tracks(args: argparse.Namespace, paths: list[tuple[Path, bool]]) -> tuple[list[Drive], list[Source]]:
    files = args.tracks
    if len(files) != len(paths):
        raise UserError(f"{len(files)} files of tracks and {len(paths)} drives were given; give one for each, in order")
    sources = [Source(path.name, path, is_bag, images=args.images) for path, is_bag in paths]
    drives = []
    for file, source in zip(files, sources, strict=True):
        frames = source.frames()
        truths = tuple(truth_of(item) for item in frames.without_pictures() if item.objects is not None)
        drives.append(Drive(source.name, truths, tuple(load_results(file)), frames.weather))
    return drives, sources


def _paint_video(path: Path, source: Source, assessment: Assessment, draw_score: float) -> int:
    """Paint the first drive's frames with ground truth, which alone have results, into an MP4 at their own rate;
    returns their number."""
    drive = assessment.drives[0]
    painter = FramePainter(f"sparse4d · {source.name}", score_facts(assessment.scores), draw_score)
    pictures = tqdm(paint_drive(painter, source.frames(), drive.results, {truth.stamp_ns for truth in drive.truths}),
                    total=len(drive.truths), desc="painting", unit="frame", leave=False, disable=None)
    return write_video(path, (picture for _, picture in pictures), drive.rate_hz)
