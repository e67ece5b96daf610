"""On a GPU the network, the engine and the commands give what they give on the CPU."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from dataclasses import replace

import cuda_cases
import numpy as np
import pytest
import torch
from cuda_cases import DEVICE
from engine_cases import TINY, rig_frame, write_package

from sparse4d_ros import cli
from sparse4d_ros.data.bag_reader import BagDrive
from sparse4d_ros.engine import Engine, EngineOptions, ModelPackage
from sparse4d_ros.engine.agreement import compare
from sparse4d_ros.engine.drive import run_drive
from sparse4d_ros.engine.torch_backend import torch_device
from sparse4d_ros.errors import UserError
from sparse4d_ros.model.bank import Bank
from sparse4d_ros.model.config import ModelConfig
from sparse4d_ros.model.detector import Sparse4D, empty_inputs
from sparse4d_ros.resources import share_path

pytestmark = cuda_cases.gpu

FOLDER = share_path("models", "sparse4d_small")
OPTIONS = EngineOptions(score_threshold=0.05, nms_iou=1.0)


@pytest.fixture(scope="module")
def items():
    return list(itertools.islice(BagDrive(FOLDER / "demo_drive"), 30))


def pairs(first, second, min_score: float):
    """Rows of objects above a score in the first, and of the nearest of their class in the second."""
    for row in np.flatnonzero(first.scores > min_score):
        distance = np.hypot(*(second.boxes[:, :2] - first.boxes[row, :2]).T)
        yield row, int(np.where(second.class_ids == first.class_ids[row], distance, np.inf).argmin())


# The shipped model on the drive that comes along

def test_every_object_of_a_drive_is_the_cpus(items):
    """Each frame from the CPU's bank: boxes, scores and track ids. TF32 would not pass."""
    package = ModelPackage.load(FOLDER)
    cpu, here = (Engine(package, "torch", device, options=OPTIONS) for device in ("cpu", DEVICE))
    assert here.backend_name == f"torch:{DEVICE}"
    scores, ids = [], []
    for expected, found in compare(cpu, {"here": here}, (item.frame for item in items)):
        step = found["here"]
        assert step.differences(OPTIONS.score_threshold + 1e-3).max() < 1e-3
        for row, other in pairs(expected, step.found, 0.1):
            scores.append(abs(expected.scores[row] - step.found.scores[other]))
            ids.append(expected.track_ids[row] == step.found.track_ids[other])
    assert len(ids) > 500 and max(scores) < 1e-4
    assert np.mean(ids) > 0.99, "newcomers of nearly equal scores may be numbered in another order"


def test_a_drive_goes_on_from_a_bank_that_never_leaves_the_device(items, monkeypatch):
    """Objects and ids of a whole drive; no frame leaves memory behind."""
    package, options = ModelPackage.load(FOLDER), EngineOptions(score_threshold=0.2)
    cpu, here = (Engine(package, "torch", device, options=options) for device in ("cpu", DEVICE))
    monkeypatch.setattr("sparse4d_ros.engine.torch_backend.TorchBackend.bank_to_host", None)
    banks, allocated, step = [], [], here.step

    def watched(frame, state):
        detections, state = step(frame, state)
        banks.append(state.bank)
        if len(banks) > 2:
            banks.pop(0)  # as much as two frames have is alive
        allocated.append(torch.cuda.memory_allocated())
        return detections, state

    monkeypatch.setattr(here, "step", watched)
    found = near = 0
    partners = Counter()
    for one, other in zip(run_drive(cpu, items), run_drive(here, items), strict=True):
        assert not other.failure and all(part.device.type == DEVICE for part in banks[-1])
        for row, index in pairs(one.detections, other.detections, 0.3):
            found += 1
            near += np.abs(one.detections.boxes[row] - other.detections.boxes[index])[:6].max() < 0.02
            partners[one.detections.track_ids[row], other.detections.track_ids[index]] += 1
    assert found > 200 and near > 0.98 * found
    best = {}
    for (track, _), count in partners.items():
        best[track] = max(best.get(track, 0), count)
    assert sum(best.values()) > 0.98 * found, "a track of the CPU is one track here"
    assert len(set(allocated[5:])) == 1
    here.close()


@pytest.mark.parametrize(("precision", "usual", "most"), [("fp16", 0.01, 0.1), ("bf16", 0.1, 1.0)])
def test_half_precision_stays_near(items, precision, usual, most):
    """Metres, radians and metres per second: the median, and 95 % of the objects that a node would publish."""
    package = ModelPackage.load(FOLDER)
    engines = Engine(package, "torch", "cpu", options=OPTIONS), Engine(package, "torch", DEVICE, precision, OPTIONS)
    steps = compare(engines[0], {"half": engines[1]}, (item.frame for item in items))
    values = np.concatenate([found["half"].differences(0.3).max(axis=1) for _, found in steps])
    assert len(values) > 300 and 0 < np.median(values) < usual and np.quantile(values, 0.95) < most


# Random weights

@pytest.mark.parametrize("changes", [
    {}, {"border": "zeros"}, {"swap_yaw_on_projection": True}, {"decoupled_attention": False},
    {"quality_estimation": False}, {"camera_embedding": False}])
def test_every_variant_of_the_network_gives_the_cpus_objects(tmp_path, changes):
    """Five frames with all of the engine that reads a bank: embeddings, forgotten slots, dense depth."""
    package = write_package(tmp_path / "tiny", model=replace(TINY, **changes))
    options = EngineOptions(score_threshold=0.01, nms_iou=1.0, association_similarity=0.2, bank_min_confidence=0.3,
                            dense_depth=True)
    cpu, here = (Engine(package, "torch", device, options=options) for device in ("cpu", DEVICE))
    frames = [rig_frame(package, 0.2 * index, float(index), seed=index) for index in range(5)]
    for expected, found in compare(cpu, {"here": here}, frames):
        assert len(expected.boxes) and found["here"].differences(0.02).max() < 1e-3
        np.testing.assert_allclose(found["here"].found.dense_depth, expected.dense_depth, rtol=1e-3)


def test_the_published_size_gives_the_cpus_numbers():
    """R50, 704x256: image branch, then decoders of the same maps by both ways to read them."""
    torch.manual_seed(0)
    device, config = torch_device(DEVICE), ModelConfig()
    network = Sparse4D(config).eval()
    network.head.anchor.data[:, :2].uniform_(-50.0, 50.0)
    package = write_rig()
    inputs = [x.to("cpu") if torch.is_tensor(x) else x for x in empty_inputs(config, 6, 704, 256)]
    images, inputs[1] = torch.randn_like(inputs[0]), package
    noise = [torch.randn(1, 6, 256, 256 // stride, 704 // stride) for stride in config.strides]
    with torch.inference_mode():
        maps, expected = network.extract(images), network.head(noise, *inputs[1:])
        network.to(device)
        found = network.extract(images.to(device))
        for one, other in zip(maps, found, strict=True):
            assert float((other.cpu() - one).abs().max() / one.abs().max()) < 1e-4
        there = [Bank(*(part.to(device) for part in x)) if isinstance(x, Bank) else x.to(device) for x in inputs]
        for reading in ("visible", "grid"):
            network.set_reading(reading)
            out = network.head([x.to(device) for x in noise], *there[1:])
            for one, other in zip((*expected.anchors, expected.classes[-1]), (*out.anchors, out.classes[-1]),
                                  strict=True):
                torch.testing.assert_close(other.cpu(), one, rtol=1e-3, atol=1e-3)


def write_rig() -> torch.Tensor:
    """Projections ``[1, 6, 4, 4]`` of a rig of six cameras whose pictures have the published size."""
    from engine_cases import package_of

    from sparse4d_ros.engine.preprocess import Preprocessor

    package = package_of(input_width=704, input_height=256)
    return torch.from_numpy(Preprocessor(package)(rig_frame(package, source=(704, 256))).projection)


# Devices

def test_a_gpu_that_is_there_is_taken(tmp_path):
    package = write_package(tmp_path / "tiny")
    for asked, name in ((None, "torch:cuda"), ("cuda", "torch:cuda"), ("cuda:0", "torch:cuda:0")):
        engine = Engine(package, "auto", asked)
        assert engine.backend_name == name
        engine.step(rig_frame(package), engine.initial_state())
        engine.close()


def test_a_gpu_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match=r"device 'cuda:99' was asked for, but torch finds \d+ GPU"):
        Engine(write_package(tmp_path / "tiny"), "torch", "cuda:99")


def test_onnxruntime_runs_on_the_gpu_or_says_that_it_cannot(items):
    package = ModelPackage.load(FOLDER)
    cpu = Engine(package, "onnxruntime", "cpu", options=OPTIONS)
    try:
        here = Engine(package, "onnxruntime", DEVICE, options=OPTIONS)
    except UserError as error:
        assert "device 'cuda' was asked for, but" in str(error)
        pytest.skip(f"needs a GPU: {error}")
    for _, found in compare(cpu, {"here": here}, (item.frame for item in items[:10])):
        assert np.median(found["here"].differences(0.1)) < 1e-2


# Commands

def test_doctor_compares_the_gpu_with_the_cpu(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cli.main(["doctor", "--frames", "5", "--json", str(tmp_path / "doctor.json")])
    values = json.loads((tmp_path / "doctor.json").read_text())
    found = {item["subject"]: item for item in values["findings"]}
    assert found["GPU"]["level"] == "OK" and "driver for CUDA" in found["GPU"]["text"]
    assert found["torch cuda"]["level"] == "OK", found["torch cuda"]["text"]
    assert len(values["latency_ms"]["torch cuda"]) == 5
    assert "torch cuda" in capsys.readouterr().out


def test_benchmark_has_rows_of_the_gpu(capsys):
    assert cli.main(["benchmark", "--frames", "3"]) == 0
    out = capsys.readouterr().out
    for precision in ("fp32", "fp16", "bf16"):
        assert f"torch {precision} on GPU inference" in out
        assert f"R50 256x704 torch {precision} on GPU, decoders" in out
