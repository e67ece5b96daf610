"""Files of a run: the checkpoint to resume from and the weights to use, replaced atomically."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from sparse4d_ros.errors import UserError

#: Everything a run needs to go on as if it had never stopped.
CHECKPOINT = "checkpoint.pt"
#: The averaged weights and what is needed to use them.
WEIGHTS = "weights.pt"


def save(path: Path, content: dict[str, Any]) -> None:
    """Write a file that is whole or not there, even if the machine dies now."""
    partial = path.with_name(path.name + ".partial")
    with open(partial, "wb") as file:
        torch.save(content, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def load(path: Path) -> dict[str, Any]:
    """Read a file of this module. It is unpickled: only load what you or your team trained."""
    try:
        return torch.load(path, map_location="cpu", weights_only=False)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: there is no run to resume in {path.parent}") from None
    except (RuntimeError, EOFError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is not a checkpoint of `sparse4d train`: {error}") from None
