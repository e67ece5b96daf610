"""Play a bag through the perception node: `ros2 launch sparse4d_ros replay.launch.py bag:=drive` (docs/replay.md)."""

import dataclasses
import subprocess
from pathlib import Path

from launch import LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    IncludeLaunchDescription,
    LogInfo,
    OpaqueFunction,
    RegisterEventHandler,
    Shutdown,
)
from launch.conditions import IfCondition
from launch.event_handlers import OnProcessExit
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.logging import launch_config
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.event_handlers import OnStateTransition

from sparse4d_ros.errors import UserError
from sparse4d_ros.node import wiring
from sparse4d_ros.node.settings import Settings
from sparse4d_ros.node.viewer_files import write_viewer_files
from sparse4d_ros.resources import share_path

BOOLEANS = ["true", "false", "True", "False"]
#: argument -> description; the others have defaults.
REQUIRED = {"bag": "The bag: a rosbag2 folder, or one .mcap or .db3 file."}
#: argument -> (default, description)
ARGUMENTS = {
    **wiring.ARGUMENTS,
    "images": (wiring.IMAGES["compressed"], "Image topics of the bag, {name} stands for the camera. One that ends in "
               "/compressed carries CompressedImage."),
    "fixed_frame": ("", "Continuous frame in which the vehicle moves. Empty: what the parameter file says, else odom "
                    "or map, whichever the bag's transforms lead to."),
    "player": ("sparse4d", "What plays: sparse4d (sparse4d_replay, waits for the node) or ros2bag (`ros2 bag play`)."),
    "rate": ("1.0", "Speed: 2.0 plays twice as fast."),
    "loop": ("false", "Start again at the end of the bag."),
    "faults": ("", "A file of faults that sparse4d_replay puts into the bag (docs/fault_injection.md)."),
    "use_sim_time": ("true", "The player publishes /clock and all nodes follow it; false: the system's time."),
    "node": ("true", "Start the perception node; false: only play and show."),
    "viewer": ("none", "What shows the objects: page (sparse4d_view, in a browser), rviz, or foxglove (its bridge, on "
               "port 8765 of this machine)."),
}
CHOICES = {"player": ["sparse4d", "ros2bag"], "viewer": ["none", "page", "rviz", "foxglove"],
           **{name: BOOLEANS for name in ("loop", "use_sim_time", "node")}}
#: The interpreter that `ros2 run` takes as well. `ros2` itself always has the system's, which sees no environment.
PYTHON = "python3"


def processes_of(context) -> list:
    """Player and viewer; all ends when the player or the node does. ``UserError`` names a wrong argument."""
    value = {name: LaunchConfiguration(name).perform(context) for name in (*REQUIRED, *ARGUMENTS)}
    value |= {name: value[name].lower() == "true" for name, choices in CHOICES.items() if choices is BOOLEANS}
    if not is_positive(value["rate"]):
        raise UserError(f"rate:={value['rate']} is not a positive number")
    if value["faults"] and value["player"] != "sparse4d":
        raise UserError(f"faults:={value['faults']} needs player:=sparse4d; for other players write a broken bag with "
                        "`sparse4d inject`")
    node = wiring.wired(value)
    fixed_frame = value["fixed_frame"] or frame_in_bag(value["bag"], node.settings)
    # For the launch file of the node, which is included after this.
    context.launch_configurations["fixed_frame"] = fixed_frame
    if value["viewer"] in ("rviz", "foxglove"):
        context.launch_configurations.setdefault("show", "true")
    viewers = viewers_of(value, node, fixed_frame)
    player = ros2_bag(value) if value["player"] == "ros2bag" else sparse4d_replay(value)
    if value["player"] == "ros2bag" and value["node"]:  # it waits for nobody
        player = RegisterEventHandler(OnStateTransition(goal_state="active", entities=[player], handle_once=True))
    return [
        RegisterEventHandler(OnProcessExit(target_action=lambda action: action not in viewers, on_exit=ended)),
        LogInfo(msg=f"the vehicle moves in the frame {fixed_frame!r} (parameter file: {node.settings.fixed_frame!r})"),
        player, *viewers,
    ]


def frame_in_bag(bag: str, settings: Settings) -> str:
    """In which frame the vehicle moves, the parameter file's if that is possible; ``UserError`` for a broken bag."""
    found = subprocess.run([PYTHON, "-m", "sparse4d_ros.node.start", "fixed_frame", bag, settings.fixed_frame,
                            settings.base_frame], capture_output=True, text=True)
    if found.returncode:
        raise UserError(found.stderr.strip())
    return found.stdout.strip()


def is_positive(text: str) -> bool:
    """Whether this is a finite number above 0."""
    try:
        return 0.0 < float(text) < float("inf")
    except ValueError:
        return False


def sparse4d_replay(value: dict) -> Node:
    """Our player; it begins when the node listens to every camera."""
    arguments = ["--bag", value["bag"], "--rate", value["rate"]]
    arguments += ["--wait-for-subscribers", "1"] if value["node"] else []
    arguments += ["--loop"] if value["loop"] else []
    arguments += ["--faults", value["faults"]] if value["faults"] else []
    arguments += [] if value["use_sim_time"] else ["--no-clock"]
    return Node(package="sparse4d_ros", executable="sparse4d_replay", name="sparse4d_replay", output="screen",
                arguments=arguments)


def ros2_bag(value: dict) -> ExecuteProcess:
    """The player of the ROS distribution."""
    words = ["ros2", "bag", "play", value["bag"], "--rate", value["rate"], "--disable-keyboard-controls"]
    words += ["--loop"] if value["loop"] else []
    words += ["--clock", "100"] if value["use_sim_time"] else []
    return ExecuteProcess(cmd=words, name="ros2_bag_play", output="screen")


def viewers_of(value: dict, node: wiring.Wiring, fixed_frame: str) -> list:
    """The viewer that was asked for; the files that it opens lie beside the logs of this launch."""
    time = {"use_sim_time": value["use_sim_time"]}
    if value["viewer"] == "page":
        return [Node(package="sparse4d_ros", executable="sparse4d_view", name="sparse4d_view", output="screen",
                     namespace=value["namespace"], parameters=[time], arguments=[
                         "--node", node.node, "--cameras", ",".join(node.settings.cameras),
                         "--images", node.images.replace("~", node.node),
                         "--camera-infos", node.camera_infos.replace("~", node.node),
                         "--fixed-frame", fixed_frame, "--base-frame", node.settings.base_frame])]
    if value["viewer"] not in ("rviz", "foxglove"):
        return []
    rviz, foxglove = write_viewer_files(Path(launch_config.log_dir), node.node,
                                        dataclasses.replace(node.settings, fixed_frame=fixed_frame))
    if value["viewer"] == "rviz":
        return [Node(package="rviz2", executable="rviz2", name="rviz2", parameters=[time],
                     arguments=["-d", str(rviz)])]
    # Its own default is every network interface.
    return [Node(package="foxglove_bridge", executable="foxglove_bridge", name="foxglove_bridge", output="screen",
                 parameters=[{**time, "address": "127.0.0.1", "port": 8765}]),
            LogInfo(msg=f"Foxglove: open ws://localhost:8765 and import {foxglove} (Layouts, import from file)")]


def ended(event, context) -> Shutdown | None:
    """The player or the node has left: end the rest; ``UserError``, and with it exit code 1, if it failed."""
    if context.is_shutdown:
        return None
    if event.returncode:
        raise UserError(f"{event.process_name} ended with exit code {event.returncode}; its output is above")
    return Shutdown(reason=f"{event.process_name} is done")


def generate_launch_description() -> LaunchDescription:
    """Player, viewer, and the node of sparse4d.launch.py, whose arguments work here too."""
    node = str(share_path("launch", "sparse4d.launch.py"))
    return LaunchDescription([
        *(DeclareLaunchArgument(name, description=text) for name, text in REQUIRED.items()),
        *(DeclareLaunchArgument(name, default_value=default, description=text, choices=CHOICES.get(name))
          for name, (default, text) in ARGUMENTS.items()),
        OpaqueFunction(function=processes_of),
        IncludeLaunchDescription(
            PythonLaunchDescriptionSource(node), condition=IfCondition(LaunchConfiguration("node")),
            launch_arguments={"use_sim_time": LaunchConfiguration("use_sim_time")}.items()),
    ])
