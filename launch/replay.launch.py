"""Play a bag through the perception node: `ros2 launch sparse4d_ros replay.launch.py bag:=drive`.

Checked against stand-ins of `launch` and `launch_ros` (test/test_setup_launch.py), since PyPI has neither.
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction, Shutdown
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from sparse4d_ros.resources import share_path

#: argument -> description; the others have defaults.
REQUIRED = {"bag": "The bag: a rosbag2 folder, or one .mcap or .db3 file."}
#: argument -> (default, description)
ARGUMENTS = {
    "rate": ("1.0", "Speed: 2.0 plays twice as fast."),
    "loop": ("false", "Start again at the end of the bag."),
}


def replay_of(context) -> list[Node]:
    """The process that plays; everything ends with it."""
    value = {name: LaunchConfiguration(name).perform(context) for name in (*REQUIRED, *ARGUMENTS)}
    arguments = ["--bag", value["bag"], "--rate", value["rate"], "--wait-for-subscribers", "1"]
    if value["loop"].lower() in ("true", "1"):
        arguments.append("--loop")
    return [Node(package="sparse4d_ros", executable="sparse4d_replay", name="sparse4d_replay", output="screen",
                 arguments=arguments, on_exit=Shutdown())]


def generate_launch_description() -> LaunchDescription:
    """The node of sparse4d.launch.py (its arguments work here too) on the bag's clock, and the player."""
    node = str(share_path("launch", "sparse4d.launch.py"))
    return LaunchDescription([
        *(DeclareLaunchArgument(name, description=text) for name, text in REQUIRED.items()),
        *(DeclareLaunchArgument(name, default_value=default, description=text)
          for name, (default, text) in ARGUMENTS.items()),
        IncludeLaunchDescription(PythonLaunchDescriptionSource(node),
                                 launch_arguments={"use_sim_time": "true"}.items()),
        OpaqueFunction(function=replay_of),
    ])
