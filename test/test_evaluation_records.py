"""Records of results and truth: from messages, to disk and back, and what may not be paired."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace as Namespace

import numpy as np
import pytest

from sparse4d_ros.engine.detections import Detections
from sparse4d_ros.errors import UserError
from sparse4d_ros.evaluation.records import (
    TIMING_STEPS,
    Drive,
    FrameResult,
    FrameTruth,
    from_detections,
    from_message,
    load_results,
    save_results,
)
from sparse4d_ros.frame import Objects
from sparse4d_ros.geometry import from_yaw, to_quaternion


def result(stamp_ns: int, count: int = 2) -> FrameResult:
    rng = np.random.default_rng(stamp_ns)
    return FrameResult(stamp_ns, rng.normal(size=(count, 10)), ("car", "bus", "truck")[:count], rng.random(count),
                       rng.random(count), np.arange(count) + 7, {"total": 12.5, "inference": float(stamp_ns)})


def with_quality(stamp_ns: int, count: int = 2) -> FrameResult:
    rng = np.random.default_rng(stamp_ns + 1)
    return replace(result(stamp_ns, count), centerness=rng.random(count), yawness=rng.random(count))


def truth(stamp_ns: int) -> FrameTruth:
    return FrameTruth(stamp_ns, np.eye(4), Objects(np.zeros((0, 10)), (), np.zeros(0, dtype=np.int64)))


def test_results_survive_the_disk(tmp_path):
    written = [result(10), FrameResult(20, np.empty((0, 10)), (), np.empty(0), np.empty(0), np.empty(0, np.int64)),
               result(30, 3)]
    save_results(tmp_path / "tracks.npz", written, {"received_ns": np.arange(3)})
    read = load_results(tmp_path / "tracks.npz")
    assert [r.stamp_ns for r in read] == [10, 20, 30]
    for one, other in zip(written, read, strict=True):
        np.testing.assert_array_equal(one.boxes, other.boxes)
        np.testing.assert_array_equal(one.scores, other.scores)
        np.testing.assert_array_equal(one.class_scores, other.class_scores)
        np.testing.assert_array_equal(one.track_ids, other.track_ids)
        assert one.names == other.names
        assert one.timing_ms == other.timing_ms


def test_qualities_survive_the_disk(tmp_path):
    written = [with_quality(10), with_quality(20, 0), with_quality(30, 3)]
    save_results(tmp_path / "tracks.npz", written)
    for one, other in zip(written, load_results(tmp_path / "tracks.npz"), strict=True):
        np.testing.assert_array_equal(one.centerness, other.centerness)
        np.testing.assert_array_equal(one.yawness, other.yawness)


def test_files_without_qualities_still_load(tmp_path):
    save_results(tmp_path / "old.npz", [result(10)])
    with np.load(tmp_path / "old.npz") as archive:
        assert "centerness" not in archive and "yawness" not in archive
    old, = load_results(tmp_path / "old.npz")
    assert old.centerness is None and old.yawness is None


def test_results_of_two_sources_are_not_mixed(tmp_path):
    with pytest.raises(ValueError, match="1 of 2 results have centerness"):
        save_results(tmp_path / "tracks.npz", [with_quality(10), result(20)])


def test_detections_become_a_record():
    count = 3
    found = Detections(
        stamp_ns=4, boxes=np.arange(30.0).reshape(3, 10), class_ids=np.array([1, 0, 1]),
        scores=np.array([0.9, 0.5, 0.1]), class_scores=np.array([0.95, 0.6, 0.2]),
        centerness=np.array([0.7, 0.8, 0.9]), yawness=np.array([0.3, 0.2, 0.1]),
        track_ids=np.array([4, 5, 6]), hits=np.ones(count, int), frames_since_hit=np.zeros(count, int),
        age_s=np.zeros(count), velocity_valid=np.ones(count, bool), depth=np.zeros(count),
        camera_mask=np.ones(count, np.uint32), time_interval_s=0.2, epoch=0, timing_ms={"inference": 1.0})
    record = from_detections(found, ("car", "bus"))
    assert record.names == ("bus", "car", "bus")
    np.testing.assert_array_equal(record.centerness, found.centerness)
    np.testing.assert_array_equal(record.yawness, found.yawness)


def test_a_file_that_holds_no_tracks_is_named(tmp_path):
    with pytest.raises(UserError, match=r"none\.npz cannot be read as recorded tracks .*: No such file"):
        load_results(tmp_path / "none.npz")
    np.save(tmp_path / "array.npy", np.arange(3))
    for content in (b"nothing", b"", b"PK\3\4", (tmp_path / "array.npy").read_bytes()):
        (tmp_path / "text.npz").write_bytes(content)
        with pytest.raises(UserError, match=r"text\.npz cannot be read as recorded tracks .*: it is damaged, or some"):
            load_results(tmp_path / "text.npz")
    save_results(tmp_path / "tracks.npz", [result(10), result(20)])
    with np.load(tmp_path / "tracks.npz") as archive:
        table = dict(archive)
    for name, value, problem in (
            ("names", table["names"][1:], "holds no recorded tracks: names differ in length"),
            ("boxes", table["boxes"][:, :9], "holds no recorded tracks: boxes differ in length"),
            ("boxes", np.full_like(table["boxes"], np.nan), ": a recorded track has a place"),
            ("scores", np.full_like(table["scores"], np.inf), ": a recorded track has a place")):
        np.savez(tmp_path / "wrong.npz", **{**table, name: value})
        with pytest.raises(UserError, match=rf"wrong\.npz ?{problem}"):
            load_results(tmp_path / "wrong.npz")
    np.savez(tmp_path / "other.npz", stamp_ns=np.arange(3))
    with pytest.raises(UserError, match=r"other\.npz holds no recorded tracks: it lacks frame, boxes"):
        load_results(tmp_path / "other.npz")


def message(yaw: float, count: int = 1):
    x, y, z, w = to_quaternion(from_yaw(0, 0, 0, yaw))
    item = Namespace(
        pose=Namespace(position=Namespace(x=1.0, y=2.0, z=3.0), orientation=Namespace(x=x, y=y, z=z, w=w)),
        size=Namespace(x=4.0, y=1.8, z=1.5), velocity=Namespace(x=5.0, y=0.5, z=0.0),
        class_name="car", score=0.5, class_score=0.75, centerness=0.625, yawness=0.875, track_id=9)
    return Namespace(header=Namespace(stamp=Namespace(sec=3, nanosec=5)), objects=[item] * count,
                     timing=Namespace(**{step: float(i) for i, step in enumerate(TIMING_STEPS)}))


@pytest.mark.parametrize("yaw", [0.0, 1.2, -3.1, 3.1])
def test_message_becomes_a_record(yaw):
    record = from_message(message(yaw))
    assert record.stamp_ns == 3_000_000_005
    np.testing.assert_allclose(record.boxes, [[1, 2, 3, 4, 1.8, 1.5, yaw, 5, 0.5, 0]], atol=1e-12)
    assert (record.names, record.scores[0], record.class_scores[0], record.track_ids[0]) == (("car",), 0.5, 0.75, 9)
    assert record.timing_ms["total"] == TIMING_STEPS.index("total")
    assert (record.centerness.tolist(), record.yawness.tolist()) == ([0.625], [0.875])


def test_message_without_objects():
    record = from_message(message(0.0, count=0))
    assert record.boxes.shape == (0, 10)


def test_tracks_of_another_drive_are_refused():
    with pytest.raises(UserError, match="1 of 2 results of the drive 'town' have no ground truth"):
        Drive("town", (truth(10), truth(20)), (result(10), result(15)))


def test_two_results_for_one_stamp_are_refused():
    with pytest.raises(UserError, match="two results for one stamp"):
        Drive("town", (truth(10), truth(20)), (result(10), result(10)))


def test_a_drive_without_truth_is_refused():
    with pytest.raises(UserError, match="no frame with ground truth"):
        Drive("town", (), ())


def test_columns_of_different_length_are_refused():
    with pytest.raises(ValueError, match="differ in length"):
        FrameResult(0, np.zeros((2, 10)), ("car",), np.zeros(2), np.zeros(2), np.zeros(2))
    with pytest.raises(ValueError, match="yawness and boxes differ in length"):
        replace(result(0), yawness=np.zeros(3))


def test_select_keeps_rows_together():
    kept = result(10, 3).select(np.array([False, True, True]))
    assert kept.names == ("bus", "truck")
    assert kept.track_ids.tolist() == [8, 9]
    assert kept.centerness is None
    whole = with_quality(10, 3)
    np.testing.assert_array_equal(whole.select(np.array([False, True, True])).yawness, whole.yawness[1:])
