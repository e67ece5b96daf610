"""Labelled frames as a rosbag2 (MCAP): what the simulator and the converters write, and replay plays.

Per frame: one JPEG and one camera_info for each camera at that camera's own stamp, the vehicle's
pose on /tf and the labelled objects at the reference stamp. The camera mountings stand on
/tf_static. Log times follow the stamps by the delay that a driver and a network have, and rise
throughout the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from sparse4d_ros import geometry
from sparse4d_ros.data import images, ros_messages
from sparse4d_ros.data.bag_output import BagOutput
from sparse4d_ros.errors import UserError
from sparse4d_ros.frame import CameraFrame, LabelledFrame

#: Poses between frames, so that nobody has to interpolate over more than this.
MAX_TF_INTERVAL_NS = 20_000_000
#: Poses that two cameras of a frame imply for one stamp may differ by this: real recordings round their
#: stamps (9 mm were seen), a wrong rig is off by far more.
MAX_POSE_GAP_M = 0.05
MAX_ROTATION_GAP = 0.01  # of the matrix entries, about half a degree


class BagWriter(BagOutput):
    """Writes frame by frame; use as a context manager.

    ``vehicle_from_camera`` holds the mounting of each camera, ``[4, 4]``. The ego motion up to
    each camera's stamp follows from it and the frames' ``camera_from_vehicle``. ``options`` are
    those of :class:`BagOutput`.
    """

    def __init__(self, path: str | Path, vehicle_from_camera: Mapping[str, np.ndarray], *, jpeg_quality: int = 90,
                 **options) -> None:
        super().__init__(path, **options)
        self.rig = {name: geometry.check_rigid(pose, f"vehicle_from_camera of {name}")
                    for name, pose in vehicle_from_camera.items()}
        self.jpeg_quality = jpeg_quality
        self.frames_written = 0
        self._poses: dict[int, np.ndarray] = {}
        self._last_pose: tuple[int, np.ndarray] | None = None
        self._horizon_ns: int | None = None

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
            self.put_mountings(horizon_ns, self.rig)
        self._horizon_ns = horizon_ns
        self._poses.update(poses)
        for camera in frame.cameras:
            self._put_camera(camera, (encoded or {}).get(camera.name))
        if item.objects is not None:
            self.put_objects(frame.stamp_ns, item.objects, self.frames_written)
        self.frames_written += 1
        # Whatever still comes is stamped after the horizon, so poses up to it are complete.
        self._put_poses(horizon_ns)
        self.flush(horizon_ns)

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

    def _put_camera(self, camera: CameraFrame, jpeg: bytes | None) -> None:
        if camera.image is None and jpeg is None:
            return
        if jpeg is None:
            jpeg = images.encode_jpeg(camera.image, self.jpeg_quality)
        image = camera.image
        if image is None:
            image = images.decode(ros_messages.compressed_image(camera.stamp_ns, "", jpeg), camera.name)
        height, width = image.shape[:2]
        self.put_camera(camera.name, camera.stamp_ns, jpeg, camera.intrinsic, width, height)

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
                    self.put_pose(between_ns, geometry.interpolate(last, pose, fraction))
            self.put_pose(stamp_ns, pose)
            self._last_pose = (stamp_ns, pose)

    def finish(self) -> None:
        """Write the rest and let the bag appear; ``UserError`` if there were no frames."""
        if not self.frames_written:
            self._writer.close()
            raise UserError(f"nothing was written to {self.path}: there were no frames")
        self._put_poses(max(self._poses, default=0))
        super().finish()


def write_bag(path: str | Path, frames: Iterable[LabelledFrame], vehicle_from_camera: Mapping[str, np.ndarray],
              **options) -> int:
    """Write all frames and return how many there were; ``options`` as of :class:`BagWriter`."""
    with BagWriter(path, vehicle_from_camera, **options) as writer:
        for item in frames:
            writer.add(item)
        return writer.frames_written
