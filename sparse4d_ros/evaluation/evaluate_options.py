"""The options of `sparse4d evaluate`. What needs the nuScenes devkit, :mod:`.command`, is imported when it runs."""

from __future__ import annotations

import argparse
from pathlib import Path

from sparse4d_ros.data.image_topics import add_images_option
from sparse4d_ros.evaluation.pictures import DRAW_SCORE
from sparse4d_ros.evaluation.records import TRACKING_CLASS_SCORE

_EXAMPLES = """examples:
  sparse4d evaluate --model models/sparse4d_small --bag drive_a --bag drive_b
  sparse4d evaluate --model models/sparse4d_small --drives val/* --output scores.json --report scores.html
  sparse4d evaluate --model models/sparse4d_small --drives test/* --groups 3
  sparse4d evaluate --tracks demo_output/tracks.npz --bag models/sparse4d_small/demo_drive
  sparse4d evaluate --model models/sparse4d_small --bag drive_a --video drive_a.mp4
  sparse4d evaluate --compare before.json after.json --report difference.html
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of `sparse4d evaluate`."""
    parser.epilog = _EXAMPLES
    parser.add_argument("--model", type=Path, help="model package (folder with model.yaml) to run")
    parser.add_argument("--tracks", type=Path, action="append", default=[], metavar="FILE",
                        help="recorded tracks (.npz of the demo) to score instead of running a model, one per drive")
    parser.add_argument("--bag", type=Path, action="append", default=[], metavar="BAG",
                        help="rosbag2 with /ground_truth/objects; may be given again")
    add_images_option(parser)
    parser.add_argument("--drives", type=Path, nargs="+", default=[], metavar="FOLDER",
                        help="drives as arrays, written by `sparse4d simulate` for training")
    parser.add_argument("--backend", default="auto", help="engine backend (default: auto)")
    parser.add_argument("--score-threshold", type=float, default=0.0, metavar="S",
                        help="drop objects below this score before scoring (default 0: the curve is complete)")
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE",
                        help="another option of the engine, for example nms_iou=0.5; may be given again")
    parser.add_argument("--tracking-class-score", type=float, default=TRACKING_CLASS_SCORE, metavar="S",
                        help="class score below which an object takes no part in the tracking scores (default "
                             "%(default)s, as Sparse4D exports)")
    parser.add_argument("--groups", type=int, metavar="N",
                        help="also score N groups of the drives, alike in frame rates, and print mean and standard "
                             "deviation over them")
    parser.add_argument("--output", type=Path, metavar="JSON", help="write all numbers to this file")
    parser.add_argument("--report", type=Path, metavar="HTML",
                        help="write a page with tables, curves and pictures of the worst frames, in one file")
    parser.add_argument("--worst-frames", type=int, default=6, metavar="N",
                        help="how many frames with the most missed objects the page shows (default %(default)s)")
    parser.add_argument("--compare", type=Path, nargs=2, metavar="JSON",
                        help="put two files of --output side by side instead of evaluating")
    parser.add_argument("--submission", type=Path, metavar="JSON",
                        help="write the results in the nuScenes submission format")
    parser.add_argument("--submission-task", choices=("detection", "tracking"), default="detection",
                        help="which of the two formats (default %(default)s)")
    parser.add_argument("--save-tracks", type=Path, metavar="FILE", help="write the tracks of the (one) drive as .npz")
    parser.add_argument("--video", type=Path, metavar="MP4", help="paint the first drive as a video")
    parser.add_argument("--draw-score", type=float, default=DRAW_SCORE, metavar="S",
                        help="objects below this score are not painted, and not counted in recall by distance and "
                             "visibility, in missed objects and in identity switches (default %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Score and report; 0 when it is done."""
    from sparse4d_ros.evaluation import command

    return command.run(args)
