"""Results in the nuScenes submission format, for the devkit's own tools or a server.

Boxes are in the fixed frame, by the pose of the ground truth; sizes are width, length, height and
quaternions w, x, y, z, as the format asks. Every frame with ground truth has an entry, an empty one
where no result came.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from nuscenes.eval.common.config import config_factory

from sparse4d_ros.errors import UserError
from sparse4d_ros.evaluation.nuscenes_memory import result_boxes, sample_place
from sparse4d_ros.evaluation.records import TRACKING_CLASS_SCORE, Drive
from sparse4d_ros.writing import write_text

_COMMON = ("translation", "size", "rotation", "velocity")
_FIELDS = {"detection": (*_COMMON, "detection_name", "detection_score", "attribute_name"),
           "tracking": (*_COMMON, "tracking_id", "tracking_name", "tracking_score")}
_CONFIGS = {"detection": "detection_cvpr_2019", "tracking": "tracking_nips_2019"}
_META = {"use_camera": True, "use_lidar": False, "use_radar": False, "use_map": False, "use_external": False}


def submission_token(drive_name: str, stamp_ns: int) -> str:
    """The sample token of a frame: ``<drive name>-<stamp in nanoseconds>``.

    Drives here are not nuScenes scenes and have no tokens of their own. The stamp stands behind the last hyphen, so
    that the token can be taken apart again, and no two frames share one while drives have different names.
    """
    return f"{drive_name}-{stamp_ns}"


def submission(drives: Sequence[Drive], task: str, tracking_class_score: float = TRACKING_CLASS_SCORE) -> dict:
    """The document of a submission for ``task``, ``detection`` or ``tracking``.

    At most 500 boxes a frame, best first. For tracking only the seven classes that nuScenes tracks and objects whose
    class score reaches ``tracking_class_score``, as Sparse4D exports. Raises ``UserError`` if two drives share a name.
    """
    twice = [name for name, count in Counter(drive.name for drive in drives).items() if count > 1]
    if twice:
        raise UserError(f"two drives are called {twice[0]!r}: their frames would share sample tokens in a submission")
    tracking = task == "tracking"
    config = config_factory(_CONFIGS[task])
    if tracking:
        drives = [Drive(drive.name, drive.truths,
                        tuple(r.select(r.class_scores >= tracking_class_score) for r in drive.results))
                  for drive in drives]
    boxes = result_boxes(drives, list(config.class_range), tracking, config.max_boxes_per_sample)
    results = {}
    for token in boxes.sample_tokens:
        drive, frame = sample_place(token)
        name = submission_token(drives[drive].name, drives[drive].truths[frame].stamp_ns)
        results[name] = [{"sample_token": name} | {field: getattr(box, field) for field in _FIELDS[task]}
                         for box in boxes[token]]
    return {"meta": _META, "results": results}


def write_submission(path: str | Path, drives: Sequence[Drive], task: str,
                     tracking_class_score: float = TRACKING_CLASS_SCORE) -> int:
    """Write :func:`submission` as JSON and return its number of boxes."""
    document = submission(drives, task, tracking_class_score)
    write_text(path, json.dumps(document) + "\n")
    return sum(len(boxes) for boxes in document["results"].values())
