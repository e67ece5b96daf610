"""The node as a process: signals, exit codes, command line, parameter file."""

import needs_ros  # noqa: F401

# isort: split
import signal
from contextlib import contextmanager

import pytest
from fake_engine import NAMES, FakeEngine
from fake_vehicle import MS, FakeVehicle, Listener, S
from node_harness import Harness, ros_context, wait_until
from node_process import HERE, START_WITHIN_S, camera_remaps, process

from sparse4d_ros.msg import ModelInfo, TrackedObject3DArray
from sparse4d_ros.node.qos import profile

pytestmark = pytest.mark.ros
#: Parameters with which a loaded machine loses no set.
PATIENT = ["-p", "image_transport:=compressed", "-p", "max_wait_ms:=5000.0", "-p", "tf_timeout_ms:=5000.0"]


@contextmanager
def helper():
    with ros_context() as context:
        harness = Harness(context, FakeEngine())
        try:
            yield harness
        finally:
            harness.end()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_idle_node_cleanly(number):
    with process() as node:
        assert node.has_said("model fake")
        shared_memory = node.shared_memory()
        assert node.end(number) == 0
        assert not [path for path in shared_memory if path.exists()]
        assert node.tracebacks() == [] and not node.left_behind()
        assert not [line for line in node.lines if "hangs" in line]


@pytest.mark.fault(47, 56)
def test_a_signal_during_a_hanging_inference_ends_the_node_with_0():
    with process("hang", ["--ros-args", *PATIENT]) as node, helper() as harness:
        vehicle = FakeVehicle(harness.helper)
        assert wait_until(vehicle.connected, START_WITHIN_S)
        for index in range(50):  # best effort: the first calibration may miss the first images
            vehicle.publish(100 * S + index * 100 * MS)
            if wait_until(lambda: any("inference has begun" in line for line in node.lines), 1.0):
                break
        assert node.has_said("inference has begun")
        assert node.end(signal.SIGINT) == 0
        assert any("hangs" in line for line in node.lines)


@pytest.mark.fault(53)
@pytest.mark.parametrize(("arguments", "says"), [
    (["-p", "score_treshold:=0.1"], "The parameter 'score_treshold' does not exist. Did you mean 'score_threshold'?"),
    (["-p", "max_objects:=many"], "The parameter 'max_objects' is 'many'; it must be an integer."),
])
def test_a_wrong_parameter_ends_the_start_with_a_sentence(arguments, says):
    with process("quick", ["--ros-args", *arguments]) as node:
        assert node.end() == 1
        assert [line.strip() for line in node.lines if "Traceback" in line] == []
        assert any(says in line for line in node.lines)


@pytest.mark.fault(53)
@pytest.mark.parametrize("text", [
    "/**: {ros__parameters: {cameras: [front",
    "/**: {ros__parameters: {fixed_frame: '\xff'}}",
    "/**: {ros__parameters: {cameras: [front, 3]}}",
    "fixed_frame: odom",
], ids=["broken", "not UTF-8", "mixed types", "no sections"])
def test_an_unreadable_parameter_file_ends_the_start_with_a_sentence(text, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="latin-1")
    assert_refused(["--params-file", str(path)], f"sparse4d_node: ROS cannot start: Couldn't parse params file: "
                                                 f"'--params-file {path}'. Error: ", code=2)


@pytest.mark.fault(53)
@pytest.mark.parametrize(("arguments", "says", "code"), [
    (["--params-file", "/nowhere.yaml"], "'--params-file /nowhere.yaml'. Error: Error opening YAML file", 2),
    (["-p", "foo"], "Couldn't parse parameter override rule: '-p foo'", 2),
    (["--nonsense"], "ROS does not know the arguments ['--nonsense']", 2),
    (["-p", "cameras:=[]"], "A parameter is an empty list; leave it out for its default", 1),
])
def test_wrong_ros_arguments_end_the_start_with_a_sentence(arguments, says, code):
    assert_refused(arguments, says, code)


def assert_refused(arguments, says, code):
    with process("quick", ["--ros-args", *arguments]) as node:
        assert node.end() == code
        assert [line for line in node.lines if "Traceback" in line] == []
        (sentence,) = [line for line in node.lines if line.startswith("sparse4d_node: ")]
        assert says in sentence and ".c:" not in sentence


@pytest.mark.fault(41)
def test_a_missing_model_ends_the_autostart_with_a_sentence():
    with process("real", ["--ros-args", "-p", "model.package:=/there/is/nothing"]) as node:
        assert node.end() == 1
        text = "".join(node.lines)
        assert "'model.package' is '/there/is/nothing'" in text and "Traceback" not in text


def test_the_shipped_parameter_file_and_remappings_work_on_the_command_line():
    words = ["--ros-args", "--params-file", str(HERE.parent / "config" / "sparse4d.yaml"),
             *PATIENT, "-r", "__ns:=/roof", "-r", "__node:=eyes",
             *camera_remaps(NAMES)]
    with process("quick", words) as node, helper() as harness:
        objects = Listener(harness.helper, TrackedObject3DArray, "/roof/eyes/output/objects")
        info = Listener(harness.helper, ModelInfo, "/roof/eyes/model_info", profile("latched"))
        vehicle = FakeVehicle(harness.helper, topic_pattern=("/camera/{name}/image/compressed",
                                                             "/camera/{name}/camera_info"))
        assert wait_until(vehicle.connected, START_WITHIN_S)
        for index in range(50):
            vehicle.publish(100 * S + index * 100 * MS)
            if objects.wait(lambda messages: messages, 1.0):
                break
        assert len(objects.messages[0].objects) == 6
        assert info.wait(lambda messages: messages)
        assert node.end(signal.SIGINT) == 0
