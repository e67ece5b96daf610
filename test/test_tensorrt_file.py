"""The file of a TensorRT engine: read back as written or refused, and for which machine and graph it is."""

from __future__ import annotations

from dataclasses import replace

import pytest
from engine_cases import package_of
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorrt_cases import HEADER

from sparse4d_ros.engine.engine_file import (
    EngineHeader,
    check_engine,
    engine_header,
    engine_path,
    read_engine,
    write_engine,
)
from sparse4d_ros.errors import UserError


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
