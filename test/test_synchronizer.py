"""The synchronizer: each fault of cameras and clocks, and what holds for any order of images.

Numbers in test names are those of the fault list in docs (cameras 1-18, time 33-40).
"""

import random
from types import SimpleNamespace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sparse4d_ros.node.synchronizer import InputState, Synchronizer

CAMERAS = ("front", "front_right", "front_left", "back", "back_left", "back_right")
MS = 1_000_000
SECOND = 1000 * MS
START = 1_700_000_000 * SECOND


class Rig:
    """Six cameras in front of a synchronizer; times in ms since the start, steady time equal to stamps plus 5 ms."""

    def __init__(self, **options):
        self.synchronizer = Synchronizer(CAMERAS, "front", **options)
        self.sets = []

    def add(self, camera, stamp_ms, at_ms=None, payload=None):
        now_ms = stamp_ms + 5 if at_ms is None else at_ms
        return self._note(self.synchronizer.add(camera, START + round(stamp_ms * MS), payload or (camera, stamp_ms),
                                                SECOND + round(now_ms * MS)))

    def poll(self, now_ms):
        return self._note(self.synchronizer.poll(SECOND + round(now_ms * MS)))

    def trigger(self, stamp_ms, cameras=CAMERAS, at_ms=None):
        """All these cameras at one moment; the last result."""
        results = [self.add(camera, stamp_ms, at_ms) for camera in cameras]
        return next((result for result in results if result), None)

    def drive(self, triggers, period_ms=100.0, start_ms=0.0, cameras=CAMERAS):
        """Triggers with a poll each 10 ms in between."""
        for index in range(triggers):
            stamp_ms = start_ms + index * period_ms
            self.trigger(stamp_ms, cameras)
            for step in range(1, int(period_ms // 10)):
                self.poll(stamp_ms + 5 + 10 * step)

    def counters(self, camera):
        return self.synchronizer.counters[camera]

    def _note(self, frame_set):
        if frame_set:
            self.sets.append(frame_set)
        return frame_set


def states(frame_set):
    return {name: entry.state for name, entry in frame_set.entries.items() if entry.state is not InputState.OK}


def ms(frame_set):
    return (frame_set.reference_stamp_ns - START) / MS


def test_full_set_closes_with_the_last_camera():
    rig = Rig()
    for camera in CAMERAS[1:]:
        assert rig.add(camera, 12, at_ms=20) is None
    frame_set = rig.add("front", 10, at_ms=31)
    assert ms(frame_set) == 10 and frame_set.reference_camera == "front" and not frame_set.degraded
    assert list(frame_set.entries) == list(CAMERAS)
    assert frame_set.entries["back"].offset_ms == 2.0 and frame_set.entries["back"].payload == ("back", 12)
    assert frame_set.wait_ms == pytest.approx(11.0)
    assert rig.counters("back").used == 1


def test_spread_is_inclusive_and_beyond_it_nothing_joins():
    rig = Rig()
    rig.trigger(0, CAMERAS[:-1])
    assert rig.add("back_right", 100, at_ms=5) is not None
    rig = Rig()
    rig.trigger(0, CAMERAS[:-1])
    assert rig.add("back_right", 100.001, at_ms=5) is None


@pytest.mark.fault(1)
def test_fault_01_camera_never_appears_no_output():
    rig = Rig()
    rig.drive(20, cameras=CAMERAS[:-1])
    assert rig.sets == [] and rig.synchronizer.sets_dropped == 20
    assert rig.counters("back_right").received == 0
    assert rig.counters("front").unmatched == 20


@pytest.mark.fault(2)
def test_fault_02_camera_missing_with_min_cameras_is_degraded_after_the_wait():
    rig = Rig(min_cameras=5)
    rig.trigger(0, CAMERAS[:-1])
    assert rig.poll(64.9) is None
    frame_set = rig.poll(65.0)
    assert frame_set.degraded and states(frame_set) == {"back_right": InputState.MISSING}
    assert frame_set.entries["back_right"].payload is None and frame_set.entries["back_right"].stamp_ns is None
    assert (frame_set.complete_ns - SECOND) / MS == 65.0


@pytest.mark.fault(2)
def test_fault_02_one_camera_too_few_gives_nothing():
    rig = Rig(min_cameras=5)
    rig.drive(10, cameras=CAMERAS[:4])
    assert rig.sets == []


@pytest.mark.fault(2)
def test_fault_02_dead_reference_is_stood_in_for():
    rig = Rig(min_cameras=5)
    rig.drive(30, cameras=CAMERAS[1:])
    assert len(rig.sets) >= 24  # all but those of the first half second
    for frame_set in rig.sets:
        assert frame_set.reference_camera == "front_right" and states(frame_set) == {"front": InputState.MISSING}
    for frame_set in rig.sets[1:]:  # the first one waited until the reference camera counted as silent
        assert frame_set.wait_ms == pytest.approx(60, abs=10)
    assert [ms(frame_set) for frame_set in rig.sets] == sorted({ms(frame_set) for frame_set in rig.sets})


@pytest.mark.fault(1)
def test_fault_02_no_stand_in_while_all_cameras_are_required():
    rig = Rig()
    rig.drive(30, cameras=CAMERAS[1:])
    assert rig.sets == []


@pytest.mark.fault(3)
def test_fault_03_dead_cameras_last_image_is_never_used_again():
    rig = Rig(min_cameras=5)
    rig.drive(5)
    rig.add("back", 500)  # its last one, of a moment of which no other camera has an image
    rig.drive(10, start_ms=600, cameras=[camera for camera in CAMERAS if camera != "back"])
    assert len(rig.sets) == 15
    for frame_set in rig.sets[5:]:
        assert states(frame_set) == {"back": InputState.MISSING}
    assert rig.counters("back").used == 5 and rig.counters("back").unmatched == 1


@pytest.mark.fault(4)
@pytest.mark.parametrize("dead", ["front", "back"])
def test_fault_04_camera_comes_back(dead):
    rig = Rig(min_cameras=5)
    others = [camera for camera in CAMERAS if camera != dead]
    rig.drive(5)
    rig.drive(20, start_ms=500, cameras=others)
    before = len(rig.sets)
    rig.drive(5, start_ms=2500)
    assert all(not frame_set.degraded and frame_set.reference_camera == "front" for frame_set in rig.sets[before:])
    assert len(rig.sets) - before == 5 and rig.synchronizer.epoch == 0


@pytest.mark.fault(5)
def test_fault_05_all_cameras_stop_and_return():
    rig = Rig()
    rig.drive(5)
    for now_ms in range(500, 5000, 10):
        assert rig.poll(now_ms) is None
    assert rig.synchronizer.next_deadline_ns() is None
    assert rig.trigger(5000) is not None


@pytest.mark.fault(6)
def test_fault_06_late_camera_is_left_out_and_never_joins_the_next_set():
    rig = Rig(min_cameras=5)
    rig.drive(5)
    for trigger in range(5, 15):
        stamp = trigger * 100
        rig.trigger(stamp, CAMERAS[:-1])
        rig.poll(stamp + 65)
        rig.add("back_right", stamp, at_ms=stamp + 80)
    assert len(rig.sets) == 15 and rig.counters("back_right").late == 10
    assert states(rig.sets[5]) == {"back_right": InputState.MISSING}  # nothing tells slow from dead yet
    for frame_set in rig.sets[6:]:
        assert states(frame_set) == {"back_right": InputState.LATE}


@pytest.mark.fault(6)
def test_fault_06_late_camera_drops_the_set_when_all_are_required():
    rig = Rig()
    rig.drive(3)
    rig.trigger(300, CAMERAS[:-1])
    assert rig.add("back_right", 300, at_ms=366) is None  # no poll came in between: the wait is over all the same
    assert rig.counters("back_right").late == 1 and rig.synchronizer.sets_dropped == 1
    frame_set = rig.trigger(400)
    assert {entry.stamp_ns for entry in frame_set.entries.values()} == {START + 400 * MS}


@pytest.mark.fault(7)
def test_fault_07_out_of_order_image_is_dropped_and_counted():
    rig = Rig()
    rig.add("front", 100)
    rig.add("front", 60)
    assert rig.counters("front").out_of_order == 1 and rig.counters("front").buffered == 1
    assert ms(rig.trigger(100, CAMERAS[1:])) == 100


@pytest.mark.fault(8)
def test_fault_08_duplicate_stamp_is_replaced_with_one_output():
    rig = Rig()
    rig.add("front", 100, payload="first")
    rig.add("front", 100, payload="second")
    frame_set = rig.trigger(100, CAMERAS[1:])
    assert frame_set.entries["front"].payload == "second"
    for camera in CAMERAS:
        assert rig.add(camera, 100) is None  # all of it once more, after the set is out
    assert len(rig.sets) == 1 and rig.counters("front").duplicate == 2 and rig.counters("back").duplicate == 1


@pytest.mark.fault(9)
@pytest.mark.parametrize("stamp_ns", [0, -5])
def test_fault_09_stamp_zero_is_rejected(stamp_ns):
    synchronizer = Synchronizer(CAMERAS, "front")
    for camera in CAMERAS:
        assert synchronizer.add(camera, stamp_ns, None, SECOND) is None
    assert all(counters.rejected == 1 for counters in synchronizer.counters.values())
    rig = Rig()
    rig.drive(3)
    rig.synchronizer.add("front", stamp_ns, None, SECOND + 300 * MS)
    assert rig.synchronizer.epoch == 0 and rig.trigger(300) is not None


@pytest.mark.fault(10)
@pytest.mark.parametrize("camera", ["front", "back"])
def test_fault_10_one_stray_future_stamp_costs_that_camera_only(camera):
    rig = Rig()
    rig.drive(5)
    rig.add(camera, 20_000, at_ms=430)
    rig.poll(495)  # its wait is over
    rig.drive(10, start_ms=500)
    assert [ms(frame_set) for frame_set in rig.sets] == [100.0 * index for index in range(15)]
    assert rig.synchronizer.epoch == 0 and rig.counters(camera).cleared + rig.counters(camera).unmatched == 1


@pytest.mark.fault(10)
def test_fault_10_stray_future_set_does_not_block_what_follows():
    rig = Rig(min_cameras=1)
    rig.drive(5)
    rig.add("front", 20_000, at_ms=450)  # closes alone, 20 s ahead, and the camera says no more
    rig.poll(520)
    others = CAMERAS[1:]
    rig.drive(40, start_ms=600, cameras=others)
    assert rig.synchronizer.epoch == 1 and ms(rig.sets[-1]) > 4000


@pytest.mark.fault(11)
@pytest.mark.parametrize("camera_off", ["front", "back", "back_right"])  # first, in the middle and last of a trigger
@pytest.mark.parametrize("offset_ms", [300, -300, 1000, 137])
def test_fault_11_clock_off_gives_no_sets_and_the_offset_is_told(offset_ms, camera_off):
    """300 ms are three whole periods at 10 Hz: the stamps alone would match other images' stamps."""
    rig = Rig()
    for trigger in range(50):
        now = trigger * 100
        for camera in CAMERAS:
            rig.add(camera, now + (offset_ms if camera == camera_off else 0), at_ms=now + 5)
        for step in range(1, 10):
            rig.poll(now + 5 + 10 * step)
    if abs(offset_ms) > 160:
        assert rig.sets == []
    assert rig.synchronizer.clock_offset_ms(camera_off) == pytest.approx(offset_ms)
    assert rig.synchronizer.clock_offset_ms("back_left") == 0.0


@pytest.mark.fault(17)
@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_fault_17_rate_changes(factor):
    rig = Rig()
    rig.drive(20)
    rig.drive(20, period_ms=100 * factor, start_ms=2000)
    assert len(rig.sets) == 40 and not any(frame_set.degraded for frame_set in rig.sets)


@pytest.mark.fault(18)
def test_fault_18_burst_after_a_stall_gives_the_newest_set():
    rig = Rig()
    rig.drive(5)
    for camera in CAMERAS:
        for trigger in range(5, 15):
            rig.add(camera, trigger * 100, at_ms=1500)
    assert ms(rig.sets[-1]) == 1400
    front = rig.counters("front")
    assert front.received == 15 and front.received == front.accounted()
    assert not rig.trigger(1500).degraded


@pytest.mark.fault(33)
@pytest.mark.parametrize("dead", [None, "back", "front"])
def test_fault_33_bag_loop_goes_on_in_a_new_epoch(dead):
    rig = Rig(min_cameras=5 if dead else None)
    cameras = [camera for camera in CAMERAS if camera != dead]
    for loop in range(3):
        for trigger in range(20):
            for camera in cameras:
                rig.add(camera, 100 * trigger, at_ms=2000 * loop + 100 * trigger)
            for step in range(1, 10):
                rig.poll(2000 * loop + 100 * trigger + 10 * step)
    assert rig.synchronizer.epoch == 2
    for epoch in range(3):
        stamps = [ms(frame_set) for frame_set in rig.sets if frame_set.epoch == epoch]
        assert stamps == sorted(set(stamps)) and len(stamps) >= (10 if dead == "front" else 20)


@pytest.mark.fault(33)
def test_fault_33_images_from_before_the_loop_that_come_after_it():
    rig = Rig()
    rig.drive(50)
    rig.add("back", 0, at_ms=5001)
    rig.add("front", 5000, at_ms=5002)  # was still under way
    for trigger in range(1, 10):
        rig.trigger(trigger * 100, at_ms=5005 + trigger * 100)
    assert [ms(frame_set) for frame_set in rig.sets[50:]] == [100.0 * trigger for trigger in range(1, 10)]
    assert {frame_set.epoch for frame_set in rig.sets[50:]} == {1}


@pytest.mark.fault(34)
def test_fault_34_small_backward_step_drops_the_frame_only():
    rig = Rig()
    rig.drive(5)
    for camera in CAMERAS:
        rig.add(camera, 390, at_ms=500)
    assert rig.synchronizer.epoch == 0 and len(rig.sets) == 5
    assert all(rig.counters(camera).out_of_order == 1 for camera in CAMERAS)
    assert rig.trigger(600).epoch == 0


@pytest.mark.fault(35)
def test_fault_35_backward_step_of_a_second_resets():
    rig = Rig()
    rig.drive(20)
    rig.add("back", 2000)
    rig.add("front", 900, at_ms=2010)
    assert rig.synchronizer.epoch == 1
    assert rig.counters("back").buffered == 0 and rig.counters("back").cleared == 1
    frame_set = rig.trigger(900, CAMERAS[1:], at_ms=2011)
    assert ms(frame_set) == 900 and frame_set.epoch == 1


@pytest.mark.fault(36)
def test_fault_36_pause_is_no_reset():
    rig = Rig()
    rig.drive(5)
    for trigger in range(5, 10):
        rig.trigger(trigger * 100, at_ms=60_000 + trigger * 100)
    assert len(rig.sets) == 10 and rig.synchronizer.epoch == 0


@pytest.mark.fault(37)
def test_fault_37_seek_forward_goes_on_at_once():
    rig = Rig()
    rig.drive(5)
    assert ms(rig.trigger(30_000, at_ms=600)) == 30_000


@pytest.mark.fault(39)
@pytest.mark.parametrize("rate", [0.3, 3.0])
def test_fault_39_bag_at_another_rate(rate):
    """Offsets between cameras are stamped time: slowed down, they outlast max_wait_ms."""
    rig = Rig()
    offsets = dict(zip(CAMERAS, (0, 10, -10, 40, 20, -20), strict=True))
    events = sorted((100 * trigger + offsets[camera], camera) for trigger in range(60) for camera in CAMERAS)
    now = -100.0
    for stamp, camera in events:
        while now + 10 < stamp / rate:
            now += 10
            rig.poll(now)
        rig.add(camera, stamp + 100, at_ms=stamp / rate)
    assert len(rig.sets) >= 53
    for frame_set in rig.sets[10:]:
        assert {name: entry.offset_ms for name, entry in frame_set.entries.items()} == offsets


@pytest.mark.parametrize("hz", [10, 30, 60])
@pytest.mark.parametrize("seed", range(3))
def test_dropped_images_never_mix_triggers(hz, seed):
    """A tenth of all images lost, stamps that jitter by 1 ms, all within max_stamp_spread_ms of their neighbours."""
    generator = random.Random(seed)
    rig = Rig(min_cameras=4)
    for trigger in range(600):
        order = random.Random(trigger).sample(CAMERAS, len(CAMERAS))
        for camera in order:
            if generator.random() > 0.1:
                rig.add(camera, 1000 + trigger * 1000 / hz + generator.uniform(-1, 1),
                        at_ms=1010 + trigger * 1000 / hz + generator.uniform(0, 3), payload=trigger)
        rig.poll(1012 + (trigger + 0.5) * 1000 / hz)
    assert len(rig.sets) > 300
    for frame_set in rig.sets[1:]:  # the first set has no rhythm to go by
        assert len({entry.payload for entry in frame_set.entries.values() if entry.payload is not None}) == 1


def test_reference_image_older_than_a_set_that_was_stood_in_for_makes_no_other():
    rig = Rig(min_cameras=1)
    rig.drive(5)
    rig.trigger(500, CAMERAS[1:])
    assert ms(rig.poll(700)) == 500 and rig.sets[-1].reference_camera == "front_right"
    assert rig.add("front", 495, at_ms=900) is None and rig.poll(1000) is None
    assert ms(rig.trigger(1000, at_ms=1005)) == 1000


@pytest.mark.parametrize("dead", ["back", "front"])
def test_high_rate_with_a_dead_camera_closes_when_the_buffer_is_full(dead):
    """At 60 Hz three images fill a buffer within max_wait_ms: the wait must end, not the images."""
    rig = Rig(min_cameras=5)
    cameras = [camera for camera in CAMERAS if camera != dead]
    for trigger in range(300):
        rig.trigger(trigger * 16, cameras)
        rig.poll(trigger * 16 + 10)
    assert len(rig.sets) > 250


def test_free_running_camera_drifts_through_all_offsets():
    rig = Rig(min_cameras=5)
    events = [(100.0 * trigger, camera) for trigger in range(300) for camera in CAMERAS if camera != "back"]
    events += [(100.5 * trigger, "back") for trigger in range(298)]
    for stamp, camera in sorted(events):
        rig.poll(stamp + 4)
        rig.add(camera, stamp + 1000, at_ms=stamp + 5)
    full = [frame_set for frame_set in rig.sets if not frame_set.degraded]
    assert len(rig.sets) >= 298 and len(full) >= 290


def test_rejected_image_stays_named_in_its_set():
    frame_set = Rig().trigger(0).reject("back")
    assert frame_set.degraded and frame_set.entries["back"].state is InputState.REJECTED
    assert frame_set.entries["back"].payload is None and frame_set.entries["back"].stamp_ns == START


def test_next_deadline_is_when_poll_closes():
    rig = Rig(min_cameras=5)
    assert rig.synchronizer.next_deadline_ns() is None
    rig.trigger(0, CAMERAS[:-1])
    deadline = rig.synchronizer.next_deadline_ns()
    assert rig.synchronizer.poll(deadline - 1) is None and rig.synchronizer.poll(deadline) is not None


@pytest.mark.parametrize(("arguments", "text"), [
    (dict(cameras=("a", "a"), reference="a"), "names that differ"),
    (dict(cameras=(), reference="a"), "names that differ"),
    (dict(cameras=("a", "b"), reference="c"), "'c'"),
    (dict(cameras=("a", "b"), reference="a", min_cameras=3), "min_cameras is 3"),
    (dict(cameras=("a", "b"), reference="a", min_cameras=0), "min_cameras is 0"),
    (dict(cameras=("a", "b"), reference="a", max_wait_ms=-1), "max_wait_ms"),
])
def test_wrong_arguments_are_named(arguments, text):
    with pytest.raises(ValueError, match=text):
        Synchronizer(**arguments)


def test_unknown_camera_is_named():
    with pytest.raises(ValueError, match="'rear'"):
        Synchronizer(CAMERAS, "front").add("rear", START, None, 0)


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
