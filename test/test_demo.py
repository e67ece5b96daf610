"""The demo as a person starts it: real processes, real topics, a tiny bag and an engine that finds bright spots."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import needs_ros  # noqa: F401

# isort: split
import cv2
import fake_vehicle
import numpy as np
import pytest
from fake_engine import NAMES

from sparse4d_ros import geometry
from sparse4d_ros.boxes import NUSCENES_CLASSES
from sparse4d_ros.data.bag_writer import write_bag
from sparse4d_ros.errors import UserError
from sparse4d_ros.evaluation.records import Drive, FrameResult, FrameTruth, load_results
from sparse4d_ros.evaluation.video import count_frames
from sparse4d_ros.frame import CameraFrame, Frame, LabelledFrame, Objects
from sparse4d_ros.node import demo
from sparse4d_ros.node.demo_processes import Child, free_domain, prepare_environment
from sparse4d_ros.node.demo_report import best_frame, reason_lines

pytestmark = pytest.mark.ros

START_NS, PERIOD_NS, FRAMES = 1_700_000_000_000_000_000, 200_000_000, 15
HERE = Path(__file__).parent
#: How long a loaded machine may take for anything; no contract.
WITHIN_S = 600


def labelled(index: int) -> LabelledFrame:
    """A frame whose true objects are the bright spots that the fake engine finds, with that engine's sizes."""
    stamp_ns = START_NS + index * PERIOD_NS
    pose = fake_vehicle.ego_pose(stamp_ns)
    cameras, rows = [], []
    later = fake_vehicle.ego_pose(stamp_ns + 1_000_000)
    for number, name in enumerate(NAMES):
        own_ns = stamp_ns + 10_000_000 * number
        camera_from_vehicle = geometry.inverse(fake_vehicle.ego_pose(own_ns)
                                               @ fake_vehicle.vehicle_from_camera(name)) @ pose
        cameras.append(CameraFrame(name, fake_vehicle.picture(name, stamp_ns, own_ns), fake_vehicle.INTRINSIC,
                                   camera_from_vehicle, own_ns))
        spot = [*fake_vehicle.spot(name), 1.0]
        velocity = pose[:3, :3].T @ (((later - pose) @ spot)[:3] * 1e3)
        rows.append([*spot[:3], 4.0, 2.0, 1.5, 0.1 * number, *velocity])
    objects = Objects(np.array(rows), NUSCENES_CLASSES[:len(NAMES)], np.arange(len(NAMES)))
    return LabelledFrame(Frame(stamp_ns, tuple(cameras), pose), objects)


@pytest.fixture(scope="module")
def bag(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("demo") / "spots"
    write_bag(path, map(labelled, range(FRAMES)), {name: fake_vehicle.vehicle_from_camera(name) for name in NAMES},
              fixed_frame="map")  # not the node's own default
    return path


def words(bag: Path, output: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "sparse4d_ros.node.demo", "--bag", str(bag), "--model", str(bag.parent),
            "--output", str(output), "--node-module", "fake_node", *more]


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": f"{HERE}{os.pathsep}{os.environ.get('PYTHONPATH', '')}", **more}


def children_of(output: Path) -> list[int]:
    """Processes that were started with paths of this test on their command line."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            line = (entry / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if str(output.parent) in line and int(entry.name) != os.getpid():
            found.append(int(entry.name))
    return found


def test_the_demo_scores_what_the_topics_carry(bag, tmp_path):
    output = tmp_path / "out"
    done = subprocess.run(words(bag, output), env=environment(), capture_output=True, text=True, timeout=WITHIN_S)
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads((output / "summary.json").read_text())
    frames = summary["frames"]
    assert frames["in"] == FRAMES
    assert frames["out"] + frames["dropped"] == FRAMES
    assert frames["out"] >= 0.6 * FRAMES, done.stdout  # a loaded machine may lose some
    # The spots are found to within pixels, so everything that came is right.
    share = frames["out"] / FRAMES
    assert summary["scores"]["mean_ap"] > 0.8 * share
    assert summary["scores"]["amota"] > 0.8 * share
    assert summary["scores"]["ids"] == 0
    assert set(summary["scores"]["classes"]) == set(NUSCENES_CLASSES[:len(NAMES)])
    assert {"total", "inference", "sensor_to_publish", "camera_to_result_observed"} <= set(summary["latency_ms"])
    for text in ("mAP", "NDS", "AMOTA", "identity switches", f"frames: {FRAMES} in", "This takes about"):
        assert text in done.stdout, text
    results = load_results(output / "tracks.npz")
    assert len(results) == frames["out"]
    assert cv2.imread(str(output / "picture.png")).shape == (900, 1600, 3)
    assert count_frames(output / "video.mp4") == FRAMES
    assert not children_of(output)


def test_a_node_that_cannot_start_is_shown_with_its_log(bag, tmp_path):
    output = tmp_path / "out"
    done = subprocess.run(words(bag, output), env=environment(FAKE_NODE_FAULT="start"), capture_output=True,
                          text=True, timeout=WITHIN_S)
    assert done.returncode == 1
    assert "the node ended with exit code 1" in done.stderr
    assert "the model package is broken on purpose" in done.stderr
    assert not (output / "summary.json").exists()
    assert not children_of(output)


@pytest.mark.slow
def test_a_node_that_answers_nothing_is_an_error(bag, tmp_path):
    output = tmp_path / "out"
    done = subprocess.run(words(bag, output, "--rate", "2"), env=environment(FAKE_NODE_FAULT="frames"),
                          capture_output=True, text=True, timeout=WITHIN_S)
    assert done.returncode == 1
    assert "published no result" in done.stderr
    assert "inference_error" in done.stderr
    assert not children_of(output)


@pytest.mark.slow
def test_a_terminated_demo_leaves_no_process(bag, tmp_path):
    output = tmp_path / "out"
    process = subprocess.Popen(words(bag, output, "--rate", "0.1"), env=environment(), stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + WITHIN_S
        while not (output / "replay.log").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        assert (output / "replay.log").exists()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=WITHIN_S) == 1
    finally:
        process.terminate()  # not kill: it has children to end
        process.wait(timeout=WITHIN_S)
    assert not children_of(output)


@pytest.mark.parametrize("change, text", [
    (["--bag", "/nowhere"], "/nowhere does not exist; name another with --bag"),
    (["--rate", "0"], "--rate is 0; it must be above 0"),
    (["--images", "/sensors/{name}"], "has no images on topics like /sensors/{name}; its images are on /camera/back/"),
    (["--output", "/dev/null/out"], "/dev/null/out was not written: Not a directory"),
])
def test_wrong_options_are_said_before_anything_starts(bag, tmp_path, capsys, change, text):
    assert demo.main([*words(bag, tmp_path / "out")[3:], *change]) == 1
    assert text in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_stubborn_child_is_killed_with_its_own_children(tmp_path, monkeypatch):
    monkeypatch.setattr("sparse4d_ros.node.demo_processes.LEAVE_WITHIN_S", 0.3)
    script = ("import signal, subprocess, sys, time; signal.signal(signal.SIGINT, signal.SIG_IGN); "
              "grandchild = subprocess.Popen(['sleep', '60']); print(grandchild.pid, flush=True); time.sleep(60)")
    with Child("child", ["-c", script], tmp_path / "log") as child:
        while not child.tail().strip().isdigit():
            time.sleep(0.02)
        grandchild = int(child.tail().strip())
    assert child.exit_code == -signal.SIGKILL
    deadline = time.monotonic() + WITHIN_S
    while runs(grandchild) and time.monotonic() < deadline:  # a killed process is gone a little later
        time.sleep(0.02)
    assert not runs(grandchild)


def runs(pid: int) -> bool:
    """Whether a process exists and is not a zombie that waits for its parent."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_a_dead_child_is_reported_with_the_end_of_its_output(tmp_path):
    with Child("node", ["-c", "print('first'); raise SystemExit('no camera')"], tmp_path / "log") as child:
        while child.exit_code is None:
            time.sleep(0.02)
        with pytest.raises(UserError, match=r"the node ended with exit code 1(?s:.*)no camera"):
            child.check_alive()


def test_the_environment_is_isolated_and_carries_the_transport_profile():
    made = prepare_environment({"ROS_DOMAIN_ID": "0", "HOME": "/home/somebody"})
    assert made["HOME"] == "/home/somebody"
    assert 2 <= int(made["ROS_DOMAIN_ID"]) <= 101
    assert Path(made["FASTRTPS_DEFAULT_PROFILES_FILE"]).is_file()


def test_a_domain_in_use_is_left_alone():
    first = free_domain()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as participant:
        participant.bind(("", 7410 + 250 * first + 2))  # the second participant of that domain
        assert free_domain() != first


def test_reasons_of_drops_are_sentences_with_places():
    reasons = {"late": {"front": 2, "back": 1}, "newer_set": {"model": 5}, "frame_rejected": {"model": 1}}
    assert reason_lines(reasons) == [
        "images that came after their set: front 2, back 1",
        "sets replaced by a newer one while the network ran: model 5",
        "frame_rejected: model 1"]


def test_the_picture_is_of_a_late_frame_with_many_tracks():
    def result(index: int, count: int, score: float) -> FrameResult:
        return FrameResult(index, np.zeros((count, 10)), ("car",) * count, np.full(count, score),
                           np.full(count, score), np.arange(count))
    truths = tuple(FrameTruth(index, np.eye(4), Objects(np.zeros((0, 10)), (), np.zeros(0, np.int64)))
                   for index in range(6))
    results = (result(0, 9, 0.9), result(3, 2, 0.9), result(4, 5, 0.9), result(5, 8, 0.1))
    assert best_frame(Drive("d", truths, results)) == 4
    assert best_frame(Drive("d", truths, results[:1])) == 0


@pytest.mark.parametrize(("screen", "terminal", "opened"), [
    ("DISPLAY", True, True), ("WAYLAND_DISPLAY", True, True), ("DISPLAY", False, False), (None, True, False)])
def test_the_video_is_opened_where_somebody_can_see_it(tmp_path, monkeypatch, screen, terminal, opened):
    shown = []
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    if screen:
        monkeypatch.setenv(screen, ":0")
    monkeypatch.setattr(sys, "stdout", type("Out", (), {"isatty": lambda self: terminal})())
    monkeypatch.setattr(demo.webbrowser, "open", shown.append)
    demo.show(tmp_path / "video.mp4")
    assert shown == [(tmp_path / "video.mp4").as_uri()] * opened
