"""What the network says about its own quality against what is true; missed objects and identity switches."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_evaluation_breakdown import one_frame, row
from test_evaluation_metrics import FRAMES, PERIOD_NS, changed, make_drive

from sparse4d_ros.evaluation.calibration import calibrate, correlate, reliability
from sparse4d_ros.evaluation.matching import match_drives
from sparse4d_ros.evaluation.misses import identity_switches, worst_frames


def spread_out(sign: float):
    """Cars with growing errors of centre and heading, and qualities that fall (``sign`` 1) or rise (-1) with them."""
    steps = np.arange(6)
    true = [row(8.0 + 6 * k) for k in steps]
    found = [row(8.0 + 6 * k + 0.3 * k, yaw=0.2 * k) for k in steps]
    drive = one_frame(true, found, np.full(6, 0.5))
    return replace(drive, results=(replace(drive.results[0], centerness=0.5 - sign * 0.05 * steps,
                                           yawness=0.6 - sign * 0.1 * steps ** 2 / 6),))


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_qualities_are_ranked_against_errors(sign):
    drive = spread_out(sign)
    found = calibrate([drive], match_drives([drive], progress=False))
    assert found.centerness.correlation == pytest.approx(-sign)
    assert found.yawness.correlation == pytest.approx(-sign)
    np.testing.assert_allclose(np.sort(found.centerness.errors), 0.3 * np.arange(6), atol=1e-9)
    np.testing.assert_allclose(np.sort(found.yawness.errors), 0.2 * np.arange(6), atol=1e-9)


def test_results_without_qualities_are_said_to_have_none():
    drive = one_frame([row(5)], [row(5)], [0.9])
    found = calibrate([drive], match_drives([drive], progress=False))
    assert found.centerness is None and found.yawness is None
    assert found.to_json()["spearman"] == {"centerness": None, "yawness": None}


def test_too_few_pairs_have_no_correlation():
    assert np.isnan(correlate("centerness", np.array([0.1, 0.2]), np.array([1.0, 0.5])).correlation)
    assert np.isnan(correlate("centerness", np.full(5, 0.5), np.arange(5.0)).correlation)


def test_reliability_counts_every_reported_object():
    rows = reliability([np.array([0.05, 0.55, 0.58]), np.array([0.52, 1.0])],
                       [np.array([False, True, False]), np.array([True, True])])
    by_low = {row.low: row for row in rows}
    assert (by_low[0.0].count, by_low[0.0].precision) == (1, 0.0)
    assert (by_low[0.5].count, by_low[0.5].precision) == (3, pytest.approx(2 / 3))
    assert by_low[0.5].mean_score == pytest.approx(0.55)
    assert (by_low[0.9].count, by_low[0.9].precision) == (1, 1.0)
    assert by_low[0.2].count == 0 and np.isnan(by_low[0.2].precision)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=60))
def test_reliability_loses_nothing(pairs):
    scores, hits = np.array([s for s, _ in pairs]), np.array([h for _, h in pairs], dtype=bool)
    rows = [row for row in reliability([scores], [hits]) if row.count]
    assert sum(row.count for row in rows) == len(pairs)
    assert sum(row.count * row.precision for row in rows) == pytest.approx(hits.sum())
    assert all(row.low <= row.mean_score + 1e-9 and row.mean_score <= row.high + 1e-9 for row in rows)


def test_the_calibration_error_counts_classes_that_are_not_there():
    # One of two reported cars is real, and the bus is not: a score of 0.6 should have been 1/3.
    drive = one_frame([row(5)], [row(5), row(15), row(25)], [0.6, 0.6, 0.6], found_names=("car", "car", "bus"))
    found = calibrate([drive], match_drives([drive], progress=False))
    assert found.expected_error == pytest.approx(0.6 - 1 / 3)


def without_first(drive, frames, first: int):
    return changed(drive, lambda i, r: r.select(np.arange(len(r)) >= first) if i in frames else r)


def test_worst_frames_are_apart_and_worst_first():
    drive = without_first(without_first(make_drive(("car",) * 4), (5, 6), 1), (12, 13), 3)
    found = worst_frames([drive], match_drives([drive], progress=False), 0.3, 10)
    # Frames are half a second apart: of two neighbours with equally many misses the earlier one stands.
    assert [(bad.frame, bad.misses, bad.visible) for bad in found] == [(12, 3, 4), (5, 1, 4)]
    assert found[0].missed == {"car": 3} and found[0].seconds == pytest.approx(6.0)
    for count in (0, 1):
        assert len(worst_frames([drive], match_drives([drive], progress=False), 0.3, count)) == count


@pytest.mark.parametrize("true, seen, missed", [(row(29), 0.4, 1), (row(31), 1.0, 0), (row(10), 0.39, 0)])
def test_only_visible_objects_within_30_m_are_missed(true, seen, missed):
    drive = one_frame([row(5), true], [row(5)], [0.9], visibility=[1.0, seen])
    assert sum(bad.misses for bad in worst_frames([drive], match_drives([drive], progress=False), 0.3, 5)) == missed


def test_a_low_score_and_a_wrong_class_are_misses():
    names = ("car", "truck")
    drive = one_frame([row(5), row(15)], [row(5), row(15)], [0.2, 0.9], names=names, found_names=("car", "car"))
    bad, = worst_frames([drive], match_drives([drive], progress=False), 0.3, 5)
    assert bad.missed == {"car": 1, "truck": 1}


def test_a_switch_tells_when_and_from_what_to_what():
    def spoil(index, result):
        ids = result.track_ids.copy()
        ids[1] = 50 if index >= 7 else ids[1]
        keep = np.ones(len(result), bool)
        keep[1] = index not in (5, 6)
        return replace(result, track_ids=ids).select(keep)
    drives = [changed(make_drive(("car", "car", "pedestrian")), spoil), make_drive(seed=1)]
    switch, = identity_switches(drives, match_drives(drives, progress=False), 0.3)
    assert (switch.drive, switch.name, switch.instance, switch.old_track, switch.new_track) == (0, "car", 1, 2, 50)
    assert switch.seconds == pytest.approx(7 * PERIOD_NS * 1e-9) and switch.gap_s == pytest.approx(3 * PERIOD_NS * 1e-9)
    assert FRAMES > 8
