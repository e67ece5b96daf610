"""An engine with the plugin says which library it needs, and nothing goes on without that one."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from engine_cases import package_of
from tensorrt_cases import HEADER

from sparse4d_ros import cli
from sparse4d_ros.engine.engine_file import check_engine, engine_header
from sparse4d_ros.engine.package import sha256
from sparse4d_ros.engine.tensorrt_backend import load_plugin
from sparse4d_ros.errors import UserError


def test_an_engine_says_which_library_it_needs_and_takes_no_other(tmp_path):
    library = tmp_path / "plugin.so"
    library.write_bytes(b"one")
    package = package_of(files={"onnx_plugin_fp16": ("model_plugin_fp16.onnx", "c" * 64)})
    built = engine_header(package, "fp16", "10.3.0", "Orin", "8.7", str(library))
    assert (built.onnx_sha256, built.plugin, built.plugin_sha256) == ("c" * 64, str(library), sha256(library))
    check_engine(built, engine_header(package, "fp16", "10.3.0", "Orin", "8.7", built.plugin), tmp_path)
    library.write_bytes(b"another")
    here = engine_header(package, "fp16", "10.3.0", "Orin", "8.7", built.plugin)
    with pytest.raises(UserError, match=rf"plugin with SHA-256 {built.plugin_sha256[:12]}…; here: plugin with SHA"):
        check_engine(built, here, tmp_path)
    library.unlink()
    with pytest.raises(UserError, match=f"the library of the plugin is not there: {library}"):
        engine_header(package, "fp16", "10.3.0", "Orin", "8.7", built.plugin)


def test_a_package_with_one_of_the_two_graphs_says_what_the_other_needs():
    arguments = ("fp16", "10.3.0", "Orin", "8.7")
    with pytest.raises(UserError, match="files.onnx_grid_fp16.*files.onnx_plugin_fp16 needs `build-engine --plugin`"):
        engine_header(package_of(files={"onnx_plugin_fp16": ("x.onnx", "c" * 64)}), *arguments)
    with pytest.raises(UserError, match="files.onnx_plugin_fp16.*--reading plugin --precision fp16` makes it$"):
        engine_header(package_of(files={"onnx_grid_fp16": ("x.onnx", "c" * 64)}), *arguments, "plugin.so")
    assert HEADER.plugin == ""


def test_the_builder_is_told_of_the_library_or_the_build_is_refused_in_words(tmp_path, capsys):
    package_of(files={"onnx_plugin_fp16": ("x.onnx", "c" * 64)}).save(tmp_path)
    assert cli.main(["build-engine", str(tmp_path), "--plugin", str(tmp_path / "no.so")]) == 2
    assert f"the library of the plugin is not there: {tmp_path / 'no.so'}" in capsys.readouterr().err
    asked = []
    registry = SimpleNamespace(load_library=lambda path: asked.append(path))  # None: a library that it cannot load
    with pytest.raises(UserError, match="TensorRT cannot load the plugin a.so"):
        load_plugin(SimpleNamespace(get_plugin_registry=lambda: registry), "a.so")
    assert asked == ["a.so"]
