"""The nuScenes devkit and matplotlib are for scores and charts: nothing else asks for them, and what does says so."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from test_record_demo import write_drive

from sparse4d_ros import cli

_CODE = """
import sys
sys.modules.update(dict.fromkeys(("matplotlib", "nuscenes")))
from sparse4d_ros import cli
for words in sys.argv[1:]:
    try:
        code = cli.main(words.split())
    except SystemExit as done:
        code = done.code
    print(f"{words}: {code}")
"""


def run(*commands: str, data: Path = Path("nowhere")) -> tuple[list[str], str]:
    """Exit codes as lines, and stderr; the system's fonts are those in ``data``."""
    done = subprocess.run([sys.executable, "-c", _CODE, *commands], capture_output=True, text=True,
                          env={**os.environ, "XDG_DATA_DIRS": str(data), "XDG_DATA_HOME": str(data)})
    return done.stdout.splitlines(), done.stderr


def test_every_command_explains_itself():
    heavy = () if find_spec("torch") and find_spec("onnx") else ("deploy", "training")
    names = [name for name, (module, _) in cli.COMMANDS.items() if module.split(".")[1] not in heavy]
    lines, error = run(*(f"{name} --help" for name in names))
    assert error == ""
    assert [line for line in lines if line in {f"{name} --help: 0" for name in names}] == \
        [f"{name} --help: 0" for name in names]


def test_a_folder_to_show_around_needs_the_system_s_font_alone(tmp_path):
    matplotlib = pytest.importorskip("matplotlib")
    recorded = write_drive(tmp_path / "drive")
    shutil.copytree(Path(matplotlib.get_data_path()) / "fonts" / "ttf", tmp_path / "fonts")
    words = f"record-demo --bag {recorded} --output {tmp_path / 'demo'} --stills 0"
    lines, error = run(words)
    assert lines == [f"{words}: 2"] and "needs the Python package 'matplotlib'" in error
    assert not (tmp_path / "demo").exists(), "it is missed before anything is done"
    lines, error = run(words, data=tmp_path)
    assert lines[-1] == f"{words}: 0" and error == ""
    assert (tmp_path / "demo" / "video.mp4").is_file()


def test_what_scores_says_that_it_needs_the_devkit():
    commands = ("evaluate --tracks nowhere --bag nowhere", "robustness --model nowhere --bag nowhere",
                "nuscenes-to-bag --dataroot nowhere --output nowhere")
    lines, error = run(*commands)
    assert lines == [f"{words}: 2" for words in commands]
    assert error.count("needs the Python package 'nuscenes") == len(commands)
