"""Building interface packages with colcon and the file that makes a shell see everything."""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path

from environment.layout import Layout
from environment.packages import pip_environment, ros_library_folders
from environment.steps import run_logged

#: Interface packages that PyPI lacks and that the node uses.
UNDERLAY = ("tf2_msgs", "vision_msgs")
#: Folders that are installed as they are.
LINKED_FOLDERS = ("sparse4d_ros", "config", "launch", "models", "requirements")


def missing_interfaces(prefixes: list[Path]) -> tuple[str, ...]:
    """Those of UNDERLAY that no ament index of these prefixes knows."""
    def known(package: str) -> bool:
        return any((p / "share/ament_index/resource_index/packages" / package).is_file() for p in prefixes)
    return tuple(package for package in UNDERLAY if not known(package))


def ros_prefixes(layout: Layout) -> list[Path]:
    """The prefixes below our own workspace."""
    if not layout.sourced:
        return [layout.venv]
    folders = os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)
    return [Path(p) for p in folders if p and Path(p) != layout.install]


def build(layout: Layout, packages: list[Path], log: str) -> None:
    """colcon build of these package folders into the workspace (one merged prefix)."""
    command = [
        "colcon", "--log-base", str(layout.workspace / "log"), "build", "--merge-install", "--symlink-install",
        "--build-base", str(layout.workspace / "build"), "--install-base", str(layout.install),
        "--base-paths", *map(str, packages), "--event-handlers", "console_direct+",
        # BUILD_TESTING off: our tests are run by pytest. Python3_EXECUTABLE: not the newest one CMake happens to find.
        "--cmake-args", "-DBUILD_TESTING=OFF", f"-DPython3_EXECUTABLE={layout.python}",
    ]
    env = pip_environment(dict(os.environ), layout)
    if layout.install.is_dir():  # a later package may use an earlier one's interfaces
        env["CMAKE_PREFIX_PATH"] = os.pathsep.join([str(layout.install), env.get("CMAKE_PREFIX_PATH", "")])
    run_logged(["bash", "-c", shlex.join(command)], layout.logs / log,
               f"read the compiler's or CMake's message above; `rm -rf {layout.root}` starts from nothing", env)


def stage_package(layout: Layout) -> Path:
    """A folder of links to the package's parts, to build from instead of the repository itself.

    The environment lies inside the repository, and CMake refuses to export a target whose headers
    (numpy's, in the environment) lie below the source folder.
    """
    stage = layout.workspace / "src" / "sparse4d_ros"
    shutil.rmtree(stage, ignore_errors=True)
    stage.mkdir(parents=True)
    for name in ("CMakeLists.txt", "package.xml", "msg", "scripts", *LINKED_FOLDERS):
        if (layout.repository / name).exists():
            (stage / name).symlink_to(layout.repository / name)
    return stage


def sources_of_package(repository: Path) -> list[Path]:
    """Files whose content decides what the build makes. Python modules are linked, not copied."""
    folders = [*(repository / "msg").glob("*.msg"), *(repository / "scripts").iterdir()]
    return [repository / "CMakeLists.txt", repository / "package.xml", *folders]


def names_of_linked_files(repository: Path) -> str:
    """Names of all files that the install tree links to: a new one needs a new link."""
    names = (str(path.relative_to(repository)) for folder in LINKED_FOLDERS for path in (repository / folder).rglob("*")
             if path.is_file() and "__pycache__" not in path.parts)
    return "\n".join(sorted(names))


def write_environment_file(layout: Layout) -> None:
    """A file to source in bash; `make` runs everything inside it as well."""
    profile = layout.repository / "config" / "fastdds_profile.xml"
    quoted = {name: shlex.quote(str(path)) for name, path in {
        "venv": layout.venv, "bin": layout.venv / "bin", "install": layout.install,
        "programs": layout.install / "lib" / "sparse4d_ros", "repository": layout.repository, "profile": profile,
    }.items()}
    lines = [
        "# Made by set-up; source it in bash to run `sparse4d`, `sparse4d_node`, pytest ... by hand.",
        f"export VIRTUAL_ENV={quoted['venv']}",
        f"export PATH={quoted['bin']}:{quoted['programs']}:\"$PATH\"",
    ]
    if layout.sourced:
        lines += [f"source {quoted['install']}/setup.bash"]
    else:
        libraries = shlex.quote(os.pathsep.join(ros_library_folders(layout)))
        lines += [
            "unset PYTHONPATH PYTHONHOME ROS_DISTRO",
            f"export AMENT_PREFIX_PATH={quoted['venv']} CMAKE_PREFIX_PATH={quoted['venv']}",
            f"export LD_LIBRARY_PATH={libraries}\"${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}\"",
            "# The libraries are found above: Python need not start itself twice to find them.",
            "export _ROS_WHEELS_BOOTSTRAP_COMPLETE=1",
            "# The only middleware on PyPI.",
            "export RMW_IMPLEMENTATION=rmw_fastrtps_cpp",
            f"source {quoted['install']}/local_setup.bash",
        ]
    lines += [
        "# The source tree first: an edit takes effect at once. The messages are found behind it.",
        f"export PYTHONPATH={quoted['repository']}\"${{PYTHONPATH:+:$PYTHONPATH}}\"",
        "# Shared memory large enough for camera images; a profile of your own is left alone.",
        *(f'[ -n "${{{name}:-}}" ] || export {name}={quoted["profile"]}'
          for name in ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")),  # Fast DDS 2 and 3
    ]
    layout.environment_file.write_text("\n".join(lines) + "\n")


def check_environment(layout: Layout) -> None:
    """Write the environment file and import through it what the node needs."""
    write_environment_file(layout)
    program = "import rclpy, tf2_msgs.msg, vision_msgs.msg, sparse4d_ros.msg, sparse4d_ros"
    run_logged(in_environment(layout, ["python", "-c", program]), layout.logs / "check.txt",
               f"`rm -rf {layout.root}` and run the same command again; report the log if it fails again")


def in_environment(layout: Layout, command: list[str]) -> list[str]:
    """`command` with everything of the environment file set."""
    return ["bash", "-c", 'source "$0" && exec "$@"', str(layout.environment_file), *command]
