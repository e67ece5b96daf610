"""What a step costs, as a table, and the machine that the figures come from."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

#: A row: what, milliseconds per frame of one run, and the row it is compared with.
Row = tuple[str, list[float], str | None]


def timed(function: Callable[[], object]) -> float:
    """Milliseconds of one call."""
    started = time.perf_counter()
    function()
    return (time.perf_counter() - started) * 1e3


def table(rows: list[Row]) -> str:
    """Rows as text: p50, p95 and, where a row is compared, how many times as long as the other one it takes."""
    medians = {name: float(np.median(values)) for name, values, _ in rows}
    lines = [f"{'step':<44}{'p50 ms':>9}{'p95 ms':>9}   ratio"]
    for name, values, other in rows:
        ratio = f"   {medians[name] / medians[other]:.2f} x {other}" if other else ""
        lines.append(f"{name:<44}{np.median(values):>9.1f}{np.percentile(values, 95):>9.1f}{ratio}")
    return "\n".join(lines)


def machine() -> str:
    """One line that says where the figures come from."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
        cpu = names[0] if names else cpu
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{cpu}, {cores} cores, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}"
