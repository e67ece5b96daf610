"""EfficientNet-lite0 backbone (Tan & Le 2019; "lite": ReLU6, no squeeze-and-excitation, a stem of fixed width).

It pads as TensorFlow does, which its published weights were trained with, and its parts have the names
that these weights have in PyTorch (``read_backbone`` in ``model/checkpoint.py``).
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from sparse4d_ros.model.config import EFFICIENTNET_LITE0

_STEM_WIDTH = 32


def _conv_norm(
    in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1,
) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    # With a stride of 2 the rest of the padding is that of `_halving`.
    padding = kernel // 2 - (stride == 2)
    convolution = nn.Conv2d(in_channels, out_channels, kernel, stride, padding, groups=groups, bias=False)
    return convolution, nn.BatchNorm2d(out_channels, eps=1e-3)


def _halving(x: Tensor) -> Tensor:
    """Padded for a convolution of stride 2: less at the left and top, and so that odd sizes are rounded up."""
    return F.pad(x, (0, 2, 0, 2))


class InvertedBottleneck(nn.Module):
    """A 1x1 convolution to more channels, a depthwise one, a 1x1 to fewer, and a shortcut where the sizes agree."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = expansion * in_channels
        self.stride, self.shortcut = stride, stride == 1 and in_channels == out_channels
        self.expand_conv = None
        if expansion > 1:
            self.expand_conv, self.bn0 = _conv_norm(in_channels, width, 1)
        self.depthwise_conv, self.bn1 = _conv_norm(width, width, kernel, stride, groups=width)
        self.project_conv, self.bn2 = _conv_norm(width, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x
        if self.expand_conv is not None:
            x = F.relu6(self.bn0(self.expand_conv(x)))
        if self.stride == 2:
            x = _halving(x)
        x = F.relu6(self.bn1(self.depthwise_conv(x)))
        x = self.bn2(self.project_conv(x))
        return x + shortcut if self.shortcut else x


class EfficientNetLite(nn.Module):
    """Images ``[n, 3, h, w]`` to one map per stage, strides 4, 8, 16, 32, as far as ``num_stages``."""

    def __init__(self, num_stages: int) -> None:
        super().__init__()
        self.conv_stem, self.bn0 = _conv_norm(3, _STEM_WIDTH, 3, stride=2)
        #: Number of blocks up to the end of each stage.
        self.ends: list[int] = []
        channels, number = _STEM_WIDTH, 0
        for stage in EFFICIENTNET_LITE0[:num_stages]:
            for kernel, stride, expansion, width, count in stage:
                for index in range(count):
                    block = InvertedBottleneck(channels, width, kernel, 1 if index else stride, expansion)
                    self.add_module(f"block{number}", block)
                    channels, number = width, number + 1
            self.ends.append(number)

    def forward(self, images: Tensor) -> list[Tensor]:
        x = F.relu6(self.bn0(self.conv_stem(_halving(images))))
        outputs = []
        for number in range(self.ends[-1]):
            x = getattr(self, f"block{number}")(x)
            if number + 1 in self.ends:
                outputs.append(x)
        return outputs
