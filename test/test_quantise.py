"""INT8 by hand: ranges of least error, Q/DQ pairs where they were asked for, and the choice of layers by tolerance."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

onnx = pytest.importorskip("onnx", reason="export needs onnx")
pytest.importorskip("torch", reason="the commands that quantise need torch")

import onnxruntime as ort  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from sparse4d_ros.deploy.mixed_precision import Mixtures, most  # noqa: E402
from sparse4d_ros.deploy.quantise import best_reach, calibrate, spread, with_int8, work  # noqa: E402


def in_int8(values: np.ndarray, reach: float) -> np.ndarray:
    step = reach / 127
    return np.clip(np.rint(values / step), -128, 127) * step


def three_convolutions(kind=np.float16) -> onnx.ModelProto:
    """``a`` (4 of 5 parts of the work) and ``b`` after it, ``c`` beside them."""
    generator = np.random.default_rng(0)
    shapes = {"a": (8, 4, 3, 3), "b": (8, 8, 1, 1), "c": (1, 4, 1, 1)}
    weights = [numpy_helper.from_array(generator.normal(0, 0.2, shape).astype(kind), f"network.{name}.weight")
               for name, shape in shapes.items()]
    number = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    nodes = [helper.make_node("Conv", ["images", "network.a.weight"], ["a"], "first", pads=[1, 1, 1, 1]),
             helper.make_node("Relu", ["a"], ["relu"]),
             helper.make_node("Conv", ["relu", "network.b.weight"], ["b"], "second"),
             helper.make_node("Conv", ["images", "network.c.weight"], ["c"], "third"),
             helper.make_node("Add", ["b", "c"], ["out"])]
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("images", number, [1, 4, 6, 6])],
                              [helper.make_tensor_value_info("out", number, [1, 8, 6, 6])], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)


@settings(deadline=None, max_examples=50)
@given(npst.arrays(np.float32, st.integers(1, 300), elements=st.floats(-100, 100, width=32)))
def test_the_range_is_never_worse_than_all_that_occurs_and_never_wider(values):
    largest = float(np.abs(values).max())
    reach = best_reach(values, largest)
    assert 0 <= reach <= largest
    if largest > 1e-3:
        assert np.square(in_int8(values, reach) - values).mean() <= np.square(in_int8(values, largest) - values).mean()


def test_a_lone_outlier_is_cut_off():
    values = np.append(np.random.default_rng(0).normal(0, 1, 200_000), 20.0).astype(np.float32)
    reach = best_reach(values, 20.0)
    assert 5 < reach < 15
    assert np.square(in_int8(values, reach) - values).sum() < 0.9 * np.square(in_int8(values, 20.0) - values).sum()


def test_only_the_layers_that_were_named_get_pairs_and_fp16_stays_fp16():
    model = three_convolutions()
    images = np.random.default_rng(1).normal(0, 1, (1, 4, 6, 6)).astype(np.float16)
    reaches = calibrate(model, [images])
    assert set(reaches) == {"images", "relu"}
    mixed = with_int8(model, reaches, ["a", "c"])
    onnx.checker.check_model(mixed, full_check=True)
    maker = {output: node.op_type for node in mixed.graph.node for output in node.output}
    pairs = {node.output[0]: {maker.get(name) for name in node.input}
             for node in mixed.graph.node if node.op_type == "Conv"}
    assert pairs == {"a": {"DequantizeLinear"}, "b": {"Relu", None}, "c": {"DequantizeLinear"}}
    assert [node.op_type for node in model.graph.node].count("QuantizeLinear") == 0, "the given graph was changed"
    types = {value.name: value.type.tensor_type.elem_type
             for value in onnx.shape_inference.infer_shapes(mixed, strict_mode=True).graph.value_info}
    assert types["a"] == types["a.input.back"] == TensorProto.FLOAT16 and types["a.weight.int8"] == TensorProto.INT8
    steps = {item.name: numpy_helper.to_array(item) for item in mixed.graph.initializer if item.name.endswith("step")}
    assert set(steps) == {"a.input.step", "a.weight.step", "c.input.step", "c.weight.step"}
    assert steps["a.weight.step"].shape == (8,) and steps["a.input.step"].shape == ()


def test_a_quantised_graph_computes_what_eight_bits_compute():
    model = three_convolutions(np.float32)
    images = np.random.default_rng(1).normal(0, 1, (1, 4, 6, 6)).astype(np.float32)
    mixed = with_int8(model, calibrate(model, [images]), ["a", "b", "c"])
    weight = numpy_helper.to_array(model.graph.initializer[2])[:, :, 0, 0]
    reach = best_reach(images.ravel(), float(np.abs(images).max()))
    mixed.graph.output.append(helper.make_tensor_value_info("c", TensorProto.FLOAT, [1, 1, 6, 6]))
    found = ort.InferenceSession(mixed.SerializeToString()).run(["c"], {"images": images})[0]
    expected = np.einsum("oc,bchw->bohw", in_int8(weight, np.abs(weight).max()), in_int8(images, reach))
    np.testing.assert_allclose(found, expected, atol=0.05)  # the range is of samples of the picture
    assert 1e-4 < np.abs(found - np.einsum("oc,bchw->bohw", weight, images)).max() < 0.1


class Additive:
    """A trial whose error is the root of the sum of what each layer in INT8 costs."""

    def __init__(self, costs: dict[str, float]) -> None:
        self.costs, self.calls = costs, 0

    def __call__(self, model: onnx.ModelProto) -> np.ndarray:
        self.calls += 1
        names = {item.name.removesuffix(".input.step") for item in model.graph.initializer}
        return np.full((4, 10), np.sqrt(sum(cost ** 2 for name, cost in self.costs.items() if name in names)))


@pytest.mark.parametrize(("tolerance", "layers"), [
    (None, {"a", "b", "c"}), (1.0, {"a", "b", "c"}), (0.2, {"a", "b"}), (0.05, {"b"}), (0.01, set())])
def test_the_layers_that_cost_least_per_multiply_add_are_in_int8(tolerance, layers):
    model = three_convolutions()
    assert work(model) == {"a": 36 * 288, "b": 36 * 64, "c": 36 * 4}
    trial = Additive({"a": 0.1, "b": 0.03, "c": 0.2})
    mixtures = Mixtures(model, {"images": 3.0, "relu": 3.0}, trial)
    mixture = mixtures.within(tolerance)
    assert set(mixture.layers) == layers and set(mixture.left) == {"a", "b", "c"} - layers
    assert mixture.share == pytest.approx(sum(work(model)[name] for name in layers) / sum(work(model).values()))
    assert tolerance is None or not layers or most(mixture.values) <= tolerance
    assert trial.calls == 1 if tolerance is None else trial.calls <= 7


@pytest.mark.parametrize("length, count", [(99, 50), (63, 32), (23, 12), (12, 5), (3, 8), (1, 1)])
def test_frames_are_spread_over_the_whole_drive(length, count):
    chosen = spread(length, count)
    assert len(chosen) == min(length, count) and chosen[0] == 0
    assert len(chosen) == 1 or (chosen[-1] == length - 1 and max(np.diff(chosen)) - min(np.diff(chosen)) <= 1)


def test_trials_are_made_once_for_all_tolerances():
    trial = Additive({"a": 0.1, "b": 0.03, "c": 0.2})
    mixtures = Mixtures(three_convolutions(), {"images": 3.0, "relu": 3.0}, trial)
    for tolerance in (0.01, 0.05, 0.2, None):
        mixtures.within(tolerance)
    assert trial.calls <= 7, "three alone, and none to three together"
