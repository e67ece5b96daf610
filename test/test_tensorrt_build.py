"""Our side of a build: what TensorRT is given and what becomes of it, and what is said where it cannot begin."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
import tensorrt_stand_in
from engine_cases import package_of
from tensorrt_cases import HEADER

from sparse4d_ros import cli
from sparse4d_ros.deploy import build_engine
from sparse4d_ros.engine import Engine
from sparse4d_ros.engine.engine_file import engine_path, read_engine
from sparse4d_ros.engine.package import sha256
from sparse4d_ros.engine.tensorrt_backend import load_tensorrt
from sparse4d_ros.errors import UserError

host_driver_library, host_driver = tensorrt_stand_in.host_driver_library, tensorrt_stand_in.host_driver


class Builder:
    """Notes what it is given; ``work`` is what happens in a build, between the monitor's first phase and its last."""

    def __init__(self, work=lambda monitor: True) -> None:
        self.work = work
        self.timings: list[bytes] = []
        self.flags: list[int] = []

    def __call__(self, logger) -> Builder:
        return self

    def create_network(self, flags: int) -> str:
        self.flags.append(flags)
        return "network"

    def create_builder_config(self) -> SimpleNamespace:
        def create(content: bytes) -> bytes | None:
            return None if content == b"damaged" else content or b"new"

        def attach(content: bytes, ignore_mismatch: bool) -> bool:
            if content is None:
                raise TypeError("set_timing_cache(): incompatible function arguments")
            if content != b"another GPU's" and not ignore_mismatch:
                self.timings.append(content)
            return content != b"another GPU's"

        return SimpleNamespace(
            clear_flag=lambda flag: None, create_timing_cache=create, set_timing_cache=attach,
            get_timing_cache=lambda: SimpleNamespace(serialize=lambda: self.timings[-1] + b" and more"))

    def build_serialized_network(self, network: str, config: SimpleNamespace) -> bytes | None:
        monitor = config.progress_monitor
        monitor.phase_start("build", None, 2)
        going_on = self.work(monitor)
        monitor.phase_finish("build")
        return b"plan" if going_on else None


@pytest.fixture
def package(tmp_path):
    (tmp_path / "package").mkdir()
    graph = tmp_path / "package" / "x.onnx"
    graph.write_bytes(b"graph")
    package = package_of(files={"onnx_grid_fp16": (graph.name, sha256(graph))}, folder=graph.parent)
    package.save(graph.parent)
    return package


@pytest.fixture
def builder(host_driver, monkeypatch):
    builder = Builder()
    parser = SimpleNamespace(parse=lambda content: content == b"graph")
    tensorrt_stand_in.tensorrt(
        monkeypatch, Builder=builder, OnnxParser=lambda network, logger: parser, IProgressMonitor=object,
        BuilderFlag=SimpleNamespace(TF32="TF32"), NetworkDefinitionCreationFlag=SimpleNamespace(STRONGLY_TYPED=1))
    return builder


def test_a_build_leaves_an_engine_for_this_gpu_and_timings_for_the_next(package, builder, tmp_path):
    output = tmp_path / "new" / "x.engine"
    for _ in range(2):
        header = build_engine.build_engine(package, "fp16", output)
    assert read_engine(output) == (header, b"plan") and header.gpu == "Orin, 8 multiprocessors"
    assert builder.flags == [2, 2] and builder.timings == [b"new", b"new and more"]
    assert {path.name for path in output.parent.iterdir()} == {"x.engine", "timing_8.7_10.3.0.cache"}


@pytest.mark.parametrize("content", [b"damaged", b"another GPU's"])
def test_timings_that_tensorrt_refuses_are_begun_anew(package, builder, tmp_path, content):
    (tmp_path / "timing_8.7_10.3.0.cache").write_bytes(content)
    build_engine.build_engine(package, "fp16", tmp_path / "x.engine")
    assert builder.timings == [b"new"]
    assert (tmp_path / "timing_8.7_10.3.0.cache").read_bytes() == b"new and more"


def test_timings_that_cannot_be_kept_do_not_cost_the_engine(package, builder, tmp_path, caplog):
    (tmp_path / "timing_8.7_10.3.0.cache").mkdir()
    build_engine.build_engine(package, "fp16", tmp_path / "x.engine")
    assert read_engine(tmp_path / "x.engine")[1] == b"plan"
    assert "timing_8.7_10.3.0.cache was not written" in caplog.text and "the engine is whole" in caplog.text


@pytest.mark.parametrize("when", ["start", "step", "finish"])
def test_ctrl_c_ends_a_build_and_leaves_no_engine(package, builder, tmp_path, monkeypatch, capsys, when):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(build_engine.Progress, when, interrupted)
    builder.work = lambda monitor: monitor.step_complete("build", 0)
    words = ["build-engine", str(package.folder), "--output", str(tmp_path / "x.engine")]
    assert cli.main(words) == 130 and "sparse4d: stopped\n" in capsys.readouterr().err
    assert not (tmp_path / "x.engine").exists()


def test_a_build_that_fails_and_one_that_cannot_begin_are_sentences(package, builder, tmp_path, host_driver, capsys):
    def says(output: str = str(tmp_path / "x.engine")) -> str:
        assert cli.main(["build-engine", str(package.folder), "--output", output]) == 2
        return capsys.readouterr().err

    builder.work = lambda monitor: False
    assert "built no engine" in says() and not (tmp_path / "x.engine").exists()
    host_driver.fail("cuStreamCreate", 2)
    assert "cuda:0 cannot be used: cuStreamCreate: out of memory" in says()
    host_driver.fail("", 0)
    assert "/proc/x.engine was not written" in says("/proc/x.engine"), "known before minutes of building"
    sys.modules["tensorrt"].Builder = tensorrt_stand_in.null_pointer
    assert "TensorRT 10.3.0 cannot start on this GPU" in says()


def test_a_package_of_another_computer_says_where_the_right_one_comes_from(host_driver, tmp_path, monkeypatch):
    (tmp_path / "tensorrt.py").write_text("raise ImportError('libnvinfer.so.10: cannot open shared object file')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    with pytest.raises(UserError, match=r"failed \(libnvinfer.so.10: .*apt install python3-libnvinfer"):
        load_tensorrt()


def test_an_engine_that_this_user_cannot_read_is_never_passed_over(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    package = package_of(files={"onnx_grid_fp16": ("x.onnx", HEADER.onnx_sha256)})
    path = engine_path(package, "fp16")
    path.parent.mkdir()
    path.symlink_to(path)  # nobody can read it, root included
    for read in (lambda: read_engine(path), lambda: Engine(package, "auto", precision="fp16")):
        with pytest.raises(UserError, match=rf"this user cannot read the engine {path}: .* \(chmod\)"):
            read()
