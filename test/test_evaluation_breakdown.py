"""Matches row by row, and the scores of parts that rest on them, on frames whose answers are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from test_evaluation_metrics import changed, make_drive, noisy_drive

from sparse4d_ros.evaluation.breakdown import RANGES_M, VISIBILITIES, break_down, sampled_precision
from sparse4d_ros.evaluation.matching import match_drives
from sparse4d_ros.evaluation.nuscenes_metrics import evaluate
from sparse4d_ros.evaluation.records import Drive, FrameResult, FrameTruth
from sparse4d_ros.frame import Objects

#: AP of a false alarm followed by the only hit: precision rises from 0 to a half over recall, and nuScenes leaves out
#: the first tenth of both.
ALARM_FIRST = float(np.maximum(0.5 * np.linspace(0.11, 1.0, 90) - 0.1, 0.0).mean() / 0.9)


def row(x: float, y: float = 0.0, yaw: float = 0.0) -> list[float]:
    return [x, y, 0.8, 4.0, 2.0, 1.5, yaw, 0.0, 0.0, 0.0]


def one_frame(true, found, scores, names=None, visibility=None, found_names=None) -> Drive:
    """A drive of one frame; all objects are cars unless ``names`` says otherwise."""
    true, found = np.array(true, dtype=float).reshape(-1, 10), np.array(found, dtype=float).reshape(-1, 10)
    seen = None if visibility is None else np.array(visibility, dtype=float)
    truth = Objects(true, tuple(names or ["car"] * len(true)), np.arange(len(true)), seen)
    scores = np.array(scores, dtype=float)
    named = tuple(found_names or ["car"] * len(found))
    result = FrameResult(5, found, named, scores, scores, np.arange(len(found)) + 1)
    return Drive("one", (FrameTruth(5, np.eye(4), truth),), (result,))


def parts(drive: Drive, score: float = 0.3) -> dict:
    found = break_down(match_drives([drive], progress=False), score)
    return {part.label: part for part in (*found.by_range, *found.by_visibility)}


def with_ties_and_alarms() -> Drive:
    """Every object reported twice, scores that are often equal, and some far from anything."""
    rng = np.random.default_rng(11)

    def spoil(_, result):
        again = result.select(rng.random(len(result)) > 0.3)
        boxes = np.concatenate([result.boxes, again.boxes])
        boxes[:, :2] += rng.normal(0, 1.2, (len(boxes), 2))
        scores = rng.integers(1, 4, len(boxes)) / 4.0
        return FrameResult(result.stamp_ns, boxes, result.names + again.names, scores, scores, np.arange(len(boxes)))
    return changed(make_drive(("car", "pedestrian", "barrier") * 3, seed=7), spoil)


@pytest.mark.parametrize("drive", [noisy_drive(), with_ties_and_alarms()], ids=["noisy", "ties"])
def test_matches_give_the_curves_of_the_devkit(drive):
    matches = match_drives([drive], progress=False)
    several = 0
    for of in matches.present:
        assert (np.diff(of.scores) <= 0).all()
        for distance, matched in of.matched.items():
            taken = matched[matched >= 0]
            assert len(np.unique(taken)) == len(taken)
            several += 0 < len(taken) < len(matched)
            np.testing.assert_allclose(sampled_precision(matched >= 0, len(of.truth_places)),
                                       of.curves[distance].precision, atol=1e-12)
    assert several > 5
    assert set(matches.classes) - {of.name for of in matches.present} == set(matches.classes) - set(
        name for truth in drive.truths for name in truth.objects.names)


def test_a_match_names_the_rows_of_both_sides():
    drive = one_frame([row(5), row(20), row(30)], [row(50), row(30.5, yaw=0.25), row(5)], [0.9, 0.4, 0.8])
    of = match_drives([drive], progress=False).classes["car"]
    # The first reported box lies at 50 m, where nuScenes no longer looks.
    assert of.places[:, 2].tolist() == [2, 1]
    assert of.truth_places[of.matched[2.0], 2].tolist() == [0, 2]
    assert of.matched[0.5].tolist() == [0, -1]
    np.testing.assert_allclose(of.centre_error_m, [0.0, 0.5])
    np.testing.assert_allclose(of.heading_error, [0.0, 0.25])


def test_the_heading_of_barriers_has_no_front_and_that_of_cones_is_not_judged():
    names = ("barrier", "traffic_cone", "car")
    drive = one_frame([row(5), row(12), row(20)], [row(5, yaw=np.pi), row(12, yaw=1.0), row(20, yaw=np.pi)],
                      [0.9, 0.9, 0.9], names=names, found_names=names)
    classes = match_drives([drive], progress=False).classes
    assert classes["barrier"].heading_error[0] == pytest.approx(0.0, abs=1e-9)
    assert np.isnan(classes["traffic_cone"].heading_error[0])
    assert classes["car"].heading_error[0] == pytest.approx(np.pi)


def test_an_object_across_a_border_is_neither_lost_nor_a_false_alarm():
    found = parts(one_frame([row(9.8), row(15)], [row(10.3), row(15)], [0.9, 0.5]))
    assert (found["0-10 m"].true_boxes, found["10-20 m"].true_boxes, found["20-30 m"].true_boxes) == (1, 1, 0)
    assert found["0-10 m"].recall == found["10-20 m"].recall == 1.0
    assert found["0-10 m"].centre_error_m == pytest.approx(0.5)
    # At 0.5 m the first is no match (the distance must be less): a false alarm before the hit of its range.
    assert found["0-10 m"].mean_ap == pytest.approx(0.75, abs=1e-6)
    assert found["10-20 m"].mean_ap == pytest.approx((ALARM_FIRST + 3) / 4, abs=1e-6)
    assert np.isnan(found["20-30 m"].recall) and np.isnan(found["20-30 m"].mean_ap)


def test_a_false_alarm_counts_in_its_range_and_in_every_visibility():
    true, found = [row(5), row(35)], [row(5), row(35), row(38, 8)]
    found = parts(one_frame(true, found, [0.8, 0.8, 0.9], visibility=[0.5, 0.9]))
    assert found["0-10 m"].mean_ap == pytest.approx(1.0, abs=1e-6)
    assert found["30-40 m"].mean_ap == pytest.approx(ALARM_FIRST, abs=1e-6)
    assert found["40-60%"].mean_ap == found["80-100%"].mean_ap == pytest.approx(ALARM_FIRST, abs=1e-6)


def test_recall_and_error_start_at_the_score():
    drive = one_frame([row(12), row(15, 5)], [row(12.2), row(15, 5.4)], [0.31, 0.29])
    at, below = parts(drive, 0.3)["10-20 m"], parts(drive, 0.2)["10-20 m"]
    assert (at.recall, below.recall) == (0.5, 1.0)
    assert at.centre_error_m == pytest.approx(0.2)
    assert below.centre_error_m == pytest.approx(0.3)
    assert at.mean_ap == below.mean_ap


@pytest.mark.parametrize("seen, label", [(0.05, "0-40%"), (0.4, "40-60%"), (0.7, "60-80%"), (0.8, "80-100%"),
                                         (1.0, "80-100%")])
def test_visibility_parts_are_those_of_nuscenes(seen, label):
    found = parts(one_frame([row(5)], [row(5)], [0.9], visibility=[seen]))
    assert [name for name, part in found.items() if "%" in name and part.true_boxes] == [label]


def test_parts_add_up_to_the_whole():
    drive = noisy_drive()
    matches = match_drives([drive], progress=False)
    found, scores = break_down(matches, 0.3), evaluate([drive], progress=False, matches=matches)
    total = sum(of.true_boxes for of in scores.classes.values())
    assert (len(found.by_range), len(found.by_visibility)) == (len(RANGES_M), len(VISIBILITIES))
    for group in (found.by_range, found.by_visibility):
        assert sum(part.true_boxes for part in group) == total
    # All objects of this drive are wholly visible: the part is everything.
    assert found.by_visibility[-1].mean_ap == pytest.approx(scores.mean_ap, abs=1e-12)


def test_a_part_without_a_hit_has_no_error():
    drive = make_drive(("car",))
    found = parts(replace(drive, results=()))
    part = next(part for part in found.values() if part.true_boxes)
    assert (part.recall, part.mean_ap) == (0.0, 0.0) and np.isnan(part.centre_error_m)


def test_a_weather_takes_the_objects_and_false_alarms_of_its_drives():
    seen = one_frame([row(5), row(20)], [row(5), row(20)], [0.9, 0.8])
    blind = one_frame([row(20)], [row(9), row(20)], [0.9, 0.8])
    drives = [replace(seen, name="a", weather="day"), replace(blind, name="b", weather="night,rain"),
              replace(seen, name="c", weather="day, rain"), replace(blind, name="d")]
    found = break_down(match_drives(drives, progress=False), 0.3, [drive.weather for drive in drives]).by_weather
    assert {part.label: part.true_boxes for part in found} == {"day": 4, "night": 1, "rain": 3}
    ap = {part.label: part.mean_ap for part in found}
    assert ap["day"] == pytest.approx(1.0) and ap["night"] == pytest.approx(ALARM_FIRST) and 0.5 < ap["rain"] < 0.9


def test_without_weather_there_is_no_such_group():
    drive = one_frame([row(5)], [row(5)], [0.9])
    assert list(break_down(match_drives([drive], progress=False), 0.3, [""]).groups) == ["distance", "visible share"]
