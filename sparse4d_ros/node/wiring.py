"""What launch arguments and a parameter file make of the node: its name, its cameras, their topics. No ROS import here.

The launch files say the same of the node to the node itself, to the player and to what shows it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sparse4d_ros.errors import UserError, shown
from sparse4d_ros.node import topics
from sparse4d_ros.node.parameters import settings_from
from sparse4d_ros.node.settings import Settings

#: Image topics where none are named, by transport; the compressed ones are those of the bags that we write.
IMAGES = {"compressed": "/camera/{name}/image/compressed", "raw": "/camera/{name}/image"}
#: Launch argument -> (default, description).
ARGUMENTS = {
    "namespace": ("", "Namespace of the node."),
    "params_file": ("", "Parameter file of the node. Empty: the defaults, which config/sparse4d.yaml lists."),
    "cameras": ("", "Camera names in the model's order, separated by commas. Empty: what the parameter file says."),
    "reference_camera": ("", "The camera whose stamp a result carries. Empty: what the parameter file says."),
    "images": ("", "Image topics, {name} stands for the camera. One that ends in /compressed carries CompressedImage. "
               f"Empty: {IMAGES['compressed']}, or {IMAGES['raw']} if the parameter file says image_transport: raw."),
    "camera_infos": ("/camera/{name}/camera_info", "Calibration topics, {name} stands for the camera."),
    "fixed_frame": ("", "Continuous frame in which the vehicle moves. Empty: what the parameter file says."),
}
#: Parameters that arguments give, or that topics and viewers follow from; the node itself checks all others.
_SHARED = ("cameras", "reference_camera", "image_transport", "base_frame", "fixed_frame")
_TOPIC = re.compile(r"(~?/)?[A-Za-z_]\w*(/[A-Za-z_]\w*)*", re.ASCII)


@dataclass(frozen=True)
class Wiring:
    """The node as it will run; ``settings`` are right about cameras, transport and frames alone."""

    #: Its name with its namespace.
    node: str
    settings: Settings
    #: What the arguments say over the parameter file.
    overrides: dict[str, Any]
    #: Topics, ``{name}`` stands for the camera.
    images: str
    camera_infos: str

    def remappings(self) -> list[tuple[str, str]]:
        """From the node's inputs to the topics; ``UserError`` if a pattern makes none of them."""
        return [pair for camera in self.settings.cameras for pair in (
            (topics.image(camera, self.settings.image_transport), self._topic("images", self.images, camera)),
            (topics.camera_info(camera), self._topic("camera_infos", self.camera_infos, camera)))]

    def _topic(self, argument: str, pattern: str, camera: str) -> str:
        count = len(self.settings.cameras)
        if "{name}" not in pattern and count > 1:
            raise UserError(f"{argument}:={pattern} names one topic for {count} cameras; write {{name}} where the "
                            "camera's name belongs")
        topic = pattern.replace("{name}", camera)
        if not _TOPIC.fullmatch(topic):
            raise UserError(f"{argument}:={pattern} makes {topic!r}, which is no name of a topic")
        return topic


def wired(value: Mapping[str, str]) -> Wiring:
    """What the texts of :data:`ARGUMENTS` say; ``UserError`` names an argument, file or parameter that is wrong.

    What the node would refuse is refused here: a topic of a wrong name would end it before it can say so.
    """
    node = "/".join(["", *filter(None, value["namespace"].split("/")), topics.NODE_NAME])
    told = told_by_file(Path(value["params_file"]), node) if value["params_file"] else {}
    overrides: dict[str, Any] = {name: value[name] for name in ("reference_camera", "fixed_frame") if value[name]}
    if value["cameras"]:
        overrides["cameras"] = [name.strip() for name in value["cameras"].split(",")]
    if value["images"]:
        overrides["image_transport"] = "compressed" if value["images"].endswith("/compressed") else "raw"
    else:
        overrides["image_transport"] = told.get("image_transport", "compressed")
    settings = settings_from({**told, **overrides})
    return Wiring(node, settings, overrides, value["images"] or IMAGES[settings.image_transport],
                  value["camera_infos"])


def told_by_file(path: Path, node: str) -> dict[str, Any]:
    """The parameters of :data:`_SHARED` that a ROS parameter file gives the node of this full name, unchecked.

    Where several sections are for the node the last one counts, as in rcl. ``UserError`` if it is no such file.
    """
    if not path.is_file():
        raise UserError(f"{path} is not a file")
    try:
        sections = list(_sections(yaml.safe_load(path.read_text(encoding="utf-8")) or {}))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError(f"{path} is no ROS parameter file: {' '.join(str(error).split())}") from error
    return {name: parameters[name] for pattern, parameters in sections if _is_for(pattern, node)
            for name in _SHARED if name in parameters}


def _sections(tree: Any, pattern: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Names of nodes, with wildcards, and the parameters that a file has for each."""
    if not isinstance(tree, Mapping):
        raise ValueError(f"{shown(tree)} stands where a node's name, ros__parameters or parameters are expected")
    for key, below in tree.items():
        if key != "ros__parameters":
            yield from _sections(below, f"{pattern}/{str(key).strip('/')}")
        elif isinstance(below, Mapping):
            yield pattern, below
        else:
            raise ValueError(f"ros__parameters is {shown(below)}")


def _is_for(pattern: str, node: str) -> bool:
    words = {"**": "(/[^/]+)*", "*": "/[^/]+"}
    return bool(re.fullmatch("".join(words.get(word, "/" + re.escape(word)) for word in pattern.split("/")[1:]), node))
