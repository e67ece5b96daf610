"""Models that cannot be loaded, and what a backend may do at load and at run: refused or survived by name."""

from __future__ import annotations

import importlib.util
import logging
import shutil
from dataclasses import replace

import numpy as np
import pytest
import yaml
from engine_cases import copy_shipped, rig_frame

from sparse4d_ros.engine import Engine, ModelPackage
from sparse4d_ros.engine.decode import rank, sigmoid
from sparse4d_ros.engine.engine_file import EngineHeader, check_engine, read_engine, write_engine
from sparse4d_ros.errors import UserError
from sparse4d_ros.node.engine_loader import load_engine
from sparse4d_ros.node.parameters import settings_from
from sparse4d_ros.resources import share_path

SHIPPED = share_path("models", "sparse4d_small")


def has_cuda() -> bool:
    if importlib.util.find_spec("torch") is None:
        return False
    import torch

    return torch.cuda.is_available()


def load(folder, **parameters):
    return load_engine(settings_from({"model.package": str(folder), "model.backend": "onnxruntime"} | parameters))


@pytest.fixture
def package(tmp_path):
    return copy_shipped(tmp_path / "package")


@pytest.mark.fault(41)
def test_a_missing_and_an_altered_file_are_named_by_their_path(package):
    graph = package / "model.onnx"
    graph.unlink()
    with pytest.raises(UserError, match=f"misses a file: {graph}"):
        load(package)
    graph.write_bytes(b"another graph")
    with pytest.raises(UserError, match=f"{graph} is not the file that was packed: its SHA-256"):
        load(package)
    shutil.copy(SHIPPED / "model.onnx", graph)
    load(package).close()


@pytest.mark.fault(43)
@pytest.mark.parametrize(("path", "value", "says"), [
    (("format_version",), 9, "format_version is 9"),
    (("classes",), ["car", "truck"], "classes has 2 names, but model.num_classes is 10"),
    (("input", "width"), 704, r"input images has shape .* 128, 352\], but model.yaml means .* 128, 704\]"),
    (("cameras",), ["front", "back"], "'cameras' names 6 cameras, but the model package .* was made for 2"),
    (("model", "embed_dims"), 32, "input bank_feature has shape"),
])
def test_a_package_that_disagrees_is_refused_by_field(package, path, value, says):
    values = yaml.safe_load((package / "model.yaml").read_text())
    target = values
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    (package / "model.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(UserError, match=says):
        load(package)


@pytest.mark.fault(42)
def test_an_engine_file_without_its_backend_is_refused_by_name(package):
    with pytest.raises(UserError, match="'tensorrt'"):
        load(package, **{"model.backend": "tensorrt"})


@pytest.mark.fault(42)
def test_an_engine_of_another_tensorrt_is_refused_with_both_versions(tmp_path):
    """What the backend does with a file before TensorRT sees it; `test_tensorrt_engine.py` does it on a GPU too."""
    path = tmp_path / "small.engine"
    here = EngineHeader("small", "0.2", "fp16", "a" * 64, "10.3.0", "Orin", "8.7")
    write_engine(path, replace(here, tensorrt="10.1.0", compute_capability="9.0"), b"a plan")
    with pytest.raises(UserError, match=f"{path} was built for TensorRT 10.1.0, compute capability 9.0; "
                                        "here: TensorRT 10.3.0, compute capability 8.7; build it again"):
        check_engine(read_engine(path)[0], here, path)


@pytest.mark.fault(44)
@pytest.mark.gpu
@pytest.mark.skipif(not has_cuda(), reason="needs a GPU: its memory is what runs out")
def test_device_memory_that_runs_out_costs_a_load_or_a_frame_and_is_given_back():
    import torch

    package = ModelPackage.load(SHIPPED)
    first = Engine(package, "torch", device="cuda")
    first.warmup()  # the work space of CUDA's libraries stays
    first.close()
    before = torch.cuda.memory_allocated()
    torch.cuda.set_per_process_memory_fraction(0.0)
    try:
        with pytest.raises(torch.cuda.OutOfMemoryError):
            Engine(package, "torch", device="cuda")
        torch.cuda.set_per_process_memory_fraction(1.0)
        engine = Engine(package, "torch", device="cuda")
        _, state = engine.step(rig_frame(package, 1.0), engine.initial_state())
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction(0.0)
        with pytest.raises(torch.cuda.OutOfMemoryError):
            engine.step(rig_frame(package, 1.2), state)
        torch.cuda.set_per_process_memory_fraction(1.0)
        detections, state = engine.step(rig_frame(package, 1.4), state)
        assert detections.time_interval_s == pytest.approx(0.4)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    engine.close()
    del engine, state
    assert torch.cuda.memory_allocated() <= before


@pytest.mark.fault(49)
@pytest.mark.parametrize("multi_label", [False, True])
def test_of_thousands_of_boxes_the_best_are_kept(multi_label):
    generator = np.random.default_rng(49)
    classes, quality = generator.normal(size=(5000, 10)), generator.normal(size=(5000, 2))
    kept = rank(classes, quality, 300, multi_label=multi_label)
    assert len(kept.rows) == 300
    flat = np.sort(sigmoid(classes if multi_label else classes.max(axis=1)).ravel())
    assert kept.class_scores.min() == pytest.approx(flat[-300])


@pytest.mark.fault(50)
def test_without_a_gpu_auto_runs_on_the_cpu_and_says_so(package, monkeypatch, caplog):
    if importlib.util.find_spec("torch") is not None:
        monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with caplog.at_level(logging.WARNING, "sparse4d_ros"):
        engine = load(package, **{"model.backend": "auto"})
    assert engine.backend_name == "onnxruntime:cpu"
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "no CUDA device found" in caplog.text
    engine.close()


@pytest.mark.fault(50)
@pytest.mark.skipif(has_cuda(), reason="there is a GPU here")
@pytest.mark.parametrize("backend", ["auto", "onnxruntime", "torch"])
def test_a_device_that_was_asked_for_is_not_replaced(package, backend):
    if backend == "torch":
        pytest.importorskip("torch", reason="the torch backend needs torch")
    with pytest.raises(UserError, match="device 'cuda' was asked for"):
        load(package, **{"model.backend": backend, "model.device": "cuda"})


@pytest.mark.parametrize("backend", ["auto", "torch"])
def test_a_gpu_of_a_number_that_is_not_there_is_refused(package, backend, monkeypatch):
    pytest.importorskip("torch", reason="the torch backend needs torch")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    with pytest.raises(UserError, match=r"device 'cuda:1' was asked for, but torch finds 1 GPU"):
        load(package, **{"model.backend": backend, "model.device": "cuda:1"})


@pytest.mark.skipif(has_cuda(), reason="there is a GPU here")
def test_a_provider_that_does_not_start_is_not_replaced_by_the_cpu(package, monkeypatch):
    """So onnxruntime does where CUDA's libraries are of another release than it was built for."""
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CUDAExecutionProvider"])
    with pytest.raises(UserError, match="onnxruntime could not start its CUDAExecutionProvider"):
        load(package, **{"model.device": "cuda"})
