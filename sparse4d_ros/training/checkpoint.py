"""Files of a run: the checkpoint to resume from and the weights to use, replaced atomically."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sparse4d_ros.errors import UserError
from sparse4d_ros.model.bank import Bank
from sparse4d_ros.training.augmentation import SceneAugmentation
from sparse4d_ros.training.denoising import Copies
from sparse4d_ros.training.memory import Memory
from sparse4d_ros.training.streams import _Row
from sparse4d_ros.writing import replacing

#: Everything a run needs to go on as if it had never stopped.
CHECKPOINT = "checkpoint.pt"
#: The averaged weights and what is needed to use them.
WEIGHTS = "weights.pt"

# All that is in these files beside tensors, numbers, texts and their lists: nothing else is unpickled.
_array = np.zeros(1)
_CLASSES = [Memory, Bank, Copies, _Row, SceneAugmentation, np.ndarray, np.dtype, type(_array.dtype),
            _array.__reduce__()[0], _array[0].__reduce__()[0]]


def save(path: Path, content: dict[str, Any]) -> None:
    """Write a file that is whole or not there, even if the machine dies now; ``UserError`` if the disk is full."""
    with replacing(path) as partial, open(partial, "wb") as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:  # PyTorch's own, which hides the error of the write
            raise error.__context__ or error from None
        file.flush()
        os.fsync(file.fileno())


def load(path: Path) -> dict[str, Any]:
    """Read a file of this module; ``UserError`` for anything else. No code in it is run."""
    try:
        with torch.serialization.safe_globals(_CLASSES):
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: there is no run to resume in {path.parent}") from None
    except Exception as error:  # an unpickler fails in many ways on what is none of its files
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise UserError(f"{path} is not a checkpoint of `sparse4d train`: {reason}") from None
