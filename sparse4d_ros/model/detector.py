"""Sparse4D v3 (Lin et al. 2023, arXiv 2311.11722): pictures of one moment and a bank in, objects and a bank out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sparse4d_ros.model.bank import Bank
from sparse4d_ros.model.config import ModelConfig
from sparse4d_ros.model.depth import DepthBranch
from sparse4d_ros.model.efficientnet import EfficientNetLite
from sparse4d_ros.model.fpn import FPN
from sparse4d_ros.model.head import Denoising, HeadOutput, Sparse4DHead
from sparse4d_ros.model.resnet import ResNet


class Sparse4D(nn.Module):
    """Backbone, neck and head; ``depth_branch`` serves training and debugging."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.levels = tuple((4, 8, 16, 32, 64, 128).index(stride) for stride in config.strides)
        self.backbone = ResNet(config.backbone) if config.backbone.kind == "resnet" \
            else EfficientNetLite(self.levels[-1] + 1)
        self.neck = FPN(tuple(config.backbone.out_channels[level] for level in self.levels), config.embed_dims)
        self.head = Sparse4DHead(config)
        self.depth_branch = DepthBranch(config.embed_dims, min(3, config.num_levels))

    def extract(self, images: Tensor) -> list[Tensor]:
        """Images ``[bs, C, 3, H, W]``, normalised RGB, to L maps ``[bs, C, E, h, w]``, fine to coarse."""
        stages = self.backbone(images.flatten(0, 1))
        maps = self.neck([stages[level] for level in self.levels])
        return [x.unflatten(0, images.shape[:2]) for x in maps]

    def forward(
        self, images: Tensor, projection: Tensor, image_wh: Tensor, camera_valid: Tensor | None,
        bank: Bank, dt: Tensor, now_from_previous: Tensor, denoising: Denoising | None = None,
    ) -> HeadOutput:
        """One frame of a batch of drives.

        ``images [bs, C, 3, H, W]``; ``projection [bs, C, 4, 4]`` float32, network pixels from model
        frame; ``image_wh [bs, C, 2]``; ``camera_valid [bs, C]`` bool or None for all;
        ``dt [bs]`` seconds since the bank's frame; ``now_from_previous [bs, 4, 4]``, the model
        frame now from the model frame then. Both are ignored where the bank has no history.
        """
        maps = [x.float() for x in self.extract(images)]
        return self.head(maps, projection, image_wh, camera_valid, bank, dt, now_from_previous, denoising)

    def set_reading(self, reading: str) -> None:
        """Choose how the head reads image features: ``visible`` or ``grid`` (same result)."""
        if reading not in ("visible", "grid"):
            raise ValueError(f"reading must be 'visible' or 'grid', not {reading!r}")
        self.head.reading = reading

    def use_channels_last(self) -> None:
        """Lay out the image branch's weights channels last, twice as fast to train on CPUs (and GPUs)."""
        for part in (self.backbone, self.neck):
            part.to(memory_format=torch.channels_last)

    def image_parameters(self) -> list[nn.Parameter]:
        """Parameters of the backbone, which trains at a lower rate."""
        return list(self.backbone.parameters())


def empty_inputs(config: ModelConfig, num_cameras: int, width: int, height: int) -> tuple:
    """Zero inputs of the right shapes for one sample, for tracing and timing."""
    return (
        torch.zeros(1, num_cameras, 3, height, width),
        torch.eye(4).repeat(1, num_cameras, 1, 1),
        torch.tensor([float(width), float(height)]).repeat(1, num_cameras, 1),
        torch.ones(1, num_cameras, dtype=torch.bool),
        Bank.empty(config, 1),
        torch.full((1,), config.default_interval_s),
        torch.eye(4)[None],
    )
