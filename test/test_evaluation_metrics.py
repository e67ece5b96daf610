"""nuScenes scores on hand-made drives whose answers are known, and against the devkit's own front door."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from nuscenes.eval.common.config import config_factory
from nuscenes.eval.detection import evaluate as detection_evaluate
from nuscenes.eval.tracking import evaluate as tracking_evaluate
from nuscenes.eval.tracking import loaders as tracking_loaders

from sparse4d_ros import boxes as box_columns
from sparse4d_ros.boxes import NUSCENES_CLASSES
from sparse4d_ros.errors import UserError
from sparse4d_ros.evaluation import nuscenes_metrics
from sparse4d_ros.evaluation.nuscenes_memory import MemoryDataSet, attribute, result_boxes, truth_boxes
from sparse4d_ros.evaluation.nuscenes_metrics import evaluate
from sparse4d_ros.evaluation.records import Drive, FrameResult, FrameTruth
from sparse4d_ros.frame import Objects
from sparse4d_ros.geometry import from_yaw, inverse

FRAMES = 20
PERIOD_NS = 500_000_000


def make_drive(names=("car", "car", "pedestrian"), visibility=None, seed=0) -> Drive:
    """Objects on straight ways past a turning vehicle, and results that equal the truth, all with score 0.9."""
    rng = np.random.default_rng(seed)
    count = len(names)
    fixed = np.zeros((count, box_columns.BOX_COLUMNS))
    # A ring with 6 m between neighbours, so that no shift of these tests reaches a neighbour.
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    radius = max(12.0, count * 6.0 / (2 * np.pi))
    fixed[:, 0], fixed[:, 1], fixed[:, 2] = radius * np.cos(angle), radius * np.sin(angle), 0.8
    fixed[:, 3:6] = rng.uniform(0.8, 4.0, (count, 3))
    fixed[:, box_columns.YAW] = rng.uniform(-3, 3, count)
    fixed[:, box_columns.VX:box_columns.VY + 1] = rng.uniform(0.3, 0.5, (count, 2))
    truths, results = [], []
    for f in range(FRAMES):
        now = fixed.copy()
        now[:, :3] += fixed[:, box_columns.VX:] * f * PERIOD_NS * 1e-9
        pose = from_yaw(100.0 + 0.3 * f, -50.0, 0.0, 0.1 * f)
        world = from_yaw(100.0, -50.0, 0.0, 0.0)
        local = box_columns.transform(now, inverse(pose) @ world)
        seen = None if visibility is None else np.asarray(visibility, dtype=float)
        truths.append(FrameTruth(f * PERIOD_NS, pose, Objects(local, tuple(names), np.arange(count), seen)))
        results.append(FrameResult(f * PERIOD_NS, local.copy(), tuple(names), np.full(count, 0.9),
                                   np.full(count, 0.9), np.arange(1, count + 1)))
    return Drive("test", tuple(truths), tuple(results))


def changed(drive: Drive, change) -> Drive:
    """The drive with ``change(index, result) -> result`` applied to every result."""
    return replace(drive, results=tuple(change(i, r) for i, r in enumerate(drive.results)))


def shifted(drive: Drive, metres: float) -> Drive:
    def shift(_, result):
        moved = result.boxes.copy()
        moved[:, 0] += metres
        return replace(result, boxes=moved)
    return changed(drive, shift)


def test_perfect_results_score_one():
    scores = evaluate([make_drive()], progress=False)
    assert scores.mean_ap == pytest.approx(1.0, abs=1e-6)
    assert scores.nds == pytest.approx(1.0, abs=1e-6)
    assert scores.amota == pytest.approx(1.0, abs=1e-6)
    assert scores.recall == pytest.approx(1.0)
    assert (scores.ids, scores.frag, scores.missing_frames) == (0, 0, 0)
    assert scores.mave == pytest.approx(0.0, abs=1e-6)
    assert set(scores.classes) == {"car", "pedestrian"}
    assert scores.classes["car"].true_boxes == 2 * FRAMES
    boxes = sum(of_class.true_boxes for of_class in scores.classes.values())
    assert scores.object_seconds == pytest.approx(boxes / make_drive().rate_hz)


def test_no_results_score_zero():
    drive = make_drive()
    scores = evaluate([replace(drive, results=())], progress=False)
    assert (scores.mean_ap, scores.nds, scores.amota, scores.recall) == (0.0, 0.0, 0.0, 0.0)
    assert scores.missing_frames == FRAMES


def test_a_frame_without_result_counts_as_missed():
    drive = make_drive()
    scores = evaluate([replace(drive, results=drive.results[: FRAMES // 2])], progress=False)
    # Nothing but half the recall is lost: AP is the area up to recall 0.5, without the first tenth.
    assert scores.mean_ap == pytest.approx(40 / 90, abs=0.02)
    assert scores.missing_frames == FRAMES // 2


@pytest.mark.parametrize("metres, expected", [
    (0.3, {0.5: 1, 1.0: 1, 2.0: 1, 4.0: 1}),
    (0.7, {0.5: 0, 1.0: 1, 2.0: 1, 4.0: 1}),
    (1.5, {0.5: 0, 1.0: 0, 2.0: 1, 4.0: 1}),
    (3.0, {0.5: 0, 1.0: 0, 2.0: 0, 4.0: 1}),
])
def test_a_shift_passes_the_wider_distances_only(metres, expected):
    scores = evaluate([shifted(make_drive(), metres)], progress=False)
    assert scores.classes["car"].ap_by_distance == pytest.approx(expected, abs=1e-6)
    if metres < 2.0:
        assert scores.mate == pytest.approx(metres, abs=1e-6)
        assert scores.amotp == pytest.approx(metres, abs=1e-6)


def test_one_identity_switch_is_counted_once():
    def switch(index, result):
        ids = result.track_ids.copy()
        if index >= FRAMES // 2:
            ids[0] = 77
        return replace(result, track_ids=ids)
    scores = evaluate([changed(make_drive(), switch)], progress=False)
    assert scores.classes["car"].ids == 1
    assert scores.classes["pedestrian"].ids == 0
    assert scores.ids == 1
    assert scores.ids_per_100_s == pytest.approx(100.0 / scores.object_seconds)
    assert 0.9 < scores.classes["car"].amota < 1.0
    assert scores.mean_ap == pytest.approx(1.0, abs=1e-6)


def test_a_wrong_class_is_a_miss_and_not_a_hit_elsewhere():
    def mistaken(_, result):
        return replace(result, names=("car", "truck", "pedestrian"))
    scores = evaluate([changed(make_drive(), mistaken)], progress=False)
    assert scores.classes["car"].ap == pytest.approx(40 / 90, abs=0.02)
    assert scores.classes["pedestrian"].ap == pytest.approx(1.0, abs=1e-6)
    assert "truck" not in scores.classes


def test_velocity_and_attribute_errors():
    def faster(_, result):
        moved = result.boxes.copy()
        heading = moved[:, box_columns.VX:box_columns.VY + 1]
        moved[:, box_columns.VX:box_columns.VY + 1] += 0.5 * heading / np.linalg.norm(heading, axis=1, keepdims=True)
        return replace(result, boxes=moved)

    def standing(_, result):
        moved = result.boxes.copy()
        moved[:, box_columns.VX:] = 0.0
        return replace(result, boxes=moved)
    scores = evaluate([changed(make_drive(), faster)], progress=False)
    assert scores.mave == pytest.approx(0.5, abs=1e-6)
    assert scores.maae == pytest.approx(0.0, abs=1e-6)
    assert scores.nds == pytest.approx(1.0 - 0.05, abs=1e-6)
    assert evaluate([changed(make_drive(), standing)], progress=False).maae == pytest.approx(1.0, abs=1e-6)


def test_attribute_rule():
    assert attribute("car", np.array([0.3, 0.0, 0.0])) == "vehicle.moving"
    assert attribute("bicycle", np.array([0.1, 0.1, 5.0])) == "cycle.without_rider"
    assert attribute("pedestrian", np.array([0.0, 0.0, 0.0])) == "pedestrian.standing"
    assert attribute("barrier", np.array([3.0, 0.0, 0.0])) == ""
    assert attribute("car", np.array([np.nan, np.nan, np.nan])) == ""


def test_an_unknown_velocity_has_no_share_in_the_errors():
    drive = make_drive()
    for truth in drive.truths[1:]:  # the first frame's are known, and all are reported as they are
        truth.objects.boxes[:, box_columns.VX:] = np.nan
    scores = evaluate([drive], progress=False)
    assert scores.maae == pytest.approx(0.0, abs=1e-6) and scores.mave == pytest.approx(0.0, abs=1e-6)


def test_invisible_and_distant_objects_do_not_count():
    names = ("car",) * 3
    drive = make_drive(names, visibility=(1.0, 0.0, 0.004))
    far = shifted_truth(drive, object_index=0, metres=200.0)
    scores = evaluate([far], progress=False)
    assert scores.classes["car"].true_boxes == FRAMES  # only the third: the first is far, the second unseen


def shifted_truth(drive: Drive, object_index: int, metres: float) -> Drive:
    truths = []
    for truth in drive.truths:
        moved = truth.objects.boxes.copy()
        moved[object_index, 0] += metres
        truths.append(replace(truth, objects=replace(truth.objects, boxes=moved)))
    return replace(drive, truths=tuple(truths))


def test_same_track_numbers_in_two_drives_are_two_tracks():
    scores = evaluate([make_drive(seed=1), make_drive(seed=2)], progress=False)
    assert scores.amota == pytest.approx(1.0, abs=1e-6)
    assert (scores.ids, scores.frames) == (0, 2 * FRAMES)


def test_nothing_in_range_is_refused():
    with pytest.raises(UserError, match="no visible object within the ranges"):
        evaluate([make_drive(visibility=(0.0, 0.0, 0.0))], progress=False)


def test_scores_turn_into_json():
    text = json.dumps(evaluate([make_drive(("car", "traffic_cone"))], progress=False).to_json(), allow_nan=False)
    assert json.loads(text)["classes"]["traffic_cone"]["amota"] is None


def noisy_drive() -> Drive:
    """All ten classes twice, with noise, misses, false alarms, and all pairs of a class swapped half way."""
    rng = np.random.default_rng(5)

    def spoil(index, result):
        keep = rng.random(len(result)) > 0.2
        boxes = result.boxes + rng.normal(0, 0.25, result.boxes.shape)
        boxes[:, 3:6] = np.abs(boxes[:, 3:6]) + 0.1
        ids = np.roll(result.track_ids, 10) if index >= FRAMES // 2 else result.track_ids
        return replace(result, boxes=boxes, scores=rng.uniform(0.1, 1.0, len(result)), track_ids=ids).select(keep)
    return changed(make_drive(NUSCENES_CLASSES * 2, seed=3), spoil)


@pytest.fixture
def direct(tmp_path, monkeypatch):
    """The devkit's own constructors: results from its JSON file, look-ups patched to our drive."""
    drive = noisy_drive()
    data_set = MemoryDataSet([drive], tmp_path)
    monkeypatch.setattr(tracking_evaluate, "NuScenes", lambda **_: data_set)
    monkeypatch.setattr(tracking_loaders, "get_scenes_of_split", lambda **_: ["drive-0000"])
    for module in (detection_evaluate, tracking_evaluate):
        monkeypatch.setattr(module, "load_gt", lambda _, __, cls, verbose: truth_boxes(
            [drive], NUSCENES_CLASSES if cls.__name__ == "DetectionBox" else
            config_factory("tracking_nips_2019").tracking_names, cls.__name__ == "TrackingBox"))

    def results(tracking: bool, names) -> str:
        path = tmp_path / f"{tracking}.json"
        content = result_boxes([drive], list(names), tracking, 500).serialize()
        path.write_text(json.dumps({"meta": {}, "results": content}))
        return str(path)
    return drive, data_set, results, str(tmp_path / "out")


def test_detection_equals_the_devkit_called_directly(direct):
    drive, data_set, results, out = direct
    run = detection_evaluate.DetectionEval(
        data_set, config_factory("detection_cvpr_2019"), results(False, NUSCENES_CLASSES), "val", out, verbose=False)
    expected, _ = run.evaluate()
    scores = evaluate([drive], progress=False)
    assert 0.2 < scores.mean_ap < 0.95
    assert scores.mean_ap == pytest.approx(expected.mean_ap, abs=1e-9)
    assert scores.nds == pytest.approx(expected.nd_score, abs=1e-9)
    errors = (scores.mate, scores.mase, scores.maoe, scores.mave, scores.maae)
    assert errors == pytest.approx(tuple(expected.tp_errors.values()), abs=1e-9)


@pytest.mark.parametrize("worth_processes", [10 ** 6, pytest.param(1, marks=pytest.mark.slow)])
def test_tracking_equals_the_devkit_called_directly(direct, monkeypatch, worth_processes):
    monkeypatch.setattr(nuscenes_metrics, "_WORTH_PROCESSES", worth_processes)
    drive, _, results, out = direct
    config = config_factory("tracking_nips_2019")
    run = tracking_evaluate.TrackingEval(config, results(True, config.tracking_names), "val", out, "memory", "",
                                         verbose=False)
    expected, _ = run.evaluate()
    scores = evaluate([drive], progress=False)
    assert 0.2 < scores.amota < 0.99
    assert scores.ids > 0
    for metric in ("amota", "amotp", "mota", "recall", "ids", "frag"):
        assert getattr(scores, metric) == pytest.approx(expected.compute_metric(metric), abs=1e-9), metric
