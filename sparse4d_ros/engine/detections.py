"""What the engine gives back for one frame."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Detections:
    """Objects of one frame in the vehicle frame at the frame's stamp, best score first, ``n`` rows."""

    stamp_ns: int
    #: ``[n, 10]`` float64, columns of :mod:`sparse4d_ros.boxes`; velocity over ground.
    boxes: np.ndarray
    #: ``[n]`` index into the model package's classes.
    class_ids: np.ndarray
    #: ``[n]`` what rows are ranked by, 0..1.
    scores: np.ndarray
    #: ``[n]`` class probability alone, 0..1.
    class_scores: np.ndarray
    #: ``[n]`` how well the centre is placed, 0..1; nan from a model that does not estimate it.
    centerness: np.ndarray
    #: ``[n]`` how sure the heading is, 0..1; nan from a model that does not estimate it.
    yawness: np.ndarray
    #: ``[n]`` int64 > 0, never given twice while the process lives, not even after a reset.
    track_ids: np.ndarray
    #: ``[n]`` frames in which this track scored above the threshold.
    hits: np.ndarray
    #: ``[n]`` frames since the last such frame, 0 for now.
    frames_since_hit: np.ndarray
    #: ``[n]`` seconds since the track's first hit.
    age_s: np.ndarray
    #: ``[n]`` bool: the velocity rests on at least two frames.
    velocity_valid: np.ndarray
    #: ``[n]`` metres along the optical axis of the camera that sees the centre best, nan if none does.
    depth: np.ndarray
    #: ``[n]`` uint32, bit i is set where the centre projects into camera i.
    camera_mask: np.ndarray
    #: Seconds to the previous frame as given to the bank, 0 when the bank was empty.
    time_interval_s: float
    #: How often the bank was emptied since the start.
    epoch: int
    #: Milliseconds by step: ``preprocess``, ``inference``, ``postprocess``.
    timing_ms: dict[str, float] = field(default_factory=dict)
    #: ``[C, h, w]`` metres, 1 to 60, at the network's finest level; only where the option asks for it.
    dense_depth: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.boxes)
