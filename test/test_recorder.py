"""`sparse4d_record`: what topics carry becomes a bag that every command reads."""

from __future__ import annotations

import queue
import re
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from types import SimpleNamespace

import cv2
import docs_text
import needs_ros  # noqa: F401
import numpy as np
import pytest
from fake_engine import NAMES
from fake_vehicle import MS, WITHIN_S, FakeVehicle, S, ego_pose, picture
from node_harness import Harness, ros_context, wait_until
from test_viewer_live import PATTERNS, RAW, answer

from sparse4d_ros.data import bag_files
from sparse4d_ros.data.bag_reader import BagDrive
from sparse4d_ros.data.growing_bag import GrowingBag
from sparse4d_ros.evaluation.recorded import read_recorded
from sparse4d_ros.msg import TrackedObject3DArray
from sparse4d_ros.node import record
from sparse4d_ros.node.channels import channels_of, named_inputs

pytestmark = pytest.mark.ros

OBJECTS = "/sparse4d_node/output/objects"


def transport_of(patterns: tuple[str, str]) -> str:
    return "compressed" if patterns is PATTERNS else "raw"


@pytest.fixture
def harness():
    with ros_context() as context:
        harness = Harness(context, None)
        try:
            yield harness
        finally:
            harness.end()


@pytest.mark.parametrize("patterns", [PATTERNS, RAW], ids=["jpeg", "raw"])
def test_a_drive_is_recorded_until_ctrl_c_and_reads_as_a_drive(harness, patterns, tmp_path):
    bag = tmp_path / "drive"
    process = subprocess.Popen([sys.executable, "-m", "sparse4d_ros.node.record", "--output", str(bag),
                                "--images", patterns[0], "--keep-free", "0"],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == f"recording 18 topics into {bag}; Ctrl-C ends it\n"
        vehicle = FakeVehicle(harness.helper, topic_pattern=patterns, transport=transport_of(patterns))
        objects = harness.helper.create_publisher(TrackedObject3DArray, OBJECTS, 200)
        assert wait_until(lambda: vehicle.connected() and objects.get_subscription_count() > 0)
        heard = queue.SimpleQueue()
        threading.Thread(target=lambda: [heard.put(line) for line in process.stdout], daemon=True).start()
        stamps, said = [], ""
        while len(stamps) < 200 and "new messages" not in said:  # a status every five seconds: others come first
            stamps.append(100 * S + len(stamps) * 200 * MS)
            vehicle.publish(stamps[-1])
            objects.publish(answer(stamps[-1]))
            with suppress(queue.Empty):
                said += heard.get(timeout=0.1)
        while " 0 new messages" not in said:  # all that was sent is there
            said += heard.get(timeout=WITHIN_S)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=WITHIN_S) == 0 and process.stderr.read() == ""
        while "GB of messages" not in said:
            said += heard.get(timeout=WITHIN_S)
    finally:
        process.kill()
    front = patterns[0].format(name="front") + (" as /camera/front/image/compressed" if patterns is RAW else "")
    assert re.search(rf" \d+  {front}\n", said) and f"{bag}: 0.00 GB of messages in 1 files" in said
    frames = [item.frame for item in BagDrive(bag)]  # pictures are best effort
    assert len(frames) >= 2 and {frame.stamp_ns for frame in frames} <= set(stamps)
    for frame in frames:
        assert np.allclose(frame.fixed_from_vehicle, ego_pose(frame.stamp_ns), atol=1e-6)
        for camera in frame.cameras:
            expected = picture(camera.name, frame.stamp_ns, camera.stamp_ns)
            assert np.abs(camera.image.astype(int) - expected).max() < 20
    node = read_recorded(bag)
    assert {result.stamp_ns for result in node.results} >= {frame.stamp_ns for frame in frames}
    assert node.topic == OBJECTS and all(result.track_ids.tolist() == [7] for result in node.results)


class Scene:
    """A recorder in this process, whose messages are written when the test says so."""

    def __init__(self, harness: Harness, folder, patterns=PATTERNS) -> None:
        args = record.build_parser().parse_args(
            ["--output", str(folder / "drive"), "--images", patterns[0], "--camera-infos", patterns[1]])
        self.patterns = patterns
        self.vehicle = FakeVehicle(harness.helper, topic_pattern=patterns, transport=transport_of(patterns))
        self.bag = GrowingBag(args.output)
        self.recorder = record.Recorder(harness.helper, channels_of(named_inputs(args)), self.bag)
        assert wait_until(self.vehicle.connected)

    def drive(self, stamp_ns: int, **how) -> None:
        """One set of pictures and what belongs to it, written."""
        before = self.recorder._heard.copy()
        topics = ["/tf", *(pattern.format(name=name) for pattern in self.patterns
                           for name in NAMES if name not in how.get("skip", ()))]
        self.vehicle.publish(stamp_ns, **how)

        def written() -> bool:
            while self.recorder.write(0.0):
                pass
            heard = self.recorder._heard
            return heard["/tf_static"] > 0 and all(heard[topic] > before[topic] for topic in topics)

        assert wait_until(written)


def test_a_topic_that_falls_silent_is_named(harness, tmp_path):
    scene = Scene(harness, tmp_path)
    with scene.bag:
        scene.drive(100 * S)
        front, back = (PATTERNS[0].format(name=name) for name in ("front", "back"))
        assert scene.recorder.status().endswith(
            f"; nothing comes on {OBJECTS}, /diagnostics, /sparse4d_node/model_info")
        scene.drive(100 * S + 100 * MS, skip=["back"])
        assert f"nothing comes on {OBJECTS}, {back}, /camera/back/camera_info and 2 other" in scene.recorder.status()
        assert f"       2  {front}\n" in scene.recorder.report() and f"       1  {back}\n" in scene.recorder.report()


def test_what_a_slow_disk_does_not_take_is_counted(harness, tmp_path, monkeypatch):
    scene = Scene(harness, tmp_path)
    monkeypatch.setattr(record, "BACKLOG", 0)
    with scene.bag:
        scene.vehicle.publish(100 * S)
        assert wait_until(lambda: sum(scene.recorder.lost.values()) >= 10)
        while scene.recorder.write(0.0):
            pass
    assert ("lost: 1 messages of /camera/back/image/compressed, which came faster than they could be written"
            in scene.recorder.report().splitlines())


def test_a_picture_that_cannot_be_made_a_jpeg_is_told_and_the_rest_recorded(harness, tmp_path):
    scene = Scene(harness, tmp_path, RAW)

    def change(name, message):
        message.encoding = "16UC1" if name == "back" else message.encoding
        return message

    with scene.bag:
        scene.drive(100 * S, change=change)
        said = scene.recorder.status()
    assert "/camera/back" not in said.partition("; not recorded: pictures of /camera/back/image_raw: ")[0]
    assert "not recorded: pictures of /camera/back/image_raw: camera 'back': encoding '16UC1' is not supported" in \
        scene.recorder.report()
    with bag_files.open_bag(scene.bag.path) as reader:
        assert {f"/camera/{name}/image/compressed" for name in NAMES if name != "back"} == {
            topic for topic in reader.topics if topic.endswith("compressed")}
        (item, _, raw), = bag_files.messages(reader, [
            item for item in reader.connections if item.topic == "/camera/front/image/compressed"])
        message = bag_files.deserialize(reader, item, raw)
        assert message.header.frame_id == "front_optical_frame" and cv2.imdecode(message.data, 1) is not None


def test_log_times_never_fall_and_simulated_time_is_waited_for(harness, tmp_path, monkeypatch):
    now = SimpleNamespace(nanoseconds=0)
    monkeypatch.setattr(harness.helper, "get_clock", lambda: SimpleNamespace(now=lambda: now))
    scene = Scene(harness, tmp_path)
    scene.vehicle.publish(100 * S, info=False)
    with scene.bag:
        assert wait_until(lambda: scene.recorder._queue.qsize() >= 7)
        assert not scene.recorder.write(0.0) and scene.recorder.status().endswith("nothing comes on /clock")
        now.nanoseconds = 50 * S
        while scene.recorder.write(0.0):
            pass
        now.nanoseconds = 48 * S
        scene.drive(100 * S + 100 * MS)
        now.nanoseconds = 40 * S
        scene.drive(100 * S + 200 * MS)
    with bag_files.open_bag(scene.bag.path) as reader:
        assert {log_ns for _, log_ns, _ in bag_files.messages(reader, reader.connections)} == {50 * S}
    assert "the clock went back by 8.0 s" in scene.recorder.report()


@pytest.mark.parametrize("words, text", [
    (["--cameras", " ,"], "--cameras names no camera"), (["--output", "."], "exists already"),
    (["--images", "/image"], "--images /image would be one topic"),
    (["--cameras", "front-left,back"], "--images makes '/camera/front-left/image/compressed', which is no name of"),
    (["--node", "/"], "--node makes '//output/objects', which is no name of"),
    (["--keep-free", "nan"], "--keep-free is nan"),
    (["--ros-args", "-r", "bad"], "sparse4d_record: ROS cannot start: Couldn't parse remap rule: '-r bad'")])
def test_bad_input_is_a_sentence(tmp_path, capsys, words, text, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert record.main(["--output", "drive", *words]) == 2
    assert text in capsys.readouterr().err and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [found.words[4:] for found in docs_text.block_commands()
                                   if found.words[:4] == ["ros2", "run", "sparse4d_ros", "sparse4d_record"]])
def test_what_the_pages_say_is_understood(words):
    assert record.build_parser().parse_args(words).output
