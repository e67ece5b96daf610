"""Shipped files are found in a source tree and where colcon or pip installed them."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pytest

from sparse4d_ros import resources
from sparse4d_ros.errors import UserError

ROOT = Path(__file__).resolve().parents[1]


def test_source_tree_is_used_first() -> None:
    assert resources.share_path("msg", "ModelInfo.msg") == ROOT / "msg" / "ModelInfo.msg"


@pytest.mark.parametrize("packages", ["lib/python3.11/site-packages", "local/lib/python3.10/dist-packages"])
def test_installed_files_are_found_from_the_module(tmp_path: Path, packages: str) -> None:
    module = tmp_path / packages / "sparse4d_ros" / "resources.py"
    module.parent.mkdir(parents=True)
    shutil.copy(resources.__file__, module)
    shared = tmp_path / "share" / "sparse4d_ros" / "config"
    shared.mkdir(parents=True)
    spec = importlib.util.spec_from_file_location("installed_resources", module)
    installed = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(installed)
    assert installed.share_path("config") == shared


def test_missing_file_is_named() -> None:
    with pytest.raises(UserError, match=r"models/nothing is not part of this installation"):
        resources.share_path("models", "nothing")
