"""The running node that is stopped and started again: after a hang, after a failure half-way, after a pause."""

import needs_ros  # noqa: F401

# isort: split
import threading

import pytest
from fake_engine import NAMES, FakeEngine
from fake_vehicle import MS, WITHIN_S, S, ego_pose
from node_harness import ids, running, wait_until
from rclpy.clock import Clock
from rclpy.lifecycle import TransitionCallbackReturn
from std_srvs.srv import Trigger

from sparse4d_ros.node import sparse4d_node
from sparse4d_ros.node.outputs import Outputs
from sparse4d_ros.node.sparse4d_node import Sparse4DNode

pytestmark = pytest.mark.ros
SUCCESS, ERROR = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.ERROR


def do(harness, *names):
    """Lifecycle transitions, one after the other; what each came to."""
    return [harness.in_executor(getattr(harness.node, f"trigger_{name}")) for name in names]


@pytest.mark.fault(47)
@pytest.mark.parametrize("ending", [None, RuntimeError("device lost")])
def test_an_engine_that_hung_is_closed_when_it_comes_back_and_does_not_disturb_the_next(monkeypatch, ending):
    monkeypatch.setattr(sparse4d_node, "_STOP_TIMEOUT_S", 0.1)
    go = threading.Event()

    def hang(number, frame):
        if number == 1:
            assert go.wait(WITHIN_S)
            if ending:
                raise ending

    first, second = engines = [FakeEngine(before_step=hang), FakeEngine()]
    waiting = iter(engines)
    with running(engine_factory=lambda settings: next(waiting),
                 parameters={"max_consecutive_failures": 1}) as harness:
        before = harness.drive(1, 100 * S)[0]
        harness.vehicle.publish(100 * S + 100 * MS)
        assert wait_until(lambda: harness.node._session.worker.busy_s() > 0)
        assert do(harness, "deactivate", "cleanup", "configure", "activate") == [SUCCESS] * 4
        harness.ready()
        after = harness.drive(1, 101 * S)[0]
        assert not first.closed and not set(ids(before)) & set(ids(after))
        go.set()
        assert wait_until(lambda: first.closed)
        harness.drive(2, 101 * S + 100 * MS)
        assert not second.closed and [frame.stamp_ns for frame in second.frames] == [
            101 * S + step * 100 * MS for step in range(3)]
        assert not harness.objects.messages  # the frame that came back late was not published
        assert harness.diagnosed(lambda d: d["model"]["lifecycle"] == "active" and "dropped_error" not in d["model"]
                                 and "dropped_inference_error" not in d["model"])
        assert do(harness, "deactivate", "cleanup") == [SUCCESS] * 2 and second.closed


@pytest.mark.fault(44)
@pytest.mark.parametrize("broken", ["reset", "clear_markers"])
def test_an_engine_is_freed_and_the_node_lives_when_giving_up_fails_too(monkeypatch, broken):
    def fail(*arguments):
        raise RuntimeError("device lost")

    first, second = engines = [FakeEngine(before_step=fail), FakeEngine()]
    monkeypatch.setattr(*((first, "reset", fail) if broken == "reset" else (Outputs, broken, fail)))
    waiting = iter(engines)
    with running(engine_factory=lambda settings: next(waiting),
                 parameters={"max_consecutive_failures": 1}) as harness:
        harness.vehicle.publish(100 * S)
        assert harness.diagnosed(lambda d: d["model"]["lifecycle"] == "unconfigured")
        assert first.closed
        monkeypatch.undo()
        assert do(harness, "configure", "activate") == [SUCCESS] * 2
        harness.ready()
        harness.drive(1, 101 * S)


@pytest.mark.fault(55)
@pytest.mark.parametrize(("owner", "method", "good"), [
    (Sparse4DNode, "create_lifecycle_publisher", 0), (Sparse4DNode, "create_lifecycle_publisher", 4),
    (Sparse4DNode, "create_subscription", 1), (Sparse4DNode, "create_subscription", 6),
    (Sparse4DNode, "create_timer", 0), (Clock, "create_jump_callback", 0)])
def test_a_start_that_fails_half_way_leaves_nothing_behind_and_can_be_repeated(monkeypatch, owner, method, good):
    engines = []

    def factory(settings):
        engines.append(FakeEngine())
        return engines[-1]

    def things():
        node = harness.node
        return ([len(list(found)) for found in (node.subscriptions, node.publishers, node.timers,
                                                node._managed_entities)],
                sum(thread.name == "sparse4d_worker" for thread in threading.enumerate()))

    made = getattr(owner, method)
    left = [good]

    def failing(self, *arguments, **named):
        if not left[0]:
            raise RuntimeError("no more of these")
        left[0] -= 1
        return made(self, *arguments, **named)

    with running(ready=False, engine_factory=factory, parameters={"autostart": False}) as harness:
        before = things()
        monkeypatch.setattr(owner, method, failing)
        steps = do(harness, "configure")
        if steps == [SUCCESS]:
            steps = do(harness, "activate")
        assert steps == [ERROR]
        monkeypatch.undo()
        assert wait_until(lambda: things() == before, 5.0), (things(), before)
        assert engines[0].closed
        assert do(harness, "configure", "activate") == [SUCCESS] * 2
        harness.ready()
        harness.drive(1, 100 * S)


@pytest.mark.fault(29, 55)
@pytest.mark.parametrize(("pause_ms", "moved_m", "epoch"), [(400, 0.0, 0), (400, 20.0, 1), (2500, 0.0, 1)])
def test_after_a_pause_tracks_go_on_where_stamps_and_poses_say_so(pause_ms, moved_m, epoch):
    def pose(stamp_ns):
        found = ego_pose(stamp_ns).copy()
        found[0, 3] += moved_m if stamp_ns > 100 * S + 250 * MS else 0.0
        return found

    with running() as harness:
        before = harness.drive(2, 100 * S, pose=pose)[1]
        assert do(harness, "deactivate", "activate") == [SUCCESS] * 2
        harness.ready()
        after = harness.drive(1, 100 * S + 100 * MS + pause_ms * MS, pose=pose)[0]
        assert after.bank_epoch == epoch and len(after.objects) == len(NAMES)
        if epoch:
            assert not set(ids(before)) & set(ids(after)) and after.time_interval_s == 0.0
        else:
            assert ids(before) == ids(after) and after.time_interval_s == pytest.approx(pause_ms / 1e3)


@pytest.mark.fault(57)
def test_a_reset_that_no_frame_followed_counts_after_a_pause():
    with running() as harness:
        before = harness.drive(1, 100 * S)[0]
        assert harness.call(Trigger, "/sparse4d_node/reset").success
        assert do(harness, "deactivate", "activate") == [SUCCESS] * 2
        harness.ready()
        after = harness.drive(1, 100 * S + 400 * MS)[0]
        assert after.bank_epoch == 1 and not set(ids(before)) & set(ids(after))
