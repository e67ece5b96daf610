"""What RViz and Foxglove open, as shipped and for other rigs: every topic and field in it is the node's."""

from __future__ import annotations

import dataclasses
import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sparse4d_ros import cli
from sparse4d_ros.errors import UserError
from sparse4d_ros.node import topics
from sparse4d_ros.node.parameters import settings_from
from sparse4d_ros.node.settings import Settings
from sparse4d_ros.node.viewer_files import FOXGLOVE, RVIZ, write_viewer_files

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = (f"/{topics.NODE_NAME}", Settings(), ROOT / "config")
#: All that a ROS name may be, with a preference for what YAML takes for something else.
TOKENS = st.sampled_from(["null", "yes", "NO", "_", "odom", "left_right", "CAM_LEFT", "sparse4d_node"]) | \
    st.from_regex(r"[A-Za-z_][A-Za-z0-9_]*", fullmatch=True)
NODES = st.lists(TOKENS, min_size=1, max_size=4).map(lambda tokens: "/" + "/".join(tokens))
#: The panel types of the layout, and the settings that Foxglove reads of each; anything else it ignores without a word.
#: (Those of Foxglove Studio 1.69 and Lichtblick 1.28, whose types are public.)
FOXGLOVE_READS = {
    "3D": {"cameraState", "followTf", "followMode", "scene", "topics", "transforms", "layers", "publish"},
    "Image": {"imageMode"},
    "Plot": {"paths", "minXValue", "maxXValue", "minYValue", "maxYValue", "showLegend", "legendDisplay",
             "showPlotValuesInLegend", "showXAxisLabels", "showYAxisLabels", "isSynced", "xAxisVal", "xAxisPath",
             "followingViewWidth", "sidebarDimension"},
    "DiagnosticSummary": {"minLevel", "pinnedIds", "topicToRender", "hardwareIdFilter", "sortByLevel"},
}
#: The same for what lies within these settings.
FOXGLOVE_READS_WITHIN = {
    "cameraState": {"distance", "perspective", "phi", "target", "targetOffset", "targetOrientation", "thetaOffset",
                    "fovy", "near", "far"},
    "scene": {"backgroundColor", "labelScaleFactor", "transforms"},
    "imageMode": {"imageTopic", "calibrationTopic", "annotations", "synchronize"},
}
RIGS = st.builds(
    lambda cameras, **frames: settings_from({"cameras": cameras, "reference_camera": cameras[0], **frames}),
    st.lists(TOKENS, min_size=1, max_size=32, unique=True),
    fixed_frame=st.text(min_size=1), base_frame=st.text(min_size=1))


def texts(value: Any) -> Iterator[str]:
    """All keys and values that are text."""
    if isinstance(value, str):
        yield value
    for inner in (*value, *value.values()) if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from texts(inner)


def panels(place: Any) -> list[str]:
    """The panels that a part of the window is split into."""
    return [place] if isinstance(place, str) else panels(place["first"]) + panels(place["second"])


def fields(message: str) -> dict[str, str]:
    """Type by name of the fields of a message of this package."""
    return {name: kind for kind, name in re.findall(
        r"^(\S+) (\w+)$", (ROOT / "msg" / f"{message}.msg").read_text(), re.MULTILINE)}


def check_rviz(node: str, rig: Settings, folder: Path) -> None:
    """It shows what the node publishes, in the node's frames."""
    config = yaml.safe_load((folder / RVIZ).read_text(encoding="utf-8"))
    manager = config["Visualization Manager"]
    assert manager["Global Options"]["Fixed Frame"] == rig.fixed_frame
    by_kind: dict[str, list] = {}
    for item in manager["Displays"]:
        by_kind.setdefault(item["Class"].rpartition("/")[2], []).append(item)
        assert item["Enabled"] is item["Value"]
    assert list(by_kind) == ["Grid", "TF", "MarkerArray", "Image"]
    assert by_kind["Grid"][0]["Reference Frame"] == rig.base_frame
    assert manager["Views"]["Current"]["Target Frame"] == rig.base_frame
    assert [item["Topic"]["Value"] for item in by_kind["MarkerArray"]] == [topics.MARKERS.replace("~", node)]
    assert [(item["Name"], item["Topic"]["Value"]) for item in by_kind["Image"]] == [
        (name, topics.overlay(name).replace("~", node)) for name in rig.cameras]
    assert [item["Enabled"] for item in by_kind["Image"]] == [True, *[False] * (len(rig.cameras) - 1)]
    # Without its panel displays cannot be ticked; RViz reads both switches into a variable without a value.
    assert "rviz_common/Displays" in [panel["Class"] for panel in config["Panels"]]
    assert config["Window Geometry"]["Hide Left Dock"] is config["Window Geometry"]["Hide Right Dock"] is False


def check_foxglove(node: str, rig: Settings, folder: Path) -> None:
    """Every panel has its place, every topic and every plotted field is the node's."""
    layout = json.loads((folder / FOXGLOVE).read_text(encoding="utf-8"))
    contents = layout["configById"]
    assert sorted(panels(layout["layout"])) == sorted(contents)
    for panel, content in contents.items():
        assert set(content) - {"foxglovePanelTitle"} <= FOXGLOVE_READS[panel.partition("!")[0]], panel
        for name in set(content) & set(FOXGLOVE_READS_WITHIN):
            assert set(content[name]) <= FOXGLOVE_READS_WITHIN[name], panel
        for path in content.get("paths", ()):
            assert set(path) <= {"value", "enabled", "timestampMethod", "label", "color", "showLine"}, path
            assert path["timestampMethod"] in ("headerStamp", "receiveTime")
    scene = contents["3D!objects"]
    assert scene["followTf"] == scene["layers"]["grid"]["frameId"] == rig.base_frame
    assert list(scene["topics"]) == [topics.MARKERS.replace("~", node)]
    pictures = {panel: content["imageMode"]["imageTopic"] for panel, content in contents.items() if "Image!" in panel}
    assert pictures == {f"Image!{name}": topics.overlay(name).replace("~", node) for name in rig.cameras}
    assert contents["DiagnosticSummary!node"]["topicToRender"] == topics.DIAGNOSTICS
    plotted = [path["value"] for panel in contents.values() for path in panel.get("paths", ())]
    assert len(plotted) >= 4
    for value in plotted:
        topic, *names = value.split(".")
        assert topic == topics.OBJECTS.replace("~", node)
        message = "TrackedObject3DArray"
        for field in names:
            kind = fields(message)[field.removesuffix("[:]")]
            assert kind.endswith("[]") == field.endswith("[:]"), value
            message = kind.removesuffix("[]").rpartition("/")[2]
        assert message.startswith(("float", "uint")), value


def test_what_ships_shows_the_node_without_parameters(tmp_path: Path) -> None:
    check_rviz(*SHIPPED)
    check_foxglove(*SHIPPED)
    named = {text.partition(".")[0] for text in texts(json.loads((ROOT / "config" / FOXGLOVE).read_text()))}
    assert len([text for text in named if text.startswith("/")]) == 3 + len(Settings().cameras)  # and no other topic
    for path, read in zip(write_viewer_files(tmp_path, *SHIPPED[:2]), (yaml.safe_load, json.loads), strict=True):
        assert read(path.read_text()) == read((ROOT / "config" / path.name).read_text())


@settings(deadline=None, max_examples=20)
@given(NODES, RIGS)
def test_any_rig_has_all_that_the_shipped_one_has(node: str, rig: Settings) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = write_viewer_files(Path(name), node, rig)[0].parent
        check_rviz(node, rig, folder)
        check_foxglove(node, rig, folder)


@pytest.mark.ros
@settings(deadline=None, max_examples=50)
@given(st.text("aZ_09/~{}- é", max_size=6))
def test_a_node_s_name_is_refused_as_ros_refuses_it(node: str) -> None:
    validate = pytest.importorskip("rclpy.validate_full_topic_name")
    exceptions = pytest.importorskip("rclpy.exceptions")
    with tempfile.TemporaryDirectory() as folder:
        try:
            validate.validate_full_topic_name(node)
        except exceptions.InvalidTopicNameException:
            with pytest.raises(UserError, match="is no name of a node: "):
                write_viewer_files(Path(folder), node, Settings())
        else:
            write_viewer_files(Path(folder), node, Settings())


def test_the_command_takes_the_rig_from_the_parameter_file(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("/car/eyes: {ros__parameters: {cameras: [nose, tail], reference_camera: tail, fixed_frame: map}}\n"
                    "/other: {ros__parameters: {cameras: [x], reference_camera: x}}\n")
    words = ["viewer-files", "--node", "car/eyes", "--params-file", str(mine), "--output", str(tmp_path / "a" / "b")]
    expected = Settings(cameras=("nose", "tail"), reference_camera="tail", fixed_frame="map")
    assert cli.main(words) == 0
    for check in (check_rviz, check_foxglove):
        check("/car/eyes", expected, tmp_path / "a" / "b")
    told = capsys.readouterr().out
    assert f"rviz2 -d {tmp_path}/a/b/{RVIZ}\n" in told and f"import {tmp_path}/a/b/{FOXGLOVE} " in told
    assert cli.main([*words, "--cameras", "left, right", "--fixed-frame", "world", "--base-frame", "car"]) == 0
    check_rviz("/car/eyes", dataclasses.replace(
        expected, cameras=("left", "right"), fixed_frame="world", base_frame="car"), tmp_path / "a" / "b")


@pytest.mark.parametrize(("words", "text"), [
    (["--node", "/car/6 cameras"], "'/car/6 cameras' is no name of a node"),
    (["--node", ""], "'/' is no name of a node"),
    (["--cameras", "front left"], "'front left', which cannot be part of a topic name"),
    (["--cameras", "a,,b"], "must be a list of names"),
    (["--cameras", "a,b,a"], "names 'a' twice"),
    (["--fixed-frame", ""], "'fixed_frame' is empty"),
    (["--params-file", "/nowhere.yaml"], "/nowhere.yaml is not a file"),
    (["--output", "/dev/null/views"], "/dev/null/views was not written: "),
])
def test_what_is_wrong_is_named(words: list[str], text: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert cli.main(["viewer-files", "--output", str(tmp_path), *words]) == 2
    assert text in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_left_and_right_lie_side_by_side(tmp_path: Path) -> None:
    cameras = ("CAM_FRONT", "CAM_RIGHT", "CAM_LEFT", "tele", "rear", "rear_left")
    _, path = write_viewer_files(tmp_path, "/eyes", Settings(cameras=cameras))
    rows, place = [], json.loads(path.read_text())["layout"]["second"]
    while isinstance(place, dict) and place["direction"] == "column":
        rows, place = [*rows, panels(place["first"])], place["second"]
    assert [*rows, panels(place)] == [["Image!CAM_FRONT", "Image!tele"], ["Image!rear"],
                                      ["Image!CAM_LEFT", "Image!CAM_RIGHT"], ["Image!rear_left"]]
