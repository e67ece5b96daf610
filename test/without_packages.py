"""Run a module as if packages were not installed: `without_packages.py rosbags,torch sparse4d_ros.cli doctor`."""

from __future__ import annotations

import importlib.machinery
import runpy
import sys

ABSENT = set(sys.argv[1].split(","))


class Finder(importlib.machinery.PathFinder):
    """Finds what lies on the path, but for the absent packages."""

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in ABSENT else super().find_spec(name, path, target)


sys.meta_path[sys.meta_path.index(importlib.machinery.PathFinder)] = Finder
sys.path.pop(0)  # this file's folder
sys.argv = sys.argv[2:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
