"""`sparse4d viewer-files`: what RViz and Foxglove open, for a node of any name and any cameras. No ROS import here.

The two files in `config/` show the node as it is without any parameter, and are the templates for all others.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from sparse4d_ros.errors import UserError, shown
from sparse4d_ros.node import topics
from sparse4d_ros.node.parameters import settings_from
from sparse4d_ros.node.settings import Settings
from sparse4d_ros.node.wiring import told_by_file
from sparse4d_ros.resources import share_path
from sparse4d_ros.writing import blaming, write_text

RVIZ, FOXGLOVE = "sparse4d.rviz", "sparse4d.foxglove.json"
_EXAMPLES = """examples:
  sparse4d viewer-files --params-file my_vehicle.yaml --output views
  sparse4d viewer-files --node /car/sparse4d_node --cameras left,right --fixed-frame map --output views
"""
_NODE = re.compile(r"(/[A-Za-z_]\w*)+", re.ASCII)
_IMAGE = "rviz_default_plugins/Image"


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of `sparse4d viewer-files`."""
    parser.epilog = _EXAMPLES
    parser.add_argument("--node", default=f"/{topics.NODE_NAME}",
                        help="name of the node with its namespace (default %(default)s)")
    parser.add_argument("--params-file", type=Path, metavar="YAML",
                        help="the node's parameter file: cameras and frames (default: the node's defaults)")
    parser.add_argument("--cameras", metavar="A,B,...", help="camera names, over those of the parameter file")
    parser.add_argument("--fixed-frame", metavar="FRAME", help="where the vehicle moves, over the parameter file's")
    parser.add_argument("--base-frame", metavar="FRAME", help="the vehicle's frame, over the parameter file's")
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER", help=f"for {RVIZ} and {FOXGLOVE}")


def run(args: argparse.Namespace) -> int:
    """Write both files and say how to open them."""
    node = "/" + args.node.strip("/")
    values = told_by_file(args.params_file, node) if args.params_file else {}
    values |= {name: value for name in ("fixed_frame", "base_frame") if (value := getattr(args, name)) is not None}
    if args.cameras is not None:
        names = [name.strip() for name in args.cameras.split(",")]
        values |= {"cameras": names, "reference_camera": names[0]}  # nothing here depends on the second
    rviz, foxglove = write_viewer_files(args.output, node, settings_from(values))
    print(f"RViz:     rviz2 -d {shlex.quote(str(rviz))}\nFoxglove: import {foxglove} (Layouts, import from file)")
    return 0


def write_viewer_files(folder: Path, node: str, settings: Settings) -> tuple[Path, Path]:
    """Write :data:`RVIZ` and :data:`FOXGLOVE` for the node of this full name; returns their paths.

    ``settings`` count for cameras and frames. ``UserError`` if ``node`` is no name, or if the folder cannot be written.
    """
    if not _NODE.fullmatch(node):
        raise UserError(f"{shown(node)} is no name of a node: use letters, digits and underscores, none beginning with "
                        "a digit, and / between a namespace and what it holds")
    with blaming(folder):
        folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / RVIZ, yaml.safe_dump(_rviz(node, settings), sort_keys=False))
    write_text(folder / FOXGLOVE, json.dumps(_foxglove(node, settings), indent=2) + "\n")
    return folder / RVIZ, folder / FOXGLOVE


def _rviz(node: str, settings: Settings) -> dict[str, Any]:
    config = _named(yaml.safe_load(share_path("config", RVIZ).read_text(encoding="utf-8")), node, settings)
    manager = config["Visualization Manager"]
    others = [display for display in manager["Displays"] if display["Class"] != _IMAGE]
    image = next(display for display in manager["Displays"] if display["Class"] == _IMAGE)
    manager["Displays"] = others + [
        {**image, "Name": name, "Topic": {**image["Topic"], "Value": _overlay(name, node)},
         "Enabled": number == 0, "Value": number == 0} for number, name in enumerate(settings.cameras)]
    return config


def _foxglove(node: str, settings: Settings) -> dict[str, Any]:
    layout = _named(json.loads(share_path("config", FOXGLOVE).read_text(encoding="utf-8")), node, settings)
    others = {panel: content for panel, content in layout["configById"].items() if not panel.startswith("Image!")}
    layout["configById"] = others | {
        _panel(name): {"foxglovePanelTitle": name.replace("_", " "), "imageMode": {"imageTopic": _overlay(name, node)}}
        for name in settings.cameras}
    rows = [_split("row", [_panel(name) for name in row]) for row in _rows(settings.cameras)]
    layout["layout"]["second"] = _split("column", rows)
    return layout


def _named(tree: Any, node: str, settings: Settings) -> Any:
    """A template with the names of a node and its frames in place of the defaults."""
    if isinstance(tree, dict):
        return {_named(key, node, settings): _named(value, node, settings) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_named(value, node, settings) for value in tree]
    if not isinstance(tree, str):
        return tree
    default = Settings()
    name = f"/{topics.NODE_NAME}"
    if tree.startswith(f"{name}/"):
        return node + tree.removeprefix(name)
    return {default.fixed_frame: settings.fixed_frame, default.base_frame: settings.base_frame}.get(tree, tree)


def _overlay(camera: str, node: str) -> str:
    return topics.overlay(camera).replace("~", node)


def _panel(camera: str) -> str:
    return f"Image!{camera}"


def _rows(cameras: Sequence[str]) -> list[list[str]]:
    """Two cameras a row; those whose names say left and right side by side, below the others."""
    others, left, right = ([name for name in cameras if _side(name) == side] for side in ("", "left", "right"))
    rows = [*itertools.zip_longest(others[::2], others[1::2]), *itertools.zip_longest(left, right)]
    return [[name for name in row if name] for row in rows]


def _side(camera: str) -> str:
    return next((side for side in ("left", "right") if side in camera.lower()), "")


def _split(direction: str, parts: Sequence[Any]) -> Any:
    """Foxglove's tree for panels of equal size, each side by side with all that follow."""
    first, *others = parts
    if not others:
        return first
    return {"direction": direction, "first": first, "second": _split(direction, others),
            "splitPercentage": round(100 / len(parts))}
