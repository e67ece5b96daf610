"""Record what the node sees and gives out as a bag: `ros2 run sparse4d_ros sparse4d_record --output drive`.

For machines without `ros2 bag`, and for a bag that every command of this package reads as it is: cameras stand in it
as ``/camera/<name>``, and raw pictures as JPEG. Messages arrive serialised and are written by the main thread; the
executor's thread only puts them aside.
"""

from __future__ import annotations

import argparse
import queue
import sys
import threading
import time
from collections import Counter
from pathlib import Path

from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from sparse4d_ros.data import images, ros_messages
from sparse4d_ros.data.growing_bag import GrowingBag
from sparse4d_ros.data.ros_types import typestore
from sparse4d_ros.data.timed_messages import TimedMessage
from sparse4d_ros.errors import UserError
from sparse4d_ros.node.channels import Channel, add_topic_options, channels_of, named_inputs
from sparse4d_ros.node.live_frames import nothing_on
from sparse4d_ros.node.program import run_program

#: Bytes that may wait to be written; what comes beyond is lost, and counted.
BACKLOG = 256_000_000
_JPEG_QUALITY = 90
#: So often it says how far it is, seconds.
_STATUS_S = 5.0
_LOOK_AGAIN_S = 0.1
_GB = 1e9


def build_parser() -> argparse.ArgumentParser:
    """The options; all but the output have defaults."""
    parser = argparse.ArgumentParser(
        prog="sparse4d_record", description="Record cameras, transforms, diagnostics and the results of a running node "
        "until Ctrl-C.", epilog="Then: sparse4d record-demo --bag FOLDER --output FOLDER_demo")
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="the bag, a new folder")
    add_topic_options(parser)
    parser.add_argument("--keep-free", type=float, default=2.0, metavar="GB",
                        help="end the recording when less is free on the disk (default %(default)g)")
    return parser


class Recorder:
    """Receives the messages of channels and writes them into a bag when :meth:`write` is called."""

    def __init__(self, node: Node, channels: list[Channel], bag: GrowingBag) -> None:
        self._clock, self._channels, self._bag = node.get_clock(), channels, bag
        self._queue: queue.SimpleQueue[tuple[Channel, int, bytes]] = queue.SimpleQueue()
        self._received = self._taken = 0  # bytes; each is counted by one thread alone
        self._came_ns = self._log_ns = self._back_ns = 0
        self._before: Counter[str] = Counter()
        #: Messages written, and lost to a full backlog, by topic.
        self.written: Counter[str] = Counter()
        # With all its keys from the start: two threads use it.
        self.lost = Counter(dict.fromkeys((channel.topic for channel in channels), 0))
        #: Why pictures could not be recorded, the last of each topic.
        self.refused: dict[str, str] = {}
        self._heard: Counter[str] = Counter()
        for channel in channels:
            node.create_subscription(channel.kind, channel.topic, lambda raw, channel=channel: self._on(channel, raw),
                                     channel.profile, raw=True)

    def _on(self, channel: Channel, raw: bytes) -> None:
        if self._received - self._taken > BACKLOG:
            self.lost[channel.topic] += 1
            return
        self._received += len(raw)
        self._queue.put((channel, self._clock.now().nanoseconds, raw))

    def write(self, timeout_s: float) -> bool:
        """Write the message that waits longest; whether there was one within ``timeout_s``.

        Simulated time that has not begun is waited for: a log time of 0 would be half a century before the next.
        """
        if not (now_ns := self._clock.now().nanoseconds):
            time.sleep(timeout_s)
            return False
        try:
            channel, at_ns, raw = self._queue.get(timeout=timeout_s)
        except queue.Empty:
            return False
        self._taken += len(raw)
        self._heard[channel.topic] += 1
        if at_ns:
            self._back_ns = max(self._back_ns, self._came_ns - at_ns)
            self._came_ns = at_ns
        self._log_ns = max(self._log_ns, at_ns or now_ns)  # log times never fall
        try:
            raw = _as_jpeg(channel, raw) if channel.camera else raw
        except UserError as error:
            self.refused[channel.topic] = str(error)
            return True
        self._bag.write(channel.recorded_as, channel.recorded_kind, self._log_ns, raw, latched=channel.latched)
        self.written[channel.topic] += 1
        return True

    def status(self) -> str:
        """What came since the last status, and what did not."""
        if not self._clock.now().nanoseconds:
            return f"use_sim_time is set; {nothing_on(['/clock'])}"
        heard = self._heard + self.lost
        fresh, self._before = heard - self._before, heard
        silent = [channel.topic for channel in self._channels
                  if channel.expected and not (heard if channel.latched else fresh)[channel.topic]]
        return "; ".join([f"{self._bag.size / _GB:.2f} GB, {sum(fresh.values())} new messages",
                          *([nothing_on(silent)] if silent else []), *self._refusals()])

    def report(self) -> str:
        """Messages by topic, and everything that is not as it should be."""
        lines = [f"{self.written[channel.topic]:8d}  {channel.topic}" + (
            f" as {channel.recorded_as}" if channel.recorded_as != channel.topic else "") for channel in self._channels
                 if channel.expected or self.written[channel.topic]]
        lines += [f"lost: {count} messages of {topic}, which came faster than they could be written"
                  for topic, count in self.lost.items() if count]
        lines += self._refusals()
        if self._back_ns > 0:
            lines.append(f"the clock went back by {self._back_ns * 1e-9:.1f} s: a player will not keep time there")
        return "\n".join(lines)

    def _refusals(self) -> list[str]:
        return [f"not recorded: pictures of {topic}: {why}" for topic, why in self.refused.items()]


def _as_jpeg(channel: Channel, raw: bytes) -> bytes:
    """A serialised Image as a serialised CompressedImage; ``UserError`` if it is not what it says."""
    message = TimedMessage(0, channel.topic, ros_messages.IMAGE, raw).parsed()
    jpeg = images.encode_jpeg(images.decode(message, channel.camera), _JPEG_QUALITY)
    header = message.header
    return bytes(typestore().serialize_cdr(
        ros_messages.compressed_image(ros_messages.stamp_ns(header.stamp), header.frame_id, jpeg),
        ros_messages.COMPRESSED_IMAGE))


def record(args: argparse.Namespace, stop: threading.Event) -> None:
    """Record until ``stop`` is set; ``UserError`` when the disk is full (what came before is kept), or if nothing
    came."""
    if not 0 <= args.keep_free < float("inf"):
        raise UserError(f"--keep-free is {args.keep_free:g}; it must be a number of gigabytes, 0 or more")
    channels = channels_of(named_inputs(args))
    node, executor = Node("sparse4d_record", start_parameter_services=False), SingleThreadedExecutor()
    executor.add_node(node)
    bag = GrowingBag(args.output, keep_free=round(args.keep_free * _GB))
    try:
        recorder = Recorder(node, channels, bag)
        receiving = threading.Thread(target=_receive, args=(executor, stop), name="record_topics")
        with bag:
            print(f"recording {len(channels)} topics into {args.output}; Ctrl-C ends it", flush=True)
            receiving.start()
            try:
                _write(recorder, stop)
            finally:
                stop.set()
                receiving.join()
            while recorder.write(0.0):  # what still waits
                pass
            if not bag.size:
                raise UserError(f"nothing was recorded: {recorder.status()}")
    finally:
        executor.shutdown()
        node.destroy_node()
        if bag.size:
            print(f"{recorder.report()}\n{args.output}: {bag.size / _GB:.2f} GB of messages in {bag.parts} files",
                  flush=True)


def _receive(executor: SingleThreadedExecutor, stop: threading.Event) -> None:
    while not stop.is_set():
        executor.spin_once(timeout_sec=_LOOK_AGAIN_S)


def _write(recorder: Recorder, stop: threading.Event) -> None:
    """Until ``stop``, saying now and then how far it is."""
    begun = said = time.monotonic()
    while not stop.is_set():
        recorder.write(_LOOK_AGAIN_S)
        if time.monotonic() - said > _STATUS_S:
            said = time.monotonic()
            print(f"{said - begun:6.0f} s  {recorder.status()}", flush=True)


def main(arguments: list[str] | None = None) -> int:
    """0 when interrupted, 2 with one sentence on bad input or a full disk (what was recorded before is kept)."""
    return run_program(build_parser(), record, arguments)


if __name__ == "__main__":
    sys.exit(main())
