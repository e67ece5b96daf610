"""Single pictures of a bag, as the node would see them."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np

from sparse4d_ros.data import bag_files, images
from sparse4d_ros.data.camera_info import Undistorter
from sparse4d_ros.data.images import CameraError
from sparse4d_ros.findings import FAIL, Finding
from sparse4d_ros.node.settings import Settings
from sparse4d_ros.rig_check.mounted import MountedCamera
from sparse4d_ros.rig_check.recording import Recording


def read_pictures(recording: Recording, mounted: dict[str, MountedCamera], wanted: Collection[tuple[str, int]],
                  settings: Settings) -> Iterator[tuple[str, int, np.ndarray]]:
    """``(camera, stamp in ns, BGR picture)`` for each wanted camera and stamp, in order of arrival.

    Undistorted if the settings say so. One that cannot be decoded is left out and noted in its camera's record.
    """
    camera_of = {recording.cameras[name].image_topic: name for name, _ in wanted}
    undistorters = {name: Undistorter(mounted[name].calibration) for name in camera_of.values()
                    if settings.undistort and mounted[name].calibration.distorted}
    with bag_files.open_bag(recording.path) as reader:
        connections = [connection for connection in reader.connections if connection.topic in camera_of]
        for connection, _, raw in bag_files.messages(reader, connections):
            name = camera_of[connection.topic]
            if len(raw) < 12 or (name, stamp_ns := bag_files.header_stamp_ns(raw)) not in wanted:
                continue
            try:
                image = images.decode(bag_files.deserialize(reader, connection, raw), name)
                mounted[name].calibration.intrinsic_for(image.shape[1], image.shape[0])
            except CameraError as error:
                recording.cameras[name].broken[stamp_ns] = str(error)
                continue
            yield name, stamp_ns, undistorters[name](image) if name in undistorters else image


def check_pictures(recording: Recording) -> list[Finding]:
    """A finding for each camera of which a picture that was looked at is broken."""
    return [Finding(
        FAIL, "pictures", camera.name,
        f"{len(camera.broken)} of the pictures looked at cannot be used: "
                    + next(iter(camera.broken.values())).removeprefix(f"camera '{camera.name}': "),
        "see what the driver publishes, and whether the recorder lost parts of messages")
            for camera in recording.cameras.values() if camera.broken]
