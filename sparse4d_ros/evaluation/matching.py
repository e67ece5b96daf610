"""Which reported object is which true one, as the nuScenes devkit matched them, row by row.

The devkit's ``DetectionEval`` gives curves and means and keeps its matches to itself. It asks a
distance function about every pair that it considers; one that writes down the nearest candidate of
each box knows the matches afterwards. Breakdowns, calibration, missed objects and identity
switches all rest on these, so they agree with the scores.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from nuscenes.eval.common.config import config_factory
from nuscenes.eval.common.data_classes import EvalBoxes
from nuscenes.eval.common.utils import center_distance, yaw_diff
from nuscenes.eval.detection.config import DetectionConfig
from nuscenes.eval.detection.data_classes import DetectionMetricData, DetectionMetrics
from nuscenes.eval.detection.evaluate import DetectionEval
from tqdm import tqdm

from sparse4d_ros.evaluation.nuscenes_memory import (
    RowBox,
    in_range,
    of_class,
    result_boxes,
    sample_place,
    truth_boxes,
)
from sparse4d_ros.evaluation.records import Drive

_CONFIG = "detection_cvpr_2019"


@dataclass(frozen=True)
class ClassMatches:
    """All of one class within the devkit's range: ``n`` reported objects, best score first, and ``m`` true ones.

    A place is drive, frame and row: the frame counts the drive's truths, the row its boxes.
    """

    name: str
    #: ``[n, 3]`` int64 places of the reported objects; the row is that of the result of the frame's stamp.
    places: np.ndarray
    #: ``[n]`` what they are ranked by.
    scores: np.ndarray
    #: ``[n]`` metres from the vehicle on the ground.
    range_m: np.ndarray
    #: ``[m, 3]`` int64 places of the true objects.
    truth_places: np.ndarray
    #: ``[m]`` metres from the vehicle on the ground.
    truth_range_m: np.ndarray
    #: ``[m]`` share of the object that cameras can see, 0..1.
    truth_visibility: np.ndarray
    #: By matching distance in metres: ``[n]`` index of the true object that a reported one was matched to, -1 for none.
    matched: dict[float, np.ndarray]
    #: By matching distance: precision over recall as the devkit sampled it.
    curves: dict[float, DetectionMetricData]
    #: ``[n]`` metres on the ground to the true object matched within ``Matches.distance_m``, nan for none.
    centre_error_m: np.ndarray
    #: ``[n]`` radians between the headings likewise; nan throughout for a class whose heading nuScenes does not judge.
    heading_error: np.ndarray
    #: The devkit's scores of this class alone.
    metrics: DetectionMetrics


@dataclass(frozen=True)
class Matches:
    """The matches of all classes over all drives."""

    #: Every class of nuScenes, also those without a true object.
    classes: dict[str, ClassMatches]
    config: DetectionConfig

    @property
    def present(self) -> list[ClassMatches]:
        """Classes that have a true object within range."""
        return [of for of in self.classes.values() if len(of.truth_places)]

    @property
    def distance_m(self) -> float:
        """Within how many metres nuScenes counts a true positive when it judges errors (2 m)."""
        return float(self.config.dist_th_tp)


class _Listener:
    """The devkit's centre distance; remembers the nearest true box that each reported box was compared with.

    The devkit compares a box with the true boxes that are still free, once, so the nearest one is its match if
    it is near enough.
    """

    def __init__(self) -> None:
        self.nearest: dict[int, tuple[float, RowBox]] = {}

    def __call__(self, truth: RowBox, found: RowBox) -> float:
        distance = center_distance(truth, found)
        best = self.nearest.get(id(found))
        if best is None or distance < best[0]:
            self.nearest[id(found)] = (distance, truth)
        return distance


class _ListeningConfig(DetectionConfig):
    """The devkit's settings, with a new listener each time the distance function is asked for."""

    def __init__(self, *settings: object) -> None:
        super().__init__(*settings)
        self.listeners: list[_Listener] = []

    @property
    def dist_fcn_callable(self) -> _Listener:
        self.listeners.append(_Listener())
        return self.listeners[-1]


def match_drives(drives: Sequence[Drive], progress: bool = True) -> Matches:
    """Run the devkit's detection evaluation over drives, class by class, and keep its matches."""
    config = config_factory(_CONFIG)
    every = list(config.class_range)
    truth, found = in_range(drives, truth_boxes(drives, every, False),
                            result_boxes(drives, every, False, config.max_boxes_per_sample), config.class_range)
    names = tqdm(every, desc="scoring detection", unit="class", leave=False, disable=None if progress else True)
    return Matches({name: _match_class(drives, of_class(truth, name), of_class(found, name), name) for name in names},
                   config)


def _match_class(drives: Sequence[Drive], truth: EvalBoxes, found: EvalBoxes, name: str) -> ClassMatches:
    config = _ListeningConfig.deserialize(config_factory(_CONFIG).serialize())
    config.class_names = [name]
    run = object.__new__(DetectionEval)
    run.cfg, run.verbose, run.gt_boxes, run.pred_boxes = config, False, truth, found
    metrics, curves = run.evaluate()
    true_boxes, boxes = truth.all, found.all
    # The devkit's order: by score and, among equals, by position, both from the end.
    boxes = [boxes[i] for i in sorted(range(len(boxes)), key=lambda i: (boxes[i].detection_score, i), reverse=True)]
    index = {id(box): i for i, box in enumerate(true_boxes)}
    matched = {}
    for distance, listener in zip(config.dist_ths, config.listeners, strict=True):
        nearest = [listener.nearest.get(id(box), (np.inf, None)) for box in boxes]
        matched[float(distance)] = np.array([index[id(true)] if away < distance else -1 for away, true in nearest],
                                            dtype=np.int64)
    pairs = [(true_boxes[i], box) if i >= 0 else None
             for box, i in zip(boxes, matched[float(config.dist_th_tp)], strict=True)]
    judged = not np.isnan(metrics.get_label_tp(name, "orient_err"))
    period = np.pi if name == "barrier" else 2 * np.pi  # a barrier has no front, as the devkit sees it
    truth_places = _places(true_boxes)
    return ClassMatches(
        name, _places(boxes), _column(box.detection_score for box in boxes), _column(box.ego_dist for box in boxes),
        truth_places, _column(box.ego_dist for box in true_boxes),
        _column(drives[d].truths[f].objects.visibility[row] for d, f, row in truth_places), matched,
        {float(distance): curves[name, distance] for distance in config.dist_ths},
        centre_error_m=_column(center_distance(*pair) if pair else np.nan for pair in pairs),
        heading_error=_column(yaw_diff(*pair, period) if pair and judged else np.nan for pair in pairs),
        metrics=metrics)


def _places(boxes: Iterable[RowBox]) -> np.ndarray:
    return np.array([(*sample_place(box.sample_token), box.row) for box in boxes], dtype=np.int64).reshape(-1, 3)


def _column(values: Iterable[float]) -> np.ndarray:
    return np.fromiter(values, dtype=np.float64)
