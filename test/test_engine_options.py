"""The options beside the reference's behaviour: suppression of duplicates and recall of lost tracks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparse4d_ros.engine.association import Gallery, match
from sparse4d_ros.engine.nms import iou_3d, suppress


def box(x=0.0, y=0.0, z=0.0, length=4.0, width=2.0, height=1.5, yaw=0.0):
    return np.array([x, y, z, length, width, height, yaw, 0.0, 0.0, 0.0])


def test_iou_of_known_cases():
    assert iou_3d(box(), box()) == pytest.approx(1.0, abs=1e-5)
    assert iou_3d(box(), box(x=2.0)) == pytest.approx(1 / 3, abs=1e-5)
    assert iou_3d(box(), box(z=0.75)) == pytest.approx(1 / 3, abs=1e-5)
    assert iou_3d(box(), box(yaw=np.pi / 2)) == pytest.approx(4 / 12, abs=1e-5)
    assert iou_3d(box(), box(z=2.0)) == 0.0
    assert iou_3d(box(), box(x=5.0)) == 0.0
    far = 50_000.0
    assert iou_3d(box(x=far), box(x=far + 2.0)) == pytest.approx(1 / 3, abs=1e-4)


def test_boxes_of_a_network_that_has_diverged_overlap_like_large_ones():
    """OpenCV's own function fails with the first pair."""
    huge = box(-55.26274490356445, 97.82852935791016, -47.542510986328125, 0.00966692715883255, 27946514432.0,
               2.555883773119955e+18, -0.6065352467236542)
    other = box(-24.39786148071289, 39.4608154296875, -32.350868225097656, 1.5969887971878052, 5613.30810546875,
                19606796238848.0, -0.6382144620727384)
    assert 0.0 <= iou_3d(huge, other) <= 1.0
    assert iou_3d(box(length=1e9, width=1e9), box(length=1e9, width=1e9)) == pytest.approx(1.0, abs=1e-3)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(-3, 3), min_size=4, max_size=4))
def test_iou_is_symmetric_and_bounded(values):
    first, second = box(yaw=values[0]), box(x=values[1], y=values[2], yaw=values[3])
    assert iou_3d(first, second) == pytest.approx(iou_3d(second, first), abs=1e-4)
    assert -1e-6 <= iou_3d(first, second) <= 1 + 1e-6


def test_suppression_keeps_the_best_of_each_class():
    boxes = np.stack([box(), box(x=0.3), box(x=0.3), box(x=10.0), box(x=1.9)])
    keep = suppress(boxes, np.array([0, 0, 1, 0, 0]), 0.5)
    assert keep.tolist() == [True, False, True, True, True]


def gallery(*rows) -> Gallery:
    """Rows of (id, class, feature, position, velocity, stamp in seconds), each given out once."""
    columns = list(zip(*rows, strict=True))
    stamps_ns = (np.array(columns[5]) * 1e9).astype(np.int64)
    return Gallery(
        np.array(columns[0]), np.array(columns[1]), np.array(columns[2], np.float32), np.array(columns[3], float),
        np.array(columns[4], float), stamps_ns, np.ones(len(rows), np.int64), stamps_ns)


def test_a_returning_object_is_matched_by_likeness_class_and_reach():
    lost = gallery(
        (7, 0, [1, 0], [10, 0], [5, 0], 1.0),
        (8, 0, [0, 1], [10, 3], [0, 0], 1.0),
        (9, 1, [1, 0], [15, 0], [0, 0], 1.0),
    )
    new = gallery((0, 0, [0.9, 0.1], [15, 0], [5, 0], 2.0), (1, 0, [1, 0], [80, 0], [0, 0], 2.0))
    assert match(new, lost, 0.2) == [(0, 0)]
    assert match(new, lost, 0.999) == []


def test_matching_is_one_to_one_and_best_overall():
    lost = gallery((7, 0, [1.0, 0.2], [0, 0], [0, 0], 1.0), (8, 0, [1.0, 0.6], [0, 1], [0, 0], 1.0))
    new = gallery((0, 0, [1.0, 0.5], [0, 0], [0, 0], 1.5), (1, 0, [1.0, 0.1], [0, 0], [0, 0], 1.5))
    assert sorted(match(new, lost, 0.2)) == [(0, 1), (1, 0)]


def test_the_gallery_is_bounded_by_time():
    old = gallery((7, 0, [1, 0], [0, 0], [0, 0], 1.0), (8, 0, [1, 0], [0, 0], [0, 0], 2.5))
    seen = gallery((8, 0, [0, 1], [1, 0], [0, 0], 4.0))
    kept = old.update(seen, int(4.0e9), max_lost_s=2.0)
    assert kept.ids.tolist() == [8] and kept.features.tolist() == [[0, 1]]


def test_an_object_that_the_bank_lost_gets_its_id_back(tmp_path):
    """Through the whole engine: the same pictures after a hole in the bank, with and without the option."""
    pytest.importorskip("torch", reason="the tiny network is made with torch")
    from engine_cases import rig_frame, write_package

    from sparse4d_ros.engine import Engine, EngineOptions
    from sparse4d_ros.engine.tracks import Tracks

    package = write_package(tmp_path / "tiny")
    shared = {}
    for similarity in (None, 0.2):
        options = EngineOptions(score_threshold=0.0, max_objects=8, association_similarity=similarity)
        engine = Engine(package, "torch", options=options)
        state = engine.initial_state()
        first, state = engine.step(rig_frame(package, 1.0), state)
        # The bank loses who is who, as when the object's slot was taken by others.
        lost = replace(state, tracks=Tracks.none(len(state.tracks.ids)))
        second, _ = engine.step(rig_frame(package, 1.2), lost)
        assert len(set(second.track_ids)) == len(second)
        old = np.isin(second.track_ids, first.track_ids)
        shared[similarity] = int(old.sum())
        assert second.hits.tolist() == np.where(old, 2, 1).tolist()
        np.testing.assert_allclose(second.age_s, np.where(old, 0.2, 0.0), atol=1e-6)
        assert not second.velocity_valid.any(), "for the bank the object is new"
    assert shared[None] == 0 and shared[0.2] >= 4
