"""The message types of bags, without ROS: rosbags' Jazzy types and our own from the text of ``msg/``."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from sparse4d_ros.resources import share_path

if TYPE_CHECKING:
    from rosbags.typesys.store import Typestore

PACKAGE = "sparse4d_ros"


@functools.cache
def typestore() -> Typestore:
    """All types this package reads and writes. The .msg files stay the only definition of ours."""
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    store = get_typestore(Stores.ROS2_JAZZY)
    types = {}
    for path in sorted(share_path("msg").glob("*.msg")):
        types.update(get_types_from_msg(path.read_text(encoding="utf-8"), f"{PACKAGE}/msg/{path.stem}"))
    store.register(types)
    return store
