"""`sparse4d_view`: topics become frames of the page, each result with the pictures that it was made of."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import urllib.request

import cv2
import needs_ros  # noqa: F401
import numpy as np
import pytest
from fake_engine import NAMES
from fake_vehicle import MS, FakeVehicle, S, ego_pose, spot
from geometry_msgs.msg import Point, Pose, Quaternion, Vector3
from node_harness import Harness, ros_context, wait_until

from sparse4d_ros.errors import UserError
from sparse4d_ros.msg import CameraInput, TrackedObject3D, TrackedObject3DArray
from sparse4d_ros.node import view
from sparse4d_ros.node.live_frames import LiveFrames
from sparse4d_ros.node.messages import time_message
from sparse4d_ros.node.tf_source import create_transform_source

pytestmark = pytest.mark.ros

PATTERNS = ("/camera/{name}/image/compressed", "/camera/{name}/camera_info")
RAW = ("/camera/{name}/image_raw", "/camera/{name}/camera_info")


def options(*words: str):
    return view.inputs_of(view.build_parser().parse_args(words))


def answer(stamp_ns: int, track: int = 7, cameras=NAMES) -> TrackedObject3DArray:
    """A node's message with one car ahead, made of pictures 10 ms apart as the fake vehicle takes them."""
    message = TrackedObject3DArray()
    message.header.stamp, message.header.frame_id = time_message(stamp_ns), "base_link"
    message.cameras = [CameraInput(name=name, state=CameraInput.OK, stamp=time_message(stamp_ns + 10 * MS * index))
                       for index, name in enumerate(cameras)]
    message.timing.total = 80.0
    message.objects = [TrackedObject3D(
        track_id=track, class_name="car", score=0.8, pose=Pose(position=Point(x=12.0), orientation=Quaternion(w=1.0)),
        size=Vector3(x=4.0, y=2.0, z=1.5), velocity=Vector3(x=3.0))]
    return message


class Scene:
    """A fake vehicle, a publisher of results, and the frames under test on one executor."""

    def __init__(self, harness: Harness, transport: str, patterns: tuple[str, str]) -> None:
        self.vehicle = FakeVehicle(harness.helper, transport=transport, topic_pattern=patterns)
        self.objects = harness.helper.create_publisher(TrackedObject3DArray, "/sparse4d_node/output/objects", 5)
        inputs = options("--images", patterns[0], "--camera-infos", patterns[1])
        transforms = create_transform_source(harness.helper)
        self.frames = LiveFrames(harness.helper, inputs, transforms, width=960)
        assert wait_until(lambda: self.vehicle.connected() and self.objects.get_subscription_count() > 0)

    def drive(self, stamp_ns: int, **how) -> None:
        """One set of pictures; returns when all are there."""
        self.vehicle.publish(stamp_ns, **how)
        expected = set(NAMES) - set(how.get("skip", ()))
        assert wait_until(lambda: all(self.frames._stamps_ns.get(name, 0) >= stamp_ns for name in expected))


@pytest.fixture(params=[("compressed", PATTERNS), ("raw", RAW)], ids=["jpeg", "raw"])
def scene(request):
    with ros_context() as context:
        harness = Harness(context, None)
        try:
            yield Scene(harness, *request.param)
        finally:
            harness.end()


def test_a_result_meets_the_pictures_it_was_made_of(scene):
    for index in range(3):  # the newest pictures are not those of the result
        scene.drive(100 * S + index * 100 * MS)
    scene.objects.publish(answer(100 * S + 100 * MS))
    frame, result, problems = scene.frames.newest(10.0)
    assert problems == [] and frame.stamp_ns == result.stamp_ns == 100 * S + 100 * MS
    assert result.track_ids.tolist() == [7] and result.timing_ms["total"] == 80.0
    assert np.allclose(frame.fixed_from_vehicle, ego_pose(frame.stamp_ns), atol=1e-6)
    for index, camera in enumerate(frame.cameras):
        assert camera.stamp_ns == frame.stamp_ns + 10 * MS * index
        point = camera.intrinsic @ (camera.camera_from_vehicle @ [*spot(camera.name), 1.0])[:3]
        brightest = cv2.minMaxLoc(cv2.GaussianBlur(camera.image[..., 0], (9, 9), 0))[3]
        assert np.abs(point[:2] / point[2] - brightest).max() < 2.0
    assert scene.frames.newest(0.0) is None  # nothing is given twice


def test_of_several_results_the_newest_is_shown(scene):
    for index in range(3):
        scene.drive(100 * S + index * 100 * MS)
        scene.objects.publish(answer(100 * S + index * 100 * MS, track=index + 1))
    assert wait_until(lambda: scene.frames._message is not None
                      and scene.frames._message.objects[0].track_id == 3)
    assert scene.frames.newest(10.0)[1].track_ids.tolist() == [3]


def test_what_is_missing_is_named(scene):
    front, right, *_ = (PATTERNS[0].format(name=name) for name in NAMES)
    assert scene.frames.missing().replace("image_raw", "image/compressed") == (
        f"nothing comes on /sparse4d_node/output/objects, {front}, {right} and 10 other topics")
    scene.drive(100 * S, skip=("back",))
    assert re.fullmatch("nothing comes on /sparse4d_node/output/objects, /camera/back/image[^ ]+, "
                        "/camera/back/camera_info", scene.frames.missing())
    scene.objects.publish(answer(100 * S))
    frame, result, _ = scene.frames.newest(10.0)
    assert [camera.name for camera in frame.cameras if camera.image is None] == ["back"] and len(result) == 1
    scene.objects.publish(answer(100 * S + 10 * MS, cameras=("left", "right")))
    assert scene.frames.newest(10.0)[2] == ["the node's cameras are left, right; name them with --cameras"]


def test_pictures_are_shown_while_no_node_answers(scene, monkeypatch):
    scene.drive(100 * S)
    assert scene.frames.newest(0.0) is None
    monkeypatch.setattr("sparse4d_ros.node.live_frames._SILENCE_S", 0.0)
    frame, result, problems = scene.frames.newest(0.0)
    assert result is None and problems == ["no result on /sparse4d_node/output/objects for 0 s"]
    assert all(camera.image is not None for camera in frame.cameras)
    assert scene.frames.newest(0.0) is None  # the same pictures are no news


@pytest.mark.parametrize("words, text", [
    (("--rate", "0"), "--rate is 0"), (("--cameras", " ,"), "names no camera"),
    (("--images", "/image"), "--images /image would be one topic"), (("--picture-width", "0"), "--picture-width is 0"),
])
def test_options_that_cannot_be_are_refused(words, text):
    with pytest.raises(UserError, match=text):
        options(*words)


def test_options_name_topics():
    inputs = options("--node", "car/sparse4d", "--cameras", "left, right", "--images", "/{name}/image_raw")
    assert inputs.objects == "/car/sparse4d/output/objects" and inputs.transport == "raw"
    assert inputs.images == {"left": "/left/image_raw", "right": "/right/image_raw"}


def test_the_process_serves_what_the_topics_carry():
    process = subprocess.Popen([sys.executable, "-m", "sparse4d_ros.node.view", "--port", "0", "--no-browser"],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with ros_context() as context:
        harness = Harness(context, None)
        try:
            url = re.match(r"(http://127\.0\.0\.1:\d+/) shows /sparse4d_node/output/objects",
                           process.stdout.readline())[1]
            vehicle = FakeVehicle(harness.helper, topic_pattern=PATTERNS)
            objects = harness.helper.create_publisher(TrackedObject3DArray, "/sparse4d_node/output/objects", 5)
            assert wait_until(lambda: vehicle.connected() and objects.get_subscription_count() > 0, 30.0)
            stamp_ns, status = 100 * S, {"count": 0}
            with urllib.request.urlopen(url + "events", timeout=30) as events:
                while not status["count"]:
                    stamp_ns += 100 * MS
                    vehicle.publish(stamp_ns)
                    objects.publish(answer(stamp_ns))
                    while not (line := events.readline()).startswith(b"data: "):
                        pass
                    status = json.loads(line.removeprefix(b"data: "))
            number = status["count"] - 1
            with urllib.request.urlopen(f"{url}frames/{number}.json", timeout=10) as document:
                frame = json.load(document)
            assert frame["objects"][0]["id"] == 7 and [camera["name"] for camera in frame["cameras"]] == list(NAMES)
            assert status["done"] is False and status["total"] is None
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0, process.stderr.read()
        finally:
            process.kill()
            harness.end()
