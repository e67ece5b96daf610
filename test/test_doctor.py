"""`sparse4d doctor` finds what is wrong with a machine and with a model package, and says what to do."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from engine_cases import copy_shipped

from sparse4d_ros import cli
from sparse4d_ros.deploy import doctor_machine, doctor_model
from sparse4d_ros.deploy.clocks import clocks
from sparse4d_ros.engine import ModelPackage
from sparse4d_ros.engine.agreement import Comparison
from sparse4d_ros.engine.engine_file import EngineHeader, engine_path, write_engine
from sparse4d_ros.engine.package import sha256
from sparse4d_ros.findings import Finding, page
from sparse4d_ros.resources import share_path

SHIPPED = share_path("models", "sparse4d_small")
PROFILE = share_path("config", "fastdds_profile.xml")


def verdicts(findings) -> list[str]:
    return [item.level for item in findings]


@pytest.fixture
def package(tmp_path):
    return copy_shipped(tmp_path / "package")


def test_the_shipped_package_is_well_and_the_page_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("FASTRTPS_DEFAULT_PROFILES_FILE", str(PROFILE))
    code = cli.main(["doctor", "--frames", "3", "--json", str(tmp_path / "doctor.json")])
    text = capsys.readouterr().out
    values = json.loads((tmp_path / "doctor.json").read_text())
    found, sections = values["findings"], {item["section"] for item in values["findings"]}
    assert values["worst"] != "FAIL" and not [item for item in found if item["level"] == "FAIL"] and code == 0
    for section in ("Versions", "GPU", "ROS", "Memory and network", "Model package", "Backends"):
        assert f"\n{section}\n" in f"\n{text}" and section in sections
    assert re.search(r"OK +onnx +model.onnx, checksum as packed", text) and re.search(r"INFO +onnxruntime +\d", text)
    assert "p50 ms" in text and all(len(times) == 3 for times in values["latency_ms"].values())
    assert all(item["remedy"] for item in found if item["level"] == "WARN"), "a warning without a remedy"


def test_a_graph_of_other_weights_fails_by_the_object_that_differs(package, tmp_path, capsys, monkeypatch):
    pytest.importorskip("torch", reason="the weights are run by torch")
    from safetensors.torch import load_file, save_file

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    state = load_file(SHIPPED / "weights.safetensors")
    last = max(key for key in state if key.endswith("refinement.layers.10.bias"))
    scale = state[last.replace("10.bias", "11.scale")]
    state[last][1] += 0.5 / scale[1]  # all objects half a metre to the left
    save_file(state, package / "weights.safetensors")
    known = ModelPackage.load(package)
    digest = sha256(package / "weights.safetensors")
    replace(known, files={**known.files, "weights": ("weights.safetensors", digest)}).save(package)
    assert cli.main(["doctor", "--model", str(package), "--frames", "2"]) == 1
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("  FAIL"))
    assert "onnxruntime cpu model.onnx" in line and " of score 0." in line
    assert "differs by 0.5 in y" in line, line


def test_an_altered_file_and_a_folder_that_is_no_package_fail(package, tmp_path, capsys):
    (package / "model.onnx").write_bytes(b"something else")
    loaded, found = doctor_model.examine_package(package)
    assert loaded is not None and verdicts(found) == ["OK", "OK", "FAIL"]
    assert "is not the file that was packed" in found[2].text and "copy the package again" in found[2].remedy
    assert cli.main(["doctor", "--model", str(tmp_path / "none")]) == 1
    assert "  FAIL  model package " in capsys.readouterr().out


def test_engines_are_listed_and_a_build_that_cannot_be_is_a_finding(package, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    known = replace(ModelPackage.load(package), files={"onnx_grid_fp16": ("x.onnx", "c" * 64)})
    found = doctor_model.examine_engines(known, "int8")
    assert verdicts(found) == ["FAIL", "INFO"] and "sparse4d export" in found[0].text
    assert f"sparse4d build-engine {package} --precision fp16" in found[1].remedy
    path = engine_path(known, "fp16")
    path.parent.mkdir(parents=True)
    write_engine(path, EngineHeader("p", "1", "fp16", "c" * 64, "10.3.0", "Orin", "8.7"), b"plan")
    found = doctor_model.examine_engines(known, None)
    assert verdicts(found) == ["INFO"] and "for Orin, TensorRT 10.3.0" in found[0].text
    path.write_bytes(path.read_bytes()[:-1])
    assert verdicts(doctor_model.examine_engines(known, None)) == ["FAIL"]


def test_a_backend_that_cannot_run_is_a_finding_and_not_the_end(package):
    (package / "model.onnx").write_bytes(b"no graph")
    known = ModelPackage.load(package)
    files = {"onnx": ("model.onnx", sha256(package / "model.onnx"))}
    found, rows = doctor_model.examine_backends(replace(known, files=files), SHIPPED / "demo_drive", 1)
    assert verdicts(found) == ["FAIL", "FAIL"] and rows == [] and "cannot load" in found[0].text
    good = replace(known, files={"onnx": ("model.onnx", sha256(SHIPPED / "model.onnx"))}, folder=SHIPPED)
    found, rows = doctor_model.examine_backends(good, package, 1)
    assert verdicts(found) == ["FAIL"] and str(package) in found[0].text and "--bag" in found[0].remedy


class Objects:
    """Detections of one class at given places along x; just what a comparison looks at."""

    def __init__(self, *x: float, score: float = 0.9) -> None:
        self.boxes = np.zeros((len(x), 10))
        self.boxes[:, 0] = x
        self.class_ids = np.zeros(len(x), int)
        self.scores = np.full(len(x), score)


@pytest.mark.parametrize(("precision", "moved", "verdict"), [
    ("fp32", 5e-4, "OK"), ("fp32", 3e-3, "WARN"), ("fp32", 0.1, "FAIL"),
    ("fp16", 4e-3, "OK"), ("fp16", 2e-2, "WARN"), ("fp16", 0.1, "FAIL"), ("int8", 0.1, "WARN"), ("int8", 2.0, "FAIL")])
def test_the_limits_are_those_of_the_precision(precision, moved, verdict):
    found = doctor_model.agreement("x", precision, [Comparison(7, Objects(1.0, 30.0), Objects(1.0, 30.0 + moved))],
                                   ("car",))
    assert found.level == verdict and f"frame 7: car of score 0.90 at (30.0, 0.0) m differs by {moved:.2g} in x" \
        in found.text


def test_lost_objects_errors_and_empty_frames_have_their_words():
    def verdict(*steps):
        return doctor_model.agreement("x", "int8", list(steps), ("car",))

    lost = verdict(Comparison(0, Objects(1.0), Objects()))
    assert lost.level == "FAIL" and "at (1.0, 0.0) m has no partner" in lost.text
    new = verdict(Comparison(0, Objects(), Objects(2.0)))
    assert new.level == "FAIL" and "at (2.0, 0.0) m has no partner" in new.text
    nothing = verdict(Comparison(0, Objects(1.0, score=0.1), Objects()))
    assert nothing.level == "WARN" and "nothing to compare" in nothing.text
    broken = verdict(Comparison(0, Objects(1.0), Objects(1.0)), RuntimeError("out of memory"))
    assert broken.level == "FAIL" and "frame 1: out of memory" in broken.text


def test_segments_of_dead_processes_are_told_from_those_in_use(tmp_path):
    for name in ("fastrtps_dead", "fastdds_alive"):
        (tmp_path / name).write_bytes(bytes(1000))
        (tmp_path / f"{name}_el").touch()
    (tmp_path / "fastrtps_port7000").touch()
    (tmp_path / "fastrtps_port7000_el").touch()
    with open(tmp_path / "fastdds_alive_el") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert doctor_machine.leftovers(tmp_path) == [tmp_path / "fastrtps_dead"]
    found = doctor_machine.shared_memory(tmp_path)[1]
    assert found.level == "WARN" and "2 segments of dead processes" in found.text and "fastrtps_dead" in found.remedy
    assert verdicts(doctor_machine.shared_memory(tmp_path / "none")) == ["FAIL"]


def test_little_shared_memory_is_a_warning(monkeypatch, tmp_path):
    usage = shutil.disk_usage(tmp_path)
    for free, verdict in ((64 << 20, "WARN"), (1 << 30, "OK")):
        monkeypatch.setattr(doctor_machine.shutil, "disk_usage", lambda _, free=free: usage._replace(free=free))
        assert doctor_machine.shared_memory(tmp_path)[0].level == verdict


def test_the_transport_profile_is_checked_by_what_is_in_it(tmp_path):
    small = tmp_path / "small.xml"
    small.write_text("<p><segment_size>1024</segment_size></p>")
    broken = tmp_path / "broken.xml"
    broken.write_text("<p>")
    for value, verdict in ((str(PROFILE), "OK"), (str(small), "WARN"), (str(broken), "FAIL"), ("/no/file", "FAIL")):
        found = doctor_machine.profile({"FASTRTPS_DEFAULT_PROFILES_FILE": value})
        assert verdicts(found) == [verdict], value
        assert verdict == "OK" or str(PROFILE) in found[0].remedy
    assert verdicts(doctor_machine.profile({})) == ["WARN"]


def test_small_socket_buffers_and_slow_governors_are_warnings(tmp_path):
    rmem = tmp_path / "rmem_max"
    for value, verdict in ((212992, "WARN"), (8 << 20, "OK")):
        rmem.write_text(f"{value}\n")
        assert verdicts(doctor_machine.sockets(rmem)) == [verdict]
    assert doctor_machine.sockets(tmp_path / "none") == []
    governor = tmp_path / "cpu0" / "cpufreq" / "scaling_governor"
    governor.parent.mkdir(parents=True)
    (tmp_path / "cpu1" / "cpufreq" / "scaling_governor").mkdir(parents=True)  # cannot be read, as of a CPU that is off
    for value, verdict in (("powersave", "WARN"), ("performance", "OK")):
        governor.write_text(value + "\n")
        assert clocks(tmp_path)[0].level == verdict


def test_a_finding_has_one_of_the_verdicts_and_the_page_counts_them():
    with pytest.raises(ValueError, match="'GOOD' is not one of"):
        Finding("GOOD", "c", "x", "y")
    text = page({"A": [Finding("OK", "c", "x", "y"), Finding("FAIL", "c", "x", "z", "do this")],
                 "B": [Finding("INFO", "c", "x", "")]})
    assert text.splitlines()[-1] == "1 OK, 0 SKIP, 0 WARN, 1 FAIL" and " -> do this" in text


def test_the_environment_is_not_changed(monkeypatch):
    before = dict(os.environ)
    doctor_machine.examine_machine()
    assert dict(os.environ) == before
