"""The message types of bags, without ROS: rosbags' Jazzy types and our own from the text of ``msg/``."""

from __future__ import annotations

import functools

from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from sparse4d_ros.resources import share_path

PACKAGE = "sparse4d_ros"


@functools.cache
def typestore() -> Typestore:
    """All types this package reads and writes. The .msg files stay the only definition of ours."""
    store = get_typestore(Stores.ROS2_JAZZY)
    types = {}
    for path in sorted(share_path("msg").glob("*.msg")):
        types.update(get_types_from_msg(path.read_text(encoding="utf-8"), f"{PACKAGE}/msg/{path.stem}"))
    store.register(types)
    return store
