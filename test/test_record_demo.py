"""`sparse4d record-demo`: a folder to hand round, of a model's results or of those that a node gave while driving."""

from __future__ import annotations

import dataclasses
import json
import re
from itertools import pairwise

import bag_cases
import cv2
import numpy as np
import pytest
import viewer_cases
from fake_engine import FakeEngine
from test_full_disk import refused

from sparse4d_ros import cli
from sparse4d_ros.data import bag_files, ros_messages
from sparse4d_ros.data.bag_writer import write_bag
from sparse4d_ros.data.growing_bag import GrowingBag
from sparse4d_ros.data.ros_types import typestore
from sparse4d_ros.evaluation.recorded import Complaint, read_recorded
from sparse4d_ros.evaluation.records import load_results
from sparse4d_ros.evaluation.video import count_frames
from sparse4d_ros.viewer import record_demo
from sparse4d_ros.viewer.documents import drive_document
from sparse4d_ros.viewer.drive_report import DriveReport
from sparse4d_ros.viewer.page import save_page

FRAMES = 12
OBJECTS = "/car/sparse4d/output/objects"
#: Frames (of the small drive, 5 Hz) for which the node gave nothing.
UNSEEN = (1, 3, 4, 5, 6, 7, 8, 9)


def document(folder, identity: str = "drive") -> dict:
    """A document that lies in the page."""
    page = (folder / "drive.html").read_text()
    return json.loads(re.search(f'<script type="application/json" id="{identity}">(.*)</script>', page)[1])


def answer(index: int):
    """The node's message about a frame: its true objects, the numbers of tracks rising with their order."""
    item = bag_cases.frame(index)
    message = ros_messages.ground_truth(item.frame.stamp_ns, "base_link", item.objects,
                                        ("car", "pedestrian", "traffic_cone"), index)
    message.timing.total = 80.0
    message.flags = 1 if index == 2 else 0
    return message


def diagnostics(*statuses: tuple[int, str, str, str]):
    """/diagnostics of (level, name, text, node)."""
    types = typestore().types
    return types["diagnostic_msgs/msg/DiagnosticArray"](header=ros_messages.header(5, ""), status=[
        types["diagnostic_msgs/msg/DiagnosticStatus"](level, f"sparse4d: {name}", text, node, [])
        for level, name, text, node in statuses])


def write_drive(path, node: str = OBJECTS, change=lambda topic, message: True):
    """A bag as the recorder leaves it; log times are 100 ms behind stamps, and of another century."""
    century_ns = 3_000_000_000_000_000_000
    source = path.with_name("source")
    if not source.exists():
        write_bag(source, bag_cases.frames(FRAMES), bag_cases.rig())
    with bag_files.open_bag(source) as reader:
        entries = [(item.topic, item.msgtype, log_ns, bytes(raw))
                   for item, log_ns, raw in bag_files.messages(reader, reader.connections)
                   if change(item.topic, bag_files.deserialize(reader, item, raw))]
    store = typestore()

    def add(topic, kind, at_ns, message):
        entries.append((topic, kind, at_ns + 100_000_000, bytes(store.serialize_cdr(message, kind))))

    for index in range(FRAMES):
        at_ns = bag_cases.frame(index).frame.stamp_ns
        if index not in UNSEEN:
            add(node, ros_messages.OBJECTS, at_ns, answer(index))
        name = "/car/sparse4d"
        camera = "back" if index % 2 else "front"
        add("/diagnostics", "diagnostic_msgs/msg/DiagnosticArray", at_ns, diagnostics(
            (2 if index in (4, 5, 6) else 0, f"camera {camera}",
             f"camera {camera}: the last image came 1.{index} s ago", name),
            (2, "battery", "the battery is empty", "/battery")))
    add("/diagnostics", "diagnostic_msgs/msg/DiagnosticArray", bag_cases.START_NS - 1_000_000_000,
        diagnostics((1, "model", "not yet active", "/car/sparse4d")))
    add("/car/sparse4d/model_info", "sparse4d_ros/msg/ModelInfo", bag_cases.START_NS,
        store.types["sparse4d_ros/msg/ModelInfo"]("mine", "3", "torch", "fp32", ["car"]))
    with GrowingBag(path, part_s=1.0) as bag:
        for topic, kind, log_ns, raw in sorted(entries, key=lambda entry: entry[2]):
            bag.write(topic, kind, log_ns + century_ns, raw, latched=topic == "/tf_static")
    return path


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    return write_drive(tmp_path_factory.mktemp("bags") / "drive")


@pytest.fixture(scope="module")
def demo(recorded, tmp_path_factory):
    """What the command makes of the recorded drive, with an older run's leftovers in the way."""
    folder = tmp_path_factory.mktemp("demos") / "demo"
    folder.mkdir()
    (folder / "still_9.png").write_text("of another drive")
    (folder / "notes.txt").write_text("mine")
    assert cli.main(["record-demo", "--bag", str(recorded), "--output", str(folder), "--stills", "2"]) == 0
    return folder


def test_the_folder_holds_page_video_pictures_tracks_and_numbers(demo, recorded):
    assert sorted(path.name for path in demo.iterdir()) == [
        "drive.html", "notes.txt", "still_1.png", "still_2.png", "summary.json", "tracks.npz", "video.mp4"]
    results = load_results(demo / "tracks.npz")
    assert [result.stamp_ns for result in results] == [
        bag_cases.frame(index).frame.stamp_ns for index in range(FRAMES) if index not in UNSEEN]
    assert np.allclose(results[1].boxes, bag_cases.frame(2).objects.boxes, atol=1e-6)
    assert cv2.imread(str(demo / "still_1.png")).shape == (900, 1600, 3)


def test_frames_without_a_result_are_shown_only_where_the_node_was_silent(demo):
    # Results at 0.0, 0.4, 2.0 and 2.2 s: those at 1.6 and 1.8 s are more than a second after the one before.
    shown = [document(demo, f"frame-{number}") for number in range(document(demo)["frames"])]
    assert [round(frame["seconds"], 1) for frame in shown] == [0.0, 0.4, 1.6, 1.8, 2.0, 2.2]
    assert [frame["objects"] is None for frame in shown] == [False, False, True, True, False, False]
    assert count_frames(demo / "video.mp4") == len(shown)


def test_the_numbers_are_those_of_the_drive(demo):
    numbers = json.loads((demo / "summary.json").read_text())
    poses = [bag_cases.frame(index).frame.fixed_from_vehicle[:2, 3] for index in range(FRAMES)]
    assert numbers["distance_m"] == pytest.approx(sum(np.hypot(*(b - a)) for a, b in pairwise(poses)))
    assert numbers["length_s"] == pytest.approx(2.2) and numbers["rate_hz"] == pytest.approx(5.0)
    assert (numbers["frames"], numbers["frames_without_result"]) == (FRAMES, len(UNSEEN))
    # Frames 0, 2, 10 and 11 have 1, 3, 2 and 3 objects, the third of visibility (score) 0.25.
    assert numbers["classes"] == {
        "car": {"tracks": 1, "objects_a_frame": 1.0, "median_life_s": 2.2, "longest_life_s": 2.2},
        "pedestrian": {"tracks": 1, "objects_a_frame": 0.75, "median_life_s": 1.8, "longest_life_s": 1.8}}
    assert numbers["latency_ms"]["total"] == {"p50": 80.0, "p95": 80.0}
    assert numbers["tracks"] == "recorded: mine 3 on torch"


def test_what_went_wrong_is_told_in_words(demo):
    assert json.loads((demo / "summary.json").read_text())["problems"] == [
        "1 of 4 results lack a camera",
        "8 results of the node are not in the recording",
        f"8 frames without a result, from 0.2 s to 1.8 s: no result of this stamp in {OBJECTS}",
        "camera front: the last image came 1.4 s ago (3 times, from 0.8 s to 1.2 s; as well: back)"]
    assert document(demo)["report"]["problems"] == json.loads((demo / "summary.json").read_text())["problems"]


def test_a_camera_that_is_missing_for_a_while_is_named_and_its_frames_are_shown(tmp_path, monkeypatch):
    lost_ns = [bag_cases.frame(index).frame.cameras[3].stamp_ns for index in (4, 5, 6)]
    bag = write_drive(tmp_path / "lossy", change=lambda topic, message: topic != "/camera/back/image/compressed"
                      or ros_messages.stamp_ns(message.header.stamp) not in lost_ns)
    engine = FakeEngine()
    monkeypatch.setattr(record_demo.ModelPackage, "load", lambda path: engine.package)
    monkeypatch.setattr(record_demo, "Engine", lambda package, **how: engine)
    assert cli.main(["record-demo", "--bag", str(bag), "--model", "mine", "--output", str(tmp_path / "demo")]) == 0
    assert document(tmp_path / "demo")["frames"] == FRAMES and engine.closed
    assert document(tmp_path / "demo")["subtitle"].startswith("model fake · 0:02 min · ")
    numbers = json.loads((tmp_path / "demo" / "summary.json").read_text())
    assert numbers["cameras"]["back"] == {"pictures": 9, "missing": 3}
    assert numbers["problems"] == ["camera back: no picture in 3 of 12 frames, from 0.8 s to 1.2 s"]


def test_a_long_drive_has_every_nth_frame_in_its_page_and_all_in_its_video(recorded, tmp_path, monkeypatch):
    monkeypatch.setattr(record_demo, "_PAGE_FRAMES", 5)
    assert cli.main(["record-demo", "--bag", str(recorded), "--output", str(tmp_path), "--stills", "0"]) == 0
    assert document(tmp_path)["frames"] == 2  # of the six that are shown, every third
    assert count_frames(tmp_path / "video.mp4") == 6 and not list(tmp_path.glob("still_*"))


@pytest.mark.parametrize("words, text", [
    (["--bag", "{recorded}/../source"], "source holds no results of a node; give --model to run one"),
    (["--bag", "{recorded}", "--results", "/other"], f"has no results on /other; it has {OBJECTS}"),
    (["--bag", "nowhere"], "there is no bag at nowhere"), (["--bag", "{recorded}", "--every", "0"], "--every is 0"),
    (["--bag", "{recorded}", "--stills", "-1"], "--stills is -1"),
    (["--bag", "{recorded}", "--output", "{recorded}/metadata.yaml"], "metadata.yaml was not written"),
])
def test_bad_input_is_a_sentence(recorded, tmp_path, capsys, words, text):
    given = [word.format(recorded=recorded) for word in words]
    assert cli.main(["record-demo", "--output", str(tmp_path / "demo"), *given]) == 2
    assert text in capsys.readouterr().err and not (tmp_path / "demo").exists()


def test_of_two_nodes_one_must_be_chosen(recorded, tmp_path):
    with bag_files.open_bag(recorded) as reader:
        entries = [(item.topic, item.msgtype, log_ns, bytes(raw)) for item, log_ns, raw in
                   bag_files.messages(reader, reader.connections)]
    with GrowingBag(tmp_path / "two") as bag:
        for topic, kind, log_ns, raw in entries:
            bag.write(topic, kind, log_ns, raw)
            if topic == OBJECTS:
                bag.write("/other/output/objects", kind, log_ns, raw)
    with pytest.raises(record_demo.UserError, match="several nodes; choose with --results"):
        read_recorded(bag.path)
    other = read_recorded(bag.path, "/other/output/objects")
    assert len(other.results) == 4 and other.model == "" and other.complaints == ()


def altered(recorded, path, change):
    """A copy of a recorded drive, its results altered."""
    with bag_files.open_bag(recorded) as reader, GrowingBag(path) as bag:
        for item, log_ns, raw in bag_files.messages(reader, reader.connections):
            if item.topic == OBJECTS:
                message = bag_files.deserialize(reader, item, raw)
                change(message)
                raw = bytes(typestore().serialize_cdr(message, item.msgtype))
            bag.write(item.topic, item.msgtype, log_ns, bytes(raw), latched=item.topic == "/tf_static")
    return path


def test_frames_have_the_stamps_of_the_camera_whose_stamps_the_results_bear(recorded, tmp_path):
    frame = bag_cases.frame(0).frame
    back = next(camera for camera in frame.cameras if camera.name == "back")

    def change(message):
        types = typestore().types
        at_ns = ros_messages.stamp_ns(message.header.stamp) + back.stamp_ns - frame.stamp_ns
        message.header.stamp = ros_messages.header(at_ns, "").stamp
        message.cameras = [types["sparse4d_ros/msg/CameraInput"](name, 0, ros_messages.header(stamp_ns, "").stamp, 0.0)
                           for name, stamp_ns in (("front", at_ns - 1), ("back", at_ns), ("back_left", at_ns + 1))]

    bag = altered(recorded, tmp_path / "drive", change)
    assert read_recorded(bag).reference_camera == "back" != frame.cameras[0].name
    elsewhere = bag_cases.rewrite(bag, tmp_path / "elsewhere", rename=lambda topic: topic.replace("/camera/", "/cam_"))
    assert read_recorded(elsewhere, images="/cam_{name}/image/compressed").reference_camera == "back"
    assert cli.main(["record-demo", "--bag", str(bag), "--output", str(tmp_path / "demo"), "--stills", "0"]) == 0
    assert len(load_results(tmp_path / "demo" / "tracks.npz")) == FRAMES - len(UNSEEN)


def test_results_of_no_frame_and_of_another_frame_of_reference_are_told(recorded, tmp_path, capsys):
    def late(message):
        message.header.stamp.nanosec += 7 if message.sequence == 2 else 0

    bag = altered(recorded, tmp_path / "late", late)
    assert cli.main(["record-demo", "--bag", str(bag), "--output", str(tmp_path / "demo"), "--stills", "0"]) == 0
    assert "1 recorded results belong to no frame: another camera than front gave" in capsys.readouterr().out
    bag = altered(recorded, tmp_path / "odom", lambda message: setattr(message.header, "frame_id", "odom"))
    assert cli.main(["record-demo", "--bag", str(bag), "--output", str(tmp_path / "other")]) == 2
    assert f"the results on {OBJECTS} are in odom (the node's output_frame)" in capsys.readouterr().err


def test_results_are_missed_by_their_numbers_which_may_begin_anew(recorded, tmp_path):
    bag = altered(recorded, tmp_path / "drive", lambda message: setattr(
        message, "sequence", {0: 500, 2: 502, 10: 0, 11: 1}[message.sequence]))
    assert read_recorded(bag).remarks[1:] == ("1 results of the node are not in the recording",)


def test_a_result_that_is_not_finite_is_named_with_topic_stamp_and_field(recorded, tmp_path):
    def change(message):
        if message.sequence == 2:
            message.objects[0].size.x = float("nan")

    stamp_ns = bag_cases.frame(2).frame.stamp_ns
    with pytest.raises(record_demo.UserError,
                       match=rf"drive: {OBJECTS}: at {stamp_ns} ns, objects\[0\]\.size is not finite"):
        read_recorded(altered(recorded, tmp_path / "drive", change))


def test_gaps_are_told_and_the_fullest_frames_are_apart():
    report = DriveReport(0.3)
    for index in (0, 1, 2, 3, 4, 5, 14):
        item = bag_cases.frame(index)
        assert report.add(item.frame, viewer_cases.result_of(item), "")
    times_ns = [bag_cases.START_NS + index * bag_cases.INTERVAL_NS for index in range(15)]
    early, late = (times_ns[0] - 1, "front", "front: 7 s ago"), (times_ns[5], "back", "back: 2 s ago")
    assert report.problems([Complaint((early,)), Complaint((early, late))]) == [
        "no frame from 1.0 s to 2.8 s", "back: 2 s ago (once, at 1.0 s)"]
    assert report.fullest(2) == [times_ns[1], times_ns[5]]  # of those with two objects; 2 and 4 are too near to 1
    blind = dataclasses.replace(bag_cases.frame(15).frame, cameras=())
    assert not report.add(blind, None, "refused")
    assert report.problems()[0] == "1 frame without a result, at 3.0 s: refused"


def test_what_cannot_be_taken_away_is_named(recorded, tmp_path, capsys):
    (tmp_path / "demo" / "video.mp4").mkdir(parents=True)
    assert cli.main(["record-demo", "--bag", str(recorded), "--output", str(tmp_path / "demo")]) == 2
    assert f"{tmp_path / 'demo'} was not written: Is a directory" in capsys.readouterr().err


def test_a_page_on_a_full_disk(tmp_path):
    save_page(tmp_path / "drive.html", drive_document("drive", ""), viewer_cases.frames(1))
    refused(tmp_path, "drive.html", lambda: save_page(
        tmp_path / "drive.html", drive_document("drive", ""), viewer_cases.frames(2)), size=40_000)
