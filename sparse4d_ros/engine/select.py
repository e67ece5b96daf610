"""Which backend computes the network: the one asked for, or the best that this machine has."""

from __future__ import annotations

import importlib.util
import logging

from sparse4d_ros.engine.backend import Backend
from sparse4d_ros.engine.package import ModelPackage
from sparse4d_ros.errors import UserError

BACKENDS = ("auto", "onnxruntime", "torch", "tensorrt")
PRECISIONS = ("fp32", "fp16", "bf16")
_LOG = logging.getLogger(__name__)


def create_backend(
    package: ModelPackage, name: str, device: str | None, precision: str, dense_depth: bool = False,
) -> Backend:
    """The backend by name; ``auto`` takes torch where it finds a GPU, else onnxruntime on the CPU with a warning.

    An explicit backend or device that is not there is a ``UserError``, never replaced by another.
    """
    if name not in BACKENDS:
        raise UserError(f"model.backend must be one of {', '.join(BACKENDS)}, not {name!r}")
    if precision not in PRECISIONS:
        raise UserError(f"model.precision must be one of {', '.join(PRECISIONS)}, not {precision!r}")
    if name == "tensorrt":
        raise UserError("model.backend 'tensorrt' is not built yet; use 'onnxruntime' or 'torch'")
    if name == "auto":
        name, device = _automatic(device)
    if name == "onnxruntime":
        if precision != "fp32":
            raise UserError(f"the onnxruntime backend runs graphs as exported (fp32); model.precision is {precision!r}")
        from sparse4d_ros.engine.onnx_backend import OnnxBackend

        return OnnxBackend(package, device or "cpu", dense_depth)
    if importlib.util.find_spec("torch") is None:
        raise UserError("model.backend 'torch' needs PyTorch: pip install 'sparse4d_ros[train]'")
    from sparse4d_ros.engine.torch_backend import TorchBackend

    return TorchBackend(package, device or "cpu", precision, dense_depth)


def _automatic(device: str | None) -> tuple[str, str]:
    if device in (None, "cuda") and importlib.util.find_spec("torch") is not None:
        import torch

        if torch.cuda.is_available():
            return "torch", "cuda"
    if device == "cuda":
        return "onnxruntime", "cuda"
    if device is None:
        _LOG.warning("no CUDA device found: running on the CPU by onnxruntime")
    return "onnxruntime", device or "cpu"
