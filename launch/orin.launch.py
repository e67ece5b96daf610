"""Start the perception node on a Jetson Orin: sparse4d.launch.py with config/orin.yaml, raw images, a word on clocks.

Not run on a Jetson yet.
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, LogInfo, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration

from sparse4d_ros.deploy.clocks import clocks
from sparse4d_ros.resources import share_path

#: argument -> (default, description); all other arguments of sparse4d.launch.py work here too.
ARGUMENTS = {
    "params_file": (str(share_path("config", "orin.yaml")), "Parameter file of the node."),
    "images": ("/camera/{name}/image_raw",
               "Image topics, {name} stands for the camera. Raw: cameras of the Jetson need no JPEG in between."),
}


def power_and_clocks(context) -> list[LogInfo]:
    """What limits the speed of this machine, and the command that lifts it; nothing is changed here."""
    return [LogInfo(msg=f"{found.subject}: {found.text}" + (f" -> {found.remedy}" if found.remedy else ""))
            for found in clocks()]


def generate_launch_description() -> LaunchDescription:
    """sparse4d.launch.py with the defaults of this machine."""
    node = str(share_path("launch", "sparse4d.launch.py"))
    return LaunchDescription([
        *(DeclareLaunchArgument(name, default_value=default, description=text)
          for name, (default, text) in ARGUMENTS.items()),
        OpaqueFunction(function=power_and_clocks),
        IncludeLaunchDescription(PythonLaunchDescriptionSource(node), launch_arguments={
            name: LaunchConfiguration(name) for name in ARGUMENTS}.items()),
    ])
