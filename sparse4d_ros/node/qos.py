"""The quality of service of every topic, by name; an unknown name is an error, not a default."""

from __future__ import annotations

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

from sparse4d_ros.errors import UserError


def _profile(reliability: ReliabilityPolicy, depth: int,
             durability: DurabilityPolicy = DurabilityPolicy.VOLATILE) -> QoSProfile:
    return QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=depth, reliability=reliability, durability=durability)


_PROFILES = {
    # Depth 1 for images: a queue of old pictures only adds latency.
    "sensor_data": _profile(ReliabilityPolicy.BEST_EFFORT, 1),
    "reliable": _profile(ReliabilityPolicy.RELIABLE, 1),
    # Volatile and best effort asks for the least, so that it matches latched and plain sources alike.
    "camera_info": _profile(ReliabilityPolicy.BEST_EFFORT, 1),
    "output": _profile(ReliabilityPolicy.RELIABLE, 5),
    "markers": _profile(ReliabilityPolicy.RELIABLE, 1),
    "overlay": _profile(ReliabilityPolicy.BEST_EFFORT, 1),
    "latched": _profile(ReliabilityPolicy.RELIABLE, 1, DurabilityPolicy.TRANSIENT_LOCAL),
    "diagnostics": _profile(ReliabilityPolicy.RELIABLE, 1),
}


def profile(name: str) -> QoSProfile:
    """The profile of that name; UserError naming the known ones otherwise."""
    if name not in _PROFILES:
        raise UserError(f"There is no QoS profile '{name}'; the profiles are {', '.join(_PROFILES)}.")
    return _PROFILES[name]
