"""Objects that a bag knows of, for a look whether they lie on what the cameras see."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from sparse4d_ros import boxes
from sparse4d_ros.data import bag_files, ros_messages
from sparse4d_ros.data.bag_output import GROUND_TRUTH_TOPIC
from sparse4d_ros.errors import UserError
from sparse4d_ros.evaluation.records import FrameResult
from sparse4d_ros.frame import Objects
from sparse4d_ros.rig_check.motion import Motion
from sparse4d_ros.rig_check.recording import Recording

#: Objects this old or young are drawn where they have moved to by then.
_NEAR_NS = 200_000_000
#: Objects that are hardly seen, or hardly believed, are not.
_SHOWN = 0.3


class KnownObjects:
    """The ground truth of a bag, or else the objects that the node published while it was recorded.

    Only those near one of ``stamps_ns`` are read. ``UserError`` for a message that holds no objects.
    """

    def __init__(self, recording: Recording, motion: Motion | None, base_frame: str, stamps_ns: Collection[int]
                 ) -> None:
        self._tree, self._base = recording.tree, base_frame
        self._fixed = motion.fixed_frame if motion else None
        self._objects: dict[int, Objects] = {}
        with bag_files.open_bag(recording.path) as reader:
            topics = sorted((topic for topic, info in reader.topics.items() if info.msgtype == ros_messages.OBJECTS),
                            key=lambda topic: topic != GROUND_TRUTH_TOPIC)
            connections = [connection for connection in reader.connections if connection.topic in topics[:1]]
            for connection, _, raw in bag_files.messages(reader, connections):
                try:
                    stamp_ns = bag_files.header_stamp_ns(raw)
                    if all(abs(stamp_ns - wanted_ns) > _NEAR_NS for wanted_ns in stamps_ns):
                        continue
                    message = bag_files.deserialize(reader, connection, raw)
                    if message.header.frame_id == base_frame:
                        self._objects[stamp_ns] = ros_messages.objects_of(message)
                except ValueError as error:
                    raise UserError(f"{recording.path}: {connection.topic}: {error}") from error

    def at(self, stamp_ns: int) -> FrameResult | None:
        """The objects in the vehicle frame at a stamp, as far as they move steadily; None if none are known near it."""
        nearest = min(self._objects, key=lambda other: abs(other - stamp_ns), default=None)
        if nearest is None or abs(nearest - stamp_ns) > _NEAR_NS:
            return None
        known = self._objects[nearest]
        shown = known.visibility >= _SHOWN  # of tracks: their score
        moved = known.boxes[shown]
        moved[:, :3] += np.nan_to_num(moved[:, boxes.VX:boxes.VZ + 1]) * (stamp_ns - nearest) * 1e-9
        if self._fixed and all(self._tree.covers(self._fixed, self._base, stamp) for stamp in (nearest, stamp_ns)):
            then, now = (self._tree.lookup(self._fixed, self._base, stamp) for stamp in (nearest, stamp_ns))
            moved = boxes.transform(moved, np.linalg.inv(now) @ then)
        sure = np.ones(len(moved))
        names = tuple(name for name, show in zip(known.names, shown, strict=True) if show)
        return FrameResult(stamp_ns, moved, names, sure, sure, known.instance_ids[shown])
