"""Neighbouring cameras held against each other: who disagrees is found and named, sound rigs stay quiet."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
import rig_cases
from scipy.spatial.transform import Rotation

from sparse4d_ros import geometry
from sparse4d_ros.data.bag_output import GROUND_TRUTH_TOPIC
from sparse4d_ros.data.camera_info import Calibration
from sparse4d_ros.findings import FAIL, OK, SKIP, WARN
from sparse4d_ros.node.settings import Settings
from sparse4d_ros.resources import share_path
from sparse4d_ros.rig_check import moments, objects
from sparse4d_ros.rig_check.agreement import Pair, agreeing
from sparse4d_ros.rig_check.motion import read_motion
from sparse4d_ros.rig_check.mounted import MountedCamera, mounted_cameras, shared_sector_deg
from sparse4d_ros.rig_check.neighbours import CommonView, Moment, Shared
from sparse4d_ros.rig_check.objects import KnownObjects
from sparse4d_ros.rig_check.overlap import Overlap, check_overlaps, exchanged, find_overlaps
from sparse4d_ros.rig_check.overlay import draw_overlay
from sparse4d_ros.rig_check.recording import Recording
from sparse4d_ros.rig_check.strips import draw_strip
from sparse4d_ros.simulation.rig import REFERENCE_SIZE, default_rig

RIG = {camera.name: MountedCamera(camera.name, camera.vehicle_from_camera, Calibration(
    camera.name, "", *REFERENCE_SIZE, camera.reference_intrinsic, "", ())) for camera in default_rig().cameras}
NEIGHBOURS = (("front", "front_right"), ("front", "front_left"), ("front_right", "back_right"),
              ("front_left", "back_left"))
DRIVING = np.array([8.0, 0.0, 0.0, 0.0, 0.0, 0.1])
STANDING = np.zeros(6)
SECOND_FIRES_S = 0.03


def changed(mounted, name, turn_deg=(0.0, 0.0, 0.0), shift=(0.0, 0.0, 0.0)):
    """The rig with one camera's calibration turned about the vehicle's axes, and shifted along them."""
    pose = mounted[name].vehicle_from_camera.copy()
    pose[:3, :3] = Rotation.from_rotvec(turn_deg, degrees=True).as_matrix() @ pose[:3, :3]
    pose[:3, 3] += shift
    return mounted | {name: dataclasses.replace(mounted[name], vehicle_from_camera=pose)}


def later_from_earlier(twist, seconds):
    pose = geometry.from_yaw(*(twist[:3] * seconds), twist[5] * seconds)
    return geometry.inverse(pose)


def overlaps_of(calibrated, twist=DRIVING, late_s=None, distances=True):
    """What the cameras of RIG see, with noise and wrong matches, read by the calibration ``calibrated``.

    ``late_s``: by how many seconds the stamps of cameras come after their pictures.
    """
    rng, late_s, count = np.random.default_rng(4), late_s or {}, 80
    found = []
    for one, other in NEIGHBOURS:
        azimuth, up = np.radians(rng.uniform(*sorted(shared_sector_deg(RIG[one], RIG[other])), count)), rng.normal(
            0.0, 0.1, count)
        distance = rng.uniform(6.0, 50.0, count)
        ray = np.column_stack([np.cos(azimuth) * np.cos(up), np.sin(azimuth) * np.cos(up), np.sin(up)])
        between = later_from_earlier(twist, SECOND_FIRES_S + late_s.get(one, 0.0) - late_s.get(other, 0.0))
        there = (RIG[one].position + distance[:, None] * ray) @ between[:3, :3].T + between[:3, 3]
        there -= RIG[other].position
        there = there / np.linalg.norm(there, axis=1, keepdims=True) + rng.normal(0.0, np.radians(0.02), (count, 3))
        there[:16] += rng.uniform(-0.05, 0.05, (16, 3))
        read = [rays @ (calibrated[name].vehicle_from_camera[:3, :3] @ RIG[name].vehicle_from_camera[:3, :3].T).T
                for name, rays in ((one, ray), (other, there))]
        pair = Pair(calibrated[one], calibrated[other], Shared(
            CommonView(RIG[one], RIG[other]).axes, np.arange(count) % 8, *read,
            distance if distances else np.full(count, np.nan),
            np.tile(later_from_earlier(twist, SECOND_FIRES_S), (count, 1, 1)), *np.tile(twist, (2, count, 1))))
        found.append(Overlap(pair, 10.0, agreeing(pair)))
    return found


def by_subject(findings):
    return {finding.subject: finding for finding in findings}


def test_a_sound_rig_gives_no_complaint():
    found = check_overlaps(overlaps_of(RIG))
    assert [finding.level for finding in found] == [OK] * 4
    assert all(finding.numbers["off_deg"] < 0.1 and finding.numbers["points"] >= 60 for finding in found)


@pytest.mark.parametrize(("calibrated", "late_s", "words", "numbers"), [
    (changed(RIG, "front_left", turn_deg=(0, 0, 2)), {}, "if it looked 2.0 deg further right", {"yaw_deg": -2.0}),
    (changed(RIG, "front_left", shift=(0, -0.2, 0)), {}, "if it sat 0.20 m further left", {"y_m": 0.2}),
    (changed(RIG, "front_left", shift=(0.4, 0, 0)), {}, "if it sat 0.40 m further back", {"x_m": -0.4}),
    (RIG, {"front_left": 0.08}, "if it stamped its pictures 80 ms earlier", {"late_ms": 80.0}),
    (RIG, {"front_left": -0.08}, "if it stamped its pictures 80 ms later", {"late_ms": -80.0}),
])
def test_one_wrong_camera_is_named_with_what_is_wrong(calibrated, late_s, words, numbers):
    found = by_subject(check_overlaps(overlaps_of(calibrated, late_s=late_s)))
    assert found["front_left"].level == WARN and words in found["front_left"].text
    for name, value in numbers.items():
        assert found["front_left"].numbers[name] == pytest.approx(value, rel=0.05)
    levels = {subject: finding.level for subject, finding in found.items()}
    assert levels["front, front_right"] == levels["front_right, back_right"] == OK
    assert WARN in (levels["front, front_left"], levels["front_left, back_left"])


def test_explanations_that_are_as_good_are_told_in_one_sentence():
    straight = DRIVING * [1, 1, 1, 1, 1, 0]  # a camera farther back sees what one with an early clock sees
    found = by_subject(check_overlaps(overlaps_of(changed(RIG, "front_left", shift=(0.4, 0, 0)), straight)))
    assert re.fullmatch(r"all neighbours would agree if it sat 0\.40 m further back; or, as well, if front_left "
                        r"stamped its pictures \d+ ms (earlier|later)", found["front_left"].text)


def test_two_wrong_cameras_are_not_taken_for_one():
    calibrated = changed(changed(RIG, "front_left", turn_deg=(0, 0, 2)), "back_right", turn_deg=(0, 0, 2))
    found = by_subject(check_overlaps(overlaps_of(calibrated)))
    assert found["front, front_left"].level == found["front_right, back_right"].level == WARN
    assert "no change of one camera alone" in found["several cameras"].text


def test_a_standing_vehicle_shows_a_nod_and_says_what_it_cannot_see():
    nod = -RIG["front_left"].vehicle_from_camera[:3, 0]  # about the camera's right axis: looks down
    found = by_subject(check_overlaps(overlaps_of(changed(RIG, "front_left", turn_deg=2 * nod), STANDING,
                                                  distances=False)))
    assert found["front, front_left"].level == found["front_left, back_left"].level == WARN
    assert "front_left" in found and "2.0 deg further up" in found["front_left"].text
    assert "could hide" in found["front, front_right"].text
    found = by_subject(check_overlaps(overlaps_of(changed(RIG, "front_left", shift=(0, 0, 0.4)), STANDING,
                                                  distances=False)))
    assert found["front, front_left"].level == WARN and "down" in found["front_left"].text


def test_too_few_points_are_no_verdict():
    few = [dataclasses.replace(item, pair=item.pair.only(np.arange(80) >= 60), agree=item.agree[60:])
           for item in overlaps_of(changed(RIG, "front", turn_deg=(0, 0, 3)))]
    assert [finding.level for finding in check_overlaps(few)] == [SKIP] * 4
    assert check_overlaps([])[0].level == SKIP


@pytest.fixture(scope="module")
def drive():
    """Three cameras of the demo drive and a few of its moments; a renderer made them with exact calibration."""
    recording, settings = Recording(share_path("models", "sparse4d_small", "demo_drive"),
                                    ("front", "front_left", "front_right")), Settings()
    mounted = mounted_cameras(recording, settings)
    motion = read_motion(recording, settings)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(moments, "_MOMENTS", 12)
        return recording, motion, mounted, moments.read_moments(recording, mounted, motion, settings)


def test_pictures_of_a_sound_rig_agree(drive):
    _, _, mounted, found = drive
    shared = find_overlaps(mounted, found)
    findings = check_overlaps(shared)
    assert [(finding.subject, finding.level) for finding in findings] == [
        ("front, front_left", OK), ("front, front_right", OK)]
    assert all(finding.numbers["off_deg"] < 0.1 for finding in findings)
    assert exchanged(mounted, found, shared) is None


def test_a_turned_camera_shows_in_the_pictures_and_is_drawn(drive):
    _, _, mounted, found = drive
    wrong = changed(mounted, "front_left", turn_deg=(0, 0, 2))
    shared = find_overlaps(wrong, found)
    findings = by_subject(check_overlaps(shared))
    assert findings["front, front_left"].level == WARN and findings["front, front_right"].level == OK
    assert findings["front, front_left"].numbers["right_deg"] == pytest.approx(-2.0, abs=0.1)
    assert "2.0 deg further right" in findings["front_left"].text
    strip = draw_strip(shared[0], found)
    assert strip.shape[0] > 600
    assert (strip.max(axis=2) > strip.min(axis=2) + 60).any()  # coloured marks on grey pictures


def test_a_camera_mounted_upside_down_is_no_match(drive):
    _, _, mounted, found = drive
    sight = mounted["front_left"].vehicle_from_camera[:3, 2]
    shared = find_overlaps(changed(mounted, "front_left", turn_deg=180 * sight), found[:3])
    assert {finding.level for finding in check_overlaps(shared)} == {SKIP, OK}


def test_exchanged_pictures_are_found_and_named(drive):
    _, _, mounted, found = drive
    other = {"front_left": "front_right", "front_right": "front_left"}
    crossed = [Moment(*({other.get(name, name): shot for name, shot in shots.items()}
                        for shots in (moment.shots, moment.elsewhere))) for moment in found]
    shared = find_overlaps(mounted, crossed)
    assert exchanged(mounted, crossed, shared) == ("front_left", "front_right")
    findings = by_subject(check_overlaps(shared, ("front_left", "front_right")))
    assert findings["front_left, front_right"].level == FAIL


@pytest.mark.parametrize("topic", [GROUND_TRUTH_TOPIC, "/sparse4d/objects"])
def test_objects_of_the_bag_are_where_they_are_at_the_pictures_stamp(drive, monkeypatch, topic):
    recording, motion, mounted, _ = drive
    stream = rig_cases.Stream.of(recording.path)
    monkeypatch.setattr(objects, "bag_files", rig_cases.Stream(
        [(log_ns, topic if name == GROUND_TRUTH_TOPIC else name, kind, raw)
         for log_ns, name, kind, raw in stream._messages]))
    stamps = sorted(recording.cameras["front"].pictures.stamps_ns)
    known = KnownObjects(recording, motion, "base_link", stamps[50:51])
    assert known.at(stamps[50] + 10 ** 12) is None and known.at(stamps[0]) is None  # what is not asked for is not read
    placed = []
    for stamp in (stamps[50], stamps[50] + 100_000_000):
        result, pose = known.at(stamp), recording.tree.lookup("odom", "base_link", stamp)
        there = result.boxes[:, :3] @ pose[:3, :3].T + pose[:3, 3]
        placed.append(dict(zip(result.track_ids, there, strict=True)))
    same = placed[0].keys() & placed[1].keys()
    apart = [np.linalg.norm(placed[1][number] - placed[0][number]) for number in same]
    assert len(same) >= 3 and np.median(apart) < 0.05  # parked ones stay, while the vehicle has driven on
    picture = np.zeros((256, 704, 3), np.uint8)
    drawn, bare = (draw_overlay(picture, mounted["front"], 704, what) for what in (known.at(stamps[50]), None))
    assert (drawn != bare).any(axis=2).sum() > 1000
