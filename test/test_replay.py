"""Replay as its own process over real rclpy: what goes in comes out, in order, with /clock."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter

import bag_cases
import needs_ros  # noqa: F401
import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage
from tf2_msgs.msg import TFMessage

from sparse4d_ros.data import bag_files
from sparse4d_ros.data.image_topics import CAMERA_ORDER

pytestmark = pytest.mark.ros

FRAMES = 6
DOMAIN = int(os.environ["ROS_DOMAIN_ID"])  # this process's own, see conftest.py
DEADLINE_S = 300.0  # for a loaded machine; no contract


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    return bag_cases.write(tmp_path_factory.mktemp("bags") / "drive", FRAMES)


def start(*arguments):
    """The replay process. Python starts it with default signal handling, unlike a shell's background job."""
    return subprocess.Popen([sys.executable, "-m", "sparse4d_ros.node.replay", *map(str, arguments)],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(*arguments):
    """Run to the end: ``(exit status, stdout, stderr)``."""
    process = start(*arguments)
    out, err = ended(process)
    return process.returncode, out, err


def ended(process):
    """What a process that ends wrote, ``(stdout, stderr)``, without Kilted's warning of the profile variable."""
    out, err = process.communicate(timeout=DEADLINE_S)
    own = [line for line in err.splitlines(keepends=True) if "FASTRTPS_DEFAULT_PROFILES_FILE" not in line]
    return out, "".join(own)


class Listener:
    """Subscribes in this process and keeps what arrives, by topic."""

    def __init__(self, topics):
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=DOMAIN)
        self.node = rclpy.create_node("listener", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.received = {topic: [] for topic in topics}
        for topic, (kind, qos) in topics.items():
            self.node.create_subscription(kind, topic, self.received[topic].append, qos)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.executor.shutdown()
        self.node.destroy_node()
        self.context.shutdown()

    def spin_until(self, done):
        deadline = time.monotonic() + DEADLINE_S
        while not done():
            assert time.monotonic() < deadline, {topic: len(got) for topic, got in self.received.items()}
            self.executor.spin_once(timeout_sec=0.05)

    def take_rest(self):
        """What has arrived and was not yet taken: until nothing comes for half a second."""
        taken = -1
        while (total := sum(map(len, self.received.values()))) > taken:
            taken = total
            until = time.monotonic() + 0.5
            while time.monotonic() < until:
                self.executor.spin_once(timeout_sec=0.05)


RELIABLE = QoSProfile(depth=1000, reliability=ReliabilityPolicy.RELIABLE)
BEST_EFFORT = QoSProfile(depth=1000, reliability=ReliabilityPolicy.BEST_EFFORT)
LATCHED = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
IMAGES = {f"/camera/{name}/image/compressed": (CompressedImage, RELIABLE) for name in CAMERA_ORDER}
OTHERS = {"/tf": (TFMessage, RELIABLE), "/tf_static": (TFMessage, LATCHED), "/clock": (Clock, RELIABLE)}


def nanoseconds(stamp):
    return stamp.sec * 1_000_000_000 + stamp.nanosec


def test_everything_arrives_once_and_in_order(bag):
    with bag_files.open_bag(bag) as reader:
        expected = Counter({topic: info.msgcount for topic, info in reader.topics.items()})
        first = {}
        for connection, _, raw in bag_files.messages(reader, reader.connections):
            first.setdefault(connection.topic, bag_files.deserialize(reader, connection, raw))
        span = reader.start_time, reader.end_time
    # The player waits for readers of images, and learns of readers in the order in which they are made.
    with Listener({**OTHERS, **IMAGES}) as listener:
        process = start("--bag", bag, "--rate", 2, "--wait-for-subscribers", 1)
        listener.spin_until(lambda: process.poll() is not None)
        out, err = ended(process)
        assert process.returncode == 0, err
        listener.take_rest()
    for topic in (*IMAGES, "/tf", "/tf_static"):
        assert len(listener.received[topic]) == expected[topic], topic
        assert f"{expected[topic]:8d}  {topic}\n" in out
    for topic in IMAGES:
        stamps = [nanoseconds(message.header.stamp) for message in listener.received[topic]]
        assert stamps == sorted(set(stamps))
        assert bytes(listener.received[topic][0].data) == bytes(first[topic].data)
    clock = [nanoseconds(message.clock) for message in listener.received["/clock"]]
    assert clock == sorted(set(clock))
    assert span[0] <= clock[0]
    assert clock[-1] < span[1]
    # Bag time between two /clock messages: 10 ms of wall time at rate 2, and much slack for a busy machine.
    assert len(clock) > expected["/tf"]
    assert err == ""  # no progress bar without a terminal


def test_best_effort_readers_match(bag):
    topic = "/camera/front/image/compressed"
    with Listener({topic: (CompressedImage, BEST_EFFORT)}) as listener:
        # Again and again: a best-effort reader misses what was sent before it knew of the player.
        process = start("--bag", bag, "--topics", topic, "--rate", 4, "--loop", "--wait-for-subscribers", 1)
        try:
            listener.spin_until(lambda: len({nanoseconds(image.header.stamp) for image in listener.received[topic]})
                                == FRAMES)
        finally:
            process.send_signal(signal.SIGINT)
        ended(process)
        assert process.returncode == 0


def test_loop_starts_again_until_interrupted(bag):
    topic = "/camera/front/image/compressed"
    with Listener({topic: (CompressedImage, RELIABLE), "/clock": (Clock, RELIABLE)}) as listener:
        process = start("--bag", bag, "--topics", topic, "--loop", "--rate", 8, "--wait-for-subscribers", 1)
        try:
            listener.spin_until(lambda: len(listener.received[topic]) > 2 * FRAMES)
        finally:
            process.send_signal(signal.SIGINT)
        out, err = ended(process)
        listener.take_rest()
    assert process.returncode == 0
    assert err == ""
    assert "lateness p50" in out
    stamps = [nanoseconds(message.header.stamp) for message in listener.received[topic]]
    assert stamps[:2 * FRAMES] == 2 * sorted(set(stamps))
    clock = [nanoseconds(message.clock) for message in listener.received["/clock"]]
    back = [later - earlier for earlier, later in zip(clock, clock[1:], strict=False) if later < earlier]
    # Interrupted between the first /clock of a round and its first image, there is one jump more.
    assert len(back) - (len(stamps) - 1) // FRAMES in (0, 1)
    assert all(step < -(FRAMES - 2) * bag_cases.INTERVAL_NS for step in back)


def test_selected_topics_without_clock_and_remapped(bag):
    topic = "/camera/back/image/compressed"
    with Listener({"/renamed": (CompressedImage, RELIABLE), "/clock": (Clock, RELIABLE), **OTHERS}) as listener:
        process = start("--bag", bag, "--topics", topic, "--rate", 8, "--no-clock", "--wait-for-subscribers", 1,
                        "--ros-args", "-r", f"{topic}:=/renamed")
        listener.spin_until(lambda: process.poll() is not None and len(listener.received["/renamed"]) == FRAMES)
        out, _ = process.communicate()
    assert process.returncode == 0
    assert not any(listener.received[other] for other in OTHERS)
    assert f"{FRAMES:8d}  messages" in out


def test_a_type_that_is_not_installed_is_skipped_with_one_warning(tmp_path):
    store = get_typestore(Stores.ROS2_JAZZY)
    store.register(get_types_from_msg("int32 value", "unheard_msgs/msg/Odd"))
    with Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.SQLITE3) as writer:
        odd = writer.add_connection("/odd", "unheard_msgs/msg/Odd", typestore=store)
        text = writer.add_connection("/text", "std_msgs/msg/String", typestore=store)
        for index in range(5):
            message = store.types["unheard_msgs/msg/Odd"](value=index)
            writer.write(odd, index, store.serialize_cdr(message, "unheard_msgs/msg/Odd"))
            message = store.types["std_msgs/msg/String"](data="word")
            writer.write(text, index, store.serialize_cdr(message, "std_msgs/msg/String"))
    status, out, err = run("--bag", tmp_path / "bag")
    assert status == 0
    assert err.count("unheard_msgs/msg/Odd") == 1
    assert "       5  /text\n" in out
    assert "/odd" not in out


def test_faults_break_what_goes_out_and_are_counted(bag, tmp_path):
    topic = "/camera/front/image/compressed"
    (tmp_path / "faults.yaml").write_text("- clock_backward: {from: 0.7, seconds: 5}\n")
    with Listener({topic: (CompressedImage, RELIABLE), "/clock": (Clock, RELIABLE)}) as listener:
        process = start("--bag", bag, "--topics", topic, "--wait-for-subscribers", 1, "--seed", 3, "--faults",
                        tmp_path / "faults.yaml", "--fault", "drop:camera=front,to=0.5")
        listener.spin_until(lambda: process.poll() is not None)
        out, err = ended(process)
        listener.take_rest()
    assert process.returncode == 0
    lost = FRAMES - len(listener.received[topic])
    assert 0 < lost < FRAMES and "broken on purpose, seed 3:\n       1  /clock  clock_backward:" in out
    assert out.endswith(f"{lost:8d}  {topic}  drop:camera=front,to=0.5\n")
    assert "drop:camera=front,to=0.5 has hit 1" in err and "clock_backward:seconds=5,from=0.7 has hit 1" in err
    clock = [nanoseconds(message.clock) for message in listener.received["/clock"]]
    (back,) = [later - earlier for earlier, later in zip(clock, clock[1:], strict=False) if later < earlier]
    assert -5_000_000_000 < back < -4_900_000_000
    stamps = [nanoseconds(message.header.stamp) for message in listener.received[topic]]
    assert min(stamps) < bag_cases.START_NS - 3_000_000_000 < max(stamps)


def test_bad_input_is_one_sentence_and_status_2(bag, tmp_path):
    (tmp_path / "broken.mcap").write_bytes(b"\x89MCAP0\r\n")
    for arguments, word in [
        (["--bag", tmp_path / "nowhere"], "no bag at"),
        (["--bag", tmp_path / "broken.mcap"], "cannot be read"),
        (["--bag", bag, "--topics", "/nothing"], "/nothing"),
        (["--bag", bag, "--wait-for-subscribers", 1, "--wait-timeout", 0.2], "/camera/front/image/compressed"),
        (["--bag", bag, "--rate", 0], "0 is not a positive number"),
        (["--bag", bag, "--fault", "drop:camera=side"], "camera=side"),
    ]:
        status, _, err = run(*arguments)
        assert status == 2, arguments
        assert word in err
        assert "Traceback" not in err
