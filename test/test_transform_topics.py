"""A transform source on topics, with tf2_ros and with our buffer."""

from __future__ import annotations

import threading

import pytest
from transform_cases import HAS_TF2, T0, close, rigid, stamped

from sparse4d_ros.node.tf_source import create_transform_source


@pytest.mark.skipif(HAS_TF2, reason="tf2_ros is installed")
def test_missing_tf2_is_said_when_it_is_asked_for():
    with pytest.raises(ModuleNotFoundError, match="tf2_ros"):
        create_transform_source(node=None, prefer="tf2_ros")
    with pytest.raises(ValueError, match="'tf3'"):
        create_transform_source(node=None, prefer="tf3")


@pytest.mark.ros
@pytest.mark.parametrize("prefer", [
    "auto", "own", pytest.param("tf2_ros", marks=pytest.mark.skipif(not HAS_TF2, reason="tf2_ros is not installed"))])
def test_source_listens_to_topics_until_it_is_destroyed(prefer):
    """Static transforms that were sent before anybody listened come too."""
    import rclpy
    from rclpy.context import Context
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.qos import DurabilityPolicy, QoSProfile
    from tf2_msgs.msg import TFMessage

    context = Context()
    rclpy.init(context=context)
    try:
        node = rclpy.create_node("transforms_under_test", context=context)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        static, moving = node.create_publisher(TFMessage, "/tf_static", latched), node.create_publisher(
            TFMessage, "/tf", 10)
        static.publish(TFMessage(transforms=[stamped("base_link", "camera", 0, (1, 0, 0))]))
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(node)
        source = create_transform_source(node, prefer=prefer)
        stop = threading.Event()

        def spin():
            while not stop.is_set():
                moving.publish(TFMessage(transforms=[stamped("odom", "base_link", T0, (0, 2, 0))]))
                executor.spin_once(timeout_sec=0.02)

        spinner = threading.Thread(target=spin)
        spinner.start()
        try:
            found = source.wait_for(lambda: source.lookup("odom", "camera", T0), timeout_s=30.0)
        finally:
            stop.set()
            spinner.join()
        close(found, rigid((1, 2, 0)))
        assert node.count_subscribers("/tf") == node.count_subscribers("/tf_static") == 1
        source.destroy()
        source.destroy()
        own = [subscription.topic_name for subscription in node.subscriptions]
        assert "/tf" not in own and "/tf_static" not in own
        node.destroy_node()
    finally:
        rclpy.shutdown(context=context)
