"""What the machine must bring. Checked first, so that a lack is named before anything is downloaded."""

from __future__ import annotations

import importlib.util
import platform
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from environment.failure import SetupFailure
from environment.layout import Layout

OLDEST_PYTHON = (3, 10)
#: Newest CPython for which the ROS wheels exist.
NEWEST_PYTHON_FOR_WHEELS = (3, 14)


def check(layout: Layout) -> None:
    """Raise :class:`SetupFailure` naming the first thing that is missing."""
    check_python(sys.version_info[:2], from_wheels=bool(layout.distribution) and not layout.sourced)
    check_venv_module()
    if not layout.distribution:
        return
    if layout.sourced:
        check_sourced_ros(layout.distribution)
    else:
        check_platform(platform.system(), platform.machine())
    check_compiler()
    check_python_headers()


def check_python(version: tuple[int, ...], from_wheels: bool) -> None:
    text = ".".join(map(str, version))
    if version < OLDEST_PYTHON:
        raise SetupFailure(f"Python {text} ({sys.executable}) is too old, at least 3.10 is needed",
                           "name a newer one: make ... PYTHON=python3.11")
    if from_wheels and version > NEWEST_PYTHON_FOR_WHEELS:
        newest = ".".join(map(str, NEWEST_PYTHON_FOR_WHEELS))
        raise SetupFailure(f"Python {text} ({sys.executable}) is newer than the ROS packages on PyPI (up to {newest})",
                           f"name another one: make ... PYTHON=python{newest}")


def check_venv_module() -> None:
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        raise SetupFailure(f"{sys.executable} cannot make virtual environments (no venv or ensurepip module)",
                           "sudo apt-get install python3-venv")


def check_platform(system: str, machine: str) -> None:
    if (system, machine) != ("Linux", "x86_64"):
        raise SetupFailure(
            f"ROS 2 on PyPI exists for Linux on x86-64 only, this is {system} on {machine}",
            "install a ROS 2 distribution (https://docs.ros.org), `source /opt/ros/<name>/setup.bash` and run again",
        )


def check_sourced_ros(distribution: str) -> None:
    """The interpreter must be the one the distribution was built for."""
    probe = subprocess.run([sys.executable, "-c", "import rclpy"], capture_output=True, text=True)
    if probe.returncode:
        reason = probe.stderr.strip().splitlines()[-1] if probe.stderr.strip() else "no reason given"
        raise SetupFailure(
            f"ROS_DISTRO={distribution} is set but {sys.executable} cannot import rclpy ({reason})",
            "use the distribution's Python: make ... PYTHON=/usr/bin/python3; or unset ROS_DISTRO to get ROS from PyPI",
        )


def check_compiler() -> None:
    """CMake looks at CC and CXX first, then for the usual names."""
    for names, package in ((("cc", "gcc", "clang"), "gcc"), (("c++", "g++", "clang++"), "g++"), (("make",), "make")):
        if not any(map(shutil.which, names)):
            raise SetupFailure(f"no {names[0]} was found; messages are compiled to C and C++ modules",
                               f"sudo apt-get install {package}")


def check_python_headers() -> None:
    header = Path(sysconfig.get_path("include")) / "Python.h"
    if not header.is_file():
        raise SetupFailure(f"the Python headers are missing ({header}); messages are compiled to C modules",
                           f"sudo apt-get install python{sys.version_info.major}.{sys.version_info.minor}-dev")
