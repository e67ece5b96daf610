"""Launch files against stand-ins of `launch` and `launch_ros`, which PyPI lacks: what would be started, and how."""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path

import pytest

from sparse4d_ros.node.settings import NUSCENES_CAMERAS

ROOT = Path(__file__).resolve().parents[1]
LAUNCH_FILES = sorted((ROOT / "launch").glob("*.launch.py"))


class Recorded:
    """An action or description that remembers what it was made of."""

    def __init__(self, *args, **kwargs):
        self.args, self.kwargs = args, kwargs


class LaunchConfiguration(Recorded):
    def perform(self, context: dict[str, str]) -> str:
        return context[self.args[0]]


STAND_INS = {
    "launch": ("LaunchDescription",),
    "launch.actions": ("DeclareLaunchArgument", "IncludeLaunchDescription", "OpaqueFunction", "SetEnvironmentVariable",
                       "Shutdown"),
    "launch.launch_description_sources": ("PythonLaunchDescriptionSource",),
    "launch.substitutions": (),
    "launch_ros": (),
    "launch_ros.actions": ("LifecycleNode", "Node"),
}


@pytest.fixture(autouse=True)
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, names in STAND_INS.items():
        fake = types.ModuleType(module)
        for name in names:
            setattr(fake, name, type(name, (Recorded,), {}))
        monkeypatch.setitem(sys.modules, module, fake)
    sys.modules["launch.substitutions"].LaunchConfiguration = LaunchConfiguration


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


def started(name: str, **arguments: str) -> Recorded:
    """The one process that a launch file starts itself, with these arguments."""
    actions = actions_of(name)
    (function,) = of_kind(actions, "OpaqueFunction")
    (node,) = function.kwargs["function"]({**defaults(actions), **arguments})
    return node


@pytest.mark.parametrize("path", LAUNCH_FILES, ids=lambda path: path.name)
def test_every_argument_is_described(path: Path) -> None:
    declared = of_kind(actions_of(path.name), "DeclareLaunchArgument")
    assert declared
    for argument in declared:
        assert argument.kwargs["description"].endswith("."), argument.args[0]


def test_started_programs_are_installed() -> None:
    for node in (started("sparse4d.launch.py"), started("replay.launch.py", bag="drive")):
        assert node.kwargs["package"] == "sparse4d_ros"
        assert (ROOT / "scripts" / node.kwargs["executable"]).is_file()


def test_cameras_are_connected_by_pattern() -> None:
    node = started("sparse4d.launch.py", cameras="left, right", images="/rig/{name}/image_raw", model="mine",
                   use_sim_time="True", namespace="car")
    assert dict(node.kwargs["remappings"]) == {
        "~/input/left/image": "/rig/left/image_raw", "~/input/right/image": "/rig/right/image_raw",
        "~/input/left/camera_info": "/camera/left/camera_info",
        "~/input/right/camera_info": "/camera/right/camera_info",
    }
    assert node.kwargs["namespace"] == "car"
    assert node.kwargs["parameters"][1] == {
        "cameras": ["left", "right"], "image_transport": "raw", "use_sim_time": True, "model.package": "mine"}


def test_defaults_match_the_bags_we_write() -> None:
    node = started("sparse4d.launch.py")
    assert dict(node.kwargs["remappings"])["~/input/front/image/compressed"] == "/camera/front/image/compressed"
    overrides = node.kwargs["parameters"][1]
    assert overrides == {"cameras": list(NUSCENES_CAMERAS), "image_transport": "compressed", "use_sim_time": False}
    assert Path(node.kwargs["parameters"][0]).is_file()


def test_transport_profile_is_set_unless_the_user_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FASTDDS_DEFAULT_PROFILES_FILE", raising=False)
    monkeypatch.setenv("FASTRTPS_DEFAULT_PROFILES_FILE", "/etc/mine.xml")
    variables = dict(a.args for a in of_kind(actions_of("sparse4d.launch.py"), "SetEnvironmentVariable"))
    assert variables["FASTRTPS_DEFAULT_PROFILES_FILE"] == "/etc/mine.xml"
    assert variables["FASTDDS_DEFAULT_PROFILES_FILE"] == str(ROOT / "config" / "fastdds_profile.xml")


def test_replay_plays_the_bag_with_its_clock() -> None:
    (include,) = of_kind(actions_of("replay.launch.py"), "IncludeLaunchDescription")
    assert dict(include.kwargs["launch_arguments"]) == {"use_sim_time": "true"}
    once, looped = started("replay.launch.py", bag="drive"), started("replay.launch.py", bag="drive", loop="true")
    assert once.kwargs["arguments"][:4] == ["--bag", "drive", "--rate", "1.0"]
    assert "--loop" not in once.kwargs["arguments"] and "--loop" in looped.kwargs["arguments"]


@pytest.mark.ros
def test_replay_understands_its_arguments() -> None:
    replay = pytest.importorskip("sparse4d_ros.node.replay")
    node = started("replay.launch.py", bag="drive", loop="true")
    args = replay.build_parser().parse_args(node.kwargs["arguments"])
    assert (str(args.bag), args.rate, args.loop) == ("drive", 1.0, True)


def test_included_files_exist_and_know_the_arguments_they_get() -> None:
    known = set(defaults(actions_of("sparse4d.launch.py")))
    for name in ("replay.launch.py", "orin.launch.py"):
        (include,) = of_kind(actions_of(name), "IncludeLaunchDescription")
        assert Path(include.args[0].args[0]).name == "sparse4d.launch.py"
        assert set(dict(include.kwargs["launch_arguments"])) <= known


def test_parameters_for_orin_exist() -> None:
    yaml = pytest.importorskip("yaml")
    from sparse4d_ros.node.parameters import checked_value

    text = Path(defaults(actions_of("orin.launch.py"))["params_file"]).read_text()
    parameters = yaml.safe_load(text)["/**"]["ros__parameters"]
    assert parameters
    for name, value in parameters.items():
        checked_value(name, value)
