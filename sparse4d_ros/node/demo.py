"""`make demo`: replay a recorded drive through the node over real topics, and score what came out.

Three participants, each a process of its own: the replay publishes cameras, transforms and clock,
the node answers with tracked objects, and this process listens. Only what the topics carried is
scored, against the ground truth that lies in the bag.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
import webbrowser
from collections.abc import Sequence
from pathlib import Path

from sparse4d_ros.data.bag_reader import BagDrive
from sparse4d_ros.data.image_topics import add_images_option
from sparse4d_ros.errors import UserError
from sparse4d_ros.evaluation.nuscenes_metrics import evaluate
from sparse4d_ros.evaluation.sources import Source
from sparse4d_ros.node.demo_processes import prepare_environment
from sparse4d_ros.node.demo_report import summary_text, write_outputs
from sparse4d_ros.node.demo_session import Plan, record, truths_of
from sparse4d_ros.resources import share_path
from sparse4d_ros.writing import blaming

#: The node publishes everything above this, so that the precision-recall curve is whole; pictures show less.
SCORE_THRESHOLD = 0.05
#: Seconds for starting and loading, and for scoring and painting one frame, on two cores of a small server.
_START_S, _FRAME_S = 15.0, 0.15


def build_parser() -> argparse.ArgumentParser:
    """The options; all have defaults."""
    parser = argparse.ArgumentParser(
        prog="python -m sparse4d_ros.node.demo", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="It leaves summary.json, picture.png, video.mp4, tracks.npz and two logs in the folder --output.")
    parser.add_argument("--bag", type=Path, help="rosbag2 with /ground_truth/objects (default: demo_drive in the model "
                                                 "package)")
    add_images_option(parser)
    parser.add_argument("--model", type=Path, help="model package (default: the shipped sparse4d_small)")
    parser.add_argument("--output", type=Path, default=Path("demo_output"), metavar="FOLDER",
                        help="where results go (default: demo_output)")
    parser.add_argument("--rate", type=float, default=1.0, help="replay speed (default 1)")
    parser.add_argument("--score-threshold", type=float, default=SCORE_THRESHOLD, metavar="S",
                        help="the node publishes objects above this score (default %(default)s)")
    parser.add_argument("--node-module", default=Plan.node_module, metavar="MODULE",
                        help="Python module of the node's process (default %(default)s)")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when results came and were scored; 1 with a sentence otherwise."""
    args = build_parser().parse_args(arguments)
    # A terminated demo must still end its children: leave through the context managers.
    previous = {number: signal.signal(number, lambda *_: sys.exit(1)) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        run(args)
    except UserError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("demo: stopped", file=sys.stderr)
        return 130
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    return 0


def run(args: argparse.Namespace) -> None:
    """Replay, record, score, paint. ``UserError`` with a sentence if nothing can be scored."""
    started = time.monotonic()
    plan = _plan(args)
    span_s = (plan.truths[-1].stamp_ns - plan.truths[0].stamp_ns) * 1e-9
    estimate_s = _START_S + span_s / plan.rate + _FRAME_S * len(plan.truths)
    print(f"sparse4d demo: the drive {plan.bag.name} of {span_s:.0f} s with {len(plan.truths)} frames of "
          f"{len(plan.image_topics)} cameras, the model {plan.model.name}.\nThis takes about {estimate_s:.0f} s.")
    with blaming(plan.logs):
        plan.logs.mkdir(parents=True, exist_ok=True)
    os.environ.update(prepare_environment(dict(os.environ)))
    print("1/4  starting the node and loading the model", flush=True)
    recording = record(plan)
    print("3/4  scoring what the topics carried", flush=True)
    scores = evaluate([recording.drive])
    print("4/4  painting picture and video", flush=True)
    facts = {"bag": str(plan.bag), "model": str(plan.model), "rate": plan.rate,
             "score_threshold": plan.score_threshold}
    paths = write_outputs(args.output, recording, scores,
                          Source(plan.bag.name, plan.bag, is_bag=True, images=args.images),
                          f"{plan.model.name} · {plan.bag.name}", facts)
    print(f"\n{summary_text(recording, scores)}\n")
    print("wrote " + ", ".join(str(path) for path in paths) + f" ({time.monotonic() - started:.0f} s in all)")
    show(next(path for path in paths if path.suffix == ".mp4"))


def show(video: Path) -> None:
    """Open the video if somebody sits before this terminal and has a screen."""
    if sys.stdout.isatty() and (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        webbrowser.open(video.resolve().as_uri())


def _plan(args: argparse.Namespace) -> Plan:
    """Everything that can be found wrong before a process is started is found here."""
    if not args.rate > 0:
        raise UserError(f"--rate is {args.rate:g}; it must be above 0")
    model = args.model or share_path("models", "sparse4d_small")
    bag = args.bag or model / "demo_drive"
    for path, option in ((model, "--model"), (bag, "--bag")):
        if not path.exists():
            raise UserError(f"{path} does not exist; name another with {option}")
    drive = BagDrive(bag, images=args.images)
    return Plan(bag.resolve(), model.resolve(), drive.image_topics, truths_of(drive), drive.fixed_frame, args.rate,
                args.score_threshold, args.output, args.node_module)


if __name__ == "__main__":
    sys.exit(main())
