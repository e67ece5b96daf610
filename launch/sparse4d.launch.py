"""Start the perception node: `ros2 launch sparse4d_ros sparse4d.launch.py images:=/camera/{name}/image_raw`.

Checked against stand-ins of `launch` and `launch_ros` (test/test_setup_launch.py), since PyPI has neither.
"""

import os

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode

from sparse4d_ros.node import topics
from sparse4d_ros.node.settings import NUSCENES_CAMERAS
from sparse4d_ros.resources import share_path

#: argument -> (default, description)
ARGUMENTS = {
    "namespace": ("", "Namespace of the node."),
    "params_file": (str(share_path("config", "sparse4d.yaml")), "Parameter file of the node."),
    "model": ("", "Model package: a folder, or the name of a shipped one. Empty: what the parameter file says."),
    "cameras": (",".join(NUSCENES_CAMERAS), "Camera names in the model's order, separated by commas."),
    "images": ("/camera/{name}/image/compressed",
               "Image topics, {name} stands for the camera. One that ends in /compressed carries CompressedImage."),
    "camera_infos": ("/camera/{name}/camera_info", "Calibration topics, {name} stands for the camera."),
    "use_sim_time": ("false", "Take time from /clock (true with a bag), else from the system."),
    "log_level": ("info", "Least severity that is logged: debug, info, warn, error or fatal."),
}


def node_of(context) -> list[LifecycleNode]:
    """The node with its topics connected; arguments have values only now."""
    value = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    cameras = [name.strip() for name in value["cameras"].split(",")]
    transport = "compressed" if value["images"].endswith("/compressed") else "raw"
    parameters = {
        "cameras": cameras,
        "image_transport": transport,
        "use_sim_time": value["use_sim_time"].lower() in ("true", "1"),
    }
    if value["model"]:
        parameters["model.package"] = value["model"]
    remappings = [pair for camera in cameras for pair in (
        (topics.image(camera, transport), value["images"].replace("{name}", camera)),
        (topics.camera_info(camera), value["camera_infos"].replace("{name}", camera)),
    )]
    return [LifecycleNode(
        package="sparse4d_ros", executable="sparse4d_node", name=topics.NODE_NAME, namespace=value["namespace"],
        parameters=[value["params_file"], parameters], remappings=remappings,
        ros_arguments=["--log-level", value["log_level"]], output="screen",
    )]


def generate_launch_description() -> LaunchDescription:
    """Arguments, the Fast DDS profile (unless one is set already), the node."""
    profile = str(share_path("config", "fastdds_profile.xml"))
    return LaunchDescription([
        # Without it raw images at best effort hardly arrive. Camera drivers need the same profile.
        *(SetEnvironmentVariable(name, os.environ.get(name, profile))
          for name in ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")),
        *(DeclareLaunchArgument(name, default_value=default, description=text)
          for name, (default, text) in ARGUMENTS.items()),
        OpaqueFunction(function=node_of),
    ])
