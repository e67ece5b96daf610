"""What v3 added, left out: attention that adds, no qualities, sampling weights by a camera's place."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the network needs torch")

from engine_cases import TINY, package_of, rig_frame, write_package  # noqa: E402

from sparse4d_ros import cli  # noqa: E402
from sparse4d_ros.engine import Engine, EngineOptions, ModelPackage  # noqa: E402
from sparse4d_ros.engine.agreement import compare  # noqa: E402
from sparse4d_ros.engine.device_bank import tensor_specs  # noqa: E402
from sparse4d_ros.errors import UserError  # noqa: E402
from sparse4d_ros.model.aggregation import DeformableAggregation  # noqa: E402
from sparse4d_ros.model.attention import MultiheadAttention  # noqa: E402
from sparse4d_ros.model.checkpoint import from_official, official_key, sizes_of_official  # noqa: E402
from sparse4d_ros.model.config import BackboneConfig, ModelConfig  # noqa: E402
from sparse4d_ros.model.detector import Sparse4D, empty_inputs  # noqa: E402

SWITCHES = ("decoupled_attention", "quality_estimation", "camera_embedding")
ALL_OFF = replace(TINY, **dict.fromkeys(SWITCHES, False))
EVERYTHING = EngineOptions(score_threshold=0.0)


@torch.no_grad()
def test_added_attention_is_that_of_mmcv():
    """Positions are added to query and key, not to the value, and the shortcut is the bare feature."""
    torch.manual_seed(0)
    own, theirs = MultiheadAttention(8, 2, 0.0), torch.nn.MultiheadAttention(8, 2, batch_first=True)
    theirs.load_state_dict(own.state_dict())
    x, embedding, other = torch.randn(3, 1, 5, 8)
    head = Sparse4D(replace(TINY, decoupled_attention=False)).head
    query, shortcut = head._query(x, embedding)
    key, _ = head._query(other, embedding)
    found = head.fc_after(own(query, key, head.fc_before(other), None, shortcut))
    expected = x + theirs(x + embedding, other + embedding, other)[0]
    torch.testing.assert_close(found, expected)
    assert head.decoders[1].self_attention.in_proj_weight.shape == (3 * 16, 16)


@torch.no_grad()
def test_sampling_weights_by_place_ignore_the_cameras_matrix():
    torch.manual_seed(0)
    features, embedding, projection = torch.randn(1, 4, 16), torch.randn(1, 4, 16), torch.randn(1, 6, 4, 4)
    part = DeformableAggregation(replace(TINY, camera_embedding=False)).eval()
    weights = part.weigh(features, embedding, projection, None)
    assert weights.shape == (1, 4, 6, *part.shape)
    torch.testing.assert_close(weights.sum(dim=(2, 3, 4)), torch.ones(1, 4, 2))
    torch.testing.assert_close(weights, part.weigh(features, embedding, 2.0 * projection, None), rtol=0, atol=0)
    assert not torch.allclose(weights[:, :, 0], weights[:, :, 1])
    # The published order of the layer's outputs: camera, level, point, group.
    plain = part.weights_fc(features + embedding).view(1, 4, -1, 2).softmax(dim=2)
    torch.testing.assert_close(weights.flatten(2, 4), plain)


def test_models_know_what_they_lack_and_refuse_another_rig(tmp_path):
    package_of(model=ALL_OFF).save(tmp_path)
    assert ModelPackage.load(tmp_path).model == ALL_OFF
    package_of(num_cameras=5, model=ALL_OFF).save(tmp_path)
    with pytest.raises(UserError, match="model.num_cameras is 6, but there are 5 cameras"):
        ModelPackage.load(tmp_path)
    package_of(num_cameras=5).save(tmp_path)
    assert len(ModelPackage.load(tmp_path).cameras) == 5
    with pytest.raises(UserError, match="model.quality_estimation must be of type bool"):
        ModelConfig.from_dict({"quality_estimation": 1})


def test_without_qualities_the_class_alone_ranks_and_the_qualities_are_nan(tmp_path):
    package = write_package(tmp_path, model=replace(TINY, quality_estimation=False))
    engine = Engine(package, "torch", options=EVERYTHING)
    found, state = engine.step(rig_frame(package, 1.0), engine.initial_state())
    again, _ = engine.step(rig_frame(package, 1.2, x=1.0), state)
    for detections in (found, again):
        assert len(detections) and np.isnan(detections.centerness).all() and np.isnan(detections.yawness).all()
        np.testing.assert_array_equal(detections.scores, detections.class_scores)
    with pytest.raises(UserError, match="score_mode class_sqrt_quality: .* estimates no quality"):
        Engine(package, "torch", options=EngineOptions(score_mode="class_sqrt_quality"))


@pytest.mark.parametrize("reading, kind", [
    ("visible", "onnx"), pytest.param("grid", "onnx_grid", marks=pytest.mark.slow)])
def test_graphs_without_them_give_the_numbers_of_torch(tmp_path, reading, kind):
    pytest.importorskip("onnxscript", reason="export needs onnxscript")
    from sparse4d_ros.engine.onnx_backend import OnnxBackend

    write_package(tmp_path, model=ALL_OFF)
    assert cli.main(["export", str(tmp_path), "--reading", reading]) == 0
    package = ModelPackage.load(tmp_path)
    backend = OnnxBackend(package, kind=kind)
    outputs = {output.name for output in backend._session.get_outputs()}
    assert "quality" not in outputs and outputs <= set(tensor_specs(package))
    torch_engine, onnx_engine = (Engine(package, b, options=EVERYTHING) for b in ("torch", backend))
    frames = [rig_frame(package, 1.0 + 0.2 * number, x=number) for number in range(3)]
    for expected, found in compare(torch_engine, {"onnx": onnx_engine}, frames):
        assert len(expected) and found["onnx"].differences(1e-3).max() < 1e-3
        assert np.isnan(found["onnx"].found.centerness).all()


@pytest.mark.parametrize("off", [(), *((name,) for name in SWITCHES), SWITCHES])
def test_checkpoints_of_the_published_code_say_which_parts_they_have(off):
    config = ModelConfig(
        num_anchors=6, num_temporal=4, embed_dims=16, num_groups=2, num_decoders=2, num_learnable_points=2,
        backbone=BackboneConfig(depth=18), **dict.fromkeys(off, False))
    own = Sparse4D(config).state_dict()
    official = {official_key(key): value for key, value in own.items()}
    assert sizes_of_official(official) == config
    state, missing, unexpected, wrong = from_official(official, own)
    assert not (missing or unexpected or wrong) and set(state) == set(own)


@torch.no_grad()
@pytest.mark.parametrize("name", SWITCHES)
def test_each_switch_alone_makes_a_network_of_another_size_that_runs(name):
    inputs = empty_inputs(TINY, 6, 176, 64)
    sizes = []
    for config in (TINY, replace(TINY, **{name: False})):
        model = Sparse4D(config).eval()
        out = model(*inputs)
        sizes.append(sum(parameter.numel() for parameter in model.parameters()))
        assert all(torch.isfinite(x).all() for x in (out.anchors[-1], out.classes[-1], out.bank.feature))
    assert sizes[0] != sizes[1]
