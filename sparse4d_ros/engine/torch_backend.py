"""The network by PyTorch, on the CPU or a GPU; the bank stays on the device between frames."""

from __future__ import annotations

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from sparse4d_ros.engine.backend import HostBank, NetworkOutput
from sparse4d_ros.engine.package import ModelPackage
from sparse4d_ros.engine.preprocess import NetworkInputs
from sparse4d_ros.errors import UserError
from sparse4d_ros.model.bank import Bank
from sparse4d_ros.model.depth import clip_depth
from sparse4d_ros.model.detector import Sparse4D

#: precision -> type of backbone and neck
DTYPES = {"fp32": None, "fp16": torch.float16, "bf16": torch.bfloat16}


def load_network(package: ModelPackage) -> Sparse4D:
    """The package's network in eval mode; ``UserError`` lists entries that are missing, unexpected or misshapen."""
    path = package.path("weights")
    try:
        state = load_file(path)
    except SafetensorError as error:
        raise UserError(f"{path} is not a safetensors file: {error}") from None
    network = Sparse4D(package.model)
    own = network.state_dict()
    problems = [f"missing {key}" for key in own if key not in state]
    problems += [f"unexpected {key}" for key in state if key not in own]
    problems += [f"{key} has shape {list(state[key].shape)}, model.yaml means {list(own[key].shape)}"
                 for key in own if key in state and state[key].shape != own[key].shape]
    if problems:
        raise UserError(f"{path} does not fit model.yaml: {'; '.join(problems[:5])}"
                        + (f"; and {len(problems) - 5} more" if len(problems) > 5 else ""))
    network.load_state_dict(state)
    return network.eval()


def focal_lengths(projection: torch.Tensor) -> torch.Tensor:
    """Horizontal focal lengths in network pixels ``[bs, C]`` of ``projection [bs, C, 4, 4]``.

    Row 0 is ``fx * right + cx * forward`` and row 2 is ``forward``, both unit vectors and orthogonal.
    """
    first, forward = projection[..., 0, :3], projection[..., 2, :3]
    return ((first ** 2).sum(-1) - (first * forward).sum(-1) ** 2).clamp(min=1e-6).sqrt()


def torch_device(name: str) -> torch.device:
    """The device of this name, ready for use; ``UserError`` if it is not there.

    On a GPU float32 is float32 from now on, in the whole process: by itself PyTorch makes convolutions of it in TF32,
    which has the mantissa of fp16.
    """
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise UserError(f"device {name!r} was asked for, but torch finds no CUDA device")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f"torch does not know the device {name!r}: {error}") from None
    if device.type == "cuda":
        if (device.index or 0) >= torch.cuda.device_count():
            raise UserError(f"device {name!r} was asked for, but torch finds {torch.cuda.device_count()} GPU(s)")
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    return device


class TorchBackend:
    """Eager PyTorch. ``precision`` fp16 or bf16 applies to backbone and neck, the head stays fp32."""

    name = "torch"

    def __init__(
        self, package: ModelPackage, device: str = "cpu", precision: str = "fp32", dense_depth: bool = False,
    ) -> None:
        """Raises ``UserError`` for a device that is not there or weights that do not fit."""
        self._device = torch_device(device)
        self.device = device
        self._dtype = DTYPES[precision]
        self._network = load_network(package).to(self._device)
        self._dense_depth = dense_depth
        size = torch.tensor([package.input_width, package.input_height], dtype=torch.float32, device=self._device)
        self._image_wh = size.expand(1, len(package.cameras), 2)

    def empty_bank(self) -> Bank:
        return Bank.empty(self._network.config, 1, self._device)

    @torch.inference_mode()
    def run(
        self, inputs: NetworkInputs, bank: Bank, dt_s: float, now_from_previous: np.ndarray,
    ) -> tuple[NetworkOutput, Bank]:
        images, projection, valid = (
            torch.from_numpy(x).to(self._device) for x in (inputs.images, inputs.projection, inputs.camera_valid))
        with torch.autocast(self._device.type, self._dtype, enabled=self._dtype is not None):
            maps = self._network.extract(images)
        maps = [x.float() for x in maps]
        result = self._network.head(
            maps, projection, self._image_wh, valid, bank,
            torch.tensor([dt_s], dtype=torch.float32, device=self._device),
            torch.from_numpy(now_from_previous[None].astype(np.float32)).to(self._device),
        )
        depth = None
        if self._dense_depth:
            focal = focal_lengths(projection)
            depth = clip_depth(self._network.depth_branch(maps[:1], focal)[0])[0].cpu().numpy()
        output = NetworkOutput(*(
            None if x is None else x[0].cpu().numpy()
            for x in (result.anchors[-1], result.classes[-1], result.quality[-1], result.kept_rows)), depth)
        return output, result.bank

    def features(self, bank: Bank) -> np.ndarray:
        return bank.feature[0].cpu().numpy()

    def confidence(self, bank: Bank) -> np.ndarray:
        return bank.confidence[0].cpu().numpy()

    def forget(self, bank: Bank, slots: np.ndarray) -> Bank:
        mask = torch.from_numpy(slots).to(self._device)[None]
        return bank._replace(confidence=bank.confidence.masked_fill(mask, 0.0))

    def bank_to_host(self, bank: Bank) -> HostBank:
        return HostBank(*(part.cpu().numpy().copy() for part in bank))

    def bank_from_host(self, bank: HostBank) -> Bank:
        return Bank(*(torch.tensor(part, device=self._device) for part in bank))

    def close(self) -> None:
        del self._network
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
