"""Every parameter of the node, each declared once: name, type, default, meaning, range, read-only or not.

The dataclass `Settings` is that list. What rclpy is told (`parameter_server`), what the annotated
file in `config/` holds and the table in the documentation are all derived from it;
``python -m sparse4d_ros.node.parameters`` prints the table. No ROS import here.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sparse4d_ros.errors import UserError

#: Model order of the cameras of the nuScenes rig.
NUSCENES_CAMERAS = ("front", "front_right", "front_left", "back", "back_left", "back_right")

#: Parameters that rclpy itself declares on every node.
ROS_PARAMETERS = ("use_sim_time", "start_type_description_service")
ROS_PREFIXES = ("qos_overrides.",)


@dataclass(frozen=True)
class Spec:
    """What is known about one parameter beside its type and default, which the dataclass field holds."""

    name: str
    description: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    runtime: bool = False  #: may be set while the node runs
    optional: bool = False  #: an empty text is allowed
    per: str = ""  #: "camera" or "class": one parameter `name.<camera>` for each, all of the mapping's value type


def _parameter(default: Any, name: str, description: str, **more: Any) -> Any:
    spec = {"spec": Spec(name, description, **more)}
    if isinstance(default, dict):
        return field(default_factory=dict, metadata=spec | {"type": type(next(iter(default.values())))})
    return field(default=default, metadata=spec | {"type": type(default)})


@dataclass(frozen=True)
class Settings:
    """The values of all parameters, checked; immutable, so that a running frame sees one consistent set."""

    autostart: bool = _parameter(
        True, "autostart", "Configure and activate as soon as the node spins; otherwise wait for lifecycle services.")

    cameras: tuple[str, ...] = _parameter(
        NUSCENES_CAMERAS, "cameras", "Camera names in the model's order; the order pairs an image with its matrix.")
    reference_camera: str = _parameter(
        "front", "reference_camera", "The camera whose stamp a frame set carries; one of `cameras`.")
    image_transport: str = _parameter(
        "raw", "image_transport", "`raw` subscribes ~/input/<camera>/image, `compressed` .../image/compressed.",
        choices=("raw", "compressed"))
    input_qos: str = _parameter(
        "sensor_data", "input_qos", "Reliability of the camera subscriptions: `sensor_data` is best effort.",
        choices=("sensor_data", "reliable"))
    camera_frames: Mapping[str, str] = _parameter(
        {"": ""}, "camera_frames", "Optical frame of a camera, in place of its images' header.frame_id; a camera whose "
        "driver sends another non-empty frame_id is then refused.", per="camera")
    undistort: bool = _parameter(
        False, "undistort", "Undistort images whose camera_info has distortion; otherwise one warning is given.")

    output_frame: str = _parameter("base_link", "output_frame", "Frame of everything that is published.")
    base_frame: str = _parameter("base_link", "base_frame", "The vehicle's frame: x forward, y left, z up (REP-105).")
    fixed_frame: str = _parameter(
        "odom", "fixed_frame", "Continuous frame for ego motion (REP-105); a jump of `map` would be read as motion.")

    max_stamp_spread_ms: float = _parameter(
        100.0, "max_stamp_spread_ms", "A camera belongs to a set if its stamp is this near the reference camera's.",
        low=0.0, high=1000.0)
    max_wait_ms: float = _parameter(
        60.0, "max_wait_ms", "Steady time to wait for the other cameras once the reference image is there.",
        low=0.0, high=5000.0)
    min_cameras: int = _parameter(
        0, "min_cameras", "Fewest cameras of a usable set; 0 means all of them.", low=0, high=32)
    reset_on_backward_jump_ms: float = _parameter(
        500.0, "reset_on_backward_jump_ms", "A backward step of stamps or clock above this empties everything (bag "
        "loop); a smaller one only drops the frame.", low=0.0, high=60000.0)
    rate_policy: str = _parameter(
        "every", "rate_policy", "`every` set is used, or with `stride` only each n-th, so that the interval is near "
        "the one the model was trained at.", choices=("every", "stride"))

    tf_timeout_ms: float = _parameter(
        50.0, "tf_timeout_ms", "How long a set waits, in the worker, for its transforms.", low=0.0, high=5000.0)
    ego_motion_policy: str = _parameter(
        "require", "ego_motion_policy", "Without a pose in the fixed frame: `require` drops the set, `no_history` uses "
        "it with an emptied bank and the flag NO_HISTORY.", choices=("require", "no_history"))
    max_ego_extrapolation_ms: float = _parameter(
        0.0, "max_ego_extrapolation_ms", "How far past the newest pose ego motion may be continued, flagged; 0 never.",
        low=0.0, high=1000.0)
    max_ego_jump_m: float = _parameter(
        10.0, "max_ego_jump_m", "A step of the fixed frame above this, beyond the motion expected from the pose "
        "before, resets the bank.", low=0.0, high=1e6)
    max_ego_jump_deg: float = _parameter(
        45.0, "max_ego_jump_deg", "The same for rotation.", low=0.0, high=180.0)
    max_interval_s: float = _parameter(
        2.0, "max_interval_s", "A longer gap between sets restarts the instance bank.", low=0.01, high=60.0)

    model_package: str = _parameter(
        "sparse4d_small", "model.package", "Model package: a folder, or the name of one shipped in models/.")
    model_backend: str = _parameter(
        "auto", "model.backend", "What computes the network; `auto` takes the best one that runs here.",
        choices=("auto", "onnxruntime", "torch", "tensorrt"))
    model_device: str = _parameter(
        "", "model.device", "Device of the backend, for example `cpu` or `cuda:0`; empty lets the backend choose, a "
        "device that is not there fails.", optional=True)
    model_precision: str = _parameter(
        "fp32", "model.precision", "Arithmetic of the network.", choices=("fp32", "fp16", "int8"))
    model_warmup_runs: int = _parameter(
        2, "model.warmup_runs", "Runs on empty images while configuring, so that the first frame is not slow.",
        low=0, high=100)
    max_consecutive_failures: int = _parameter(
        10, "max_consecutive_failures", "So many failed inferences in a row deactivate the node and free the device.",
        low=1, high=100000)

    score_threshold: float = _parameter(
        0.3, "score_threshold", "Objects below this score are not published.", low=0.0, high=1.0)
    class_score_thresholds: Mapping[str, float] = _parameter(
        {"": 0.3}, "class_score_thresholds", "The same for one class of the model.", low=0.0, high=1.0, per="class")
    max_objects: int = _parameter(300, "max_objects", "Most objects published per frame.", low=1, high=10000)
    max_range_m: float = _parameter(
        55.0, "max_range_m", "Objects further from the vehicle, seen from above, are not published.",
        low=1.0, high=1000.0)

    publish_detections: bool = _parameter(
        True, "publish_detections", "Publish ~/output/detections (vision_msgs) too.", runtime=True)
    publish_markers: bool = _parameter(
        True, "publish_markers", "Publish ~/output/markers while somebody subscribes.", runtime=True)
    publish_overlay: bool = _parameter(
        False, "publish_overlay", "Publish ~/debug/<camera>/overlay while somebody subscribes.", runtime=True)
    marker_lifetime_s: float = _parameter(
        0.0, "marker_lifetime_s", "Markers vanish after this; 0 means two measured periods.",
        low=0.0, high=60.0, runtime=True)

    max_image_age_ms: float = _parameter(
        500.0, "diagnostics.max_image_age_ms", "A camera without a new image for longer is stale.",
        low=1.0, high=60000.0)
    max_processing_time_ms: float = _parameter(
        1000.0, "diagnostics.max_processing_time_ms", "A frame in work for longer raises the watchdog's ERROR.",
        low=1.0, high=600000.0)
    sustained_delay_ms: float = _parameter(
        500.0, "diagnostics.sustained_delay_ms", "Median time from image stamp to output above this is a WARN.",
        low=1.0, high=600000.0)
    diagnostics_period_s: float = _parameter(
        1.0, "diagnostics.period_s", "Period of /diagnostics, on the steady clock.", low=0.05, high=60.0)

    @property
    def required_cameras(self) -> int:
        """Fewest cameras of a usable set, as a number of cameras."""
        return self.min_cameras or len(self.cameras)


FIELDS = dataclasses.fields(Settings)
_BY_NAME = {f.metadata["spec"].name: f for f in FIELDS}


def field_of(name: str) -> dataclasses.Field | None:
    """The field that a parameter name belongs to, or None: `camera_frames.front` belongs to `camera_frames`."""
    found = _BY_NAME.get(name)
    if found is not None:
        return None if found.metadata["spec"].per else found
    group, _, member = name.rpartition(".")
    found = _BY_NAME.get(group)
    return found if found is not None and found.metadata["spec"].per and member else None


def read_only(name: str) -> bool:
    """Whether a parameter is fixed once the node runs."""
    found = field_of(name)
    return found is not None and not found.metadata["spec"].runtime


def checked_value(name: str, value: Any) -> Any:
    """The value in the parameter's own type; UserError naming the parameter if it does not fit."""
    found = field_of(name)
    if found is None:
        near = difflib.get_close_matches(name, _BY_NAME, n=1, cutoff=0.6)
        hint = f" Did you mean '{near[0]}'?" if near else " `ros2 param describe` and the README list all parameters."
        raise UserError(f"The parameter '{name}' does not exist.{hint}")
    spec: Spec = found.metadata["spec"]
    value = _typed(name, value, found.metadata["type"])
    if spec.choices and value not in spec.choices:
        raise UserError(f"The parameter '{name}' is '{value}'; it must be one of {', '.join(spec.choices)}.")
    if spec.low is not None and not spec.low <= value <= spec.high:
        raise UserError(f"The parameter '{name}' is {value}; it must be between {spec.low:g} and {spec.high:g}.")
    if value == "" and not spec.optional:
        raise UserError(f"The parameter '{name}' is empty; give it a value or leave it out for its default.")
    return value


def _typed(name: str, value: Any, kind: type) -> Any:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)  # `score_threshold: 1` in YAML is an integer to ROS
    if kind is tuple and not isinstance(value, str) and hasattr(value, "__iter__"):
        value = tuple(value)
        if all(isinstance(item, str) and item for item in value):
            return value
    elif type(value) is kind and not (kind is float and not math.isfinite(value)):
        return value
    wanted = {float: "a finite number", int: "an integer", bool: "true or false", str: "a text",
              tuple: "a list of names"}[kind]
    raise UserError(f"The parameter '{name}' is {value!r}; it must be {wanted}.")


def settings_from(values: Mapping[str, Any]) -> Settings:
    """Settings of given parameter values, the rest default; UserError naming the first that is wrong."""
    arguments: dict[str, Any] = {}
    for name, value in values.items():
        value = checked_value(name, value)
        found = field_of(name)
        if found.metadata["spec"].per:
            arguments.setdefault(found.name, {})[name.rpartition(".")[2]] = value
        else:
            arguments[found.name] = value
    settings = Settings(**arguments)
    _check_together(settings)
    return settings


def _check_together(settings: Settings) -> None:
    names = settings.cameras
    if not 1 <= len(names) <= 32:  # camera_mask has 32 bits
        raise UserError(f"The parameter 'cameras' names {len(names)} cameras; it must name 1 to 32.")
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise UserError(f"The parameter 'cameras' names '{min(twice)}' twice; every camera needs a name of its own.")
    for name in names:
        if not name.replace("_", "a").isalnum() or not name.isascii() or name[0].isdigit():
            raise UserError(f"The parameter 'cameras' holds '{name}', which cannot be part of a topic name: use "
                            "letters, digits and underscores, not beginning with a digit.")
    if settings.reference_camera not in names:
        raise UserError(f"The parameter 'reference_camera' is '{settings.reference_camera}'; it must be one of "
                        f"'cameras': {', '.join(names)}.")
    if settings.min_cameras > len(names):
        raise UserError(f"The parameter 'min_cameras' is {settings.min_cameras}, but 'cameras' names {len(names)}.")
    for name in settings.camera_frames:
        if name not in names:
            raise UserError(f"The parameter 'camera_frames.{name}' names no camera of 'cameras': {', '.join(names)}.")


def yaml_text(value: Any) -> str:
    """A parameter value as YAML would write it."""
    if isinstance(value, tuple):
        return f"[{', '.join(value)}]"
    return json.dumps(value) if value == "" or isinstance(value, bool) else str(value)


def markdown_table() -> str:
    """All parameters as a table for the documentation."""
    lines = ["| parameter | type | default | range | while running | meaning |", "| --- " * 6 + "|"]
    kinds = {float: "double", int: "integer", bool: "bool", str: "string", tuple: "string[]"}
    for item in FIELDS:
        spec: Spec = item.metadata["spec"]
        name = f"{spec.name}.<{spec.per}>" if spec.per else spec.name
        default = "" if spec.per else f"`{yaml_text(item.default)}`"
        limits = f"{spec.low:g} to {spec.high:g}" if spec.low is not None else ", ".join(f"`{c}`" for c in spec.choices)
        lines.append(f"| `{name}` | {kinds[item.metadata['type']]} | {default} | {limits} | "
                     f"{'settable' if spec.runtime else 'read-only'} | {spec.description} |")
    return "\n".join(lines) + "\n"


def parameter_file() -> str:
    """All parameters at their defaults as an annotated ROS parameter file."""
    lines = ["# Parameters of sparse4d_node with their defaults: `--ros-args --params-file <this file>`.",
             "# Written by `python -m sparse4d_ros.node.parameters --yaml`.", "/**:", "  ros__parameters:"]
    group = ""
    for item in FIELDS:
        spec: Spec = item.metadata["spec"]
        parent, _, name = spec.name.rpartition(".")
        if parent != group and parent:
            lines += ["", f"    {parent}:"]
        elif not parent:
            lines.append("")
        group, indent = parent, "      " if parent else "    "
        limits = f" From {spec.low:g} to {spec.high:g}." if spec.low is not None else ""
        limits += f" One of {', '.join(spec.choices)}." if spec.choices else ""
        lines += textwrap.wrap(spec.description + limits + (" May be set at run time." if spec.runtime else ""), 110,
                               initial_indent=indent + "# ", subsequent_indent=indent + "# ")
        lines.append(f"{indent}# {name}: {{<{spec.per}>: ...}}" if spec.per
                     else f"{indent}{name}: {yaml_text(item.default)}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(parameter_file() if "--yaml" in sys.argv else markdown_table(), end="")
