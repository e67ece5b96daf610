"""Launch files with the real `launch` and `launch_ros`, where they are installed; PyPI has neither.

A sourced ROS distribution has both. Elsewhere they run from their sources (the branches jazzy and humble of
https://github.com/ros2/launch and https://github.com/ros2/launch_ros): `pip install --no-deps --target FOLDER` of
launch/launch, launch/launch_xml, launch/launch_yaml and launch_ros/launch_ros, osrf-pycommon beside them,
composition_interfaces (of https://github.com/ros2/rcl_interfaces) built by colcon. Then, in the environment that
`make setup` names, with FOLDER at the end of PYTHONPATH: `pytest test/test_launch_upstream.py`.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import bag_cases
import needs_ros  # noqa: F401
import pytest
from launch_process import ROOT, WITHIN_S, Launched, launched

# Not `launch`: the folder of that name in this repository passes for a package.
if importlib.util.find_spec("launch_ros") is None:
    pytest.skip("launch and launch_ros are not installed; a ROS distribution has them", allow_module_level=True)

import rclpy  # noqa: E402
from launch.launch_description_sources import get_launch_description_from_any_launch_file  # noqa: E402
from lifecycle_msgs.msg import State, Transition  # noqa: E402
from lifecycle_msgs.srv import ChangeState, GetState  # noqa: E402
from rclpy.node import Node  # noqa: E402
from rosbags.rosbag2 import StoragePlugin, Writer  # noqa: E402

from sparse4d_ros.data import bag_files  # noqa: E402
from sparse4d_ros.data.ros_types import typestore  # noqa: E402
from sparse4d_ros.msg import TrackedObject3DArray  # noqa: E402

pytestmark = pytest.mark.ros

LAUNCH_FILES = sorted((ROOT / "launch").glob("*.launch.py"))
DEMO_DRIVE = ROOT / "models" / "sparse4d_small" / "demo_drive"
NODE = "/sparse4d_node"
#: An argument that `launch` itself knows: how long it waits after SIGINT. A machine that gives the processes hardly any
#: CPU needs more than its 5 s; no contract.
PATIENT = {"sigterm_timeout": 60}


@pytest.fixture(scope="module")
def short_drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first two seconds of the demo drive, with everything that the bag says about its topics."""
    path = tmp_path_factory.mktemp("drives") / "short"
    with bag_files.open_bag(DEMO_DRIVE) as reader, \
            Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        made = {item.id: writer.add_connection(item.topic, item.msgtype, typestore=typestore(),
                                               offered_qos_profiles=item.ext.offered_qos_profiles)
                for item in reader.connections}
        for connection, log_ns, raw in bag_files.messages(reader, reader.connections):
            if log_ns > reader.start_time + 2_000_000_000:
                break
            writer.write(made[connection.id], log_ns, raw)
    return path


class Listener:
    """Hears the node's results and asks for lifecycle transitions."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.results: list[TrackedObject3DArray] = []
        node.create_subscription(TrackedObject3DArray, f"{NODE}/output/objects", self.results.append, 10)
        self._change = node.create_client(ChangeState, f"{NODE}/change_state")
        self._state = node.create_client(GetState, f"{NODE}/get_state")

    def hears(self, running: Launched, condition: Callable[[], bool], within_s: float = WITHIN_S) -> bool:
        """Spin until this holds; False if the launch ended before, or if it took too long."""
        deadline = time.monotonic() + within_s
        while not condition():
            if running.child.poll() is not None or time.monotonic() > deadline:
                return False
            rclpy.spin_once(self.node, timeout_sec=0.1, executor=self.node.executor)
        return True

    def change(self, running: Launched, transition: int, state: int) -> None:
        """Ask for a transition, which must lead to this state. (Asked again, the node would refuse it.)"""
        self._ask(running, self._change, ChangeState.Request(transition=Transition(id=transition)))
        assert self.state(running) == state, running.text

    def state(self, running: Launched) -> int:
        """The primary state that the node says it is in."""
        return self._ask(running, self._state, GetState.Request()).current_state.id

    def _ask(self, running: Launched, client, request):
        assert self.hears(running, client.service_is_ready), running.text
        for _ in range(30):  # an answer can get lost for good while the two are only discovering each other
            answer = client.call_async(request)
            if self.hears(running, answer.done, WITHIN_S / 30):
                return answer.result()
        pytest.fail(f"no answer\n{running.text}")


@pytest.fixture
def listener(ros_context) -> Iterator[Listener]:
    node = Node("launch_listener", context=ros_context, start_parameter_services=False)
    executor = rclpy.executors.SingleThreadedExecutor(context=ros_context)
    executor.add_node(node)
    yield Listener(node)
    executor.shutdown()
    node.destroy_node()


def end_in_order(running: Launched) -> None:
    """SIGINT ends the launch and everything below it, without an error."""
    assert running.end(signal.SIGINT) == 0, running.text
    assert not running.left(), running.text
    for word in ("Traceback", "SIGTERM", "SIGKILL", "process has died"):
        assert word not in running.text, running.text


@pytest.mark.parametrize("path", LAUNCH_FILES, ids=lambda path: path.name)
def test_every_argument_is_described(path: Path) -> None:
    arguments = get_launch_description_from_any_launch_file(str(path)).get_launch_arguments()
    assert arguments
    for argument in arguments:
        assert argument.description not in ("", "no description given"), argument.name


@pytest.mark.parametrize("name", ["sparse4d.launch.py", "orin.launch.py"])
def test_the_node_starts_and_ends_with_nothing_left(name: str, tmp_path: Path, listener: Listener) -> None:
    with launched(name, tmp_path, **PATIENT) as running:
        assert running.has_said("model sparse4d_small"), running.text
        assert listener.hears(running, lambda: listener.state(running) == State.PRIMARY_STATE_ACTIVE)
        end_in_order(running)


def test_the_node_is_bound_to_a_cpu(tmp_path: Path) -> None:
    cpu = max(os.sched_getaffinity(0))
    with launched("sparse4d.launch.py", tmp_path, cpus=cpu, **PATIENT) as running:
        assert running.has_said("model sparse4d_small"), running.text
        (node,) = [pid for pid, words in running.left().items() if "sparse4d_node" in words and "taskset" not in words]
        for thread in Path(f"/proc/{node}/task").iterdir():
            assert os.sched_getaffinity(int(thread.name)) == {cpu}
        end_in_order(running)


def test_a_replay_publishes_tracks_before_and_after_a_lifecycle_round(tmp_path: Path, listener: Listener) -> None:
    with launched("replay.launch.py", tmp_path, bag=DEMO_DRIVE, loop="true", **PATIENT) as running:
        def tracks() -> bool:
            return any(item.track_id for result in listener.results for item in result.objects)
        assert listener.hears(running, tracks), running.text
        for transition, state in ((Transition.TRANSITION_DEACTIVATE, State.PRIMARY_STATE_INACTIVE),
                                  (Transition.TRANSITION_CLEANUP, State.PRIMARY_STATE_UNCONFIGURED),
                                  (Transition.TRANSITION_CONFIGURE, State.PRIMARY_STATE_INACTIVE)):
            listener.change(running, transition, state)
        listener.results.clear()
        listener.change(running, Transition.TRANSITION_ACTIVATE, State.PRIMARY_STATE_ACTIVE)
        assert listener.hears(running, tracks), running.text
        end_in_order(running)


def test_a_replay_of_a_drive_in_map_publishes_tracks(short_drive: Path, tmp_path: Path, listener: Listener) -> None:
    def in_map(topic: str, message, log_ns: int):
        if topic == "/tf":
            for link in message.transforms:
                link.header.frame_id = "map"
        return (kinds[topic], message, log_ns)
    with bag_files.open_bag(short_drive) as reader:
        kinds = {topic: info.msgtype for topic, info in reader.topics.items()}
    bag = bag_cases.rewrite(short_drive, tmp_path / "drive", change=in_map)
    with launched("replay.launch.py", tmp_path, bag=bag, loop="true", **PATIENT) as running:
        assert listener.hears(running, lambda: listener.results), running.text
        end_in_order(running)


def test_ros2_bag_begins_when_the_node_is_active(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin" / "ros2"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\necho "played with: $*"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    with launched("replay.launch.py", tmp_path, bag=DEMO_DRIVE, player="ros2bag", **PATIENT) as running:
        assert running.end() == 0, running.text  # with the player, all ends
        loaded, played = running.text.index("model sparse4d_small"), running.text.index("played with: bag play")
        assert loaded < played
        assert not running.left()


def test_rviz_opens_the_rig_that_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prefix, opened = tmp_path / "prefix", tmp_path / "opened"
    program, listed = prefix / "lib/rviz2/rviz2", prefix / "share/ament_index/resource_index/packages/rviz2"
    for path, text in ((program, '#!/bin/sh\ncp "$2" partial && mv partial opened\n'), (listed, "")):
        path.parent.mkdir(parents=True)
        path.write_text(text)
    program.chmod(0o755)
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"{prefix}:{os.environ['AMENT_PREFIX_PATH']}")
    with launched("replay.launch.py", tmp_path, bag=DEMO_DRIVE, node="false", viewer="rviz", namespace="car",
                  cameras="b,a", reference_camera="a") as running:
        assert running.wait_for(opened.is_file), running.text
    for topic in ("output/markers", "debug/b/overlay/compressed", "debug/a/overlay/compressed"):
        assert f"Value: /car/sparse4d_node/{topic}\n" in opened.read_text()
    assert list(tmp_path.glob("*/sparse4d.rviz"))  # below ROS_LOG_DIR


def test_the_node_that_cannot_start_ends_a_replay_with_an_error(tmp_path: Path) -> None:
    with launched("replay.launch.py", tmp_path, bag=DEMO_DRIVE, model="/nowhere", **PATIENT) as running:
        assert running.end() == 1, running.text
        assert "/nowhere" in running.text
        assert "sparse4d_node-" in running.text and "ended with exit code 1" in running.text
        assert not running.left()


@pytest.mark.parametrize(("name", "arguments", "sentence"), [
    ("sparse4d.launch.py", {"images": "/camera/image_raw"}, "names one topic for 6 cameras"),
    ("sparse4d.launch.py", {"use_sim_time": "perhaps"}, '"use_sim_time" provided value "perhaps" is not valid'),
    ("replay.launch.py", {}, "missing required argument 'bag'"),
    ("evaluate.launch.py", {"bag": "/nowhere"}, "/nowhere does not exist"),
])
def test_wrong_arguments_are_a_sentence_and_exit_code_1(name: str, arguments: dict[str, str], sentence: str,
                                                        tmp_path: Path) -> None:
    with launched(name, tmp_path, **arguments) as running:
        assert running.end() == 1, running.text
        assert sentence in running.text
        assert "Traceback" not in running.text
        assert not running.left()


@pytest.mark.slow
def test_an_evaluation_leaves_scores_and_a_page(short_drive: Path, tmp_path: Path) -> None:
    with launched("evaluate.launch.py", tmp_path, bag=short_drive, rate=0.1) as running:
        assert running.end() == 0, running.text
        assert not running.left()
    for name in ("summary.json", "scores.json", "report.html", "tracks.npz", "picture.png", "video.mp4"):
        assert (tmp_path / "evaluation_output" / name).stat().st_size, name


@pytest.mark.slow
def test_an_interrupted_evaluation_leaves_no_process(short_drive: Path, tmp_path: Path) -> None:
    with launched("evaluate.launch.py", tmp_path, bag=short_drive) as running:
        assert running.has_said("starting the node"), running.text
        running.end(signal.SIGINT)
        assert not running.left(), running.text
