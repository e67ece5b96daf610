"""The node's topic names, and the remappings that connect it to a vehicle's cameras. No ROS import here."""

from __future__ import annotations

from collections.abc import Iterable

#: Name of the node unless it is remapped; `~` below stands for namespace and name.
NODE_NAME = "sparse4d_node"

OBJECTS = "~/output/objects"
DETECTIONS = "~/output/detections"
MARKERS = "~/output/markers"
MODEL_INFO = "~/model_info"
DIAGNOSTICS = "/diagnostics"
RESET = "~/reset"
SET_ENABLED = "~/set_enabled"


def image(camera: str, transport: str) -> str:
    """Topic of a camera's images; the suffix follows image_transport."""
    return f"~/input/{camera}/image" + ("/compressed" if transport == "compressed" else "")


def camera_info(camera: str) -> str:
    """Topic of a camera's calibration."""
    return f"~/input/{camera}/camera_info"


def overlay(camera: str) -> str:
    """Topic of a camera's debug image, named as image_transport wants it: RViz shows no other compressed image."""
    return f"~/debug/{camera}/overlay/compressed"


def camera_remaps(cameras: Iterable[str], image_pattern: str = "/camera/{name}/image/compressed",
                  info_pattern: str = "/camera/{name}/camera_info") -> list[str]:
    """Command line words that connect every camera's inputs to topics named by a pattern.

    They go behind ``--ros-args``. The transport is read off the image pattern: one that ends in
    ``/compressed`` remaps the compressed input (set ``image_transport`` to match).
    """
    transport = "compressed" if image_pattern.endswith("/compressed") else "raw"
    words: list[str] = []
    for name in cameras:
        words += ["-r", f"{image(name, transport)}:={image_pattern.format(name=name)}",
                  "-r", f"{camera_info(name)}:={info_pattern.format(name=name)}"]
    return words
