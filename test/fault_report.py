"""pytest plugin: notes what became of the tests with a fault mark, and writes the page of the documentation."""

from __future__ import annotations

import importlib.util
import platform
from collections import defaultdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import fault_marks
import pytest
from fault_marks import FAILED, NEEDS_GPU, NOT_RUN, PASSED


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the option to write the page."""
    parser.addoption("--write-reliability", metavar="PATH", help="write which fault each test proves, and the results")


def pytest_configure(config: pytest.Config) -> None:
    """Notes results only where they are asked for."""
    path = config.getoption("--write-reliability")
    if path:
        config.pluginmanager.register(FaultReport(Path(path)))


def test_of(nodeid: str) -> str:
    """``test/test_x.py::test_y[z]`` -> ``test_x.py::test_y``."""
    path, _, name = nodeid.partition("::")
    return f"{Path(path).name}::{name.partition('[')[0]}"


def _ros() -> str:
    """Which ROS the tests found."""
    try:
        return f"rclpy {version('rclpy')}"
    except PackageNotFoundError:
        return "rclpy of a distribution" if importlib.util.find_spec("rclpy") else "no ROS"


def summed_up(results: list[str]) -> str:
    """One word for a test with several parameters: the worst that ran, or why none did."""
    return next((word for word in (FAILED, PASSED) if word in results), results[0] if results else NOT_RUN)


class FaultReport:
    """Collects results and writes them when the session ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._results: dict[str, list[str]] = defaultdict(list)

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        """Says why a test did not run."""
        for item in items:
            self._results[test_of(item.nodeid)].append(f"{NOT_RUN}: slow" if item.get_closest_marker("slow")
                                                       else NOT_RUN)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Notes one phase of one test."""
        results = self._results[test_of(report.nodeid)]
        if report.failed:
            results.append(FAILED)
        elif report.skipped:
            reason = report.longrepr[2].removeprefix("Skipped: ") if isinstance(report.longrepr, tuple) else ""
            results.append(NEEDS_GPU if reason.startswith(NEEDS_GPU) else f"skipped: {reason}")
        elif report.when == "call":
            results.append(PASSED)

    def pytest_sessionfinish(self) -> None:
        """Writes the page."""
        where = f"Python {platform.python_version()}, {_ros()}"
        results = fault_marks.read_results(self._path.read_text()) if self._path.is_file() else {}
        for test, found in self._results.items():
            result = summed_up(found)
            if not result.startswith(NOT_RUN) or results.get(test, NOT_RUN).startswith(NOT_RUN):
                results[test] = result
        self._path.write_text(fault_marks.page(fault_marks.read_faults(), fault_marks.read_marks(), results, where))
