"""Learning rate and weight average as functions of progress."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from sparse4d_ros.training.config import OptimizerConfig


def progress(step: int, steps: int, elapsed_s: float, budget_s: float | None) -> float:
    """How much of the run is over, 0..1: by steps or, with a time budget, by whichever is further."""
    fraction = step / steps
    if budget_s is not None:
        fraction = max(fraction, elapsed_s / budget_s)
    return min(1.0, fraction)


def rate_factor(step: int, fraction: float, config: OptimizerConfig) -> float:
    """Factor on the learning rate: linear warm-up by steps, cosine by the fraction of the run that is over."""
    cosine = config.final_factor + (1 - config.final_factor) * 0.5 * (1 + math.cos(math.pi * fraction))
    if step >= config.warmup_steps:
        return cosine
    return cosine * (config.warmup_start + (1 - config.warmup_start) * step / config.warmup_steps)


def averaged(model: nn.Module, decay: float) -> AveragedModel:
    """Exponential moving average of weights and buffers, following quickly at first."""

    @torch.no_grad()
    def update(average: list[torch.Tensor], current: list[torch.Tensor], updates: torch.Tensor | int) -> None:
        count = float(updates)
        share = 1.0 - min(decay, (1.0 + count) / (10.0 + count))
        if average[0].is_floating_point():
            torch._foreach_lerp_(average, current, share)
        else:  # BatchNorm's counters
            torch._foreach_copy_(average, current)

    return AveragedModel(model, multi_avg_fn=update, use_buffers=True)
