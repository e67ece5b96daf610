"""The Foxglove layout: every panel has its place, and every topic and field in it is the node's."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sparse4d_ros.node import topics
from sparse4d_ros.node.settings import NUSCENES_CAMERAS, Settings

ROOT = Path(__file__).resolve().parents[1]
LAYOUT = json.loads((ROOT / "config" / "sparse4d.foxglove.json").read_text())
OBJECTS = topics.OBJECTS.replace("~", f"/{topics.NODE_NAME}")


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


def test_every_panel_has_one_place() -> None:
    assert sorted(panels(LAYOUT["layout"])) == sorted(LAYOUT["configById"])


def test_topics_are_those_of_the_node() -> None:
    named = {text.partition(".")[0] for text in texts(LAYOUT["configById"]) if text.startswith("/")}
    node = [topics.MARKERS, topics.OBJECTS, topics.DIAGNOSTICS, *(topics.overlay(name) for name in NUSCENES_CAMERAS)]
    assert named == {topic.replace("~", f"/{topics.NODE_NAME}") for topic in node}
    assert LAYOUT["configById"]["3D!objects"]["followTf"] == Settings().base_frame


def test_plotted_fields_exist() -> None:
    plotted = [path["value"] for panel in LAYOUT["configById"].values() for path in panel.get("paths", ())]
    assert len(plotted) >= 4
    for value in plotted:
        message = "TrackedObject3DArray"
        for field in value.removeprefix(f"{OBJECTS}.").split("."):
            kind = fields(message)[field.removesuffix("[:]")]
            assert kind.endswith("[]") == field.endswith("[:]"), value
            message = kind.removesuffix("[]").rpartition("/")[2]
        assert message.startswith(("float", "uint")), value
