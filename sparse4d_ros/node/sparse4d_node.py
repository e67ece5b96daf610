"""The lifecycle node: load the model on configure, subscribe on activate, release on cleanup. Wiring only."""

from __future__ import annotations

import functools
import gc
import time
import traceback
from collections.abc import Callable
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.timer import Timer
from std_srvs.srv import SetBool, Trigger

from sparse4d_ros.errors import UserError
from sparse4d_ros.msg import ModelInfo
from sparse4d_ros.node import diagnostics, qos, topics
from sparse4d_ros.node.ego_jump import JumpDetector
from sparse4d_ros.node.engine_loader import load_engine
from sparse4d_ros.node.log import ThrottledLog
from sparse4d_ros.node.outputs import Outputs
from sparse4d_ros.node.parameter_server import ParameterServer
from sparse4d_ros.node.pipeline import Statistics
from sparse4d_ros.node.session import Session
from sparse4d_ros.node.settings import Settings

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE

#: How long deactivation waits for the frame in work. With it, clean exit stays within 5 s.
_STOP_TIMEOUT_S = 2.0


def _told(transition: Callable[[Sparse4DNode, LifecycleState], TransitionCallbackReturn]) -> Callable:
    """The transition; what it raises is logged and in the diagnostics, since rclpy does not say it."""
    @functools.wraps(transition)
    def told(node: Sparse4DNode, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            return transition(node, state)
        except Exception as error:
            node._statistics.failure = f"{transition.__name__} failed: {type(error).__name__}: {error}"
            node.get_logger().error(node._statistics.failure)
            node.get_logger().debug(traceback.format_exc())
            raise
    return told


class Sparse4DNode(LifecycleNode):
    """Six cameras in, tracked objects out. UserError from the constructor names a wrong parameter."""

    def __init__(self, engine_factory: Callable[[Settings], Any] = load_engine, **node_arguments: Any) -> None:
        try:
            super().__init__(topics.NODE_NAME, automatically_declare_parameters_from_overrides=True, **node_arguments)
        except ValueError as error:  # rclpy cannot take it, and does not say which
            raise UserError(f"A parameter is an empty list; leave it out for its default. ({error})") from error
        try:
            self._parameter_server = ParameterServer(self)
        except UserError:
            self.destroy_node()
            raise
        #: Why the node cannot go on, for `main` to exit with; empty while it can.
        self.fatal = ""
        self._engine_factory = engine_factory
        self._engine: Any = None
        self._state: Any = None  # of the engine; outlives it, so that ids and epoch go on
        self._jumps: JumpDetector  # made when configuring, outlives sessions
        self._outputs: Outputs | None = None
        self._session: Session | None = None
        self._hung: list[Session] = []  # stopped, with a frame that did not end in time
        self._enabled = True
        self._ended = False
        self._rejected = 0, 0  # transforms refused until the last report, and when they became so many (steady ns)
        self._log = ThrottledLog(self.get_logger())
        self._statistics = Statistics()
        self._model_info = self.create_publisher(ModelInfo, topics.MODEL_INFO, qos.profile("latched"))
        self._diagnostics = self.create_publisher(DiagnosticArray, topics.DIAGNOSTICS, qos.profile("diagnostics"))
        self.create_service(Trigger, topics.RESET, self._on_reset)
        self.create_service(SetBool, topics.SET_ENABLED, self._on_set_enabled)
        self._give_up = self.create_guard_condition(self._on_exhausted)
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(self.settings.diagnostics_period_s, self._publish_diagnostics, clock=self._steady)
        if self.settings.autostart:
            self._autostart: Timer = self.create_timer(0.0, self._on_autostart, clock=self._steady)

    @property
    def settings(self) -> Settings:
        """The parameter values in force."""
        return self._parameter_server.settings

    # Transitions

    @_told
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model and announce it."""
        try:
            self._engine = self._engine_factory(self.settings)
            if self.settings.model_warmup_runs:
                self._engine.warmup(self.settings.model_warmup_runs)
            self._state = self._engine.initial_state() if self._state is None else self._engine.reset(self._state)
        except UserError as error:
            return self._configure_failed(str(error))
        except Exception as error:  # a driver or a runtime library: the node can be configured again
            self.get_logger().debug(traceback.format_exc())
            return self._configure_failed(f"loading the model failed: {type(error).__name__}: {error}")
        package = self._engine.package
        self._jumps = JumpDetector(self.settings.max_ego_jump_m, self.settings.max_ego_jump_deg)
        self._outputs = Outputs(self, self.settings, package.classes, package.interval_range_s)
        self._statistics.failure, self._statistics.failures_in_row = "", 0
        self._model_info.publish(ModelInfo(
            name=package.name, version=str(package.version), backend=self._engine.backend_name,
            precision=self.settings.model_precision, classes=list(package.classes)))
        self.get_logger().info(f"model {package.name} {package.version} on {self._engine.backend_name}, "
                               f"{len(self.settings.cameras)} cameras")
        return super().on_configure(state)

    @_told
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe and start the worker."""
        if self._hung_in(self._engine):
            self.get_logger().error("the frame of the last activation still hangs in the network; clean up and "
                                    "configure the node, or restart the process")
            return FAILURE
        self._session = Session(self, lambda: self.settings, self._engine, self._state, self._jumps, self._outputs,
                                self._statistics, self._log, self._give_up.trigger)
        self._session.set_enabled(self._enabled)
        # A full collection over all that is loaded stops every thread for tens of milliseconds: leave
        # what exists now out of it. Undone when the session ends.
        gc.freeze()
        return super().on_activate(state)

    @_told
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe, finish the frame in work, take the markers off the displays."""
        self._stop_session()
        return super().on_deactivate(state)

    @_told
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release the model and the device memory."""
        self._release()
        return super().on_cleanup(state)

    @_told
    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Whatever is running ends, whatever is loaded is released."""
        self._ended = True
        self._stop_session()
        self._release()
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """A transition raised: back to unconfigured, from where the node can be configured again."""
        self._stop_session()
        self._release()
        return SUCCESS

    def close(self) -> bool:
        """End everything for good; False if a frame hangs in the network and the process should not wait for it."""
        if not self._ended:  # by the lifecycle service, before
            self.trigger_shutdown()
        return all(session.worker.stop(0.0) for session in self._hung)

    def _configure_failed(self, text: str) -> TransitionCallbackReturn:
        self.get_logger().error(text)
        self._statistics.failure = text
        self._release()
        return FAILURE

    def _stop_session(self) -> None:
        if self._session is None:
            return
        session, self._session = self._session, None
        stopped = session.stop(_STOP_TIMEOUT_S)
        self._state = session.state  # also of one that hangs: its earlier frames have given out ids
        if not stopped:
            self._hung.append(session)
            self.get_logger().error("the frame in work did not end in time: the network hangs")
        self._outputs.clear_markers()
        del session
        gc.unfreeze()
        gc.collect()  # the session sits in a cycle of callbacks, and was frozen with everything else

    def _release(self) -> None:
        if self._outputs is not None:
            self._outputs.destroy()
            self._outputs = None
        engine, self._engine = self._engine, None
        hung = self._hung_in(engine)
        if hung is not None:
            hung.worker.at_end(engine.close)  # never under the feet of a frame that hangs
        elif engine is not None:
            try:
                if self._state is not None:
                    self._state = engine.reset(self._state)  # its bank may lie on the device
            finally:
                engine.close()
        del engine, hung
        gc.collect()  # device memory goes with the last reference, which may sit in a cycle of callbacks

    def _hung_in(self, engine: Any) -> Session | None:
        """The stopped session whose frame still hangs in this engine."""
        self._hung = [session for session in self._hung if not session.worker.stop(0.0)]
        return next((session for session in self._hung if session.engine is engine), None)

    # Callbacks, all in the executor's thread

    def _on_autostart(self) -> None:
        self.destroy_timer(self._autostart)
        if self.trigger_configure() != SUCCESS:
            self.fatal = self._statistics.failure or "the node could not be configured"
        elif self.trigger_activate() != SUCCESS:
            self.fatal = self._statistics.failure or "the node could not be activated"

    def _on_exhausted(self) -> None:
        if self._session is None:
            return
        self.get_logger().error(f"{self.settings.max_consecutive_failures} frames failed in a row: deactivating and "
                                "freeing the device; configure and activate the node to try again")
        failure = self._statistics.failure
        if self.trigger_deactivate() == SUCCESS:  # else it is unconfigured already
            self.trigger_cleanup()
        self._statistics.failure = failure

    def _on_reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success = self._session is not None
        response.message = "the instance bank is emptied before the next frame" if response.success else \
            "the node is not active"
        if response.success:
            self._session.reset("service")
        return response

    def _on_set_enabled(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self._enabled = request.data
        if self._session is not None:
            self._session.set_enabled(request.data)
        response.success, response.message = True, "enabled" if request.data else "disabled: images are ignored"
        return response

    def _publish_diagnostics(self) -> None:
        message, settings, pipeline = DiagnosticArray(), self.settings, self._snapshot()
        message.header.stamp = self.get_clock().now().to_msg()
        if self._session is not None:
            message.status = [diagnostics.camera_status(camera, settings)
                              for camera in self._session.camera_snapshots()]
        message.status += [diagnostics.ego_status(pipeline), diagnostics.model_status(pipeline, settings),
                           diagnostics.bank_status(pipeline)]
        for status in message.status:
            status.name = f"{self.get_name()}: {status.name}"
            status.hardware_id = self.get_fully_qualified_name()
        self._diagnostics.publish(message)

    def _snapshot(self) -> diagnostics.PipelineSnapshot:
        session, engine = self._session, self._engine
        with self._statistics.lock:
            counted = self._statistics
            now_ns = time.monotonic_ns()
            age_ms = None if counted.output_ns is None else (now_ns - counted.output_ns) / 1e6
            rejected = session.transforms.rejected if session else 0
            if rejected != self._rejected[0]:
                self._rejected = rejected, now_ns
            silent_ns = now_ns - max(counted.output_ns or 0, session.started_ns) if session else 0
            return diagnostics.PipelineSnapshot(
                lifecycle="active" if session else "inactive" if engine else
                "finalized" if self._ended else "unconfigured", enabled=self._enabled,
                waiting_clock=self.get_clock().ros_time_is_active and self.get_clock().now().nanoseconds == 0,
                ego_error=counted.ego_error, ego_warning=counted.ego_warning,
                ego_dropped=counted.drops["ego_motion"],
                transforms_rejected=rejected, transform_rejection_age_s=(now_ns - self._rejected[1]) / 1e9,
                transform_rejection=session.transforms.last_rejection if session else "",
                model=engine.package.name if engine else "", backend=engine.backend_name if engine else "",
                precision=self.settings.model_precision,
                totals_ms=tuple(counted.totals_ms), delays_ms=tuple(counted.delays_ms),
                busy_s=session.worker.busy_s() if session else 0.0, failure=counted.failure,
                failures_in_row=counted.failures_in_row,
                drops={**counted.drops, "newer_set": session.worker.replaced if session else 0,
                       "incomplete_set": session.inputs.synchronizer.sets_dropped if session else 0},
                objects=counted.objects, epoch=counted.epoch, resets=dict(counted.resets), output_age_ms=age_ms,
                silent_s=silent_ns / 1e9)
