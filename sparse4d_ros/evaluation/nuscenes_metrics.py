"""nuScenes detection and tracking scores of drives, computed by the nuScenes devkit's own code.

The devkit's ``DetectionEval`` (see :mod:`~sparse4d_ros.evaluation.matching`) and ``TrackingEval`` are
made without their constructors (which read result files and a data set) and given boxes from memory;
distances, matching, curves and means are theirs, with the settings of ``detection_cvpr_2019`` and
``tracking_nips_2019``.

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
from nuscenes.eval.detection.constants import TP_METRICS
from nuscenes.eval.detection.data_classes import DetectionMetrics
from nuscenes.eval.tracking.data_classes import TrackingMetrics
from nuscenes.eval.tracking.evaluate import TrackingEval
from nuscenes.eval.tracking.loaders import create_tracks
from tqdm import tqdm

from sparse4d_ros.errors import UserError
from sparse4d_ros.evaluation.matching import Matches, match_drives
from sparse4d_ros.evaluation.nuscenes_memory import (
    SPLIT,
    MemoryDataSet,
    in_range,
    of_class,
    result_boxes,
    truth_boxes,
)
from sparse4d_ros.evaluation.records import TRACKING_CLASS_SCORE, Drive

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
    #: For how long, all together, the true objects of tracked classes were there to be tracked.
    object_seconds: float

    @property
    def ids_per_100_s(self) -> float:
        """Identity switches in 100 object-seconds: unlike their sum, comparable between drives and rates."""
        return 100.0 * self.ids / self.object_seconds if self.object_seconds else float("nan")

    def to_json(self) -> dict:
        """Plain values; nan becomes None, which JSON can hold."""
        return without_nan(asdict(self) | {"ids_per_100_s": self.ids_per_100_s})


def evaluate(drives: Sequence[Drive], progress: bool = True, tracking_class_score: float = TRACKING_CLASS_SCORE,
             matches: Matches | None = None) -> Scores:
    """Score drives as the scenes of one evaluation. Raises ``UserError`` if no object is in range.

    ``matches`` are those of :func:`~sparse4d_ros.evaluation.matching.match_drives` for the same drives, where
    the caller has them already.
    """
    drives = list(drives)
    if not drives:
        raise UserError("there is no drive to score")
    matches = match_drives(drives, progress) if matches is None else matches
    detection = _merge_detection(matches)
    tracking = _evaluate_tracking(drives, progress, tracking_class_score)
    tracked = set(tracking.class_names)
    classes = {}
    for name in detection.cfg.class_names:
        classes[name] = ClassScores(
            len(matches.classes[name].truth_places), float(detection.mean_dist_aps[name]),
            {float(d): detection.get_label_ap(name, d) for d in detection.cfg.dist_ths},
            *(detection.get_label_tp(name, metric) for metric in TP_METRICS),
            *((tracking.compute_metric(metric, name) for metric in _TRACKING) if name in tracked else ()))
    with warnings.catch_warnings():  # means over nothing but nan are nan, which is what is meant
        warnings.simplefilter("ignore", RuntimeWarning)
        errors = detection.tp_errors
        return Scores(
            detection.mean_ap, detection.nd_score, *(errors[metric] for metric in TP_METRICS),
            *(tracking.compute_metric(metric) if tracked else float("nan") for metric in _TRACKING),
            sum(len(drive.truths) for drive in drives), sum(drive.missing for drive in drives), classes,
            _object_seconds(drives, matches, tracked))


def _object_seconds(drives: Sequence[Drive], matches: Matches, names: Iterable[str]) -> float:
    seconds = np.array([1.0 / drive.rate_hz for drive in drives])
    return float(sum(seconds[matches.classes[name].truth_places[:, 0]].sum() for name in names))


_TRACKING = ("amota", "amotp", "mota", "recall", "ids", "frag")


def _merge_detection(matches: Matches) -> DetectionMetrics:
    """The devkit's metrics over the classes that occur."""
    config = config_factory("detection_cvpr_2019")
    config.class_names = [of.name for of in matches.present]
    if not config.class_names:
        raise UserError("the ground truth has no visible object within the ranges of nuScenes: nothing can be scored")
    total = DetectionMetrics(config)
    for of in matches.present:
        for distance in config.dist_ths:
            total.add_label_ap(of.name, distance, of.metrics.get_label_ap(of.name, distance))
        for metric in TP_METRICS:
            total.add_label_tp(of.name, metric, of.metrics.get_label_tp(of.name, metric))
    return total


def _evaluate_tracking(drives: list[Drive], progress: bool, class_score: float) -> TrackingMetrics:
    """The devkit's tracking metrics; its ``class_names`` are the tracked classes that occur."""
    config = config_factory("tracking_nips_2019")
    every = list(config.class_range)
    confident = [Drive(drive.name, drive.truths, tuple(r.select(r.class_scores >= class_score) for r in drive.results))
                 for drive in drives]
    truth, found = in_range(drives, truth_boxes(drives, every, True),
                             result_boxes(confident, every, True, config.max_boxes_per_sample), config.class_range)
    config.class_names = [name for name in config.class_names if any(b.tracking_name == name for b in truth.all)]
    total = TrackingMetrics(config)
    samples = sum(len(drive.truths) for drive in drives)
    workers = min(len(config.class_names), os.cpu_count() or 1) if samples >= _WORTH_PROCESSES else 1
    bare = [Drive(drive.name, drive.truths, ()) for drive in drives]
    jobs = (joblib.delayed(_track_class)(bare, of_class(truth, name), of_class(found, name),
                                         name) for name in config.class_names)
    done = joblib.Parallel(n_jobs=workers, return_as="generator")(jobs)
    names = tqdm(config.class_names, desc="scoring tracking", unit="class", leave=False,
                 disable=None if progress else True)  # None: no bar where nobody watches a terminal
    for name, values in zip(names, done, strict=True):
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


def without_nan(value):
    """The same value for JSON: None for what is not finite, texts for keys, plain numbers for numpy's."""
    if isinstance(value, dict):
        return {str(key): without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(item) for item in value]
    if isinstance(value, (float, np.floating)):
        return float(value) if np.isfinite(value) else None
    return value
