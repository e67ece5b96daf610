"""Imports run only downwards, floor by floor, and ROS stays in its room (docs/design.md)."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "sparse4d_ros"
#: Rooms from the roof to the ground; rooms of one floor do not import each other, but for those of `BESIDE`.
FLOORS = (("cli",), ("node", "deploy", "rig_check"), ("simulation", "engine", "training", "viewer"),
          ("data", "evaluation", "model"),
          ("boxes", "geometry", "frame", "errors", "resources", "arguments", "writing", "findings",
           "installing"))
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
#: (who, whom) on one floor: the node's benchmark prints below the offline one; a rig is held against the node's
#: parameters; evaluation reads bags.
BESIDE = {("node", "deploy"), ("rig_check", "node"), ("evaluation", "data")}
ROS = {"rclpy", "sensor_msgs", "geometry_msgs", "vision_msgs", "tf2_ros", "tf2_msgs", "cv_bridge", "visualization_msgs",
       "diagnostic_msgs", "std_msgs", "std_srvs", "lifecycle_msgs", "rosgraph_msgs", "builtin_interfaces"}
#: Modules of a command wire rooms together and stand on the command line's floor, wherever they lie.
COMMANDS = {"data/samples.py", "data/bag_to_arrays.py", "simulation/command.py", "training/ablation.py",
            "training/command.py", "evaluation/command.py", "evaluation/robustness_command.py",
            "evaluation/run_model.py", "viewer/command.py", "viewer/record_demo.py"}
#: Where PyTorch may be imported when a module is.
TORCH = ("model/", "training/", "deploy/", "engine/torch_backend.py")

MODULES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


def imports(path: Path) -> list[tuple[str, bool]]:
    """Dotted names a module imports, and whether it does so when it is imported itself."""
    tree = ast.parse(path.read_text())
    top = {id(node) for statement in tree.body for node in
           ([statement] if isinstance(statement, (ast.Import, ast.ImportFrom)) else [])}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, id(node) in top) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found += [(f"{node.module}.{alias.name}", id(node) in top) for alias in node.names]
    return found


def room_of(module: str) -> str:
    return module.split("/")[0].removesuffix(".py")


@pytest.mark.parametrize("module", MODULES)
def test_imports_run_downwards(module):
    room = room_of(module)
    if room == "__init__" or module in COMMANDS:
        return
    for name, _ in imports(PACKAGE / module):
        if not name.startswith("sparse4d_ros.") or name.split(".")[1] not in FLOOR:
            continue
        target = name.split(".")[1]
        allowed = target == room or FLOOR[target] > FLOOR[room] or (room, target) in BESIDE or \
            FLOOR[target] == FLOOR[room] == len(FLOORS) - 1
        assert allowed, f"{module} imports {name}: from floor {FLOOR[room]} up or across to floor {FLOOR[target]}"


@pytest.mark.parametrize("module", MODULES)
def test_ros_and_torch_stay_in_their_rooms(module):
    for name, at_import in imports(PACKAGE / module):
        first = name.split(".")[0]
        if first in ROS or name.startswith("sparse4d_ros.msg"):
            assert room_of(module) == "node", f"{module} imports {name}"
        if first == "torch" and at_import:
            assert module.startswith(TORCH), f"{module} imports torch when it is imported"


def test_files_stay_readable_in_one_sitting():
    long = {module: count for module in MODULES
            if (count := len((PACKAGE / module).read_text().splitlines())) > 310}
    assert not long, long
