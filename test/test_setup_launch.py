"""Launch files against stand-ins of `launch` and `launch_ros`: what would be started, and how, on every machine.

The real ones, where they are installed: test_launch_upstream.py.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import sys
import types
from pathlib import Path

import pytest

from sparse4d_ros import cli
from sparse4d_ros.errors import UserError
from sparse4d_ros.node import topics
from sparse4d_ros.node.settings import NUSCENES_CAMERAS, Settings

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
    "launch.actions": ("DeclareLaunchArgument", "ExecuteProcess", "IncludeLaunchDescription", "LogInfo",
                       "OpaqueFunction", "RegisterEventHandler", "SetEnvironmentVariable", "Shutdown"),
    "launch.conditions": ("IfCondition",),
    "launch.event_handlers": ("OnProcessExit",),
    "launch.launch_description_sources": ("PythonLaunchDescriptionSource",),
    "launch.substitutions": (),
    "launch_ros": (),
    "launch_ros.actions": ("LifecycleNode", "Node"),
    "launch_ros.event_handlers": ("OnStateTransition",),
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


def made(name: str, **arguments: str) -> list[Recorded]:
    """What a launch file makes of these arguments."""
    actions = actions_of(name)
    (function,) = of_kind(actions, "OpaqueFunction")
    return function.kwargs["function"]({**defaults(actions), **arguments})


def started(name: str, **arguments: str) -> Recorded:
    """The one process that a launch file starts itself at once, with these arguments."""
    (process,) = [action for action in made(name, **arguments) if type(action).__name__ != "RegisterEventHandler"]
    return process


def handler(actions: list[Recorded], kind: str) -> Recorded:
    """The one event handler of a kind."""
    (found,) = of_kind([action.args[0] for action in of_kind(actions, "RegisterEventHandler")], kind)
    return found


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


@pytest.mark.parametrize(("name", "arguments", "text"), [
    ("sparse4d.launch.py", {"params_file": "/nowhere.yaml"}, "params_file:=/nowhere.yaml is not a file"),
    ("sparse4d.launch.py", {"cameras": "front,,back"}, "must be a list of names"),
    ("sparse4d.launch.py", {"cameras": "front left"}, "'front left', which cannot be part of a topic name"),
    ("sparse4d.launch.py", {"cameras": "front,front"}, "names 'front' twice"),
    ("sparse4d.launch.py", {"cameras": "left,right", "reference_camera": "front"}, "one of 'cameras': left, right"),
    ("sparse4d.launch.py", {"images": "/camera/image_raw"}, "images:=/camera/image_raw names one topic for 6 cameras"),
    ("sparse4d.launch.py", {"camera_infos": "/a b/{name}"}, "camera_infos:=/a b/{name} makes '/a b/front'"),
    ("sparse4d.launch.py", {"cpus": "fast"}, "cpus:=fast is no list of CPUs such as 2-5 or 0,2"),
    ("sparse4d.launch.py", {"cpus": "0,9999"}, "cpus:=0,9999 must be among those that this process may use: "),
    ("sparse4d.launch.py", {"cpus": "1-0"}, "cpus:=1-0 must be among those that this process may use: "),
    ("replay.launch.py", {"bag": "drive", "rate": "0"}, "rate:=0 is not a positive number"),
    ("replay.launch.py", {"bag": "drive", "rate": "fast"}, "rate:=fast is not a positive number"),
    ("replay.launch.py", {"bag": "drive", "faults": "f", "player": "ros2bag"}, "faults:=f needs player:=sparse4d"),
    ("evaluate.launch.py", {"bag": "drive", "rate": "fast"}, "rate:=fast is not a number"),
    ("evaluate.launch.py", {"bag": "drive", "score_threshold": ""}, "score_threshold:= is not a number"),
])
def test_a_wrong_value_is_named(name: str, arguments: dict[str, str], text: str) -> None:
    with pytest.raises(UserError, match=re.escape(text)):
        made(name, **arguments)


def test_arguments_of_few_values_list_them() -> None:
    for path in LAUNCH_FILES:
        for argument in of_kind(actions_of(path.name), "DeclareLaunchArgument"):
            choices, default = argument.kwargs.get("choices"), argument.kwargs.get("default_value")
            assert (choices is not None) == (default in ("true", "false", "info", "none", "sparse4d")), argument.args
            assert choices is None or default in choices


def test_one_camera_needs_no_pattern() -> None:
    node = started("sparse4d.launch.py", cameras="only", images="/image_raw", camera_infos="~/info",
                   reference_camera="only", respawn="true")
    assert dict(node.kwargs["remappings"]) == {"~/input/only/image": "/image_raw", "~/input/only/camera_info": "~/info"}
    assert node.kwargs["parameters"][1]["reference_camera"] == "only"
    assert node.kwargs["respawn"] is True


def test_the_node_is_bound_to_cpus_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    first = min(os.sched_getaffinity(0))
    assert started("sparse4d.launch.py").kwargs["prefix"] is None
    monkeypatch.setattr(shutil, "which", lambda name: name)
    assert started("sparse4d.launch.py", cpus=f"{first}-{first}").kwargs["prefix"] == (
        f"taskset --cpu-list {first}-{first}")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(UserError, match="needs the program taskset"):
        started("sparse4d.launch.py", cpus=str(first))


def test_orin_says_how_its_clocks_are_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tool = tmp_path / "nvpmodel"
    tool.write_text("#!/bin/sh\necho 'NV Power Mode: 15W'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    told = [action.kwargs["msg"] for action in made("orin.launch.py")]
    assert told[-1].startswith("nvpmodel: NV Power Mode: 15W -> nvpmodel -m 0")


def test_replay_plays_the_bag_with_its_clock() -> None:
    (include,) = of_kind(actions_of("replay.launch.py"), "IncludeLaunchDescription")
    passed = dict(include.kwargs["launch_arguments"])
    assert passed["use_sim_time"].args == ("use_sim_time",)
    assert defaults(actions_of("replay.launch.py"))["use_sim_time"] == "true"
    assert include.kwargs["condition"].args[0].args == ("node",)
    once, looped = started("replay.launch.py", bag="drive"), started("replay.launch.py", bag="drive", loop="true")
    assert once.kwargs["arguments"] == ["--bag", "drive", "--rate", "1.0", "--wait-for-subscribers", "1"]
    assert looped.kwargs["arguments"] == [*once.kwargs["arguments"], "--loop"]
    alone = started("replay.launch.py", bag="drive", node="false", use_sim_time="false")
    assert alone.kwargs["arguments"] == ["--bag", "drive", "--rate", "1.0", "--no-clock"]
    broken = started("replay.launch.py", bag="drive", faults="faults.yaml")
    assert broken.kwargs["arguments"] == [*once.kwargs["arguments"], "--faults", "faults.yaml"]


def test_ros2_bag_plays_once_the_node_is_active() -> None:
    transition = handler(made("replay.launch.py", bag="drive", player="ros2bag", rate="0.5"), "OnStateTransition")
    assert (transition.kwargs["goal_state"], transition.kwargs["handle_once"]) == ("active", True)
    (player,) = transition.kwargs["entities"]
    assert " ".join(player.kwargs["cmd"]) == "ros2 bag play drive --rate 0.5 --disable-keyboard-controls --clock 100"
    alone = started("replay.launch.py", bag="drive", player="ros2bag", node="false", use_sim_time="false", loop="true")
    assert alone.kwargs["cmd"][-3:] == ["1.0", "--disable-keyboard-controls", "--loop"]


@pytest.mark.parametrize(("viewer", "executable"), [("page", "sparse4d_view"), ("rviz", "rviz2"),
                                                    ("foxglove", "foxglove_bridge")])
def test_a_viewer_is_started_when_asked_for(viewer: str, executable: str) -> None:
    plain = of_kind(made("replay.launch.py", bag="drive"), "Node")
    assert executable not in [node.kwargs["executable"] for node in plain]
    actions = made("replay.launch.py", bag="drive", viewer=viewer)
    (node,) = [node for node in of_kind(actions, "Node") if node.kwargs["executable"] == executable]
    assert node.kwargs["parameters"][0]["use_sim_time"] is True
    matters = handler(actions, "OnProcessExit").kwargs["target_action"]
    assert not matters(node)  # it may be closed
    assert matters(of_kind(actions, "Node")[0])


@pytest.mark.parametrize("code", [0, 3])
def test_a_replay_ends_with_the_player_or_the_node(code: int) -> None:
    ended = handler(made("replay.launch.py", bag="drive"), "OnProcessExit").kwargs["on_exit"]
    event = types.SimpleNamespace(returncode=code, process_name="sparse4d_replay-2")
    assert ended(event, types.SimpleNamespace(is_shutdown=True)) is None
    running = types.SimpleNamespace(is_shutdown=False)
    if code:
        with pytest.raises(UserError, match="sparse4d_replay-2 ended with exit code 3"):
            ended(event, running)
    else:
        assert type(ended(event, running)).__name__ == "Shutdown"


def test_the_viewer_shows_what_the_node_publishes() -> None:
    yaml = pytest.importorskip("yaml")
    manager = yaml.safe_load((ROOT / "config" / "sparse4d.rviz").read_text())["Visualization Manager"]
    assert manager["Global Options"]["Fixed Frame"] == Settings().fixed_frame
    (markers,) = [item for item in manager["Displays"] if item["Class"] == "rviz_default_plugins/MarkerArray"]
    assert markers["Topic"]["Value"] == topics.MARKERS.replace("~", f"/{topics.NODE_NAME}")
    images = [item for item in manager["Displays"] if item["Class"] == "rviz_default_plugins/Image"]
    assert [item["Topic"]["Value"] for item in images] == [
        topics.overlay(item["Name"]).replace("~", f"/{topics.NODE_NAME}") for item in images]
    assert [item["Name"] for item in images] == list(Settings().cameras)


def test_an_evaluation_is_recorded_then_put_on_a_page(tmp_path: Path) -> None:
    run = started("evaluate.launch.py", bag="drive", model="mine", output=str(tmp_path))
    failed = types.SimpleNamespace(returncode=1, process_name="evaluation-1")
    running, stopping = types.SimpleNamespace(is_shutdown=False), types.SimpleNamespace(is_shutdown=True)
    with pytest.raises(UserError, match="evaluation-1 ended with exit code 1"):
        run.kwargs["on_exit"](failed, running)
    assert run.kwargs["on_exit"](failed, stopping) == []
    (page,) = run.kwargs["on_exit"](types.SimpleNamespace(returncode=0, process_name="evaluation-1"), running)
    args = cli.build_parser("evaluate").parse_args(page.kwargs["cmd"][3:])
    assert (args.tracks, args.bag) == ([tmp_path / "tracks.npz"], [Path("drive")])
    assert (args.output, args.report) == (tmp_path / "scores.json", tmp_path / "report.html")
    with pytest.raises(UserError, match="exit code 1"):
        page.kwargs["on_exit"](failed, running)


@pytest.mark.ros
def test_the_demo_understands_the_arguments_of_an_evaluation(tmp_path: Path) -> None:
    demo = pytest.importorskip("sparse4d_ros.node.demo")
    run = started("evaluate.launch.py", bag="drive", model="mine", output=str(tmp_path))
    assert run.kwargs["cmd"][2] == demo.__name__
    args = demo.build_parser().parse_args(run.kwargs["cmd"][3:])
    assert (str(args.bag), str(args.model), args.output) == ("drive", "mine", tmp_path)
    assert (args.rate, args.score_threshold) == (1.0, demo.SCORE_THRESHOLD)


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
