"""`sparse4d view`: look at a drive in a browser, with the tracks of a model or recorded ones.

A command stands on the floor of the command line: it joins `data`, `engine` and `viewer`.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import threading
import webbrowser
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from tqdm import tqdm

from sparse4d_ros.data.bag_reader import BagDrive
from sparse4d_ros.data.image_topics import add_images_option
from sparse4d_ros.engine import Engine, EngineOptions, ModelPackage
from sparse4d_ros.engine.drive import run_drive
from sparse4d_ros.errors import UserError
from sparse4d_ros.evaluation.pictures import DRAW_SCORE
from sparse4d_ros.evaluation.records import FrameResult, from_detections, load_results
from sparse4d_ros.frame import LabelledFrame
from sparse4d_ros.viewer.documents import DocumentMaker, drive_document, encode_pictures
from sparse4d_ros.viewer.page import save_page, served_page
from sparse4d_ros.viewer.server import ViewServer
from sparse4d_ros.viewer.store import FrameStore

#: Width of pictures where no other is asked for: served, and in a file that shall stay small.
_WIDTH, _SAVED_WIDTH = 960, 704
_EXAMPLES = """examples:
  sparse4d view --bag models/sparse4d_small/demo_drive --model models/sparse4d_small
  sparse4d view --bag models/sparse4d_small/demo_drive --tracks demo_output/tracks.npz
  sparse4d view --bag drive --model my_model --save drive.html --every 2
"""

#: A frame, its result, and why there is none.
Seen = tuple[LabelledFrame, FrameResult | None, str]

log = logging.getLogger(__name__)


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of `sparse4d view`."""
    parser.epilog = _EXAMPLES
    parser.add_argument("--bag", type=Path, required=True, help="a rosbag2 folder, or one .mcap or .db3 file")
    add_images_option(parser)
    tracks = parser.add_mutually_exclusive_group()
    tracks.add_argument("--model", type=Path, help="model package (folder with model.yaml) to run over the bag")
    tracks.add_argument("--tracks", type=Path, metavar="FILE",
                        help="recorded tracks (.npz of the demo or of `sparse4d evaluate --save-tracks`)")
    parser.add_argument("--backend", default="auto", help="engine backend (default: auto)")
    parser.add_argument("--score-threshold", type=float, default=0.05, metavar="S",
                        help="the model's objects below this score are left out (default %(default)s)")
    parser.add_argument("--draw-score", type=float, default=DRAW_SCORE, metavar="S",
                        help="where the page's score slider begins (default %(default)s)")
    parser.add_argument("--every", type=int, default=1, metavar="N",
                        help="show every N-th frame only; the model runs on all (default %(default)s)")
    parser.add_argument("--picture-width", type=int, metavar="PIXELS",
                        help=f"make wider pictures smaller (default {_WIDTH}, with --save {_SAVED_WIDTH})")
    parser.add_argument("--save", type=Path, metavar="HTML",
                        help="write the page with everything in it to one file instead of serving it")
    parser.add_argument("--port", type=int, default=8080, help="port on this machine (default %(default)s; 0: any)")
    parser.add_argument("--no-browser", action="store_true", help="only serve; open no browser")


def run(args: argparse.Namespace) -> int:
    """Serve until Ctrl-C, or save; 0 when it is done."""
    for value, option in ((args.every, "--every"), (args.picture_width, "--picture-width")):
        if value is not None and value < 1:
            raise UserError(f"{option} is {value}; it must be at least 1")
    if not args.bag.exists():
        raise UserError(f"{args.bag} does not exist; --bag takes a recorded drive")
    subtitle = f"model {args.model.resolve().name}" if args.model else "recorded tracks" if args.tracks else "no tracks"
    drive = drive_document(args.bag.resolve().name, subtitle, draw_score=args.draw_score)
    with contextlib.ExitStack() as stack:
        total, seen = _open(args, stack)
        total = -(-total // args.every)
        frames = _documents(islice(seen, 0, None, args.every),
                            args.picture_width or (_SAVED_WIDTH if args.save else _WIDTH))
        return _save(args.save, drive, frames, total) if args.save else _serve(args, drive, frames, total)


def _open(args: argparse.Namespace, stack: contextlib.ExitStack) -> tuple[int, Iterator[Seen]]:
    """Number of frames, and the frames; what can be found wrong before the first one is found here."""
    if args.model:
        package = ModelPackage.load(args.model)
        engine = stack.enter_context(contextlib.closing(Engine(
            package, backend=args.backend, options=EngineOptions(score_threshold=args.score_threshold))))
        drive = BagDrive(args.bag, cameras=package.cameras, images=args.images)
        return len(drive), with_model(engine, drive)
    drive = BagDrive(args.bag, images=args.images)
    if args.tracks:
        return len(drive), with_results(drive, load_results(args.tracks), args.tracks.name)
    return len(drive), ((item, None, "") for item in drive)


def with_model(engine: Engine, drive: BagDrive) -> Iterator[Seen]:
    """The frames of a bag, each with what the engine makes of it."""
    for step in run_drive(engine, drive):
        found = step.detections
        yield step.item, None if found is None else from_detections(found, engine.package.classes), step.failure


def with_results(drive: BagDrive, results: Sequence[FrameResult], source: str) -> Iterator[Seen]:
    """The frames of a bag, each with the result of its stamp; at the end ``UserError`` naming ``source`` if none has
    one."""
    by_stamp = {result.stamp_ns: result for result in results}
    found = 0
    for item in drive:
        result = by_stamp.get(item.frame.stamp_ns)
        found += result is not None
        yield item, result, "" if result is not None else f"no result of this stamp in {source}"
    if results and not found:
        raise UserError(f"none of the {len(results)} results in {source} has the stamp of a frame of {drive.path}: "
                        "they are not of the same drive")


def _documents(seen: Iterator[Seen], width: int) -> Iterator[tuple[dict[str, Any], list[bytes | None]]]:
    maker = DocumentMaker()
    for item, result, failure in seen:
        yield maker.document(item.frame, result, item.objects, failure), encode_pictures(item.frame, width)


def _save(path: Path, drive: dict[str, Any], frames: Iterator, total: int) -> int:
    count = save_page(path, drive, tqdm(frames, desc="writing", unit="frame", total=total, leave=False, disable=None))
    print(f"{path}: {count} frames, {path.stat().st_size / 1e6:.1f} MB; open it in a browser")
    return 0


def _serve(args: argparse.Namespace, drive: dict[str, Any], frames: Iterator, total: int) -> int:
    store, stop = FrameStore(total), threading.Event()
    with ViewServer(served_page(drive), store, args.port) as server:
        print(f"{server.url} shows {args.bag}; Ctrl-C ends it", flush=True)
        worker = threading.Thread(target=_fill, args=(store, frames, stop), name="view_frames", daemon=True)
        worker.start()
        if not args.no_browser:
            webbrowser.open(server.url)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            pass
        finally:
            stop.set()
            worker.join()
    return 0


def _fill(store: FrameStore, frames: Iterator, stop: threading.Event) -> None:
    """The background thread: frame after frame ahead of who looks, until all are there."""
    problem = ""
    try:
        for document, pictures in frames:
            if stop.is_set():
                return
            store.append(document, pictures)
    except Exception as error:  # shown where somebody looks; what is there already can still be looked at
        problem = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        log.error("%s", problem)
    store.finish(problem)
