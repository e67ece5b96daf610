"""The running node's lifecycle, services and parameters."""

import needs_ros  # noqa: F401

# isort: split
import threading

import pytest
from fake_engine import NAMES, FakeEngine, FakePackage
from fake_vehicle import MS, WITHIN_S, FakeVehicle, Listener, S
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from node_harness import Harness, ids, ros_context, running, wait_until
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import DescribeParameters, SetParameters
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter as RclpyParameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_srvs.srv import SetBool, Trigger

from sparse4d_ros.errors import UserError
from sparse4d_ros.msg import ModelInfo, TrackedObject3DArray
from sparse4d_ros.node import sparse4d_node
from sparse4d_ros.node.engine_loader import check_package
from sparse4d_ros.node.parameters import settings_from
from sparse4d_ros.node.sparse4d_node import Sparse4DNode

pytestmark = pytest.mark.ros
NODE = "/sparse4d_node"


def transition(harness, number):
    return harness.call(ChangeState, f"{NODE}/change_state", transition=Transition(id=number)).success


def state(harness):
    return harness.call(GetState, f"{NODE}/get_state").current_state.label


def test_reset_service_starts_a_new_epoch_between_two_frames():
    with running() as harness:
        before = harness.drive(2, 100 * S)
        response = harness.call(Trigger, f"{NODE}/reset")
        after = harness.drive(2, 100 * S + 200 * MS)
        assert response.success
        assert [m.bank_epoch for m in before + after] == [0, 0, 1, 1]
        assert after[0].flags == TrackedObject3DArray.NO_HISTORY and after[1].flags == 0
        assert ids(after[0]) == [7, 8, 9, 10, 11, 12]


@pytest.mark.fault(57)
def test_reset_during_inference_waits_for_the_frame():
    begun, go = threading.Event(), threading.Event()

    def hold_second(number, frame):
        if number == 1:
            begun.set()
            assert go.wait(WITHIN_S)

    with running(FakeEngine(before_step=hold_second)) as harness:
        harness.drive(1, 100 * S)
        harness.vehicle.publish(100 * S + 100 * MS)
        assert begun.wait(WITHIN_S)
        assert harness.call(Trigger, f"{NODE}/reset").success  # answered while the network runs
        go.set()
        during = harness.answer(100 * S + 100 * MS)
        after = harness.drive(1, 100 * S + 200 * MS)[0]
        assert (during.bank_epoch, after.bank_epoch) == (0, 1)
        assert ids(during) == [1, 2, 3, 4, 5, 6] and min(ids(after)) == 7


def test_set_enabled_stops_and_starts_the_flow():
    with running() as harness:
        harness.drive(1, 100 * S)
        assert harness.call(SetBool, f"{NODE}/set_enabled", data=False).success
        harness.vehicle.publish(100 * S + 100 * MS)
        assert harness.diagnosed(lambda d: all(int(d[f"camera {name}"]["images"]) == 2 for name in NAMES)
                                 and d["model"]["text"] == "disabled by ~/set_enabled")
        assert len(harness.engine.frames) == 1
        assert harness.call(SetBool, f"{NODE}/set_enabled", data=True).success
        harness.drive(1, 100 * S + 200 * MS)


def test_lifecycle_by_services_without_autostart():
    with running(ready=False, parameters={"autostart": False}) as harness:
        assert state(harness) == "unconfigured"
        assert not harness.call(Trigger, f"{NODE}/reset").success
        assert transition(harness, Transition.TRANSITION_CONFIGURE) and state(harness) == "inactive"
        assert transition(harness, Transition.TRANSITION_ACTIVATE) and state(harness) == "active"
        harness.ready()
        harness.drive(1, 100 * S)
        assert transition(harness, Transition.TRANSITION_DEACTIVATE) and state(harness) == "inactive"
        assert wait_until(lambda: harness.vehicle.images["front"].get_subscription_count() == 0)
        assert transition(harness, Transition.TRANSITION_CLEANUP) and state(harness) == "unconfigured"
        assert harness.engine.closed
        assert transition(harness, Transition.TRANSITION_UNCONFIGURED_SHUTDOWN) and state(harness) == "finalized"
        assert harness.diagnosed(lambda d: d["model"]["lifecycle"] == "finalized")


@pytest.mark.fault(55)
def test_twenty_rounds_leave_no_thread_behind_and_ids_go_on():
    engines = []

    def factory(settings):
        engines.append(FakeEngine())
        return engines[-1]

    with running(engine_factory=factory) as harness:
        first = harness.drive(1, 100 * S)[0]
        harness.in_executor(harness.node.trigger_deactivate)
        before = threading.active_count()
        subscriptions = len(list(harness.node.subscriptions))
        publishers = len(list(harness.node.publishers))
        for _ in range(20):
            harness.in_executor(harness.node.trigger_cleanup)
            harness.in_executor(harness.node.trigger_configure)
            harness.in_executor(harness.node.trigger_activate)
            harness.in_executor(harness.node.trigger_deactivate)
        assert threading.active_count() == before
        assert len(list(harness.node.subscriptions)) == subscriptions
        assert len(list(harness.node.publishers)) == publishers
        assert len(engines) == 21 and [e.closed for e in engines] == [True] * 20 + [False]
        harness.in_executor(harness.node.trigger_activate)
        harness.ready()
        last = harness.drive(1, 200 * S)[0]
        assert not set(ids(first)) & set(ids(last)) and last.bank_epoch >= 20


@pytest.mark.fault(41, 44)
@pytest.mark.parametrize("fault", [UserError("model.yaml: sha256 of weights.onnx does not match"),
                                   MemoryError("sha256: out of memory"), RuntimeError("driver: sha256 unit is gone")])
def test_a_failed_configuration_can_be_repeated(fault):
    broken = [True]
    engine = FakeEngine()

    def factory(settings):
        if broken[0]:
            raise fault
        return engine

    with running(ready=False, engine_factory=factory, parameters={"autostart": False}) as harness:
        assert not transition(harness, Transition.TRANSITION_CONFIGURE)
        assert state(harness) == "unconfigured"
        assert harness.diagnosed(lambda d: "sha256" in d["model"]["text"])
        broken[0] = False
        assert transition(harness, Transition.TRANSITION_CONFIGURE)
        assert transition(harness, Transition.TRANSITION_ACTIVATE)
        harness.ready()
        harness.drive(1, 100 * S)


@pytest.mark.fault(35, 55)
def test_time_may_go_back_while_the_node_is_inactive():
    with running() as harness:
        first = harness.drive(2, 100 * S)
        harness.in_executor(harness.node.trigger_deactivate)
        harness.in_executor(harness.node.trigger_activate)
        harness.ready()
        again = harness.drive(2, 50 * S)
        assert [m.bank_epoch for m in again] == [1, 1] and again[0].flags == TrackedObject3DArray.NO_HISTORY
        assert not set(ids(first[1])) & set(ids(again[0])) and ids(again[0]) == ids(again[1])
        assert harness.diagnosed(lambda d: d["instance bank"].get("resets_backward_jump") == "1")


@pytest.mark.fault(47)
def test_after_a_frame_that_hung_ids_are_not_given_twice(monkeypatch):
    monkeypatch.setattr(sparse4d_node, "_STOP_TIMEOUT_S", 0.1)
    go = threading.Event()
    engine = FakeEngine(before_step=lambda number, frame: number != 1 or go.wait(WITHIN_S))
    with running(engine) as harness:
        first = harness.drive(1, 100 * S)[0]
        harness.vehicle.publish(100 * S + 100 * MS)
        assert wait_until(lambda: harness.node._session.worker.busy_s() > 0)
        harness.in_executor(harness.node.trigger_deactivate)
        hung, = harness.node._hung
        assert harness.in_executor(harness.node.trigger_activate) == TransitionCallbackReturn.FAILURE
        go.set()
        assert wait_until(lambda: hung.worker.stop(0.0))
        harness.in_executor(harness.node.trigger_activate)
        harness.ready()
        assert not set(ids(first)) & set(ids(harness.drive(1, 200 * S)[0]))


@pytest.mark.fault(27, 55)
def test_a_frame_that_waits_for_transforms_is_no_hang():
    with running(parameters={"tf_timeout_ms": 5000.0}) as harness:
        harness.vehicle.publish(100 * S, pose=None)
        assert wait_until(lambda: harness.node._session.worker.busy_s() > 0)
        harness.in_executor(harness.node.trigger_deactivate)
        assert not harness.node._hung


def test_what_a_transition_raises_is_told(monkeypatch):
    def broken(*arguments):
        raise RuntimeError("no such thing")

    monkeypatch.setattr(sparse4d_node, "Session", broken)
    with running(ready=False) as harness:
        assert wait_until(lambda: harness.node.fatal)
        assert harness.node.fatal == "on_activate failed: RuntimeError: no such thing"
        assert harness.diagnosed(lambda d: d["model"]["text"] == harness.node.fatal)


def test_autostart_that_fails_is_fatal():
    def factory(settings):
        raise UserError("the model package /x does not exist")

    with running(ready=False, engine_factory=factory) as harness:
        assert wait_until(lambda: harness.node.fatal)
        assert harness.node.fatal == "the model package /x does not exist"


@pytest.mark.fault(59)
def test_a_late_joiner_gets_the_model_info():
    with running() as harness:
        harness.drive(1, 100 * S)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        info = Listener(harness.helper, ModelInfo, f"{NODE}/model_info", latched)
        message = info.wait(lambda messages: messages[0] if messages else None)
        assert (message.name, message.version, message.backend, message.precision) == ("fake", "1.2.3", "fake", "fp32")
        assert message.classes == list(FakePackage().classes)


@pytest.mark.fault(58)
def test_two_namespaces_run_beside_each_other():
    with ros_context() as context:
        harness = Harness(context, FakeEngine())
        try:
            harness.start({}, namespace="/left")
            harness.ready()
            left = harness.drive(2, 100 * S)[1]
            other_engine = FakeEngine()
            other = Sparse4DNode(lambda settings: other_engine, context=context, namespace="/right",
                                 parameter_overrides=[RclpyParameter("image_transport", value="compressed"),
                                                      RclpyParameter("max_wait_ms", value=5000.0),
                                                      RclpyParameter("tf_timeout_ms", value=5000.0)])
            harness.executor.add_node(other)
            vehicle = FakeVehicle(harness.helper, "/right/sparse4d_node")
            assert wait_until(vehicle.connected)
            objects = Listener(harness.helper, TrackedObject3DArray, "/right/sparse4d_node/output/objects")
            for index in range(20):  # the first sets may come before the calibration
                vehicle.publish(300 * S + index * 100 * MS)
                if objects.wait(lambda messages: messages, timeout_s=1.0):
                    break
            right = objects.messages[0]
            assert ids(left) == ids(right) == [1, 2, 3, 4, 5, 6]
            assert len(harness.engine.frames) == 2 and other_engine.frames
            harness.executor.remove_node(other)
            other.close()
            other.destroy_node()
        finally:
            harness.end()


@pytest.mark.fault(53)
@pytest.mark.parametrize(("name", "value", "says"), [
    ("score_treshold", 0.2, "Did you mean 'score_threshold'"),
    ("max_objects", -1, "'max_objects' is -1"),
    ("input_qos", "best", "'input_qos' is 'best'"),
])
def test_a_wrong_parameter_refuses_the_start(name, value, says):
    with ros_context() as context, pytest.raises(UserError, match="parameter") as caught:
        Sparse4DNode(lambda settings: FakeEngine(), context=context,
                     parameter_overrides=[RclpyParameter(name, value=value)])
    assert says in str(caught.value)


def set_parameter(harness, name, value):
    return harness.call(SetParameters, f"{NODE}/set_parameters",
                        parameters=[Parameter(name=name, value=value)]).results[0]


@pytest.mark.fault(54)
def test_parameters_while_running():
    with running() as harness:
        number = ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=0.9)
        refused = set_parameter(harness, "score_threshold", number)
        assert not refused.successful and "score_threshold" in refused.reason
        too_long = ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=61.0)
        assert "marker_lifetime_s" in set_parameter(harness, "marker_lifetime_s", too_long).reason
        assert set_parameter(harness, "marker_lifetime_s", number).successful
        assert harness.node.settings.marker_lifetime_s == 0.9 and harness.node.settings.score_threshold == 0.3
        described = harness.call(DescribeParameters, f"{NODE}/describe_parameters",
                                 names=["score_threshold", "publish_markers"]).descriptors
        assert described[0].read_only and described[0].description and not described[1].read_only
        assert described[0].floating_point_range[0].to_value == 1.0


@pytest.mark.fault(43)
@pytest.mark.parametrize(("parameters", "says"), [
    ({"cameras": ["front", "back"]}, "names 2 cameras"),
    ({"cameras": ["back", "front", "front_right", "front_left", "back_left", "back_right"]}, "another order"),
    ({"class_score_thresholds.cat": 0.5}, "'class_score_thresholds.cat' names no class"),
])
def test_parameters_that_do_not_fit_the_model_are_named(parameters, says):
    with pytest.raises(UserError, match=says):
        check_package(FakePackage(), settings_from(parameters))
