"""An engine without a network: finds the bright spot in each image and puts an object on the ground there.

Same surface as the real one. Since the position follows from the image, its matrix and its camera's
pose, a test that sees the right objects has seen the right image meet the right matrix.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from sparse4d_ros import boxes, geometry
from sparse4d_ros.engine import Detections, FrameRejected
from sparse4d_ros.frame import CameraFrame, Frame

NAMES = ("front", "front_right", "front_left", "back", "back_left", "back_right")


@dataclass(frozen=True)
class FakePackage:
    name: str = "fake"
    version: str = "1.2.3"
    classes: tuple[str, ...] = boxes.NUSCENES_CLASSES
    cameras: tuple[str, ...] = NAMES
    training_interval_s: float = 0.5
    interval_range_s: tuple[float, float] = (0.02, 1.5)


@dataclass(frozen=True)
class Track:
    track_id: int
    hits: int
    first_ns: int
    fixed_position: np.ndarray


@dataclass(frozen=True)
class FakeState:
    epoch: int = 0
    next_id: int = 1
    stamp_ns: int | None = None
    tracks: dict[int, Track] = field(default_factory=dict)


class FakeEngine:
    """`before_step(call_number, frame)` lets a test raise, sleep or look at the frame."""

    backend_name = "fake"
    precision = "fp32"

    def __init__(self, package: FakePackage | None = None, max_interval_s: float = 2.0,
                 before_step: Callable[[int, Frame], None] = lambda number, frame: None,
                 after_step: Callable[[int, Detections], Detections] = lambda number, found: found) -> None:
        self.package = package or FakePackage()
        self.before_step, self.after_step = before_step, after_step
        self.frames: list[Frame] = []  # everything that reached the bank
        self.closed = False
        self.warmups = 0
        self._max_interval_s = max_interval_s
        self._calls = itertools.count()

    def warmup(self, runs: int) -> None:
        self.warmups += runs

    def close(self) -> None:
        self.closed = True

    def initial_state(self) -> FakeState:
        return FakeState()

    def reset(self, state: FakeState) -> FakeState:
        return FakeState(epoch=state.epoch + 1, next_id=state.next_id)

    def step(self, frame: Frame, state: FakeState) -> tuple[Detections, FakeState]:
        number = next(self._calls)
        self.before_step(number, frame)
        interval_s = 0.0 if state.stamp_ns is None else (frame.stamp_ns - state.stamp_ns) / 1e9
        if state.stamp_ns is not None and interval_s <= 0.0:
            raise FrameRejected(f"the frame is {-interval_s:.3f} s older than the one before")
        if interval_s > self._max_interval_s:
            state, interval_s = self.reset(state), 0.0
        started = time.perf_counter()
        next_id, tracks, rows, columns = state.next_id, {}, [], []
        for index, camera in enumerate(frame.cameras):
            point = ground_point(camera)
            if point is None:
                continue
            fixed = (frame.fixed_from_vehicle @ [*point, 1.0])[:3]
            old = state.tracks.get(index)
            if old is None:
                track, velocity = Track(next_id, 1, frame.stamp_ns, fixed), np.zeros(3)
                next_id += 1
            else:
                track = replace(old, hits=old.hits + 1, fixed_position=fixed)
                velocity = frame.fixed_from_vehicle[:3, :3].T @ (fixed - old.fixed_position) / interval_s
            tracks[index] = track
            rows.append([*point, 4.0, 2.0, 1.5, 0.1 * index, *velocity])
            columns.append((track.track_id, track.hits, (frame.stamp_ns - track.first_ns) / 1e9, index))
        ids, hits, ages, cameras = (np.array(c) for c in zip(*columns, strict=True)) if columns else [np.zeros(0)] * 4
        count = len(rows)
        score = 0.9 - 0.05 * np.arange(count)
        found = Detections(
            stamp_ns=frame.stamp_ns, boxes=np.array(rows).reshape(-1, 10), class_ids=cameras.astype(int),
            scores=score, class_scores=score, centerness=np.full(count, 0.8), yawness=np.full(count, 0.7),
            track_ids=ids.astype(np.int64), hits=hits.astype(int), frames_since_hit=np.zeros(count, int), age_s=ages,
            velocity_valid=hits > 1, depth=np.full(count, 8.0), camera_mask=(1 << cameras.astype(np.uint32)),
            time_interval_s=interval_s, epoch=state.epoch,
            timing_ms={"preprocess": 0.5, "inference": (time.perf_counter() - started) * 1e3, "postprocess": 0.25})
        found = self.after_step(number, found)
        self.frames.append(frame)
        return found, FakeState(state.epoch, next_id, frame.stamp_ns, tracks)


def ground_point(camera: CameraFrame) -> np.ndarray | None:
    """Where the ray through the bright spot meets the ground z = 0 of the vehicle frame, metres."""
    if camera.image is None:
        return None
    weight = np.clip(camera.image.astype(np.float64).mean(axis=2) - 128.0, 0.0, None)
    if weight.sum() < 100.0:
        return None
    v, u = np.mgrid[:weight.shape[0], :weight.shape[1]]
    pixel = np.array([(u * weight).sum(), (v * weight).sum(), weight.sum()]) / weight.sum()
    vehicle_from_camera = geometry.inverse(camera.camera_from_vehicle)
    ray = vehicle_from_camera[:3, :3] @ np.linalg.solve(camera.intrinsic, pixel)
    origin = vehicle_from_camera[:3, 3]
    return origin - ray * origin[2] / ray[2]
