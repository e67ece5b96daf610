"""The demo's run on real topics: node and replay as children, this process as the listener."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import rclpy
from rclpy.signals import SignalHandlerOptions
from tqdm import tqdm

from sparse4d_ros.data.bag_reader import BagDrive
from sparse4d_ros.data.image_topics import camera_info_topic
from sparse4d_ros.errors import UserError
from sparse4d_ros.evaluation.records import Drive, FrameTruth, truth_of
from sparse4d_ros.node import topics
from sparse4d_ros.node.demo_processes import Child
from sparse4d_ros.node.demo_recorder import Recorder
from sparse4d_ros.node.demo_report import Recording, reason_lines

#: Loading a model takes seconds; a cold disk or an accelerator that is prepared first, much longer.
ACTIVE_WITHIN_S = 180.0
_QUIET_S = 1.0
_DRAIN_WITHIN_S = 10.0


@dataclass(frozen=True)
class Plan:
    """What is run."""

    bag: Path
    model: Path
    #: Image topic by camera name, in the model's order; the first is the reference camera.
    image_topics: dict[str, str]
    truths: tuple[FrameTruth, ...]
    #: In which the bag has the ego motion.
    fixed_frame: str
    rate: float
    score_threshold: float
    #: Where the children's output goes.
    logs: Path
    #: Module of the node's process.
    node_module: str = "sparse4d_ros.node.main"

    @property
    def node_words(self) -> list[str]:
        """Command line of the node behind the interpreter."""
        compressed = all(topic.endswith("/compressed") for topic in self.image_topics.values())
        transport = "compressed" if compressed else "raw"
        words = ["-m", self.node_module, "--ros-args"]
        for name, topic in self.image_topics.items():
            words += ["-r", f"{topics.image(name, transport)}:={topic}",
                      "-r", f"{topics.camera_info(name)}:={camera_info_topic(topic)}"]
        names = list(self.image_topics)
        for parameter, value in (
                ("use_sim_time", "true"), ("image_transport", transport), ("model.package", str(self.model)),
                ("cameras", f"[{','.join(names)}]"), ("reference_camera", names[0]), ("fixed_frame", self.fixed_frame),
                ("score_threshold", f"{self.score_threshold:.6f}")):
            words += ["-p", f"{parameter}:={value}"]
        return words

    @property
    def replay_words(self) -> list[str]:
        """Command line of the replay, which waits until the node listens to every camera."""
        return ["-m", "sparse4d_ros.node.replay", "--bag", str(self.bag), "--rate", str(self.rate),
                "--wait-for-subscribers", "1"]


def truths_of(drive: BagDrive) -> tuple[FrameTruth, ...]:
    """What the frames of a bag should give; ``UserError`` if it does not say."""
    if not drive.has_ground_truth:
        raise UserError(f"{drive.path} has no /ground_truth/objects: what comes out could not be scored")
    frames = tqdm(drive, desc="reading the bag", unit="frame", total=len(drive), leave=False, disable=None)
    truths = tuple(truth_of(item) for item in frames if item.objects is not None)
    if not truths:
        raise UserError(f"no frame of {drive.path} has ground truth at its stamp: what comes out could not be scored")
    return truths


def record(plan: Plan) -> Recording:
    """Run node and replay and listen. ``UserError`` with the end of a log if nothing can come of it."""
    reference = next(iter(plan.image_topics.values()))
    with Child("node", plan.node_words, plan.logs / "node.log") as node:
        rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
        recorder = Recorder(camera_info_topic(reference))
        try:
            if not recorder.wait_until_active(ACTIVE_WITHIN_S, node.check_alive):
                raise node.error(f"the node was not active within {ACTIVE_WITHIN_S:.0f} s")
            print("2/4  replaying; the node tracks", flush=True)
            _replay(plan, node, recorder)
            return _recording(plan, node, recorder)
        finally:
            recorder.close()
            rclpy.try_shutdown()


def _replay(plan: Plan, node: Child, recorder: Recorder) -> None:
    with Child("replay", plan.replay_words, plan.logs / "replay.log") as replay, \
            tqdm(total=len(plan.truths), desc="tracking", unit="frame", leave=False, disable=None) as bar:
        while replay.exit_code is None:
            node.check_alive()
            recorder.spin(0.1)
            bar.update(recorder.count - bar.n)
        if replay.exit_code:
            replay.check_alive()
        recorder.drain(_QUIET_S, _DRAIN_WITHIN_S)
        bar.update(recorder.count - bar.n)
    node.check_alive()


def _recording(plan: Plan, node: Child, recorder: Recorder) -> Recording:
    results, reasons = recorder.results(), recorder.drop_reasons(len(plan.truths))
    if not results:
        named = "; ".join(reason_lines(reasons)) or "none"
        raise node.error(f"{len(plan.truths)} frames were replayed and the node published no result; the reasons in "
                         f"its diagnostics: {named}")
    known = {truth.stamp_ns for truth in plan.truths}
    scored = [result for result in results if result.stamp_ns in known]
    return Recording(
        Drive(plan.bag.name, plan.truths, tuple(scored)), rate=plan.rate, unscored=len(results) - len(scored),
        lost=recorder.lost(), drop_reasons=reasons, observed_ms=recorder.observed_ms(), seen=len(recorder.seen_ns))

