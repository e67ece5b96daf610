"""Stand-ins of `launch` and `launch_ros`, and what launch files make of them, on every machine."""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
LAUNCH_FILES = sorted((ROOT / "launch").glob("*.launch.py"))
#: A bag that nobody looks into, since its frame is given.
DRIVE = {"bag": "drive", "fixed_frame": "odom"}


class Recorded:
    """An action or description that remembers what it was made of."""

    def __init__(self, *args, **kwargs):
        self.args, self.kwargs = args, kwargs


class LaunchConfiguration(Recorded):
    def perform(self, context: types.SimpleNamespace) -> str:
        return context.launch_configurations[self.args[0]]


STAND_INS = {
    "launch": ("LaunchDescription",),
    "launch.actions": ("DeclareLaunchArgument", "ExecuteProcess", "IncludeLaunchDescription", "LogInfo",
                       "OpaqueFunction", "RegisterEventHandler", "SetEnvironmentVariable", "Shutdown"),
    "launch.conditions": ("IfCondition",),
    "launch.event_handlers": ("OnProcessExit",),
    "launch.launch_description_sources": ("PythonLaunchDescriptionSource",),
    "launch.logging": (),
    "launch.substitutions": (),
    "launch_ros": (),
    "launch_ros.actions": ("LifecycleNode", "Node"),
    "launch_ros.event_handlers": ("OnStateTransition",),
}


@pytest.fixture(autouse=True)
def stand_ins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for module, names in STAND_INS.items():
        fake = types.ModuleType(module)
        for name in names:
            setattr(fake, name, type(name, (Recorded,), {}))
        monkeypatch.setitem(sys.modules, module, fake)
    sys.modules["launch.substitutions"].LaunchConfiguration = LaunchConfiguration
    sys.modules["launch.logging"].launch_config = types.SimpleNamespace(log_dir=str(tmp_path / "log"))


def actions_of(name: str) -> list[Recorded]:
    spec = importlib.util.spec_from_file_location(name.replace(".", "_"), ROOT / "launch" / name)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.generate_launch_description().args[0]


def of_kind(actions: list[Recorded], kind: str) -> list[Recorded]:
    return [action for action in actions if type(action).__name__ == kind]


def defaults(actions: list[Recorded]) -> dict[str, str]:
    declared = of_kind(actions, "DeclareLaunchArgument")
    return {a.args[0]: a.kwargs["default_value"] for a in declared if "default_value" in a.kwargs}


def made_and_set(name: str, **arguments: str) -> tuple[list[Recorded], dict[str, str]]:
    """What a launch file makes of these arguments, and the arguments that files included after it see."""
    actions = actions_of(name)
    (function,) = of_kind(actions, "OpaqueFunction")
    context = types.SimpleNamespace(launch_configurations={**defaults(actions), **arguments})
    return function.kwargs["function"](context), context.launch_configurations


def made(name: str, **arguments: str) -> list[Recorded]:
    """What a launch file makes of these arguments."""
    return made_and_set(name, **arguments)[0]


def started(name: str, **arguments: str) -> Recorded:
    """The one process that a launch file starts itself at once, with these arguments."""
    (process,) = [action for action in made(name, **arguments)
                  if type(action).__name__ not in ("RegisterEventHandler", "LogInfo")]
    return process


def handler(actions: list[Recorded], kind: str) -> Recorded:
    """The one event handler of a kind."""
    (found,) = of_kind([action.args[0] for action in of_kind(actions, "RegisterEventHandler")], kind)
    return found


def parameter_file(path: Path, **parameters: object) -> str:
    path.write_text(yaml.safe_dump({"/**": {"ros__parameters": parameters}}))
    return str(path)
