"""The synchronizer while time is not what it should be: bags that loop, pause, seek and run at another rate.

Numbers in test names are rows of data/faults.yaml.
"""

from __future__ import annotations

import pytest
from synchronizer_cases import CAMERAS, Rig, ms


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
