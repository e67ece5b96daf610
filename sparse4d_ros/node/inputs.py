"""Camera subscriptions feeding the synchronizer. Callbacks keep a reference and return: no decoding here."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import qos_policy_name_from_kind
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ModuleNotFoundError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks

from sparse4d_ros.node import messages, qos, topics
from sparse4d_ros.node.cameras import Camera, CameraError
from sparse4d_ros.node.pipeline import Log
from sparse4d_ros.node.settings import Settings
from sparse4d_ros.node.synchronizer import FrameSet, Synchronizer

#: Bounds how often the timer can fire, whatever the deadline.
_SHORTEST_NS = 1_000_000


class CameraInputs:
    """Subscribes every camera; ``on_set`` gets each closed set.

    Where a camera's stamps go back by more than a small step, ``on_backward`` gets the time (ns) halfway between what
    was and what is; ``on_epoch`` is told when the sets before are worthless.
    """

    def __init__(self, node: Node, settings: Settings, cameras: dict[str, Camera],
                 on_set: Callable[[FrameSet], None], on_backward: Callable[[int], None],
                 on_epoch: Callable[[], None], log: Log) -> None:
        self._node, self._cameras, self._log = node, cameras, log
        self._on_set, self._on_backward, self._on_epoch = on_set, on_backward, on_epoch
        self._jump_ns = round(settings.reset_on_backward_jump_ms * 1e6)
        self.enabled = True
        self.synchronizer = Synchronizer(
            settings.cameras, settings.reference_camera, max_stamp_spread_ms=settings.max_stamp_spread_ms,
            max_wait_ms=settings.max_wait_ms, min_cameras=settings.required_cameras,
            reset_on_backward_jump_ms=settings.reset_on_backward_jump_ms)
        self._epoch = self.synchronizer.epoch
        #: Resolved topic of each camera's images, for diagnostics.
        self.topics: dict[str, str] = {}
        #: Stamp of each camera's last image, whatever became of it.
        self.stamps_ns: dict[str, int] = {}
        self._deadline_ns: int | None = None
        with ExitStack() as made:  # all or nothing
            for name in settings.cameras:
                self._subscribe(name, settings, made)
            # Steady: a paused bag stops the node's clock, not the waiting. Armed only while a set waits.
            self._timer = node.create_timer(1.0, self._poll, clock=Clock(clock_type=ClockType.STEADY_TIME))
            made.callback(node.destroy_timer, self._timer)
            self._timer.cancel()
            self._made = made.pop_all()

    def destroy(self) -> None:
        """Remove the subscriptions and the timer; what waits in the synchronizer is forgotten."""
        self._made.close()
        self.synchronizer.reset()

    def forget(self) -> None:
        """Time ran backwards by the node's clock: what waits belongs to the past."""
        self.synchronizer.reset()
        self._epoch = self.synchronizer.epoch

    def _subscribe(self, name: str, settings: Settings, made: ExitStack) -> None:
        camera = self._cameras[name]

        def on_incompatible_qos(event: object) -> None:
            camera.on_qos_mismatch(qos_policy_name_from_kind(event.last_policy_kind).removeprefix("QOS_POLICY_"))

        kind = CompressedImage if settings.image_transport == "compressed" else Image
        images = self._node.create_subscription(
            kind, topics.image(name, settings.image_transport), lambda message: self._on_image(name, camera, message),
            qos.profile(settings.input_qos),
            event_callbacks=SubscriptionEventCallbacks(incompatible_qos=on_incompatible_qos))
        made.callback(self._node.destroy_subscription, images)
        infos = self._node.create_subscription(
            CameraInfo, topics.camera_info(name), lambda message: self._on_info(name, camera, message),
            qos.profile("camera_info"))
        made.callback(self._node.destroy_subscription, infos)
        self.topics[name] = images.topic_name

    def _on_image(self, name: str, camera: Camera, message: Image | CompressedImage) -> None:
        now_ns = time.monotonic_ns()
        camera.on_image(now_ns)
        stamp_ns, before_ns = messages.nanoseconds(message.header.stamp), self.stamps_ns.get(name, 0)
        if 0 < stamp_ns < before_ns - self._jump_ns:
            self._on_backward((stamp_ns + before_ns) // 2)
        self.stamps_ns[name] = stamp_ns
        if self.enabled:
            self._take(self.synchronizer.add(name, stamp_ns, message, now_ns))
            self._arm(now_ns)

    def _on_info(self, name: str, camera: Camera, message: CameraInfo) -> None:
        try:
            notice = camera.on_camera_info(message)
        except CameraError as error:
            self._log.error(f"camera_info_{name}", str(error))
            return
        if notice and camera.distortion_ignored:
            self._log.warning(f"distortion_{name}", notice)
        elif notice:
            self._log.info(notice)

    def _poll(self) -> None:
        now_ns = time.monotonic_ns()
        if self.enabled:
            self._take(self.synchronizer.poll(now_ns))
        self._deadline_ns = None  # it has passed, or the timer came a little early: arm anew
        self._timer.cancel()
        self._arm(now_ns)

    def _arm(self, now_ns: int) -> None:
        """Have `_poll` called when the set that has waited longest must be closed."""
        deadline_ns = self.synchronizer.next_deadline_ns() if self.enabled else None
        if deadline_ns == self._deadline_ns:
            return
        self._deadline_ns = deadline_ns
        if deadline_ns is None:
            self._timer.cancel()
        else:
            self._timer.timer_period_ns = max(_SHORTEST_NS, deadline_ns - now_ns)
            self._timer.reset()

    def _take(self, frame_set: FrameSet | None) -> None:
        if self.synchronizer.epoch != self._epoch:
            self._epoch = self.synchronizer.epoch
            self._on_epoch()
        if frame_set is not None:
            self._on_set(frame_set)
