"""The engine: a function with explicit state, (frame, state) -> (detections, state)."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sparse4d_ros import boxes as box_form
from sparse4d_ros.engine.association import Gallery, match
from sparse4d_ros.engine.backend import Backend, NetworkOutput
from sparse4d_ros.engine.decode import DecodedRows, decode_boxes, rank
from sparse4d_ros.engine.detections import Detections
from sparse4d_ros.engine.identity import assign_ids
from sparse4d_ros.engine.nms import suppress
from sparse4d_ros.engine.options import EngineOptions
from sparse4d_ros.engine.package import ModelPackage
from sparse4d_ros.engine.preprocess import NetworkInputs, Preprocessor
from sparse4d_ros.engine.select import create_backend
from sparse4d_ros.engine.tracks import Tracks
from sparse4d_ros.engine.visibility import depth_and_cameras
from sparse4d_ros.errors import UserError
from sparse4d_ros.frame import CameraFrame, Frame
from sparse4d_ros.geometry import check_rigid, inverse


class FrameRejected(ValueError):
    """The frame cannot follow the state, or is malformed; the state stays as it was."""


class NumericalError(RuntimeError):
    """The network gave numbers that are not finite; nothing of the frame may be used, reset the state."""


@dataclass(frozen=True)
class EngineState:
    """All that one frame leaves for the next. Fixed size but for the gallery, which is bounded by time."""

    bank: Any
    tracks: Tracks
    gallery: Gallery
    #: Stamp and ``fixed_from_model`` of the frame in the bank; None while the bank is empty.
    stamp_ns: int | None
    fixed_from_model: np.ndarray | None
    #: The next track id; it never goes back, so ids are never given twice.
    next_id: int
    #: How often the bank was emptied.
    epoch: int


class Engine:
    """Runs a model package frame by frame. Holds weights and buffers, but no state of a drive."""

    def __init__(
        self, package: ModelPackage, backend: str | Backend = "auto", device: str | None = None,
        precision: str = "fp32", options: EngineOptions | None = None, engine_file: Path | None = None,
    ) -> None:
        """``backend`` by name, or one that was made already, to which device, precision and file do not apply.

        ``engine_file`` is TensorRT's; None takes the one of `sparse4d build-engine`.
        Raises ``UserError`` naming the file, option or device that is wrong.
        """
        options = EngineOptions() if options is None else options
        for name in options.class_score_thresholds:
            if name not in package.classes:
                raise UserError(f"class_score_thresholds.{name}: the model package {package.name} has no such class; "
                                f"it has {', '.join(package.classes)}")
        if options.score_mode == "class_sqrt_quality" and not package.model.quality_estimation:
            raise UserError(f"score_mode class_sqrt_quality: the model package {package.name} estimates no quality "
                            "(field model.quality_estimation); use class_centerness, which is the class alone then")
        self.package = package
        self.options = options
        if isinstance(backend, str):
            backend = create_backend(package, backend, device, precision, options.dense_depth, engine_file)
        self._backend = backend
        self._preprocess = Preprocessor(package)
        self._nms_iou = package.nms_iou if options.nms_iou is None else options.nms_iou
        # Beyond the network's own limit its rows do not continue the bank's instances, whatever the options say.
        self._max_interval_ns = round(min(options.max_interval_s, package.model.max_interval_s) * 1e9)
        self._thresholds = np.array([
            options.class_score_thresholds.get(name, options.score_threshold) for name in package.classes])

    @property
    def backend_name(self) -> str:
        """Which backend computes the network, and where, for example ``onnxruntime:cpu``."""
        return f"{self._backend.name}:{self._backend.device}"

    def initial_state(self) -> EngineState:
        """The state before the first frame."""
        model = self.package.model
        return EngineState(self._backend.empty_bank(), Tracks.none(model.num_temporal),
                           Gallery.empty(model.embed_dims), None, None, next_id=1, epoch=0)

    def reset(self, state: EngineState) -> EngineState:
        """An empty bank in a new epoch; track ids go on where they were."""
        return replace(self.initial_state(), next_id=state.next_id, epoch=state.epoch + 1)

    def take_over(self, state: EngineState, other: Engine) -> EngineState:
        """A state of another engine of the same package, for this one to go on from."""
        return replace(state, bank=self._backend.bank_from_host(other._backend.bank_to_host(state.bank)))

    def warmup(self, runs: int = 1) -> None:
        """Run on blank pictures, so that the first real frame is not the slow one."""
        package = self.package
        blank = np.zeros((package.input_height, package.input_width, 3), np.uint8)
        intrinsic = np.diag([package.input_width, package.input_width, 1.0])
        cameras = tuple(CameraFrame(name, blank, intrinsic, np.eye(4), 0) for name in package.cameras)
        state = self.initial_state()
        for index in range(runs):
            _, state = self.step(Frame((index + 1) * int(package.training_interval_s * 1e9), cameras, np.eye(4)), state)

    def close(self) -> None:
        """Release the backend's memory and the threads; the engine cannot be used afterwards."""
        self._preprocess.close()
        self._backend.close()

    def step(self, frame: Frame, state: EngineState) -> tuple[Detections, EngineState]:
        """Objects of one frame, and the state for the next.

        Raises :class:`FrameRejected` for a frame that is not later than the state's or is malformed,
        and :class:`NumericalError` if the network's output is not finite. The given state is never
        changed, so after an error it can be used again, or reset.
        """
        self._check(frame)
        dt_s = 0.0
        if state.stamp_ns is not None:
            dt_ns = frame.stamp_ns - state.stamp_ns
            if dt_ns <= 0:
                raise FrameRejected(f"the frame's stamp {frame.stamp_ns} is not later than the last one, "
                                    f"{state.stamp_ns}")
            if dt_ns > self._max_interval_ns:
                state = self.reset(state)
            else:
                dt_s = dt_ns / 1e9
        started = time.perf_counter()
        inputs = self._preprocess(frame)
        fixed_from_model = frame.fixed_from_vehicle @ self.package.vehicle_from_model
        now_from_previous = np.eye(4)
        if state.fixed_from_model is not None:
            # In float64: map coordinates of kilometres cancel here.
            now_from_previous = inverse(fixed_from_model) @ state.fixed_from_model
        preprocessed = time.perf_counter()
        output, bank = self._backend.run(inputs, state.bank, dt_s, now_from_previous)
        given = (output.anchors, output.classes, output.quality)
        if not all(np.isfinite(x).all() for x in given if x is not None):
            raise NumericalError("the network gave numbers that are not finite (NaN or Inf)")
        inferred = time.perf_counter()
        detections, state = self._finish(frame, inputs, output, bank, state, dt_s, fixed_from_model)
        timing = {
            "preprocess": (preprocessed - started) * 1e3,
            "inference": (inferred - preprocessed) * 1e3,
            "postprocess": (time.perf_counter() - inferred) * 1e3,
        }
        return replace(detections, timing_ms=timing), state

    def _check(self, frame: Frame) -> None:
        names = tuple(camera.name for camera in frame.cameras)
        if names != self.package.cameras:
            raise FrameRejected(f"the frame's cameras are {', '.join(names)}; "
                                f"the model package needs {', '.join(self.package.cameras)}, in this order")
        if all(camera.image is None for camera in frame.cameras):
            raise FrameRejected("the frame has no picture from any camera")
        try:
            check_rigid(frame.fixed_from_vehicle, "the ego pose")
            for camera in frame.cameras:
                check_rigid(camera.camera_from_vehicle, f"the extrinsic of camera {camera.name}")
        except ValueError as error:
            raise FrameRejected(str(error)) from None
        for camera in frame.cameras:
            if not np.isfinite(camera.intrinsic).all() or camera.intrinsic[0, 0] <= 0:
                raise FrameRejected(f"the intrinsic matrix of camera {camera.name} is not usable")
            image = camera.image
            if image is not None and (image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8):
                raise FrameRejected(f"camera {camera.name}: the picture must be [height, width, 3] uint8, "
                                    f"not {list(image.shape)} {image.dtype}")

    def _select(self, output: NetworkOutput) -> tuple[DecodedRows, np.ndarray]:
        """The rows to give out, and their boxes in the vehicle frame."""
        options = self.options
        decoded = rank(output.classes, output.quality, options.max_objects, options.score_mode)
        decoded = DecodedRows(*(x[decoded.scores >= self._thresholds[decoded.class_ids]] for x in decoded))
        with np.errstate(over="ignore"):
            boxes = box_form.transform(decode_boxes(output.anchors, decoded), self.package.vehicle_from_model)
        if not np.isfinite(boxes).all():  # the logarithm of a size may be finite and the size not
            raise NumericalError("the network gave boxes that are not finite")
        keep = np.ones(len(boxes), bool)
        if options.max_range_m is not None:
            keep &= np.hypot(boxes[:, 0], boxes[:, 1]) <= options.max_range_m
        if self._nms_iou is not None:
            indices = np.flatnonzero(keep)
            keep[indices] = suppress(boxes[indices], decoded.class_ids[indices], self._nms_iou)
        return DecodedRows(*(x[keep] for x in decoded)), boxes[keep]

    def _finish(
        self, frame: Frame, inputs: NetworkInputs, output: NetworkOutput, bank: Any,
        state: EngineState, dt_s: float, fixed_from_model: np.ndarray,
    ) -> tuple[Detections, EngineState]:
        options, count = self.options, len(output.anchors)
        continues = state.stamp_ns is not None
        decoded, boxes = self._select(output)
        rows = state.tracks.rows(count, continues)
        seen = np.zeros(count, bool)
        seen[decoded.rows] = True
        gallery = state.gallery
        if options.association_similarity is not None:
            rows = self._recall(frame, output, bank, decoded, boxes, rows, gallery)
        # Rows without an id are numbered in row order, those given out only: ids stay small for people.
        known = rows.ids >= 0
        new_ids, next_id = assign_ids(None, count, state.next_id, seen & ~known)
        rows = rows.observe(seen, np.where(known, rows.ids, new_ids), frame.stamp_ns)
        if options.association_similarity is not None:
            given_out = self._describe(frame, output, bank, decoded, boxes, rows)
            gallery = gallery.update(given_out, frame.stamp_ns, options.association_max_lost_s)
        slots = rows.take(output.kept_rows)
        forgotten = self._forgotten(slots, bank)
        if forgotten.any():
            slots, bank = slots.forget(forgotten), self._backend.forget(bank, forgotten)
        given = rows.take(decoded.rows)
        package = self.package
        depth, cameras = depth_and_cameras(
            boxes[:, :3], inputs.pixels_from_vehicle, inputs.camera_valid[0], package.input_width, package.input_height)
        detections = Detections(
            frame.stamp_ns, boxes, decoded.class_ids, decoded.scores, decoded.class_scores,
            decoded.centerness, decoded.yawness, given.ids, given.hits, given.frames_since_hit,
            (frame.stamp_ns - given.first_hit_ns) / 1e9, given.frames > 1, depth, cameras, dt_s, state.epoch,
            dense_depth=output.depth,
        )
        return detections, EngineState(bank, slots, gallery, frame.stamp_ns, fixed_from_model, next_id, state.epoch)

    def _forgotten(self, slots: Tracks, bank: Any) -> np.ndarray:
        """Slots whose identity the options say to drop."""
        options = self.options
        mask = np.zeros(len(slots.ids), bool)
        if options.bank_min_confidence is not None:
            mask |= self._backend.confidence(bank) < options.bank_min_confidence
        if options.bank_max_unseen is not None:
            mask |= slots.frames_since_hit > options.bank_max_unseen
        return mask

    def _describe(
        self, frame: Frame, output: NetworkOutput, bank: Any, decoded: DecodedRows, boxes: np.ndarray, rows: Tracks,
    ) -> Gallery:
        """Objects given out now whose instance is in the bank (only there a feature is at hand)."""
        slot_of_row = np.full(len(output.anchors), -1)
        slot_of_row[output.kept_rows] = np.arange(len(output.kept_rows))
        slots = slot_of_row[decoded.rows]
        held = slots >= 0
        fixed = box_form.transform(boxes[held], frame.fixed_from_vehicle)
        tracks = rows.take(decoded.rows[held])
        return Gallery(
            tracks.ids, decoded.class_ids[held], self._backend.features(bank)[slots[held]],
            fixed[:, :2], fixed[:, box_form.VX:box_form.VY + 1], np.full(int(held.sum()), frame.stamp_ns),
            tracks.hits, tracks.first_hit_ns,
        )

    def _recall(
        self, frame: Frame, output: NetworkOutput, bank: Any, decoded: DecodedRows, boxes: np.ndarray,
        rows: Tracks, gallery: Gallery,
    ) -> Tracks:
        """The rows, newcomers that are known from before with their old numbers and past.

        ``frames`` stays the instance's own: its velocity is as young as it is in the bank.
        """
        # The row number stands in for the id that a newcomer does not have yet.
        now = self._describe(frame, output, bank, decoded, boxes, rows._replace(ids=np.arange(len(rows.ids))))
        newcomers = Gallery(*(x[rows.ids[now.ids] < 0] for x in now))
        lost = Gallery(*(x[~np.isin(gallery.ids, rows.ids)] for x in gallery))
        rows = Tracks(*(x.copy() for x in rows))
        for new, old in match(newcomers, lost, self.options.association_similarity):
            for column in ("ids", "hits", "first_hit_ns"):
                getattr(rows, column)[newcomers.ids[new]] = getattr(lost, column)[old]
        return rows
