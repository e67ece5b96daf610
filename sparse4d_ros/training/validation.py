"""A quick look at how a run is doing: average precision on a few frames of other drives.

Not the official metric (that is ``evaluation/``): one matching distance, no ranges, few frames.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from sparse4d_ros.model.bank import Bank
from sparse4d_ros.model.detector import Sparse4D
from sparse4d_ros.training.config import RunConfig
from sparse4d_ros.training.drive_folder import DriveFolder
from sparse4d_ros.training.streams import Streams

_MATCH_DISTANCE_M = 2.0


@torch.no_grad()
def validate(model: Sparse4D, drives: DriveFolder, config: RunConfig, device: torch.device) -> dict[str, float]:
    """``ap2m`` (mean over the classes present), ``recall`` and ``centre_error_m`` of detections above 0.3.

    Plays the same clips every time; the model is in training mode again afterwards if it was.
    """
    training = config.training
    # One row, one clip after the other: the frames that memory has warmed up for count as well as the first.
    settings = dataclasses.replace(training.streams, batch_size=2)
    streams = Streams(drives, (training.input_width, training.input_height), settings, None, training.seed)
    was_training = model.training
    model.eval()
    bank = Bank.empty(config.model, settings.batch_size, device)
    frames: list[tuple[np.ndarray, ...]] = []
    for _ in range(max(1, training.validation_frames // settings.batch_size)):
        batch = next(streams).to(device)
        bank = bank._replace(has_history=bank.has_history & batch.continues)
        out = model(batch.normalised(), batch.projection, batch.image_wh, batch.camera_valid, bank, batch.dt,
                    batch.now_from_previous)
        bank = out.bank
        score = out.classes[-1].sigmoid()
        if out.quality[-1] is not None:
            score = score * out.quality[-1][..., :1].sigmoid()
        for row, valid in enumerate(batch.targets.valid):
            frames.append((out.anchors[-1][row, :, :2].cpu().numpy(), score[row].cpu().numpy(),
                           batch.targets.anchors[row, valid, :2].cpu().numpy(),
                           batch.targets.classes[row, valid].cpu().numpy()))
    model.train(was_training)
    return summarise(frames, config.model.num_classes)


def summarise(frames: list[tuple[np.ndarray, ...]], num_classes: int) -> dict[str, float]:
    """Scores of frames ``(centres [n, 2], scores [n, K], object centres [g, 2], object classes [g])``."""
    precisions, found, objects, errors = [], 0, 0, []
    for number in range(num_classes):
        total = sum(int((classes == number).sum()) for *_, classes in frames)
        if total == 0:
            continue
        scores, hits = [], []
        for centres, all_scores, object_centres, classes in frames:
            hit, error = _match(centres, all_scores[:, number], object_centres[classes == number])
            scores.append(all_scores[:, number])
            hits.append(hit)
            confident = hit & (all_scores[:, number] > 0.3)
            found += int(confident.sum())
            errors.append(error[confident])
        objects += total
        precisions.append(average_precision(np.concatenate(scores), np.concatenate(hits), total))
    error = np.concatenate(errors) if errors else np.zeros(0)
    return {
        "ap2m": float(np.mean(precisions)) if precisions else 0.0,
        "recall": found / max(1, objects),
        "centre_error_m": float(error.mean()) if len(error) else float("nan"),
    }


def _match(centres: np.ndarray, scores: np.ndarray, objects: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Greedy by score: whether each prediction hits an object not yet hit, and how far off it is."""
    hit, error = np.zeros(len(centres), dtype=bool), np.zeros(len(centres))
    distance = np.linalg.norm(centres[:, None] - objects[None], axis=-1)
    for row in np.argsort(-scores):
        if not distance.shape[1]:
            break
        column = int(distance[row].argmin())
        if distance[row, column] < _MATCH_DISTANCE_M:
            hit[row], error[row] = True, distance[row, column]
            distance[:, column] = np.inf
    return hit, error


def average_precision(scores: np.ndarray, hits: np.ndarray, objects: int) -> float:
    """Area under the precision-recall curve, precision made monotonic."""
    order = np.argsort(-scores, kind="stable")
    true = np.cumsum(hits[order])
    precision = true / np.arange(1, len(true) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(true, prepend=0) * precision).sum() / objects)
