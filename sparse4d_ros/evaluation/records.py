"""What one frame gave and what was really there, independent of where either came from.

A :class:`FrameResult` is made from the engine's detections or from a message; a :class:`FrameTruth`
from a labelled frame. A :class:`Drive` pairs them by stamp. Boxes are in the vehicle frame at the
frame's stamp, and both sides are taken to the fixed frame with the *same* pose, the truth's, so
that a score is about perception and not about localisation.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from sparse4d_ros.boxes import BOX_COLUMNS, VX
from sparse4d_ros.data.ros_messages import boxes_of, stamp_ns
from sparse4d_ros.errors import UserError
from sparse4d_ros.frame import LabelledFrame, Objects
from sparse4d_ros.writing import replacing

#: The optional columns of a :class:`FrameResult`, in the order of its fields.
QUALITIES = ("centerness", "yawness")
#: The Sparse4D exporter hands only rows with this class score to the tracking evaluation.
TRACKING_CLASS_SCORE = 0.2


@dataclass(frozen=True)
class FrameResult:
    """Objects that were reported for one stamp, ``n`` rows."""

    stamp_ns: int
    #: ``[n, 10]`` columns of :mod:`sparse4d_ros.boxes`, vehicle frame.
    boxes: np.ndarray
    #: ``[n]`` class names.
    names: tuple[str, ...]
    #: ``[n]`` what rows are ranked by, 0..1.
    scores: np.ndarray
    #: ``[n]`` class probability alone, 0..1.
    class_scores: np.ndarray
    #: ``[n]`` int64.
    track_ids: np.ndarray
    #: Milliseconds by step, where the source measured them.
    timing_ms: dict[str, float] = field(default_factory=dict)
    #: ``[n]`` how well the centre is placed, 0..1; None where the source does not tell.
    centerness: np.ndarray | None = None
    #: ``[n]`` how sure the heading is, 0..1; None where the source does not tell.
    yawness: np.ndarray | None = None

    def __post_init__(self) -> None:
        count = len(self.boxes)
        if not len(self.names) == len(self.scores) == len(self.class_scores) == len(self.track_ids) == count:
            raise ValueError("boxes, names, scores, class_scores and track_ids differ in length")
        for name in QUALITIES:
            column = getattr(self, name)
            if column is not None and len(column) != count:
                raise ValueError(f"{name} and boxes differ in length")

    def __len__(self) -> int:
        return len(self.boxes)

    def select(self, keep: np.ndarray) -> FrameResult:
        """The rows where ``keep [n]`` is true."""
        keep = np.asarray(keep, dtype=bool)
        return FrameResult(
            self.stamp_ns, self.boxes[keep], tuple(n for n, k in zip(self.names, keep, strict=True) if k),
            self.scores[keep], self.class_scores[keep], self.track_ids[keep], self.timing_ms,
            *(None if getattr(self, name) is None else getattr(self, name)[keep] for name in QUALITIES))


@dataclass(frozen=True)
class FrameTruth:
    """Objects that were there at one stamp, and where the vehicle was."""

    stamp_ns: int
    #: ``[4, 4]`` pose of the vehicle in the fixed frame.
    fixed_from_vehicle: np.ndarray
    objects: Objects


@dataclass(frozen=True)
class Drive:
    """One drive to be scored: all true frames in order of time, and the results that came.

    A true frame without a result counts as a frame in which nothing was seen.
    """

    name: str
    truths: tuple[FrameTruth, ...]
    results: tuple[FrameResult, ...]
    #: Words separated by commas, like "night, rain"; empty where nobody knows it.
    weather: str = ""

    def __post_init__(self) -> None:
        stamps = [truth.stamp_ns for truth in self.truths]
        if not stamps:
            raise UserError(f"the drive {self.name!r} has no frame with ground truth: nothing can be scored")
        if any(second <= first for first, second in pairwise(stamps)):
            raise UserError(f"the ground truth of the drive {self.name!r} is not in order of time")
        given = [result.stamp_ns for result in self.results]
        if len(set(given)) != len(given):
            raise UserError(f"the drive {self.name!r} has two results for one stamp; score one run at a time")
        unknown = sorted(set(given) - set(stamps))
        if unknown:
            raise UserError(
                f"{len(unknown)} of {len(given)} results of the drive {self.name!r} have no ground truth at their "
                f"stamp (first: {unknown[0]} ns): tracks and ground truth are not of the same drive")

    @property
    def missing(self) -> int:
        """Number of true frames for which no result came."""
        return len(self.truths) - len(self.results)

    @property
    def rate_hz(self) -> float:
        """True frames per second, from their stamps; 1 for a single frame."""
        span_ns = self.truths[-1].stamp_ns - self.truths[0].stamp_ns
        return (len(self.truths) - 1) * 1e9 / span_ns if span_ns else 1.0


def from_detections(detections: Any, classes: Sequence[str]) -> FrameResult:
    """The record of the engine's :class:`~sparse4d_ros.engine.detections.Detections`."""
    return FrameResult(
        stamp_ns=int(detections.stamp_ns),
        boxes=np.asarray(detections.boxes, dtype=np.float64).reshape(-1, BOX_COLUMNS),
        names=tuple(classes[int(c)] for c in detections.class_ids),
        scores=np.asarray(detections.scores, dtype=np.float64),
        class_scores=np.asarray(detections.class_scores, dtype=np.float64),
        track_ids=np.asarray(detections.track_ids, dtype=np.int64),
        timing_ms=dict(detections.timing_ms),
        centerness=np.asarray(detections.centerness, dtype=np.float64),
        yawness=np.asarray(detections.yawness, dtype=np.float64),
    )


def from_message(message: Any) -> FrameResult:
    """The record of a ``sparse4d_ros/msg/TrackedObject3DArray``, from rclpy or read from a bag.

    Only attributes are read, so that no ROS is needed here. ``ValueError`` as :func:`boxes_of`.
    """
    timing = message.timing
    return FrameResult(
        stamp_ns=stamp_ns(message.header.stamp),
        boxes=boxes_of(message),
        names=tuple(item.class_name for item in message.objects),
        scores=np.array([item.score for item in message.objects], dtype=np.float64),
        class_scores=np.array([item.class_score for item in message.objects], dtype=np.float64),
        track_ids=np.array([item.track_id for item in message.objects], dtype=np.int64),
        timing_ms={step: float(getattr(timing, step)) for step in TIMING_STEPS},
        centerness=np.array([item.centerness for item in message.objects], dtype=np.float64),
        yawness=np.array([item.yawness for item in message.objects], dtype=np.float64),
    )


#: Fields of ``sparse4d_ros/msg/FrameTiming``, milliseconds.
TIMING_STEPS = ("wait", "decode", "preprocess", "inference", "postprocess", "total", "sensor_to_publish")


def truth_of(item: LabelledFrame) -> FrameTruth:
    """The truth of a labelled frame."""
    return FrameTruth(item.frame.stamp_ns, item.frame.fixed_from_vehicle, item.objects)


def save_results(path: str | Path, results: Iterable[FrameResult], extra: dict[str, np.ndarray] | None = None) -> None:
    """Write results as one ``.npz``: a row an object, with ``frame`` pointing into ``stamp_ns``.

    ``timing_ms [frames, steps]`` has nan where a step was not measured. ``centerness`` and ``yawness``
    are written if all results have them; ``ValueError`` if only some do. ``extra`` arrays are stored
    beside and ignored by :func:`load_results`.
    """
    results = list(results)
    qualities = {}
    for name in QUALITIES:
        columns = [column for result in results if (column := getattr(result, name)) is not None]
        if len(columns) not in (0, len(results)):
            raise ValueError(f"{len(columns)} of {len(results)} results have {name}: they are not of one source")
        if columns:
            qualities[name] = np.concatenate(columns)
    steps = sorted({step for result in results for step in result.timing_ms})
    with replacing(path) as partial, open(partial, "wb") as file:
        np.savez_compressed(
            file,
            stamp_ns=np.array([result.stamp_ns for result in results], dtype=np.int64),
            frame=np.repeat(np.arange(len(results)), [len(result) for result in results]),
            boxes=np.concatenate([result.boxes for result in results] or [np.empty((0, BOX_COLUMNS))]),
            names=np.array([name for result in results for name in result.names], dtype=np.str_),
            scores=np.array([s for result in results for s in result.scores], dtype=np.float64),
            class_scores=np.array([s for result in results for s in result.class_scores], dtype=np.float64),
            track_ids=np.array([t for result in results for t in result.track_ids], dtype=np.int64),
            timing_steps=np.array(steps, dtype=np.str_),
            timing_ms=np.array([[result.timing_ms.get(step, np.nan) for step in steps] for result in results],
                               dtype=np.float64).reshape(len(results), len(steps)),
            **qualities,
            **(extra or {}),
        )


def load_results(path: str | Path) -> list[FrameResult]:
    """Read what :func:`save_results` wrote; ``UserError`` naming the file if it is something else.

    So is one whose arrays differ in length or hold a box or score that is not finite (a velocity may be unknown).
    Files without ``centerness`` and ``yawness`` give results in which these are None.
    """
    try:
        with np.load(path) as archive:
            table = dict(archive)
    except Exception as error:  # numpy, zipfile and zlib fail in many ways on what is none of their files
        reason = getattr(error, "strerror", None) or "it is damaged, or something else"
        raise UserError(f"{path} cannot be read as recorded tracks (.npz): {reason}") from None
    lacking = [name for name in ("stamp_ns", "frame", "boxes", "names", "scores", "class_scores", "track_ids",
                                 "timing_steps", "timing_ms") if name not in table]
    if lacking:
        raise UserError(f"{path} holds no recorded tracks: it lacks {', '.join(lacking)}")
    count = table["frame"].size
    shapes = dict.fromkeys(("frame", "names", "scores", "class_scores", "track_ids"), (count,))
    shapes |= {name: (count,) for name in QUALITIES if name in table}
    shapes |= {"boxes": (count, BOX_COLUMNS), "stamp_ns": (table["stamp_ns"].size,),
               "timing_ms": (table["stamp_ns"].size, table["timing_steps"].size)}
    if wrong := [name for name, shape in shapes.items() if table[name].shape != shape]:
        raise UserError(f"{path} holds no recorded tracks: {', '.join(wrong)} differ in length from the other arrays")
    if not all(np.isfinite(column).all() for column in (table["boxes"][:, :VX], table["scores"])):
        raise UserError(f"{path}: a recorded track has a place, size, heading or score that is not a finite number")
    order = np.argsort(table["frame"], kind="stable")
    bounds = np.searchsorted(table["frame"][order], np.arange(len(table["stamp_ns"]) + 1))
    results = []
    for index, stamp in enumerate(table["stamp_ns"]):
        rows = order[bounds[index]:bounds[index + 1]]
        results.append(FrameResult(
            int(stamp), table["boxes"][rows], tuple(str(name) for name in table["names"][rows]),
            table["scores"][rows], table["class_scores"][rows], table["track_ids"][rows],
            {str(step): float(value)
             for step, value in zip(table["timing_steps"], table["timing_ms"][index], strict=True)
             if np.isfinite(value)},
            *(table[name][rows] if name in table else None for name in QUALITIES)))
    return results
