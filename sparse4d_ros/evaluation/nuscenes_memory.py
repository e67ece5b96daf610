"""Boxes in memory as the nuScenes devkit wants them, and the little of its data set that it asks for.

The devkit filters by range and builds tracks by looking samples, scenes and ego poses up in a
``NuScenes`` object. :class:`MemoryDataSet` answers those look-ups from our drives, so that the
devkit's own functions run unchanged and no data set has to be on the disk.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from nuscenes.eval.common.data_classes import EvalBoxes
from nuscenes.eval.common.loaders import add_center_dist, filter_eval_boxes
from nuscenes.eval.detection.data_classes import DetectionBox
from nuscenes.eval.tracking.data_classes import TrackingBox

from sparse4d_ros import boxes as box_columns
from sparse4d_ros.evaluation.records import Drive, FrameResult, FrameTruth
from sparse4d_ros.writing import blaming

SPLIT = "drives"
#: Above this speed over ground, m/s, an object counts as moving (nuScenes annotators and the Sparse4D exporter).
MOVING_SPEED = 0.2
_CYCLES = ("bicycle", "motorcycle")
_STATIC = ("barrier", "traffic_cone")


class RowBox(DetectionBox):
    """A DetectionBox that knows which row of its frame's result or truth it was made of."""

    def __init__(self, row: int, **fields: Any) -> None:
        super().__init__(**fields)
        self.row = row


def sample_token(drive: int, frame: int) -> str:
    """The name of a frame within the evaluation."""
    return f"{drive:04d}-{frame:06d}"


def sample_place(token: str) -> tuple[int, int]:
    """Drive and frame of a :func:`sample_token`."""
    drive, frame = token.split("-")
    return int(drive), int(frame)


def attribute(name: str, velocity: np.ndarray) -> str:
    """The nuScenes attribute that follows from an object's class and velocity over ground.

    Neither the network nor our ground truth carries attributes. The Sparse4D exporter derives them
    from the predicted speed; applying the same rule to the true speed makes the attribute error
    the share of objects whose moving or standing is judged wrongly, and lets NDS keep its formula.
    Empty, which the devkit leaves out, for classes that never move and for an unknown velocity (NaN).
    """
    speed = float(np.hypot(velocity[0], velocity[1]))
    if name in _STATIC or math.isnan(speed):
        return ""
    moving = speed > MOVING_SPEED
    if name == "pedestrian":
        return "pedestrian.moving" if moving else "pedestrian.standing"
    if name in _CYCLES:
        return "cycle.with_rider" if moving else "cycle.without_rider"
    return "vehicle.moving" if moving else "vehicle.parked"


class MemoryDataSet:
    """Stands in for ``nuscenes.NuScenes`` where the devkit filters boxes and builds tracks.

    ``folder`` is an empty folder of the caller's: the devkit reads the names of a split from a
    file below ``dataroot``, and nowhere else.
    """

    version = "memory"

    def __init__(self, drives: Sequence[Drive], folder: Path) -> None:
        self.dataroot = str(folder)
        self._tables: dict[str, dict[str, dict]] = {"sample": {}, "scene": {}, "sample_data": {}, "ego_pose": {}}
        for d, drive in enumerate(drives):
            scene, last = f"drive-{d:04d}", len(drive.truths) - 1
            self._tables["scene"][scene] = {
                "name": scene, "first_sample_token": sample_token(d, 0), "last_sample_token": sample_token(d, last)}
            for f, truth in enumerate(drive.truths):
                token = sample_token(d, f)
                self._tables["sample"][token] = {
                    "scene_token": scene, "timestamp": truth.stamp_ns // 1000, "anns": [],
                    "data": {"LIDAR_TOP": token}, "next": sample_token(d, f + 1) if f < last else ""}
                self._tables["sample_data"][token] = {"ego_pose_token": token}
                self._tables["ego_pose"][token] = {"translation": truth.fixed_from_vehicle[:3, 3].tolist()}
        with blaming(folder):
            (folder / self.version).mkdir()
            (folder / self.version / "splits.json").write_text(json.dumps({SPLIT: list(self._tables["scene"])}))

    def get(self, table: str, token: str) -> dict:
        """One record, as ``NuScenes.get``."""
        return self._tables[table][token]


def truth_boxes(drives: Sequence[Drive], names: Sequence[str], tracking: bool) -> EvalBoxes:
    """True boxes of the classes ``names`` in the fixed frame, as RowBox or TrackingBox.

    nuScenes drops objects that no lidar or radar point hit. The share of the object that cameras
    see takes the place of the number of points: 0 only where nothing of it is visible.
    """
    out = EvalBoxes()
    for d, drive in enumerate(drives):
        for f, truth in enumerate(drive.truths):
            objects, token, kept = truth.objects, sample_token(d, f), []
            fixed = box_columns.transform(np.asarray(objects.boxes).reshape(-1, box_columns.BOX_COLUMNS),
                                          truth.fixed_from_vehicle)
            for row, (box, name, instance, seen) in enumerate(zip(
                    fixed, objects.names, objects.instance_ids, objects.visibility, strict=True)):
                if name not in names:
                    continue
                common = _common(token, box) | {"num_pts": math.ceil(1000 * float(seen))}
                kept.append(
                    TrackingBox(**common, tracking_id=f"{d}-{int(instance)}", tracking_name=name) if tracking else
                    RowBox(row, **common, detection_name=name, attribute_name=attribute(name, box[box_columns.VX:])))
            out.add_boxes(token, kept)
    return out


def result_boxes(drives: Sequence[Drive], names: Sequence[str], tracking: bool, limit: int) -> EvalBoxes:
    """Reported boxes of the classes ``names`` in the fixed frame, as RowBox or TrackingBox.

    At most ``limit`` a frame, best first.
    """
    out = EvalBoxes()
    for d, drive in enumerate(drives):
        by_stamp = {result.stamp_ns: result for result in drive.results}
        for f, truth in enumerate(drive.truths):
            result = by_stamp.get(truth.stamp_ns)
            kept = [] if result is None else _of_result(result, truth, sample_token(d, f), names, tracking, d)
            kept.sort(key=lambda box: -(box.tracking_score if tracking else box.detection_score))
            out.add_boxes(sample_token(d, f), kept[:limit])
    return out


def _of_result(result: FrameResult, truth: FrameTruth, token: str, names: Sequence[str], tracking: bool,
               drive: int) -> list:
    fixed = box_columns.transform(result.boxes, truth.fixed_from_vehicle)
    out = []
    for row, (box, name, score, track) in enumerate(zip(
            fixed, result.names, result.scores, result.track_ids, strict=True)):
        if name not in names:
            continue
        common = _common(token, box)
        out.append(
            TrackingBox(**common, tracking_id=f"{drive}-{int(track)}", tracking_name=name, tracking_score=float(score))
            if tracking else
            RowBox(row, **common, detection_name=name, detection_score=float(score),
                   attribute_name=attribute(name, box[box_columns.VX:])))
    return out


def in_range(drives: Sequence[Drive], truth: EvalBoxes, found: EvalBoxes,
             ranges: dict[str, float]) -> tuple[EvalBoxes, EvalBoxes]:
    """Both sets after the devkit's filters: distance from the vehicle by class, and nothing unseen."""
    with tempfile.TemporaryDirectory() as folder:
        data_set = MemoryDataSet(drives, Path(folder))
        out = []
        for boxes in (truth, found):
            boxes = add_center_dist(data_set, boxes)
            # The devkit finds out the kind of box from the first one and has no answer for none at all.
            out.append(filter_eval_boxes(data_set, boxes, ranges) if boxes.all else boxes)
    return out[0], out[1]


def of_class(boxes: EvalBoxes, name: str) -> EvalBoxes:
    """The boxes of one class under all sample tokens; the devkit looks at classes one by one anyway."""
    out = EvalBoxes()
    for token in boxes.sample_tokens:
        out.add_boxes(token, [
            box for box in boxes[token]
            if (box.tracking_name if hasattr(box, "tracking_name") else box.detection_name) == name])
    return out


def _common(token: str, box: np.ndarray) -> dict[str, Any]:
    """What both kinds of box share: the devkit's size is width, length, height, its quaternion w x y z."""
    half = 0.5 * float(box[box_columns.YAW])
    return {
        "sample_token": token,
        "translation": tuple(float(v) for v in box[:3]),
        "size": (float(box[box_columns.WIDTH]), float(box[box_columns.LENGTH]), float(box[box_columns.HEIGHT])),
        "rotation": (math.cos(half), 0.0, 0.0, math.sin(half)),
        "velocity": (float(box[box_columns.VX]), float(box[box_columns.VY])),
    }
