"""Six cameras at 30 Hz, faster than the network or not: the newest set only, every other counted, latency steady."""

import needs_ros  # noqa: F401

# isort: split
import time

import numpy as np
import pytest
from fake_engine import NAMES, FakeEngine
from fake_vehicle import MS
from node_harness import running, wait_until

from sparse4d_ros.node.messages import nanoseconds, time_message

pytestmark = pytest.mark.ros
PERIOD_S = 1 / 30
#: A step this long is three periods: cameras come three times as fast as sets can be worked on.
OVERLOAD_S = 3 * PERIOD_S


class SteadyEngine(FakeEngine):
    """Takes a fixed time for each step, and notes when it was done with it."""

    def __init__(self, step_s):
        super().__init__(before_step=lambda number, frame: time.sleep(step_s), after_step=self.note)
        self.ended_s = []

    def note(self, number, found):
        self.ended_s.append(time.monotonic())
        return found


def watch(worker):
    """The list that gets ``(steady time after it, stamp)`` of every set that is handed to the worker from now on."""
    handed, put = [], worker.put

    def noting(frame_set):
        put(frame_set)
        handed.append((time.monotonic(), frame_set.reference_stamp_ns))
    worker.put = noting
    return handed


def drive(harness, seconds):
    """Six cameras and tf with stamps of now for so long; the stamps."""
    vehicle, stamps = harness.vehicle, []
    images = {name: vehicle.image_message(name, 0, 0) for name in NAMES}
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        stamps.append(harness.node.get_clock().now().nanoseconds)
        vehicle.publish_tf([stamps[-1] - 20 * MS, stamps[-1] + 20 * MS])
        for name, image in images.items():
            image.header.stamp = time_message(stamps[-1])
            vehicle.images[name].publish(image)
        time.sleep(PERIOD_S)
    return stamps


@pytest.mark.fault(18, 48)
@pytest.mark.parametrize(("step_s", "seconds"), [
    (OVERLOAD_S, 2.5), pytest.param(0.0, 10.0, marks=pytest.mark.slow),
    pytest.param(OVERLOAD_S, 30.0, marks=pytest.mark.slow)])
def test_the_newest_set_only_at_steady_latency_with_every_drop_counted(step_s, seconds):
    engine = SteadyEngine(step_s)
    with running(engine, parameters={"input_qos": "reliable"}, reliable=True) as harness:
        handed = watch(harness.node._session.worker)
        sent = drive(harness, seconds)
        # The last set is never passed over, so that all is done when its answer is there.
        assert wait_until(lambda: harness.objects.messages and nanoseconds(
            harness.objects.messages[-1].header.stamp) == sent[-1])
        outputs = harness.objects.messages
        used = [nanoseconds(message.header.stamp) for message in outputs]

        # Newest only: whatever was handed over before the worker became free is not newer than what it took.
        assert set(used) <= {stamp for _, stamp in handed} <= set(sent) and used == sorted(set(used))
        for stamp, free_s in zip(used[1:], engine.ended_s, strict=False):
            assert stamp >= max(other for handed_s, other in handed if handed_s < free_s)

        # Every image and every set is accounted for.
        found = harness.diagnosed(lambda d: d["model"]["busy_ms"] == "0" and d)
        for name in NAMES:
            counted = {key: int(found[f"camera {name}"][key]) for key in (
                "received", "used", "late", "duplicate", "out_of_order", "rejected", "overflow", "unmatched", "cleared",
                "buffered")}
            assert counted.pop("received") == sum(counted.values()) <= len(sent)
            assert counted["used"] == len(handed)
        drops = {key: int(value) for key, value in found["model"].items() if key.startswith("dropped_")}
        assert len(handed) == len(outputs) + sum(drops.values())
        assert len(outputs) == outputs[-1].sequence + 1 == len(engine.frames)
        if step_s:
            assert len(outputs) <= (sent[-1] - sent[0]) / 1e9 / step_s + 2 and drops["dropped_newer_set"] > 0

        # No queue: at three times the load one would make the last third several times as late as the first.
        delays = np.array([message.timing.sensor_to_publish for message in outputs])
        first, _, last = (np.median(third) for third in np.array_split(delays, 3))
        assert last < 2 * first + step_s * 1e3, f"latency grew from {first:.0f} to {last:.0f} ms"
