"""The `sparse4d` commands of README and docs and README's Python really run, page by page, in a folder like a clone.

Each page has a fresh folder with copies of `models/` and `config/`. bash runs the line as it stands on the page, so
globs, quotes and comments mean what they mean to a reader. What a page takes to be there, such as a recorded `drive`,
is in PROVIDED; a page that names anything else fails. SHORTER and NOT_RUN say what is not run as written.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import bag_cases
import docs_text
import nuscenes_cases
import pytest
import rig_cases
import test_convert
import test_pretrained_backbone
import yaml
from docs_text import ROOT
from rosbags.rosbag2 import StoragePlugin, Writer

from sparse4d_ros.data import bag_files
from sparse4d_ros.data.ros_types import typestore

#: The tiny file in the official format.
checkpoint = test_convert.checkpoint

#: How a command begins that is not run here, and why.
NOT_RUN = {
    "sparse4d build-engine": "needs TensorRT and a GPU",
    "sparse4d view --bag models/sparse4d_small/demo_drive --model models/sparse4d_small": "serves a page until Ctrl-C",
}
#: What would take hours or minutes, and what is run in its place.
SHORTER = {
    r"--seeds (\d+):\d+": r"--seeds \1",  # towns: the first alone
    r"--duration 20\b": "--duration 1",
    r"(sparse4d ablate .*)--seeds 3": r"\1--seeds 1",
    r"(sparse4d robustness .*)--bag \S+": r"\1--bag drive_a",  # eight times over a drive: 2 s for 20
    r"(sparse4d precision .*)--score": r"\1--score --bag my_drive --frames 4 --tolerance 0.05",
    r"--split train --output bags": "--scene scene-0001 scene-0002 --output bags",  # 700 scenes
}
#: `train` and `ablate` run as written, but the clone's configurations have these numbers of steps: some of each phase.
STEPS = {"steps": 4, "image_steps": 1, "decoder_steps": 1}

#: Pages whose commands take a second or two.
QUICK = ("docs/fault_injection.md", "docs/vehicle.md")


def also_as(source: Path, target: Path, names: dict[str, str]) -> None:
    """A copy of a bag in which the messages of some topics come under another name as well."""
    with bag_files.open_bag(source) as reader, Writer(target, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connections = {}
        for connection, log_ns, raw in bag_files.messages(reader, reader.connections):
            for topic in filter(None, (connection.topic, names.get(connection.topic))):
                if topic not in connections:
                    connections[topic] = writer.add_connection(topic, connection.msgtype, typestore=typestore())
                writer.write(connections[topic], log_ns, bytes(raw))


def drive_of_another_rig(path: Path, _) -> None:
    """Flawless cameras, four of which have the names of docs/check_rig.md's vehicle as well."""
    source = rig_cases.write(path.with_name("source"))
    names = {"front": "front", "left": "front_left", "right": "front_right", "rear": "back"}
    also_as(source, path, {f"/camera/{ours}/{old}": f"/cam_{theirs}/{new}" for theirs, ours in names.items()
                           for old, new in (("image/compressed", "image_raw"), ("camera_info", "camera_info"))})


def drive_with_results(path: Path, _) -> None:
    """A drive as the vehicle recorded it; the node saw what is there."""
    source = bag_cases.write(path.with_name("source"), 6)
    also_as(source, path, {"/ground_truth/objects": "/sparse4d_node/output/objects"})


def official_weights(path: Path, request: pytest.FixtureRequest) -> None:
    shutil.copy(request.getfixturevalue("checkpoint")[0], path)


def imagenet_weights(path: Path, _) -> None:
    test_convert.torch.save(test_pretrained_backbone.published_lite0(), path)


def nuscenes(path: Path, request: pytest.FixtureRequest) -> None:
    """Both versions: the scenes that the page names, and those of mini_val."""
    patch = request.getfixturevalue("monkeypatch")
    for version, scenes in (("v1.0-mini", ("scene-0061", "scene-0103", "scene-0916")),
                            ("v1.0-trainval", ("scene-0001", "scene-0002"))):
        patch.setattr(nuscenes_cases, "SCENES", scenes)
        nuscenes_cases.write(path, version)


def configuration_without_maps(path: Path, _) -> None:
    """The small configuration as docs/nuscenes.md, section 7, has it for recordings."""
    content = yaml.safe_load((path.parent / "config" / "train_small.yaml").read_text())
    content["model"] |= {"num_anchors": 16, "num_temporal": 8}  # no more than there are objects to take them from
    content["training"] |= {"input_width": 704, "input_height": 256, "image_steps": 0}
    content["training"]["losses"] |= {"depth": 0.0, "semantics": 0.0, "perspective": 0.0}
    path.write_text(yaml.safe_dump(content))


def body(path: Path, _) -> None:
    """A model file for a car; skips where trimesh is missing."""
    pytest.importorskip("trimesh", reason="trimesh is not installed").creation.box((2, 1, 4)).export(path)


_MODEL = "sparse4d evaluate --model models/sparse4d_small"
_DRIVES = "sparse4d simulate --duration 1 --format arrays --split"
_BAG = "sparse4d simulate --duration 2 --split val --seeds 10053 --output ."
#: page -> what its reader has -> how it comes about before the first command that names it: by a line of shell or by a
#: function.
PROVIDED: dict[str, dict[str, str | Callable[[Path, pytest.FixtureRequest], None]]] = {
    "docs/check_rig.md": {"drive": drive_of_another_rig},
    "docs/deployment.md": {"my_model": "cp -r models/sparse4d_small my_model",
                           "my_drive": f"{_BAG} && mv drive_10053 my_drive"},
    "docs/evaluation.md": {
        "val": f"{_DRIVES} val --seeds 10000:10002 --output val",
        "drives/test": f"{_DRIVES} test --seeds 11000:11003 --output drives/test",
        "drive_a": f"{_BAG} && mv drive_10053 drive_a",
        "before.json": f"{_MODEL} --drives val/* --score-threshold 0.3 --output before.json",
        "demo_output/tracks.npz": f"mkdir demo_output && {_MODEL} --bag models/sparse4d_small/demo_drive "
                                  "--save-tracks demo_output/tracks.npz",
    },
    "docs/nuscenes.md": {"nuscenes": nuscenes, "sparse4dv3_r50.pth": official_weights,
                         "train_nuscenes.yaml": configuration_without_maps},
    "docs/simulation.md": {"model.glb": body},
    "docs/training.md": {"$WEIGHTS": imagenet_weights},
    "docs/vehicle.md": {"my_vehicle.yaml": "cp config/sparse4d.yaml my_vehicle.yaml"},
    "docs/viewing.md": {"drive": drive_with_results, "my_model": "ln -s models/sparse4d_small my_model"},
}


def lines() -> list[tuple[str, str]]:
    """``(page, line)`` of every command, continued lines joined."""
    return [(where.rsplit(":", 1)[0], line) for language in ("sh", "") for where, content in docs_text.blocks(language)
            for line in content.replace("\\\n", " ").splitlines() if line.startswith("sparse4d ")]


def shortened(line: str) -> str:
    for pattern, instead in SHORTER.items():
        line = re.sub(pattern, instead, line)
    return line


def takes(line: str, name: str) -> bool:
    """Whether a command takes a file or folder of this name."""
    return re.search(rf"(?<![\w/]){re.escape(name)}(?![\w.])", line) is not None


def reason_not_to(line: str) -> str | None:
    return next((reason for begin, reason in NOT_RUN.items() if line.startswith(begin)), None)


@pytest.fixture
def clone(tmp_path):
    """A folder like a clone, and `sparse4d` on the path."""
    folder = tmp_path / "sparse4d_ros"
    for name in ("models", "config"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("*.engine", "*_grid*"))
    for path in (folder / "config").glob("*.yaml"):
        path.write_text(re.sub(r"\b(steps|image_steps|decoder_steps): \d+", lambda found: f"{found[1]}: "
                               f"{STEPS[found[1]]}", path.read_text()))
    program = tmp_path / "bin" / "sparse4d"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m sparse4d_ros.cli "$@"\n')
    program.chmod(0o755)
    return folder


def run(words: list[str], clone: Path, said: str) -> None:
    """Run it in the clone as a reader would; fails with its last words."""
    environment = os.environ | {
        "PATH": f"{clone.parent / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "WEIGHTS": str(clone / "$WEIGHTS"),  # the provider's file, under the name that the page has
        "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])}
    done = subprocess.run(words, cwd=clone, env=environment, capture_output=True, text=True, timeout=1800, check=False)
    assert done.returncode == 0, f"{said}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


@pytest.mark.parametrize("page", [pytest.param(page, marks=() if page in QUICK else pytest.mark.slow)
                                  for page in sorted({page for page, _ in lines()})])
def test_the_commands_of_a_page_run(page, clone, request):
    wanted = dict(PROVIDED.get(page, {}))
    for line in [line for at, line in lines() if at == page and not reason_not_to(line)]:
        for name in [name for name in wanted if takes(shortened(line), name)]:
            how = wanted.pop(name)
            run(["bash", "-ec", how], clone, how) if isinstance(how, str) else how(clone / name, request)
        run(["bash", "-ec", shortened(line)], clone, line)


@pytest.mark.slow
@pytest.mark.parametrize("code", [pytest.param(content, id=where) for where, content in docs_text.blocks("python")])
def test_python_runs_as_written(code, clone):
    run([sys.executable, "-c", code], clone, code)


def test_every_command_is_found():
    found = sum(command.words[0] == "sparse4d" for command in docs_text.block_commands())
    assert found == len(lines()) > 40


def test_every_exception_is_of_a_command_that_is_there():
    text = [line for _, line in lines()]
    assert [begin for begin in NOT_RUN if not any(line.startswith(begin) for line in text)] == []
    assert [pattern for pattern in SHORTER if not any(re.search(pattern, line) for line in text)] == []
    assert [(page, name) for page, provided in PROVIDED.items() for name in provided
            if not any(at == page and takes(line, name) for at, line in lines())] == []
