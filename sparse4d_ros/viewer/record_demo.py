"""`sparse4d record-demo`: a recorded drive as a folder to hand round: page, video, pictures, tracks and numbers.

A command stands on the floor of the command line: it joins `data`, `engine`, `evaluation` and `viewer`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from sparse4d_ros.data.bag_reader import FIXED_FRAMES, BagDrive
from sparse4d_ros.data.image_topics import add_images_option
from sparse4d_ros.engine import Engine, EngineOptions, ModelPackage
from sparse4d_ros.errors import UserError
from sparse4d_ros.evaluation.canvas import text_size
from sparse4d_ros.evaluation.pictures import DRAW_SCORE, FramePainter, keep_pictures, paint_drive
from sparse4d_ros.evaluation.recorded import Complaint, read_recorded
from sparse4d_ros.evaluation.records import save_results
from sparse4d_ros.evaluation.video import write_video
from sparse4d_ros.viewer.command import Seen, with_model, with_results
from sparse4d_ros.viewer.documents import DocumentMaker, drive_document, encode_pictures
from sparse4d_ros.viewer.drive_report import DriveReport, headline, rate_hz, report_document
from sparse4d_ros.viewer.page import save_page
from sparse4d_ros.writing import blaming, write_text

_PAGE, _VIDEO, _TRACKS, _SUMMARY = "drive.html", "video.mp4", "tracks.npz", "summary.json"
_STILL = "still_{}.png"
_WIDTH = 704
#: A page of more frames is too large to be sent: about 0.2 MB each.
_PAGE_FRAMES = 400
_EXAMPLES = """examples:
  sparse4d record-demo --bag models/sparse4d_small/demo_drive --model models/sparse4d_small --output drive_demo
  sparse4d record-demo --bag drive --output drive_demo              # what the node said while it was recorded
"""


@dataclass(frozen=True)
class _Subject:
    """What is shown."""

    drive: BagDrive
    seen: Iterator[Seen]
    #: Where the tracks come from, in words.
    source: str
    #: What is known to be wrong before the first frame.
    problems: tuple[str, ...]
    complaints: tuple[Complaint, ...] = ()
    #: Recorded results.
    given: int = 0


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of `sparse4d record-demo`."""
    parser.epilog = _EXAMPLES
    parser.add_argument("--bag", type=Path, required=True, help="a rosbag2 folder, or one .mcap or .db3 file")
    add_images_option(parser)
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER",
                        help=f"where {_PAGE}, {_VIDEO}, {_STILL.format('*')}, {_TRACKS} and {_SUMMARY} go")
    tracks = parser.add_mutually_exclusive_group()
    tracks.add_argument("--model", type=Path,
                        help="model package to run over the bag (without it: the node's results that are in the bag)")
    tracks.add_argument("--results", metavar="TOPIC", help="the recorded results to show, if the bag has several")
    parser.add_argument("--backend", default="auto", help="engine backend (default: auto)")
    parser.add_argument("--score-threshold", type=float, default=0.05, metavar="S",
                        help="the model's objects below this score are left out (default %(default)s)")
    parser.add_argument("--draw-score", type=float, default=DRAW_SCORE, metavar="S",
                        help="objects below this score are neither painted nor counted, and hidden at first in the "
                             "page (default %(default)s)")
    parser.add_argument("--every", type=int, metavar="N",
                        help=f"every N-th frame in the page (default: so that it has {_PAGE_FRAMES} at most)")
    parser.add_argument("--picture-width", type=int, default=_WIDTH, metavar="PIXELS",
                        help="make wider pictures smaller in the page (default %(default)s)")
    parser.add_argument("--stills", type=int, default=4, metavar="N",
                        help="how many of the frames with the most objects become pictures (default %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Write the folder; 0 when it is done."""
    for value, option, least in ((args.every, "--every", 1), (args.picture_width, "--picture-width", 1),
                                 (args.stills, "--stills", 0)):
        if value is not None and value < least:
            raise UserError(f"{option} is {value}; it must be at least {least}")
    text_size("", 12)  # a font that is not there is missed now, not after minutes
    with contextlib.ExitStack() as stack:
        subject = _open(args, stack)
        with blaming(args.output):
            args.output.mkdir(parents=True, exist_ok=True)
            for old in (_PAGE, _VIDEO, _TRACKS, _SUMMARY, _STILL.format("*")):
                for path in args.output.glob(old):  # nothing of an earlier run may pass for this one's
                    path.unlink()
        report = DriveReport(args.draw_score)
        numbers = _write_page(args, subject, report)
    save_results(args.output / _TRACKS, report.results)
    _paint(args, subject, report, headline(numbers))
    write_text(args.output / _SUMMARY, json.dumps(numbers, indent=2) + "\n")
    print(f"{args.output}: {headline(numbers)}, {numbers['frames']} frames of {len(subject.drive.camera_names)} "
          f"cameras, {subject.source}; {_PAGE} has {(args.output / _PAGE).stat().st_size / 1e6:.1f} MB")
    print("\n".join(["what went wrong:", *(f"  {text}" for text in numbers["problems"])]) if numbers["problems"]
          else "nothing went wrong")
    return 0


def _open(args: argparse.Namespace, stack: contextlib.ExitStack) -> _Subject:
    """What can be found wrong before the first frame is found here. A set may lack any camera but the reference."""
    if args.model:
        package = ModelPackage.load(args.model)
        drive = BagDrive(args.bag, cameras=package.cameras, images=args.images, min_cameras=1)
        engine = stack.enter_context(contextlib.closing(Engine(
            package, backend=args.backend, options=EngineOptions(score_threshold=args.score_threshold))))
        return _Subject(drive, with_model(engine, drive), f"model {package.name}", _skipped(drive))
    node = read_recorded(args.bag, args.results, args.images)
    if node.frame_id in FIXED_FRAMES:
        raise UserError(f"the results on {node.topic} are in {node.frame_id} (the node's output_frame), not in the "
                        "vehicle's frame; give --model to run one over the bag")
    drive = BagDrive(args.bag, images=args.images, vehicle_frame=node.frame_id, reference_camera=node.reference_camera,
                     min_cameras=1)
    return _Subject(drive, with_results(drive, node.results, node.topic),
                    "recorded" + (f": {node.model}" if node.model else ""), (*_skipped(drive), *node.remarks),
                    node.complaints, len(node.results))


def _skipped(drive: BagDrive) -> tuple[str, ...]:
    """The frames that the bag has and nobody sees."""
    count = drive.skipped["no transform"]
    return (f"{count} of {count + len(drive)} frames are left out: the recorded transforms {drive.fixed_frame} -> "
            f"{drive.vehicle_frame} do not cover them",) if count else ()


def _write_page(args: argparse.Namespace, subject: _Subject, report: DriveReport) -> dict[str, Any]:
    """The first pass: results, and the page with them; returns the drive in numbers."""
    document = drive_document(args.bag.resolve().name, subject.source, draw_score=args.draw_score)
    every = args.every or -(-len(subject.drive) // _PAGE_FRAMES)
    seen = tqdm(subject.seen, desc="1/2 page", unit="frame", total=len(subject.drive), leave=False, disable=None)
    numbers: dict[str, Any] = {}

    def frames() -> Iterator[tuple[dict[str, Any], list[bytes | None]]]:
        maker = DocumentMaker()
        for item, result, failure in seen:
            shown = report.add(item.frame, result, failure)
            frame = maker.document(item.frame, result, item.objects, failure)
            if shown and (len(report.shown_ns) - 1) % every == 0:
                yield frame, encode_pictures(item.frame, args.picture_width)
        problems = [*subject.problems, *report.problems(subject.complaints)]
        if (lost := subject.given - len(report.results)) > 0:
            problems.append(f"{lost} recorded results belong to no frame: another camera than "
                            f"{subject.drive.reference_camera} gave their stamp, or a picture or transform is missing")
        numbers.update({"bag": args.bag.name, "tracks": subject.source, **report.numbers(), "problems": problems})
        document.update(subtitle=f"{subject.source} · {headline(numbers)}", report=report_document(numbers, problems))

    save_page(args.output / _PAGE, document, frames())
    return numbers


def _paint(args: argparse.Namespace, subject: _Subject, report: DriveReport, title: str) -> None:
    """The second pass: the video, and the frames with the most objects as pictures."""
    painter = FramePainter(f"{args.bag.resolve().name} · {title}", draw_score=args.draw_score)
    stills = {stamp_ns: args.output / _STILL.format(number)
              for number, stamp_ns in enumerate(report.fullest(args.stills), 1)} if args.stills else {}
    painted = tqdm(paint_drive(painter, subject.drive, report.results, only=set(report.shown_ns)), desc="2/2 video",
                   unit="frame", total=len(report.shown_ns), leave=False, disable=None)
    write_video(args.output / _VIDEO, keep_pictures(painted, stills), rate_hz(report.shown_ns))
