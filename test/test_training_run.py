"""Whole runs of a tiny network: what they write, resume, two processes, wrong command lines."""

from __future__ import annotations

import csv
import os
import shutil
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
from training_cases import TINY, one_thread, trainer_of  # noqa: E402, F401

from sparse4d_ros import cli  # noqa: E402
from sparse4d_ros.boxes import NUSCENES_CLASSES  # noqa: E402
from sparse4d_ros.errors import UserError  # noqa: E402
from sparse4d_ros.model.config import ModelConfig  # noqa: E402
from sparse4d_ros.model.detector import Sparse4D  # noqa: E402
from sparse4d_ros.training import checkpoint  # noqa: E402
from sparse4d_ros.training.drive_folder import DriveFolder  # noqa: E402
from sparse4d_ros.training.parallel import Group  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return training_drives.write(tmp_path_factory.mktemp("drives"), drives=2, count=12, size=(176, 64))


@pytest.fixture
def config_file(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(TINY))
    return path


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
        whole.train_step(next(whole.feed), step / 8)
    first = trainer_of(folder)
    for step in range(5):
        first.train_step(next(first.feed), step / 8)
    checkpoint.save(tmp_path / "c.pt", first.state_dict())
    torch.manual_seed(1234)  # another process would have another random state
    second = trainer_of(folder)
    second.load_state_dict(checkpoint.load(tmp_path / "c.pt"))
    for step in range(5, 8):
        second.train_step(next(second.feed), step / 8)
    assert same(whole.network.state_dict(), second.network.state_dict())
    assert same(whole.average.state_dict(), second.average.state_dict())


def test_a_checkpoint_of_the_first_version_is_refused(folder):
    state = trainer_of(folder).state_dict()
    state["processes"][0]["streams"] = state["processes"][0].pop("feed")
    with pytest.raises(UserError, match="of version 0.1"):
        trainer_of(folder).load_state_dict(state)


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
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
         "-m", "sparse4d_ros.cli", "train", "--config", str(config_file), "--drives", str(folder),
         "--output", str(output), "--device", "cpu"],
        cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=900, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    state = checkpoint.load(output / checkpoint.CHECKPOINT)
    assert state["step"] == 8 and len(state["processes"]) == 2
    banks = [process["memories"][0].bank.feature for process in state["processes"]]
    assert banks[0].shape[0] == 1 and not torch.equal(banks[0], banks[1])  # each had its own row of the batch
    with pytest.raises(UserError, match="2 processes"):
        trainer_of(folder).load_state_dict(state)


def test_every_process_has_a_gpu_of_its_own(monkeypatch):
    for name, value in {"WORLD_SIZE": 2, "RANK": 1, "LOCAL_WORLD_SIZE": 2, "LOCAL_RANK": 1}.items():
        monkeypatch.setenv(name, str(value))
    chosen, backends = [], []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(torch.distributed, "init_process_group", backends.append)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UserError, match="2 processes need a GPU each, but this machine has 1: lower --nproc-per-node"):
        Group(torch.device("cuda"))
    assert backends == []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [Group(torch.device("cuda")).device] == chosen == [torch.device("cuda", 1)]
    assert backends == ["nccl"]


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


def test_batches_of_other_processes_go_on_where_they_were(folder, tmp_path):
    """Each worker has its own streams and memory; a resumed run gets the very batches that were to come."""
    streams = TINY["training"]["streams"] | {"workers": 2}
    content = TINY | {"training": TINY["training"] | {"streams": streams}}
    whole = trainer_of(folder, content)
    taken = [next(whole.feed) for _ in range(3)]
    assert [batch.stream for batch in taken] == [0, 1, 0]
    assert not torch.equal(taken[0].projection, taken[1].projection)
    assert taken[2].continues.any()  # one worker's batches follow each other
    for batch in taken:
        whole.train_step(batch, 0.0)
    assert all(memory.bank.has_history.all() for memory in whole.memories)
    checkpoint.save(tmp_path / "c.pt", whole.state_dict())
    expected = [next(whole.feed) for _ in range(3)]
    for batch in expected:
        whole.train_step(batch, 0.0)
    second = trainer_of(folder, content)
    second.load_state_dict(checkpoint.load(tmp_path / "c.pt"))
    for batch in expected:
        given = next(second.feed)
        assert given.stream == batch.stream and torch.equal(given.images, batch.images)
        assert torch.equal(given.projection, batch.projection)
        second.train_step(given, 0.0)
    assert same(whole.network.state_dict(), second.network.state_dict())


def test_what_is_wrong_with_a_drive_is_said_as_shortly_by_other_processes(folder, tmp_path):
    for path in folder.iterdir():
        (tmp_path / path.name).symlink_to(path)
    streams = TINY["training"]["streams"] | {"workers": 1}
    trainer = trainer_of(tmp_path, TINY | {"training": TINY["training"] | {"streams": streams}})
    bad = tmp_path / "drive_900"
    shutil.copytree(folder / "drive_000", bad)
    with np.load(bad / "frames.npz") as table:
        np.savez(bad / "frames.npz", **dict(table) | {"camera_names": table["camera_names"][::-1]})
    with pytest.raises(UserError, match=r"^\S+drive_900 has the cameras [^\n]*$"):
        for _ in range(30):
            next(trainer.feed)
