"""Training on a GPU: the CPU's losses and gradients, a run that is resumed, the command."""

from __future__ import annotations

import cuda_cases
import pytest
import torch
import training_drives
import yaml
from cuda_cases import DEVICE
from training_cases import TINY, one_thread  # noqa: F401

from sparse4d_ros import cli
from sparse4d_ros.boxes import NUSCENES_CLASSES
from sparse4d_ros.training import checkpoint
from sparse4d_ros.training.config import config_from_dict
from sparse4d_ros.training.drive_folder import DriveFolder
from sparse4d_ros.training.parallel import Group
from sparse4d_ros.training.trainer import Trainer

pytestmark = cuda_cases.gpu


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return training_drives.write(tmp_path_factory.mktemp("drives"), drives=2, count=12, size=(176, 64))


def trainer_on(device: str, folder, dropout: float = 0.0, **training) -> Trainer:
    content = {"model": TINY["model"] | {"dropout": dropout, "sampling_dropout": dropout},
               "training": TINY["training"] | training}
    return Trainer(config_from_dict(content, "tiny"), DriveFolder(folder, NUSCENES_CLASSES),
                   Group(torch.device(device)))


def step(device: str, folder, **training):
    """Losses of the first frame of all parts, and the gradient as one vector."""
    trainer = trainer_on(device, folder, **training)
    losses, memory = trainer.network(next(trainer.feed), trainer.memories[0], trainer.random)
    sum(losses.values()).backward()
    assert memory.bank.feature.device.type == device
    gradients = [p.grad.flatten().cpu() for p in trainer.network.parameters() if p.grad is not None]
    assert all(torch.isfinite(x).all() for x in gradients)
    return {name: float(value.detach()) for name, value in losses.items()}, torch.cat(gradients)


@pytest.mark.parametrize(("training", "bound"), [
    ({}, 0.02), ({"bfloat16": True}, 0.1), ({"bfloat16": True, "gradient_checkpointing": True}, 0.1)],
    ids=["float32", "bfloat16", "checkpointing"])
def test_losses_and_gradients_are_near_the_cpus(folder, training, bound):
    (wanted, gradient), (found, other) = (step(device, folder, **training) for device in ("cpu", DEVICE))
    assert found.keys() == wanted.keys() and len(found) >= 5
    for name, value in wanted.items():
        assert found[name] == pytest.approx(value, rel=bound), name
    assert float((other - gradient).norm() / gradient.norm()) < bound


def test_a_run_goes_on_from_its_checkpoint(folder, tmp_path):
    """The third step after a resume is that of the unbroken run, and the memory is on the device again."""
    unbroken = trainer_on(DEVICE, folder, dropout=0.5, bfloat16=True)
    for _ in range(2):
        unbroken.train_step(next(unbroken.feed), 0.0)
    checkpoint.save(tmp_path / "x.pt", unbroken.state_dict())
    expected = unbroken.train_step(next(unbroken.feed), 0.0)
    resumed = trainer_on(DEVICE, folder, dropout=0.5, bfloat16=True)
    resumed.load_state_dict(checkpoint.load(tmp_path / "x.pt"))
    assert resumed.memories[0].bank.has_history.all() and resumed.memories[0].owned.device.type == DEVICE
    found = resumed.train_step(next(resumed.feed), 0.0)
    assert found["total"] == pytest.approx(expected["total"], rel=1e-2)


def test_the_command_trains_and_validates(folder, tmp_path):
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump({**TINY, "training": TINY["training"] | {"bfloat16": True}}))
    words = ["--drives", str(folder), "--validation", str(folder), "--output", str(tmp_path / "run")]
    assert cli.main(["train", "--config", str(tmp_path / "tiny.yaml"), *words, "--device", DEVICE]) == 0
    content = checkpoint.load(tmp_path / "run" / checkpoint.WEIGHTS)
    assert content["step"] == 8 and all(torch.isfinite(x).all() for x in content["state_dict"].values())
