"""Start the perception node: `ros2 launch sparse4d_ros sparse4d.launch.py images:=/camera/{name}/image_raw`."""

import os
import re
import shutil
from pathlib import Path

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode

from sparse4d_ros.errors import UserError
from sparse4d_ros.node import topics
from sparse4d_ros.node.parameters import settings_from
from sparse4d_ros.node.settings import NUSCENES_CAMERAS
from sparse4d_ros.resources import share_path

BOOLEANS = ["true", "false", "True", "False"]
#: argument -> (default, description)
ARGUMENTS = {
    "namespace": ("", "Namespace of the node."),
    "params_file": (str(share_path("config", "sparse4d.yaml")), "Parameter file of the node."),
    "model": ("", "Model package: a folder, or the name of a shipped one. Empty: what the parameter file says."),
    "cameras": (",".join(NUSCENES_CAMERAS), "Camera names in the model's order, separated by commas."),
    "reference_camera": ("", "The camera whose stamp a result carries. Empty: what the parameter file says."),
    "images": ("/camera/{name}/image/compressed",
               "Image topics, {name} stands for the camera. One that ends in /compressed carries CompressedImage."),
    "camera_infos": ("/camera/{name}/camera_info", "Calibration topics, {name} stands for the camera."),
    "use_sim_time": ("false", "Take time from /clock (true with a bag), else from the system."),
    "cpus": ("", "CPUs that the node may use, as taskset takes them, e.g. 2-5 or 0,2. Empty: all."),
    "log_level": ("info", "Least severity that is logged."),
    "respawn": ("false", "Start the node again, after two seconds, when its process dies."),
}
CHOICES = {"use_sim_time": BOOLEANS, "respawn": BOOLEANS, "log_level": ["debug", "info", "warn", "error", "fatal"]}
RESPAWN_DELAY_S = 2.0
_CPUS = re.compile(r"\d+(-\d+)?(,\d+(-\d+)?)*", re.ASCII)
_TOPIC = re.compile(r"(~?/)?[A-Za-z_]\w*(/[A-Za-z_]\w*)*", re.ASCII)


def node_of(context) -> list[LifecycleNode]:
    """The node with its topics connected; ``UserError`` names an argument that is wrong."""
    value = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    if not Path(value["params_file"]).is_file():
        raise UserError(f"params_file:={value['params_file']} is not a file")
    cameras = [name.strip() for name in value["cameras"].split(",")]
    transport = "compressed" if value["images"].endswith("/compressed") else "raw"
    parameters = {"cameras": cameras, "image_transport": transport}
    # What the node would refuse is refused here: a topic of a wrong name would end it before it can say so.
    settings_from({**parameters, "reference_camera": value["reference_camera"] or cameras[0]})
    parameters["use_sim_time"] = value["use_sim_time"].lower() == "true"
    for argument, parameter in (("model", "model.package"), ("reference_camera", "reference_camera")):
        if value[argument]:
            parameters[parameter] = value[argument]
    remappings = [pair for camera in cameras for pair in (
        (topics.image(camera, transport), topic_of("images", value["images"], camera, cameras)),
        (topics.camera_info(camera), topic_of("camera_infos", value["camera_infos"], camera, cameras)),
    )]
    return [LifecycleNode(
        package="sparse4d_ros", executable="sparse4d_node", name=topics.NODE_NAME, namespace=value["namespace"],
        parameters=[value["params_file"], parameters], remappings=remappings,
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


def topic_of(argument: str, pattern: str, camera: str, cameras: list[str]) -> str:
    """The topic of one camera; ``UserError`` if the pattern gives none, or the same one to all."""
    if "{name}" not in pattern and len(cameras) > 1:
        raise UserError(f"{argument}:={pattern} names one topic for {len(cameras)} cameras; write {{name}} where the "
                        "camera's name belongs")
    topic = pattern.replace("{name}", camera)
    if not _TOPIC.fullmatch(topic):
        raise UserError(f"{argument}:={pattern} makes {topic!r}, which is no name of a topic")
    return topic


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
