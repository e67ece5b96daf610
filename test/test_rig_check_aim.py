"""Where a camera looks, read off the motion of its pictures: a turned camera is found and named, a sound rig is not."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from sparse4d_ros import geometry
from sparse4d_ros.findings import FAIL, OK, SKIP, WARN
from sparse4d_ros.node.settings import Settings
from sparse4d_ros.resources import share_path
from sparse4d_ros.rig_check import aim, flow
from sparse4d_ros.rig_check.motion import read_motion
from sparse4d_ros.rig_check.mounted import mounted_cameras
from sparse4d_ros.rig_check.recording import Recording

CAMERAS = ("front", "front_right", "front_left", "back", "back_left", "back_right")


@pytest.fixture(scope="module")
def drive():
    """Mounted cameras and followed points of the demo drive, which a renderer made with exact calibration.

    From fewer pairs than the command takes, for speed.
    """
    recording, settings = Recording(share_path("models", "sparse4d_small", "demo_drive")), Settings()
    mounted = mounted_cameras(recording, settings)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flow, "_PAIRS", 24)
        return mounted, flow.follow(recording, mounted, read_motion(recording, settings), settings)


def turned(mounted, name, yaw_deg):
    """The rig with one camera's calibration turned to the left, where the camera itself still looks as it did."""
    pose = mounted[name].vehicle_from_camera.copy()
    pose[:3, :3] = geometry.from_yaw(0, 0, 0, np.radians(yaw_deg))[:3, :3] @ pose[:3, :3]
    return mounted | {name: dataclasses.replace(mounted[name], vehicle_from_camera=pose)}


def test_a_sound_rig_gives_no_complaint(drive):
    found = aim.check_aim(*drive)
    assert [(finding.subject, finding.level) for finding in found] == [(name, OK) for name in CAMERAS]
    for finding in found:
        assert abs(finding.numbers["yaw_deg"]) < 0.5
        assert finding.numbers["yaw_sigma_deg"] < 0.3


@pytest.mark.parametrize(("name", "yaw_deg", "way"), [
    *((name, 2.0 if index % 2 else -2.0, "right" if index % 2 else "left") for index, name in enumerate(CAMERAS)),
    ("front", 8.0, "right"),
])
def test_a_camera_turned_by_two_degrees_is_named(drive, name, yaw_deg, way):
    mounted, flows = drive
    found = aim.check_aim({name: turned(mounted, name, yaw_deg)[name]}, {name: flows[name]})
    (finding,) = found
    assert finding.level == (WARN if abs(yaw_deg) < 3 else FAIL)
    assert f"further {way}" in finding.text
    assert finding.numbers["yaw_deg"] == pytest.approx(-yaw_deg, abs=0.5)


def test_a_camera_that_nods_is_named(drive):
    mounted, flows = drive
    pose = mounted["back"].vehicle_from_camera.copy()
    nod = np.radians(-2.0)  # about the camera's right axis: the calibration looks down
    pose[:3, :3] = pose[:3, :3] @ [[1, 0, 0], [0, np.cos(nod), -np.sin(nod)], [0, np.sin(nod), np.cos(nod)]]
    (finding,) = aim.check_aim({"back": dataclasses.replace(mounted["back"], vehicle_from_camera=pose)},
                               {"back": flows["back"]})
    assert finding.level == WARN and "further up" in finding.text
    assert finding.numbers["pitch_deg"] == pytest.approx(2.0, abs=0.5)


def test_a_turned_vehicle_frame_is_told_from_turned_cameras(drive):
    mounted, flows = drive
    for name in mounted:
        mounted = turned(mounted, name, 2.5)
    found = aim.check_aim(mounted, {name: flows[name] for name in ("front", "back", "back_left")})
    assert [finding.level for finding in found] == [WARN] * 4
    assert found[-1].subject == "all cameras" and "-2." in found[-1].text and "base_link" in found[-1].remedy


def test_exchanged_topics_are_seen(drive):
    mounted, flows = drive
    exchanged = {"front_left": flows["front_right"], "front_right": flows["front_left"], "front": flows["back"]}
    for finding in aim.check_aim(mounted, exchanged):
        assert finding.level == FAIL and "moves the wrong way" in finding.text


def test_motion_that_does_not_belong_to_the_pictures_is_seen(drive):
    mounted, flows = drive
    wrong = [dataclasses.replace(item, later_from_earlier=item.later_from_earlier @ geometry.from_yaw(0, 0, 0, turn))
             for item, turn in zip(flows["front"], [0.02, -0.02] * 12, strict=True)]
    (finding,) = aim.check_aim(mounted, {"front": wrong})
    assert finding.level == WARN and "does not move as odometry says" in finding.text


def test_nothing_is_followed_between_pictures_of_different_size():
    picture = np.random.default_rng(0).integers(0, 256, (64, 176), dtype=np.uint8)
    points = np.array([[40.0, 30.0], [90.0, 20.0]])
    assert flow.followed(picture, picture, points)[1].all()
    there, kept = flow.followed(picture, np.ascontiguousarray(picture[::2, ::2]), points)
    assert there.shape == (2, 2) and not kept.any()


def test_too_little_is_not_judged(drive):
    mounted, flows = drive
    (finding,) = aim.check_aim(mounted, {"front": flows["front"][:5]})
    assert finding.level == SKIP and "through 5 pairs" in finding.text
    (finding,) = aim.check_aim(mounted, {"front": []})
    assert finding.level == SKIP
