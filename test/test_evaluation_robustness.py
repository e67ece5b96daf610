"""What a lost camera and a lost memory cost, on objects whose answers are known."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import bag_cases
import numpy as np
import pytest
from test_evaluation_breakdown import one_frame, row
from test_evaluation_command import truthful

from sparse4d_ros import cli
from sparse4d_ros.boxes import NUSCENES_CLASSES
from sparse4d_ros.data.bag_writer import write_bag
from sparse4d_ros.data.image_topics import CAMERA_ORDER
from sparse4d_ros.evaluation import robustness_command
from sparse4d_ros.evaluation.matching import match_drives
from sparse4d_ros.evaluation.robustness import camera_loss, camera_table, found, seen_by, seen_by_others, without_camera
from sparse4d_ros.frame import Objects

#: Straight ahead, between front and front right, between front and front left.
AHEAD, RIGHT, LEFT = row(12), row(12, -7), row(12, 7)
OBJECTS = Objects(np.array([AHEAD, RIGHT, LEFT]), ("car",) * 3, np.arange(3))


def labelled(index: int = 0):
    return replace(bag_cases.frame(index), objects=OBJECTS)


def test_seen_by_tells_in_whose_picture_a_centre_lies():
    seen = seen_by(labelled())
    assert {name for name, rows in seen.items() if rows[0]} == {"front"}
    assert {name for name, rows in seen.items() if rows[1]} == {"front", "front_right"}
    assert {name for name, rows in seen.items() if rows[2]} == {"front", "front_left"}
    blind, = without_camera([labelled()], "front")
    assert not seen_by(blind)["front"].any() and seen_by(blind)["front_left"].tolist() == [False, False, True]


def test_a_lost_camera_is_judged_by_visible_objects_that_others_see():
    drive = one_frame([AHEAD, RIGHT, LEFT], [AHEAD, RIGHT, LEFT], [0.9, 0.8, 0.2], visibility=[1.0, 1.0, 0.3])
    matches = match_drives([drive], progress=False)
    seen = [[seen_by(labelled())]]
    assert seen_by_others(seen, matches, "front") == {(0, 0, 1)}, "the left one is hidden, the one ahead was its alone"
    assert seen_by_others(seen, matches, "back") == {(0, 0, 0), (0, 0, 1)}
    assert found(matches, 0.5) == {(0, 0, 0), (0, 0, 1)}
    loss = camera_loss("front", {(0, 0, 1), (0, 0, 0)}, found(matches, 0.5), {(0, 0, 0)})
    assert (loss.objects, loss.recall, loss.recall_without, loss.lost) == (2, 1.0, 0.5, 0.5)
    nothing = camera_loss("front", set(), set(), set())
    assert np.isnan(nothing.lost)
    assert "mean 50.0%" in " ".join(camera_table([loss, nothing], 0.3).split())  # what nobody can judge is left out


class SightedEngine:
    """Reports what a living camera sees, and a velocity only from its second frame in a row on."""

    def __init__(self, package, backend, options) -> None:
        self.package = package

    def initial_state(self) -> int:
        return 0

    def reset(self, state: int) -> int:
        return 0

    def step(self, frame, state: int):
        item = replace(labelled(), frame=frame)
        seen = np.any(list(seen_by(item).values()), axis=0)
        boxes = OBJECTS.boxes[seen] + np.array([0.0] * 7 + [0.0 if state else 3.0, 0.0, 0.0])
        kept = Objects(boxes, ("car",) * len(boxes), OBJECTS.instance_ids[seen])
        return truthful(replace(item, objects=kept)), state + 1

    def close(self) -> None:
        pass


@pytest.fixture
def command(monkeypatch, tmp_path):
    monkeypatch.setattr(robustness_command, "Engine", SightedEngine)
    package = SimpleNamespace(cameras=CAMERA_ORDER, classes=NUSCENES_CLASSES)
    monkeypatch.setattr(robustness_command.ModelPackage, "load", lambda path: package)
    write_bag(tmp_path / "drive", [labelled(index) for index in range(4)], bag_cases.rig())
    return lambda *more: cli.main(["robustness", "--model", "any", "--bag", str(tmp_path / "drive"), *more])


def test_the_command_says_what_memory_and_cameras_are_worth(command, tmp_path, capsys):
    out = tmp_path / "robustness.json"
    assert command("--camera", "front", "--camera", "front_left", "--output", str(out)) == 0
    numbers = json.loads(out.read_text())
    assert numbers["with_memory"]["mave"] < 1.0 < 2.9 < numbers["without_memory"]["mave"]
    front, left = numbers["cameras"]
    assert (front["camera"], front["objects"], front["lost"]) == ("front", 8, 0.0)
    assert (left["camera"], left["objects"], left["lost"]) == ("front_left", 12, 0.0)
    assert "front_left" in capsys.readouterr().out


def test_an_unknown_camera_is_named(command, capsys):
    assert command("--camera", "roof") == 2
    assert "--camera roof: the model's cameras are front" in capsys.readouterr().err
