"""Whole sequences against the official code: boxes, scores and ids over gaps, resets and a moving ego."""

from __future__ import annotations

import numpy as np
import pytest
from parity_cases import build, compare, files, load, rule, tensor, torch

from sparse4d_ros.boxes import from_anchors
from sparse4d_ros.engine.decode import rank
from sparse4d_ros.engine.identity import assign_ids
from sparse4d_ros.model.bank import Bank

NUM_OUTPUT = 300


def frame_maps(model, meta: dict, case: dict, t: int) -> list[torch.Tensor]:
    """Feature maps of a frame: by rule, or from rule-made images through backbone and neck."""
    batch, cameras = case["t0/lidar2img"].shape[:2]
    tag = f"{meta['feature_tag']}/t{t}"
    if meta.get("image_hw"):
        images = rule.features(f"{tag}/img", (batch, cameras, 3, *meta["image_hw"]))
        return model.extract(tensor(images))
    return [
        tensor(rule.features(f"{tag}/l{level}", (batch, cameras, model.config.embed_dims, *size)))
        for level, size in enumerate(meta["level_sizes"])
    ]


@torch.no_grad()
def run(path, reading: str) -> tuple[dict, dict]:
    """Our outputs for a sequence, under the case's own keys."""
    case, meta = load(path)
    model = build(meta, reading)
    batch, cameras = case["t0/lidar2img"].shape[:2]
    count = model.config.num_anchors
    image_wh = torch.tensor(meta["image_wh"], dtype=torch.float32).expand(batch, cameras, 2)
    out = {}
    bank, ids, next_id, previous = None, None, 0, None
    for t in range(meta["frames"]):
        stamp, pose = case[f"t{t}/timestamp"], case[f"t{t}/T_global"]
        if bank is None or case[f"t{t}/reset"]:
            # The counter goes on over resets: ids are never given twice.
            bank, ids, previous = Bank.empty(model.config, batch), [None] * batch, None
        dt, motion = torch.zeros(batch), torch.eye(4).repeat(batch, 1, 1)
        if previous is not None:
            dt = tensor((stamp - previous[0]).astype(np.float32))
            motion = tensor((np.linalg.inv(pose) @ previous[1]).astype(np.float32))
        projection = tensor(case[f"t{t}/lidar2img"].astype(np.float32))
        result = model.head(frame_maps(model, meta, case, t), projection, image_wh, None, bank, dt, motion)
        bank, previous = result.bank, (stamp, pose)
        out[f"t{t}/confidence"] = bank.confidence.numpy()
        for d in range(len(result.anchors)):
            out[f"t{t}/pred{d}"] = result.anchors[d].numpy()
        for b in range(batch):
            frame_ids, next_id = assign_ids(ids[b] if result.recent[b] else None, count, next_id)
            ids[b] = frame_ids[result.kept_rows[b].numpy()]
            decoded = rank(result.classes[-1][b].numpy(), result.quality[-1][b].numpy(), NUM_OUTPUT)
            key = f"t{t}/det/b{b}/"
            out[key + "boxes_3d"] = from_anchors(result.anchors[-1][b].numpy())[decoded.rows]
            out[key + "scores_3d"] = decoded.scores
            out[key + "labels_3d"] = decoded.class_ids
            out[key + "instance_ids"] = frame_ids[decoded.rows]
    return out, meta


def check(path, out: dict, monkeypatch, tmp_path) -> None:
    """The comparison that came with the cases, at the tolerances this project promises."""
    monkeypatch.setattr(compare, "TOL", dict(med=1e-5, p99=3e-4, max=1e-2, score=1e-3, unmatched=0.01, id_bad=0.0))
    np.savez(tmp_path / "candidate.npz", **out)
    assert compare.main(path, tmp_path / "candidate.npz") == 0


@pytest.mark.parametrize("path", files("f*.npz"))
def test_sequence_reading_visible_points(path, monkeypatch, tmp_path):
    out, _ = run(path, "visible")
    check(path, out, monkeypatch, tmp_path)


@pytest.mark.parametrize("path", files("f0[14]*.npz"))
def test_sequence_reading_by_grid(path, monkeypatch, tmp_path):
    out, _ = run(path, "grid")
    check(path, out, monkeypatch, tmp_path)


def test_the_comparison_sees_a_common_mistake(monkeypatch, tmp_path):
    """A test that cannot fail proves nothing: the corrected yaw order must be told from the official one."""
    import dataclasses

    import parity_cases

    path = parity_cases.SHIPPED / "f01_head_small.npz"
    original = parity_cases.config_of
    monkeypatch.setattr(
        parity_cases, "config_of", lambda meta: dataclasses.replace(original(meta), swap_yaw_on_projection=False))
    out, _ = run(path, "visible")
    with pytest.raises(AssertionError):
        check(path, out, monkeypatch, tmp_path)
