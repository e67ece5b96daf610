"""How fast this machine is allowed to run: `sparse4d doctor` and orin.launch.py say it, nobody changes it."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from pathlib import Path

from sparse4d_ros.findings import INFO, OK, WARN, Finding


def clocks(folder: Path = Path("/sys/devices/system/cpu")) -> list[Finding]:
    """How the processor's clock is governed, and a Jetson's power mode."""
    return _governors(folder) + _power_mode()


def _governors(folder: Path) -> list[Finding]:
    governors = set()
    for path in folder.glob("cpu[0-9]*/cpufreq/scaling_governor"):
        with contextlib.suppress(OSError):  # of a CPU that the power mode has switched off
            governors.add(path.read_text().strip())
    if not governors:
        return []
    slow = "powersave" in governors or "conservative" in governors
    return [Finding(WARN if slow else OK, "machine", "CPU governor", ", ".join(sorted(governors)),
                    "cpupower frequency-set -g performance (a Jetson: jetson_clocks)" if slow else "")]


def _power_mode() -> list[Finding]:
    if not shutil.which("nvpmodel"):
        return []
    try:
        answer = subprocess.run(["nvpmodel", "-q"], capture_output=True, text=True, timeout=10, check=False)
        text = " ".join(answer.stdout.split()) or answer.stderr.strip()
    except (OSError, subprocess.TimeoutExpired) as error:
        text = f"does not answer: {error}"
    return [Finding(INFO, "machine", "nvpmodel", text,
                    "nvpmodel -m <ID of MAXN or MAXN_SUPER in /etc/nvpmodel.conf> gives the most power, then "
                    "jetson_clocks; latencies depend on both, and an engine on the mode's number of multiprocessors")]
