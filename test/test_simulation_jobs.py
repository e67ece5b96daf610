"""Drives rendered in processes of their own, and what is left where rendering ends before its end."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from rendering import renderer_of
from test_full_disk import full_after
from test_simulation_tracks import two_objects

from sparse4d_ros import cli
from sparse4d_ros.simulation import renderer as renderer_module

ROOT = Path(__file__).resolve().parents[1]
OPTIONS = ["simulate", "--size", "88x32", "--format", "arrays"]


@pytest.fixture(scope="module", autouse=True)
def can_render():
    """Skips where the machine cannot draw without a screen."""
    yield from renderer_of((88, 32))


@pytest.fixture
def tracks(tmp_path_factory):
    """Options for a recording of 200 frames, which needs no town."""
    content = two_objects()
    content["ego"]["times"][1] += 38.0
    path = tmp_path_factory.mktemp("tracks") / "drive.json"
    path.write_text(json.dumps(content))
    return ["--tracks", str(path)]


def test_drives_of_several_processes_are_those_of_one(tracks, tmp_path):
    words = [*OPTIONS, *tracks, "--seeds", "0:3", "--duration", "0.4", "--variety", "full", "--output"]
    assert cli.main([*words, str(tmp_path / "1")]) == 0
    program = [sys.executable, str(ROOT / "scripts" / "sparse4d")]  # each process imports this file
    done = subprocess.run([*program, *words, str(tmp_path / "2"), "--jobs", "2"], capture_output=True, text=True,
                          env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"})
    assert done.returncode == 0, done.stderr
    one, two = ({path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.np[yz]")}
                for folder in (tmp_path / "1", tmp_path / "2"))
    assert one == two and len(one) == 3 * 4


def test_an_error_in_one_process_ends_all_and_names_the_seed(tracks, tmp_path, capsys):
    (tmp_path / "drive_00001.partial").touch()  # where a folder is to be
    assert cli.main([*OPTIONS, *tracks, "--seeds", "0:3", "--jobs", "2", "--output", str(tmp_path)]) == 2
    assert f"seed 1: {tmp_path / 'drive_00001'} was not written: File exists" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["drive_00001.partial"]


@pytest.mark.parametrize(("who", "number", "code", "said"), [
    ("all", signal.SIGINT, 130, "sparse4d: stopped"),
    ("one", signal.SIGKILL, 2, "the process that rendered it died")])
def test_ctrl_c_and_a_killed_process_end_all(tracks, tmp_path, capsys, who, number, code, said):
    def disturb():
        while len(list(tmp_path.glob("*/images.npy"))) < 2:
            time.sleep(0.02)
        first, second = multiprocessing.active_children()
        for pid in (first.pid, second.pid, os.getpid()) if who == "all" else (first.pid,):  # as a terminal sends it
            os.kill(pid, number)

    thread = threading.Thread(target=disturb, daemon=True)
    thread.start()
    assert cli.main([*OPTIONS, *tracks, "--seeds", "0:2", "--jobs", "2", "--output", str(tmp_path)]) == code
    thread.join()
    error = capsys.readouterr().err
    assert said in error and "Traceback" not in error and multiprocessing.active_children() == []
    assert len(list(tmp_path.iterdir())) == (who == "one")  # which had no time to tidy up


@pytest.mark.parametrize("fault", ["full disk", "Ctrl-C"])
def test_the_renderer_is_released_where_rendering_ends_early(tracks, tmp_path, monkeypatch, fault):
    released = []
    whole = renderer_module.Renderer.release
    monkeypatch.setattr(renderer_module.Renderer, "release", lambda self: released.append(whole(self)))
    if fault == "Ctrl-C":
        monkeypatch.setattr(renderer_module.Renderer, "draw", lambda *_, **__: signal.raise_signal(signal.SIGINT))
    with full_after(1000 if fault == "full disk" else 10 ** 9):
        assert cli.main([*OPTIONS, *tracks, "--output", str(tmp_path / "out")]) == (2 if fault == "full disk" else 130)
    assert len(released) == 1 and list((tmp_path / "out").iterdir()) == []
