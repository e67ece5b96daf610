"""The options of `sparse4d robustness`. What needs the nuScenes devkit, :mod:`.robustness_command`, is imported when it
runs."""

from __future__ import annotations

import argparse
from pathlib import Path

from sparse4d_ros.data.image_topics import add_images_option
from sparse4d_ros.evaluation.pictures import DRAW_SCORE

_EXAMPLES = """examples:
  sparse4d robustness --model models/sparse4d_small --bag models/sparse4d_small/demo_drive
  sparse4d robustness --model models/sparse4d_small --drives drives/test/* --camera front --camera back
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of `sparse4d robustness`."""
    parser.epilog = _EXAMPLES
    parser.add_argument("--model", type=Path, required=True, help="model package (folder with model.yaml)")
    parser.add_argument("--bag", type=Path, action="append", default=[], metavar="BAG",
                        help="rosbag2 with /ground_truth/objects; may be given again")
    add_images_option(parser)
    parser.add_argument("--drives", type=Path, nargs="+", default=[], metavar="FOLDER",
                        help="drives as arrays, written by `sparse4d simulate`")
    parser.add_argument("--camera", action="append", metavar="NAME",
                        help="a camera to lose; may be given again (default: each of the model's)")
    parser.add_argument("--score", type=float, default=DRAW_SCORE, metavar="S",
                        help="score from which an object counts as found (default %(default)s)")
    parser.add_argument("--backend", default="auto", help="engine backend (default: auto)")
    parser.add_argument("--output", type=Path, metavar="JSON", help="write all numbers to this file")


def run(args: argparse.Namespace) -> int:
    """Score the model as it is, without memory and without each camera; 0 when it is done."""
    from sparse4d_ros.evaluation import robustness_command

    return robustness_command.run(args)
