"""A node under test, a fake vehicle and listeners on one executor thread, in a ROS domain of their own."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from fake_engine import NAMES, FakeEngine
from fake_vehicle import MS, WITHIN_S, FakeVehicle, Listener
from rcl_interfaces.msg import Log
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile

from sparse4d_ros.msg import TrackedObject3DArray
from sparse4d_ros.node.messages import nanoseconds
from sparse4d_ros.node.sparse4d_node import Sparse4DNode
from sparse4d_ros.node.transform_errors import TransformError

#: Chosen by conftest, which also sets the transport profile.
DOMAIN = int(os.environ["ROS_DOMAIN_ID"])

#: A loaded machine must not change the answer of a test that is not about waiting.
PATIENT = {"max_wait_ms": 5000.0, "tf_timeout_ms": 5000.0, "diagnostics.period_s": 0.1, "model.warmup_runs": 1,
           "diagnostics.max_image_age_ms": 60000.0, "diagnostics.sustained_delay_ms": 60000.0}


def ids(message) -> list[int]:
    """Track ids of a TrackedObject3DArray."""
    return [item.track_id for item in message.objects]


class Harness:
    """What a test holds in its hand."""

    def __init__(self, context: Context, engine: Any) -> None:
        self.context = context
        self.engine = engine
        self.executor = SingleThreadedExecutor(context=context)
        self.helper = Node("helper", context=context)
        self.executor.add_node(self.helper)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def start(self, parameters: dict[str, Any], engine_factory: Callable | None = None, transport: str = "compressed",
              namespace: str = "", reliable: bool = False, cameras: Iterable[str] = NAMES) -> None:
        overrides = [Parameter(name, value=value)
                     for name, value in (PATIENT | {"image_transport": transport} | parameters).items()]
        target = f"{namespace}/sparse4d_node"
        self.objects = Listener(self.helper, TrackedObject3DArray, f"{target}/output/objects")
        self.diagnostics = Listener(self.helper, DiagnosticArray, "/diagnostics")
        self.vehicle = FakeVehicle(self.helper, target, transport, cameras, reliable)
        self.node = Sparse4DNode(engine_factory or (lambda settings: self.engine), context=self.context,
                                 namespace=namespace, parameter_overrides=overrides)
        self.executor.add_node(self.node)
        self.executor.wake()

    def ready(self) -> None:
        """Wait until every topic is connected and every camera has its calibration and its mounting."""
        assert wait_until(self.vehicle.connected) and wait_until(
            lambda: self.helper.count_publishers(self.objects.subscription.topic_name) > 0)
        for name in self.vehicle.cameras:
            self.vehicle.infos[name].publish(self.vehicle.info_message(name, 1))
        assert self.diagnosed(lambda found: all(
            found.get(f"camera {name}", {}).get("camera_infos", "0") != "0" for name in self.vehicle.cameras))
        assert wait_until(self._knows_mountings)  # latched messages come in a thread of the middleware's own

    def drive(self, count: int, start_ns: int, step_ns: int = 100 * MS, **how: Any) -> list[TrackedObject3DArray]:
        """Publish sets one by one, each when the answer to the one before is there; the answers."""
        answers = []
        for index in range(count):
            stamp_ns = start_ns + index * step_ns
            self.vehicle.publish(stamp_ns, **how)
            answer = self.answer(stamp_ns)
            assert answer is not None, f"no output for stamp {stamp_ns}; last diagnostics: {self.last_texts()}"
            answers.append(answer)
        return answers

    def answer(self, stamp_ns: int, timeout_s: float = WITHIN_S) -> TrackedObject3DArray | None:
        """The newest output of this stamp that no call gave back before."""
        def find(messages: list) -> TrackedObject3DArray | None:
            for index, message in enumerate(messages):
                if nanoseconds(message.header.stamp) == stamp_ns:
                    return messages.pop(index)
            return None
        return self.objects.wait(find, timeout_s)

    def diagnosed(self, wanted: Callable[[dict[str, dict[str, str]]], Any], timeout_s: float = WITHIN_S) -> Any:
        """The first true answer about a new diagnostics message, as status name → values, text and level."""
        self.diagnostics.messages.clear()
        return self.diagnostics.wait(lambda messages: next(filter(None, (wanted(as_dict(m)) for m in messages)), None),
                                     timeout_s)

    def last_texts(self) -> dict[str, str]:
        """Texts of the newest diagnostics, for failure messages."""
        newest = as_dict(self.diagnostics.messages[-1]) if self.diagnostics.messages else {}
        return {name: values["text"] for name, values in newest.items()}

    def call(self, kind: type, name: str, **request: Any) -> Any:
        """Call a service of the node and wait for the response."""
        client = self.helper.create_client(kind, name)
        assert client.wait_for_service(timeout_sec=WITHIN_S), name
        future = client.call_async(kind.Request(**request))
        assert wait_until(future.done), name
        self.helper.destroy_client(client)
        return future.result()

    def in_executor(self, function: Callable[[], Any]) -> Any:
        """Run something in the executor's thread, as callbacks run."""
        task = self.executor.create_task(function)
        assert wait_until(task.done)
        return task.result()

    def end(self) -> None:
        self._stop.set()
        self.executor.wake()
        self._thread.join(WITHIN_S)
        assert not self._thread.is_alive()
        if hasattr(self, "node"):
            self.node.close()
            self.node.destroy_node()
        self.helper.destroy_node()
        self.executor.shutdown(timeout_sec=5.0)

    def _knows_mountings(self) -> bool:
        try:
            for frame in self.vehicle.frames.values():
                self.node._session.transforms.lookup("base_link", frame)
        except TransformError:
            return False
        return True

    def _spin(self) -> None:
        while not self._stop.is_set():
            self.executor.spin_once(timeout_sec=0.5)


def as_dict(message: DiagnosticArray) -> dict[str, dict[str, str]]:
    """Status name (without the node's) → values, `text` and `level`."""
    return {status.name.partition(": ")[2]: {v.key: v.value for v in status.values}
            | {"text": status.message, "level": {b"\0": "OK", b"\1": "WARN", b"\2": "ERROR"}[status.level]}
            for status in message.status}


class LogListener(Listener):
    """What is logged from now on. Latched, so that nothing is missed; what others logged before is left out."""

    def __init__(self, harness: Harness) -> None:
        self._since_ns = time.time_ns()
        latched = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        super().__init__(harness.helper, Log, "/rosout", latched)

    def _add(self, message: Log) -> None:
        if nanoseconds(message.stamp) >= self._since_ns:
            super()._add(message)


def wait_until(condition: Callable[[], Any], timeout_s: float = WITHIN_S) -> bool:
    """Whether the condition became true in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


@contextmanager
def ros_context() -> Iterator[Context]:
    """A ROS context in the test domain."""
    context = Context()
    rclpy.init(context=context, domain_id=DOMAIN)
    try:
        yield context
    finally:
        context.try_shutdown()


@contextmanager
def running(engine: Any = None, ready: bool = True, parameters: dict[str, Any] | None = None,
            **how: Any) -> Iterator[Harness]:
    """A node that has been started and connected to a fake vehicle."""
    with ros_context() as context:
        harness = Harness(context, engine if engine is not None else FakeEngine())
        try:
            harness.start(parameters or {}, **how)
            if ready:
                harness.ready()
            yield harness
        finally:
            harness.end()
