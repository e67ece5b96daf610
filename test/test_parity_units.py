"""Each part of the network against the official code's outputs (see test/data/parity)."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from parity_cases import assert_close, config_of, files, fill, load, rule, tensor, torch

from sparse4d_ros.boxes import from_anchors
from sparse4d_ros.engine.decode import rank
from sparse4d_ros.engine.identity import assign_ids
from sparse4d_ros.model import bank as bank_steps
from sparse4d_ros.model.aggregation import Features, project_points
from sparse4d_ros.model.bank import Bank
from sparse4d_ros.model.checkpoint import official_key
from sparse4d_ros.model.config import ModelConfig
from sparse4d_ros.model.detector import Sparse4D
from sparse4d_ros.model.head import Sparse4DHead

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def decoder_and_part(layer: int) -> tuple[int, str]:
    """Our decoder index and part name of an official layer index."""
    for decoder in range(16):
        for part in ("temporal_attention", "self_attention", "attention_norm", "deformable",
                     "feed_forward", "norm", "refinement"):
            if decoder == 0 and "attention" in part:
                continue
            if official_key(f"head.decoders.{decoder}.{part}.x").startswith(f"head.layers.{layer}."):
                return decoder, part
    raise AssertionError(f"no part is layer {layer}")


def head_part(meta: dict, layer: int):
    """One filled layer of the head, by its official index."""
    decoder, part = decoder_and_part(layer)
    head = Sparse4DHead(config_of(meta))
    return fill(getattr(head.decoders[decoder], part), f"head.decoders.{decoder}.{part}.", meta["salt"])


def layer_of(meta: dict) -> int:
    return int(meta["prefix"].split("layers.")[1].rstrip("."))


@pytest.mark.parametrize("path", files("u00*.npz"))
def test_every_official_name_has_our_counterpart_and_the_rule_gives_its_bytes(path):
    _, meta = load(path)
    model = Sparse4D(ModelConfig())
    shapes = {official_key(key): tuple(value.shape) for key, value in model.state_dict().items()}
    unread = "head.instance_bank.anchor_handler.fix_scale"
    assert set(meta["sha256_16"]) - {unread} == set(shapes)
    for name, (shape, digest) in meta["sha256_16"].items():
        if name != unread:
            assert shapes[name] == tuple(shape), name
        if int(np.prod(shape)) < 100_000:
            data = rule.tensor(name, shape, meta.get("salt", "")).tobytes()
            assert hashlib.sha256(data).hexdigest()[:16] == digest, name


@torch.no_grad()
@pytest.mark.parametrize("path", files("u01*.npz"))
def test_anchor_encoder(path):
    case, meta = load(path)
    encoder = fill(Sparse4DHead(config_of(meta)).anchor_encoder, "head.anchor_encoder.", meta["salt"])
    anchor = tensor(case["anchor"])
    assert_close(encoder(anchor), case["out"], "embedding")
    assert_close(encoder.pos_fc(anchor[..., :3]), case["pos"], "position")
    assert_close(encoder.yaw_fc(anchor[..., 6:8]), case["yaw"], "yaw")


@torch.no_grad()
@pytest.mark.parametrize("path", files("u02*.npz"))
def test_graph_attention(path):
    from sparse4d_ros.model.attention import History

    case, meta = load(path)
    head = fill(Sparse4DHead(config_of(meta)), "head.", meta["salt"])
    decoder, _ = decoder_and_part(meta["gnn_layer"])
    attention = head.decoders[decoder].self_attention
    temporal = head.decoders[decoder_and_part(meta["temp_gnn_layer"])[0]].temporal_attention
    x, pos = tensor(case["query"]), tensor(case["query_pos"])
    cached, cached_pos = tensor(case["temp"]), tensor(case["temp_pos"])
    query = torch.cat([x, pos], -1)
    assert_close(head.fc_after(attention(query, query, head.fc_before(x))), case["gnn"], "self attention")
    for has_history, name in ((True, "temp_out"), (False, "temp_none")):
        flags = torch.full((x.shape[0],), has_history)
        history = History(flags, x.shape[1], cached.shape[1], None)
        key = history.select(torch.cat([cached, cached_pos], -1), query)
        value = history.select(head.fc_before(cached), query)
        assert_close(head.fc_after(temporal(query, key, value, history.allowed)), case[name], name)


@torch.no_grad()
@pytest.mark.parametrize("path", files("u03*.npz"))
def test_key_points(path):
    case, meta = load(path)
    part = head_part(meta, layer_of({**meta, "prefix": meta["prefix"].replace("kps_generator.", "")})).kps_generator
    assert_close(part.fix_scale, case["fix_scale"], "fix_scale")
    assert_close(part(tensor(case["anchor"]), tensor(case["feature"])), case["out"], "key points")


@torch.no_grad()
@pytest.mark.parametrize("reading", ["visible", "grid"])
@pytest.mark.parametrize("path", files("u04*.npz"))
def test_deformable_aggregation(path, reading):
    case, meta = load(path)
    part = head_part(meta, layer_of(meta))
    part.border = "zeros"
    anchor, feature, embedding = (tensor(case[k]) for k in ("anchor", "feature", "anchor_embed"))
    projection, image_wh = tensor(case["projection_mat"]), tensor(case["image_wh"])
    maps = Features.of([tensor(case[f"feat_l{level}"]) for level in range(part.shape[0])], reading)
    points = part.kps_generator(anchor, feature)
    assert_close(points, case["key_points"], "key points")
    weights = part.weigh(feature, embedding, projection, None)
    assert_close(weights, case["weights"], "weights")
    near = np.abs(case["points_2d"]) < 10
    projected = project_points(points, projection, image_wh).numpy()
    assert np.abs(projected - case["points_2d"])[near].max() < 1e-4
    assert_close(part.read(maps, project_points(points, projection, image_wh), weights), case["fused"], "fused")
    arguments = (feature, anchor, embedding, maps, projection, image_wh)
    assert_close(part(*arguments), case["out"], "out")
    part.border = "drop"
    assert_close(part(*arguments), case["out_cuda"], "out with the CUDA rule")


@torch.no_grad()
@pytest.mark.parametrize("path", files("u05*.npz"))
def test_feed_forward(path):
    case, meta = load(path)
    out = head_part(meta, meta["ffn_layer"])(tensor(case["x"]))
    assert_close(out, case["ffn"], "feed-forward")
    assert_close(head_part(meta, meta["norm_layer"])(out), case["ffn_then_norm"], "norm")


@torch.no_grad()
@pytest.mark.parametrize("path", files("u06*.npz"))
def test_refinement(path):
    case, meta = load(path)
    part = head_part(meta, layer_of(meta))
    for name in ("a", "b"):
        box, classes, quality = part(
            tensor(case["feature"]), tensor(case["anchor"]), tensor(case["anchor_embed"]),
            tensor(case[f"dt_{name}"]), True)
        assert_close(box, case[f"box_{name}"], f"box {name}")
        assert_close(classes, case[f"cls_{name}"], f"classes {name}")
        assert_close(quality, case[f"quality_{name}"], f"quality {name}")


@pytest.mark.parametrize("path", files("u07*.npz"))
def test_anchor_projection(path):
    case, _ = load(path)
    for name in ("a", "b"):
        projected = bank_steps.project_anchors(
            tensor(case["anchor"]), tensor(case["T_temp2cur"]), tensor(case[f"dt_{name}"]), swap_yaw=True)
        assert_close(projected, case[f"out_{name}"], f"projection {name}")
        straight = bank_steps.project_anchors(
            tensor(case["anchor"]), tensor(case["T_temp2cur"]), tensor(case[f"dt_{name}"]), swap_yaw=False)
        assert_close(straight[..., [7, 6]], case[f"out_{name}"][..., [6, 7]], "without the swap")


@pytest.mark.parametrize("path", files("u08*.npz"))
def test_instance_bank(path):
    case, meta = load(path)
    count, kept, dims = meta["num_anchor"], meta["num_temp"], meta["embed_dims"]
    config = ModelConfig(num_anchors=count, num_temporal=kept, embed_dims=dims, num_groups=1,
                         confidence_decay=meta["decay"])
    batch = case["s0/timestamp"].shape[0]
    bank, ids, next_id, previous = Bank.empty(config, batch), [None] * batch, 0, None
    for step, reset in enumerate(meta["reset"]):
        s = {key.split("/", 1)[1]: value for key, value in case.items() if key.startswith(f"s{step}/")}
        if reset:
            bank, ids, next_id, previous = Bank.empty(config, batch), [None] * batch, 0, None
        dt, motion = torch.zeros(batch), torch.eye(4).repeat(batch, 1, 1)
        if previous is not None:
            dt = tensor((s["timestamp"] - previous[0]).astype(np.float32))
            motion = tensor((np.linalg.inv(s["T_global"]) @ previous[1]).astype(np.float32))
        recent, interval = bank_steps.intervals(dt, bank.has_history, config)
        assert_close(interval, s["get_time_interval"], f"step {step} interval")
        cached = bank_steps.project_anchors(bank.anchor, motion, dt, True)
        if previous is not None:
            assert_close(recent.float(), s["mask"].astype(np.float32), f"step {step} mask")
            assert_close(cached, s["get_cached_anchor"], f"step {step} projected")
        features, anchors = bank_steps.merge_history(
            *(tensor(s[f"upd_in_{k}"]) for k in ("feature", "anchor", "cls")), bank.feature, cached, recent)
        assert_close(features, s["upd_feature"], f"step {step} merged features")
        assert_close(anchors, s["upd_anchor"], f"step {step} merged anchors")
        classes = tensor(s["cache_in_cls"])
        bank, rows, confidence = bank_steps.store(
            tensor(s["cache_in_feature"]), tensor(s["cache_in_anchor"]), classes, bank, config.confidence_decay)
        assert_close(confidence, s["temp_confidence"], f"step {step} row confidence")
        assert_close(bank.confidence, s["confidence"], f"step {step} confidence")
        assert_close(bank.feature, s["cached_feature"], f"step {step} features")
        assert_close(bank.anchor, s["cached_anchor"], f"step {step} anchors")
        threshold = meta["id_threshold"][step]
        own = classes.amax(-1).sigmoid().numpy()
        for b in range(batch):
            eligible = None if threshold is None else own[b] >= threshold
            frame_ids, next_id = assign_ids(ids[b] if recent[b] else None, count, next_id, eligible)
            assert (frame_ids == s["instance_id"][b]).all(), f"step {step} sample {b} ids"
            ids[b] = frame_ids[rows[b].numpy()]
            assert (ids[b] == s["bank_instance_id"][b, :kept]).all(), f"step {step} sample {b} bank ids"
        assert next_id == int(s["prev_id"])
        previous = (s["timestamp"], s["T_global"])


@pytest.mark.parametrize("path", files("u09*.npz"))
def test_decoder(path):
    case, _ = load(path)
    for letter, threshold, multi_label, with_quality in (
            ("a", None, False, True), ("b", 0.55, False, True), ("c", None, True, True), ("d", None, True, False)):
        num_output = case[f"{'a' if letter == 'b' else letter}/b0/scores_3d"].shape[0]
        for b in range(case["cls"].shape[0]):
            expected = {k.rsplit("/", 1)[1]: v for k, v in case.items() if k.startswith(f"{letter}/b{b}/")}
            decoded = rank(case["cls"][b], case["quality"][b] if with_quality else None, num_output,
                           class_threshold=threshold, multi_label=multi_label)
            assert_close(decoded.scores, expected["scores_3d"], f"{letter} scores")
            assert (decoded.class_ids == expected["labels_3d"]).all()
            assert_close(from_anchors(case["box"][b])[decoded.rows], expected["boxes_3d"], f"{letter} boxes")
            if "cls_scores" in expected:
                # The reference leaves class scores in another order than its boxes; the values are the same.
                assert_close(np.sort(decoded.class_scores)[::-1], np.sort(expected["cls_scores"])[::-1], letter)
            if "instance_ids" in expected:
                assert (case["instance_id"][b][decoded.rows] == expected["instance_ids"]).all()


@torch.no_grad()
@pytest.mark.parametrize("path", files("u10*.npz"))
def test_backbone_neck_and_depth(path):
    case, meta = load(path)
    model = fill(Sparse4D(config_of(meta)), "", meta["salt"])
    images = tensor(case["img"])
    stages = model.backbone(images)
    for stage, out in enumerate(stages):
        assert_close(out[:, ::meta["channel_stride"]["c"]], case[f"c{stage + 2}"], f"stage {stage + 1}")
    maps = model.neck(stages)
    for level, out in enumerate(maps):
        assert_close(out[:, ::meta["channel_stride"]["p"]], case[f"p{level}"], f"level {level}")
    cameras = case["focal"].shape[1]
    batched = [x.unflatten(0, (-1, cameras)) for x in maps]
    for level, out in enumerate(model.depth_branch(batched, tensor(case["focal"]))):
        assert_close(out.flatten(0, 1)[:, None], case[f"depth{level}"], f"depth {level}")
