"""Which backend computes the network: the one asked for, or the best that this machine has."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path

from sparse4d_ros.engine.backend import Backend
from sparse4d_ros.engine.engine_file import engine_is_at, engine_path
from sparse4d_ros.engine.package import GRID_KINDS, ModelPackage
from sparse4d_ros.errors import UserError
from sparse4d_ros.installing import require

BACKENDS = ("auto", "onnxruntime", "torch", "tensorrt")
#: backend -> what `model.precision` may be
PRECISIONS = {"onnxruntime": ("fp32",), "torch": ("fp32", "fp16", "bf16"), "tensorrt": tuple(GRID_KINDS)}
_ALL_PRECISIONS = ("fp32", "fp16", "bf16", "int8")
_LOG = logging.getLogger(__name__)


def create_backend(
    package: ModelPackage, name: str, device: str | None, precision: str, dense_depth: bool = False,
    engine_file: Path | None = None,
) -> Backend:
    """The backend by name; ``auto`` takes the first of these that is there: a TensorRT engine that was built on this
    machine, torch with a GPU, onnxruntime on the CPU with a warning.

    An explicit backend or device that is not there is a ``UserError``, never replaced by another, and so is an
    engine file that does not fit.
    """
    if name not in BACKENDS:
        raise UserError(f"model.backend must be one of {', '.join(BACKENDS)}, not {name!r}")
    if precision not in _ALL_PRECISIONS:
        raise UserError(f"model.precision must be one of {', '.join(_ALL_PRECISIONS)}, not {precision!r}")
    if name == "auto":
        name, device = _automatic(package, device, precision, engine_file)
    if precision not in PRECISIONS[name]:
        raise UserError(f"the {name} backend runs in {' or '.join(PRECISIONS[name])}; model.precision is {precision!r}")
    if name == "tensorrt":
        if dense_depth:
            raise UserError("the tensorrt backend gives no dense depth maps; use 'onnxruntime' or 'torch'")
        from sparse4d_ros.engine.tensorrt_backend import TensorRTBackend

        return TensorRTBackend(package, device, precision, engine_file)
    if name == "onnxruntime":
        from sparse4d_ros.engine.onnx_backend import OnnxBackend

        return OnnxBackend(package, device or "cpu", dense_depth)
    require("the torch backend", "torch")
    from sparse4d_ros.engine.torch_backend import TorchBackend

    return TorchBackend(package, device or "cpu", precision, dense_depth)


def _automatic(
    package: ModelPackage, device: str | None, precision: str, engine_file: Path | None,
) -> tuple[str, str | None]:
    if engine_file or (device != "cpu" and precision in GRID_KINDS and engine_is_at(engine_path(package, precision))):
        return "tensorrt", device
    for other in GRID_KINDS:
        if device != "cpu" and engine_is_at(engine_path(package, other)):
            _LOG.warning("there is a TensorRT engine in %s, but model.precision is %s: not used", other, precision)
    if device != "cpu" and importlib.util.find_spec("torch") is not None:
        import torch

        if torch.cuda.is_available():
            return "torch", device or "cuda"
    if device is None:
        _LOG.warning("no CUDA device found: running on the CPU by onnxruntime")
    return "onnxruntime", device or "cpu"
