"""Start the perception node: `ros2 launch sparse4d_ros sparse4d.launch.py images:=/camera/{name}/image_raw`."""

import os
import re
import shutil

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode

from sparse4d_ros.errors import UserError
from sparse4d_ros.node import topics, wiring
from sparse4d_ros.resources import share_path

BOOLEANS = ["true", "false", "True", "False"]
#: argument -> (default, description)
ARGUMENTS = {
    **wiring.ARGUMENTS,
    "model": ("", "Model package: a folder, or the name of a shipped one. Empty: what the parameter file says."),
    "use_sim_time": ("", "Take time from /clock (true with a bag), else from the system. Empty: what the parameter "
                     "file says."),
    "show": ("false", "Publish markers and pictures with boxes while somebody looks, whatever the parameter file says: "
             "for RViz and Foxglove."),
    "cpus": ("", "CPUs that the node may use, as taskset takes them, e.g. 2-5 or 0,2. Empty: all."),
    "log_level": ("info", "Least severity that is logged."),
    "respawn": ("false", "Start the node again, after two seconds, when its process dies."),
}
CHOICES = {"use_sim_time": ["", *BOOLEANS], "show": BOOLEANS, "respawn": BOOLEANS,
           "log_level": ["debug", "info", "warn", "error", "fatal"]}
RESPAWN_DELAY_S = 2.0
_CPUS = re.compile(r"\d+(-\d+)?(,\d+(-\d+)?)*", re.ASCII)


def node_of(context) -> list[LifecycleNode]:
    """The node with its topics connected; ``UserError`` names an argument that is wrong."""
    value = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    node = wiring.wired(value)
    parameters = dict(node.overrides)
    if value["use_sim_time"]:
        parameters["use_sim_time"] = value["use_sim_time"].lower() == "true"
    if value["model"]:
        parameters["model.package"] = value["model"]
    if value["show"].lower() == "true":
        parameters |= {"publish_markers": True, "publish_overlay": True}
    return [LifecycleNode(
        package="sparse4d_ros", executable="sparse4d_node", name=topics.NODE_NAME, namespace=value["namespace"],
        parameters=[*filter(None, [value["params_file"]]), parameters], remappings=node.remappings(),
        prefix=bound_to(value["cpus"]), ros_arguments=["--log-level", value["log_level"]], output="screen",
        respawn=value["respawn"].lower() == "true", respawn_delay=RESPAWN_DELAY_S,
    )]


def bound_to(cpus: str) -> str | None:
    """What stands before the node's command to bind it to these CPUs; ``UserError`` where that cannot be."""
    if not cpus:
        return None  # leaves `launch-prefix` of ros2 launch in force
    if not _CPUS.fullmatch(cpus):
        raise UserError(f"cpus:={cpus} is no list of CPUs such as 2-5 or 0,2")
    ranges = [part.partition("-") for part in cpus.split(",")]
    asked = {cpu for first, _, last in ranges for cpu in range(int(first), int(last or first) + 1)}
    allowed = os.sched_getaffinity(0)
    if not asked or asked - allowed:
        raise UserError(f"cpus:={cpus} must be among those that this process may use: "
                        f"{', '.join(map(str, sorted(allowed)))}")
    if not shutil.which("taskset"):
        raise UserError(f"cpus:={cpus} needs the program taskset: apt install util-linux")
    return f"taskset --cpu-list {cpus}"


def generate_launch_description() -> LaunchDescription:
    """Arguments, the Fast DDS profile (unless one is set already), the node."""
    profile = str(share_path("config", "fastdds_profile.xml"))
    return LaunchDescription([
        # Without it raw images at best effort hardly arrive. Camera drivers need the same profile.
        *(SetEnvironmentVariable(name, os.environ.get(name, profile))
          for name in ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")),
        *(DeclareLaunchArgument(name, default_value=default, description=text, choices=CHOICES.get(name))
          for name, (default, text) in ARGUMENTS.items()),
        OpaqueFunction(function=node_of),
    ])
