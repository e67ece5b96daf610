"""Random and damaged input for everything that reads from outside: `make fuzz`, docs/fuzzing.md.

A target makes a case out of a random generator and runs it. Each input of a case ends in ``ACCEPTED`` or in a reason
of rejection; any other exception, a crash, a hang or memory that grows is a finding. Case ``index`` of ``seed`` is
always the same, so two numbers make a finding again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import Any, Protocol

ACCEPTED = "accepted"


class Target(Protocol):
    """One parser; made with a scratch folder of its own."""

    def case(self, random: Random) -> Any:
        """One case."""

    def run(self, case: Any) -> Iterable[str]:
        """What became of each input in it: ``ACCEPTED`` or a reason. Raises what the parser should not."""


#: Name on the command line -> class, imported when it is asked for.
TARGETS = {
    "images": "fuzz.cameras.CompressedImages",
    "raw_images": "fuzz.cameras.RawImages",
    "camera_info": "fuzz.cameras.CameraInfos",
    "transforms": "fuzz.control.Transforms",
    "synchronizer": "fuzz.control.Events",
    "parameters": "fuzz.control.Parameters",
    "bags": "fuzz.bags.Bags",
    "bag_messages": "fuzz.bags.Messages",
    "model_yaml": "fuzz.packages.PackageTexts",
    "model_tree": "fuzz.packages.PackageTrees",
    "safetensors": "fuzz.packages.Weights",
    "tracks": "fuzz.packages.Tracks",
}


def make_target(name: str, folder: Path) -> Target:
    """The target of a name."""
    module, _, kind = TARGETS[name].rpartition(".")
    return getattr(__import__(module, fromlist=[kind]), kind)(folder)


def reason(error: BaseException) -> str:
    """An error's sentence without what differs from input to input: names, paths and numbers."""
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    text = re.sub(r"(?<![^\s'\"])/\S*/\S*?(?=[:;,'\"]?(?:\s|$))", "PATH", text[:400])
    text = re.sub(r"(?<!\w)('[^']*'?|\"[^\"]*\"?|\[.*|\{.*)", "…", text)
    text = re.sub(r"\b(inf|nan)\b|(?<!\w)[-+]?\d[\d.x]*(e[-+]?\d+)?", "N", text)
    return "".join(char if char.isascii() and char.isprintable() else "…" for char in text)[:100]
