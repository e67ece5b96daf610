"""INT8 for TensorRT: Q/DQ pairs in front of convolutions of an exported graph, and the ranges they need.

Only backbone and neck have convolutions, so the head stays as it is. TensorRT knows symmetric
ranges alone (zero points of 0), wants Q and DQ in front of an operator, and biases as they are.
What a pair gives back has the type that the tensor had, so fp16 stays fp16 around it.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Collection, Iterable, Iterator

import numpy as np
import onnx
import onnxruntime as ort
from onnx import NodeProto, helper, numpy_helper, shape_inference
from tqdm import tqdm

from sparse4d_ros.engine.package import ModelPackage
from sparse4d_ros.engine.preprocess import Preprocessor
from sparse4d_ros.errors import UserError
from sparse4d_ros.evaluation.sources import Source
from sparse4d_ros.frame import LabelledFrame

#: Values of a tensor that are looked at, per frame.
_SAMPLES = 20_000
#: Least step of a pair: half precision can hold it with some digits.
_LEAST_STEP = 2.0 ** -20


def pictures(package: ModelPackage, drive: Source, num_frames: int) -> Iterator[np.ndarray]:
    """Network pictures ``[1, C, 3, H, W]`` of some frames of a drive, evenly spread; each is overwritten by the next.

    Raises ``UserError`` if the drive cannot be read, lacks a camera of the model, or is empty.
    """
    bag = drive.frames()
    if not len(bag) or num_frames < 1:
        raise UserError(f"{drive.path} has {len(bag)} frames and {num_frames} were asked for: nothing to calibrate "
                        "with")
    return _prepared(package, bag, spread(len(bag), num_frames))


def spread(length: int, count: int) -> list[int]:
    """Indices of ``count`` frames of a drive of ``length`` frames (all of a shorter one), evenly spread."""
    return np.unique(np.linspace(0, length - 1, min(count, length)).round().astype(int)).tolist()


def _prepared(package: ModelPackage, bag: Iterable[LabelledFrame], chosen: list[int]) -> Iterator[np.ndarray]:
    preprocess = Preprocessor(package)
    wanted = set(chosen)
    frames = (item for index, item in enumerate(bag) if index in wanted)
    for item in tqdm(frames, desc="calibrating", total=len(chosen), unit="frame", leave=False, disable=None):
        yield preprocess(item.frame).images
    preprocess.close()


def convolutions(model: onnx.ModelProto) -> dict[str, NodeProto]:
    """Nodes by the name of their layer, in the graph's order."""
    return {node.input[1].removeprefix("network.").removesuffix(".weight"): node
            for node in model.graph.node if node.op_type == "Conv"}


def work(model: onnx.ModelProto) -> dict[str, int]:
    """Multiply-adds of each convolution, by its layer."""
    shapes = {value.name: [size.dim_value for size in value.type.tensor_type.shape.dim]
              for value in shape_inference.infer_shapes(model).graph.value_info}
    kernels = {item.name: math.prod(item.dims[1:]) for item in model.graph.initializer}
    return {name: math.prod(shapes[node.output[0]]) * kernels[node.input[1]]
            for name, node in convolutions(model).items()}


def calibrate(model: onnx.ModelProto, images: Iterable[np.ndarray]) -> dict[str, float]:
    """What eight bits of each tensor that a convolution reads reach up to: the magnitude of least squared error."""
    tensors = list(dict.fromkeys(node.input[0] for node in convolutions(model).values()))
    part = onnx.utils.Extractor(shape_inference.infer_shapes(model)).extract_model(["images"], tensors)
    session = ort.InferenceSession(part.SerializeToString(), providers=["CPUExecutionProvider"])
    generator = np.random.default_rng(0)
    samples: dict[str, list[np.ndarray]] = {name: [] for name in tensors}
    largest = dict.fromkeys(tensors, 0.0)
    for picture in images:
        for name, value in zip(tensors, session.run(tensors, {"images": picture}), strict=True):
            largest[name] = max(largest[name], float(np.abs(value).max()))
            samples[name].append(generator.choice(value.ravel(), _SAMPLES))
    return {name: best_reach(np.concatenate(samples[name]), largest[name]) for name in tensors}


def best_reach(values: np.ndarray, largest: float) -> float:
    """The magnitude at which to cut values off, so that 255 even steps up to it err least; at most ``largest``."""
    values = values.astype(np.float32)

    def error(reach: float) -> float:
        step = np.float32(max(reach / 127, _LEAST_STEP))
        return float(np.square(np.clip(np.rint(values / step), -128, 127) * step - values).mean())

    return float(min(np.linspace(1.0, 0.2, 41) * largest, key=error))


def with_int8(model: onnx.ModelProto, reaches: dict[str, float], layers: Collection[str]) -> onnx.ModelProto:
    """A copy in which these layers read 8-bit pictures and 8-bit weights, the latter with a step for each channel."""
    out = copy.deepcopy(model)
    constants = {item.name: item for item in out.graph.initializer}
    nodes = []
    chosen = {node.name: layer for layer, node in convolutions(model).items() if layer in layers}
    for node in out.graph.node:
        if node.name in chosen:
            weight = numpy_helper.to_array(constants[node.input[1]])
            largest = np.abs(weight.reshape(len(weight), -1).astype(np.float32)).max(axis=1)
            for index, reach, axis in ((0, np.float32(reaches[node.input[0]]), {}), (1, largest, {"axis": 0})):
                name = f"{chosen[node.name]}.{('input', 'weight')[index]}"
                step = np.maximum(reach / 127, _LEAST_STEP).astype(weight.dtype)
                out.graph.initializer.extend([numpy_helper.from_array(step, f"{name}.step"),
                                              numpy_helper.from_array(np.zeros(step.shape, np.int8), f"{name}.zero")])
                tail = [f"{name}.step", f"{name}.zero"]
                nodes += [helper.make_node("QuantizeLinear", [node.input[index], *tail], [f"{name}.int8"],
                                           f"{name}.quantise", **axis),
                          helper.make_node("DequantizeLinear", [f"{name}.int8", *tail], [f"{name}.back"],
                                           f"{name}.dequantise", **axis)]
                node.input[index] = f"{name}.back"
        nodes.append(node)
    del out.graph.node[:]
    out.graph.node.extend(nodes)
    return out
