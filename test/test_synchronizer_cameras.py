"""The synchronizer while cameras fail.

Numbers in test names are rows of data/faults.yaml.
"""

from __future__ import annotations

import pytest
from synchronizer_cases import CAMERAS, MS, SECOND, START, Rig, ms, states

from sparse4d_ros.node.synchronizer import InputState, Synchronizer


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


@pytest.mark.fault(2, 3)
def test_an_image_older_than_the_last_set_neither_stands_in_nor_keeps_the_timer_busy():
    rig = Rig(min_cameras=4)
    early, others = "front_right", CAMERAS[2:]
    for index in range(6):
        if index < 5:
            rig.add(early, 100 * index - 40)  # its usual offset
        rig.trigger(100 * index, ("front", *others))
    rig.poll(570)
    rig.add(early, 480, at_ms=700)  # of the last set's moment by its stamp, of none by its arrival
    rig.poll(5000)
    assert len(rig.sets) == 6 and rig.counters(early).buffered == 1
    assert rig.synchronizer.next_deadline_ns() is None
    rig.drive(3, start_ms=6000, cameras=others)
    assert [(s.reference_camera, ms(s)) for s in rig.sets[6:]] == [(others[0], 6000 + 100 * n) for n in range(3)]


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
