"""The running node and a bag that is played with faults: the diagnostics name the cause, and the output is right."""

import needs_ros  # noqa: F401

# isort: split
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import cv2
import pytest
from fake_engine import NAMES
from fake_vehicle import HEIGHT, INTRINSIC, MS, WIDTH, S, ego_pose, picture, vehicle_from_camera
from node_harness import ids, running
from rclpy.node import Node
from tqdm import tqdm

from sparse4d_ros.data import bag_files, faults
from sparse4d_ros.data.bag_output import BagOutput
from sparse4d_ros.msg import CameraInput, TrackedObject3DArray
from sparse4d_ros.node import topics
from sparse4d_ros.node.messages import nanoseconds
from sparse4d_ros.node.replay import Player

pytestmark = pytest.mark.ros
BEGIN_NS, FRAMES = 100 * S, 25
STAMPS = [BEGIN_NS + index * 100 * MS for index in range(FRAMES)]
#: Bag topics to the node's inputs.
REMAPS = [word for name in NAMES for old, new in (
    (f"/camera/{name}/image/compressed", topics.image(name, "compressed")),
    (f"/camera/{name}/camera_info", topics.camera_info(name)))
    for word in ("-r", f"{old}:={new.replace('~', '/sparse4d_node')}")]


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    """The fake vehicle's drive: 2.5 s, sets at 10 Hz from 0.2 s of the bag on, transforms at 50 Hz from 0 s on."""
    path = tmp_path_factory.mktemp("bags") / "drive"
    with BagOutput(path) as output:
        output.put_mountings(BEGIN_NS, {name: vehicle_from_camera(name) for name in NAMES})
        for stamp_ns in range(BEGIN_NS - 200 * MS, STAMPS[-1] + 200 * MS, 20 * MS):
            output.put_pose(stamp_ns, ego_pose(stamp_ns))
        for stamp_ns in STAMPS:
            for name in NAMES:
                jpeg = cv2.imencode(".jpg", picture(name, stamp_ns, stamp_ns))[1].tobytes()
                output.put_camera(name, stamp_ns, jpeg, INTRINSIC, WIDTH, HEIGHT)
    return path


class Replay:
    """A node that has answered one set, and a bag that is being played to it."""

    def __init__(self, harness, player, played, first):
        self.player, self._played = player, played
        #: The output before the bag.
        self.first = first
        self.diagnosed, self.frames, self._outputs = harness.diagnosed, harness.engine.frames, harness.objects

    def finished(self):
        """Outputs while the bag was played; however busy the machine, the last set is not left out."""
        self._played.result(60.0)
        assert self._outputs.wait(lambda messages: milliseconds(messages)[-1:] == [2400], 30.0)
        return list(self._outputs.messages)


@contextmanager
def playing(bag, *texts, **parameters):
    """The bag with these faults, played twice as fast to a node with these parameters; stopped with the block."""
    stop = threading.Event()
    parameters = {"use_sim_time": True, "input_qos": "reliable"} | parameters
    with bag_files.open_bag(bag) as reader, running(parameters=parameters, reliable=True) as harness, \
            ThreadPoolExecutor(1) as threads:
        (first,) = harness.drive(1, BEGIN_NS - 500 * MS)
        node = Node("replay", context=harness.context, cli_args=["--ros-args", *REMAPS], start_parameter_services=False)
        try:
            player = Player(node, reader, stop, rate=2.0, broken_by=[faults.parse(text) for text in texts])
            player.wait_for_subscribers(1, 30.0)
            played = threads.submit(player.play_once, tqdm(disable=True))
            yield Replay(harness, player, played, first)
        finally:
            stop.set()
            threads.shutdown()
            node.destroy_node()


def milliseconds(stamped):
    """Stamps since the bag's first set."""
    return [round((nanoseconds(message.header.stamp) - BEGIN_NS) / MS) for message in stamped]


@pytest.mark.fault(2)
def test_sets_that_lack_lost_pictures_are_flagged(bag):
    with playing(bag, "drop:camera=back,from=1.15", min_cameras=5, max_wait_ms=1000.0) as replay:
        outputs = replay.finished()
        hit = replay.player.injector.counts.total()
        assert hit == 15 and f"{hit:8d}  /camera/back/image/compressed  drop:camera=back" in replay.player.report()
        late = [message for message, ms in zip(outputs, milliseconds(outputs), strict=True) if ms > 900]
        assert late
        for message in late:
            assert message.flags & TrackedObject3DArray.DEGRADED_CAMERAS and len(message.objects) == 5
            assert message.cameras[NAMES.index("back")].state == CameraInput.MISSING
        received = replay.diagnosed(lambda d: d["camera back"].get("received"))
        assert int(received) <= 1 + FRAMES - hit


@pytest.mark.slow
@pytest.mark.fault(3, 4)
def test_a_silent_camera_is_named_and_comes_back(bag):
    with playing(bag, "silence:camera=back_left,from=0.6,to=2", **{"diagnostics.max_image_age_ms": 300.0}) as replay:
        assert replay.diagnosed(lambda d: d["camera back_left"].get("state") == "stale" and
                                "camera back_left" in d["camera back_left"]["text"])
        used = milliseconds(replay.finished())
        assert not [ms for ms in used if 400 < ms < 1760]


@pytest.mark.fault(11)
def test_a_skewed_clock_is_named(bag):
    with playing(bag, "skew:camera=back_right,ms=800", max_wait_ms=400.0) as replay:
        found = replay.diagnosed(lambda d: " ms off" in d["camera back_right"]["text"] and d)
        assert found["camera back_right"]["text"].startswith("camera back_right: its stamps are +")
        assert len(replay.frames) == 1


@pytest.mark.fault(16)
def test_swapped_cameras_are_named(bag):
    with playing(bag, "swap:camera=front,with=back") as replay:
        text = replay.diagnosed(lambda d: d["camera front"].get("state") == "rejected" and d["camera front"]["text"])
        assert "'back_optical_frame'" in text and "are topics swapped?" in text
        assert len(replay.frames) == 1


@pytest.mark.fault(20)
def test_calibration_that_is_lost_is_named(bag):
    with playing(bag, "calibration_zero:camera=front,from=1") as replay:
        text = replay.diagnosed(lambda d: d["camera front"].get("state") == "rejected" and d["camera front"]["text"])
        assert "K in camera_info is all zero" in text
        assert all(frame.stamp_ns < BEGIN_NS + 900 * MS for frame in replay.frames)


@pytest.mark.fault(28, 30)
@pytest.mark.parametrize(("fault", "counter"), [
    ("tf_stop:from=1", "sets_dropped"), ("tf_nan:from=1", "transforms_rejected")])
def test_transforms_that_stop_or_break_are_named(bag, fault, counter):
    with playing(bag, fault, tf_timeout_ms=20.0) as replay:
        found = replay.diagnosed(lambda d: d["ego motion"]["level"] == "ERROR" and int(d["ego motion"][counter])
                                 and "into the future" in d["ego motion"]["text"] and d)
        assert "'odom'" in found["ego motion"]["text"] and "'base_link'" in found["ego motion"]["text"]
        assert all(frame.stamp_ns < BEGIN_NS + 800 * MS for frame in replay.frames)


@pytest.mark.fault(29)
def test_a_jump_of_the_fixed_frame_begins_an_epoch(bag):
    with playing(bag, "tf_jump:metres=20,from=1.3") as replay:
        outputs = replay.finished()
        assert replay.first.bank_epoch == 0
        assert [m.bank_epoch for m in outputs] == [int(ms > 1050) for ms in milliseconds(outputs)]
        assert replay.diagnosed(lambda d: d["instance bank"].get("resets_ego_jump") == "1")
        assert not set(ids(replay.first)) & set(ids(outputs[-1]))


@pytest.mark.fault(33)
def test_a_loop_begins_an_epoch(bag):
    with playing(bag, "clock_loop:from=0.3,to=1.5") as replay:
        outputs = replay.finished()
        assert outputs[-1].bank_epoch == 1
        assert replay.diagnosed(lambda d: d["instance bank"].get("resets_backward_jump") == "1")
        before = [replay.first, *(message for message in outputs if message.bank_epoch == 0)]
        assert not {i for message in before for i in ids(message)} & set(ids(outputs[-1]))


@pytest.mark.slow
@pytest.mark.fault(36)
def test_a_pause_is_no_reset(bag):
    with playing(bag, "clock_pause:from=1,seconds=3", **{"diagnostics.max_image_age_ms": 300.0}) as replay:
        assert replay.diagnosed(lambda d: all(d[f"camera {name}"].get("state") == "stale" for name in NAMES))
        outputs = replay.finished()
        assert {message.bank_epoch for message in outputs} == {0} and ids(replay.first) == ids(outputs[-1])
