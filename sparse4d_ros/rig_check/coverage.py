"""The rig as a whole: which directions the cameras see, where they overlap, and what nobody sees."""

from __future__ import annotations

import numpy as np

from sparse4d_ros.findings import OK, SKIP, WARN, Finding
from sparse4d_ros.rig_check.mounted import MountedCamera

_STEP_DEG = 0.5


def seen_by(mounted: dict[str, MountedCamera]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Azimuths ``[n]`` in -180..180 degrees, and by camera whether each lies in its picture."""
    azimuths = np.arange(-180.0, 180.0, _STEP_DEG)
    seen = {}
    for name, camera in mounted.items():
        if camera.calibration is not None:
            right, left = camera.borders_deg()
            seen[name] = (azimuths - right) % 360.0 <= left - right
    return azimuths, seen


def blind_sectors(mounted: dict[str, MountedCamera]) -> list[tuple[float, float]]:
    """Sectors ``(from, to)`` that no camera sees, counter-clockwise, degrees; ``to`` may exceed 180."""
    azimuths, seen = seen_by(mounted)
    blind = ~np.any(list(seen.values()), axis=0)
    if blind.all():
        return [(-180.0, 180.0)]
    start = int(np.flatnonzero(~blind)[0])  # no sector is cut in two by where counting starts
    turned = np.roll(blind, -start)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], turned, [False]]).astype(int)))
    first = azimuths[0] + start * _STEP_DEG
    return [(first + a * _STEP_DEG, first + b * _STEP_DEG) for a, b in edges.reshape(-1, 2)]


def overlaps(mounted: dict[str, MountedCamera]) -> dict[tuple[str, str], float]:
    """Degrees that two neighbours both see, by pair of names, for pairs that see any."""
    _, seen = seen_by(mounted)
    names = list(seen)
    pairs = {(a, b): float((seen[a] & seen[b]).sum() * _STEP_DEG) for i, a in enumerate(names) for b in names[i + 1:]}
    return {pair: width for pair, width in pairs.items() if width > 0}


def check_coverage(mounted: dict[str, MountedCamera]) -> list[Finding]:
    """One finding for each blind sector, or one for a rig that sees all round."""
    if not any(camera.calibration is not None for camera in mounted.values()):
        return [Finding(SKIP, "coverage", "rig", "no camera has both calibration and mounting")]
    blind = [(low, high) for low, high in blind_sectors(mounted) if high - low > _STEP_DEG]
    if blind:
        return [Finding(
            WARN, "coverage", "rig",
            f"nobody sees {_spoken(low)} to {_spoken(high)} ({high - low:.0f} deg)",
            "a model trained on full coverage expects objects there: check K and mounting of the neighbours, or "
            "accept it",
            {"from_deg": low, "to_deg": high}) for low, high in blind]
    shared = overlaps(mounted)
    words = ", ".join(f"{a}/{b} {width:.0f}" for (a, b), width in shared.items())
    return [Finding(
        OK, "coverage", "rig",
        f"the cameras see all round; neighbours share (deg): {words}",
        numbers={f"{a}/{b}_deg": width for (a, b), width in shared.items()})]


def _spoken(azimuth_deg: float) -> str:
    azimuth = (azimuth_deg + 180.0) % 360.0 - 180.0
    return f"{abs(azimuth):.0f} deg {'left' if azimuth > 0 else 'right'}"
