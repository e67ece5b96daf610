"""Graphs for TensorRT: nothing in them that it does not read, the types where they belong, torch's numbers."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="export needs torch")
onnx = pytest.importorskip("onnx", reason="export needs onnx")

import bag_cases  # noqa: E402
from engine_cases import rig_frame, write_package  # noqa: E402
from onnx import TensorProto, numpy_helper  # noqa: E402

from sparse4d_ros import cli  # noqa: E402
from sparse4d_ros.data.bag_reader import BagDrive  # noqa: E402
from sparse4d_ros.deploy import export as export_command  # noqa: E402
from sparse4d_ros.deploy import mixed_precision  # noqa: E402
from sparse4d_ros.deploy import precision as precision_command  # noqa: E402
from sparse4d_ros.deploy.quantise import calibrate, convolutions, pictures, with_int8  # noqa: E402
from sparse4d_ros.deploy.tensorrt_operators import unsupported  # noqa: E402
from sparse4d_ros.engine import Engine, EngineOptions, ModelPackage  # noqa: E402
from sparse4d_ros.engine.agreement import compare  # noqa: E402
from sparse4d_ros.engine.backend import HostBank  # noqa: E402
from sparse4d_ros.engine.device_bank import tensor_specs  # noqa: E402
from sparse4d_ros.engine.onnx_backend import OnnxBackend  # noqa: E402
from sparse4d_ros.engine.package import GRID_KINDS, sha256  # noqa: E402
from sparse4d_ros.engine.preprocess import Preprocessor  # noqa: E402
from sparse4d_ros.evaluation.sources import Source  # noqa: E402
from sparse4d_ros.resources import share_path  # noqa: E402

SHIPPED = share_path("models", "sparse4d_small")
DRIVE = SHIPPED / "demo_drive"


def export(folder, *words: str) -> ModelPackage:
    assert cli.main(["export", str(folder), *words]) == 0
    return ModelPackage.load(folder)


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A tiny package with all graphs; int8 is made of the fp16 graph that is there, without a further export."""
    folder = tmp_path_factory.mktemp("export") / "tiny"
    write_package(folder)
    export(folder, "--reading", "grid")
    package = export(folder, "--precision", "fp16")
    output = folder / "model_grid_int8.onnx"
    half, drive = graph_of(package, "fp16"), Source("demo", DRIVE, True, package.cameras)
    onnx.save(with_int8(half, calibrate(half, pictures(package, drive, 2)), convolutions(half)), str(output))
    replace(package, files={**package.files, "onnx_grid_int8": (output.name, sha256(output))}).save(folder)
    return ModelPackage.load(folder)


def graph_of(package: ModelPackage, precision: str) -> onnx.ModelProto:
    return onnx.load(str(package.path(GRID_KINDS[precision])))


def types_of(model: onnx.ModelProto) -> dict[str, int]:
    """Type of each tensor."""
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    values = (*model.graph.value_info, *model.graph.input, *model.graph.output)
    return {value.name: value.type.tensor_type.elem_type for value in values} | {
        item.name: item.data_type for item in model.graph.initializer}


@pytest.mark.parametrize("precision", GRID_KINDS)
def test_graphs_are_valid_static_and_of_operators_that_tensorrt_reads(package, precision):
    model = graph_of(package, precision)
    onnx.checker.check_model(model, full_check=True)
    assert unsupported(model) == []
    assert not [node.name for node in model.graph.node if node.metadata_props], "paths of the machine it was made on"


@pytest.mark.parametrize("precision", GRID_KINDS)
def test_inputs_and_outputs_are_those_that_the_backend_binds(package, precision):
    graph = graph_of(package, precision).graph
    found = {value.name: (tuple(size.dim_value for size in value.type.tensor_type.shape.dim),
                          onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type))
             for value in (*graph.input, *graph.output)}
    assert found == {name: tuple(spec) for name, spec in tensor_specs(package).items()}


def test_fp16_is_backbone_and_neck_and_nothing_else(package):
    model = graph_of(package, "fp16")
    types = types_of(model)
    by_type = Counter((node.op_type, types[node.input[0]]) for node in model.graph.node)
    convolutions = sum(node.op_type == "Conv" for node in graph_of(package, "fp32").graph.node)
    assert by_type["Conv", TensorProto.FLOAT16] == convolutions > 5 and by_type["Conv", TensorProto.FLOAT] == 0
    halves = {op for (op, kind) in by_type if kind == TensorProto.FLOAT16}
    assert halves <= {"Conv", "Relu", "Add", "MaxPool", "Resize", "Reshape", "Cast"}
    assert by_type["Cast", TensorProto.FLOAT16] == len(package.model.strides), "one cast for each map"


def test_int8_is_on_convolutions_alone_per_channel_and_symmetric(package):
    model = graph_of(package, "int8")
    constants = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    maker = {output: node for node in model.graph.node for output in node.output}
    dequantised = []
    types = types_of(model)
    for node in model.graph.node:
        if node.op_type == "Conv":
            assert types[node.output[0]] == TensorProto.FLOAT16, "the rest of backbone and neck is in fp16"
            assert [maker[name].op_type for name in node.input[:2]] == ["DequantizeLinear"] * 2, node.name
            dequantised += node.input[:2]
            quantised = maker[maker[node.input[1]].input[0]]
            assert len(constants[quantised.input[1]]) == len(constants[quantised.input[0]]) > 1, "a scale per channel"
            assert constants[maker[node.input[0]].input[1]].size == 1, "one scale for the activations"
    pairs = [node for node in model.graph.node if node.op_type == "DequantizeLinear"]
    assert {node.output[0] for node in pairs} == set(dequantised), "something else is quantised too"
    assert {types[node.input[0]] for node in pairs} == {TensorProto.INT8}
    assert not any(constants[name].any() for node in pairs for name in node.input[2:]), "a zero point that is not 0"


def test_a_graph_that_tensorrt_would_refuse_is_told_from_one_that_it_reads():
    def model(*nodes, opset=18):
        inputs = [onnx.helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, 5])]
        outputs = [onnx.helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.UNDEFINED, None)]
        constants = [numpy_helper.from_array(np.array([3]), "k"), numpy_helper.from_array(np.float32(0.1), "scale"),
                     numpy_helper.from_array(np.int8(3), "zero")]
        graph = onnx.helper.make_graph(nodes, "g", inputs, outputs, constants)
        return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])

    node = onnx.helper.make_node
    assert unsupported(model(node("Relu", ["x"], ["y"]))) == []
    for graph, says in [
        (model(node("NonZero", ["x"], ["y"])), "NonZero .* not known"),
        (model(node("NonZero", ["x"], ["y"])), "size of y depends on data"),
        (model(node("BitwiseNot", ["k"], ["y"])), "BitwiseNot .* not known"),
        (model(node("TopK", ["x", "k"], ["v", "y"], sorted=0)), "sorted must be 1"),
        (model(node("QuantizeLinear", ["x", "scale", "zero"], ["y"])), "zero point must be 0"),
        (model(node("Relu", ["x"], ["y"]), opset=21), "opset 21"),
    ]:
        assert any(re.search(says, reason) for reason in unsupported(graph)), says


def test_a_bank_without_history_has_no_influence_whatever_it_holds(package):
    """On the device its memory is what an earlier frame left there."""
    backend = OnnxBackend(package, kind="onnx_grid")
    inputs = Preprocessor(package)(rig_frame(package, 1.0))
    clean = HostBank.empty(package.model)
    generator = np.random.default_rng(0)
    left = HostBank(*(generator.normal(0, 30, part.shape).astype(np.float32) for part in clean[:3]), clean.has_history)
    for first, second in zip(backend.run(inputs, clean, 0.0, np.eye(4))[0][:4],
                             backend.run(inputs, left, 0.0, np.eye(4))[0][:4], strict=True):
        np.testing.assert_array_equal(first, second)


def agreement(package: ModelPackage, frames, min_score: float) -> dict[str, np.ndarray]:
    """Largest difference of each object from torch's in float32, both ways, from the same bank each frame."""
    options = EngineOptions(score_threshold=min_score / 6, nms_iou=1.0)
    engines = {precision: Engine(package, OnnxBackend(package, kind=kind), options=options)
               for precision, kind in GRID_KINDS.items()}
    out = {precision: [] for precision in GRID_KINDS}
    for _, found in compare(Engine(package, "torch", options=options), engines, frames):
        for precision, item in found.items():
            out[precision].append(item.differences(min_score).max(axis=1))
    return {precision: np.concatenate(parts) for precision, parts in out.items()}


def test_a_tiny_network_in_every_precision_agrees_with_torch(package):
    frames = [rig_frame(package, 0.2 * index, float(index), seed=index) for index in range(4)]
    found = agreement(package, frames, 0.1)
    print({precision: f"{np.median(values):.1e} {values.max():.1e}" for precision, values in found.items()})
    assert len(found["fp32"]) > 50 and found["fp32"].max() < 1e-4
    assert found["fp16"].max() < 5e-3
    assert 1e-3 < np.median(found["int8"]) < 5e-3  # its largest is a box that fell below the score


@pytest.fixture
def exported_before(package, monkeypatch):
    """Exports of the tiny package are copies of its graphs, and its objects count in spite of their scores."""
    def export_onnx(_, output, reading, depth=False, half=False):
        shutil.copy(package.path("onnx_grid_fp16" if half else "onnx_grid"), output)

    for module in (export_command, precision_command):
        monkeypatch.setattr(module, "export_onnx", export_onnx)
    monkeypatch.setattr(mixed_precision, "MIN_SCORE", 0.05)


@pytest.fixture(scope="module")
def short_drive(tmp_path_factory):
    """Its cameras have topics of their own."""
    folder = tmp_path_factory.mktemp("drive")
    return bag_cases.rewrite(bag_cases.write(folder / "usual", 4), folder / "bag",
                             rename=lambda topic: topic.replace("/camera/", "/sensors/cam_"))


IMAGES = ("--images", "/sensors/cam_{name}/image/compressed")


def test_int8_within_a_tolerance_is_entered_and_one_out_of_reach_is_refused(
        tmp_path, short_drive, exported_before, capsys):
    write_package(tmp_path)
    words = ["--precision", "int8", "--calibrate", str(short_drive), *IMAGES, "--tolerance"]
    assert cli.main(["export", str(tmp_path), *words, "1e-9"]) == 2
    assert "no convolution can be in int8 within 1e-09" in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"model.yaml", "weights.safetensors"}
    package = export(tmp_path, *words, "inf")
    assert "100% of the multiply-adds of backbone and neck in int8\n" in capsys.readouterr().out
    assert package.path("onnx_grid_int8").is_file()


def test_a_mixture_is_described_by_what_is_left_and_how_far_it_is(package):
    values = np.zeros((200, 10))
    values[:3, 4] = 0.01, 0.02, 0.5
    mixture = mixed_precision.Mixture(graph_of(package, "int8"), ("a", "b"), ("neck.c", "neck.d"), 0.66, values)
    assert export_command.description(mixture) == (
        "66% of the multiply-adds of backbone and neck in int8; in fp16: neck.c, neck.d\n200 objects beside torch's in "
        "float32: median 0.0e+00, 99 % within 2.0e-02, largest 5.0e-01 (m, rad, m/s)")


def test_the_table_has_a_row_for_each_graph_and_each_layer(package, short_drive, exported_before, capsys):
    words = ["--bag", str(short_drive), *IMAGES, "--frames", "2", "--tolerance", "1e-9", "inf"]
    assert cli.main(["precision", str(package.folder), *words]) == 0
    text = capsys.readouterr().out
    shares = dict(re.findall(r"^(fp32|fp16|int8(?: within \S+)?) +(\d+)%", text, re.MULTILINE))
    assert list(shares) == ["fp32", "fp16", "int8 within 1e-09", "int8 within inf", "int8"]
    assert list(shares.values()) == ["0", "0", "0", "100", "100"]
    layers = re.findall(r"^(\S+) +([\d.]+)% +\S+e\S+ +\S+e\S+$", text, re.MULTILINE)
    assert sum(float(part) for _, part in layers) == pytest.approx(100, abs=0.5)
    assert {name for name, _ in layers} >= {"backbone.conv1", "neck.fpn_convs.0"}


@pytest.mark.parametrize(("words", "says"), [
    (["--precision", "fp16", "--reading", "visible"], "needs --reading grid"),
    (["--precision", "int8"], "--calibrate BAG go together"),
    (["--precision", "fp16", "--calibrate", "x"], "--calibrate BAG go together"),
    (["--precision", "int8", "--calibrate", "/no/bag"], "/no/bag"),
    (["--precision", "int8", "--calibrate", str(DRIVE), "--calibration-frames", "0"], "0 were asked for"),
    (["--precision", "fp16", "--tolerance", "0.1"], "--tolerance chooses what is in int8"),
])
def test_wrong_options_are_refused_before_any_work(tmp_path, capsys, words, says):
    write_package(tmp_path)
    assert cli.main(["export", str(tmp_path), *words]) == 2
    assert says in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"model.yaml", "weights.safetensors"}


@pytest.mark.slow
def test_the_shipped_model_in_every_precision_on_the_demo_drive(tmp_path, capsys):
    """What docs/deployment.md promises of objects that the node would publish."""
    shipped = ModelPackage.load(SHIPPED)
    shutil.copy(shipped.path("weights"), tmp_path)
    replace(shipped, files={"weights": shipped.files["weights"]}).save(tmp_path)
    for words in (["--reading", "grid"], ["--precision", "fp16"], ["--precision", "int8", "--calibrate", str(DRIVE)]):
        package = export(tmp_path, *words)
    assert "100% of the multiply-adds of backbone and neck in int8" in capsys.readouterr().out
    found = agreement(package, (item.frame for item in BagDrive(DRIVE)), 0.3)
    for precision, values in found.items():
        print(f"{precision}: {len(values)} comparisons, median {np.median(values):.1e}, "
              f"99 % {np.quantile(values, 0.99, method='higher'):.1e}, largest {values.max():.1e}")
    assert min(map(len, found.values())) > 1000
    assert found["fp32"].max() < 1e-3
    # Not all: where two instances are alike to four digits, rounding decides which of them takes part.
    assert np.median(found["fp16"]) < 1e-3 and np.mean(found["fp16"] <= 5e-3) > 0.97
    assert np.median(found["int8"]) < 4e-2 and np.quantile(found["int8"], 0.99, method="higher") < 0.5
