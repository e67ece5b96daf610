"""All pictures of a check on one sheet: cameras as they look round the vehicle, the rig from above, the findings."""

from __future__ import annotations

import numpy as np

from sparse4d_ros.evaluation import canvas
from sparse4d_ros.findings import FAIL, OK, SKIP, WARN, Finding
from sparse4d_ros.rig_check.mounted import MountedCamera

TILE_WIDTH = 640
_COLUMNS = 3
_GAP = 6
_TEXT = 12
_LINE = 18
_COLOURS: dict[str, canvas.Colour] = {OK: (118, 222, 132), SKIP: canvas.MUTED, WARN: (74, 200, 250), FAIL: canvas.ALERT}


def round_the_vehicle(mounted: dict[str, MountedCamera]) -> list[str]:
    """Camera names: those that look ahead from left to right, then those that look back from left to right."""
    ahead = [name for name, camera in mounted.items() if abs(camera.azimuth_deg) <= 90.0]
    back = [name for name in mounted if name not in ahead]
    return (sorted(ahead, key=lambda name: -mounted[name].azimuth_deg)
            + sorted(back, key=lambda name: mounted[name].azimuth_deg % 360.0))


def draw_sheet(views: list[np.ndarray], overview: np.ndarray, sections: dict[str, list[Finding]]) -> np.ndarray:
    """``views`` of width :data:`TILE_WIDTH` in rows of three, below them the overview and what was found."""
    width = _COLUMNS * TILE_WIDTH + (_COLUMNS - 1) * _GAP
    rows = [views[start:start + _COLUMNS] for start in range(0, len(views), _COLUMNS)]
    tops = np.cumsum([0] + [max(view.shape[0] for view in row) + _GAP for row in rows])
    side = overview.shape[0]
    sheet = np.full((int(tops[-1]) + side, width, 3), canvas.BACKGROUND, dtype=np.uint8)
    for top, row in zip(tops, rows, strict=False):
        for column, view in enumerate(row):
            left = column * (TILE_WIDTH + _GAP)
            sheet[top:top + view.shape[0], left:left + TILE_WIDTH] = view
    sheet[tops[-1]:, :side] = overview
    _write(sheet[tops[-1]:, side + _GAP:], sections)
    return sheet


def _write(panel: np.ndarray, sections: dict[str, list[Finding]]) -> None:
    """The findings, the bad ones first and as many as there is room for."""
    findings = [finding for level in (FAIL, WARN, SKIP, OK) for found in sections.values() for finding in found
                if finding.level == level]
    room = panel.shape[0] // _LINE - 1
    for line, finding in enumerate(findings[:room]):
        y = 6 + line * _LINE
        canvas.text(panel, finding.level, 8, y, _TEXT, _COLOURS[finding.level], bold=True)
        canvas.text(panel, f"{finding.subject}: {finding.text}", 56, y, _TEXT, canvas.TEXT)
    if len(findings) > room:
        canvas.text(panel, f"and {len(findings) - room} more", 56, 6 + room * _LINE, _TEXT, canvas.MUTED)
