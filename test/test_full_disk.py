"""A full disk: one sentence that names the file, nothing half-written, older files as they were."""

from __future__ import annotations

import contextlib
import resource
from types import SimpleNamespace

import bag_cases
import numpy as np
import pytest

from sparse4d_ros import cli
from sparse4d_ros.boxes import NUSCENES_CLASSES
from sparse4d_ros.data import faults
from sparse4d_ros.data.bag_writer import write_bag
from sparse4d_ros.data.drive_cache import write_drive
from sparse4d_ros.data.inject import BrokenBag
from sparse4d_ros.errors import UserError
from sparse4d_ros.viewer.store import FrameStore
from sparse4d_ros.writing import replacing, write_text


@contextlib.contextmanager
def full_after(size: int):
    """No file can grow beyond so many bytes: the system refuses the write, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def refused(folder, name, write, size=1000):
    """``write()`` fails with a sentence naming a path in ``folder``; nothing but the older file is there after it."""
    old = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with full_after(size), pytest.raises(UserError, match="was not written: .*(too large|disk full)") as caught:
        write()
    assert str(folder / name) in str(caught.value)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == old
    assert [path for path in folder.iterdir() if "partial" in path.name] == []


def test_a_text_file(tmp_path):
    write_text(tmp_path / "report.html", "old")
    refused(tmp_path, "report.html", lambda: write_text(tmp_path / "report.html", "new" * 1000))
    write_text(tmp_path / "report.html", "new")
    assert (tmp_path / "report.html").read_text() == "new"


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match=f"{tmp_path / 'no' / 'file.json'} was not written: No such file or directory"):
        write_text(tmp_path / "no" / "file.json", "text")


def test_an_error_of_the_caller_stays_what_it_is(tmp_path):
    with pytest.raises(KeyError), replacing(tmp_path / "file.json") as partial:
        partial.write_text("half")
        raise KeyError("of the caller")
    assert list(tmp_path.iterdir()) == []


def test_a_bag(tmp_path):
    write_bag(tmp_path / "bag", bag_cases.frames(1), bag_cases.rig())
    for size in (100, 1000, 20_000):  # at the first chunk, in the middle, at the end
        refused(tmp_path, "bag", lambda: write_bag(
            tmp_path / "bag", bag_cases.frames(8), bag_cases.rig(), overwrite=True), size)
    refused(tmp_path, "new", lambda: write_bag(tmp_path / "new", bag_cases.frames(8), bag_cases.rig()))


def test_a_broken_bag(tmp_path):
    bag = bag_cases.write(tmp_path / "bag", 4)

    def inject():
        with BrokenBag(tmp_path / "broken") as output:  # 128 times the pictures: more than one chunk of the file
            output.copy(bag, [faults.parse("duplicate")] * 7, 0)
    refused(tmp_path, "broken", inject)


def test_a_drive(tmp_path):
    refused(tmp_path, "drive", lambda: write_drive(tmp_path / "drive", bag_cases.frames(1), NUSCENES_CLASSES))


def test_recorded_motion(tmp_path):
    from sparse4d_ros.simulation.tracks import Motion, Recording
    from sparse4d_ros.simulation.tracks_file import write_tracks

    count = 500
    motion = Motion(np.arange(count) * 0.1, np.zeros((count, 3)), np.zeros((count, 3)))
    refused(tmp_path, "tracks.json", lambda: write_tracks(tmp_path / "tracks.json", Recording(motion, ())))


def test_recorded_results(tmp_path):
    from sparse4d_ros.evaluation.records import FrameResult, save_results

    generator = np.random.default_rng(0)
    results = [FrameResult(1, generator.normal(size=(50, 10)), ("car",) * 50, *generator.uniform(size=(2, 50)),
                           np.arange(50), {})]
    save_results(tmp_path / "tracks.npz", results[:0])
    refused(tmp_path, "tracks.npz", lambda: save_results(tmp_path / "tracks.npz", results))


def test_a_checkpoint_and_the_tables_of_a_run(tmp_path):
    torch = pytest.importorskip("torch", reason="training needs torch")
    from sparse4d_ros.training import checkpoint
    from sparse4d_ros.training.curves import Table

    path = tmp_path / checkpoint.CHECKPOINT
    checkpoint.save(path, {"step": 1})
    refused(tmp_path, path.name, lambda: checkpoint.save(path, {"step": 2, "network": torch.zeros(100_000)}))
    assert checkpoint.load(path) == {"step": 1}
    table = Table(tmp_path / "losses.csv", None)
    table.append({"step": 1.0, "total": 2.0})
    refused(tmp_path, "losses.csv", lambda: table.append({"step": 2.0, "total": 1.0}), size=16)
    refused(tmp_path, "losses.csv", lambda: Table(tmp_path / "losses.csv", 1), size=8)


def test_frames_that_wait_to_be_looked_at():
    store = FrameStore()
    with full_after(100), pytest.raises(UserError, match="the temporary file in .* was not written: .*too large"):
        store.append({"objects": "many" * 100}, [])
    assert store.status.count == 0


def test_what_the_devkit_reads(tmp_path):
    pytest.importorskip("nuscenes", reason="scores need the devkit")
    from sparse4d_ros.evaluation.nuscenes_memory import MemoryDataSet

    with full_after(1), pytest.raises(UserError, match=f"{tmp_path} was not written: .*too large"):
        MemoryDataSet([], tmp_path)


def test_a_graph(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch", reason="export needs torch")
    onnx = pytest.importorskip("onnx", reason="export needs onnx")
    from engine_cases import write_package

    from sparse4d_ros.deploy.export import export_onnx
    from sparse4d_ros.deploy.mixed_precision import package_of

    weights = onnx.numpy_helper.from_array(np.zeros(1000), "weights")
    model = onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [], [weights]))
    monkeypatch.setattr(torch.onnx, "export", lambda *_, **__: SimpleNamespace(model_proto=model))  # it takes a while
    package = write_package(tmp_path / "tiny")
    export_onnx(package, tmp_path / "model.onnx")
    refused(tmp_path, "model.onnx", lambda: export_onnx(package, tmp_path / "model.onnx"))
    with full_after(1000), pytest.raises(UserError, match=f"{tmp_path / 'trial.onnx'} was not written: .*too large"):
        package_of(package, model, tmp_path)


def test_a_model_package(tmp_path, capsys):
    torch = pytest.importorskip("torch", reason="packages of weights need torch")
    from engine_cases import TINY, package_of

    from sparse4d_ros.engine.package import ModelPackage
    from sparse4d_ros.model.detector import Sparse4D

    package_of().save(tmp_path)
    refused(tmp_path, "model.yaml", lambda: package_of(version="2").save(tmp_path), size=100)
    assert ModelPackage.load(tmp_path).version == "1"

    torch.save({"model": TINY.to_dict(), "intervals_s": [0.2], "classes": package_of().classes,
                "cameras": package_of().cameras, "input_width": 176, "input_height": 64, "mean": [1.0] * 3,
                "std": [1.0] * 3, "state_dict": Sparse4D(TINY).state_dict()}, tmp_path / "weights.pt")
    model = tmp_path / "packed"
    assert cli.main(["pack", str(tmp_path), str(model)]) == 0
    old = {path.name: path.read_bytes() for path in model.iterdir()}
    with full_after(10_000):
        assert cli.main(["pack", str(tmp_path), str(model), "--version", "2"]) == 2
    assert f"{model} was not written: " in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in model.iterdir()} == old
