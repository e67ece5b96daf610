"""What the demo leaves behind: numbers, a picture, a video and the tracks, from what the topics carried."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from sparse4d_ros.evaluation.nuscenes_metrics import Scores
from sparse4d_ros.evaluation.pictures import DRAW_SCORE, FramePainter, keep_pictures, paint_drive
from sparse4d_ros.evaluation.records import TIMING_STEPS, Drive, save_results
from sparse4d_ros.evaluation.report import latency_table, percentiles_ms, score_facts, score_table
from sparse4d_ros.evaluation.sources import Source
from sparse4d_ros.evaluation.video import write_video
from sparse4d_ros.writing import write_text

#: The node's worker takes the newest set; one that waited meanwhile is replaced.
_TOO_SLOW = "newer_set"
_REASONS = {
    _TOO_SLOW: "sets replaced by a newer one while the network ran", "late": "images that came after their set",
    "unmatched": "images of sets that were never complete", "never arrived": "images that never arrived",
    "ego_motion": "sets without a transform in time", "camera_rejected": "sets with an unusable image",
    "rejected": "unusable images", "overflow": "images pushed out of a full buffer",
}


@dataclass(frozen=True)
class Recording:
    """One run as seen from the topics."""

    drive: Drive
    rate: float
    #: Results whose stamp has no ground truth in the bag; they are not scored.
    unscored: int
    #: Results that the node counted and that did not reach the recorder.
    lost: int
    #: What the node's diagnostics name: reason -> where -> how often.
    drop_reasons: dict[str, dict[str, int]]
    #: Milliseconds from the reference camera's message to its result, both seen by the recorder.
    observed_ms: list[float]
    #: Frames of the reference camera that the recorder saw go by.
    seen: int


def summary_text(recording: Recording, scores: Scores) -> str:
    """The summary that a person reads at the end."""
    drive = recording.drive
    lines = [score_table(scores), "", latency_table(drive.results, TIMING_STEPS)]
    if recording.observed_ms:
        p50, p95 = np.percentile(recording.observed_ms, [50, 95])
        lines.append(f"{'camera to result':<21}{p50:>8.1f}{p95:>8.1f}   seen from outside: the reference camera's "
                     "message until its result")
    lines += ["", f"frames: {len(drive.truths)} in, {len(drive.results)} out, {drive.missing} dropped"
              + (f", {recording.unscored} results without ground truth" if recording.unscored else "")
              + (f", {recording.lost} results lost on the way to the recorder" if recording.lost else "")]
    lines += [f"    {line}" for line in reason_lines(recording.drop_reasons)]
    if drive.missing and not recording.drop_reasons:
        lines.append("    the node's diagnostics name no reason")
    if recording.drop_reasons.get(_TOO_SLOW):
        lines.append("    The node could not keep up with the replay here; --rate 0.5 gives it twice the time.")
    return "\n".join(lines)


def reason_lines(reasons: dict[str, dict[str, int]]) -> list[str]:
    """One line a reason, for example ``late: front 1, back 2``."""
    return [f"{_REASONS.get(reason, reason)}: " + ", ".join(f"{where} {count}" for where, count in places.items())
            for reason, places in reasons.items()]


def summary_document(recording: Recording, scores: Scores, facts: dict) -> dict:
    """The same for machines."""
    drive = recording.drive
    latency = {step: dict(zip(("p50", "p95"), found, strict=True))
               for step in TIMING_STEPS if (found := percentiles_ms(drive.results, step)) is not None}
    if recording.observed_ms:
        p50, p95 = np.percentile(recording.observed_ms, [50, 95])
        latency["camera_to_result_observed"] = {"p50": float(p50), "p95": float(p95)}
    return {
        **facts,
        "scores": scores.to_json(),
        "latency_ms": latency,
        "frames": {
            "in": len(drive.truths), "out": len(drive.results), "dropped": drive.missing,
            "without_ground_truth": recording.unscored, "lost_to_recorder": recording.lost,
            "seen_by_recorder": recording.seen, "drop_reasons": recording.drop_reasons,
        },
    }


def write_outputs(folder: Path, recording: Recording, scores: Scores, source: Source, title: str,
                  facts: dict) -> list[Path]:
    """Write tracks, picture, video and summary into an existing folder; returns their paths.

    The summary comes last, so that a folder with a summary is complete.
    """
    paths = [folder / "tracks.npz", folder / "picture.png", folder / "video.mp4", folder / "summary.json"]
    for path in paths:
        path.unlink(missing_ok=True)  # nothing of an earlier run may pass for this one's
    save_results(paths[0], recording.drive.results)
    painted = paint_drive(FramePainter(title, score_facts(scores)), source.frames(), recording.drive.results)
    pictures = tqdm(keep_pictures(painted, {best_frame(recording.drive): paths[1]}), total=len(recording.drive.truths),
                    desc="painting", unit="frame", leave=False, disable=None)
    write_video(paths[2], pictures, recording.drive.rate_hz * recording.rate)
    write_text(paths[-1], json.dumps(summary_document(recording, scores, facts), indent=2) + "\n")
    return paths


def best_frame(drive: Drive) -> int:
    """The stamp of the frame to show: the most tracks, in the second half, where trails have grown."""
    late = drive.truths[len(drive.truths) // 2].stamp_ns
    candidates = [result for result in drive.results if result.stamp_ns >= late] or list(drive.results)
    return max(candidates, key=lambda result: int((result.scores >= DRAW_SCORE).sum())).stamp_ns
