"""Which ROS is used and where everything goes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from environment.failure import SetupFailure

#: Distributions whose packages are pinned in ``underlay/ros-<distribution>.txt``.
PIP_DISTRIBUTIONS = ("jazzy", "kilted")


@dataclass(frozen=True)
class Layout:
    """All paths of one environment. Several may exist side by side, one for each ROS."""

    repository: Path
    #: "jazzy", "kilted", ..., or "" for tools that need no ROS.
    distribution: str
    #: True: a sourced distribution is used. False: ROS comes from PyPI.
    sourced: bool

    @property
    def root(self) -> Path:
        """Everything that set-up makes lies here; deleting it is always safe."""
        origin = f"{self.distribution}-sourced" if self.sourced else self.distribution
        return self.repository / f".venv-{origin or 'tools'}"

    @property
    def venv(self) -> Path:
        return self.root / "venv"

    @property
    def python(self) -> Path:
        return self.venv / "bin" / "python"

    @property
    def workspace(self) -> Path:
        """colcon's ``build``, ``install`` and ``log``."""
        return self.root / "workspace"

    @property
    def install(self) -> Path:
        return self.workspace / "install"

    @property
    def logs(self) -> Path:
        return self.root / "log"

    @property
    def stamps(self) -> Path:
        return self.root / "stamps"

    @property
    def environment_file(self) -> Path:
        return self.root / "environment.sh"

    @property
    def pinned_ros(self) -> Path:
        return self.repository / "underlay" / f"ros-{self.distribution}.txt"

    def requirements(self, group: str) -> Path:
        return self.repository / "requirements" / f"{group}.txt"


def choose(repository: Path, variables: dict[str, str], needs_ros: bool = True) -> Layout:
    """The layout for these environment variables.

    An explicit ROS_DISTRO_PIP wins; else a sourced distribution (ROS_DISTRO); else Jazzy from PyPI.
    """
    wanted = variables.get("ROS_DISTRO_PIP", "")
    if not needs_ros:
        return Layout(repository, "", sourced=False)
    if not wanted and variables.get("ROS_DISTRO"):
        return Layout(repository, variables["ROS_DISTRO"], sourced=True)
    wanted = wanted or PIP_DISTRIBUTIONS[0]
    if wanted not in PIP_DISTRIBUTIONS:
        raise SetupFailure(
            f"ROS_DISTRO_PIP={wanted} is not a distribution that can be installed from PyPI",
            f"use one of {', '.join(PIP_DISTRIBUTIONS)}, or source an installed distribution and leave it out",
        )
    return Layout(repository, wanted, sourced=False)
