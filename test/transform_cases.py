"""Transforms for tests: stand-ins of the messages where ROS is missing, and what they must come to, by SciPy."""

import importlib.util
from types import SimpleNamespace

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

SECOND = 1_000_000_000
T0 = 1_000 * SECOND
HAS_TF2 = importlib.util.find_spec("tf2_ros") is not None


def stamped(parent, child, time_ns, translation=(0.0, 0.0, 0.0), quaternion=(0.0, 0.0, 0.0, 1.0)):
    """A geometry_msgs/TransformStamped: the real one where it can be imported, since tf2 takes no other."""
    try:
        from geometry_msgs.msg import TransformStamped

        message = TransformStamped()
    except ImportError:
        message = SimpleNamespace(
            header=SimpleNamespace(stamp=SimpleNamespace(sec=0, nanosec=0), frame_id=""), child_frame_id="",
            transform=SimpleNamespace(translation=SimpleNamespace(), rotation=SimpleNamespace()))
    message.header.frame_id, message.child_frame_id = parent, child
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(int(time_ns), SECOND)
    for name, value in zip("xyz", translation, strict=True):
        setattr(message.transform.translation, name, float(value))
    for name, value in zip("xyzw", quaternion, strict=True):
        setattr(message.transform.rotation, name, float(value))
    return message


def messages(*transforms):
    """A tf2_msgs/TFMessage of them."""
    return SimpleNamespace(transforms=list(transforms))


def rigid(translation=(0.0, 0.0, 0.0), quaternion=(0.0, 0.0, 0.0, 1.0)):
    """The 4x4 matrix, by SciPy."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_quat(quaternion).as_matrix()
    matrix[:3, 3] = translation
    return matrix


def close(actual, expected):
    """Whether two matrices are the same but for rounding."""
    np.testing.assert_allclose(actual, expected, atol=1e-9)


def between(times, translations, quaternions, time):
    """The 4x4 matrix at a time between two samples: linear and slerp, by SciPy."""
    index = int(np.clip(np.searchsorted(times, time) - 1, 0, len(times) - 2))
    share = (time - times[index]) / (times[index + 1] - times[index])
    pair = Slerp([0.0, 1.0], Rotation.from_quat(quaternions[index:index + 2]))
    return rigid((1 - share) * translations[index] + share * translations[index + 1], pair(share).as_quat())
