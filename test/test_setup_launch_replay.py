"""What the launch files of a replay and of an evaluation would start, against stand-ins of `launch`."""

from __future__ import annotations

import os
import sys
import types
from pathlib import Path

import launch_stand_ins
import pytest
from launch_stand_ins import (
    DRIVE,
    ROOT,
    actions_of,
    defaults,
    handler,
    made,
    made_and_set,
    of_kind,
    parameter_file,
    started,
)

from sparse4d_ros import cli
from sparse4d_ros.errors import UserError
from sparse4d_ros.node.settings import Settings
from sparse4d_ros.node.viewer_files import FOXGLOVE, RVIZ, write_viewer_files

stand_ins = launch_stand_ins.stand_ins


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


@pytest.mark.parametrize(("viewer", "file"), [("rviz", RVIZ), ("foxglove", FOXGLOVE)])
def test_rviz_and_foxglove_open_the_rig_that_is_started(viewer: str, file: str, tmp_path: Path) -> None:
    mine = parameter_file(tmp_path / "mine.yaml", base_frame="car_base")
    actions = made("replay.launch.py", **{**DRIVE, "fixed_frame": "map"}, viewer=viewer, params_file=mine,
                   namespace="car", cameras="b,a", reference_camera="a")
    write_viewer_files(tmp_path / "expected", "/car/sparse4d_node", Settings(
        cameras=("b", "a"), base_frame="car_base", fixed_frame="map"))
    opened = tmp_path / "log" / file  # in the folder of this launch
    assert opened.read_text() == (tmp_path / "expected" / file).read_text()
    told = [*of_kind(actions, "Node")[-1].kwargs.get("arguments", ()), of_kind(actions, "LogInfo")[-1].kwargs["msg"]]
    assert any(str(opened) in words for words in told)


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
    assert "Fixed Frame: map\n" in Path(rviz.kwargs["arguments"][1]).read_text()
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
