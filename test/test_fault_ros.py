"""The running node: nobody listens, models that do not load, too many objects, and twenty rounds of its life."""

import needs_ros  # noqa: F401

# isort: split
import gc
import threading
import weakref

import pytest
from fake_engine import FakeEngine
from fake_vehicle import MS, S
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from node_harness import LogListener, ids, running, wait_until

from sparse4d_ros.errors import UserError
from sparse4d_ros.node import overlay
from sparse4d_ros.node.markers import MarkerPainter

pytestmark = pytest.mark.ros
ROUNDS = 20


@pytest.mark.fault(52)
def test_without_subscribers_the_bank_goes_on_and_nothing_is_painted(monkeypatch):
    painted = []
    monkeypatch.setattr(MarkerPainter, "paint", lambda *arguments: painted.append("markers"))
    monkeypatch.setattr(overlay, "draw_boxes", lambda *arguments: painted.append("overlay"))
    with running(parameters={"publish_overlay": True}) as harness:
        before = harness.drive(1, 100 * S)[0]
        topic = harness.objects.subscription.topic_name
        harness.in_executor(lambda: harness.helper.destroy_subscription(harness.objects.subscription))
        assert wait_until(lambda: harness.node.count_subscribers(topic) == 0)
        for index in range(1, 4):
            harness.vehicle.publish(100 * S + index * 100 * MS)
            assert wait_until(lambda n=index: len(harness.engine.frames) == n + 1)
        assert harness.diagnosed(lambda d: d["instance bank"]["objects"] == "6" and d["model"]["level"] != "ERROR")

        def tracks():
            return harness.in_executor(lambda: harness.node._session.state).tracks.values()
        # A little after the network has seen the fourth frame.
        assert wait_until(lambda: [track.hits for track in tracks()] == [4] * 6)
        assert [track.track_id for track in tracks()] == ids(before)
        assert painted == []


@pytest.mark.fault(42, 44)
@pytest.mark.parametrize(("error", "says"), [
    (UserError("model.plan was built by TensorRT 10.1 for sm_90; here are TensorRT 10.3 and sm_87"),
     ["10.1", "10.3", "sm_90", "sm_87"]),
    (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), ["out of memory", "2.00 GiB"]),
])
def test_what_a_backend_says_at_loading_is_what_diagnostics_say(error, says):
    def factory(settings):
        raise error

    with running(ready=False, engine_factory=factory, parameters={"autostart": False}) as harness:
        request = Transition(id=Transition.TRANSITION_CONFIGURE)
        assert not harness.call(ChangeState, "/sparse4d_node/change_state", transition=request).success
        text = harness.diagnosed(lambda d: d["model"]["level"] == "ERROR" and d["model"]["text"])
        assert [word for word in says if word not in text] == []


@pytest.mark.fault(49)
def test_as_many_objects_as_are_allowed_is_a_warning():
    with running(parameters={"max_objects": 6}) as harness:
        log = LogListener(harness)
        assert len(harness.drive(1, 100 * S)[0].objects) == 6
        assert log.wait(lambda lines: [x for x in lines if x.level == x.WARN and "found 6 objects or more" in x.msg])


@pytest.mark.fault(55)
@pytest.mark.parametrize("clean_up", [False, True])
def test_twenty_rounds_leave_no_thread_and_no_memory_behind(clean_up):
    """Each round has a session, and with cleaning up an engine: all of them must be gone at the end."""
    engines, sessions = [], []

    def factory(settings):
        engine = FakeEngine()
        engines.append(weakref.ref(engine))
        return engine

    def one_round():
        node = harness.node
        if clean_up:
            node.trigger_cleanup()
            node.trigger_configure()
        node.trigger_activate()
        sessions.append(weakref.ref(node._session))
        node.trigger_deactivate()

    with running(engine_factory=factory) as harness:
        first = harness.drive(1, 100 * S)[0]
        harness.in_executor(lambda: (sessions.append(weakref.ref(harness.node._session)),
                                     harness.node.trigger_deactivate()) and None)
        threads = threading.active_count()
        for _ in range(ROUNDS):
            harness.in_executor(one_round)
        assert threading.active_count() == threads
        gc.collect()
        assert len(sessions) == ROUNDS + 1 and sum(ref() is not None for ref in sessions) == 0
        assert len(engines) == (ROUNDS + 1 if clean_up else 1) and sum(ref() is not None for ref in engines) == 1
        harness.in_executor(harness.node.trigger_activate)
        harness.ready()
        last = harness.drive(1, 100 * S + 100 * MS)[0]
        assert min(ids(last)) > max(ids(first)) if clean_up else ids(last) == ids(first)
