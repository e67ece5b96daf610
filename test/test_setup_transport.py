"""The Fast DDS profile is understood and takes effect: a profile with an error in it is ignored without a word."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

#: Start a node and print the size of each shared-memory file that the process has mapped.
LIST_SEGMENTS = """
import os, pathlib, rclpy
rclpy.init()
node = rclpy.create_node("segments")
maps = pathlib.Path("/proc/self/maps").read_text().split()
for name in sorted({word for word in maps if word.startswith("/dev/shm/fast")}):
    print(os.path.getsize(name))
node.destroy_node()
rclpy.shutdown()
"""


@pytest.mark.ros
def test_segment_holds_two_sets_of_six_raw_images() -> None:
    if os.environ.get("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp") != "rmw_fastrtps_cpp":
        pytest.skip("another middleware than Fast DDS is in use")
    profile = str(ROOT / "config" / "fastdds_profile.xml")
    env = {**os.environ, "FASTRTPS_DEFAULT_PROFILES_FILE": profile, "FASTDDS_DEFAULT_PROFILES_FILE": profile}
    result = subprocess.run([sys.executable, "-c", LIST_SEGMENTS], env=env, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    two_sets = 2 * 6 * 1600 * 900 * 3
    assert max(map(int, result.stdout.split()), default=0) > two_sets, result.stderr
