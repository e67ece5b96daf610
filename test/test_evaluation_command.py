"""`sparse4d evaluate` from its command line, with an engine that returns the truth, late or not at all."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import bag_cases
import numpy as np
import pytest

from sparse4d_ros import cli
from sparse4d_ros.boxes import NUSCENES_CLASSES
from sparse4d_ros.data import images
from sparse4d_ros.data.bag_writer import write_bag
from sparse4d_ros.data.drive_cache import write_drive
from sparse4d_ros.data.image_topics import CAMERA_ORDER
from sparse4d_ros.engine import Detections, FrameRejected, NumericalError
from sparse4d_ros.evaluation import command
from sparse4d_ros.evaluation.records import Drive, load_results
from sparse4d_ros.evaluation.spread import deal, mean_text
from sparse4d_ros.evaluation.video import count_frames
from sparse4d_ros.frame import Objects

FRAMES = 6


def truthful(item, shift_m: float = 0.0) -> Detections:
    """Detections that equal a frame's ground truth, moved along x."""
    objects, count = item.objects, len(item.objects.boxes)
    boxes = np.array(objects.boxes)
    boxes[:, 0] += shift_m
    column = np.full(count, 0.9)
    return Detections(
        stamp_ns=item.frame.stamp_ns, boxes=boxes,
        class_ids=np.array([NUSCENES_CLASSES.index(name) for name in objects.names], dtype=int), scores=column,
        class_scores=column, centerness=column, yawness=column, track_ids=objects.instance_ids + 1,
        hits=np.ones(count, int), frames_since_hit=np.zeros(count, int), age_s=np.zeros(count),
        velocity_valid=np.ones(count, bool), depth=column, camera_mask=np.ones(count, np.uint32),
        time_interval_s=0.2, epoch=0, timing_ms={"inference": 5.0})


class TruthfulEngine:
    """Knows the drive by its stamps; ``state`` counts the frames it was given."""

    shift_m = 0.0
    reject: tuple[int, ...] = ()
    overflow: tuple[int, ...] = ()
    options = None
    resets = 0
    closed = 0

    def __init__(self, package, backend, options) -> None:
        self.package, self.backend_name = package, backend
        type(self).options = options
        self._items = {item.frame.stamp_ns: item for item in bag_cases.frames(FRAMES)}

    def initial_state(self) -> int:
        return 0

    def step(self, frame, state: int):
        assert all(camera.image is not None for camera in frame.cameras)
        if state in self.reject:
            type(self).reject = tuple(number for number in self.reject if number != state)
            raise FrameRejected("rejected on purpose")
        if state in self.overflow:
            raise NumericalError("overflow on purpose")
        return truthful(self._items[frame.stamp_ns], self.shift_m), state + 1

    def reset(self, state: int) -> int:
        type(self).resets += 1
        return state + 1

    def close(self) -> None:
        type(self).closed += 1


@pytest.fixture
def engine(monkeypatch):
    """What the command takes from the engine room, replaced; returns the class that tests may adjust."""
    package = SimpleNamespace(name="truth", classes=NUSCENES_CLASSES, cameras=CAMERA_ORDER)
    adjusted = type("Adjusted", (TruthfulEngine,), {})
    for name, value in (("Engine", adjusted), ("ModelPackage", SimpleNamespace(load=lambda folder: package))):
        monkeypatch.setattr(command, name, value)
    return adjusted


@pytest.fixture(scope="module")
def bag(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("evaluate") / "curve"
    write_bag(path, bag_cases.frames(FRAMES), bag_cases.rig())
    return path


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    """The same drive as arrays, with the depth and semantics that such a drive needs."""
    path = tmp_path_factory.mktemp("evaluate") / "arrays"
    shape = bag_cases.picture(0, 0).shape[:2]
    extra = {"depth": (np.full(shape, 9.0, np.float32),) * 6, "semantics": (np.full(shape, 255, np.uint8),) * 6}
    write_drive(path, [replace(item, **extra) for item in bag_cases.frames(FRAMES)], NUSCENES_CLASSES)
    return path


def evaluate(tmp_path: Path, *words: object) -> dict:
    assert cli.main(["evaluate", *map(str, words), "--output", str(tmp_path / "scores.json")]) == 0
    return json.loads((tmp_path / "scores.json").read_text())


@pytest.mark.parametrize("kind", ["bag", "cache"])
def test_a_model_that_tells_the_truth_scores_one(engine, bag, cache, kind, tmp_path, capsys):
    found = evaluate(tmp_path, "--model", "m", *(("--bag", bag) if kind == "bag" else ("--drives", cache)))
    assert found["scores"]["mean_ap"] == pytest.approx(1.0, abs=1e-6)
    assert found["scores"]["amota"] == pytest.approx(1.0, abs=1e-6)
    assert found["latency_ms"]["inference"]["p50"] == 5.0
    assert set(found["scores"]["classes"]) == {"car", "pedestrian", "traffic_cone"}
    assert "mAP 1.000" in capsys.readouterr().out
    assert engine.closed == 1


def test_several_drives_are_scored_together(engine, bag, cache, tmp_path):
    found = evaluate(tmp_path, "--model", "m", "--bag", bag, "--drives", cache)
    assert found["drives"] == ["curve", "arrays"]
    assert found["scores"]["frames"] == 2 * FRAMES


def test_groups_of_drives_tell_the_spread(engine, bag, cache, tmp_path, capsys):
    engine.shift_m = 0.7
    found = evaluate(tmp_path, "--model", "m", "--bag", bag, "--drives", cache, "--groups", "2")
    assert [group["drives"] for group in found["groups"]] == [["arrays"], ["curve"]]
    for group in found["groups"]:  # one drive as bag and as arrays: each scores as both together
        assert group["scores"]["mean_ap"] == pytest.approx(found["scores"]["mean_ap"])
        assert group["scores"]["frames"] == FRAMES
    lines = capsys.readouterr().out.splitlines()
    heading = next(number for number, line in enumerate(lines) if line.startswith("groups of drives"))
    assert lines[heading].split()[3:] == ["mAP", "NDS", "mATE", "mAOE", "mAVE", "AMOTA"]
    mean, deviation = (line.split() for line in lines[heading + 3:heading + 5])
    assert mean[:2] == ["mean", f"{found['scores']['mean_ap']:.3f}"] and mean[3] == "0.700"
    assert deviation[:3] == ["standard", "deviation", "0.000"]


def test_a_group_without_objects_has_no_scores_and_loses_nothing(engine, bag, tmp_path, capsys):
    nobody = Objects(np.zeros((0, 10)), (), np.zeros(0, int))
    write_drive(tmp_path / "empty", [replace(item, objects=nobody) for item in bag_cases.frames(FRAMES)],
                NUSCENES_CLASSES)
    found = evaluate(tmp_path, "--model", "m", "--bag", bag, "--drives", tmp_path / "empty", "--groups", "2")
    (curve, empty) = found["groups"]
    assert curve["scores"]["mean_ap"] == pytest.approx(1.0) and empty == {"drives": ["empty"], "scores": None}
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["2", "(1", "drives)", *"------"] in lines and ["mean", *"------"] in lines


def test_groups_are_alike_in_rates():
    def drive(number, rate_hz):
        stamps = (0, int(1e9 / rate_hz))
        return Drive(f"d{number:02d}", tuple(SimpleNamespace(stamp_ns=stamp) for stamp in stamps), ())

    drives = [drive(number, 10 if number < 16 else 2) for number in range(32)]
    groups = deal(drives, 3)
    assert sorted(d.name for group in groups for d in group) == [d.name for d in drives]
    assert [sum(d.rate_hz > 5 for d in group) for group in groups] == [5, 6, 5]
    assert [sum(d.rate_hz < 5 for d in group) for group in groups] == [6, 5, 5]
    assert mean_text([0.1, 0.3]) == "0.200 ± 0.141" and mean_text([0.1], "+") == "+0.100"
    assert mean_text([0.1, float("nan")]) == mean_text([]) == "-"


def test_a_rejected_frame_is_a_missed_frame(engine, bag, tmp_path, capsys):
    engine.reject = (2,)
    found = evaluate(tmp_path, "--model", "m", "--bag", bag)
    assert found["scores"]["missing_frames"] == 1
    assert "1 frames gave no result (first: rejected on purpose)" in capsys.readouterr().out


def test_a_numerical_error_resets_the_bank(engine, bag, tmp_path, capsys):
    engine.overflow = (3,)
    found = evaluate(tmp_path, "--model", "m", "--bag", bag)
    assert found["scores"]["missing_frames"] == 1
    assert engine.resets == 1
    assert "overflow on purpose" in capsys.readouterr().out


def test_options_reach_the_engine(engine, bag, tmp_path):
    evaluate(tmp_path, "--model", "m", "--bag", bag, "--option", "nms_iou=0.5", "--option",
             "score_mode=class_sqrt_quality", "--score-threshold", "0.1")
    assert (engine.options.nms_iou, engine.options.score_mode) == (0.5, "class_sqrt_quality")
    assert engine.options.score_threshold == 0.1


def test_recorded_tracks_give_the_same_scores(engine, bag, tmp_path):
    engine.shift_m = 0.7
    direct = evaluate(tmp_path, "--model", "m", "--bag", bag, "--save-tracks", tmp_path / "tracks.npz")
    again = evaluate(tmp_path, "--tracks", tmp_path / "tracks.npz", "--bag", bag)
    assert direct["scores"]["classes"]["car"]["ap_by_distance"]["0.5"] == 0.0
    assert again["scores"] == direct["scores"]


def test_saved_tracks_keep_the_qualities(engine, bag, tmp_path):
    evaluate(tmp_path, "--model", "m", "--bag", bag, "--save-tracks", tmp_path / "tracks.npz")
    for record in load_results(tmp_path / "tracks.npz"):
        np.testing.assert_array_equal(record.centerness, np.full(len(record), 0.9))
        np.testing.assert_array_equal(record.yawness, np.full(len(record), 0.9))


@pytest.mark.parametrize("kind", ["bag", "cache"])
def test_a_page_of_a_model_shows_the_frame_that_gave_nothing(engine, bag, cache, kind, tmp_path):
    engine.reject = (2,)
    evaluate(tmp_path, "--model", "models/truth", *(("--bag", bag) if kind == "bag" else ("--drives", cache)),
             "--report", tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert "The model truth on" in text and "1 of them without a result" in text
    assert text.count("data:image/jpeg") == 1 and "2 of 2 missed" in text
    assert text.count("data:image/png") == 2


def test_a_video_of_the_drive(engine, bag, tmp_path):
    evaluate(tmp_path, "--model", "m", "--bag", bag, "--video", tmp_path / "drive.mp4")
    assert count_frames(tmp_path / "drive.mp4") == FRAMES


def test_a_video_has_the_frames_that_are_scored_at_their_own_rate(engine, tmp_path, monkeypatch):
    """Ground truth at every second picture, as of nuScenes with sweeps: the others have no results to show."""
    frames = bag_cases.frames(FRAMES)
    frames[1::2] = [replace(item, objects=None) for item in frames[1::2]]
    write_bag(tmp_path / "sweeps", frames, bag_cases.rig())
    written = []
    monkeypatch.setattr(command, "write_video",
                        lambda path, pictures, rate: written.append((len(list(pictures)), rate)))
    evaluate(tmp_path, "--model", "m", "--bag", tmp_path / "sweeps", "--video", tmp_path / "drive.mp4")
    assert written == [(FRAMES // 2, pytest.approx(2.5))]


def test_recorded_tracks_need_no_picture_to_be_decoded(engine, bag, tmp_path, monkeypatch):
    evaluate(tmp_path, "--model", "m", "--bag", bag, "--save-tracks", tmp_path / "tracks.npz")
    monkeypatch.setattr(images, "decode", lambda *_: pytest.fail("a picture was decoded"))
    assert evaluate(tmp_path, "--tracks", tmp_path / "tracks.npz", "--bag", bag)["scores"]["frames"] == FRAMES


@pytest.mark.parametrize("words, text", [
    (["--bag", "BAG"], "give either --model, to run one, or --tracks, to score recorded ones"),
    (["--model", "m"], "give at least one drive with --bag or --drives"),
    (["--model", "m", "--bag", "BAG", "--option", "nms=0.5"], "one of the engine's options: score_threshold, "),
    (["--model", "m", "--bag", "/nowhere"], "/nowhere does not exist"),
    (["--tracks", "a.npz", "--tracks", "b.npz", "--bag", "BAG"], "2 files of tracks and 1 drives were given"),
    (["--model", "m", "--bag", "BAG", "--bag", "BAG", "--save-tracks", "t.npz"], "--save-tracks writes the tracks of"),
    (["--model", "m", "--bag", "BAG", "--groups", "2"], "give 2 or more, and at least as many drives, not 1"),
    (["--model", "m", "--bag", "BAG", "--worst-frames", "-1"], "--worst-frames -1 is not a number of frames"),
])
def test_wrong_options_are_one_sentence(engine, bag, words, text, capsys):
    assert cli.main(["evaluate", *(str(bag) if word == "BAG" else word for word in words)]) == 2
    message = capsys.readouterr().err
    assert message.startswith("sparse4d: ") and text in message and message.count("\n") == 1
