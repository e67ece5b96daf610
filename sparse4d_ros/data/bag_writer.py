"""Labelled frames as a rosbag2 (MCAP): what the simulator and the converters write, and replay plays.

Per frame: one JPEG and one camera_info for each camera at that camera's own stamp, the vehicle's
pose on /tf and the labelled objects at the reference stamp. The camera mountings stand on
/tf_static. Log times follow the stamps by the delay that a driver and a network have, and rise
throughout the file.
"""

from __future__ import annotations

import heapq
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from sparse4d_ros import geometry
from sparse4d_ros.boxes import NUSCENES_CLASSES
from sparse4d_ros.data import images, ros_messages
from sparse4d_ros.data.ros_types import typestore
from sparse4d_ros.errors import UserError
from sparse4d_ros.frame import CameraFrame, LabelledFrame

GROUND_TRUTH_TOPIC = "/ground_truth/objects"
#: Stamp to log time: exposure, encoding and transport of an image; odometry is quicker.
IMAGE_DELAY_NS = 20_000_000
TF_DELAY_NS = 2_000_000
#: Poses between frames, so that nobody has to interpolate over more than this.
MAX_TF_INTERVAL_NS = 20_000_000
#: Poses that two cameras of a frame imply for one stamp may differ by this: real recordings round their
#: stamps (9 mm were seen), a wrong rig is off by far more.
MAX_POSE_GAP_M = 0.05
MAX_ROTATION_GAP = 0.01  # of the matrix entries, about half a degree

_FOREVER = QosTime(9_223_372_036, 854_775_807)  # what rosbag2 records for "no limit"


def optical_frame(camera: str) -> str:
    """The tf frame of a camera: z forward, x right, y down (REP-103)."""
    return f"{camera}_optical_frame"


class BagWriter:
    """Writes frame by frame; use as a context manager.

    The bag appears at ``path`` when the block ends without an error, and never in part. An
    existing bag is refused unless ``overwrite``, and then replaced only at the end.

    ``vehicle_from_camera`` holds the mounting of each camera, ``[4, 4]``. The ego motion up to
    each camera's stamp follows from it and the frames' ``camera_from_vehicle``.
    """

    def __init__(self, path: str | Path, vehicle_from_camera: Mapping[str, np.ndarray], *, jpeg_quality: int = 90,
                 overwrite: bool = False, fixed_frame: str = "odom", vehicle_frame: str = "base_link",
                 classes: tuple[str, ...] = NUSCENES_CLASSES) -> None:
        self.path = Path(path)
        if self.path.exists() and not overwrite:
            raise UserError(f"{self.path} exists already; remove it, choose another name, or ask to overwrite it")
        self.rig = {name: geometry.check_rigid(pose, f"vehicle_from_camera of {name}")
                    for name, pose in vehicle_from_camera.items()}
        self.jpeg_quality = jpeg_quality
        self.fixed_frame, self.vehicle_frame = fixed_frame, vehicle_frame
        self.classes = classes
        self.frames_written = 0
        self._queue: list[tuple[int, int, str, bytes]] = []  # (log time, order of arrival, topic, message)
        self._arrivals = 0
        self._poses: dict[int, np.ndarray] = {}
        self._last_pose: tuple[int, np.ndarray] | None = None
        self._horizon_ns: int | None = None
        self._connections: dict = {}

    def __enter__(self):
        # The file inside is named after its folder, so the partial one has the final name already.
        self._scratch = self.path.with_name(f"{self.path.name}.partial")
        shutil.rmtree(self._scratch, ignore_errors=True)
        self._scratch.mkdir(parents=True)
        self._writer = Writer(self._scratch / self.path.name, version=9, storage_plugin=StoragePlugin.MCAP)
        # Chunks of the MCAP file, which every reader of MCAP knows: JPEG stays as large, the rest shrinks to a fifth.
        self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        self._writer.open()
        return self

    def __exit__(self, kind, error, traceback) -> None:
        try:
            if kind is None:
                self._finish()
            else:
                self._writer.close()
        finally:
            shutil.rmtree(self._scratch, ignore_errors=True)

    def add(self, item: LabelledFrame, encoded: Mapping[str, bytes] | None = None) -> None:
        """Write one frame; ``encoded`` gives pictures that are JPEG already, by camera name.

        Frames come in order of time; ``objects`` may be None (no ground truth). Raises
        ``ValueError`` for frames out of order, cameras that the rig lacks, or poses of the cameras
        that contradict the rig.
        """
        frame = item.frame
        stamps = [frame.stamp_ns, *(camera.stamp_ns for camera in frame.cameras)]
        horizon_ns = min(stamps)
        if self._horizon_ns is not None and horizon_ns <= self._horizon_ns:
            raise ValueError(f"the frame at {frame.stamp_ns} ns is not later than the one before it")
        poses = self._frame_poses(item)
        if self.frames_written == 0:
            self._put_static(horizon_ns)
        self._horizon_ns = horizon_ns
        self._poses.update(poses)
        for camera in frame.cameras:
            self._put_camera(camera, (encoded or {}).get(camera.name))
        if item.objects is not None:
            self._put(GROUND_TRUTH_TOPIC, ros_messages.OBJECTS, frame.stamp_ns + IMAGE_DELAY_NS,
                      ros_messages.ground_truth(frame.stamp_ns, self.vehicle_frame, item.objects, self.classes,
                                                self.frames_written))
        self.frames_written += 1
        # Whatever still comes is stamped after the horizon, so poses up to it are complete.
        self._put_poses(horizon_ns)
        self._flush(horizon_ns)

    def _frame_poses(self, item: LabelledFrame) -> dict[int, np.ndarray]:
        """Pose of the vehicle in the fixed frame at every stamp of the frame, checked against each other."""
        frame = item.frame
        poses = {frame.stamp_ns: frame.fixed_from_vehicle}
        for camera in frame.cameras:
            if camera.name not in self.rig:
                raise ValueError(f"the rig has no camera {camera.name!r} (it has {', '.join(self.rig)})")
            vehicle_then_from_now = self.rig[camera.name] @ camera.camera_from_vehicle
            pose = frame.fixed_from_vehicle @ geometry.inverse(vehicle_then_from_now)
            gap = np.abs(poses.setdefault(camera.stamp_ns, pose) - pose)
            if gap[:3, 3].max() > MAX_POSE_GAP_M or gap[:3, :3].max() > MAX_ROTATION_GAP:
                raise ValueError(f"camera {camera.name!r} at {camera.stamp_ns} ns: camera_from_vehicle contradicts "
                                 "the rig and the ego motion of the frame")
        return poses

    def _put_static(self, stamp_ns: int) -> None:
        mountings = [ros_messages.transform(stamp_ns, self.vehicle_frame, optical_frame(name), pose)
                     for name, pose in self.rig.items()]
        self._put("/tf_static", ros_messages.TF, stamp_ns, ros_messages.tf_message(mountings))

    def _put_camera(self, camera: CameraFrame, jpeg: bytes | None) -> None:
        if camera.image is None and jpeg is None:
            return
        frame_id = optical_frame(camera.name)
        if jpeg is None:
            jpeg = images.encode_jpeg(camera.image, self.jpeg_quality)
        picture = ros_messages.compressed_image(camera.stamp_ns, frame_id, jpeg)
        image = images.decode(picture, camera.name) if camera.image is None else camera.image
        height, width = image.shape[:2]
        at_ns = camera.stamp_ns + IMAGE_DELAY_NS
        self._put(f"/camera/{camera.name}/camera_info", ros_messages.CAMERA_INFO, at_ns,
                  ros_messages.camera_info(camera.stamp_ns, frame_id, camera.intrinsic, width, height))
        self._put(f"/camera/{camera.name}/image/compressed", ros_messages.COMPRESSED_IMAGE, at_ns, picture)

    def _put_poses(self, until_ns: int) -> None:
        """Queue the known poses up to a time, and interpolated ones between them."""
        for stamp_ns in sorted(stamp for stamp in self._poses if stamp <= until_ns):
            pose = self._poses.pop(stamp_ns)
            if self._last_pose is not None:
                last_ns, last = self._last_pose
                steps = -(-(stamp_ns - last_ns) // MAX_TF_INTERVAL_NS)
                for step in range(1, steps):
                    between_ns = last_ns + (stamp_ns - last_ns) * step // steps
                    fraction = (between_ns - last_ns) / (stamp_ns - last_ns)
                    self._put_pose(between_ns, geometry.interpolate(last, pose, fraction))
            self._put_pose(stamp_ns, pose)
            self._last_pose = (stamp_ns, pose)

    def _put_pose(self, stamp_ns: int, pose: np.ndarray) -> None:
        moving = ros_messages.transform(stamp_ns, self.fixed_frame, self.vehicle_frame, pose)
        self._put("/tf", ros_messages.TF, stamp_ns + TF_DELAY_NS, ros_messages.tf_message([moving]))

    def _put(self, topic: str, kind: str, log_ns: int, message) -> None:
        if topic not in self._connections:
            self._connections[topic] = self._writer.add_connection(
                topic, kind, typestore=typestore(), offered_qos_profiles=[_qos(latched=topic == "/tf_static")])
        raw = bytes(typestore().serialize_cdr(message, kind))
        heapq.heappush(self._queue, (log_ns, self._arrivals, topic, raw))
        self._arrivals += 1

    def _flush(self, before_ns: int | None = None) -> None:
        while self._queue and (before_ns is None or self._queue[0][0] < before_ns):
            log_ns, _, topic, raw = heapq.heappop(self._queue)
            self._writer.write(self._connections[topic], log_ns, raw)

    def _finish(self) -> None:
        if not self.frames_written:
            self._writer.close()
            raise UserError(f"nothing was written to {self.path}: there were no frames")
        self._put_poses(max(self._poses, default=0))
        self._flush()
        self._writer.close()
        if self.path.exists():
            self.path.rename(self._scratch / "replaced")
        (self._scratch / self.path.name).rename(self.path)


def write_bag(path: str | Path, frames: Iterable[LabelledFrame], vehicle_from_camera: Mapping[str, np.ndarray],
              **options) -> int:
    """Write all frames and return how many there were; ``options`` as of :class:`BagWriter`."""
    with BagWriter(path, vehicle_from_camera, **options) as writer:
        for item in frames:
            writer.add(item)
        return writer.frames_written


def _qos(latched: bool) -> Qos:
    """Reliable as drivers offer it, so that best-effort and reliable readers both match; latched for /tf_static."""
    return Qos(
        history=QosHistory.KEEP_LAST, depth=10, reliability=QosReliability.RELIABLE,
        durability=QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE,
        deadline=_FOREVER, lifespan=_FOREVER, liveliness=QosLiveliness.AUTOMATIC,
        liveliness_lease_duration=_FOREVER, avoid_ros_namespace_conventions=False,
    )
