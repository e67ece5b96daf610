"""In which frame the vehicle of a bag moves: asked by replay.launch.py before it starts the node. Needs no ROS.

A program of its own: `ros2 launch` runs in the system's Python, which need not have what reads bags.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from sparse4d_ros.data import bag_files, ros_messages
from sparse4d_ros.data.bag_reader import FIXED_FRAMES
from sparse4d_ros.data.transforms import TransformTree
from sparse4d_ros.errors import UserError

#: What moves later does not count: a long recording without the preferred frame is not read to its end.
_WITHIN_NS = 20_000_000_000


def find_fixed_frame(path: Path, preferred: str, vehicle_frame: str) -> str:
    """The first of ``preferred``, ``odom`` and ``map`` that transforms in a bag's first seconds join to the vehicle.

    ``preferred`` if they join none of these: the node then says what is missing. ``UserError`` for a broken bag.
    """
    tree = TransformTree()
    with bag_files.open_bag(path) as reader:
        wanted = [item for item in reader.connections
                  if item.topic in ("/tf", "/tf_static") and item.msgtype == ros_messages.TF]
        try:
            for connection, _, raw in bag_files.messages(reader, wanted, stop_ns=reader.start_time + _WITHIN_NS):
                for link in bag_files.deserialize(reader, connection, raw).transforms:
                    tree.add_static(link.header.frame_id, link.child_frame_id, np.eye(4))  # poses do not matter
                if tree.connected(preferred, vehicle_frame):
                    return preferred
            return next((frame for frame in FIXED_FRAMES if tree.connected(frame, vehicle_frame)), preferred)
        except LookupError as error:
            raise UserError(f"{path}: {error}") from error


def main(arguments: list[str]) -> int:
    """Print the frame; 2 with one sentence on stderr for a bag that cannot be read."""
    parser = argparse.ArgumentParser(prog="sparse4d_fixed_frame", description=find_fixed_frame.__doc__)
    parser.add_argument("bag", type=Path)
    parser.add_argument("preferred")
    parser.add_argument("vehicle_frame")
    args = parser.parse_args(arguments)
    try:
        print(find_fixed_frame(args.bag, args.preferred, args.vehicle_frame))
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0
