"""The node's topic names. No ROS import here."""

from __future__ import annotations

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
