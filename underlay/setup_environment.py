#!/usr/bin/env python3
"""Make the environment for a purpose, then run a command in it.

    python3 underlay/setup_environment.py --for run -- python -m sparse4d_ros.node.demo

Where a ROS distribution is sourced it is used; elsewhere ROS 2 comes from PyPI (ROS_DISTRO_PIP=jazzy
or kilted). What is done is remembered by the content it depends on: the second time starts at once.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from environment import machine, packages, workspace
from environment.failure import SetupFailure
from environment.layout import Layout, choose
from environment.steps import Step, content_hash, locked, run_steps, say

REPOSITORY = Path(__file__).resolve().parents[1]

#: Purpose -> requirement groups. "run" is what a vehicle or the demo needs: no torch.
PURPOSES = {
    "run": ("base", "bags", "evaluate"),
    "test": ("base", "bags", "evaluate", "simulate", "export", "test"),
    "lint": ("lint",),
}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--for", dest="purpose", choices=PURPOSES, default="run", help="what the environment is for")
    parser.add_argument("command", nargs="*", help="command to run in it, after --")
    args = parser.parse_args(arguments)
    try:
        layout = choose(REPOSITORY, dict(os.environ), needs_ros=args.purpose != "lint")
        machine.check(layout)
        with locked(layout.root / "lock"):
            run_steps(plan(layout, args.purpose), layout.stamps)
    except SetupFailure as failure:
        say(f"set-up: {failure}\n  What to do: {failure.remedy}")
        return 1
    except KeyboardInterrupt:
        say("\nset-up: stopped; the same command goes on from here")
        return 130
    if not args.command:
        say(f"Ready. To use it in a shell: source {layout.environment_file}" if layout.distribution else "Ready.")
        return 0
    sys.stdout.flush()
    command = workspace.in_environment(layout, args.command) if layout.distribution else \
        [str(layout.venv / "bin" / args.command[0]), *args.command[1:]]
    os.execvp(command[0], command)


def plan(layout: Layout, purpose: str) -> list[Step]:
    """All steps for a purpose, in order, done or not."""
    # Not sys.executable: in a shell that has sourced this environment that is the environment's own.
    interpreter = f"{sys.base_prefix} {sys.version} {layout.root}"
    steps = [Step("venv", f"Make a virtual environment with Python {sys.version_info.major}.{sys.version_info.minor}",
                  content_hash([], interpreter), lambda: packages.make_venv(layout))]
    groups = PURPOSES[purpose]
    if "export" in groups:  # asks for torch: install that first, from its own index if one is named
        steps.append(Step("torch", "Install PyTorch (200 MB, or some GB where the index has no CPU build)",
                          _pip_key(layout, "train"), lambda: packages.install_torch(layout)))
    steps += [_requirements_step(layout, group) for group in groups]
    if not layout.distribution:
        return steps
    return steps + _ros_steps(layout)


def _requirements_step(layout: Layout, group: str) -> Step:
    without = layout.requirements(f"{group}-no-deps")

    def action() -> None:
        packages.install(layout, f"pip-{group}.txt", "-r", str(layout.requirements(group)))
        if without.is_file():
            packages.install(layout, f"pip-{group}-no-deps.txt", "--no-deps", "-r", str(without))

    key = _pip_key(layout, group) + (content_hash([without]) if without.is_file() else "")
    return Step(f"python-{group}", f"Install Python packages: {group}", key, action)


def _ros_steps(layout: Layout) -> list[Step]:
    name = layout.distribution.capitalize()
    underlay = REPOSITORY / "underlay"
    if layout.sourced:
        ros_key = content_hash([], layout.distribution, os.environ.get("AMENT_PREFIX_PATH", ""))
        steps = [Step("ros", f"Use the sourced ROS 2 {name}; install colcon and CMake if missing", ros_key,
                      lambda: packages.install_missing_tools(layout))]
    else:
        ros_key = content_hash([layout.pinned_ros, underlay / "build-tools.txt"])
        steps = [
            Step("ros", f"Install ROS 2 {name} and colcon from PyPI (about 40 s)", ros_key,
                 lambda: packages.install_ros(layout)),
            Step("repair", "Repair the paths in the CMake files of the ROS packages", ros_key,
                 lambda: packages.repair_cmake_files(layout)),
        ]
    # Asked anew when the step runs: the index is filled by the steps before it.
    interfaces = [p for name in workspace.UNDERLAY for p in (underlay / name).rglob("*") if p.is_file()]

    def build_interfaces() -> None:
        missing = workspace.missing_interfaces(workspace.ros_prefixes(layout))
        if missing:
            workspace.build(layout, [underlay / package for package in missing], "colcon-interfaces.txt")

    package_key = content_hash(workspace.sources_of_package(REPOSITORY), ros_key,
                               workspace.names_of_linked_files(REPOSITORY))
    code = content_hash((underlay / "environment").glob("*.py"))
    return steps + [
        Step("interfaces", f"Build {' and '.join(workspace.UNDERLAY)} where ROS lacks them (about 30 s)",
             content_hash(interfaces, ros_key), build_interfaces),
        Step("package", "Build sparse4d_ros with its messages (about 10 s)", package_key,
             lambda: workspace.build(layout, [workspace.stage_package(layout)], "colcon-package.txt")),
        Step("environment", "Write and check the environment file", package_key + code,
             lambda: workspace.check_environment(layout)),
    ]


def _pip_key(layout: Layout, group: str) -> str:
    return content_hash([layout.requirements(group), layout.requirements("constraints")])


if __name__ == "__main__":
    sys.exit(main())
