"""How a bag's image topics are found, alike in every command."""

from __future__ import annotations

from types import SimpleNamespace

import bag_cases
import cv2
import numpy as np
import pytest
from fake_engine import FakeEngine

from sparse4d_ros import cli
from sparse4d_ros.data import ros_messages
from sparse4d_ros.data.bag_output import GROUND_TRUTH_TOPIC
from sparse4d_ros.data.bag_reader import BagDrive
from sparse4d_ros.data.image_topics import CAMERA_ORDER, camera_info_topic, image_topics
from sparse4d_ros.deploy import benchmark, doctor, doctor_model
from sparse4d_ros.engine import ModelPackage
from sparse4d_ros.errors import UserError
from sparse4d_ros.evaluation import command as evaluation_command
from sparse4d_ros.evaluation import robustness_command
from sparse4d_ros.evaluation.records import save_results
from sparse4d_ros.rig_check.recording import Recording
from sparse4d_ros.viewer import command, record_demo


def found(*topics: str, pattern: str | None = None) -> dict[str, str]:
    kinds = {topic: ros_messages.COMPRESSED_IMAGE if topic.endswith("/compressed") else ros_messages.IMAGE
             for topic in topics}
    return image_topics("drive", {topic: SimpleNamespace(msgtype=kind) for topic, kind in kinds.items()}, pattern)


@pytest.mark.parametrize("kind", ["image", "image_raw", "image_rect", "image_rect_color"])
def test_usual_names_are_found(kind):
    assert found(f"/camera/roof/{kind}", f"/camera/back/{kind}", f"/camera/front/{kind}") == {
        "front": f"/camera/front/{kind}", "back": f"/camera/back/{kind}", "roof": f"/camera/roof/{kind}"}
    both = f"/camera/back/{kind}", f"/camera/back/{kind}/compressed"
    assert found(*both) == found(*both[::-1]) == {"back": both[1]}
    assert camera_info_topic(both[0]) == camera_info_topic(both[1]) == "/camera/back/camera_info"


def test_what_is_not_a_camera_s_picture_is_left_alone():
    with pytest.raises(UserError, match="drive has no images on .*its images are on /cam_a/image, /camera/image: name"):
        found("/cam_a/image", "/camera/image")
    with pytest.raises(UserError, match="drive has no images on .*no images at all; its topics are /camera/a/image"):
        image_topics("drive", {"/camera/a/image": SimpleNamespace(msgtype="std_msgs/msg/String")})


def test_of_several_kinds_somebody_has_to_choose():
    topics = [f"/camera/{name}/{kind}" for name in ("front", "back") for kind in ("image_raw/compressed", "image_rect")]
    with pytest.raises(UserError, match="/camera/(front|back)/image_raw/compressed and /camera/.*/image_rect: choose "
                                        r"with --images, for example --images /camera/\{name\}/image_raw/compressed"):
        found(*topics)
    assert found(*topics, pattern="/camera/{name}/image_rect")["back"] == "/camera/back/image_rect"
    # What the recorder and the simulator write needs no choice.
    assert found(*topics, "/camera/front/image", "/camera/back/image")["back"] == "/camera/back/image"


def test_a_pattern_may_say_the_name_twice_and_must_say_it_once():
    assert found("/a/a_image", "/a/b_image", pattern="/{name}/{name}_image") == {"a": "/a/a_image"}
    with pytest.raises(UserError, match="--images /cam/image has no {name}"):
        found("/cam/image", pattern="/cam/image")


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    return bag_cases.write(tmp_path_factory.mktemp("bags") / "drive", 4)


def as_driver(topic, message, log_ns):
    """Raw pictures."""
    if message.__msgtype__ != ros_messages.COMPRESSED_IMAGE:
        return message.__msgtype__, message, log_ns
    image = cv2.imdecode(message.data, cv2.IMREAD_COLOR)
    return ros_messages.IMAGE, ros_messages.new(
        ros_messages.IMAGE, header=message.header, height=64, width=96, encoding="bgr8", is_bigendian=0, step=96 * 3,
        data=np.ascontiguousarray(image).ravel()), log_ns


def test_a_recording_of_a_driver_s_topics_opens_as_it_is(bag, tmp_path):
    copy = bag_cases.rewrite(bag, tmp_path / "copy", change=as_driver,
                             rename=lambda topic: topic.replace("/image/compressed", "/image_raw"))
    drive = BagDrive(copy)
    assert drive.image_topics == {name: f"/camera/{name}/image_raw" for name in CAMERA_ORDER}
    assert len(list(drive)) == 4 and list(Recording(copy).cameras) == list(CAMERA_ORDER)


PATTERN = "/sensors/cam_{name}/image/compressed"


@pytest.fixture(scope="module")
def elsewhere(bag, tmp_path_factory):
    """A bag whose cameras have topics of their own, without ground truth, so that nothing is scored at length."""
    return bag_cases.rewrite(
        bag, tmp_path_factory.mktemp("elsewhere") / "drive",
        rename=lambda topic: topic.replace("/camera/", "/sensors/cam_"), change=lambda topic, message, log_ns: (
            None if topic == GROUND_TRUTH_TOPIC else (message.__msgtype__, message, log_ns)))


@pytest.mark.parametrize(("words", "code", "text"), [
    ("view --save {0}/page.html", 0, ""),
    ("view --model mine --save {0}/page.html", 0, ""),
    ("record-demo --model mine --output {0}/demo", 0, ""),
    ("evaluate --model mine", 2, "has no frame with ground truth"),
    ("evaluate --tracks {0}/tracks.npz", 2, "has no frame with ground truth"),
    ("robustness --model mine", 2, "has no frame with ground truth"),
    ("benchmark --frames 2", 0, ""),
    ("bag-to-arrays --size 96x64 --output {0}/arrays", 2, "has no ground truth"),
])
def test_every_command_can_be_told_the_topics(elsewhere, tmp_path, capsys, monkeypatch, words, code, text):
    monkeypatch.setattr(ModelPackage, "load", lambda path: FakeEngine().package)
    for module in (command, record_demo, evaluation_command, robustness_command):
        monkeypatch.setattr(module, "Engine", lambda package, **how: FakeEngine(package))
    monkeypatch.setattr(benchmark, "offline_rows", lambda package, drive, count: [("row", [len(drive)] * count, None)])
    save_results(tmp_path / "tracks.npz", [])
    words = [*words.format(tmp_path).split(), "--bag", str(elsewhere)]
    assert cli.main([*words, "--images", PATTERN]) == code
    assert text in capsys.readouterr().err
    assert cli.main(words) == 2
    assert f"images are on {PATTERN.replace('{name}', 'back')}" in capsys.readouterr().err


def test_the_doctor_can_be_told_the_topics(elsewhere, capsys, monkeypatch):
    monkeypatch.setattr(doctor, "examine_machine", dict)
    monkeypatch.setattr(doctor, "examine_package", lambda folder: (FakeEngine().package, []))
    monkeypatch.setattr(doctor, "examine_engines", lambda package, build: [])
    monkeypatch.setattr(doctor_model, "candidates", lambda package: [("fake", "fp32", FakeEngine)])
    words = ["doctor", "--bag", str(elsewhere)]
    assert cli.main([*words, "--images", PATTERN]) == 0
    assert f"the reference, on 4 frames of {elsewhere}" in capsys.readouterr().out
    assert cli.main(words) == 1
    assert f"images are on {PATTERN.replace('{name}', 'back')}" in capsys.readouterr().out
