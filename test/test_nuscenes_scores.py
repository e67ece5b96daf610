"""From a data set in nuScenes' format to scores and to a drive for training, by the commands of docs/nuscenes.md."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import nuscenes_cases as cases
import pytest

pytest.importorskip("nuscenes")

from sparse4d_ros import boxes, cli  # noqa: E402
from sparse4d_ros.data.bag_reader import BagDrive  # noqa: E402
from sparse4d_ros.data.drive_cache import DriveCache  # noqa: E402
from sparse4d_ros.evaluation.records import FrameResult, save_results  # noqa: E402

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "nuscenes.md"


@pytest.fixture(scope="module")
def bags(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nuscenes")
    assert cli.main(["nuscenes-to-bag", "--dataroot", str(cases.write(folder / "set")), "--output",
                     str(folder / "bags")]) == 0
    return [folder / "bags" / name for name in cases.SCENES]


def seen(item, shift_m):
    """The truth as somebody reports it who is wrong by ``shift_m`` in x, and takes unknown velocities for rest."""
    rows = np.nan_to_num(item.objects.boxes)
    rows[:, boxes.X] += shift_m
    scores = np.full(len(rows), 0.9)
    return FrameResult(item.frame.stamp_ns, rows, item.objects.names, scores, scores, item.objects.instance_ids + 1)


def test_bags_are_scored_by_the_devkit(bags, tmp_path):
    words = []
    for bag in bags:
        save_results(tmp_path / f"{bag.name}.npz", [seen(item, 0.3) for item in BagDrive(bag)])
        words += ["--bag", str(bag), "--tracks", str(tmp_path / f"{bag.name}.npz")]
    assert cli.main(["evaluate", *words, "--output", str(tmp_path / "scores.json")]) == 0
    scores = json.loads((tmp_path / "scores.json").read_text())["scores"]
    assert scores["frames"] == 2 * cases.KEY_FRAMES
    counts = {name: value["true_boxes"] for name, value in scores["classes"].items()}
    assert counts == {"car": 6, "pedestrian": 4, "bus": 2, "truck": 6}
    assert scores["mean_ap"] == pytest.approx(1.0)
    assert scores["mate"] == pytest.approx(0.3, abs=1e-4)
    assert scores["classes"]["car"]["ave"] == pytest.approx(0.0, abs=1e-4)
    assert scores["ids"] == 0


def test_bags_become_drives_for_training(bags, tmp_path):
    assert cli.main(["bag-to-arrays", "--bag", str(bags[0]), "--bag", str(bags[1]), "--size", "80x40", "--output",
                     str(tmp_path)]) == 0
    for bag in bags:
        drive = DriveCache(tmp_path / bag.name)
        assert drive.images.shape == (cases.KEY_FRAMES, 6, 40, 80, 3) and drive.depth is None
        # Half the width, five of the 45 rows that are left are cut off at the top.
        expected = np.array([[0.5, 0, 0], [0, 0.5, -5], [0, 0, 1]]) @ cases.INTRINSIC
        np.testing.assert_allclose(drive.table["intrinsic"], np.broadcast_to(expected, (cases.KEY_FRAMES, 6, 3, 3)))
        assert np.isnan(drive.objects(2).boxes[:, boxes.VX]).tolist() == [False, True, False]  # the bus, seen once


def test_the_page_names_commands_and_options_that_exist():
    lines = [line.split("#")[0].split() for line in DOCUMENT.read_text().splitlines() if line.startswith("sparse4d ")]
    named = {words[1] for words in lines}
    assert named == {"convert", "export", "nuscenes-to-bag", "evaluate", "bag-to-arrays", "train"}
    for words in lines:
        assert cli.build_parser(words[1]).parse_args(words[1:]).command == words[1]
