"""The synchronizer: what holds for images in any order."""

from __future__ import annotations

from types import SimpleNamespace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from synchronizer_cases import MS, SECOND, START

from sparse4d_ros.node.synchronizer import InputState, Synchronizer


class AnyOrder(RuleBasedStateMachine):
    """Images in any order, with drops, repeats, jumps and silence."""

    CAMERAS = ("front", "left", "right")

    def __init__(self):
        super().__init__()
        self.synchronizer = None

    @precondition(lambda self: self.synchronizer is None)
    @rule(minimum=st.integers(1, 3), spread=st.integers(0, 120), wait=st.integers(0, 100))
    def start(self, minimum, spread, wait):
        self.spread_ns = spread * MS
        self.minimum = minimum
        self.synchronizer = Synchronizer(self.CAMERAS, "front", min_cameras=minimum, max_stamp_spread_ms=spread,
                                         max_wait_ms=wait)
        self.now = SECOND
        self.clock = START
        self.serial = 0
        self.added = dict.fromkeys(self.CAMERAS, 0)
        self.used = set()
        self.last = SimpleNamespace(epoch=-1, reference_stamp_ns=0)

    @precondition(lambda self: self.synchronizer is not None)
    @rule(camera=st.sampled_from(CAMERAS), delay=st.integers(-40, 120), elapsed=st.integers(0, 30))
    def image(self, camera, delay, elapsed):
        self._pass(elapsed)
        self._add(camera, self.clock - delay * MS)

    @precondition(lambda self: self.synchronizer is not None)
    @rule(elapsed=st.integers(0, 200), order=st.permutations(CAMERAS))
    def trigger(self, elapsed, order):
        self._pass(elapsed)
        for camera in order:
            self._add(camera, self.clock)

    @precondition(lambda self: self.synchronizer is not None)
    @rule(camera=st.sampled_from(CAMERAS), stamp=st.sampled_from([0, -1, 1, START, START + 10**15, 2**62]))
    def odd_stamp(self, camera, stamp):
        self._add(camera, stamp)

    @precondition(lambda self: self.synchronizer is not None)
    @rule(seconds=st.sampled_from([-20, -1, 30, 0.4, -0.01]))
    def jump(self, seconds):
        self.clock = max(self.clock + round(seconds * SECOND), START)

    @precondition(lambda self: self.synchronizer is not None)
    @rule(elapsed=st.integers(0, 2000))
    def poll(self, elapsed):
        self._pass(elapsed)
        self._check(self.synchronizer.poll(self.now))

    @precondition(lambda self: self.synchronizer is not None)
    @rule()
    def reset(self):
        self.synchronizer.reset()
        assert all(counters.buffered == 0 for counters in self.synchronizer.counters.values())

    def _pass(self, elapsed_ms):
        self.now += elapsed_ms * MS
        self.clock += elapsed_ms * MS

    def _add(self, camera, stamp_ns):
        self.serial += 1
        self.added[camera] += 1
        self._check(self.synchronizer.add(camera, stamp_ns, (camera, stamp_ns, self.serial), self.now))

    def _check(self, frame_set):
        if frame_set is None:
            return
        images = {name: entry for name, entry in frame_set.entries.items() if entry.state is InputState.OK}
        assert tuple(frame_set.entries) == self.CAMERAS and len(images) >= self.minimum
        for name, entry in images.items():
            camera, stamp_ns, serial = entry.payload
            assert camera == name and stamp_ns == entry.stamp_ns
            assert serial not in self.used
            self.used.add(serial)
            assert abs(stamp_ns - frame_set.reference_stamp_ns) <= self.spread_ns
        assert images[frame_set.reference_camera].stamp_ns == frame_set.reference_stamp_ns > 0
        assert frame_set.first_arrival_ns <= frame_set.complete_ns == self.now
        assert frame_set.epoch >= self.last.epoch
        if frame_set.epoch == self.last.epoch:
            assert frame_set.reference_stamp_ns > self.last.reference_stamp_ns
        self.last = frame_set

    @invariant()
    def counters_add_up(self):
        if self.synchronizer is None:
            return
        counters = self.synchronizer.counters
        assert {name: item.received for name, item in counters.items()} == self.added
        for item in counters.values():
            assert item.received == item.accounted() and 0 <= item.buffered <= 3
        assert sum(item.used for item in counters.values()) == len(self.used)


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
