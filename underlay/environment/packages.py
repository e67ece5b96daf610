"""The virtual environment and what pip puts into it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from environment.failure import SetupFailure
from environment.layout import Layout
from environment.steps import run_logged

#: Where the ROS wheels were built: their exported CMake files still say so.
_BUILD_MACHINE = re.compile(r"/opt/python/cp\d+-cp\d+t?")
_BUILD_INCLUDE = re.compile(_BUILD_MACHINE.pattern + r"/include/python3\.\d+t?")
_BUILD_NUMPY = re.compile(_BUILD_MACHINE.pattern + r"/lib/python3\.\d+t?/site-packages/numpy/(?:_core|core)/include")

_PIP_REMEDY = "read the lines above; if an index or the network was at fault, run the same command again"


def make_venv(layout: Layout) -> None:
    """A new virtual environment; what was built against an older one goes with it.

    Whoever has sourced the old one runs this with its interpreter, which goes first.
    """
    python = sys.executable
    if Path(sys.prefix).resolve() == layout.venv.resolve():
        python = str(Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}")
    for leftover in (layout.venv, layout.workspace, layout.stamps):
        shutil.rmtree(leftover, ignore_errors=True)
    options = ["--system-site-packages"] if layout.sourced else []
    run_logged([python, "-m", "venv", *options, str(layout.venv)], layout.logs / "venv.txt",
               "sudo apt-get install python3-venv")


def pip_environment(variables: dict[str, str], layout: Layout) -> dict[str, str]:
    """Variables for pip and colcon.

    With ROS from PyPI nothing of a sourced distribution, or of an environment that is active already,
    may leak in. A sourced distribution on the contrary must stay visible.
    """
    env = {**variables, "VIRTUAL_ENV": str(layout.venv), "PATH": f"{layout.venv}/bin:{variables.get('PATH', '')}",
           "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    env.pop("PYTHONHOME", None)
    if layout.sourced:
        return env
    foreign = [p for p in variables.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if p]
    for name in ("PYTHONPATH", "AMENT_PREFIX_PATH", "CMAKE_PREFIX_PATH", "COLCON_PREFIX_PATH", "ROS_DISTRO"):
        env.pop(name, None)
    libraries = [p for p in variables.get("LD_LIBRARY_PATH", "").split(os.pathsep)
                 if p and not any(p.startswith(prefix) for prefix in foreign)]
    if layout.distribution:
        env["AMENT_PREFIX_PATH"] = env["CMAKE_PREFIX_PATH"] = str(layout.venv)
        libraries = ros_library_folders(layout) + libraries
        env["_ROS_WHEELS_BOOTSTRAP_COMPLETE"] = "1"
    env["LD_LIBRARY_PATH"] = os.pathsep.join(libraries)
    return env


def ros_library_folders(layout: Layout) -> list[str]:
    """Folders of the shared libraries in the ROS wheels.

    Every Python would find them by starting itself a second time (ros-wheels-bootstrapper); with the
    folders in LD_LIBRARY_PATH it does not need to.
    """
    return [str(layout.venv / "lib"), *map(str, sorted(layout.venv.glob("lib/python3.*/site-packages/ros_*.libs")))]


def install(layout: Layout, log: str, *arguments: str) -> None:
    """pip install with the tested versions as constraints."""
    constraints = ["-c", str(layout.requirements("constraints"))]
    if layout.sourced:
        constraints += _constraints_of_distribution(layout)
    pip = [str(layout.python), "-m", "pip", "install", "--no-input", "--progress-bar", "off"]
    env = pip_environment(dict(os.environ), layout)
    run_logged([*pip, *constraints, *arguments], layout.logs / log, _PIP_REMEDY, env)


def install_torch(layout: Layout) -> None:
    """From the usual index, or from TORCH_INDEX_URL if set (the CPU builds have an index of their own)."""
    url = os.environ.get("TORCH_INDEX_URL")
    install(layout, "pip-torch.txt", *(["--index-url", url] if url else []), "-r", str(layout.requirements("train")))


def install_ros(layout: Layout) -> None:
    """ROS 2 from PyPI, colcon, and CMake if the machine has none."""
    cmake = [] if shutil.which("cmake") else ["cmake"]
    install(layout, "pip-ros.txt", "-r", str(layout.pinned_ros),
            "-r", str(layout.repository / "underlay" / "build-tools.txt"), *cmake)


def install_missing_tools(layout: Layout) -> None:
    """A sourced distribution usually brings colcon and CMake; what is not there goes into the environment."""
    names = [package for program, package in (("colcon", "colcon-common-extensions"), ("cmake", "cmake"))
             if not shutil.which(program)]
    if names:
        install(layout, "pip-tools.txt", *names)
    tools = pip_environment(dict(os.environ), layout)["PATH"]
    if not shutil.which("colcon", path=tools):
        raise SetupFailure("colcon is neither on the PATH nor could pip install it",
                           "sudo apt-get install python3-colcon-common-extensions")


def repair_cmake_files(layout: Layout) -> None:
    """Point the exported CMake files of the ROS wheels at this interpreter's and numpy's headers."""
    query = subprocess.run([str(layout.python), "-c", "import numpy; print(numpy.get_include())"],
                           capture_output=True, text=True, env=pip_environment(dict(os.environ), layout))
    if query.returncode:
        raise SetupFailure(f"numpy cannot be imported in {layout.venv}:\n{query.stderr}",
                           f"rm -rf {layout.root} and run the same command again")
    for path in layout.venv.glob("share/**/*.cmake"):
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
        repaired = repair_cmake_text(text, sysconfig.get_path("include"), query.stdout.strip())
        if repaired != text:
            path.write_text(repaired, encoding="utf-8", errors="surrogateescape")
        if _BUILD_MACHINE.search(repaired):
            raise SetupFailure(f"{path} names a folder of the machine that built it, in a form not seen before",
                               f"report this with the versions in {layout.pinned_ros.name}")


def repair_cmake_text(text: str, python_include: str, numpy_include: str) -> str:
    """`text` with the build machine's Python and numpy headers replaced by these."""
    text = _BUILD_NUMPY.sub(lambda _: numpy_include, text)
    return _BUILD_INCLUDE.sub(lambda _: python_include, text)


def _constraints_of_distribution(layout: Layout) -> list[str]:
    """Keep numpy 1 where the distribution's own extension modules were compiled for it."""
    query = subprocess.run([sys.executable, "-c", "import numpy; print(numpy.__version__)"],
                           capture_output=True, text=True)
    if query.returncode or not query.stdout.startswith("1."):
        return []
    path = Path(layout.root) / "distribution-constraints.txt"
    path.write_text("numpy<2\n")
    return ["-c", str(path)]
