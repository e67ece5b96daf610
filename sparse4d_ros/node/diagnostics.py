"""What /diagnostics says: one status per camera, one each for ego motion, model and bank.

Plain snapshots go in, so that every sentence can be tested without a running node. Publishing is by
a timer on the steady clock (`sparse4d_node`): silence of the cameras must not silence the diagnostics.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from sparse4d_ros.node.cameras import CameraState, CameraStatus
from sparse4d_ros.node.settings import Settings

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR

#: A stamp this far ahead of the node's clock, or this old, is a matter of clocks, not of speed.
_FUTURE_MS, _OTHER_CLOCK_MS = 1e3, 60e3
#: Without output for so long, and for longer than the bank remembers, an active node does not do its work.
_SILENCE_S = 2.0
#: How long a transform that was refused is a warning.
_REJECTION_SHOWN_S = 10.0


@dataclass(frozen=True)
class CameraSnapshot:
    """A camera at the moment of reporting."""

    name: str
    status: CameraStatus
    topic: str
    publishers: int
    #: By how much its clock seems ahead of most cameras'; None if unknown.
    offset_ms: float | None
    #: Its last stamp minus the node's clock; None while either is unknown.
    ahead_ms: float | None
    #: What became of its images, by the names of synchronizer.Counters.
    counters: Mapping[str, int]


@dataclass(frozen=True)
class PipelineSnapshot:
    """Everything behind the cameras at the moment of reporting."""

    lifecycle: str
    enabled: bool
    #: Simulated time is asked for and has not begun.
    waiting_clock: bool
    #: Text of the last failed transform lookup; empty while lookups succeed.
    ego_error: str
    #: Text of the lookup that failed for the last frame, which parameters let pass all the same.
    ego_warning: str
    ego_dropped: int
    #: Transforms refused (NaN, not a unit quaternion), and why the last one was.
    transforms_rejected: int
    transform_rejection: str
    #: Steady seconds since then.
    transform_rejection_age_s: float
    #: Empty while no model is loaded.
    model: str
    backend: str
    precision: str
    #: Milliseconds of recent frames, set complete to published, and stamp to published.
    totals_ms: tuple[float, ...]
    delays_ms: tuple[float, ...]
    busy_s: float
    #: The last failure of the network, and how many came in a row.
    failure: str
    failures_in_row: int
    drops: Mapping[str, int]
    objects: int
    epoch: int
    resets: Mapping[str, int]
    #: Steady milliseconds since the last output; None before the first.
    output_age_ms: float | None
    #: Steady seconds since the last output or the activation, whichever came later; 0 while not active.
    silent_s: float


def camera_status(camera: CameraSnapshot, settings: Settings) -> DiagnosticStatus:
    """A camera's entry: its state, or what keeps it from being used."""
    name, status = camera.name, camera.status
    level, text = ERROR, f"camera {name}: {status.text or status.state.value}"
    if status.state in (CameraState.WAITING_IMAGE, CameraState.STALE):
        text += f"; {_source(camera)}"
    elif status.state is CameraState.ACTIVE:
        level, text = OK, f"camera {name}: active"
        if camera.offset_ms is not None and abs(camera.offset_ms) > settings.max_stamp_spread_ms:
            level, text = ERROR, (f"camera {name}: its stamps are {camera.offset_ms:+.0f} ms off those of the other "
                                  "cameras; check its clock")
        elif camera.ahead_ms is not None and camera.ahead_ms > _FUTURE_MS:
            level, text = WARN, (f"camera {name}: its stamps are {camera.ahead_ms / 1e3:.1f} s ahead of the node's "
                                 "clock; check both clocks")
    values = {"state": status.state.value, "topic": camera.topic, "publishers": camera.publishers,
              "age_ms": _number(status.age_ms), "rate_hz": _number(status.rate_hz, 1),
              "offset_ms": _number(camera.offset_ms, 1), "images": status.images,
              "images_rejected": status.images_rejected, "camera_infos": status.camera_infos,
              "camera_infos_rejected": status.camera_infos_rejected, **camera.counters}
    return _status(f"camera {name}", level, text, values)


def _source(camera: CameraSnapshot) -> str:
    if camera.publishers == 0:
        return f"nobody publishes {camera.topic}"
    return (f"{camera.topic} has a publisher: if that one is alive, images arrive incomplete or not at all; "
            "check the transport profile (FASTRTPS_DEFAULT_PROFILES_FILE)")


def ego_status(pipeline: PipelineSnapshot) -> DiagnosticStatus:
    """Ego motion: the text of the last lookup error, or OK."""
    level, text = OK, "no lookup failed"
    if pipeline.ego_error:
        level, text = ERROR, pipeline.ego_error
    elif pipeline.ego_warning:
        level, text = WARN, f"{pipeline.ego_warning}; the frame was used all the same, its flags say how"
    elif pipeline.transforms_rejected and pipeline.transform_rejection_age_s < _REJECTION_SHOWN_S:
        level, text = WARN, pipeline.transform_rejection
    return _status("ego motion", level, text, {
        "sets_dropped": pipeline.ego_dropped, "transforms_rejected": pipeline.transforms_rejected,
        "last_rejection": pipeline.transform_rejection})


def model_status(pipeline: PipelineSnapshot, settings: Settings) -> DiagnosticStatus:
    """Model: backend, latency, watchdog, failures, and where frames went."""
    # Of frames from before the simulated time began no delay is known.
    totals, delays = np.array(pipeline.totals_ms), np.array([x for x in pipeline.delays_ms if np.isfinite(x)])
    values = {
        "lifecycle": pipeline.lifecycle, "enabled": pipeline.enabled, "model": pipeline.model,
        "backend": pipeline.backend, "precision": pipeline.precision,
        "latency_p50_ms": _percentile(totals, 50), "latency_p95_ms": _percentile(totals, 95),
        "sensor_to_publish_p50_ms": _percentile(delays, 50), "busy_ms": f"{pipeline.busy_s * 1e3:.0f}",
        "output_age_ms": _number(pipeline.output_age_ms), "failures_in_row": pipeline.failures_in_row,
        **{f"dropped_{reason}": count for reason, count in pipeline.drops.items()},
    }
    return _status("model", *_model_level(pipeline, settings, delays), values)


def _model_level(pipeline: PipelineSnapshot, settings: Settings, delays: np.ndarray) -> tuple[bytes, str]:
    if pipeline.busy_s * 1e3 > settings.max_processing_time_ms:
        return ERROR, (f"watchdog: a frame has been in work for {pipeline.busy_s:.1f} s "
                       f"(limit {settings.max_processing_time_ms:.0f} ms)")
    if pipeline.failure:
        return ERROR, pipeline.failure
    if pipeline.lifecycle != "active":
        return WARN, f"node is {pipeline.lifecycle}"
    if not pipeline.enabled:
        return WARN, "disabled by ~/set_enabled"
    if pipeline.waiting_clock:
        return WARN, "use_sim_time is set but nothing publishes /clock; timeouts run on the steady clock meanwhile"
    if pipeline.silent_s > max(_SILENCE_S, settings.max_interval_s):
        return ERROR, (f"nothing was published for {pipeline.silent_s:.0f} s: cameras, ego motion and the dropped_... "
                       "counters say why")
    delay_ms = float(np.median(delays)) if len(delays) else 0.0
    if delay_ms < -_FUTURE_MS or delay_ms > _OTHER_CLOCK_MS:
        return WARN, (f"image stamps are {-delay_ms / 1e3:+.1f} s off the node's clock: check the cameras' clocks; "
                      "for a recording, use_sim_time and /clock")
    if delay_ms > settings.sustained_delay_ms:
        return WARN, (f"outputs come {delay_ms:.0f} ms after their images "
                      f"(limit {settings.sustained_delay_ms:.0f} ms)")
    return OK, "running" if pipeline.output_age_ms is not None else "ready, no frame yet"


def bank_status(pipeline: PipelineSnapshot) -> DiagnosticStatus:
    """Instance bank: objects, epoch, resets and why."""
    return _status("instance bank", OK, f"{pipeline.objects} objects, epoch {pipeline.epoch}",
                   {"objects": pipeline.objects, "epoch": pipeline.epoch,
                    **{f"resets_{reason}": count for reason, count in pipeline.resets.items()}})


def _status(name: str, level: bytes, text: str, values: Mapping[str, object]) -> DiagnosticStatus:
    return DiagnosticStatus(name=name, level=level, message=text,
                            values=[KeyValue(key=key, value=str(value)) for key, value in values.items()])


def _number(value: float | None, decimals: int = 0) -> str:
    return "unknown" if value is None else f"{value:.{decimals}f}"


def _percentile(values: np.ndarray, percent: float) -> str:
    return f"{np.percentile(values, percent):.1f}" if len(values) else "unknown"
