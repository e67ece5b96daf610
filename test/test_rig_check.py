"""Every finding of `sparse4d check-rig` fires where it should, and a flawless rig gives none."""

from __future__ import annotations

import json

import cv2
import pytest
import rig_cases
from rig_faults import FAULTS

from sparse4d_ros import cli
from sparse4d_ros.errors import UserError
from sparse4d_ros.findings import FAIL, OK, SKIP, WARN, to_json
from sparse4d_ros.node.parameters import settings_from
from sparse4d_ros.rig_check import command, pictures, recording
from sparse4d_ros.rig_check.command import read_parameters
from sparse4d_ros.rig_check.mounted import mounted_cameras
from sparse4d_ros.rig_check.recording import Recording

CAMERAS = ("front", "front_right", "front_left", "back", "back_left", "back_right")


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    return rig_cases.write(tmp_path_factory.mktemp("rig") / "clean")


@pytest.fixture(scope="module")
def stream(bag):
    return rig_cases.Stream.of(bag)


@pytest.fixture(autouse=True)
def nothing_to_follow(monkeypatch):
    """The pictures are grey; what can be followed in others is the matter of test_rig_check_aim.py and
    test_rig_overlap.py."""
    monkeypatch.setattr(command, "follow", lambda found, mounted, *_: dict.fromkeys(mounted, []))
    monkeypatch.setattr(command, "read_moments", lambda *_: [])


@pytest.fixture
def findings_of(monkeypatch):
    def check(stream, **parameters):
        monkeypatch.setattr(recording, "bag_files", stream)
        settings = settings_from(parameters)
        found = Recording("a stream", CAMERAS)
        motion = command.read_motion(found, settings)
        sections = command.check(found, mounted_cameras(found, settings), motion, settings)
        json.dumps(to_json(sections))  # every number is plain
        return [finding for section in sections.values() for finding in section]
    return check


def test_a_flawless_rig_gives_no_complaint(stream, findings_of):
    found = findings_of(stream)
    assert {(finding.level, finding.check) for finding in found if finding.level != OK} == {(SKIP, "aim")}
    assert len(found) == 6 + 6 + 6 + 6 + 1 + 2 + 6


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found_and_named(stream, findings_of, fault):
    check, subject, level, words, change, *parameters = FAULTS[fault]
    found = findings_of(stream.changed(change), **dict(*parameters))
    assert any((hit.level, hit.check, hit.subject) == (level, check, subject) and words in hit.text for hit in found), \
        [hit for hit in found if hit.level not in (OK, SKIP)]
    assert all(finding.remedy for finding in found if finding.level in (WARN, FAIL))


def test_a_broken_picture_counts_once_however_often_it_is_looked_at(stream, monkeypatch):
    for module in (recording, pictures):
        monkeypatch.setattr(module, "bag_files", stream.changed(FAULTS["a broken picture"][4]))
    found, settings = Recording("a stream", CAMERAS), settings_from({})
    wanted = {("back", stamp_ns) for stamp_ns in found.cameras["back"].pictures.stamps_ns[:3]}
    for _ in range(2):
        assert not list(pictures.read_pictures(found, mounted_cameras(found, settings), wanted, settings))
    (finding,) = pictures.check_pictures(found)
    assert finding.text.startswith("3 of the pictures looked at")


@pytest.mark.parametrize(("fault", "hint"), [
    ("no optical axes", "qx -0.5 qy 0.5 qz -0.5 qw 0.5"),
    ("no optical axes", "then looks straight back"),
    ("inverse", "parent and child of the transform seem to be exchanged"),
])
def test_the_likely_reason_is_said(stream, findings_of, fault, hint):
    found = findings_of(stream.changed(FAULTS[fault][4]))
    assert any(hint in finding.remedy for finding in found if finding.check == "mounting")


def test_what_the_parameters_allow_is_no_fault(stream, findings_of):
    bent = stream.changed(FAULTS["distortion"][4])
    assert WARN not in {finding.level for finding in findings_of(bent, undistort=True)}
    named = stream.changed(FAULTS["frames exchanged"][4])
    found = findings_of(named, **{"camera_frames.back": "back_optical_frame"})
    assert FAIL not in {finding.level for finding in found}


def test_the_command_writes_pictures_and_numbers(bag, tmp_path, capsys):
    assert cli.main(["check-rig", "--bag", str(bag), "--output", str(tmp_path / "rig"),
                     "--json", str(tmp_path / "rig.json")]) == 0
    assert "0 WARN, 0 FAIL" in capsys.readouterr().out
    for name in ("front", "back_left", "rig", "check_rig"):
        assert cv2.imread(str(tmp_path / "rig" / f"{name}.jpg")) is not None
    report = json.loads((tmp_path / "rig.json").read_text())
    assert report["worst"] == SKIP
    rate = [finding["numbers"]["rate_hz"] for finding in report["findings"]
            if finding["check"] == "stamps" and finding["subject"] == "front"]
    assert rate == [pytest.approx(5.0)]


def test_a_failure_is_the_exit_code(bag, capsys):
    assert cli.main(["check-rig", "--bag", str(bag), "--cameras", "front,roof"]) == 1
    out = capsys.readouterr().out
    assert "roof" in out and "-> check that its driver runs" in out


def test_topics_and_parameters_of_a_vehicle(bag, tmp_path):
    parameters = tmp_path / "vehicle.yaml"
    parameters.write_text("sparse4d_node:\n  ros__parameters:\n    use_sim_time: true\n    cameras: [front, back]\n"
                          "    diagnostics: {period_s: 2.0}\n")
    assert read_parameters(parameters) == {"cameras": ["front", "back"], "diagnostics.period_s": 2.0}
    assert Recording(bag, images="/camera/{name}/image/compressed").cameras.keys() == Recording(bag).cameras.keys()
    with pytest.raises(UserError, match="has no images on topics like /cam_{name}/image.*--images"):
        Recording(bag, images="/cam_{name}/image")
    with pytest.raises(UserError, match="has no {name}"):
        Recording(bag, images="/cam/image")
    with pytest.raises(UserError, match="vehicle.yaml is not a ROS parameter file"):
        parameters.write_text("sparse4d_node:\n  ros__parameters:\n")
        read_parameters(parameters)
