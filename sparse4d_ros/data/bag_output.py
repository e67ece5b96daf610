"""A rosbag2 (MCAP) under construction: which topics our bags have, and that they appear whole or not at all.

Log times follow the stamps by the delay that a driver and a network have.
"""

from __future__ import annotations

import contextlib
import heapq
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from sparse4d_ros.boxes import NUSCENES_CLASSES
from sparse4d_ros.data import bag_files, ros_messages
from sparse4d_ros.data.ros_types import typestore
from sparse4d_ros.errors import UserError
from sparse4d_ros.frame import Objects
from sparse4d_ros.writing import blaming

GROUND_TRUTH_TOPIC = "/ground_truth/objects"
#: Stamp to log time: exposure, encoding and transport of an image; odometry is quicker.
IMAGE_DELAY_NS = 20_000_000
TF_DELAY_NS = 2_000_000

_FOREVER = QosTime(9_223_372_036, 854_775_807)  # what rosbag2 records for "no limit"


def optical_frame(camera: str) -> str:
    """The tf frame of a camera: z forward, x right, y down (REP-103)."""
    return f"{camera}_optical_frame"


class NewBag:
    """A bag that appears at ``path`` when the block ends without an error, and never in part; ``UserError`` if the disk
    is full.

    An existing bag is refused unless ``overwrite``, and then replaced only at the end; a file, or a folder that holds
    something else, is never replaced. ``weather`` are words separated by commas; they stand in the ``custom_data`` of
    the bag's metadata.
    """

    def __init__(self, path: str | Path, *, overwrite: bool = False, weather: str = "") -> None:
        self.path, self.weather = Path(path), weather
        if self.path.exists() and not overwrite:
            raise UserError(f"{self.path} exists already; remove it, choose another name, or ask to overwrite it")
        if self.path.exists() and not (self.path / "metadata.yaml").is_file() and (
                not self.path.is_dir() or any(self.path.iterdir())):
            raise UserError(f"{self.path} exists and is no rosbag2 (it has no metadata.yaml): it is not overwritten")

    def __enter__(self):
        # The file inside is named after its folder, so the partial one has the final name already.
        self._scratch = self.path.with_name(f"{self.path.name}.partial")
        #: What is being written to.
        self.file = self._scratch / self.path.name / f"{self.path.name}.mcap"
        shutil.rmtree(self._scratch, ignore_errors=True)
        with blaming(self.path):
            self._scratch.mkdir(parents=True)
        self._writer = Writer(self._scratch / self.path.name, version=9, storage_plugin=StoragePlugin.MCAP)
        # Chunks of the MCAP file, which every reader of MCAP knows: JPEG stays as large, the rest shrinks to a fifth.
        self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        if self.weather:
            self._writer.set_custom_data(bag_files.WEATHER, self.weather)
        with blaming(self.path):
            self._writer.open()
        return self

    def __exit__(self, kind, error, traceback) -> None:
        try:
            if kind is None:
                self.finish()
            else:
                with contextlib.suppress(OSError):  # what went wrong is told, not that closing fails as well
                    self._writer.close()
        finally:
            shutil.rmtree(self._scratch, ignore_errors=True)

    def finish(self) -> None:
        """Let the bag appear."""
        with blaming(self.path):
            self._writer.close()
            if self.path.exists():
                self.path.rename(self._scratch / "replaced")
            (self._scratch / self.path.name).rename(self.path)


class BagOutput(NewBag):
    """Takes cameras, poses and objects and writes them in order of log time; use as a context manager."""

    def __init__(self, path: str | Path, *, fixed_frame: str = "odom", vehicle_frame: str = "base_link",
                 classes: tuple[str, ...] = NUSCENES_CLASSES, **bag) -> None:
        """``bag`` are the arguments of :class:`NewBag`."""
        super().__init__(path, **bag)
        self.fixed_frame, self.vehicle_frame = fixed_frame, vehicle_frame
        self.classes = classes
        self._queue: list[tuple[int, int, str, bytes]] = []  # (log time, order of arrival, topic, message)
        self._arrivals = 0
        self._connections: dict = {}

    def put_mountings(self, stamp_ns: int, vehicle_from_camera: Mapping[str, np.ndarray]) -> None:
        """The cameras' mountings ``[4, 4]`` on /tf_static, from a time on."""
        mountings = [ros_messages.transform(stamp_ns, self.vehicle_frame, optical_frame(name), pose)
                     for name, pose in vehicle_from_camera.items()]
        self._put("/tf_static", ros_messages.TF, stamp_ns, ros_messages.tf_message(mountings))

    def put_camera(self, name: str, stamp_ns: int, jpeg: bytes, intrinsic: np.ndarray, width: int, height: int
                   ) -> None:
        """A picture, byte by byte, and its camera_info; ``intrinsic`` is K ``[3, 3]``, the size in pixels."""
        at_ns, frame_id = stamp_ns + IMAGE_DELAY_NS, optical_frame(name)
        self._put(f"/camera/{name}/camera_info", ros_messages.CAMERA_INFO, at_ns,
                  ros_messages.camera_info(stamp_ns, frame_id, intrinsic, width, height))
        self._put(f"/camera/{name}/image/compressed", ros_messages.COMPRESSED_IMAGE, at_ns,
                  ros_messages.compressed_image(stamp_ns, frame_id, jpeg))

    def put_pose(self, stamp_ns: int, fixed_from_vehicle: np.ndarray) -> None:
        """The vehicle's pose ``[4, 4]`` on /tf."""
        moving = ros_messages.transform(stamp_ns, self.fixed_frame, self.vehicle_frame, fixed_from_vehicle)
        self._put("/tf", ros_messages.TF, stamp_ns + TF_DELAY_NS, ros_messages.tf_message([moving]))

    def put_objects(self, stamp_ns: int, objects: Objects, sequence: int) -> None:
        """Ground truth in the vehicle frame; ``sequence`` numbers its messages."""
        self._put(GROUND_TRUTH_TOPIC, ros_messages.OBJECTS, stamp_ns + IMAGE_DELAY_NS, ros_messages.ground_truth(
            stamp_ns, self.vehicle_frame, objects, self.classes, sequence))

    def flush(self, before_ns: int | None = None) -> None:
        """Write what is logged before a time (None: everything); nothing earlier may come afterwards."""
        while self._queue and (before_ns is None or self._queue[0][0] < before_ns):
            log_ns, _, topic, raw = heapq.heappop(self._queue)
            with blaming(self.path):
                self._writer.write(self._connections[topic], log_ns, raw)

    def finish(self) -> None:
        """Write the rest and let the bag appear."""
        self.flush()
        super().finish()

    def put_raw(self, topic: str, kind: str, log_ns: int, raw: bytes, *, latched: bool = False) -> None:
        """A serialised message (CDR) of a type of :func:`ros_types.typestore`."""
        if topic not in self._connections:
            self._connections[topic] = self._writer.add_connection(
                topic, kind, typestore=typestore(), offered_qos_profiles=[_qos(latched)])
        heapq.heappush(self._queue, (log_ns, self._arrivals, topic, raw))
        self._arrivals += 1

    def _put(self, topic: str, kind: str, log_ns: int, message) -> None:
        raw = bytes(typestore().serialize_cdr(message, kind))
        self.put_raw(topic, kind, log_ns, raw, latched=topic == "/tf_static")


def _qos(latched: bool) -> Qos:
    """Reliable as drivers offer it, so that best-effort and reliable readers both match; latched for /tf_static."""
    return Qos(
        history=QosHistory.KEEP_LAST, depth=10, reliability=QosReliability.RELIABLE,
        durability=QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE,
        deadline=_FOREVER, lifespan=_FOREVER, liveliness=QosLiveliness.AUTOMATIC,
        liveliness_lease_duration=_FOREVER, avoid_ros_namespace_conventions=False,
    )
