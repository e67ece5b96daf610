"""The page of `sparse4d view`, fed by topics: `ros2 run sparse4d_ros sparse4d_view`.

One thread turns the newest result into what the page shows, and only while a page is open; a vehicle that nobody
looks at pays for receiving alone.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import threading
import time
import webbrowser

from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from sparse4d_ros.errors import UserError
from sparse4d_ros.evaluation.pictures import DRAW_SCORE
from sparse4d_ros.node.channels import add_topic_options, named_inputs
from sparse4d_ros.node.ego_motion import EgoMotionError
from sparse4d_ros.node.live_frames import Inputs, LiveFrames
from sparse4d_ros.node.program import run_program
from sparse4d_ros.node.tf_source import create_transform_source
from sparse4d_ros.viewer.documents import DocumentMaker, drive_document, encode_pictures
from sparse4d_ros.viewer.page import served_page
from sparse4d_ros.viewer.server import ViewServer
from sparse4d_ros.viewer.store import FrameStore

#: Frames that stay, so that a page can still fetch the pictures of the one before the newest.
_KEPT = 4
_LOOK_AGAIN_S = 0.2


def build_parser() -> argparse.ArgumentParser:
    """The options; all have defaults."""
    parser = argparse.ArgumentParser(
        prog="sparse4d_view", description="Show cameras, boxes and tracks of a running node on a page in a browser.",
        epilog="The page is for this machine alone; from another one: ssh -L 8080:localhost:8080 <machine>.")
    add_topic_options(parser)
    parser.add_argument("--fixed-frame", default="odom", help="frame in which trails stay put (default %(default)s)")
    parser.add_argument("--base-frame", default="base_link",
                        help="the vehicle's frame while no result names one (default %(default)s)")
    parser.add_argument("--rate", type=float, default=10.0, help="most frames a second (default %(default)g)")
    parser.add_argument("--picture-width", type=int, default=960, metavar="PIXELS",
                        help="make wider pictures smaller (default %(default)s)")
    parser.add_argument("--draw-score", type=float, default=DRAW_SCORE, metavar="S",
                        help="where the page's score slider begins (default %(default)s)")
    parser.add_argument("--port", type=int, default=8080, help="port on this machine (default %(default)s; 0: any)")
    parser.add_argument("--no-browser", action="store_true", help="only serve; open no browser")
    return parser


def inputs_of(args: argparse.Namespace) -> Inputs:
    """The topics that the options name; ``UserError`` for an option that cannot be."""
    if not args.rate > 0:
        raise UserError(f"--rate is {args.rate:g}; it must be above 0")
    if args.picture_width < 1:
        raise UserError(f"--picture-width is {args.picture_width}; it must be at least 1")
    return dataclasses.replace(named_inputs(args), base_frame=args.base_frame, fixed_frame=args.fixed_frame)


class Feeder(threading.Thread):
    """Brings the newest frame into the store, at most ``rate`` times a second and while somebody looks."""

    def __init__(self, frames: LiveFrames, server: ViewServer, rate: float, width: int) -> None:
        super().__init__(name="view_frames", daemon=True)
        self._frames, self._server, self._period_s, self._width = frames, server, 1.0 / rate, width
        self._maker = DocumentMaker()
        self._ended = threading.Event()

    def run(self) -> None:
        """Until :meth:`end`."""
        while not self._ended.is_set():
            if not self._server.watched:
                self._ended.wait(_LOOK_AGAIN_S)
                continue
            started = time.monotonic()
            try:
                self._bring()
            except EgoMotionError as error:
                self._server.store.report(str(error))
            except Exception as error:  # one frame that is broken in a way nobody foresaw must not end the view
                self._server.store.report(f"{type(error).__name__}: {error}")
            self._ended.wait(self._period_s - (time.monotonic() - started))

    def end(self) -> None:
        """Stop, and wait until it has."""
        self._ended.set()
        self.join()

    def _bring(self) -> None:
        store = self._server.store
        found = self._frames.newest(_LOOK_AGAIN_S)
        if found is None:
            if missing := self._frames.missing():
                store.report(missing)
            return
        frame, result, problems = found
        store.append(self._maker.document(frame, result), encode_pictures(frame, self._width))
        store.report("; ".join(problems))


def view(args: argparse.Namespace, stop: threading.Event) -> None:
    """Serve until ``stop`` is set; ``UserError`` for an option that cannot be."""
    inputs = inputs_of(args)
    node = Node("sparse4d_view", start_parameter_services=False)
    transforms = create_transform_source(node)
    frames = LiveFrames(node, inputs, transforms, args.picture_width)
    page = served_page(drive_document(args.node, "live", live=True, draw_score=args.draw_score))
    try:
        with ViewServer(page, FrameStore(keep=_KEPT), args.port) as server:
            print(f"{server.url} shows {inputs.objects}; Ctrl-C ends it", flush=True)
            if not args.no_browser:
                webbrowser.open(server.url)
            feeder = Feeder(frames, server, args.rate, args.picture_width)
            feeder.start()
            try:
                executor = SingleThreadedExecutor()
                executor.add_node(node)
                while not stop.is_set():
                    executor.spin_once(timeout_sec=_LOOK_AGAIN_S)
            finally:
                feeder.end()
    finally:
        transforms.destroy()
        node.destroy_node()


def main(arguments: list[str] | None = None) -> int:
    """0 when interrupted, 2 with one sentence on bad input."""
    return run_program(build_parser(), view, arguments)


if __name__ == "__main__":
    sys.exit(main())
