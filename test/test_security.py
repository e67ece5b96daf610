"""Files from outside hold data, never code: what the package may call, and what becomes of files that hold code."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sparse4d_ros import cli
from sparse4d_ros.engine.package import ModelPackage, sha256
from sparse4d_ros.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted(path for folder in ("sparse4d_ros", "launch", "scripts", "underlay")
                 for path in (ROOT / folder).rglob("*") if path.suffix == ".py" or path.parent.name == "scripts")
#: Whatever reads code where data is expected.
RUNS_CODE = {"eval", "exec", "os.system", "os.popen", "yaml.load", "yaml.load_all", "yaml.full_load",
             "yaml.unsafe_load", "pickle.load", "pickle.loads", "pickle.Unpickler", "joblib.load", "torch.jit.load"}
UNPICKLING = {"marshal", "shelve", "dill", "cloudpickle"}


def dangers(source: str) -> list[str]:
    """Calls and imports that could run what a file holds."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            found += [f"import {name}" for name in names if name.split(".")[0] in UNPICKLING]
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        options = {word.arg: ast.unparse(word.value) for word in node.keywords}
        if name in RUNS_CODE or options.get("shell", "False") != "False" or \
                options.get("allow_pickle", "False") != "False" or \
                name == "torch.load" and options.get("weights_only") != "True":
            found.append(f"line {node.lineno}: {ast.unparse(node)}")
    return found


def test_no_module_runs_what_a_file_holds():
    assert len(SOURCES) > 150
    found = {str(path.relative_to(ROOT)): dangers(path.read_text()) for path in SOURCES}
    assert {path: lines for path, lines in found.items() if lines} == {}


@pytest.mark.parametrize("line", [
    "eval('1')", "yaml.load(text)", "yaml.load(text, Loader=yaml.Loader)", "pickle.loads(data)", "import dill",
    "torch.load(path)", "torch.load(path, weights_only=False)", "np.load(path, allow_pickle=True)",
    "subprocess.run(line, shell=True)", "os.system(line)"])
def test_such_a_line_would_be_seen(line):
    assert dangers(line)


def test_onnxruntime_tells_nobody_what_it_runs(tmp_path):
    """From 1.29 on it notes models and sends that to its maker, unless it is told not to before it is imported."""
    environment = {key: value for key, value in os.environ.items() if key not in ("CI", "ORT_DISABLE_TELEMETRY")}
    subprocess.run([sys.executable, "-c", "import sparse4d_ros, onnxruntime"], check=True, cwd=ROOT, env=environment | {
        "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache"), "PYTHONPATH": str(ROOT)})
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


class Malice:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


@pytest.fixture
def malicious(tmp_path):
    """A file that makes a folder if it is unpickled, and that folder."""
    torch = pytest.importorskip("torch", reason="pickles of PyTorch")
    path, proof = tmp_path / "weights.pt", tmp_path / "it_ran"
    torch.save({"state_dict": Malice(proof), "model": {}}, path)
    torch.load(path, weights_only=False)
    assert proof.is_dir(), "the file is not as dangerous as it is meant to be"
    proof.rmdir()
    return path, proof


@pytest.mark.parametrize("command", ["convert", "pack", "train"])
def test_no_command_runs_code_in_a_checkpoint(malicious, tmp_path, capsys, command):
    path, proof = malicious
    (tmp_path / "checkpoint.pt").write_bytes(path.read_bytes())
    arguments = {"convert": [str(path), str(tmp_path / "package")], "pack": [str(tmp_path), str(tmp_path / "package")],
                 "train": ["--resume", "--output", str(tmp_path), "--drives", str(tmp_path)]}[command]
    assert cli.main([command, *arguments]) == 2
    assert str(tmp_path) in capsys.readouterr().err
    assert not proof.exists() and not (tmp_path / "package").exists()


def test_a_pickle_in_a_model_package_is_no_weights(malicious, tmp_path):
    from engine_cases import package_of

    from sparse4d_ros.engine.torch_backend import load_network

    path, proof = malicious
    package_of(files={"weights": (path.name, sha256(path))}).save(tmp_path)
    with pytest.raises(UserError, match=f"{path} is not a safetensors file"):
        load_network(ModelPackage.load(tmp_path))
    assert not proof.exists()


def test_a_graph_with_weights_in_a_file_without_checksum_is_refused(tmp_path, monkeypatch):
    onnx = pytest.importorskip("onnx", reason="makes the graph")
    import numpy as np
    from engine_cases import package_of

    from sparse4d_ros.engine.onnx_backend import OnnxBackend

    weight = onnx.numpy_helper.from_array(np.ones(4, np.float32), "w")
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [4]) for name in "xy"]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Add", ["x", "w"], ["y"])], "g", ends[:1], ends[1:], [weight])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path / "model.onnx"
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert (tmp_path / "weights.bin").is_file()
    monkeypatch.chdir(tmp_path)
    package_of(files={"onnx": (path.name, sha256(path))}).save(tmp_path)
    with pytest.raises(UserError, match=f"onnxruntime cannot load {path}"):
        OnnxBackend(ModelPackage.load(tmp_path))
