"""What all tests share: a ROS domain of their own, the Fast DDS profile, and what to do without ROS."""

from __future__ import annotations

import gc
import importlib.util
import os
import re
import signal

import pytest

from sparse4d_ros.resources import share_path

#: Writes docs/reliability.md from a run: `pytest --write-reliability=docs/reliability.md`.
pytest_plugins = ["fault_report"]

# Before anything imports rclpy. Processes that tests start inherit these.
# One domain for each pytest process, in 1..100 (higher ones reach into Linux' ephemeral ports): two runs on
# one machine, and a node that somebody has running in domain 0, do not hear each other.
os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 100)
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
for _variable in ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"):  # Fast DDS 2 and 3
    os.environ.setdefault(_variable, str(share_path("config", "fastdds_profile.xml")))
# A shell that starts the tests in the background has Ctrl-C ignored, and so would every process that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


def _missing_ros() -> str | None:
    """The first ROS module that is not there."""
    for module in ("rclpy", "tf2_msgs", "vision_msgs", "sparse4d_ros.msg"):
        if importlib.util.find_spec(module) is None:
            return module
    return None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip tests marked `ros` where ROS is missing; `make test` makes ROS and demands it."""
    missing = _missing_ros()
    if missing is None:
        return
    if os.environ.get("SPARSE4D_REQUIRE_ROS"):
        raise pytest.UsageError(f"{missing} cannot be found though this run is to test with ROS (SPARSE4D_REQUIRE_ROS)")
    for item in items:
        if item.get_closest_marker("ros"):
            item.add_marker(pytest.mark.skip(reason=f"no ROS here ({missing} is missing); `make test` brings it"))


def _skip_what_lacks_a_package(report: pytest.CollectReport | pytest.TestReport, path: object) -> None:
    """`colcon test` has only the packages with a rosdep key; `make test` has all, and fails if one is missing."""
    lacks = re.search(r"ModuleNotFoundError: No module named '(\w+)'", str(report.longrepr)) if report.failed else None
    # A module within a package that is there is no missing package but our mistake.
    if lacks and lacks[1] != "sparse4d_ros" and not os.environ.get("SPARSE4D_REQUIRE_ROS"):
        reason = f"Skipped: the Python package {lacks[1]} is not installed; `make test` brings it"
        report.outcome, report.longrepr = "skipped", (str(path), 0, reason)


@pytest.hookimpl(hookwrapper=True)
def pytest_make_collect_report(collector: pytest.Collector):
    """A file that imports what is missing."""
    outcome = yield
    _skip_what_lacks_a_package(outcome.get_result(), collector.nodeid)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo):
    """A test that imports, or whose command imports, what is missing."""
    outcome = yield
    if call.excinfo is not None and isinstance(call.excinfo.value, ModuleNotFoundError):
        _skip_what_lacks_a_package(outcome.get_result(), item.nodeid)


@pytest.fixture(scope="module", autouse=True)
def nodes_leave_with_their_file():
    """Lifecycle nodes sit in cycles of references: until they are collected they stay in the ROS graph."""
    yield
    gc.collect()


@pytest.fixture
def ros_context():
    """rclpy initialised in a context of its own, shut down after the test."""
    import rclpy

    context = rclpy.Context()
    rclpy.init(context=context)
    yield context
    context.try_shutdown()
