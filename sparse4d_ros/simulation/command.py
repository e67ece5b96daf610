"""`sparse4d simulate`: render drives through synthetic towns or of recordings, as bags or as arrays for training."""

from __future__ import annotations

import argparse
from pathlib import Path

from sparse4d_ros.arguments import picture_size
from sparse4d_ros.errors import UserError
from sparse4d_ros.simulation.splits import SPLITS, check_seed
from sparse4d_ros.simulation.suite import read_suite
from sparse4d_ros.simulation.tracks import Recording
from sparse4d_ros.simulation.variety import VARIETIES, check_variety

_EXAMPLES = """examples:
  sparse4d simulate --split val --seeds 10000 --duration 20 --rate 10 --size 704x256 --output drives
  sparse4d simulate --split train --seeds 0:250 --rate 5 --duration 8 --format arrays --output drives/train
  sparse4d simulate --seeds 0:250 --variety full --format arrays --output drives/varied
  sparse4d simulate --seeds 7 --duration 20 --save-tracks drive.json
  sparse4d simulate --suite config/test_drives.yaml --format arrays --output drives/test
  sparse4d simulate --tracks drive.json --mesh car=model.glb --output drives
docs/simulation.md explains the options and the format of tracks.
"""
_DURATION_S = 8.0


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.epilog = _EXAMPLES
    parser.add_argument("--seeds", type=_seeds, metavar="N|A:B",
                        help="one town, or the towns A to B-1; a drive each. With --tracks: the recording in other "
                             "surroundings and, with --variety full, weather (default 0)")
    parser.add_argument("--tracks", type=Path, metavar="FILE.json",
                        help="render recorded motion instead of a town")
    parser.add_argument("--save-tracks", type=Path, metavar="FILE.json",
                        help="record the motion of one town's drive; without --output nothing is rendered")
    parser.add_argument("--suite", type=Path, metavar="FILE.yaml",
                        help="render the drives that a file names; towns, split, rate, duration, size and variety are "
                             "the file's")
    parser.add_argument("--split", choices=sorted(SPLITS), default="train",
                        help="which towns: those of different splits are kept apart (default %(default)s)")
    parser.add_argument("--duration", type=_positive, metavar="S",
                        help=f"seconds (default {_DURATION_S}, with --tracks the recording's length)")
    parser.add_argument("--rate", type=_positive, default=5.0, metavar="HZ",
                        help="frame sets a second (default %(default)s)")
    parser.add_argument("--size", type=picture_size, default=(352, 128), metavar="WxH",
                        help="picture size (default 352x128)")
    parser.add_argument("--variety", choices=VARIETIES, default=VARIETIES[0],
                        help="full: hour, weather, lenses, rig and the vehicle's tilt differ from drive to drive "
                             "(default %(default)s)")
    parser.add_argument("--mesh", type=_mesh, action="append", default=[], metavar="CLASS=FILE",
                        help="a glTF or OBJ file as the body of a class, y up and facing +z; may be repeated")
    parser.add_argument("--format", choices=("bag", "arrays"), default="bag",
                        help="rosbag2 MCAP, or arrays for training (default %(default)s)")
    parser.add_argument("--jpeg-quality", type=int, choices=range(1, 101), default=90, metavar="1..100",
                        help="of the pictures in a bag (default %(default)s)")
    parser.add_argument("--jobs", type=int, default=1, metavar="N",
                        help="drives to render at a time, each in a process of its own (default %(default)s)")
    parser.add_argument("--output", type=Path, metavar="FOLDER",
                        help="each drive becomes FOLDER/drive_<seed>, or FOLDER/<tracks>_<seed>; drives that exist are "
                             "kept")


def run(args: argparse.Namespace) -> int:
    """Render the drives that are not there yet; record one if asked to."""
    if args.suite is None:
        return _run(args)
    if args.seeds is not None or args.tracks is not None or args.save_tracks is not None:
        raise UserError("--suite names the drives; leave out --seeds, --tracks and --save-tracks")
    parsers = {"split": str, "variety": str, "size": picture_size, "seeds": _seeds, "rate": _positive,
               "duration": _positive}
    parts = [argparse.Namespace(**(vars(args) | options)) for options in read_suite(args.suite, parsers)]
    for part in parts:  # all of them, before hours of rendering
        _check(part)
    for part in parts:
        _run(part)
    return 0


def _run(args: argparse.Namespace) -> int:
    recording = _check(args)
    if args.save_tracks is not None:
        from sparse4d_ros.simulation.tracks_file import write_tracks
        from sparse4d_ros.simulation.tracks_record import record_town

        write_tracks(args.save_tracks,
                     record_town(args.seeds[0], args.duration, args.rate, args.split, args.variety))
    if args.output is not None:
        from sparse4d_ros.simulation.jobs import render_drives  # imports what only pictures need

        render_drives(args, recording)
    return 0


def _check(args: argparse.Namespace) -> Recording | None:
    """Refuse options that do not go together, fill in the defaults, read the recording if there is one."""
    if args.seeds is None and args.tracks is None:
        raise UserError("give --seeds for towns or --tracks for a recording")
    if args.output is None and args.save_tracks is None:
        raise UserError("give --output, the folder for the drives")
    if args.jobs < 1:
        raise UserError(f"--jobs is {args.jobs}; it must be at least 1")
    check_variety(args.variety)
    if args.tracks is None:
        args.duration = args.duration or _DURATION_S
        for seed in args.seeds:
            check_seed(seed, args.split)
        if args.save_tracks is not None and len(args.seeds) != 1:
            raise UserError(f"--save-tracks records one town, --seeds names {len(args.seeds)}")
        return None
    if args.save_tracks is not None:
        raise UserError("--save-tracks records a town; --tracks is a recording already")
    from sparse4d_ros.simulation.tracks_file import read_tracks

    recording = read_tracks(args.tracks)
    args.duration = args.duration or recording.duration_s
    args.seeds = args.seeds or range(1)
    if args.seeds[0] < 0:
        raise UserError(f"seed {args.seeds[0]} is negative")
    if args.duration > recording.duration_s + 1e-6:
        raise UserError(f"--duration {args.duration} s is longer than the recording {args.tracks}, "
                        f"which has {recording.duration_s:.3f} s")
    return recording


def _seeds(text: str) -> range:
    first, _, end = text.partition(":")
    try:
        seeds = range(int(first), int(end) if end else int(first) + 1)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a seed like 7 nor a range like 0:250") from error
    if not seeds:
        raise argparse.ArgumentTypeError(f"{text!r} names no seed: write the smaller number first")
    return seeds


def _positive(text: str) -> float:
    value = float(text)
    if not 0.0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


def _mesh(text: str) -> tuple[str, Path]:
    name, _, path = text.partition("=")
    if not name or not path:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form car=model.glb")
    return name, Path(path)
