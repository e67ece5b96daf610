"""The network by onnxruntime: the embedded default, on the CPU and without torch."""

from __future__ import annotations

import os

import numpy as np

from sparse4d_ros.engine.backend import HostBank, NetworkOutput
from sparse4d_ros.engine.package import ModelPackage
from sparse4d_ros.engine.preprocess import NetworkInputs
from sparse4d_ros.errors import UserError
from sparse4d_ros.installing import require
from sparse4d_ros.model.config import ModelConfig

INPUT_NAMES = ("images", "projection", "camera_valid", "bank_feature", "bank_anchor", "bank_confidence",
               "has_history", "dt", "now_from_previous")
OUTPUT_NAMES = ("anchors", "classes", "quality", "next_feature", "next_anchor", "next_confidence", "kept_rows")
DEPTH_OUTPUT = "depth"
#: Those that make a ``NetworkOutput``, in its order.
OF_ROWS = ("anchors", "classes", "quality", "kept_rows", DEPTH_OUTPUT)


def output_names(model: ModelConfig) -> list[str]:
    """The graph's outputs in order: a model without qualities gives none."""
    return [name for name in OUTPUT_NAMES if name != "quality" or model.quality_estimation]


def network_feeds(
    inputs: NetworkInputs, bank: HostBank, dt_s: float, now_from_previous: np.ndarray,
) -> dict[str, np.ndarray]:
    """The graph's inputs by name."""
    feeds = (inputs.images, inputs.projection, inputs.camera_valid, *bank,
             np.array([dt_s], np.float32), now_from_previous[None].astype(np.float32))
    return dict(zip(INPUT_NAMES, feeds, strict=True))


class OnnxBackend:
    """One session; the graph holds first and later frames alike."""

    name = "onnxruntime"

    def __init__(
        self, package: ModelPackage, device: str = "cpu", dense_depth: bool = False, kind: str = "onnx",
    ) -> None:
        """``kind`` is the package's graph to run.

        Raises ``UserError`` if the file is absent or altered, no provider fits, or the graph is another's.
        """
        require("the onnxruntime backend", "onnxruntime")
        import onnxruntime as ort

        if device not in ("cpu", "cuda"):
            raise UserError(f"the onnxruntime backend runs on 'cpu' or 'cuda', not {device!r}")
        path = package.path(kind)
        provider = "CUDAExecutionProvider" if device == "cuda" else "CPUExecutionProvider"
        if provider not in ort.get_available_providers():
            raise UserError(f"device {device!r} was asked for, but this onnxruntime has no {provider} "
                            f"(it has {', '.join(ort.get_available_providers())})")
        options = ort.SessionOptions()
        options.intra_op_num_threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
        # Threads that spin between operators steal the cores that decode the next pictures.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            # Its bytes, not its path: weights that it keeps in a file beside it, which has no checksum, are refused.
            self._session = ort.InferenceSession(path.read_bytes(), options, providers=[provider])
        except Exception as error:  # onnxruntime raises classes of its own, without a common base
            raise UserError(f"onnxruntime cannot load {path}: {error}") from error
        if provider not in self._session.get_providers():  # it says so in its log and takes the CPU
            raise UserError(f"device {device!r} was asked for, but onnxruntime could not start its {provider} (its "
                            "reason is above)")
        self.device = device
        self._model = package.model
        self._outputs = output_names(package.model)
        available = {output.name for output in self._session.get_outputs()}
        if dense_depth:
            if DEPTH_OUTPUT not in available:
                raise UserError(f"{path} has no depth output; export it with `sparse4d export --depth`")
            self._outputs.append(DEPTH_OUTPUT)
        self._check(package, path, available)

    def _check(self, package: ModelPackage, path: object, outputs: set[str]) -> None:
        inputs = {value.name: value.shape for value in self._session.get_inputs()}
        if set(inputs) != set(INPUT_NAMES) or not set(output_names(package.model)) <= outputs:
            raise UserError(f"{path} is not a graph made by `sparse4d export`: its inputs are {sorted(inputs)}")
        expected = {
            "images": [1, len(package.cameras), 3, package.input_height, package.input_width],
            "bank_feature": [1, self._model.num_temporal, self._model.embed_dims],
        }
        for name, shape in expected.items():
            if list(inputs[name]) != shape:
                raise UserError(f"{path}: input {name} has shape {inputs[name]}, but model.yaml means {shape}")

    def empty_bank(self) -> HostBank:
        return HostBank.empty(self._model)

    def run(
        self, inputs: NetworkInputs, bank: HostBank, dt_s: float, now_from_previous: np.ndarray,
    ) -> tuple[NetworkOutput, HostBank]:
        values = self._session.run(self._outputs, network_feeds(inputs, bank, dt_s, now_from_previous))
        out = dict(zip(self._outputs, values, strict=True))
        output = NetworkOutput(*(out[name][0] if name in out else None for name in OF_ROWS))
        return output, HostBank(out["next_feature"], out["next_anchor"], out["next_confidence"], np.ones(1, bool))

    def features(self, bank: HostBank) -> np.ndarray:
        return bank.feature[0]

    def confidence(self, bank: HostBank) -> np.ndarray:
        return bank.confidence[0]

    def forget(self, bank: HostBank, slots: np.ndarray) -> HostBank:
        return bank._replace(confidence=np.where(slots[None], np.float32(0), bank.confidence))

    def bank_to_host(self, bank: HostBank) -> HostBank:
        return bank

    def bank_from_host(self, bank: HostBank) -> HostBank:
        return bank

    def close(self) -> None:
        del self._session
