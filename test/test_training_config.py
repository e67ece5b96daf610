"""Around the steps of training: configuration, schedule, averages, tables, the quick score."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import yaml

torch = pytest.importorskip("torch")

from training_cases import TINY  # noqa: E402

from sparse4d_ros.errors import UserError  # noqa: E402
from sparse4d_ros.training.config import OptimizerConfig, config_from_dict, read_yaml  # noqa: E402
from sparse4d_ros.training.curves import Table  # noqa: E402
from sparse4d_ros.training.schedule import averaged, progress, rate_factor  # noqa: E402
from sparse4d_ros.training.validation import average_precision, summarise  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]


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
    (("model", "num_anchor"), 3, "tiny.yaml: model.num_anchor is not"),
    (("model", "num_anchors"), 0, "tiny.yaml: model.num_anchors must be"),
    (("model",), None, "tiny.yaml: model must be a mapping"),
    (("model",), 3, "tiny.yaml: model must be a mapping"),
    (("model", "backbone"), 3, "tiny.yaml: model.backbone must be a mapping"),
    (("modell",), {}, "exactly the sections"),
    (("training", "losses", "symmetric_classes"), ["fence"], "'fence'"),
    (("training", "losses", "dimension_weights"), [1.0, 2.0], "10 entries"),
    (("training", "streams", "intervals_s"), [], "at least one"),
    (("training", "streams", "batch_size"), 0, "tiny.yaml: training.streams.batch_size"),
])
def test_wrong_configuration_is_named(path, value, message):
    content = yaml.safe_load(yaml.safe_dump(TINY))
    section = content
    for key in path[:-1]:
        section = section.setdefault(key, {})
    section[path[-1]] = value
    with pytest.raises(UserError, match=message):
        config_from_dict(content, "tiny.yaml")


def test_what_is_no_training_file_is_named(tmp_path):
    for content in (b"\xff\xfe\x00", b"\x00\x01", b"date: 2024-13-45"):
        (tmp_path / "a.yaml").write_bytes(content)
        with pytest.raises(UserError, match="a.yaml is not valid YAML"):
            read_yaml(tmp_path / "a.yaml")
    with pytest.raises(UserError, match="cannot be read: Is a directory"):
        read_yaml(tmp_path)


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
