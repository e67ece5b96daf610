"""Steps of a tiny network: learning, phases, gradients."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import training_drives  # noqa: E402
from training_cases import TINY, one_thread, trainer_of  # noqa: E402, F401

from sparse4d_ros.errors import UserError  # noqa: E402
from sparse4d_ros.model.config import ModelConfig  # noqa: E402
from sparse4d_ros.model.detector import Sparse4D  # noqa: E402
from sparse4d_ros.training.step import initialise  # noqa: E402


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return training_drives.write(tmp_path_factory.mktemp("drives"), drives=2, count=12, size=(176, 64))


def test_losses_fall_and_boxes_come_near_on_one_clip(tmp_path):
    folder = training_drives.write(tmp_path, drives=1, count=3, size=(176, 64), objects=6)
    content = {"model": TINY["model"] | {"dropout": 0.0, "sampling_dropout": 0.0},
               "training": TINY["training"] | {"denoising": {"groups": 0}}}
    content["training"]["augmentation"] = {
        "flip_probability": 0.0, "rotation_rad": 0.0, "resize": [1.0, 1.0], "shift_fraction": 0.0,
        "brightness": 0.0, "contrast": 0.0, "colour": 0.0}
    content["training"]["optimizer"] = {"learning_rate": 5e-3, "warmup_steps": 10}
    content["model"]["num_anchors"] = 16
    trainer = trainer_of(folder, content)
    values = [trainer.train_step(next(trainer.feed), 0.0) for _ in range(90)]
    early = np.mean([v["total"] for v in values[10:20]])
    late = np.mean([v["total"] for v in values[-10:]])
    assert late < 0.6 * early
    assert np.mean([v["class"] for v in values[-10:]]) < 0.5 * np.mean([v["class"] for v in values[:5]])


def test_a_gradient_that_is_not_finite_changes_nothing(folder):
    trainer = trainer_of(folder)
    trainer.train_step(next(trainer.feed), 0.0)
    before = {key: value.clone() for key, value in trainer.network.named_parameters()}
    batch = next(trainer.feed)
    trainer.train_step(batch._replace(gain=torch.full_like(batch.gain, float("nan"))), 0.0)
    assert all(torch.equal(before[key], value) for key, value in trainer.network.named_parameters())
    assert not trainer.memories[0].bank.has_history.any() and trainer.skipped == 1
    trainer.skipped = 19
    with pytest.raises(UserError, match="diverged"):
        trainer.train_step(batch._replace(gain=torch.full_like(batch.gain, float("nan"))), 0.0)


def test_first_steps_may_train_the_image_branch_alone(folder):
    content = {**TINY, "training": {**TINY["training"], "image_steps": 2}}
    trainer = trainer_of(folder, content)
    model = trainer.network.model
    before = {key: value.clone() for key, value in model.named_parameters()}
    values = [trainer.train_step(next(trainer.feed), 0.0) for _ in range(2)]
    assert all("semantics" in v and "class" not in v for v in values)
    moved = {key for key, value in model.named_parameters() if not torch.equal(before[key], value)}
    assert any(key.startswith("backbone") for key in moved) and not any(key.startswith("head") for key in moved)
    assert not trainer.memories[0].bank.has_history.any()
    assert "class" in trainer.train_step(next(trainer.feed), 0.0)
    assert trainer.memories[0].bank.has_history.all()


def test_warm_up_trains_two_decoders_and_starts_the_others_from_the_second(folder):
    content = {"model": TINY["model"] | {"num_decoders": 3, "dropout": 0.0, "sampling_dropout": 0.0},
               "training": {**TINY["training"], "image_steps": 1, "decoder_steps": 2}}
    trainer = trainer_of(folder, content)
    head = trainer.network.model.head
    trainer.train_step(next(trainer.feed), 0.0)
    before = {key: value.clone() for key, value in head.named_parameters()}
    values = [trainer.train_step(next(trainer.feed), 0.0) for _ in range(2)]
    assert all("box" in v and "denoising_box" not in v for v in values)
    moved = {key for key, value in head.named_parameters() if not torch.equal(before[key], value)}
    assert {"decoders.0.refinement.layers.0.weight", "decoders.1.refinement.layers.0.weight"} <= moved
    assert not any("attention" in key or key.startswith("decoders.2") for key in moved)
    trainer._phase()  # the next step is the first of the whole network
    second, third = (head.decoders[i].refinement.state_dict() for i in (1, 2))
    assert all(torch.equal(second[key], third[key]) for key in second)
    assert "denoising_box" in trainer.train_step(next(trainer.feed), 0.0)


@pytest.mark.parametrize("share", [0.0, 0.25])
def test_decoder_gradient_is_a_share_of_the_whole(folder, share):
    gradients = []
    for factor in (1.0, share):
        losses = {"semantics": 0.0, "depth": 0.0, "decoder_gradient": factor}
        content = {"model": TINY["model"] | {"dropout": 0.0, "sampling_dropout": 0.0},
                   "training": {**TINY["training"], "losses": losses}}
        trainer = trainer_of(folder, content)
        values, _ = trainer.network(next(trainer.feed), trainer.memories[0], trainer.random)
        sum(values.values()).backward()
        model = trainer.network.model
        gradients.append((model.neck.fpn_convs[0].weight.grad, model.head.fc_after.weight.grad))
    assert gradients[0][0].abs().max() > 0
    assert torch.allclose(gradients[1][0], share * gradients[0][0], rtol=1e-3, atol=1e-6)
    assert torch.allclose(gradients[1][1], gradients[0][1], rtol=1e-3, atol=1e-6)


def test_gradient_checkpointing_changes_no_gradient(folder):
    gradients = []
    for recompute in (False, True):
        content = {"model": TINY["model"] | {"dropout": 0.0, "sampling_dropout": 0.0},
                   "training": {**TINY["training"], "gradient_checkpointing": recompute}}
        trainer = trainer_of(folder, content)
        passes = []
        trainer.network.model.backbone.register_forward_hook(lambda *_, passes=passes: passes.append(1))
        values, _ = trainer.network(next(trainer.feed), trainer.memories[0], trainer.random)
        sum(values.values()).backward()
        assert len(passes) == 1 + recompute
        gradients.append([p.grad for p in trainer.network.parameters() if p.grad is not None])
    assert len(gradients[0]) == len(gradients[1])
    assert all(torch.allclose(one, other, rtol=1e-4, atol=1e-6) for one, other in zip(*gradients, strict=True))


def test_position_embedding_sees_distances_from_the_start():
    model = Sparse4D(ModelConfig.from_dict(TINY["model"] | {"embed_dims": 64}))
    initialise(model)
    radius, azimuth = torch.rand(200) * 30 + 10, torch.rand(200) * 6.28

    def embed(radius, azimuth):
        points = torch.stack([radius * azimuth.cos(), radius * azimuth.sin(), torch.ones(200)], dim=-1)
        return model.head.anchor_encoder.pos_fc(points)

    here = embed(radius, azimuth)
    outward = (embed(radius + 2, azimuth) - here).norm(dim=1).mean()
    sideways = (embed(radius, azimuth + 2 / radius) - here).norm(dim=1).mean()
    assert outward > 0.3 * sideways  # two metres are two metres; with Xavier's weights it is a tenth
