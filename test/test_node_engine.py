"""The running node with the real engine and a tiny untrained network, loaded as a user's model is."""

import needs_ros  # noqa: F401

# isort: split
import numpy as np
import pytest
from fake_vehicle import MS, Listener, S
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from node_harness import running

from sparse4d_ros.boxes import NUSCENES_CLASSES
from sparse4d_ros.errors import UserError
from sparse4d_ros.msg import CameraInput, ModelInfo, TrackedObject3DArray
from sparse4d_ros.node.engine_loader import load_engine, package_folder
from sparse4d_ros.node.parameters import settings_from
from sparse4d_ros.node.qos import profile

pytestmark = pytest.mark.ros


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    pytest.importorskip("torch", reason="the tiny network is built with torch")
    from engine_cases import write_package

    folder = tmp_path_factory.mktemp("models") / "tiny"
    write_package(folder)
    return folder


def test_the_node_runs_a_model_package(package):
    parameters = {"model.package": str(package), "model.backend": "torch", "model.device": "cpu",
                  "score_threshold": 0.01, "max_range_m": 30.0, "min_cameras": 5, "max_wait_ms": 2000.0}
    with running(engine_factory=load_engine, parameters=parameters) as harness:
        info = Listener(harness.helper, ModelInfo, "/sparse4d_node/model_info", profile("latched"))
        answers = harness.drive(3, 100 * S, step_ns=200 * MS)
        answers += harness.drive(1, 100 * S + 600 * MS, skip=["back"])
        assert answers[0].flags == TrackedObject3DArray.NO_HISTORY and answers[1].flags == answers[2].flags == 0
        assert answers[3].flags == TrackedObject3DArray.DEGRADED_CAMERAS
        assert answers[3].cameras[3].state == CameraInput.MISSING
        for message in answers:
            assert message.objects and message.bank_epoch == 0
            tracks = [o.track_id for o in message.objects]
            assert len(set(tracks)) == len(tracks) and min(tracks) > 0
            for item in message.objects:
                assert item.class_name == NUSCENES_CLASSES[item.class_id] and 0.0 < item.score <= 1.0
                assert np.hypot(item.pose.position.x, item.pose.position.y) <= 30.0
            assert message.timing.inference > 0 and message.timing.preprocess > 0
        assert {o.track_id for o in answers[0].objects} & {o.track_id for o in answers[2].objects}
        announced = info.wait(lambda messages: messages and messages[0])
        assert announced.name == "tiny" and announced.backend.startswith("torch")


@pytest.mark.fault(41)
def test_a_missing_package_is_named(tmp_path):
    with pytest.raises(UserError, match="'model.package' is '/no/such/place'"):
        package_folder("/no/such/place")
    with pytest.raises(UserError, match="has no model.yaml"):
        load_engine(settings_from({"model.package": str(tmp_path)}))


@pytest.mark.fault(41)
def test_a_package_that_is_repaired_can_be_configured_without_a_restart(package):
    weights = package / "weights.safetensors"
    parameters = {"model.package": str(package), "model.backend": "torch", "model.device": "cpu", "autostart": False}

    def configure():
        request = Transition(id=Transition.TRANSITION_CONFIGURE)
        return harness.call(ChangeState, "/sparse4d_node/change_state", transition=request).success

    with running(engine_factory=load_engine, parameters=parameters, ready=False) as harness:
        away = weights.rename(package / "away")
        try:
            assert not configure()
            text = harness.diagnosed(lambda d: d["model"]["level"] == "ERROR" and d["model"]["text"])
            assert str(weights) in text
        finally:
            away.rename(weights)
        assert configure()
