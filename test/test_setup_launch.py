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
import yaml

from sparse4d_ros import cli
from sparse4d_ros.errors import UserError
from sparse4d_ros.node import topics
from sparse4d_ros.node.parameters import checked_value
from sparse4d_ros.node.settings import NUSCENES_CAMERAS, Settings

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


@pytest.mark.parametrize("path", LAUNCH_FILES, ids=lambda path: path.name)
def test_every_argument_is_described(path: Path) -> None:
    declared = of_kind(actions_of(path.name), "DeclareLaunchArgument")
    assert declared
    for argument in declared:
        assert argument.kwargs["description"].endswith("."), argument.args[0]


def test_started_programs_are_installed() -> None:
    for node in (started("sparse4d.launch.py"), started("replay.launch.py", **DRIVE)):
        assert node.kwargs["package"] == "sparse4d_ros"
        assert (ROOT / "scripts" / node.kwargs["executable"]).is_file()


def test_cameras_are_connected_by_pattern() -> None:
    node = started("sparse4d.launch.py", cameras="left, right", reference_camera="left", model="mine",
                   images="/rig/{name}/image_raw", use_sim_time="True", namespace="car")
    assert dict(node.kwargs["remappings"]) == {
        "~/input/left/image": "/rig/left/image_raw", "~/input/right/image": "/rig/right/image_raw",
        "~/input/left/camera_info": "/camera/left/camera_info",
        "~/input/right/camera_info": "/camera/right/camera_info",
    }
    assert node.kwargs["namespace"] == "car"
    assert node.kwargs["parameters"] == [{"cameras": ["left", "right"], "reference_camera": "left",
                                          "image_transport": "raw", "use_sim_time": True, "model.package": "mine"}]


def test_defaults_match_the_bags_we_write() -> None:
    node = started("sparse4d.launch.py")
    assert dict(node.kwargs["remappings"])["~/input/front/image/compressed"] == "/camera/front/image/compressed"
    assert node.kwargs["parameters"] == [{"image_transport": "compressed"}]
    assert len(node.kwargs["remappings"]) == 2 * len(NUSCENES_CAMERAS)


def parameter_file(path: Path, **parameters: object) -> str:
    path.write_text(yaml.safe_dump({"/**": {"ros__parameters": parameters}}))
    return str(path)


def test_what_no_argument_says_is_what_the_parameter_file_says(tmp_path: Path) -> None:
    mine = parameter_file(tmp_path / "mine.yaml", cameras=["a", "b"], reference_camera="b", image_transport="raw",
                          use_sim_time=True)
    node = started("sparse4d.launch.py", params_file=mine)
    assert node.kwargs["parameters"] == [mine, {"image_transport": "raw"}]
    assert [to for _, to in node.kwargs["remappings"]] == [
        "/camera/a/image", "/camera/a/camera_info", "/camera/b/image", "/camera/b/camera_info"]
    other = started("sparse4d.launch.py", params_file=mine, cameras="b,c", images="/{name}/compressed",
                    fixed_frame="map", use_sim_time="false")
    assert other.kwargs["parameters"][1] == {"cameras": ["b", "c"], "image_transport": "compressed",
                                             "fixed_frame": "map", "use_sim_time": False}
    assert dict(other.kwargs["remappings"])["~/input/c/image/compressed"] == "/c/compressed"


@pytest.mark.parametrize(("text", "transport"), [
    ("sparse4d_node: {ros__parameters: {image_transport: raw}}", "compressed"),  # the node is /car/sparse4d_node
    ("/car/sparse4d_node: {ros__parameters: {image_transport: raw}}", "raw"),
    ("car: {sparse4d_node: {ros__parameters: {image_transport: raw}}}", "raw"),
    ("/*/sparse4d_node: {ros__parameters: {image_transport: raw}}", "raw"),
    ("/**/sparse4d_node: {ros__parameters: {image_transport: raw}}", "raw"),
    ("{/**: {ros__parameters: {image_transport: raw}}, /car/*: {ros__parameters: {image_transport: compressed}}}",
     "compressed"),
    ("", "compressed"),
])
def test_sections_of_a_parameter_file_are_for_the_nodes_that_they_name(text: str, transport: str, tmp_path: Path
                                                                       ) -> None:
    """As rcl reads them; of several that fit the last counts."""
    (tmp_path / "mine.yaml").write_text(text)
    node = started("sparse4d.launch.py", params_file=str(tmp_path / "mine.yaml"), namespace="/car")
    assert node.kwargs["parameters"][-1] == {"image_transport": transport}


@pytest.mark.parametrize("text", ["/**: [", "fixed_frame: odom", "- 1", "/**: {ros__parameters: 3}", "\xff"])
def test_a_file_that_is_no_parameter_file_is_named(text: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(UserError, match=f"params_file:={path} is no ROS parameter file: ") as refused:
        made("sparse4d.launch.py", params_file=str(path))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("name", "file", "more"), [
    ("sparse4d.launch.py", "orin.yaml", {"show": "true"}),
    ("replay.launch.py", "sparse4d.yaml", {**DRIVE, "viewer": "rviz"}),
    ("replay.launch.py", "sparse4d.yaml", {**DRIVE, "viewer": "foxglove"}),
])
def test_who_asks_to_look_gets_markers_and_pictures(name: str, file: str, more: dict[str, str]) -> None:
    arguments = {"params_file": str(ROOT / "config" / file), **more}
    _, seen = made_and_set(name, **arguments)
    node = started("sparse4d.launch.py", params_file=arguments["params_file"], show=seen["show"])
    assert node.kwargs["parameters"][1]["publish_markers"] is node.kwargs["parameters"][1]["publish_overlay"] is True
    assert made_and_set(name, **arguments, **({} if "show" in more else {"show": "false"}))[1]["show"] == \
        more.get("show", "false")


def test_nobody_looks_unless_asked_to() -> None:
    assert "show" not in made_and_set("replay.launch.py", **DRIVE)[1]
    assert "publish_overlay" not in started("sparse4d.launch.py").kwargs["parameters"][-1]


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
    ("sparse4d.launch.py", {"cameras": "left,right"}, "'reference_camera' is 'front'; it must be one of 'cameras'"),
    ("sparse4d.launch.py", {"images": "/camera/image_raw"}, "images:=/camera/image_raw names one topic for 6 cameras"),
    ("sparse4d.launch.py", {"camera_infos": "/a b/{name}"}, "camera_infos:=/a b/{name} makes '/a b/front'"),
    ("sparse4d.launch.py", {"cpus": "fast"}, "cpus:=fast is no list of CPUs such as 2-5 or 0,2"),
    ("sparse4d.launch.py", {"cpus": "0,9999"}, "cpus:=0,9999 must be among those that this process may use: "),
    ("sparse4d.launch.py", {"cpus": "1-0"}, "cpus:=1-0 must be among those that this process may use: "),
    ("replay.launch.py", {**DRIVE, "rate": "0"}, "rate:=0 is not a positive number"),
    ("replay.launch.py", {**DRIVE, "rate": "fast"}, "rate:=fast is not a positive number"),
    ("replay.launch.py", {**DRIVE, "faults": "f", "player": "ros2bag"}, "faults:=f needs player:=sparse4d"),
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
            assert (choices is not None) == (default in ("true", "false", "info", "none", "sparse4d")
                                             or argument.args[0] == "use_sim_time"), argument.args
            assert choices is None or default in choices


def test_one_camera_needs_no_pattern() -> None:
    node = started("sparse4d.launch.py", cameras="only", images="/image_raw", camera_infos="~/info",
                   reference_camera="only", respawn="true")
    assert dict(node.kwargs["remappings"]) == {"~/input/only/image": "/image_raw", "~/input/only/camera_info": "~/info"}
    assert node.kwargs["parameters"][0]["reference_camera"] == "only"
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
    once, looped = started("replay.launch.py", **DRIVE), started("replay.launch.py", **DRIVE, loop="true")
    assert once.kwargs["arguments"] == ["--bag", "drive", "--rate", "1.0", "--wait-for-subscribers", "1"]
    assert looped.kwargs["arguments"] == [*once.kwargs["arguments"], "--loop"]
    alone = started("replay.launch.py", **DRIVE, node="false", use_sim_time="false")
    assert alone.kwargs["arguments"] == ["--bag", "drive", "--rate", "1.0", "--no-clock"]
    broken = started("replay.launch.py", **DRIVE, faults="faults.yaml")
    assert broken.kwargs["arguments"] == [*once.kwargs["arguments"], "--faults", "faults.yaml"]


def test_ros2_bag_plays_once_the_node_is_active() -> None:
    transition = handler(made("replay.launch.py", **DRIVE, player="ros2bag", rate="0.5"), "OnStateTransition")
    assert (transition.kwargs["goal_state"], transition.kwargs["handle_once"]) == ("active", True)
    (player,) = transition.kwargs["entities"]
    assert " ".join(player.kwargs["cmd"]) == "ros2 bag play drive --rate 0.5 --disable-keyboard-controls --clock 100"
    alone = started("replay.launch.py", **DRIVE, player="ros2bag", node="false", use_sim_time="false", loop="true")
    assert alone.kwargs["cmd"][-3:] == ["1.0", "--disable-keyboard-controls", "--loop"]


@pytest.mark.parametrize(("viewer", "executable"), [("page", "sparse4d_view"), ("rviz", "rviz2"),
                                                    ("foxglove", "foxglove_bridge")])
def test_a_viewer_is_started_when_asked_for(viewer: str, executable: str) -> None:
    plain = of_kind(made("replay.launch.py", **DRIVE), "Node")
    assert executable not in [node.kwargs["executable"] for node in plain]
    actions = made("replay.launch.py", **DRIVE, viewer=viewer)
    (node,) = [node for node in of_kind(actions, "Node") if node.kwargs["executable"] == executable]
    assert node.kwargs["parameters"][0]["use_sim_time"] is True
    matters = handler(actions, "OnProcessExit").kwargs["target_action"]
    assert not matters(node)  # it may be closed
    assert matters(of_kind(actions, "Node")[0])


def page_words(**arguments: str) -> list[str]:
    """How the page is started."""
    actions = of_kind(made("replay.launch.py", **{**DRIVE, "viewer": "page", **arguments}), "Node")
    (page,) = [node for node in actions if node.kwargs["executable"] == "sparse4d_view"]
    assert page.kwargs["namespace"] == arguments.get("namespace", "")
    return page.kwargs["arguments"]


@pytest.mark.ros
def test_the_page_listens_where_the_node_does(tmp_path: Path) -> None:
    view = pytest.importorskip("sparse4d_ros.node.view")
    mine = parameter_file(tmp_path / "mine.yaml", base_frame="car_base")
    words = page_words(params_file=mine, namespace="car", cameras="b,a", reference_camera="a",
                       images="/rig/{name}/image_raw", camera_infos="~/{name}/info")
    inputs = view.inputs_of(view.build_parser().parse_args(words))
    assert inputs.objects == "/car/sparse4d_node/output/objects"
    assert inputs.images == {"b": "/rig/b/image_raw", "a": "/rig/a/image_raw"} and inputs.transport == "raw"
    assert inputs.camera_infos["a"] == "/car/sparse4d_node/a/info"
    assert (inputs.base_frame, inputs.fixed_frame) == ("car_base", "odom")
    plain = view.inputs_of(view.build_parser().parse_args(page_words()))
    assert plain == view.inputs_of(view.build_parser().parse_args([]))


@pytest.fixture
def python3(monkeypatch: pytest.MonkeyPatch) -> None:
    """Launch files start `python3` of the PATH: the one that runs this test, with this package."""
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *filter(None, sys.path)]))


@pytest.mark.usefixtures("python3")
def test_a_replay_takes_the_fixed_frame_of_its_bag(tmp_path: Path) -> None:
    bag_cases = pytest.importorskip("bag_cases")
    arguments = {"bag": str(bag_cases.write(tmp_path / "drive", 2, fixed_frame="map")),
                 "params_file": parameter_file(tmp_path / "mine.yaml", fixed_frame="odom")}
    actions, seen = made_and_set("replay.launch.py", **arguments, viewer="rviz")
    assert seen["fixed_frame"] == "map"
    (rviz,) = [node for node in of_kind(actions, "Node") if node.kwargs["package"] == "rviz2"]
    assert rviz.kwargs["arguments"][-2:] == ["-f", "map"]
    (told,) = of_kind(actions, "LogInfo")
    assert "'map'" in told.kwargs["msg"] and "'odom'" in told.kwargs["msg"]
    node = started("sparse4d.launch.py", params_file=arguments["params_file"], fixed_frame=seen["fixed_frame"])
    assert node.kwargs["parameters"][1]["fixed_frame"] == "map"
    assert page_words(fixed_frame="map")[-4:] == ["--fixed-frame", "map", "--base-frame", "base_link"]


@pytest.mark.usefixtures("python3")
def test_a_replay_of_no_bag_is_refused() -> None:
    with pytest.raises(UserError, match="^there is no bag at /nowhere$"):
        made("replay.launch.py", bag="/nowhere")


@pytest.mark.parametrize("code", [0, 3])
def test_a_replay_ends_with_the_player_or_the_node(code: int) -> None:
    ended = handler(made("replay.launch.py", **DRIVE), "OnProcessExit").kwargs["on_exit"]
    event = types.SimpleNamespace(returncode=code, process_name="sparse4d_replay-2")
    assert ended(event, types.SimpleNamespace(is_shutdown=True)) is None
    running = types.SimpleNamespace(is_shutdown=False)
    if code:
        with pytest.raises(UserError, match="sparse4d_replay-2 ended with exit code 3"):
            ended(event, running)
    else:
        assert type(ended(event, running)).__name__ == "Shutdown"


def test_the_viewer_shows_what_the_node_publishes() -> None:
    config = yaml.safe_load((ROOT / "config" / "sparse4d.rviz").read_text())
    manager = config["Visualization Manager"]
    assert manager["Global Options"]["Fixed Frame"] == Settings().fixed_frame
    (markers,) = [item for item in manager["Displays"] if item["Class"] == "rviz_default_plugins/MarkerArray"]
    assert markers["Topic"]["Value"] == topics.MARKERS.replace("~", f"/{topics.NODE_NAME}")
    images = [item for item in manager["Displays"] if item["Class"] == "rviz_default_plugins/Image"]
    assert [item["Topic"]["Value"] for item in images] == [
        topics.overlay(item["Name"]).replace("~", f"/{topics.NODE_NAME}") for item in images]
    assert [item["Name"] for item in images] == list(Settings().cameras)
    # Without its panel displays cannot be ticked; RViz reads both switches into a variable without a value.
    assert "rviz_common/Displays" in [panel["Class"] for panel in config["Panels"]]
    assert config["Window Geometry"]["Hide Left Dock"] is config["Window Geometry"]["Hide Right Dock"] is False


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
    assert run.kwargs["cmd"][2:4] == ["sparse4d_ros.node.start", "demo"]
    args = demo.build_parser().parse_args(run.kwargs["cmd"][4:])
    assert (str(args.bag), str(args.model), args.output) == ("drive", "mine", tmp_path)
    assert (args.rate, args.score_threshold) == (1.0, demo.SCORE_THRESHOLD)


@pytest.mark.ros
def test_replay_understands_its_arguments() -> None:
    replay = pytest.importorskip("sparse4d_ros.node.replay")
    node = started("replay.launch.py", **DRIVE, loop="true")
    args = replay.build_parser().parse_args(node.kwargs["arguments"])
    assert (str(args.bag), args.rate, args.loop) == ("drive", 1.0, True)


def test_included_files_exist_and_know_the_arguments_they_get() -> None:
    known = set(defaults(actions_of("sparse4d.launch.py")))
    for name in ("replay.launch.py", "orin.launch.py"):
        (include,) = of_kind(actions_of(name), "IncludeLaunchDescription")
        assert Path(include.args[0].args[0]).name == "sparse4d.launch.py"
        assert set(dict(include.kwargs["launch_arguments"])) <= known


def test_parameters_for_orin_exist() -> None:
    text = Path(defaults(actions_of("orin.launch.py"))["params_file"]).read_text()
    parameters = yaml.safe_load(text)["/**"]["ros__parameters"]
    assert parameters
    for name, value in parameters.items():
        checked_value(name, value)
