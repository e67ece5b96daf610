"""The page, its charts, and two evaluations side by side, from recorded tracks with known faults."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import bag_cases
import cv2
import numpy as np
import pytest
from test_evaluation_metrics import make_drive

from sparse4d_ros import cli
from sparse4d_ros.data.bag_writer import write_bag
from sparse4d_ros.errors import UserError
from sparse4d_ros.evaluation.assessment import assess
from sparse4d_ros.evaluation.calibration import calibrate
from sparse4d_ros.evaluation.charts import precision_recall_chart, trust_chart
from sparse4d_ros.evaluation.comparison import compare_files, comparison_page, comparison_table
from sparse4d_ros.evaluation.html_report import evaluation_page
from sparse4d_ros.evaluation.matching import match_drives
from sparse4d_ros.evaluation.pictures import SIZE, FramePainter, paint_drive
from sparse4d_ros.evaluation.records import FrameResult, save_results

FRAMES = 12
NAME = "curve <b>"


class Page(HTMLParser):
    """What a page holds; refuses tags that do not close and anything that would be fetched."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.images: list[np.ndarray] = []
        self.words = ""
        self.feed(text)
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in ("meta", "img"):
            self.open.append(tag)
        for name, value in attrs:
            assert name not in ("href", "srcset", "onclick", "onload"), (tag, name)
            if name == "src":
                head, _, data = value.partition(",")
                assert head in ("data:image/png;base64", "data:image/jpeg;base64")
                self.images.append(cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.words += data + " "
        assert "url(" not in data and "@import" not in data


def tracks(items, worse: bool = False) -> list[FrameResult]:
    """The truth, further off from frame to frame, with objects missing in two frames and a new number for the car."""
    out = []
    for index, item in enumerate(items):
        objects, count = item.objects, len(item.objects.boxes)
        boxes = np.array(objects.boxes)
        boxes[:, 1] += 0.05 * index + (0.6 if worse else 0.0)
        ids = np.array(objects.instance_ids)
        ids[0] = 77 if index >= 9 else ids[0]
        scores = np.full(count, 0.8)
        result = FrameResult(item.frame.stamp_ns, boxes, objects.names, scores, scores, ids, {"total": 20.0},
                             np.full(count, 0.9 - 0.05 * index), np.full(count, 0.5))
        out.append(result.select(np.arange(count) >= {2: 2, 8: 1}.get(index, 0)))
    return out


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The bag, the files that two runs of the command wrote over it, and their pages."""
    folder = tmp_path_factory.mktemp("report")
    items = bag_cases.frames(FRAMES)
    write_bag(folder / NAME, items, bag_cases.rig())
    for name, worse in (("before", True), ("after", False)):
        save_results(folder / f"{name}.npz", tracks(items, worse))
        assert cli.main(["evaluate", "--tracks", str(folder / f"{name}.npz"), "--bag", str(folder / NAME), "--output",
                         str(folder / f"{name}.json"), "--report", str(folder / f"{name}.html"), "--submission",
                         str(folder / f"{name}_submission.json"), "--submission-task", "tracking"]) == 0
    return folder


def test_a_page_needs_nothing_else(folder):
    page = Page((folder / "after.html").read_text())
    assert "script" not in page.tags and "link" not in page.tags and "iframe" not in page.tags
    scores = json.loads((folder / "after.json").read_text())["scores"]
    for value in (scores["mean_ap"], scores["nds"], scores["classes"]["car"]["ap"]):
        assert f"{value:.3f}" in page.words
    assert "curve <b>" in page.words  # as text, not as a tag
    assert "b" not in page.tags[:page.tags.index("div")]
    assert "Recorded tracks" in page.words and "12 frames with ground truth" in page.words


def test_the_worst_frames_are_shown_as_they_are_painted(folder):
    page = Page((folder / "after.html").read_text())
    assert [image.shape[:2] for image in page.images[2:]] == [SIZE[::-1]] * 2
    assert "2 of 2 missed" in page.words and "1 of 2 missed" in page.words
    assert "1 car, 1 pedestrian" in page.words
    items = bag_cases.frames(FRAMES)
    scores = json.loads((folder / "after.json").read_text())["scores"]
    facts = [("mAP", f"{scores['mean_ap']:.2f}"), ("NDS", f"{scores['nds']:.2f}"), ("AMOTA", f"{scores['amota']:.2f}")]
    painted = dict(paint_drive(FramePainter(f"sparse4d · {NAME}", facts), items, tracks(items)))
    expected = painted[items[8].frame.stamp_ns].astype(int)
    # Both went through JPEG, the bag's pictures and the page's; lines are thin, so the mean tells.
    away = np.abs(page.images[3].astype(int) - expected).mean()
    assert away < 4.0
    assert away < 0.7 * np.abs(page.images[3].astype(int) - painted[items[2].frame.stamp_ns].astype(int)).mean()


def test_identity_switches_are_listed(folder):
    document = json.loads((folder / "after.json").read_text())
    switch, = document["identity_switches"]
    assert (switch["name"], switch["old_track"], switch["new_track"]) == ("car", 5, 77)
    assert "5 → 77" in Page((folder / "after.html").read_text()).words


def test_the_file_holds_breakdown_and_calibration(folder):
    document = json.loads((folder / "after.json").read_text())
    assert document["breakdown"]["score"] == 0.3
    ranges = {part["label"]: part for part in document["breakdown"]["by_range"]}
    # Cars stand at 10 m, where rounding decides between two ranges.
    near, further = ranges["0-10 m"], ranges["10-20 m"]
    assert near["true_boxes"] + further["true_boxes"] == 2 * FRAMES and ranges["30-40 m"]["recall"] is None
    found = sum(part["true_boxes"] * (part["recall"] or 0.0) for part in (near, further))
    assert found == pytest.approx(2 * FRAMES - 3)
    assert document["calibration"]["spearman"]["centerness"]["correlation"] < -0.99
    assert document["calibration"]["spearman"]["yawness"]["correlation"] is None  # it is always 0.5
    assert document["calibration"]["reliability"][8] | {"mean_score": 0} == {
        "low": 0.8, "high": 0.9, "count": 2 * FRAMES - 3, "mean_score": 0, "precision": 1.0}


def test_the_submission_is_written(folder):
    results = json.loads((folder / "after_submission.json").read_text())["results"]
    assert len(results) == FRAMES and all("tracking_id" in row for rows in results.values() for row in rows)
    assert all(token.startswith(f"{NAME}-17000000") for token in results)


def test_two_evaluations_side_by_side(folder, capsys):
    assert cli.main(["evaluate", "--compare", str(folder / "before.json"), str(folder / "after.json"), "--report",
                     str(folder / "difference.html")]) == 0
    first, second = (json.loads((folder / f"{name}.json").read_text())["scores"] for name in ("before", "after"))
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("mAP "))
    assert line.split()[1:] == [f"{first['mean_ap']:.3f}", f"{second['mean_ap']:.3f}",
                                f"{second['mean_ap'] - first['mean_ap']:+.3f}", "better"]
    page = Page((folder / "difference.html").read_text())
    assert f"{second['mean_ap'] - first['mean_ap']:+.3f}" in page.words
    assert "script" not in page.tags


def test_better_and_worse_look_the_same_way_in_both_orders(folder):
    forth, back = (compare_files(folder / f"{a}.json", folder / f"{b}.json")
                   for a, b in (("before", "after"), ("after", "before")))
    turned = {"good": "bad", "bad": "good", "": ""}
    verdicts = {(title, row.label): row.verdict for title, rows in forth.groups for row in rows}
    assert {key: turned[verdict] for key, verdict in verdicts.items()} == {
        (title, row.label): row.verdict for title, rows in back.groups for row in rows}
    assert verdicts["Scores", "mAP"] == verdicts["Scores", "centre error ATE, m"] == "good"
    assert verdicts["Scores", "identity switches"] == ""
    assert verdicts["Centre error, m, by distance, score 0.3", "10-20 m"] == "good"
    assert ("AP by class", "car") in verdicts and ("Trust", "Spearman centerness") in verdicts
    assert ("Latency, median ms", "total") in verdicts


def test_recall_at_different_scores_is_not_compared(folder, tmp_path):
    document = json.loads((folder / "after.json").read_text())
    document["breakdown"]["score"] = 0.25
    (tmp_path / "other.json").write_text(json.dumps(document))
    titles = [title for title, _ in compare_files(folder / "before.json", tmp_path / "other.json").groups]
    assert "mAP by distance" in titles and not any("Recall" in title or "error" in title for title in titles)


def test_files_of_older_versions_compare_by_what_they_have(folder, tmp_path):
    document = json.loads((folder / "after.json").read_text())
    for name in ("breakdown", "calibration", "latency_ms"):
        del document[name]
    (tmp_path / "old.json").write_text(json.dumps(document))
    comparison = compare_files(tmp_path / "old.json", folder / "after.json")
    assert [title for title, _ in comparison.groups] == ["Scores", "AP by class", "Trust", "Latency, median ms"]
    assert "-" in comparison_table(comparison)
    Page(comparison_page(comparison))


@pytest.mark.parametrize("change, text", [
    (lambda d: d.update(drives=["elsewhere"]), "were made over different drives: curve <b> and elsewhere"),
    (lambda d: d["scores"].update(frames=5), "different drives of the same names: frames: 12 and 5"),
    (lambda d: d["scores"]["classes"]["car"].update(true_boxes=1), "of the same names: car: 12 and 1"),
    (lambda d: d.pop("drives"), "is not a file written by `sparse4d evaluate --output`: it has no list of drives"),
    (lambda d: d.update(scores=[]), "is not a file written by `sparse4d evaluate --output`: it has no scores"),
    (lambda d: d["scores"].update(nds="high"), "its scores lack nds"),
    (lambda d: d["scores"]["classes"].update(car=0.5), "its scores lack classes"),
])
def test_files_that_do_not_belong_together_are_refused(folder, tmp_path, change, text):
    document = json.loads((folder / "after.json").read_text())
    change(document)
    (tmp_path / "changed.json").write_text(json.dumps(document))
    with pytest.raises(UserError, match="changed.json") as error:
        compare_files(folder / "before.json", tmp_path / "changed.json")
    assert text in str(error.value)


def test_what_is_no_json_is_named(folder, tmp_path, capsys):
    (tmp_path / "text.json").write_text("nothing")
    assert cli.main(["evaluate", "--compare", str(folder / "after.json"), str(tmp_path / "text.json")]) == 2
    assert "text.json is not a file written by" in capsys.readouterr().err
    assert cli.main(["evaluate", "--compare", str(folder / "after.json"), str(tmp_path / "none.json")]) == 2
    assert "none.json cannot be read" in capsys.readouterr().err
    assert cli.main(["evaluate", "--compare", "a.json", "b.json", "--model", "m"]) == 2
    assert "--compare reads two files of --output" in capsys.readouterr().err


def test_charts_are_pictures_of_what_they_are_given():
    drive, charts = make_drive(), []
    for one in (drive, replace(drive, results=())):
        matches = match_drives([one], progress=False)
        charts.append([cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR) for png in (
            precision_recall_chart(matches), trust_chart(calibrate([one], matches)))])
    for first, second in zip(*charts, strict=True):
        assert first.shape == second.shape and first.shape[1] == 1710
        assert (first != second).any(axis=2).sum() > 2000


def test_a_page_without_frames_or_switches_says_so():
    page = Page(evaluation_page(assess([make_drive()], 0.3), "A perfect model", []))
    assert "No frame is shown" in page.words and "No object changed its track" in page.words
    assert len(page.images) == 2
