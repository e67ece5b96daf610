"""A small drive as the viewer's tests see it: six cameras, ground truth, and results that follow it."""

from __future__ import annotations

import bag_cases
import numpy as np

from sparse4d_ros.evaluation.records import FrameResult
from sparse4d_ros.frame import LabelledFrame
from sparse4d_ros.viewer.documents import DocumentMaker, encode_pictures


def result_of(item: LabelledFrame) -> FrameResult:
    """What a good tracker would report, the first object best."""
    count = len(item.objects.boxes)
    scores = np.linspace(0.9, 0.2, 3)[:count]
    return FrameResult(item.frame.stamp_ns, item.objects.boxes, item.objects.names, scores, scores ** 0.5,
                       item.objects.instance_ids, {"total": 41.26}, scores, None)


def frames(count: int) -> list[tuple[dict, list[bytes | None]]]:
    """Documents and pictures of the drive's first frames."""
    maker = DocumentMaker()
    return [(maker.document(item.frame, result_of(item), item.objects), encode_pictures(item.frame, 96))
            for item in bag_cases.frames(count)]
