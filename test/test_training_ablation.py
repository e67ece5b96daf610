"""Ablations: what a variant is, that all are trained and scored alike, and that nothing is done twice."""

from __future__ import annotations

import copy
import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

torch = pytest.importorskip("torch")
pytest.importorskip("nuscenes", reason="variants are scored by nuscenes-devkit")

import training_drives  # noqa: E402
from training_cases import CPU, TINY, one_thread  # noqa: E402, F401

from sparse4d_ros import cli  # noqa: E402
from sparse4d_ros.boxes import NUSCENES_CLASSES  # noqa: E402
from sparse4d_ros.engine.package import ModelPackage  # noqa: E402
from sparse4d_ros.errors import UserError  # noqa: E402
from sparse4d_ros.evaluation.spread import COLUMNS  # noqa: E402
from sparse4d_ros.training import ablation  # noqa: E402
from sparse4d_ros.training.ablation import (  # noqa: E402
    image_phase_name,
    markdown,
    merged,
    read_variants,
    table_csv,  # noqa: E402
)
from sparse4d_ros.training.command import carry_out  # noqa: E402
from sparse4d_ros.training.config import config_from_dict, read_yaml  # noqa: E402
from sparse4d_ros.training.drive_folder import DriveFolder  # noqa: E402
from sparse4d_ros.training.parallel import Group  # noqa: E402
from sparse4d_ros.training.trainer import Trainer  # noqa: E402
from sparse4d_ros.training.validation import validate  # noqa: E402

CONFIG = Path(__file__).resolve().parents[1] / "config"
SHIPPED = yaml.safe_load((CONFIG / "ablations.yaml").read_text())["variants"]
#: A step of each phase at least; what the network can do then does not matter.
COMMON = {"training": {"steps": 6, "image_steps": 1, "decoder_steps": 2, "log_steps": 3}}


@pytest.fixture(scope="module")
def drives(tmp_path_factory):
    return training_drives.write(tmp_path_factory.mktemp("drives"), drives=2, count=5, size=(176, 64))


@pytest.fixture
def workshop(tmp_path):
    """A folder with a training file and one of two variants."""
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    variants = {name: SHIPPED[name] for name in ("full", "no_quality")}
    (tmp_path / "variants.yaml").write_text(yaml.safe_dump({"common": COMMON, "variants": variants}, sort_keys=False))
    return tmp_path


def ablate(workshop: Path, drives: Path, *words: str) -> int:
    return cli.main(["ablate", "--config", str(workshop / "tiny.yaml"), "--variants", str(workshop / "variants.yaml"),
                     "--drives", str(drives), "--validation", str(drives), "--output", str(workshop / "out"),
                     "--device", "cpu", *words])


def test_changes_go_over_a_configuration_key_by_key():
    base = {"a": {"b": 1, "c": [1, 2]}, "d": 3}
    before = copy.deepcopy(base)
    assert merged(base, {"a": {"c": [5]}, "e": {"f": 1}}) == {"a": {"b": 1, "c": [5]}, "d": 3, "e": {"f": 1}}
    assert merged(base, {}) == base == before


def test_a_section_with_nothing_behind_it_changes_nothing(tmp_path):
    path = tmp_path / "variants.yaml"
    path.write_text("common:\nvariants:\n  full:\n  short: {training: {steps: 2}}\n")
    assert read_variants(path, TINY) == {"full": TINY, "short": merged(TINY, {"training": {"steps": 2}})}


def test_shipped_variants_each_leave_out_one_part_of_the_small_model():
    base = read_yaml(CONFIG / "train_small.yaml")
    full, *others = (config_from_dict(content, name)
                     for name, content in read_variants(CONFIG / "ablations.yaml", base).items())
    assert len(others) == 5
    assert 0 < full.training.image_steps + full.training.decoder_steps < full.training.steps < base["training"]["steps"]
    for other in others:
        assert (other.model != full.model) + (other.training != full.training) == 1


@pytest.mark.parametrize("name", SHIPPED)
def test_every_variant_trains_in_all_phases(name, drives):
    content = merged(merged(TINY, {"training": {"image_steps": 1, "decoder_steps": 1}}), SHIPPED[name])
    trainer = Trainer(config_from_dict(content, name), DriveFolder(drives, NUSCENES_CLASSES), Group(CPU))
    values = [trainer.train_step(next(trainer.feed), 0.0) for _ in range(4)]
    assert trainer.skipped == 0 and all(torch.isfinite(torch.tensor(list(v.values()))).all() for v in values)
    assert ("depth" in values[0]) == (name != "no_depth")
    assert ("centerness" in values[1]) == ("centerness" in values[3]) == (name != "no_quality")
    assert ("denoising_box" in values[3]) == (name != "no_denoising")
    assert "ap2m" in validate(trainer.average.module, trainer.feed.drives, trainer.config, CPU)


def test_another_number_of_cameras_is_refused_before_training(drives):
    content = merged(TINY, {"model": {"camera_embedding": False, "num_cameras": 5}})
    with pytest.raises(UserError, match="model.num_cameras is 5, but there are 6 cameras"):
        Trainer(config_from_dict(content, "c"), DriveFolder(drives, NUSCENES_CLASSES), Group(CPU))


def test_variants_are_trained_scored_and_tabled_once(workshop, drives, monkeypatch, capsys):
    assert ablate(workshop, drives) == 0
    printed, table = capsys.readouterr().out, (workshop / "out" / "ablations.md").read_text()
    assert table in printed and "| full | 1 |" in table and "| no_quality | 1 |" in table
    with open(workshop / "out" / "ablations.csv") as file:
        rows = list(csv.DictReader(file))
    assert [(row["variant"], row["seed"], float(row["mAP difference"] or 0) == 0) for row in rows][0] == \
        ("full", "0", True)
    for name in ("full", "no_quality"):
        folder = workshop / "out" / name / "seed_0"
        model = ModelPackage.load(folder / "model").model
        assert model.quality_estimation == (name == "full")
        assert torch.load(folder / "weights.pt", weights_only=True)["step"] == 6
        scores = json.loads((folder / "scores.json").read_text())["scores"]
        assert scores["frames"] == 10 and scores["missing_frames"] == 0

    done = []
    whole = ablation.carry_out
    monkeypatch.setattr(ablation, "carry_out", lambda *a, **k: done.append(a[2].parent.name) or whole(*a, **k))
    assert ablate(workshop, drives) == 0
    assert done == [] and (workshop / "out" / "ablations.md").read_text() == table
    (workshop / "out" / "no_quality" / "seed_0" / "scores.json").unlink()
    assert ablate(workshop, drives) == 0
    assert done == ["no_quality"] and (workshop / "out" / "ablations.md").read_text() == table
    assert ablate(workshop, drives, "--option", "nms_iou=0.1") == 2
    assert "was made with another options" in capsys.readouterr().err


def test_variants_of_the_decoders_have_one_image_phase():
    base = read_yaml(CONFIG / "train_small.yaml")
    names = {name: image_phase_name(content)
             for name, content in read_variants(CONFIG / "ablations.yaml", base).items()}
    assert [name for name in names if names[name] != names["full"]] == ["no_depth"]
    assert image_phase_name(merged(base, {"training": {"seed": 1}})) != image_phase_name(base)


def test_a_run_that_takes_an_image_phase_ends_as_one_that_made_it(drives, tmp_path):
    content = merged(TINY, {"training": {"steps": 5, "image_steps": 2, "decoder_steps": 1, "log_steps": 1}})
    folder, group = DriveFolder(drives, NUSCENES_CLASSES), Group(CPU)
    assert carry_out(content, "whole", tmp_path / "whole", folder, group)
    assert ablation._train(content, "taken", tmp_path / "taken", tmp_path / "image", folder, group)
    whole, taken = (torch.load(tmp_path / run / "weights.pt", weights_only=True)["state_dict"]
                    for run in ("whole", "taken"))
    assert whole.keys() == taken.keys() and all(torch.equal(whole[key], taken[key]) for key in whole)
    steps = {run: [row["step"] for row in csv.DictReader(open(tmp_path / run / "losses.csv"))]
             for run in ("image", "taken")}
    assert steps == {"image": ["1", "2"], "taken": ["3", "4", "5"]}


def test_an_image_phase_leaves_other_decoders_as_they_are(drives):
    content = merged(TINY, {"training": {"image_steps": 1}})
    folder, group = DriveFolder(drives, NUSCENES_CLASSES), Group(CPU)
    made, own = (Trainer(config_from_dict(merged(content, SHIPPED[name]), name), folder, group)
                 for name in ("full", "added_attention"))
    with pytest.raises(UserError, match="ended at step 0, this run's ends at 1"):
        own.take_image_phase(made.state_dict())
    made.train_step(next(made.feed), 0.0)
    before, state = copy.deepcopy(own.network.state_dict()), made.state_dict()
    own.take_image_phase(state)
    for name, value in own.network.state_dict().items():
        assert torch.equal(value, (before if name.startswith("model.head.") else state["network"])[name]), name
    assert own.step == 1 and torch.isfinite(torch.tensor(own.train_step(next(own.feed), 0.0)["total"]))


@pytest.mark.slow
def test_two_processes_share_every_variant(workshop, drives):
    subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
         "-m", "sparse4d_ros.cli", "ablate", "--config", str(workshop / "tiny.yaml"),
         "--variants", str(workshop / "variants.yaml"),
         "--drives", str(drives), "--validation", str(drives), "--output", str(workshop / "out"), "--device", "cpu"],
        cwd=CONFIG.parent, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True, timeout=600)
    with open(workshop / "out" / "ablations.csv") as file:
        assert [row["variant"] for row in csv.DictReader(file)] == ["full", "no_quality"]
    for name in ("full", "no_quality"):
        state = torch.load(workshop / "out" / name / "seed_0" / "weights.pt", weights_only=True)
        assert state["step"] == 6


def test_an_interrupted_variant_ends_the_command(workshop, drives, monkeypatch, capsys):
    monkeypatch.setattr(ablation, "carry_out", lambda *a, **k: False)
    assert ablate(workshop, drives) == 130
    assert "the same command goes on" in capsys.readouterr().out
    assert not (workshop / "out" / "ablations.md").exists()


def test_tables_pair_differences_by_seed():
    def scores(value):
        return dict.fromkeys(COLUMNS, value) | {"AMOTA": float("nan")}

    results = {"full": {0: scores(0.2), 1: scores(0.4)}, "less": {0: scores(0.1), 1: scores(0.3)},
               "new": {0: scores(0.5)}, "missing": {}}
    lines = markdown(results).splitlines()
    assert lines[0] == "| variant | runs | mAP | NDS | mATE | mAOE | mAVE | AMOTA |"
    assert lines[2].startswith("| full | 2 | 0.300 ± 0.141 |") and lines[2].endswith("| - |")
    assert "| 0.200 ± 0.141 (-0.100 ± 0.000) |" in lines[3] and "| new | 1 | 0.500 (+0.300) |" in lines[4]
    assert "missing" not in markdown(results)
    rows = list(csv.DictReader(table_csv(results).splitlines()))
    assert [(row["variant"], row["seed"], row["mAP"], row["mAP difference"], row["AMOTA"]) for row in rows] == [
        ("full", "0", "0.2", "0", ""), ("full", "1", "0.4", "0", ""), ("less", "0", "0.1", "-0.1", ""),
        ("less", "1", "0.3", "-0.1", ""), ("new", "0", "0.5", "0.3", "")]


@pytest.mark.parametrize("content, message", [
    ("variants: {full: {}}", "exactly the sections 'common' and 'variants'"),
    ("{common: {}, variants: {}}", "at least one variant"),
    ("{common: {}, variants: {../up: {}}}", "a variant's name is that of a folder"),
    ("{common: {}, variants: {full: {training: {stepps: 3}}}}", "variant full: training has the unknown key 'stepps'"),
    ("{common: {}, variants: {full: {model: {quality: false}}}}",
     "variants.yaml: variant full: model.quality is not a known field"),
    ("{common: {}, variants: {full: {model: }}}", "variant full: model must be a mapping, not None"),
    ("{common: {}, variants: {full: {model: 3}}}", "variant full: model must be a mapping, not 3"),
])
def test_wrong_variants_are_named(workshop, drives, content, message, capsys):
    (workshop / "variants.yaml").write_text(content)
    assert ablate(workshop, drives) == 2
    assert message in capsys.readouterr().err
