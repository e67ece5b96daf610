"""Files that ship with the package: message definitions, configuration, models.

They lie beside the package in a source tree, and in ``share/sparse4d_ros`` of the prefix where
colcon or pip installed it. Found from where this file is, so no environment variable is needed.
"""

from __future__ import annotations

import sys
from pathlib import Path

from sparse4d_ros.errors import UserError

PACKAGE = "sparse4d_ros"


def share_path(*parts: str) -> Path:
    """Path of a shipped file or folder, for example ``share_path("config", "sparse4d.yaml")``.

    Raises UserError if it was not installed.
    """
    candidates = [folder.joinpath(*parts) for folder in share_folders(Path(__file__), Path(sys.prefix))]
    for candidate in candidates:
        if candidate.exists():
            return candidate
    searched = ", ".join(str(candidate) for candidate in candidates if candidate.parent.exists())
    raise UserError(f"{Path(*parts)} is not part of this installation of {PACKAGE} (looked for {searched or 'it'}); "
                    "install the package again, or work in its source tree")


def share_folders(module: Path, prefix: Path) -> list[Path]:
    """Where shipped files may lie for a module installed at `module`, nearest first."""
    source_tree = module.parents[1]
    if (source_tree / "package.xml").is_file():
        return [source_tree]
    # <prefix>/lib/python3.x/site-packages/sparse4d_ros/resources.py -> <prefix>/share/sparse4d_ros
    folders = [ancestor / "share" / PACKAGE for ancestor in module.parents]
    return [folder for folder in (*folders, prefix / "share" / PACKAGE) if folder.is_dir()]
