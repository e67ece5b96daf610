"""The node on rclpy as Humble has it: no `rclpy.event_handler`, no callback after parameters are set.

PyPI has no Humble; what later versions added is hidden from a process of its own.
"""

from __future__ import annotations

import subprocess
import sys

import needs_ros  # noqa: F401
import pytest

pytestmark = pytest.mark.ros

NODE = """
import sys, types
import rclpy.event_handler
import rclpy.node

older = types.ModuleType("rclpy.qos_event")
older.SubscriptionEventCallbacks = rclpy.event_handler.SubscriptionEventCallbacks
sys.modules["rclpy.qos_event"] = older
sys.modules["rclpy.event_handler"] = None  # a ModuleNotFoundError from now on
del rclpy.node.Node.add_post_set_parameters_callback

from rclpy.parameter import Parameter
from fake_engine import FakeEngine
from sparse4d_ros.node.sparse4d_node import Sparse4DNode

rclpy.init()
node = Sparse4DNode(lambda settings: FakeEngine())
node.trigger_configure()
print(node.trigger_activate())
for value in (0.9, 61.0):
    (result,) = node.set_parameters([Parameter("marker_lifetime_s", value=value)])
    print(result.successful, result.reason, node.settings.marker_lifetime_s)
print(node.close())
rclpy.try_shutdown()
"""


def test_the_node_runs_and_takes_parameters():
    done = subprocess.run([sys.executable, "-c", NODE], capture_output=True, text=True, timeout=300, check=False,
                          cwd=needs_ros.__file__.rpartition("/")[0])
    assert done.returncode == 0, done.stderr
    active, taken, refused, closed = done.stdout.splitlines()[-4:]
    assert active.endswith("SUCCESS") and closed == "True"
    assert taken == "True  0.9"
    assert refused.startswith("False ") and "marker_lifetime_s" in refused and refused.endswith(" 0.9")
