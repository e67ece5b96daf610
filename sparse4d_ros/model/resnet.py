"""ResNet backbone (He et al. 2015, "pytorch" style: the stride sits on the 3x3 convolution)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sparse4d_ros.model.config import BackboneConfig


def _conv_norm(in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    convolution = nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, bias=False)
    return convolution, nn.BatchNorm2d(out_channels)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv_norm(in_channels, width, 3, stride)
        self.conv2, self.bn2 = _conv_norm(width, width, 3)
        self.downsample = None
        if stride != 1 or in_channels != width:
            self.downsample = nn.Sequential(*_conv_norm(in_channels, width, 1, stride))

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(x)) + shortcut)


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions and a shortcut; the output is four times as wide."""

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv_norm(in_channels, width, 1)
        self.conv2, self.bn2 = _conv_norm(width, width, 3, stride)
        self.conv3, self.bn3 = _conv_norm(width, 4 * width, 1)
        self.downsample = None
        if stride != 1 or in_channels != 4 * width:
            self.downsample = nn.Sequential(*_conv_norm(in_channels, 4 * width, 1, stride))

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(self.bn2(self.conv2(x)))
        return torch.relu(self.bn3(self.conv3(x)) + shortcut)


class ResNet(nn.Module):
    """Images ``[n, 3, h, w]`` to one map per stage, strides 4, 8, 16, 32."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        block = Bottleneck if config.bottleneck else BasicBlock
        self.conv1 = nn.Conv2d(3, config.stem_width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(config.stem_width)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.num_stages = len(config.widths)
        channels = config.stem_width
        for stage, (width, count) in enumerate(zip(config.widths, config.stage_blocks, strict=True)):
            layers = []
            for index in range(count):
                layers.append(block(channels, width, 2 if stage > 0 and index == 0 else 1))
                channels = width * block.expansion
            self.add_module(f"layer{stage + 1}", nn.Sequential(*layers))

    def forward(self, images: Tensor) -> list[Tensor]:
        x = self.maxpool(torch.relu(self.bn1(self.conv1(images))))
        outputs = []
        for stage in range(self.num_stages):
            x = getattr(self, f"layer{stage + 1}")(x)
            outputs.append(x)
        return outputs
