"""A package that is not installed costs one sentence, and its remedy brings what is missing and no more."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import Path

import docs_text
import pytest

from sparse4d_ros import installing
from sparse4d_ros.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
#: What a vehicle has after rosdep alone.
NOT_OF_ROSDEP = ("onnxruntime", "rosbags", "matplotlib", "nuscenes", "motmetrics", "cachetools", "sklearn",
                 "pyquaternion", "torch", "safetensors", "onnx", "onnxscript", "tensorrt", "moderngl")


def run_without(packages: tuple[str, ...], *words: str) -> subprocess.CompletedProcess:
    """`python -m words` where these packages are not installed."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    return subprocess.run([sys.executable, str(ROOT / "test" / "without_packages.py"), ",".join(packages), *words],
                          env=environment, capture_output=True, text=True)


@pytest.fixture
def bare(monkeypatch):
    """A virtual environment with numpy 2 and nothing else of ours, wherever the test runs."""
    monkeypatch.setattr(sys, "base_prefix", "/elsewhere")
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "2.1.0")
    monkeypatch.setattr(installing, "_installed", lambda name: name == "numpy")


@pytest.mark.parametrize(("module", "brings"), [
    ("rosbags.highlevel", {"rosbags"}), ("cv2", {"opencv-python-headless", "onnxruntime"}),
    ("sklearn", {"scikit-learn", "matplotlib", "nuscenes-devkit"}), ("torch", {"torch"}),
    ("onnxscript", {"onnx", "torch"}), ("moderngl", {"moderngl"}), ("never_heard_of", {"never_heard_of"})])
def test_a_remedy_brings_what_is_missing_and_no_more(bare, module, brings):
    remedy = installing.remedy(module)
    assert remedy.startswith("pip install ") and all(name in remedy for name in brings)
    assert ("torch" in remedy) == ("torch" in brings) and "numpy" not in remedy


@pytest.mark.parametrize("module", ["rclpy", "vision_msgs.msg", "sparse4d_ros.msg", "std_srvs"])
def test_what_ros_brings_is_not_asked_of_pip(module):
    assert installing.remedy(module).startswith("source ROS")


def test_what_is_there_is_left_alone(bare, monkeypatch):
    monkeypatch.setattr(installing, "_installed", lambda name: name != "scikit-learn")
    assert installing.remedy("onnxruntime") == "pip install 'onnxruntime>=1.15'"
    # The devkit's own pins would hold numpy below 2.
    assert installing.remedy("nuscenes") == \
        "pip install 'scikit-learn>=1.1' && pip install --no-deps nuscenes-devkit==1.2.0"


def test_what_a_distribution_compiled_and_manages_is_left_alone(bare, monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "1.21.5")
    assert installing.remedy("rosbags") == "pip install 'rosbags>=0.11' 'numpy<2'"
    (tmp_path / "EXTERNALLY-MANAGED").touch()
    monkeypatch.setattr(installing.sysconfig, "get_path", lambda name: str(tmp_path))
    assert "venv" not in installing.remedy("rosbags")  # in an environment of its own
    monkeypatch.setattr(sys, "base_prefix", sys.prefix)
    assert installing.remedy("rosbags").startswith("python3 -m venv --system-site-packages ")


def test_every_requirement_belongs_to_a_group():
    """All but those of tools, which are not told to anybody who lacks them."""
    tools = {"browser", "constraints", "lint", "test"}
    files = {path.stem.removesuffix("-no-deps") for path in (ROOT / "requirements").glob("*.txt")}
    assert files - tools == set(installing.GROUPS)
    assert all(installing.requirements(group) for group in installing.GROUPS)


def test_a_backend_that_is_not_installed_names_its_remedy():
    with pytest.raises(UserError, match=r"the never backend needs the Python package 'never_heard_of'.*pip install"):
        installing.require("the never backend", "never_heard_of")
    installing.require("this test", "pytest")


def test_the_doctor_says_what_a_vehicle_lacks_after_rosdep_alone():
    result = run_without(NOT_OF_ROSDEP, "sparse4d_ros.cli", "doctor")
    text = result.stdout
    assert result.returncode == 1 and not result.stderr, result.stderr
    for package in ("onnxruntime", "rosbags"):
        assert re.search(rf"  WARN  {package} +not installed: .*\n +-> .*pip install .*{package}", text), text
    assert re.search(r"  FAIL  onnxruntime cpu model.onnx +the onnxruntime backend needs .*pip install", text), text
    assert re.search(r"  INFO  torch +not installed; a vehicle can do without\n  INFO", text), text
    assert not re.search(r"pip install.*torch", text)


def test_the_doctor_tries_the_model_where_no_bag_can_be_read():
    pytest.importorskip("onnxruntime")
    text = run_without(("rosbags", "torch"), "sparse4d_ros.cli", "doctor").stdout
    assert re.search(r"  SKIP  drive +not compared.*\n +-> .*pip install .*rosbags", text), text
    assert "FAIL" not in text.replace("0 FAIL", "")


@pytest.mark.parametrize(("words", "lacks"), [
    (("sparse4d_ros.cli", "view", "--bag", "x"), "rosbags"), (("sparse4d_ros.cli", "inject", "x", "y"), "rosbags"),
    (("sparse4d_ros.cli", "convert", "x", "y"), "torch"),
    *[(("sparse4d_ros.node.start", program, "--help"), "rosbags") for program in ("record", "replay", "view", "demo")]])
def test_a_program_that_lacks_a_package_ends_in_one_sentence(words, lacks):
    if "node" in words[0]:
        pytest.importorskip("rclpy")
    result = run_without((lacks,), *words)
    assert result.returncode == 2 and not result.stdout
    (sentence,) = result.stderr.splitlines()
    assert f"needs the Python package '{lacks}'" in sentence and f"pip install '{lacks}>=" in sentence


def test_the_programs_of_the_workspace_start_that_way():
    for program in ("record", "replay", "view"):
        assert f'start("{program}", sys.argv[1:])' in (ROOT / "scripts" / f"sparse4d_{program}").read_text()


@pytest.mark.ros
def test_sourcing_the_workspace_makes_sparse4d_a_command():
    prefix = next(Path(path) for path in os.environ["AMENT_PREFIX_PATH"].split(os.pathsep)
                  if (Path(path) / "share" / "sparse4d_ros").is_dir())
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}
    result = subprocess.run(
        ["bash", "-c", 'source "$0"; command -v sparse4d && sparse4d --version && sparse4d doctor --help',
         str(prefix / "share" / "sparse4d_ros" / "local_setup.bash")], env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(f"{prefix}/bin/sparse4d\nsparse4d_ros ")


def test_the_pages_for_vehicles_install_all_that_the_programs_need():
    """Rosdep keys of package.xml and the pages' pip line are together everything of the groups base and bags."""
    lines = [said.words[2:] for said in docs_text.block_commands()
             if said.words[:2] == ["pip", "install"] and any(word.startswith("onnxruntime") for word in said.words)]
    keys = re.findall(r"<exec_depend>python3-(\w+)</exec_depend>", (ROOT / "package.xml").read_text())
    named = {"opencv": "opencv-python-headless", "pil": "Pillow", "yaml": "PyYAML"}
    by_rosdep = {named.get(key, key) for key in keys}
    needed = installing.requirements("base") + installing.requirements("bags")
    others = {line for line in needed if re.split("[<>=]", line)[0] not in by_rosdep}
    assert len(lines) == 2  # README.md and docs/vehicle.md
    assert all(set(line) == others | {"numpy<2"} for line in lines)
