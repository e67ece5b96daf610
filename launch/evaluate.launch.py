"""Score what the node publishes: `ros2 launch sparse4d_ros evaluate.launch.py bag:=drive` (docs/replay.md).

The demo's own run (node, replay and recorder, in a ROS domain that nobody uses), then the page of `sparse4d evaluate`
over the tracks that it recorded.
"""

from pathlib import Path

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, ExecuteProcess, OpaqueFunction
from launch.substitutions import LaunchConfiguration

from sparse4d_ros.errors import UserError

#: argument -> description; the others have defaults.
REQUIRED = {"bag": "The bag with ground truth (/ground_truth/objects): a rosbag2 folder, or one .mcap or .db3 file."}
#: argument -> (default, description)
ARGUMENTS = {
    "model": ("", "Model package: a folder. Empty: the shipped one."),
    "output": ("evaluation_output", "Folder for summary.json, scores.json, report.html, tracks, picture, video, logs."),
    "rate": ("1.0", "Speed of the replay: 0.5 gives the node twice the time."),
    "score_threshold": ("0.05", "The node publishes objects above this score; low, or the curves are cut off."),
}
#: The interpreter that `ros2 run` takes as well. `ros2` itself always has the system's, which sees no environment.
PYTHON = "python3"
#: The run ends its own children, which takes as long as the slowest of them may.
LEAVE_WITHIN_S = "20"


def run_of(context) -> list[ExecuteProcess]:
    """Replay and record; the page follows. ``UserError`` names a wrong argument."""
    value = {name: LaunchConfiguration(name).perform(context) for name in (*REQUIRED, *ARGUMENTS)}
    for name in ("rate", "score_threshold"):
        try:
            float(value[name])
        except ValueError:
            raise UserError(f"{name}:={value[name]} is not a number") from None
    words = ["--bag", value["bag"], "--output", value["output"], "--rate", value["rate"],
             "--score-threshold", value["score_threshold"]]
    words += ["--model", value["model"]] if value["model"] else []
    return [ExecuteProcess(
        cmd=[PYTHON, "-m", "sparse4d_ros.node.start", "demo", *words], name="evaluation", output="screen",
        sigterm_timeout=LEAVE_WITHIN_S, on_exit=lambda event, context: page_of(event, context, value))]


def page_of(event, context, value: dict[str, str]) -> list[ExecuteProcess]:
    """The page over what the run recorded, unless it failed (``UserError``, and with it exit code 1)."""
    check_done(event, context)
    if context.is_shutdown:
        return []
    folder = Path(value["output"])
    return [ExecuteProcess(
        cmd=[PYTHON, "-m", "sparse4d_ros.cli", "evaluate", "--tracks", str(folder / "tracks.npz"),
             "--bag", value["bag"], "--output", str(folder / "scores.json"), "--report", str(folder / "report.html")],
        name="report", output="screen", on_exit=check_done)]


def check_done(event, context) -> None:
    """``UserError`` if a process failed by itself."""
    if event.returncode and not context.is_shutdown:
        raise UserError(f"{event.process_name} ended with exit code {event.returncode}; its output is above")


def generate_launch_description() -> LaunchDescription:
    """Arguments, and the run."""
    return LaunchDescription([
        *(DeclareLaunchArgument(name, description=text) for name, text in REQUIRED.items()),
        *(DeclareLaunchArgument(name, default_value=default, description=text)
          for name, (default, text) in ARGUMENTS.items()),
        OpaqueFunction(function=run_of),
    ])
