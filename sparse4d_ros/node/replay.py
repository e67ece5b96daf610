"""Play a rosbag2 (MCAP or sqlite3) over real topics, with /clock: `ros2 run sparse4d_ros sparse4d_replay`.

For machines without `ros2 bag`, and for measuring: messages go out as the serialised bytes that
the bag holds, on a schedule kept by the steady clock, and the report at the end says how late they
were. /clock carries the bag's log time, at every message and 100 times a second between them. With `--fault` the
bag is broken on its way out (docs/fault_injection.md).
"""

from __future__ import annotations

import argparse
import importlib
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rosbags.highlevel import AnyReader
from rosbags.interfaces import Connection, QosDurability
from rosgraph_msgs.msg import Clock
from tqdm import tqdm

from sparse4d_ros.data import bag_files, faults
from sparse4d_ros.data.fault import Fault
from sparse4d_ros.data.fault_injector import Injector
from sparse4d_ros.data.ros_messages import COMPRESSED_IMAGE, IMAGE
from sparse4d_ros.data.timed_messages import CLOCK_TOPIC, recording_of, with_clock
from sparse4d_ros.errors import UserError
from sparse4d_ros.node.program import run_program

CLOCK_PERIOD_S = 0.01
#: Queue of each publisher. Reliable "keep last" forgets what a starved reader has not yet confirmed: small
#: messages get room for a second of that, images less, since each may be megabytes.
DEPTH, IMAGE_DEPTH = 100, 10
#: How long the end of the bag waits for reliable readers to confirm what was sent.
ACKNOWLEDGE_S = 2.0


class Player:
    """Publishes the messages of an open bag. ``stop`` ends it between two messages."""

    def __init__(self, node: Node, reader: AnyReader, stop: threading.Event, *, rate: float = 1.0,
                 topics: Sequence[str] = (), clock: bool = True, broken_by: Sequence[Fault] = (), seed: int = 0
                 ) -> None:
        self.node, self.stop, self.rate, self.clock = node, stop, rate, clock
        self.counts: Counter[str] = Counter()
        self.lateness_s: deque[float] = deque(maxlen=100_000)  # bounded, since --loop may run for days
        self.connections = _selected(reader, topics, own_clock=clock)
        self._publishers: dict[str, Publisher] = {}
        for connection in self.connections:
            kind = _message_class(connection.msgtype)
            if kind is None:
                node.get_logger().warning(f"{connection.topic} is not played: the message type {connection.msgtype} "
                                          "is not installed here")
                continue
            if connection.topic not in self._publishers:  # else recorded from several publishers
                self._publishers[connection.topic] = node.create_publisher(
                    kind, connection.topic, _qos(connection, reader.topics[connection.topic].msgcount))
        self.connections = [item for item in self.connections if item.topic in self._publishers]
        if not self.connections:
            raise UserError(f"{reader.paths[0]}: none of its message types is installed here")
        self.injector = Injector(recording_of(reader, self.connections), broken_by, seed, node.get_logger().info)
        if clock:
            self._publishers[CLOCK_TOPIC] = node.create_publisher(Clock, CLOCK_TOPIC, DEPTH)

    def wait_for_subscribers(self, count: int, timeout_s: float) -> None:
        """Until each image topic has ``count`` subscribers (each topic, if the bag has no images)."""
        images = [item for item in self.connections if item.msgtype in (IMAGE, COMPRESSED_IMAGE)]
        waiting = {item.topic: self._publishers[item.topic] for item in images or self.connections}
        deadline = time.monotonic() + timeout_s
        while waiting and not self.stop.wait(0.02):
            waiting = {topic: publisher for topic, publisher in waiting.items()
                       if publisher.get_subscription_count() < count}
            if waiting and time.monotonic() > deadline:
                raise UserError(f"after {timeout_s:g} s fewer than {count} subscriber(s) listen to "
                                f"{', '.join(sorted(waiting))}")

    def play_once(self, progress: tqdm) -> None:
        """From the first message to the last; returns early if ``stop`` is set."""
        messages = self.injector.messages()
        if self.clock:
            messages = with_clock(messages, self.injector.clock, round(CLOCK_PERIOD_S * self.rate * 1e9))
        begin_s: float | None = None
        for message in messages:
            bag_s = message.due_ns * 1e-9
            if begin_s is None:
                begin_s = time.monotonic() - bag_s / self.rate
            due_s = begin_s + bag_s / self.rate
            if self.stop.wait(max(0.0, due_s - time.monotonic())):
                return
            self._publishers[message.topic].publish(message.raw)
            if self.clock and message.topic == CLOCK_TOPIC:
                continue
            self.lateness_s.append(time.monotonic() - due_s)
            self.counts[message.topic] += 1
            progress.update(bag_s - progress.n)

    def finish(self) -> None:
        """Wait until reliable readers have what was sent: leaving at once would lose the last messages."""
        deadline = time.monotonic() + ACKNOWLEDGE_S
        for publisher in self._publishers.values():
            left_s = max(0.0, deadline - time.monotonic())
            publisher.wait_for_all_acked(Duration(nanoseconds=round(left_s * 1e9)))

    def report(self) -> str:
        """Messages per topic, how late they went out, and how many each fault has hit."""
        lines = [f"{count:8d}  {topic}" for topic, count in sorted(self.counts.items())]
        total = sum(self.counts.values())
        if total:
            p50, p95, worst = np.percentile(self.lateness_s, [50, 95, 100]) * 1e3
            lines.append(f"{total:8d}  messages; lateness p50 {p50:.1f} ms, p95 {p95:.1f} ms, max {worst:.1f} ms")
        else:
            lines.append("nothing was played")
        if self.injector.faults:
            lines.append(self.injector.report())
        return "\n".join(lines)


def _selected(reader: AnyReader, topics: Sequence[str], own_clock: bool) -> list[Connection]:
    """The connections to play: those asked for, or all; the bag's /clock only if we make none."""
    known = sorted({connection.topic for connection in reader.connections})
    missing = [topic for topic in topics if topic not in known]
    if missing:
        raise UserError(f"{reader.paths[0]} has no topic {missing[0]}; its topics are: {', '.join(known)}")
    selected = [connection for connection in reader.connections
                if (connection.topic in topics or not topics)
                and not (own_clock and connection.topic == "/clock")
                and connection.msgcount > 0]
    if not selected:
        raise UserError(f"{reader.paths[0]} holds no message to play")
    return selected


def _message_class(name: str):
    """The installed class of ``package/msg/Name``, or None."""
    package, _, message = name.split("/")
    try:
        return getattr(importlib.import_module(f"{package}.msg"), message, None)
    except ImportError:
        return None


def _qos(connection: Connection, count: int) -> QoSProfile:
    """Reliable, which best-effort readers match as well; latched where the recording was.

    ``count`` is the number of messages of the topic. A latched topic keeps all of them: several broadcasters
    share /tf_static, and a late reader needs what each of them said.
    """
    recorded = connection.ext.offered_qos_profiles
    depth = IMAGE_DEPTH if connection.msgtype in (IMAGE, COMPRESSED_IMAGE) else DEPTH
    latched = connection.topic == "/tf_static" or any(
        qos.durability == QosDurability.TRANSIENT_LOCAL for qos in recorded)
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy.RELIABLE,
        depth=min(max(count, 1), 1000) if latched else depth,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sparse4d_replay", description="Play a rosbag2 (MCAP or sqlite3) over ROS topics, with /clock.",
        epilog="Remap topics with --ros-args -r /from:=/to. Nodes that listen should run with use_sim_time.")
    parser.add_argument("--bag", type=Path, required=True, help="a rosbag2 folder, or one .mcap or .db3 file")
    parser.add_argument("--rate", type=_positive, default=1.0, help="speed: 2 plays twice as fast (default 1)")
    parser.add_argument("--loop", action="store_true", help="start again at the end; /clock jumps back with it")
    parser.add_argument("--start-delay", type=float, default=0.0, metavar="S", help="wait before the first message")
    parser.add_argument("--topics", nargs="+", default=(), metavar="TOPIC", help="play only these")
    parser.add_argument("--no-clock", action="store_true", help="do not publish /clock")
    parser.add_argument("--wait-for-subscribers", type=int, default=0, metavar="N",
                        help="wait until every image topic has N subscribers")
    parser.add_argument("--wait-timeout", type=float, default=60.0, metavar="S",
                        help="give that up after S seconds, with an error (default 60)")
    faults.add_options(parser)
    return parser


def _positive(text: str) -> float:
    value = float(text)
    if not 0.0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


def play(args: argparse.Namespace, stop: threading.Event) -> None:
    """Open the bag, play it, print the report."""
    node = Node("sparse4d_replay", start_parameter_services=False)
    try:
        with bag_files.open_bag(args.bag) as reader:
            player = Player(node, reader, stop, rate=args.rate, topics=args.topics, clock=not args.no_clock,
                            broken_by=faults.from_options(args), seed=args.seed)
            if args.wait_for_subscribers:
                player.wait_for_subscribers(args.wait_for_subscribers, args.wait_timeout)
            stop.wait(args.start_delay)
            while not stop.is_set():
                # disable=None: no bar where nobody watches a terminal.
                with tqdm(total=round(reader.duration * 1e-9, 1), unit="s", disable=None, desc="replay",
                          bar_format="{desc} {percentage:3.0f}% |{bar}| {n:.1f}/{total:.1f} s of bag") as progress:
                    player.play_once(progress)
                if not args.loop:
                    break
            if not stop.is_set():
                player.finish()
            print(player.report(), flush=True)
    finally:
        node.destroy_node()


def main(arguments: list[str] | None = None) -> int:
    """0 at the end of the bag or when interrupted, 2 with one sentence on bad input."""
    return run_program(build_parser(), play, arguments)


if __name__ == "__main__":
    sys.exit(main())
