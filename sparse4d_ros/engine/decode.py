"""From the last decoder's rows to scored boxes (Sparse4D v3 decoder; spec section 12)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sparse4d_ros import boxes as box_columns

SCORE_MODES = ("class_centerness", "class_sqrt_quality")


class DecodedRows(NamedTuple):
    """Rows chosen from one frame, best score first."""

    rows: np.ndarray          #: ``[n]`` row of the network's output
    class_ids: np.ndarray     #: ``[n]``
    scores: np.ndarray        #: ``[n]`` what rows are ranked by
    class_scores: np.ndarray  #: ``[n]`` of the same row (the reference leaves these in another order)
    centerness: np.ndarray    #: ``[n]`` 0..1; nan from a model without qualities
    yawness: np.ndarray       #: ``[n]`` 0..1; likewise


def sigmoid(x: np.ndarray) -> np.ndarray:
    """Logistic function, without overflow warnings for very negative logits."""
    return 1.0 / (1.0 + np.exp(-np.clip(x, -80.0, None)))


def rank(
    class_logits: np.ndarray, quality_logits: np.ndarray | None, num_output: int,
    score_mode: str = "class_centerness", class_threshold: float | None = None, multi_label: bool = False,
) -> DecodedRows:
    """Choose and order rows.

    ``class_logits [N, classes]`` and ``quality_logits [N, 2]``. The best ``num_output`` rows by class
    probability are ranked again by ``score_mode``: class times centerness (the reference), or class
    times the root of centerness times yawness; by class alone where the model gives no qualities
    (None). Rows whose class probability is below ``class_threshold`` are left out. With
    ``multi_label`` a row competes once for each class (the reference's rule for networks without
    track ids).
    """
    probability = sigmoid(class_logits)
    flat = probability.reshape(-1) if multi_label else probability.max(axis=1)
    best = np.argsort(-flat, kind="stable")[:num_output]
    if multi_label:
        rows, class_ids = best // class_logits.shape[1], best % class_logits.shape[1]
    else:
        rows, class_ids = best, probability[best].argmax(axis=1)
    class_scores = flat[best]
    if quality_logits is None:
        centerness = yawness = np.full_like(class_scores, np.nan)
        scores = class_scores
    else:
        quality = sigmoid(quality_logits[rows])
        centerness, yawness = quality[:, 0], quality[:, 1]
        factor = centerness if score_mode == "class_centerness" else np.sqrt(centerness * yawness)
        scores = class_scores * factor
    order = np.argsort(-scores, kind="stable")
    if class_threshold is not None:
        order = order[class_scores[order] >= class_threshold]
    return DecodedRows(*(x[order] for x in (rows, class_ids, scores, class_scores, centerness, yawness)))


def decode_boxes(anchors: np.ndarray, decoded: DecodedRows) -> np.ndarray:
    """Boxes ``[n, 10]`` of the chosen rows of ``anchors [N, 11]``, in the model frame."""
    return box_columns.from_anchors(anchors[decoded.rows])
