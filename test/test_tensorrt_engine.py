"""TensorRT up to the engine: its file, the bank's slots, flags of both API generations, and what is refused in words.

Nothing here pretends to be TensorRT; the tests at the end need a GPU with it.
"""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from engine_cases import package_of, rig_frame, write_package
from hypothesis import given, settings
from hypothesis import strategies as st

from sparse4d_ros import cli
from sparse4d_ros.deploy import build_engine
from sparse4d_ros.engine import Engine, EngineOptions
from sparse4d_ros.engine.cuda_driver import Device, Driver, device_index, probe
from sparse4d_ros.engine.device_bank import DeviceBank, Slots, tensor_specs
from sparse4d_ros.engine.engine_file import (
    EngineHeader,
    check_engine,
    engine_header,
    engine_path,
    read_engine,
    write_engine,
)
from sparse4d_ros.engine.tensorrt_backend import check_tensors, check_version
from sparse4d_ros.errors import UserError

HEADER = EngineHeader("small", "0.2", "fp16", "a" * 64, "10.3.0", "Orin", "8.7")


def missing_driver() -> str:
    """Why there is no GPU here, or nothing."""
    try:
        probe()
    except UserError as error:
        return str(error)
    return ""


#: Why TensorRT cannot run here, or nothing.
MISSING = missing_driver() or next(
    (f"{name} is not installed" for name in ("tensorrt", "cuda") if importlib.util.find_spec(name) is None), "")
needs_gpu = pytest.mark.skipif(bool(MISSING), reason=f"needs a GPU: {MISSING}")


# The file

@settings(deadline=None)
@given(header=st.builds(EngineHeader, *[st.text(max_size=40)] * 9), plan=st.binary(max_size=200))
def test_an_engine_file_reads_back(tmp_path_factory, header, plan):
    path = tmp_path_factory.getbasetemp() / "deep" / "x.engine"
    path.parent.mkdir(exist_ok=True)
    write_engine(path, header, plan)
    assert read_engine(path) == (header, plan)
    assert [child.name for child in path.parent.iterdir()] == ["x.engine"], "nothing half-written may be left"


@settings(deadline=None)
@given(data=st.data())
def test_a_file_that_is_cut_or_altered_is_never_taken_for_the_one_that_was_written(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "y.engine"
    write_engine(path, HEADER, bytes(range(256)))
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        content = content[:data.draw(st.integers(0, len(content) - 1))]
    else:
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    try:
        assert read_engine(path)[0] != HEADER
    except UserError as error:
        assert str(path) in str(error) and "build" in str(error)


@pytest.mark.parametrize(("field", "value", "says"), [
    ("tensorrt", "11.4.0.106", r"built for TensorRT 10.3.0; here: TensorRT 11.4.0.106"),
    ("gpu", "NVIDIA H200", r"GPU Orin; here: GPU NVIDIA H200"),
    ("compute_capability", "9.0", r"compute capability 8.7; here: compute capability 9.0"),
    ("onnx_sha256", "b" * 64, r"SHA-256 aaaaaaaaaaaa…; here: graph with SHA-256 bbbbbbbbbbbb…"),
    ("precision", "int8", "precision fp16; here: precision int8"),
    ("package_version", "0.3", "version of the model package 0.2; here: version of the model package 0.3"),
])
def test_an_engine_for_something_else_is_refused_with_both_values(tmp_path, field, value, says):
    check_engine(HEADER, replace(HEADER), tmp_path)
    with pytest.raises(UserError, match=says):
        check_engine(HEADER, replace(HEADER, **{field: value}), tmp_path)


def test_an_engine_lies_in_the_cache_folder_by_package_version_and_precision(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    package = package_of(name="a/b c", version="2")
    assert engine_path(package, "fp16") == tmp_path / "sparse4d_ros" / "a_b_c-2-fp16.engine"
    assert engine_path(package, "int8") != engine_path(package, "fp16")


def test_a_package_without_the_graph_says_how_to_make_it():
    package = package_of(files={"onnx_grid": ("model_grid.onnx", "c" * 64)})
    assert engine_header(package, "fp32", "10.3.0", "Orin", "8.7").onnx_sha256 == "c" * 64
    with pytest.raises(UserError, match="files.onnx_grid_fp16.*sparse4d export .* --precision fp16"):
        engine_header(package, "fp16", "10.3.0", "Orin", "8.7")
    with pytest.raises(UserError, match="not in 'bf16'"):
        engine_header(package, "bf16", "10.3.0", "Orin", "8.7")


# The bank

CONFIDENCE = np.zeros(3, np.float32)
EMPTY = DeviceBank(0, 0, CONFIDENCE)


@given(st.lists(st.tuples(st.integers(0, 50), st.booleans())))
def test_a_frame_reads_the_bank_that_it_was_given_or_is_refused(steps):
    """Frames from any earlier bank in any order, some of which fail half-way: never another bank's content."""
    slots, memory, banks = Slots(), ["nothing", "nothing"], [(EMPTY, "nothing")]
    for number, (choice, fails) in enumerate(steps):
        bank, content = banks[choice % len(banks)]
        try:
            read, write = slots.begin(bank)
        except ValueError:
            continue
        assert read != write
        assert not bank.has_history or memory[read] == content
        memory[write] = f"frame {number}, half-way"
        if not fails:
            memory[write] = f"frame {number}"
            banks.append((slots.finish(write, CONFIDENCE), memory[write]))


@given(st.lists(st.booleans()))
def test_a_drive_goes_on_and_a_frame_that_fails_can_be_repeated(failures):
    slots, bank = Slots(), EMPTY
    for fails in failures:
        read, write = slots.begin(bank)
        assert read == bank.slot
        if not fails:
            bank = slots.finish(write, CONFIDENCE)
    slots.check(bank)


def test_an_overwritten_bank_is_an_error():
    slots = Slots()
    first = slots.finish(slots.begin(EMPTY)[1], CONFIDENCE)
    second = slots.finish(slots.begin(first)[1], CONFIDENCE)
    slots.finish(slots.begin(second)[1], CONFIDENCE)
    with pytest.raises(ValueError, match="overwritten"):
        slots.begin(first)


def test_an_engine_with_other_inputs_is_refused_by_name(tmp_path):
    specs = tensor_specs(package_of())
    check_tensors(dict(specs), specs, tmp_path)
    wrong = specs | {"dt": specs["dt"]._replace(dtype=np.dtype(np.float16))}
    with pytest.raises(UserError, match=r"dt is float16 \[1\], but model.yaml means float32 \[1\]"):
        check_tensors(wrong, specs, tmp_path)
    with pytest.raises(UserError, match="depth is float32 .* means absent"):
        check_tensors(specs | {"depth": specs["anchors"]}, specs, tmp_path)


# What is there

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


@pytest.mark.skipif(importlib.util.find_spec("cuda") is None, reason="cuda-bindings is not installed")
@pytest.mark.skipif(not missing_driver(), reason="there is a GPU here")
def test_every_call_reaches_cuda_which_misses_its_driver():
    """Names and argument types against the real bindings; without a driver each call answers with an error."""
    from sparse4d_ros.engine import cuda_memory

    with pytest.raises(cuda_memory.CudaError, match="cudaSetDevice"):
        cuda_memory.CudaDevice(0)
    device = object.__new__(cuda_memory.CudaDevice)
    device.stream = cuda_memory.cudart.cudaStream_t(0)
    array = np.zeros(3, np.float32)
    for name, call in {
        "cudaMalloc": lambda: device.allocate(12), "cudaMallocHost": lambda: device.pinned((2, 3), array.dtype),
        "cudaMemcpyAsync": lambda: (device.send(array, 0), device.fetch(0, array)),
        "cudaStreamSynchronize": device.wait, "cudaStreamBeginCapture": lambda: device.capture(lambda: None),
        "cudaGraphLaunch": lambda: device.launch(cuda_memory.cudart.cudaGraphExec_t(0)),
    }.items():
        with pytest.raises(cuda_memory.CudaError, match=name):
            call()


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
