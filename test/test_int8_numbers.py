"""INT8 graphs of the shipped model compute what eight bits compute: beside the same written down in torch, no graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="export and comparison need torch")
onnx = pytest.importorskip("onnx", reason="export needs onnx")

import onnxruntime as ort  # noqa: E402
from onnx import numpy_helper  # noqa: E402
from torch.fx.experimental.optimization import fuse  # noqa: E402

from sparse4d_ros.deploy.export import export_onnx  # noqa: E402
from sparse4d_ros.deploy.quantise import calibrate, convolutions, pictures, with_int8  # noqa: E402
from sparse4d_ros.engine import ModelPackage  # noqa: E402
from sparse4d_ros.engine.torch_backend import load_network  # noqa: E402
from sparse4d_ros.evaluation.sources import Source  # noqa: E402
from sparse4d_ros.resources import share_path  # noqa: E402

SHIPPED = share_path("models", "sparse4d_small")


def in_eight_bits(values: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
    """The nearest of the 256 multiples of ``step``, in the type of ``values``."""
    return ((values.float() / step.float()).round().clamp(-128, 127) * step.float()).to(values.dtype)


def read_and_given(model: onnx.ModelProto, images: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """What each convolution's pair reads and what the convolution gives, by its layer."""
    makers = {node.output[0]: node for node in model.graph.node}
    names = {}
    for node in convolutions(model).values():
        quantise = makers[makers[node.input[0]].input[0]]
        names[node.input[1].removesuffix(".weight.back")] = (quantise.input[0], node.output[0])
    wanted = list(dict.fromkeys(name for pair in names.values() for name in pair if name != "images"))
    part = onnx.utils.Extractor(onnx.shape_inference.infer_shapes(model)).extract_model(["images"], wanted)
    options = ort.SessionOptions()  # node by node: what the runtime would fuse rounds biases to integers, too
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    values = ort.InferenceSession(part.SerializeToString(), options, ["CPUExecutionProvider"]).run(
        wanted, {"images": images})
    known = dict(zip(wanted, values, strict=True)) | {"images": images.reshape(-1, *images.shape[2:])}
    return {layer: (known[before], known[after]) for layer, (before, after) in names.items()}


def check(graph: onnx.ModelProto, kind: torch.dtype, tolerance: float) -> None:
    """Every convolution from the graph's own input, so that a value on the edge of two steps does not lead astray."""
    package = ModelPackage.load(SHIPPED)
    images = next(pictures(package, Source("demo", SHIPPED / "demo_drive", True, package.cameras), 1))
    model = with_int8(graph, calibrate(graph, [images]), convolutions(graph))
    steps = {item.name.removesuffix(".input.step"): torch.from_numpy(numpy_helper.to_array(item).copy())
             for item in model.graph.initializer if item.name.endswith(".input.step")}
    network = load_network(package)
    network.backbone = fuse(network.backbone)
    found = read_and_given(model, images)
    assert set(found) == set(steps) and len(found) == 20
    for layer, (before, after) in found.items():
        convolution = network.get_submodule(layer).to(kind)
        largest = convolution.weight.detach().float().abs().amax(dim=(1, 2, 3), keepdim=True)
        convolution.weight.data = in_eight_bits(convolution.weight.data, (largest / 127).to(kind))
        with torch.inference_mode():
            rounded = in_eight_bits(torch.from_numpy(before).to(kind), steps[layer])
            expected = convolution(rounded).float().numpy()
            exact = convolution(torch.from_numpy(before).to(kind)).float().numpy()
        scale = np.abs(expected).max()
        assert np.abs(after - expected).max() < tolerance * scale, layer
        assert np.abs(exact - expected).max() > 5 * tolerance * scale, f"{layer}: eight bits would not be noticed"


def test_every_convolution_of_an_int8_graph_is_torchs_with_the_same_rounding():
    check(onnx.load(str(ModelPackage.load(SHIPPED).path("onnx"))), torch.float32, 1e-5)


@pytest.mark.slow
def test_those_of_the_graph_for_tensorrt_too(tmp_path: Path):
    export_onnx(ModelPackage.load(SHIPPED), tmp_path / "half.onnx", "grid", half=True)
    check(onnx.load(str(tmp_path / "half.onnx")), torch.float16, 1e-3)
