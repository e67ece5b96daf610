"""What to install where a Python package is missing: the lines of ``requirements/``, which set-up hands to pip as well.

A remedy names the packages of the one group that lacks something and nothing else, so none brings PyTorch to a vehicle
that only plays bags.
"""

from __future__ import annotations

import importlib.util
import re
import shlex
import sys
import sysconfig
from importlib import metadata
from pathlib import Path

from sparse4d_ros.errors import UserError
from sparse4d_ros.resources import share_path

#: Groups of ``requirements/``; a package that stands in several is installed with the first of them.
GROUPS = ("base", "bags", "evaluate", "simulate", "train", "export")
#: Module -> distribution, where their names differ.
_DISTRIBUTIONS = {"cv2": "opencv-python-headless", "nuscenes": "nuscenes-devkit",
                  "PIL": "Pillow", "sklearn": "scikit-learn", "yaml": "PyYAML"}
_ROS = re.compile(r"rclpy|tf2_ros|sparse4d_ros|\w+_(msgs|srvs|interfaces)")


def distribution(module: str) -> str:
    """What pip calls the package that a module is imported from."""
    top = module.partition(".")[0]
    return _DISTRIBUTIONS.get(top, top)


def remedy(module: str) -> str:
    """What to do where this module is missing: a line for a shell, in whatever directory.

    What its group lacks beside it comes with it; what is there is left alone.
    """
    if _ROS.fullmatch(module.partition(".")[0]):
        return "source ROS (/opt/ros/<name>/setup.bash) and the workspace, or the file that `make setup` names"
    return " && ".join([*_environment(), *_commands(distribution(module))])


def missing(what: str, module: str) -> str:
    """The sentence for whoever started ``what``, a command or a program."""
    return f"{what} needs the Python package {module!r}, which is not installed: {remedy(module)}"


def require(what: str, module: str) -> None:
    """``UserError`` with that sentence if the module is not there."""
    if importlib.util.find_spec(module) is None:
        raise UserError(missing(what, module))


def requirements(group: str) -> list[str]:
    """Lines of a file of ``requirements/``; none if there is no such file."""
    path = share_path("requirements") / f"{group}.txt"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def _commands(wanted: str) -> list[str]:
    for group in GROUPS:
        whole = requirements(group), requirements(f"{group}-no-deps")
        if any(wanted == _name(line) for lines in whole for line in lines):
            lines, alone = ([line for line in lines if wanted == _name(line) or not _installed(_name(line))]
                            for lines in whole)
            return [_pip(*lines, *_numpy_of_the_system())] * bool(lines) + [_pip("--no-deps", *alone)] * bool(alone)
    return [_pip(wanted)]


def _name(line: str) -> str:
    return re.split(r"[<>=!~\[; ]", line, maxsplit=1)[0]


def _installed(name: str) -> bool:
    module = next((module for module, distribution in _DISTRIBUTIONS.items() if distribution == name), name)
    return importlib.util.find_spec(module) is not None


def _pip(*words: str) -> str:
    return shlex.join(["pip", "install", *words])


def _numpy_of_the_system() -> list[str]:
    """Keep numpy 1 where it is: a distribution's own cv2 and scipy were compiled for it."""
    try:
        return ["numpy<2"] if metadata.version("numpy").startswith("1.") else []
    except metadata.PackageNotFoundError:
        return []


def _environment() -> list[str]:
    """Where the system keeps pip out of its own Python (PEP 668): an environment above it first."""
    managed = Path(sysconfig.get_path("stdlib")) / "EXTERNALLY-MANAGED"
    if sys.prefix != sys.base_prefix or not managed.is_file():
        return []
    return ["python3 -m venv --system-site-packages ~/sparse4d_venv", ". ~/sparse4d_venv/bin/activate"]
