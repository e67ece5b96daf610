"""INT8 for TensorRT: Q/DQ pairs around the convolutions of an exported graph, by onnxruntime's static quantisation.

Only backbone and neck have convolutions, so the head stays as it is. TensorRT knows symmetric
ranges alone (zero points of 0), wants Q and DQ in front of an operator, and biases as they are.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from tqdm import tqdm

from sparse4d_ros.data.bag_reader import BagDrive
from sparse4d_ros.engine.backend import HostBank
from sparse4d_ros.engine.onnx_backend import network_feeds
from sparse4d_ros.engine.package import ModelPackage
from sparse4d_ros.engine.preprocess import Preprocessor
from sparse4d_ros.errors import UserError
from sparse4d_ros.writing import replacing

#: One convolution at a time, as TensorRT reads them; see its guide on explicit quantisation.
_FOR_TENSORRT = {
    "ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False, "AddQDQPairToWeight": True,
    "OpTypesToExcludeOutputQuantization": ["Conv"], "DedicatedQDQPair": True,
}


class DriveReader(CalibrationDataReader):
    """Inputs of some frames of a drive, evenly spread; the bank is empty, as no convolution looks at it."""

    def __init__(self, package: ModelPackage, drive: Path, num_frames: int) -> None:
        """Raises ``UserError`` if the drive cannot be read, lacks a camera of the model, or is empty."""
        bag = BagDrive(drive, cameras=package.cameras)
        if not len(bag) or num_frames < 1:
            raise UserError(f"{drive} has {len(bag)} frames and {num_frames} were asked for: nothing to calibrate with")
        self._feeds = self._read(package, bag, max(1, len(bag) // num_frames), num_frames)

    @staticmethod
    def _read(package: ModelPackage, bag: BagDrive, stride: int, num_frames: int) -> Iterator[dict[str, np.ndarray]]:
        preprocess = Preprocessor(package)
        frames = itertools.islice(bag, 0, stride * num_frames, stride)
        for item in tqdm(frames, desc="calibrating", total=num_frames, unit="frame", leave=False, disable=None):
            yield network_feeds(preprocess(item.frame), HostBank.empty(package.model), 0.0, np.eye(4))
        preprocess.close()

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._feeds, None)


def quantise(graph: Path, output: Path, reader: DriveReader) -> None:
    """Write ``graph`` (float32, ``reading: grid``) with INT8 convolutions; the file appears when it is whole.

    Weights are quantised per channel, activations per tensor by their range on the reader's frames.
    """
    convolutions = [node.name for node in onnx.load(str(graph)).graph.node if node.op_type == "Conv"]
    with replacing(output) as partial:
        quantize_static(
            str(graph), str(partial), reader, quant_format=QuantFormat.QDQ, nodes_to_quantize=convolutions,
            per_channel=True, activation_type=QuantType.QInt8, weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax, extra_options=_FOR_TENSORRT)
