"""The demo's third participant: it hears what the node says on its topics, and nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable

from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import GetState
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo

from sparse4d_ros.data.ros_messages import stamp_ns
from sparse4d_ros.evaluation.records import FrameResult, from_message
from sparse4d_ros.msg import TrackedObject3DArray
from sparse4d_ros.node import topics

_RELIABLE = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)
_BEST_EFFORT = QoSProfile(depth=100, reliability=ReliabilityPolicy.BEST_EFFORT)
_ANSWER_WITHIN_S = 1.0
#: Counters in the node's diagnostics that stand for something lost, beside those that begin with "dropped_".
_LOSSES = ("late", "duplicate", "out_of_order", "rejected", "overflow", "unmatched", "never arrived")


class Recorder:
    """Keeps every result, the newest diagnostics, and when the reference camera's frames went by.

    Messages are kept as they came and turned into records at the end: nothing here may hold up
    the executor while latencies are being measured.
    """

    def __init__(self, reference_info_topic: str, node_name: str = topics.NODE_NAME) -> None:
        self.node = Node("sparse4d_demo_recorder", start_parameter_services=False)
        self.diagnostics: dict[str, dict[str, str]] = {}
        #: Steady nanoseconds at which the reference camera's message of a stamp was seen here.
        self.seen_ns: dict[int, int] = {}
        self._messages: list[tuple[int, TrackedObject3DArray]] = []
        self._last_diagnostics_ns = 0
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)
        self._objects_topic = topics.OBJECTS.replace("~", f"/{node_name}")
        self.node.create_subscription(TrackedObject3DArray, self._objects_topic, self._on_objects, _RELIABLE)
        self.node.create_subscription(DiagnosticArray, topics.DIAGNOSTICS, self._on_diagnostics, _RELIABLE)
        self.node.create_subscription(CameraInfo, reference_info_topic, self._on_camera, _BEST_EFFORT)
        self._state = self.node.create_client(GetState, f"/{node_name}/get_state")

    def close(self) -> None:
        """Leave the network."""
        self._executor.shutdown()
        self.node.destroy_node()

    @property
    def count(self) -> int:
        """Results so far."""
        return len(self._messages)

    def wait_until_active(self, timeout_s: float, check: Callable[[], None]) -> bool:
        """Spin until the node says that it is active and its results reach us; ``check`` may raise."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            check()
            if self._ask_state() == State.PRIMARY_STATE_ACTIVE and self.node.count_publishers(self._objects_topic):
                return True
        return False

    def _ask_state(self) -> int | None:
        """The node's lifecycle state; None if no answer came in time.

        An answer can get lost for good while the two are only discovering each other, so it is not waited for long.
        """
        self.spin(0.1)
        if not self._state.service_is_ready():
            return None
        answer = self._state.call_async(GetState.Request())
        deadline = time.monotonic() + _ANSWER_WITHIN_S
        while not answer.done() and time.monotonic() < deadline:
            self.spin(0.02)
        if not answer.done():
            self._state.remove_pending_request(answer)
            return None
        return answer.result().current_state.id

    def spin(self, seconds: float) -> None:
        """Take what arrives for some time."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=left)

    def drain(self, quiet_s: float, timeout_s: float) -> None:
        """Spin until no result came for ``quiet_s`` and diagnostics newer than the last result are there."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            self.spin(0.1)
            last_ns = self._messages[-1][0] if self._messages else 0
            quiet = time.monotonic_ns() - last_ns > quiet_s * 1e9
            if quiet and self._last_diagnostics_ns > last_ns + 2e8:
                return

    def results(self) -> list[FrameResult]:
        """One record for each message, in order of arrival."""
        return [from_message(message) for _, message in self._messages]

    def observed_ms(self) -> list[float]:
        """From seeing the reference camera's frame to having its result, both here, on one steady clock."""
        return [(received - self.seen_ns[stamp]) * 1e-6 for received, message in self._messages
                if (stamp := stamp_ns(message.header.stamp)) in self.seen_ns]

    def lost(self) -> int:
        """Results that the node counted and that did not reach us."""
        numbers = [message.sequence for _, message in self._messages]
        return max(numbers) - min(numbers) + 1 - len(numbers) if numbers else 0

    def drop_reasons(self, frames: int) -> dict[str, dict[str, int]]:
        """Why images or sets were not used, by the node's own diagnostics: reason -> where -> how often.

        ``frames`` is how many images each camera sent: what a camera's counter lacks never arrived.
        """
        found: dict[str, dict[str, int]] = {}
        for name, values in self.diagnostics.items():
            where = name.partition(": ")[2] or name
            counts = {key: int(value) for key, value in values.items() if value.isdigit()}
            if "received" in counts:
                counts["never arrived"] = max(0, frames - counts["received"])
            for key, count in counts.items():
                if count and (key.startswith("dropped_") or key in _LOSSES):
                    found.setdefault(key.removeprefix("dropped_"), {})[where.removeprefix("camera ")] = count
        return found

    def _on_objects(self, message: TrackedObject3DArray) -> None:
        self._messages.append((time.monotonic_ns(), message))

    def _on_camera(self, message: CameraInfo) -> None:
        self.seen_ns[stamp_ns(message.header.stamp)] = time.monotonic_ns()

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        self._last_diagnostics_ns = time.monotonic_ns()
        for status in message.status:
            self.diagnostics[status.name] = {item.key: item.value for item in status.values}
