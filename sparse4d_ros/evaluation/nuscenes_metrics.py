"""nuScenes detection and tracking scores of drives, computed by the nuScenes devkit's own code.

The devkit's ``DetectionEval`` and ``TrackingEval`` are made without their constructors (which read
result files and a data set) and given boxes from memory; distances, matching, curves and means are
theirs, with the settings of ``detection_cvpr_2019`` and ``tracking_nips_2019``.

Two things differ from a nuScenes submission, both said in the report: only classes that occur in
the ground truth within range count in the means, and attributes follow from speed (see
:func:`~sparse4d_ros.evaluation.nuscenes_memory.attribute`). Every frame of a drive is a sample.
"""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import joblib
import numpy as np
import sklearn
from nuscenes.eval.common.config import config_factory
from nuscenes.eval.common.data_classes import EvalBoxes
from nuscenes.eval.common.loaders import add_center_dist, filter_eval_boxes
from nuscenes.eval.detection.constants import TP_METRICS
from nuscenes.eval.detection.data_classes import DetectionMetrics
from nuscenes.eval.detection.evaluate import DetectionEval
from nuscenes.eval.tracking.data_classes import TrackingMetrics
from nuscenes.eval.tracking.evaluate import TrackingEval
from nuscenes.eval.tracking.loaders import create_tracks
from tqdm import tqdm

from sparse4d_ros.errors import UserError
from sparse4d_ros.evaluation.nuscenes_memory import SPLIT, MemoryDataSet, result_boxes, truth_boxes
from sparse4d_ros.evaluation.records import Drive

#: The Sparse4D exporter hands only rows with this class score to the tracking evaluation.
TRACKING_CLASS_SCORE = 0.2
#: From so many frames on, classes are tracked in processes of their own: starting those costs seconds.
_WORTH_PROCESSES = 100


@dataclass(frozen=True)
class ClassScores:
    """Scores of one class; tracking fields are nan for the three classes that nuScenes does not track."""

    true_boxes: int
    ap: float
    #: AP by matching distance in metres.
    ap_by_distance: dict[float, float]
    ate: float
    ase: float
    aoe: float
    ave: float
    aae: float
    amota: float = float("nan")
    amotp: float = float("nan")
    mota: float = float("nan")
    recall: float = float("nan")
    ids: float = float("nan")
    frag: float = float("nan")


@dataclass(frozen=True)
class Scores:
    """Scores over all classes that occur, and by class. Errors in metres, 1 - IoU, radians, m/s, 1 - accuracy."""

    mean_ap: float
    nds: float
    mate: float
    mase: float
    maoe: float
    mave: float
    maae: float
    amota: float
    amotp: float
    mota: float
    recall: float
    ids: float
    frag: float
    frames: int
    missing_frames: int
    classes: dict[str, ClassScores]

    def to_json(self) -> dict:
        """Plain values; nan becomes None, which JSON can hold."""
        return _without_nan(asdict(self))


def evaluate(drives: Sequence[Drive], progress: bool = True,
             tracking_class_score: float = TRACKING_CLASS_SCORE) -> Scores:
    """Score drives as the scenes of one evaluation. Raises ``UserError`` if no object is in range."""
    drives = list(drives)
    if not drives:
        raise UserError("there is no drive to score")
    detection, counts = _evaluate_detection(drives, progress)
    tracking = _evaluate_tracking(drives, progress, tracking_class_score)
    tracked = set(tracking.class_names)
    classes = {}
    for name in detection.cfg.class_names:
        classes[name] = ClassScores(
            counts[name], float(detection.mean_dist_aps[name]),
            {float(d): detection.get_label_ap(name, d) for d in detection.cfg.dist_ths},
            *(detection.get_label_tp(name, metric) for metric in TP_METRICS),
            *((tracking.compute_metric(metric, name) for metric in _TRACKING) if name in tracked else ()))
    with warnings.catch_warnings():  # means over nothing but nan are nan, which is what is meant
        warnings.simplefilter("ignore", RuntimeWarning)
        errors = detection.tp_errors
        return Scores(
            detection.mean_ap, detection.nd_score, *(errors[metric] for metric in TP_METRICS),
            *(tracking.compute_metric(metric) if tracked else float("nan") for metric in _TRACKING),
            sum(len(drive.truths) for drive in drives), sum(drive.missing for drive in drives), classes)


_TRACKING = ("amota", "amotp", "mota", "recall", "ids", "frag")


def _evaluate_detection(drives: list[Drive], progress: bool) -> tuple[DetectionMetrics, dict[str, int]]:
    """The devkit's metrics over the classes that occur, and the number of true boxes of each."""
    config = config_factory("detection_cvpr_2019")
    every = list(config.class_range)
    truth, found = _in_range(drives, truth_boxes(drives, every, False),
                             result_boxes(drives, every, False, config.max_boxes_per_sample), config.class_range)
    counts = {name: sum(box.detection_name == name for box in truth.all) for name in every}
    config.class_names = [name for name in every if counts[name]]
    if not config.class_names:
        raise UserError("the ground truth has no visible object within the ranges of nuScenes: nothing can be scored")
    total = DetectionMetrics(config)
    for name in _bar(config.class_names, "detection", progress):
        part = config_factory("detection_cvpr_2019")
        part.class_names = [name]
        run = object.__new__(DetectionEval)
        run.cfg, run.verbose = part, False
        run.gt_boxes, run.pred_boxes = _of_class(truth, name), _of_class(found, name)
        metrics, _ = run.evaluate()
        for distance in part.dist_ths:
            total.add_label_ap(name, distance, metrics.get_label_ap(name, distance))
        for metric in TP_METRICS:
            total.add_label_tp(name, metric, metrics.get_label_tp(name, metric))
    return total, counts


def _evaluate_tracking(drives: list[Drive], progress: bool, class_score: float) -> TrackingMetrics:
    """The devkit's tracking metrics; its ``class_names`` are the tracked classes that occur."""
    config = config_factory("tracking_nips_2019")
    every = list(config.class_range)
    confident = [Drive(drive.name, drive.truths, tuple(r.select(r.class_scores >= class_score) for r in drive.results))
                 for drive in drives]
    truth, found = _in_range(drives, truth_boxes(drives, every, True),
                             result_boxes(confident, every, True, config.max_boxes_per_sample), config.class_range)
    config.class_names = [name for name in config.class_names if any(b.tracking_name == name for b in truth.all)]
    total = TrackingMetrics(config)
    samples = sum(len(drive.truths) for drive in drives)
    workers = min(len(config.class_names), os.cpu_count() or 1) if samples >= _WORTH_PROCESSES else 1
    bare = [Drive(drive.name, drive.truths, ()) for drive in drives]
    jobs = (joblib.delayed(_track_class)(bare, _of_class(truth, name), _of_class(found, name),
                                         name) for name in config.class_names)
    done = joblib.Parallel(n_jobs=workers, return_as="generator")(jobs)
    for name, values in zip(_bar(config.class_names, "tracking", progress), done, strict=True):
        for metric, value in values.items():
            total.add_label_metric(metric, name, value)
    return total


def _track_class(drives: list[Drive], truth: EvalBoxes, found: EvalBoxes, name: str) -> dict[str, float]:
    """One class by the devkit's TrackingEval; its metrics by name."""
    config = config_factory("tracking_nips_2019")
    config.class_names = [name]
    run = object.__new__(TrackingEval)
    run.cfg, run.verbose, run.output_dir, run.render_classes = config, False, None, None
    with tempfile.TemporaryDirectory() as folder:
        data_set = MemoryDataSet(drives, Path(folder))
        run.tracks_gt = create_tracks(truth, data_set, SPLIT, gt=True)
        run.tracks_pred = create_tracks(found, data_set, SPLIT, gt=False)
    # The devkit calls scikit-learn for each frame and threshold; checking its arguments costs more than the distances.
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings(), \
            sklearn.config_context(assume_finite=True, skip_parameter_validation=True):
        warnings.simplefilter("ignore")
        metrics, _ = run.evaluate()
    return {metric: metrics.label_metrics[metric][name] for metric in metrics.metric_names}


def _in_range(drives: list[Drive], truth: EvalBoxes, found: EvalBoxes,
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


def _of_class(boxes: EvalBoxes, name: str) -> EvalBoxes:
    """The boxes of one class under all sample tokens; the devkit looks at classes one by one anyway."""
    out = EvalBoxes()
    for token in boxes.sample_tokens:
        out.add_boxes(token, [
            box for box in boxes[token]
            if (box.tracking_name if hasattr(box, "tracking_name") else box.detection_name) == name])
    return out


def _bar(items: Iterable[str], what: str, progress: bool) -> tqdm:
    return tqdm(items, desc=f"scoring {what}", unit="class", leave=False,
                disable=None if progress else True)  # None: no bar where nobody watches a terminal


def _without_nan(value):
    if isinstance(value, dict):
        return {str(key): _without_nan(item) for key, item in value.items()}
    if isinstance(value, (float, np.floating)):
        return float(value) if np.isfinite(value) else None
    return value
