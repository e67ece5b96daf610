"""TensorRT beyond the engine's file and bank: what is refused in words, and flags of both API generations.

Nothing here pretends to be TensorRT; the tests at the end need a GPU with it.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from engine_cases import package_of, rig_frame, write_package
from tensorrt_cases import HEADER, MISSING, needs_gpu

from sparse4d_ros import cli
from sparse4d_ros.deploy import build_engine
from sparse4d_ros.engine import Engine, EngineOptions
from sparse4d_ros.engine.cuda_driver import Device, Driver, device_index
from sparse4d_ros.engine.device_bank import tensor_specs
from sparse4d_ros.engine.engine_file import engine_path, read_engine, write_engine
from sparse4d_ros.engine.tensorrt_backend import check_tensors, check_version
from sparse4d_ros.errors import UserError

# What is there

def test_an_engine_with_other_inputs_is_refused_by_name(tmp_path):
    specs = tensor_specs(package_of())
    check_tensors(dict(specs), specs, tmp_path)
    wrong = specs | {"dt": specs["dt"]._replace(dtype=np.dtype(np.float16))}
    with pytest.raises(UserError, match=r"dt is float16 \[1\], but model.yaml means float32 \[1\]"):
        check_tensors(wrong, specs, tmp_path)
    with pytest.raises(UserError, match="depth is float32 .* means absent"):
        check_tensors(specs | {"depth": specs["anchors"]}, specs, tmp_path)


def test_devices_are_named_as_torch_names_them():
    driver = Driver("12.6", (Device("Orin", "8.7"), Device("RTX", "8.9")))
    assert [device_index(name, driver) for name in (None, "cuda", "cuda:0", "cuda:1")] == [0, 0, 0, 1]
    for name, says in (("cuda:2", "finds 2 GPU"), *((name, "on 'cuda'") for name in ("cpu", "cuda:", "cuda:x"))):
        with pytest.raises(UserError, match=says):
            device_index(name, driver)


@pytest.mark.skipif(not MISSING, reason="TensorRT can run here")
@pytest.mark.parametrize("graph", [True, False])
def test_without_a_gpu_one_sentence_says_what_is_missing(tmp_path, monkeypatch, capsys, graph):
    """Before TensorRT is touched, which would end the process."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    package = package_of(files={"onnx_grid_fp16": ("model_grid_fp16.onnx", "c" * 64)} if graph else {})
    package.save(tmp_path)
    assert cli.main(["build-engine", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and ("'tensorrt' cannot run" if graph else "sparse4d export") in error
    with pytest.raises(UserError, match="'tensorrt' cannot run: "):
        Engine(package, "tensorrt", precision="fp16")
    assert "tensorrt" not in sys.modules and not (tmp_path / "cache").exists()


@pytest.mark.skipif(not MISSING, reason="TensorRT can run here")
def test_auto_takes_an_engine_that_was_built_and_passes_over_none_in_silence(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    package = package_of()
    engine_path(package, "fp16").parent.mkdir()
    write_engine(engine_path(package, "fp16"), HEADER, b"")
    with pytest.raises(UserError, match="has no onnx file"):
        Engine(package, "auto")
    assert "engine in fp16, but model.precision is fp32" in caplog.text
    write_engine(engine_path(package, "fp32"), HEADER, b"")
    with pytest.raises(UserError, match="'tensorrt' cannot run"):
        Engine(package, "auto")
    with pytest.raises(UserError, match="has no onnx file"):
        Engine(package, "auto", device="cpu")


@pytest.mark.parametrize(("backend", "precision"), [("onnxruntime", "int8"), ("torch", "int8"), ("tensorrt", "bf16")])
def test_a_precision_that_a_backend_does_not_have_is_refused(backend, precision):
    with pytest.raises(UserError, match=f"the {backend} backend runs in .* is '{precision}'"):
        Engine(package_of(), backend, precision=precision)


def test_dense_depth_is_not_to_be_had():
    with pytest.raises(UserError, match="no dense depth"):
        Engine(package_of(), "tensorrt", precision="fp16", options=EngineOptions(dense_depth=True))


def test_versions_before_10_3_are_refused():
    for version in ("10.3.0", "10.15.1.29", "11.4.0.106"):
        check_version(version)
    for version in ("8.6.1", "10.0.1", "9.3.0"):
        with pytest.raises(UserError, match=f"TensorRT {version} is too old"):
            check_version(version)


# Building. The stand-ins hold the names that a release has, nothing of what it does.

class RecordedConfig(SimpleNamespace):
    """Notes which calls a builder's configuration got."""

    def __init__(self) -> None:
        super().__init__(calls=[])

    def __getattr__(self, name: str):
        return lambda *arguments: self.calls.append((name, *arguments))


def release(creation_flags: dict[str, int]) -> SimpleNamespace:
    return SimpleNamespace(NetworkDefinitionCreationFlag=SimpleNamespace(**creation_flags),
                           BuilderFlag=SimpleNamespace(TF32="TF32"), MemoryPoolType=SimpleNamespace(WORKSPACE="W"))


@pytest.mark.parametrize(("flags", "expected"), [
    ({"EXPLICIT_BATCH": 0, "STRONGLY_TYPED": 1}, 2), ({"STRONGLY_TYPED": 0}, 1), ({}, 0)], ids=["10.3", "11", "later"])
def test_networks_are_strongly_typed_in_every_release(flags, expected):
    assert build_engine.network_flags(release(flags)) == expected


def test_tf32_is_off_unless_asked_for():
    trt = release({})
    for tf32, call in ((False, "clear_flag"), (True, "set_flag")):
        config = RecordedConfig()
        build_engine.configure_builder(trt, config, tf32, 512)
        assert config.calls == [(call, "TF32"), ("set_memory_pool_limit", "W", 512 << 20)]


def test_only_outermost_phases_of_a_build_have_a_bar():
    progress = build_engine.Progress()
    progress.start("build", None, 3)
    progress.start("part", "build", 2)
    progress.step("part", 0)
    progress.step("build", 1)
    assert set(progress._bars) == {"build"} and progress._bars["build"].n == 2
    progress.finish("part")
    progress.finish("build")
    assert not progress._bars


# On a GPU

@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A tiny package with an engine of its float32 graph."""
    folder = tmp_path_factory.mktemp("gpu") / "tiny"
    write_package(folder)
    assert cli.main(["export", str(folder), "--reading", "grid"]) == 0
    output = folder / "tiny.engine"
    assert cli.main(["build-engine", str(folder), "--precision", "fp32", "--output", str(output)]) == 0
    from sparse4d_ros.engine import ModelPackage

    return ModelPackage.load(folder), output


@needs_gpu
def test_an_engine_gives_torchs_objects_frame_after_frame(built):
    from sparse4d_ros.engine.agreement import compare

    package, path = built
    options = EngineOptions(score_threshold=0.0)
    reference = Engine(package, "torch", "cpu", options=options)
    engine = Engine(package, "tensorrt", precision="fp32", options=options, engine_file=path)
    frames = [rig_frame(package, 0.2 * index, float(index), seed=index) for index in range(6)]
    for _, found in compare(reference, {"tensorrt": engine}, frames):
        assert found["tensorrt"].differences(0.0).max() < 1e-3
    assert all(graph is not None for graph in engine._backend._graphs)
    engine.close()


@needs_gpu
def test_on_a_gpu_too_an_engine_of_another_tensorrt_is_refused(built, tmp_path):
    package, path = built
    header, plan = read_engine(path)
    write_engine(tmp_path / "other.engine", replace(header, tensorrt="8.6.1"), plan)
    with pytest.raises(UserError, match=f"TensorRT 8.6.1; here: TensorRT {header.tensorrt}"):
        Engine(package, "tensorrt", precision="fp32", engine_file=tmp_path / "other.engine")


@needs_gpu
def test_a_bank_survives_a_failed_frame_and_the_way_over_the_host(built):
    package, path = built
    engine = Engine(package, "tensorrt", precision="fp32", engine_file=path)
    _, state = engine.step(rig_frame(package, 1.0), engine.initial_state())
    first, _ = engine.step(rig_frame(package, 1.2), state)
    again, _ = engine.step(rig_frame(package, 1.2), state)
    other = Engine(package, "tensorrt", precision="fp32", engine_file=path)
    carried, _ = other.step(rig_frame(package, 1.2), other.take_over(state, engine))
    for detections in (again, carried):
        np.testing.assert_allclose(detections.boxes, first.boxes, atol=1e-4)
    for item in (engine, other):
        item.close()
