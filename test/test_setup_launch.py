"""Launch files against stand-ins of `launch` and `launch_ros`: what would be started, and how, on every machine.

Replay and evaluation: test_setup_launch_replay.py. The real ones, where they are installed: test_launch_upstream.py.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import launch_stand_ins
import pytest
import yaml
from launch_stand_ins import (
    DRIVE,
    LAUNCH_FILES,
    ROOT,
    actions_of,
    defaults,
    made,
    made_and_set,
    of_kind,
    parameter_file,
    started,
)

from sparse4d_ros.errors import UserError
from sparse4d_ros.node.parameters import checked_value
from sparse4d_ros.node.settings import NUSCENES_CAMERAS

stand_ins = launch_stand_ins.stand_ins


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
    with pytest.raises(UserError, match=f"^{path} is no ROS parameter file: ") as refused:
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
    ("sparse4d.launch.py", {"params_file": "/nowhere.yaml"}, "/nowhere.yaml is not a file"),
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
    assert told[-1].startswith("nvpmodel: NV Power Mode: 15W -> nvpmodel -m <ID of MAXN")


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
