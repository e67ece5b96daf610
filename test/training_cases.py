"""A tiny network and how it is trained, for the tests of training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from sparse4d_ros.boxes import NUSCENES_CLASSES
from sparse4d_ros.training.config import config_from_dict
from sparse4d_ros.training.drive_folder import DriveFolder
from sparse4d_ros.training.parallel import Group
from sparse4d_ros.training.trainer import Trainer

TINY = {
    "model": {
        "num_anchors": 24, "num_temporal": 16, "embed_dims": 16, "num_groups": 2, "num_decoders": 2,
        "num_learnable_points": 1, "strides": [4, 8], "swap_yaw_on_projection": False, "dropout": 0.1,
        "backbone": {"depth": 0, "stem_width": 8, "widths": [8, 16], "blocks": [1, 1]},
    },
    "training": {
        "input_width": 176, "input_height": 64, "steps": 8, "log_steps": 2, "validation_frames": 4,
        "streams": {"batch_size": 2, "intervals_s": [0.1, 0.2], "clip_frames": 4},
        "losses": {"semantics": 1.0}, "denoising": {"groups": 2, "max_objects": 6},
        "optimizer": {"learning_rate": 2e-3, "warmup_steps": 2},
    },
}
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def one_thread():
    """More threads only wait for each other here, and sums would depend on their number."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def trainer_of(folder: Path, content: dict[str, Any] = TINY) -> Trainer:
    """A trainer of this configuration on the drives of a folder, with random weights."""
    return Trainer(config_from_dict(content, "tiny"), DriveFolder(folder, NUSCENES_CLASSES), Group(CPU))
