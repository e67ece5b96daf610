"""The nuScenes submission format, read back by the devkit's own loader."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from nuscenes.eval.common.loaders import load_prediction
from nuscenes.eval.detection.data_classes import DetectionBox
from nuscenes.eval.tracking.data_classes import TrackingBox
from pyquaternion import Quaternion
from test_evaluation_metrics import changed, make_drive

from sparse4d_ros import boxes as box_columns
from sparse4d_ros.boxes import NUSCENES_CLASSES
from sparse4d_ros.errors import UserError
from sparse4d_ros.evaluation.submission import submission, submission_token, write_submission

TRACKED = {"bicycle", "bus", "car", "motorcycle", "pedestrian", "trailer", "truck"}


@pytest.mark.parametrize("task, kind", [("detection", DetectionBox), ("tracking", TrackingBox)])
def test_the_devkit_reads_what_is_written(tmp_path, task, kind):
    drive = make_drive(NUSCENES_CLASSES)
    drive = replace(drive, results=drive.results[1:])
    names = NUSCENES_CLASSES if task == "detection" else TRACKED
    count = write_submission(tmp_path / "file.json", [drive], task)
    boxes, meta = load_prediction(str(tmp_path / "file.json"), 500, kind)
    assert meta == {"use_camera": True, "use_lidar": False, "use_radar": False, "use_map": False, "use_external": False}
    assert boxes.sample_tokens == [submission_token("test", truth.stamp_ns) for truth in drive.truths]
    assert boxes[submission_token("test", 0)] == []  # no result came
    assert {getattr(box, f"{task}_name") for box in boxes.all} == set(names)
    assert len(boxes.all) == count == len(names) * (len(drive.truths) - 1)
    # What was loaded and written again by the devkit is what we wrote, but for the fields that its own class adds.
    written = json.loads((tmp_path / "file.json").read_text())["results"]
    again = json.loads(json.dumps(boxes.serialize()))
    for token, rows in written.items():
        assert rows == [{key: value for key, value in row.items() if key not in ("ego_translation", "num_pts")}
                        for row in again[token]]


def test_boxes_are_in_the_fixed_frame():
    drive = make_drive(("bus",))
    truth, result = drive.truths[4], drive.results[4]
    row, = submission([drive], "tracking")["results"][submission_token("test", truth.stamp_ns)]
    fixed = box_columns.transform(result.boxes, truth.fixed_from_vehicle)[0]
    np.testing.assert_allclose(row["translation"], fixed[:3])
    np.testing.assert_allclose(row["size"], fixed[[box_columns.WIDTH, box_columns.LENGTH, box_columns.HEIGHT]])
    assert Quaternion(row["rotation"]).yaw_pitch_roll[0] == pytest.approx(fixed[box_columns.YAW])
    np.testing.assert_allclose(row["velocity"], fixed[box_columns.VX:box_columns.VY + 1])
    assert (row["tracking_score"], row["tracking_name"]) == (0.9, "bus")
    assert Quaternion(row["rotation"]).norm == pytest.approx(1.0)


def test_tracking_takes_confident_objects_only_and_keeps_their_numbers():
    drive = changed(make_drive(("car", "car", "barrier")),
                    lambda i, r: replace(r, class_scores=np.array([0.19, 0.21, 0.9])))
    found = submission([drive], "tracking")["results"]
    assert {row["tracking_id"] for rows in found.values() for row in rows} == {"0-2"}
    assert all(len(rows) == 3 for rows in submission([drive], "detection")["results"].values())


def test_a_frame_keeps_its_best_500():
    drive = make_drive(("car",))

    def flood(_, result):
        count = 600
        scores = np.linspace(0.1, 0.9, count)
        return replace(result, boxes=np.repeat(result.boxes, count, axis=0), names=("car",) * count, scores=scores,
                       class_scores=scores, track_ids=np.arange(count))
    rows = next(iter(submission([changed(drive, flood)], "detection")["results"].values()))
    assert len(rows) == 500
    assert min(row["detection_score"] for row in rows) > 0.23


def test_tokens_tell_drive_and_stamp_apart():
    assert submission_token("town-1", 22) == "town-1-22"
    assert submission_token("town-1", 22).rpartition("-")[::2] == ("town-1", "22")
    with pytest.raises(UserError, match="two drives are called 'test'"):
        submission([make_drive(), make_drive(seed=1)], "detection")
