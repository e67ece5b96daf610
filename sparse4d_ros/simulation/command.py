"""`sparse4d simulate`: render drives through synthetic towns, as bags or as arrays for training."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path

from tqdm import tqdm

from sparse4d_ros.boxes import NUSCENES_CLASSES
from sparse4d_ros.frame import LabelledFrame
from sparse4d_ros.simulation.rig import default_rig
from sparse4d_ros.simulation.splits import SPLITS, check_seed

_EXAMPLES = """examples:
  sparse4d simulate --split val --seeds 10000 --duration 20 --rate 10 --size 704x256 --output drives
  sparse4d simulate --split train --seeds 0:250 --rate 5 --duration 8 --format arrays --output drives/train
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.epilog = _EXAMPLES
    parser.add_argument("--seeds", type=_seeds, required=True, metavar="N|A:B",
                        help="one town, or the towns A to B-1; a drive each")
    parser.add_argument("--split", choices=sorted(SPLITS), default="train",
                        help="which towns: training and validation seeds are kept apart (default %(default)s)")
    parser.add_argument("--duration", type=_positive, default=8.0, metavar="S", help="seconds (default %(default)s)")
    parser.add_argument("--rate", type=_positive, default=5.0, metavar="HZ",
                        help="frame sets a second (default %(default)s)")
    parser.add_argument("--size", type=_size, default=(352, 128), metavar="WxH", help="picture size (default 352x128)")
    parser.add_argument("--format", choices=("bag", "arrays"), default="bag",
                        help="rosbag2 MCAP, or arrays for training (default %(default)s)")
    parser.add_argument("--jpeg-quality", type=int, choices=range(1, 101), default=90, metavar="1..100",
                        help="of the pictures in a bag (default %(default)s)")
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER",
                        help="each drive becomes FOLDER/drive_<seed>; drives that exist are kept")


def run(args: argparse.Namespace) -> int:
    """Render the drives that are not there yet."""
    for seed in args.seeds:
        check_seed(seed, args.split)
    # Rendering needs moderngl, the check above should not.
    from sparse4d_ros.simulation.drive import frame_count, simulate
    from sparse4d_ros.simulation.renderer import Renderer

    todo = [seed for seed in args.seeds if not _folder(args.output, seed).exists()]
    if len(todo) < len(args.seeds):
        print(f"{len(args.seeds) - len(todo)} of {len(args.seeds)} drives exist already")
    renderer = Renderer(args.size)
    args.output.mkdir(parents=True, exist_ok=True)
    with tqdm(total=len(todo) * frame_count(args.duration, args.rate), unit="frame", smoothing=0.05) as progress:
        for seed in todo:
            frames = simulate(seed, args.duration, args.rate, args.size, args.split, renderer=renderer)
            _write(args, _folder(args.output, seed), _counted(frames, progress))
    renderer.release()
    return 0


def _folder(output: Path, seed: int) -> Path:
    return output / f"drive_{seed:05d}"


def _write(args: argparse.Namespace, folder: Path, frames: Iterable[LabelledFrame]) -> None:
    if args.format == "arrays":
        from sparse4d_ros.data.drive_cache import write_drive

        write_drive(folder, frames, NUSCENES_CLASSES)
    else:
        from sparse4d_ros.data.bag_writer import write_bag

        write_bag(folder, frames, default_rig().vehicle_from_camera, jpeg_quality=args.jpeg_quality)


def _counted(frames: Iterable[LabelledFrame], progress: tqdm) -> Iterator[LabelledFrame]:
    for frame in frames:
        yield frame
        progress.update()


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


def _size(text: str) -> tuple[int, int]:
    try:
        width, height = (int(part) for part in text.lower().split("x"))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form 704x256") from error
    return width, height
