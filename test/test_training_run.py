"""Whole runs of a tiny network: configuration, schedule, resume, two processes, learning."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

torch = pytest.importorskip("torch")

import training_drives  # noqa: E402

from sparse4d_ros import cli  # noqa: E402
from sparse4d_ros.boxes import NUSCENES_CLASSES  # noqa: E402
from sparse4d_ros.errors import UserError  # noqa: E402
from sparse4d_ros.model.config import ModelConfig  # noqa: E402
from sparse4d_ros.model.detector import Sparse4D  # noqa: E402
from sparse4d_ros.training import checkpoint  # noqa: E402
from sparse4d_ros.training.config import OptimizerConfig, config_from_dict, read_yaml  # noqa: E402
from sparse4d_ros.training.curves import Table  # noqa: E402
from sparse4d_ros.training.parallel import Group  # noqa: E402
from sparse4d_ros.training.schedule import averaged, progress, rate_factor  # noqa: E402
from sparse4d_ros.training.step import initialise  # noqa: E402
from sparse4d_ros.training.streams import DriveFolder  # noqa: E402
from sparse4d_ros.training.trainer import Trainer  # noqa: E402
from sparse4d_ros.training.validation import average_precision, summarise  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
TINY = {
    "model": {
        "num_anchors": 24, "num_temporal": 16, "embed_dims": 16, "num_groups": 2, "num_decoders": 2,
        "num_learnable_points": 1, "strides": [4, 8], "swap_yaw_on_projection": False, "dropout": 0.1,
        "backbone": {"depth": 0, "stem_width": 8, "widths": [8, 16], "blocks": [1, 1]},
    },
    "training": {
        "input_width": 176, "input_height": 64, "steps": 8, "log_steps": 2, "validation_frames": 4,
        "streams": {"batch_size": 2, "intervals_s": [0.1, 0.2], "clip_frames": 4},
        "losses": {"semantics": 1.0}, "denoising": {"groups": 2, "max_objects": 6},
        "optimizer": {"learning_rate": 2e-3, "warmup_steps": 2},
    },
}
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return training_drives.write(tmp_path_factory.mktemp("drives"), drives=2, count=12, size=(176, 64))


@pytest.fixture
def config_file(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(TINY))
    return path


@pytest.fixture(autouse=True)
def one_thread():
    """More threads only wait for each other here, and sums would depend on their number."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def trainer_of(folder):
    return Trainer(config_from_dict(TINY, "tiny"), DriveFolder(folder, NUSCENES_CLASSES), CPU, Group(CPU))


def same(first, second):
    return all(torch.equal(first[key], second[key]) for key in first) and first.keys() == second.keys()


def test_a_run_writes_usable_weights_and_tables(folder, config_file, tmp_path):
    output = tmp_path / "run"
    assert cli.main(["train", "--config", str(config_file), "--drives", str(folder), "--validation", str(folder),
                     "--output", str(output), "--device", "cpu"]) == 0
    content = checkpoint.load(output / checkpoint.WEIGHTS)
    model = Sparse4D(ModelConfig.from_dict(content["model"]))
    model.load_state_dict(content["state_dict"])
    assert content["classes"] == list(NUSCENES_CLASSES) and content["step"] == 8
    with open(output / "losses.csv") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [2, 4, 6, 8]
    assert all(np.isfinite(float(value)) for row in rows for value in row.values())
    with open(output / "validation.csv") as file:
        assert [int(row["step"]) for row in csv.DictReader(file)] == [8]


def test_resumed_weights_equal_those_of_an_unbroken_run(folder, tmp_path):
    whole = trainer_of(folder)
    for step in range(8):
        whole.train_step(next(whole.streams), step / 8)
    first = trainer_of(folder)
    for step in range(5):
        first.train_step(next(first.streams), step / 8)
    checkpoint.save(tmp_path / "c.pt", first.state_dict())
    torch.manual_seed(1234)  # another process would have another random state
    second = trainer_of(folder)
    second.load_state_dict(checkpoint.load(tmp_path / "c.pt"))
    for step in range(5, 8):
        second.train_step(next(second.streams), step / 8)
    assert same(whole.network.state_dict(), second.network.state_dict())
    assert same(whole.average.state_dict(), second.average.state_dict())


def test_resume_with_a_configuration_begins_a_run_or_goes_on_with_it(folder, config_file, tmp_path, capsys):
    words = ["train", "--config", str(config_file), "--drives", str(folder), "--device", "cpu", "--resume", "--output",
             str(tmp_path / "run")]
    assert cli.main(words) == 0
    first = checkpoint.load(tmp_path / "run" / checkpoint.WEIGHTS)
    assert cli.main(words) == 0  # it is at its end, so nothing changes
    again = checkpoint.load(tmp_path / "run" / checkpoint.WEIGHTS)
    assert first["step"] == again["step"] == 8 and same(first["state_dict"], again["state_dict"])
    config_file.write_text(yaml.safe_dump(TINY | {"training": TINY["training"] | {"seed": 1}}))
    assert cli.main(words) == 2
    assert "is of a run with another configuration than" in capsys.readouterr().err


def test_drives_of_several_folders_train_together(folder, tmp_path):
    other = training_drives.write(tmp_path, drives=1, count=3, size=(176, 64))
    with pytest.raises(UserError, match="drive_000 have one name"):
        DriveFolder([folder, other], NUSCENES_CLASSES)
    (other / "drive_000").rename(other / "drive_007")
    drives = DriveFolder([folder, other], NUSCENES_CLASSES)
    assert drives.names() == ["drive_000", "drive_001", "drive_007"] and len(drives["drive_007"]) == 3
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty has no drives"):
        DriveFolder([folder, tmp_path / "empty"], NUSCENES_CLASSES)


def test_a_run_can_begin_from_a_package(folder, config_file, tmp_path):
    common = ["--config", str(config_file), "--drives", str(folder), "--device", "cpu", "--output"]
    assert cli.main(["train", *common, str(tmp_path / "first")]) == 0
    assert cli.main(["pack", str(tmp_path / "first"), str(tmp_path / "package")]) == 0
    trained = checkpoint.load(tmp_path / "first" / checkpoint.WEIGHTS)["state_dict"]
    trainer = trainer_of(folder)
    assert not same(trainer.network.model.state_dict(), trained)
    trainer.begin_from(trained)
    assert same(trainer.network.model.state_dict(), trained)
    assert same(trainer.average.module.state_dict(), trained)
    second = ["train", *common, str(tmp_path / "second"), "--begin-from", str(tmp_path / "package")]
    assert cli.main(second) == 0


def test_weights_to_begin_with_must_fit(folder):
    trainer = trainer_of(folder)
    weights = trainer.network.model.state_dict()
    with pytest.raises(UserError, match=r"head\.anchor is \[12, 11\], the configuration needs \[24, 11\]"):
        trainer.begin_from(weights | {"head.anchor": torch.zeros(12, 11)})
    with pytest.raises(UserError, match=r"head\.anchor is missing"):
        trainer.begin_from({key: value for key, value in weights.items() if key != "head.anchor"})


def test_a_terminated_run_goes_on_from_its_checkpoint(folder, tmp_path):
    content = {**TINY, "training": {**TINY["training"], "steps": 100000, "log_steps": 1}}
    (tmp_path / "long.yaml").write_text(yaml.safe_dump(content))
    output = tmp_path / "run"
    command = [sys.executable, "-m", "sparse4d_ros.cli", "train", "--drives", str(folder), "--output", str(output),
               "--device", "cpu"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen([*command, "--config", str(tmp_path / "long.yaml")], cwd=ROOT, env=environment,
                          stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and process.poll() is None:
            if (output / "losses.csv").is_file() and (output / "losses.csv").read_text().count("\n") > 3:
                break
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 130
    state = checkpoint.load(output / checkpoint.CHECKPOINT)
    assert state["step"] >= 3
    state["config"]["training"]["steps"] = state["step"] + 2
    checkpoint.save(output / checkpoint.CHECKPOINT, state)
    subprocess.run([*command, "--resume"], cwd=ROOT, env=environment, check=True, timeout=120, capture_output=True)
    assert checkpoint.load(output / checkpoint.CHECKPOINT)["step"] == state["step"] + 2
    with open(output / "losses.csv") as file:
        assert [int(row["step"]) for row in csv.DictReader(file)] == list(range(1, state["step"] + 3))


def test_two_processes_share_one_set_of_weights(folder, config_file, tmp_path):
    output = tmp_path / "run"
    subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
         "-m", "sparse4d_ros.cli", "train", "--config", str(config_file), "--drives", str(folder),
         "--output", str(output), "--device", "cpu"],
        cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True, timeout=300, capture_output=True)
    state = checkpoint.load(output / checkpoint.CHECKPOINT)
    assert state["step"] == 8 and len(state["processes"]) == 2
    banks = [process["memory"].bank.feature for process in state["processes"]]
    assert banks[0].shape[0] == 1 and not torch.equal(banks[0], banks[1])  # each had its own row of the batch
    with pytest.raises(UserError, match="2 processes"):
        trainer_of(folder).load_state_dict(state)


def test_losses_fall_and_boxes_come_near_on_one_clip(tmp_path):
    folder = training_drives.write(tmp_path, drives=1, count=3, size=(176, 64), objects=6)
    content = {"model": TINY["model"] | {"dropout": 0.0, "sampling_dropout": 0.0},
               "training": TINY["training"] | {"denoising": {"groups": 0}}}
    content["training"]["augmentation"] = {
        "flip_probability": 0.0, "rotation_rad": 0.0, "resize": [1.0, 1.0], "shift_fraction": 0.0,
        "brightness": 0.0, "contrast": 0.0, "colour": 0.0}
    content["training"]["optimizer"] = {"learning_rate": 5e-3, "warmup_steps": 10}
    content["model"]["num_anchors"] = 16
    trainer = Trainer(config_from_dict(content, "c"), DriveFolder(folder, NUSCENES_CLASSES), CPU, Group(CPU))
    values = [trainer.train_step(next(trainer.streams), 0.0) for _ in range(90)]
    early = np.mean([v["total"] for v in values[10:20]])
    late = np.mean([v["total"] for v in values[-10:]])
    assert late < 0.6 * early
    assert np.mean([v["class"] for v in values[-10:]]) < 0.5 * np.mean([v["class"] for v in values[:5]])


def test_a_gradient_that_is_not_finite_changes_nothing(folder):
    trainer = trainer_of(folder)
    trainer.train_step(next(trainer.streams), 0.0)
    before = {key: value.clone() for key, value in trainer.network.named_parameters()}
    batch = next(trainer.streams)
    trainer.train_step(batch._replace(images=torch.full_like(batch.images, float("nan"))), 0.0)
    assert all(torch.equal(before[key], value) for key, value in trainer.network.named_parameters())
    assert not trainer.memory.bank.has_history.any() and trainer.skipped == 1
    trainer.skipped = 19
    with pytest.raises(UserError, match="diverged"):
        trainer.train_step(batch._replace(images=torch.full_like(batch.images, float("nan"))), 0.0)


def test_first_steps_may_train_the_image_branch_alone(folder):
    content = {**TINY, "training": {**TINY["training"], "image_steps": 2}}
    trainer = Trainer(config_from_dict(content, "c"), DriveFolder(folder, NUSCENES_CLASSES), CPU, Group(CPU))
    model = trainer.network.model
    before = {key: value.clone() for key, value in model.named_parameters()}
    values = [trainer.train_step(next(trainer.streams), 0.0) for _ in range(2)]
    assert all("semantics" in v and "class" not in v for v in values)
    moved = {key for key, value in model.named_parameters() if not torch.equal(before[key], value)}
    assert any(key.startswith("backbone") for key in moved) and not any(key.startswith("head") for key in moved)
    assert not trainer.memory.bank.has_history.any()
    assert "class" in trainer.train_step(next(trainer.streams), 0.0)
    assert trainer.memory.bank.has_history.all()


@pytest.mark.parametrize("share", [0.0, 0.25])
def test_decoder_gradient_is_a_share_of_the_whole(folder, share):
    gradients = []
    for factor in (1.0, share):
        losses = {"semantics": 0.0, "depth": 0.0, "decoder_gradient": factor}
        content = {"model": TINY["model"] | {"dropout": 0.0, "sampling_dropout": 0.0},
                   "training": {**TINY["training"], "losses": losses}}
        trainer = Trainer(config_from_dict(content, "c"), DriveFolder(folder, NUSCENES_CLASSES), CPU, Group(CPU))
        values, _ = trainer.network(next(trainer.streams), trainer.memory, trainer.random)
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
        trainer = Trainer(config_from_dict(content, "c"), DriveFolder(folder, NUSCENES_CLASSES), CPU, Group(CPU))
        passes = []
        trainer.network.model.backbone.register_forward_hook(lambda *_, passes=passes: passes.append(1))
        values, _ = trainer.network(next(trainer.streams), trainer.memory, trainer.random)
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


def test_schedule():
    config = OptimizerConfig(warmup_steps=100, warmup_start=0.25, final_factor=0.01)
    assert rate_factor(0, 0.0, config) == pytest.approx(0.25)
    assert rate_factor(50, 0.0, config) == pytest.approx(0.625)
    assert rate_factor(100, 0.5, config) == pytest.approx(0.505)
    assert rate_factor(1000, 1.0, config) == pytest.approx(0.01)
    assert progress(10, 100, 5.0, None) == 0.1
    assert progress(10, 100, 30.0, 60.0) == 0.5  # the time is what runs out
    assert progress(90, 100, 30.0, 60.0) == 0.9
    assert progress(10, 100, 90.0, 60.0) == 1.0


def test_average_follows_quickly_then_slowly():
    model = torch.nn.BatchNorm1d(1)
    average = averaged(model, 0.9)
    average.update_parameters(model)
    for value in (1.0, 2.0):
        model.weight.data.fill_(value)
        model.num_batches_tracked += 1
        average.update_parameters(model)
    # The first update copies weight 1; the second (count 1) mixes with decay 2/11, the third with 3/12.
    expected = 1.0 * 3 / 12 + 2.0 * 9 / 12
    assert average.module.weight.item() == pytest.approx(expected)
    assert average.module.num_batches_tracked == 2


def test_shipped_configurations_are_valid():
    files = sorted((ROOT / "config").glob("train_*.yaml"))
    assert files
    for path in files:
        config_from_dict(read_yaml(path), str(path))


@pytest.mark.parametrize("path, value, message", [
    (("training", "stepps"), 3, "'stepps'"),
    (("training", "streams", "batchsize"), 3, "'batchsize'"),
    (("training", "steps"), "many", "steps must be of type int"),
    (("training", "bfloat16"), 1, "bfloat16 must be of type bool"),
    (("training", "augmentation", "resize"), [1.0], "2 entries"),
    (("training", "denoising", "noise_scale"), 3, "must be a list"),
    (("training", "losses"), 3, "must be a mapping"),
    (("model", "num_anchor"), 3, "num_anchor"),
    (("modell",), {}, "exactly the sections"),
    (("training", "losses", "symmetric_classes"), ["fence"], "'fence'"),
    (("training", "losses", "dimension_weights"), [1.0, 2.0], "10 entries"),
    (("training", "streams", "intervals_s"), [], "at least one"),
    (("training", "streams", "batch_size"), 0, "batch_size"),
])
def test_wrong_configuration_is_named(path, value, message):
    content = yaml.safe_load(yaml.safe_dump(TINY))
    section = content
    for key in path[:-1]:
        section = section.setdefault(key, {})
    section[path[-1]] = value
    with pytest.raises(UserError, match=message):
        config_from_dict(content, "tiny.yaml")


@pytest.mark.parametrize("arguments, message", [
    (["--config", "missing.yaml"], "missing.yaml does not exist"),
    ([], "--config is missing"),
    (["--resume"], "no run to resume"),
])
def test_wrong_command_lines(folder, tmp_path, capsys, arguments, message):
    code = cli.main(["train", "--drives", str(folder), "--output", str(tmp_path / "run"), *arguments])
    assert code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_an_existing_run_is_not_overwritten(folder, config_file, tmp_path, capsys):
    checkpoint.save(tmp_path / checkpoint.CHECKPOINT, {})
    assert cli.main(["train", "--config", str(config_file), "--drives", str(folder), "--output", str(tmp_path)]) == 2
    assert "already holds a run" in capsys.readouterr().err


def test_a_file_that_is_no_checkpoint(tmp_path):
    (tmp_path / "c.pt").write_text("hello")
    with pytest.raises(UserError, match="not a checkpoint"):
        checkpoint.load(tmp_path / "c.pt")


def test_table_is_cut_back_to_the_checkpoint(tmp_path):
    table = Table(tmp_path / "t.csv", None)
    for step in (1, 2, 3):
        table.append({"step": step, "loss": step / 3})
    table = Table(tmp_path / "t.csv", resume_step=2)
    table.append({"step": 3, "loss": 9.0})
    with open(tmp_path / "t.csv") as file:
        assert [(r["step"], r["loss"]) for r in csv.DictReader(file)] == [
            ("1", "0.333333"), ("2", "0.666667"), ("3", "9")]


def test_average_precision_of_known_cases():
    assert average_precision(np.array([0.9, 0.8]), np.array([True, True]), 2) == 1.0
    assert average_precision(np.array([0.9, 0.8]), np.array([False, True]), 1) == 0.5
    assert average_precision(np.array([0.9, 0.8]), np.array([True, False]), 2) == 0.5


def test_summary_counts_each_object_once():
    centres, scores = np.array([[0.0, 0.5], [0.0, 1.0], [50.0, 0.0]]), np.array([[0.9], [0.8], [0.7]])
    result = summarise([(centres, scores, np.array([[0.0, 0.0]]), np.array([0]))], 1)
    assert result == {"ap2m": 1.0, "recall": 1.0, "centre_error_m": 0.5}


def test_warm_up_trains_two_decoders_and_starts_the_others_from_the_second(folder):
    content = {"model": TINY["model"] | {"num_decoders": 3, "dropout": 0.0, "sampling_dropout": 0.0},
               "training": {**TINY["training"], "image_steps": 1, "decoder_steps": 2}}
    trainer = Trainer(config_from_dict(content, "c"), DriveFolder(folder, NUSCENES_CLASSES), CPU, Group(CPU))
    head = trainer.network.model.head
    trainer.train_step(next(trainer.streams), 0.0)
    before = {key: value.clone() for key, value in head.named_parameters()}
    values = [trainer.train_step(next(trainer.streams), 0.0) for _ in range(2)]
    assert all("box" in v and "denoising_box" not in v for v in values)
    moved = {key for key, value in head.named_parameters() if not torch.equal(before[key], value)}
    assert {"decoders.0.refinement.layers.0.weight", "decoders.1.refinement.layers.0.weight"} <= moved
    assert not any("attention" in key or key.startswith("decoders.2") for key in moved)
    trainer._phase()  # the next step is the first of the whole network
    second, third = (head.decoders[i].refinement.state_dict() for i in (1, 2))
    assert all(torch.equal(second[key], third[key]) for key in second)
    assert "denoising_box" in trainer.train_step(next(trainer.streams), 0.0)
