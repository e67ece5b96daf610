"""Many frames through the running node: memory stays flat, ids go on, nothing is lost."""

import needs_ros  # noqa: F401

# isort: split
import gc
import os
from pathlib import Path

import pytest
from fake_engine import FakeEngine
from fake_vehicle import MS, S
from node_harness import running

pytestmark = [pytest.mark.ros, pytest.mark.slow]
FRAMES = int(os.environ.get("SOAK_FRAMES", "1500"))


class Forgetful(list):
    """Remembers nothing, so that only the node's own memory can grow."""

    def append(self, item):
        pass


def resident_mib():
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2 ** 20


@pytest.mark.fault(60)
def test_memory_is_flat_and_every_frame_is_answered():
    engine = FakeEngine()
    engine.frames = Forgetful()
    with running(engine, parameters={"publish_overlay": True}) as harness:
        def run(count, start_ns):
            for index in range(count):
                (message,) = harness.drive(1, start_ns + index * 100 * MS)
                harness.objects.messages.clear()
                harness.diagnostics.messages.clear()
            return message

        run(FRAMES // 3, 100 * S)
        before = resident_mib()
        last = run(FRAMES, 100 * S + FRAMES // 3 * 100 * MS)
        assert last.sequence == FRAMES // 3 + FRAMES - 1
        assert [o.track_id for o in last.objects] == [1, 2, 3, 4, 5, 6]
        assert last.objects[0].hits == FRAMES // 3 + FRAMES
        assert resident_mib() < before * 1.01 + 1.0
