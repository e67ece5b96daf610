"""Import this first: it skips the importing test module, with the reason, where ROS is missing."""

import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed; `make test` brings it")
pytest.importorskip("sparse4d_ros.msg", reason="the messages are not built or not sourced; `make test` builds them")
pytest.importorskip("vision_msgs.msg", reason="vision_msgs is not built or not sourced; `make test` builds it")
