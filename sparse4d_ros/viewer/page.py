"""The page: one file with everything in it, as it is served, or with all frames of a drive to be sent to somebody."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from sparse4d_ros.evaluation import canvas
from sparse4d_ros.writing import replacing

_PALETTE = {"background": canvas.BACKGROUND, "panel": canvas.PANEL, "line": canvas.LINE, "muted": canvas.MUTED,
            "text": canvas.TEXT, "truth": canvas.TRUTH, "alert": canvas.ALERT, "accent": canvas.CLASS_COLOURS["car"]}
#: Where in page.html colours and data go.
_PALETTE_MARK, _DATA_MARK = "/* palette */", "<!-- data -->"


def served_page(drive: dict[str, Any]) -> str:
    """The page that asks its server for frames; ``drive`` is the document of the drive."""
    before, after = _halves()
    return before + _script("drive", drive) + after


def save_page(path: Path, drive: dict[str, Any],
              frames: Iterable[tuple[dict[str, Any], Sequence[bytes | None]]]) -> int:
    """Write the page with all frames (document and pictures) in it, whole or not at all; returns their number.

    ``drive`` is read after the last frame: what is known only then may be put into it meanwhile. ``UserError`` if the
    disk is full.
    """
    before, after = _halves()
    count = 0
    with replacing(path) as partial, partial.open("w", encoding="utf-8") as file:
        file.write(before)
        for document, pictures in frames:
            embedded = [None if picture is None else "data:image/jpeg;base64," + base64.b64encode(picture).decode()
                        for picture in pictures]
            file.write(_script(f"frame-{count}", {**document, "pictures": embedded}))
            count += 1
        file.write(_script("drive", {**drive, "frames": count}) + after)
    return count


def _halves() -> tuple[str, str]:
    """The page with its colours, before and after the place of its data."""
    text = (resources.files(__package__) / "page.html").read_text(encoding="utf-8")
    colours = "".join(f"--{name}: {canvas.hex_code(colour)}; " for name, colour in _PALETTE.items())
    before, after = text.replace(_PALETTE_MARK, f":root {{ {colours}}}").split(_DATA_MARK)
    return before, after


def _script(identity: str, document: dict[str, Any]) -> str:
    """A document inside the page; a name in it cannot end the element."""
    text = json.dumps(document, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return f'<script type="application/json" id="{identity}">{text}</script>\n'
