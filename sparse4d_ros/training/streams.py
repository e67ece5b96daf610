"""Streaming batches: every row of the batch plays its own drive, in order, frame after frame.

The network carries its memory along a row, so a row runs through a clip of one drive with random
steps in time and then moves on to another drive (``continues`` is False there). The whole position,
random generators included, is in ``state_dict``: a run resumes with the very next batch.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch

from sparse4d_ros.data.drive_cache import LABEL_STRIDE, NO_OBJECT
from sparse4d_ros.geometry import inverse, pad_intrinsic
from sparse4d_ros.training.augmentation import (
    SceneAugmentation,
    warp_image,
    warp_labels,
)
from sparse4d_ros.training.config import AugmentationConfig, StreamConfig
from sparse4d_ros.training.drive_folder import DriveFolder
from sparse4d_ros.training.grid_mask import draw_grid_mask
from sparse4d_ros.training.targets import Targets, collate_targets

#: Red, green, blue mean and standard deviation of ImageNet, in 0..255 (Sparse4D's normalisation).
MEAN = (123.675, 116.28, 103.53)
STD = (58.395, 57.12, 57.375)


class Batch(NamedTuple):
    """``bs`` frames of ``bs`` sequences."""

    images: torch.Tensor             #: ``[bs, C, H, W, 3]`` uint8, BGR, as they lie on the disk
    gain: torch.Tensor               #: ``[bs, 3]`` float32 change of colours, BGR
    offset: torch.Tensor             #: ``[bs]`` float32 change of brightness, in 0..255
    visible: torch.Tensor | None     #: ``[bs, H, W]`` float32, 0 where a picture is hidden; None if nowhere
    projection: torch.Tensor         #: ``[bs, C, 4, 4]`` float32, network pixels from model frame
    image_wh: torch.Tensor           #: ``[bs, C, 2]`` float32
    camera_valid: torch.Tensor       #: ``[bs, C]`` bool
    focal: torch.Tensor              #: ``[bs, C]`` float32, in network pixels
    continues: torch.Tensor          #: ``[bs]`` bool, False on the first frame of a clip
    dt: torch.Tensor                 #: ``[bs]`` float32 seconds since the row's previous frame, 0 on the first
    now_from_previous: torch.Tensor  #: ``[bs, 4, 4]`` float32 between model frames, identity on the first
    targets: Targets
    #: ``[bs, C, h, w]`` float32 metres, inf for the sky; None if a drive in the batch has no such map.
    depth: torch.Tensor | None
    #: ``[bs, C, h, w]`` uint8 class, 255 for no object; None likewise.
    semantics: torch.Tensor | None
    #: Which of the workers' streams it is of, see ``feed.py``.
    stream: int = 0

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device; pinned memory is copied while the host goes on."""
        moved = (None if value is None else value.to(device, non_blocking=True) for value in self[:-1])
        return Batch(*moved, stream=self.stream)

    def normalised(self) -> torch.Tensor:
        """The pictures as the network takes them, ``[bs, C, 3, H, W]`` float32 RGB: made where the batch is."""
        images = normalise(self.images, self.gain, self.offset)
        return images if self.visible is None else images.mul_(self.visible[:, None, None])


@dataclass
class _Row:
    """Where one row of the batch is."""

    drive: str = ""
    frame: int = -1
    frames_left: int = 0
    augmentation: SceneAugmentation = field(default_factory=SceneAugmentation)
    previous_stamp_ns: int | None = None
    previous_pose: np.ndarray | None = None


class _Sample(NamedTuple):
    """One frame of one row before collation, fields as in :class:`Batch`."""

    images: np.ndarray
    gain: np.ndarray
    offset: float
    visible: np.ndarray | None
    projection: np.ndarray
    camera_valid: np.ndarray
    focal: np.ndarray
    continues: bool
    dt: float
    now_from_previous: np.ndarray
    boxes: np.ndarray
    classes: np.ndarray
    instances: np.ndarray
    depth: np.ndarray | None
    semantics: np.ndarray | None


def worth_finding(boxes: np.ndarray, classes: np.ndarray, visibility: np.ndarray, config: StreamConfig,
                  class_names: tuple[str, ...]) -> np.ndarray:
    """Which objects are targets, ``[n]`` bool: near enough for their class and visible enough.

    ``boxes [n, 10]`` in the vehicle frame, ``classes [n]`` numbers in ``class_names``.
    """
    radius = np.array([min(config.radius_m, config.class_radius_m.get(name, np.inf)) for name in class_names])
    near = np.hypot(boxes[:, 0], boxes[:, 1]) <= radius[classes]
    return near & (visibility > config.min_visibility)


class Streams:
    """Endless iterator over batches."""

    def __init__(self, drives: DriveFolder, input_size: tuple[int, int], streams: StreamConfig,
                 augmentation: AugmentationConfig | None, seed: int | list[int]) -> None:
        """``input_size`` is the network's (width, height); without augmentation scenes stay as they are."""
        self.drives, self.input_size = drives, input_size
        self.config, self.augmentation = streams, augmentation
        self.random = np.random.default_rng(seed)
        self.uses: dict[str, int] = {}
        self.rows = [_Row() for _ in range(streams.batch_size)]

    def __iter__(self) -> Streams:
        return self

    def __next__(self) -> Batch:
        return self._collate([self._next_sample(row) for row in self.rows])

    def state_dict(self) -> dict[str, Any]:
        """Everything that decides the coming batches."""
        return copy.deepcopy({"rows": self.rows, "uses": self.uses, "random": self.random.bit_generator.state})

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where :meth:`state_dict` was taken."""
        state = copy.deepcopy(state)
        self.rows, self.uses = state["rows"], state["uses"]
        self.random.bit_generator.state = state["random"]

    def _draw_drive(self) -> str:
        """The least used drive, ties at random; new ones join as if used as often as the least used."""
        names = self.drives.names()
        least = min((self.uses[n] for n in names if n in self.uses), default=0)
        for name in names:
            self.uses.setdefault(name, least)
        least = min(self.uses[name] for name in names)
        name = str(self.random.choice([n for n in names if self.uses[n] == least]))
        self.uses[name] += 1
        return name

    def _start_clip(self, row: _Row) -> None:
        row.drive = self._draw_drive()
        length = len(self.drives[row.drive])
        # Where a clip starts leaves it at least half its length, at the mean step.
        stamps = self.drives[row.drive].table["stamp_ns"]
        period_s = max(1e-3, (stamps[-1] - stamps[0]) * 1e-9 / max(1, length - 1))
        frames_needed = int(0.5 * self.config.clip_frames * np.mean(self.config.intervals_s) / period_s)
        row.frame = int(self.random.integers(0, max(1, length - frames_needed)))
        row.frames_left = self.config.clip_frames - 1
        row.previous_stamp_ns = row.previous_pose = None
        config = self.augmentation
        row.augmentation = SceneAugmentation.draw(config, self.random) if config else SceneAugmentation()

    def _advance(self, row: _Row) -> None:
        """Move to the next frame of the clip, or to a new clip."""
        if row.frames_left <= 0:
            return self._start_clip(row)
        stamps = self.drives[row.drive].table["stamp_ns"]
        wanted = stamps[row.frame] + int(1e9 * self.random.choice(self.config.intervals_s))
        if wanted > stamps[-1] + 1_000_000:  # a millisecond of jitter does not end a drive
            return self._start_clip(row)
        row.frame += 1 + int(np.argmin(np.abs(stamps[row.frame + 1:] - wanted)))
        row.frames_left -= 1

    def _next_sample(self, row: _Row) -> _Sample:
        self._advance(row)
        drive, augmentation = self.drives[row.drive], row.augmentation
        table, index = drive.table, row.frame
        size = drive.images.shape[3], drive.images.shape[2]
        matrix = augmentation.image_matrix(size, self.input_size)
        projection = np.stack([
            matrix @ pad_intrinsic(k) @ camera_from_vehicle @ augmentation.vehicle_from_model()
            for k, camera_from_vehicle in zip(table["intrinsic"][index], table["camera_from_vehicle"][index],
                                              strict=True)
        ])
        valid = np.ones(len(projection), dtype=bool)
        if self.augmentation and self.random.random() < self.augmentation.camera_dropout:
            valid[self.random.integers(len(valid))] = False
        visible = None
        if self.augmentation and self.random.random() < self.augmentation.grid_mask:
            visible = draw_grid_mask(self.input_size[1], self.input_size[0], self.random)

        stamp, pose = int(table["stamp_ns"][index]), augmentation.fixed_from_model(table["fixed_from_vehicle"][index])
        continues = row.previous_stamp_ns is not None
        dt = (stamp - row.previous_stamp_ns) * 1e-9 if continues else 0.0
        motion = inverse(pose) @ row.previous_pose if continues else np.eye(4)
        row.previous_stamp_ns, row.previous_pose = stamp, pose

        objects = drive.objects(index)
        number = np.array([self.drives.class_names.index(name) for name in objects.names], dtype=np.int64)
        keep = worth_finding(objects.boxes, number, objects.visibility, self.config, self.drives.class_names)
        return _Sample(
            images=np.stack([warp_image(image, matrix, self.input_size) for image in drive.images[index]]),
            gain=np.array(augmentation.gain), offset=augmentation.offset, visible=visible,
            projection=projection, camera_valid=valid,
            focal=table["intrinsic"][index, :, 0, 0] * abs(matrix[0, 0]),
            continues=continues, dt=dt, now_from_previous=motion,
            boxes=augmentation.boxes(objects.boxes[keep]), classes=number[keep],
            instances=objects.instance_ids[keep],
            depth=self._warp_maps(drive.depth, index, matrix, np.float32, np.inf),
            semantics=self._warp_maps(drive.semantics, index, matrix, np.uint8, NO_OBJECT),
        )

    def _warp_maps(self, maps: np.ndarray | None, index: int, matrix: np.ndarray, dtype: type, outside: float
                   ) -> np.ndarray | None:
        if maps is None:
            return None
        return np.stack([warp_labels(picture.astype(dtype), matrix, self.input_size, LABEL_STRIDE, outside)
                         for picture in maps[index]])

    def _collate(self, samples: list[_Sample]) -> Batch:
        def stack(name: str, dtype: torch.dtype) -> torch.Tensor:
            return torch.from_numpy(np.stack([getattr(sample, name) for sample in samples])).to(dtype)

        def stack_maps(name: str, dtype: torch.dtype) -> torch.Tensor | None:
            return None if any(getattr(sample, name) is None for sample in samples) else stack(name, dtype)

        visible = None
        if any(sample.visible is not None for sample in samples):
            visible = torch.ones(len(samples), *self.input_size[::-1])
            for row, sample in enumerate(samples):
                if sample.visible is not None:
                    visible[row] = torch.from_numpy(sample.visible)
        wh = torch.tensor(self.input_size, dtype=torch.float32).expand(len(samples), samples[0].images.shape[0], 2)
        return Batch(
            images=stack("images", torch.uint8), gain=stack("gain", torch.float32),
            offset=torch.tensor([sample.offset for sample in samples], dtype=torch.float32), visible=visible,
            projection=stack("projection", torch.float32), image_wh=wh.contiguous(),
            camera_valid=stack("camera_valid", torch.bool), focal=stack("focal", torch.float32),
            continues=torch.tensor([sample.continues for sample in samples]),
            dt=torch.tensor([sample.dt for sample in samples], dtype=torch.float32),
            now_from_previous=stack("now_from_previous", torch.float32),
            targets=collate_targets([s.boxes for s in samples], [s.classes for s in samples],
                                    [s.instances for s in samples]),
            depth=stack_maps("depth", torch.float32), semantics=stack_maps("semantics", torch.uint8),
        )


def normalise(images: torch.Tensor, gain: torch.Tensor, offset: torch.Tensor) -> torch.Tensor:
    """uint8 BGR ``[bs, C, H, W, 3]`` to normalised RGB float ``[bs, C, 3, H, W]``.

    ``gain [bs, 3]`` (BGR) and ``offset [bs]`` change brightness, contrast and colour on the way;
    both steps are affine, so they are one multiplication and one addition.
    """
    mean, std = images.new_tensor(MEAN, dtype=torch.float32), images.new_tensor(STD, dtype=torch.float32)
    scale = gain.flip(-1) / std
    shift = (offset[:, None] - mean) / std
    rgb = images.flip(-1).permute(0, 1, 4, 2, 3).float()
    return (rgb * scale[:, None, :, None, None]).add_(shift[:, None, :, None, None]).contiguous()
