"""Checks parameter values against their declarations in `settings`, and writes them down for people.

``python -m sparse4d_ros.node.parameters`` prints the table of the documentation, with ``--yaml`` the
annotated file in `config/`. No ROS import here.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import sys
import textwrap
from collections.abc import Mapping
from typing import Any

from sparse4d_ros.errors import UserError, shown
from sparse4d_ros.node.settings import Settings, Spec

#: Parameters that rclpy itself declares on every node.
ROS_PARAMETERS = ("use_sim_time", "start_type_description_service")
ROS_PREFIXES = ("qos_overrides.",)


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
        hint = f" Did you mean '{near[0]}'?" if near else " `ros2 param describe` and docs/parameters.md list them all."
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
    if kind is float and type(value) in (int, float):
        if abs(value) <= sys.float_info.max:
            return float(value)  # `score_threshold: 1` in YAML is an integer to ROS
    elif kind is tuple and not isinstance(value, str) and hasattr(value, "__iter__"):
        value = tuple(value)
        if all(isinstance(item, str) and item for item in value):
            return value
    elif type(value) is kind:
        return value
    wanted = {float: "a finite number", int: "an integer", bool: "true or false", str: "a text",
              tuple: "a list of names"}[kind]
    raise UserError(f"The parameter '{name}' is {shown(value)}; it must be {wanted}.")


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
    frames = {name: getattr(settings, name) for name in ("output_frame", "base_frame", "fixed_frame")}
    frames |= {f"camera_frames.{name}": frame for name, frame in settings.camera_frames.items()}
    for name, frame in frames.items():
        if frame.startswith("/"):
            raise UserError(f"The parameter '{name}' is '{frame}'; frame names of tf2 do not begin with a slash.")
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
