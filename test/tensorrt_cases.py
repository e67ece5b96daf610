"""What the tests of TensorRT share: the header of an engine file, and whether a GPU with TensorRT is here."""

from __future__ import annotations

import importlib.util

import pytest

from sparse4d_ros.engine.cuda_driver import probe
from sparse4d_ros.engine.engine_file import EngineHeader
from sparse4d_ros.errors import UserError

HEADER = EngineHeader("small", "0.2", "fp16", "a" * 64, "10.3.0", "Orin", "8.7")


def missing_driver() -> str:
    """Why there is no GPU here, or nothing."""
    try:
        probe()
    except UserError as error:
        return str(error)
    return ""


#: Why TensorRT cannot run here, or nothing.
MISSING = missing_driver() or "tensorrt is not installed" * (importlib.util.find_spec("tensorrt") is None)
needs_gpu = pytest.mark.skipif(bool(MISSING), reason=f"needs a GPU: {MISSING}")
