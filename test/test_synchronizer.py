"""The synchronizer: which images make a set, and when it closes."""

from __future__ import annotations

import random

import pytest
from synchronizer_cases import CAMERAS, START, Rig, ms

from sparse4d_ros.node.synchronizer import InputState, Synchronizer


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


def test_next_deadline_is_when_poll_closes():
    rig = Rig(min_cameras=5)
    assert rig.synchronizer.next_deadline_ns() is None
    rig.trigger(0, CAMERAS[:-1])
    deadline = rig.synchronizer.next_deadline_ns()
    assert rig.synchronizer.poll(deadline - 1) is None and rig.synchronizer.poll(deadline) is not None


def test_rejected_image_stays_named_in_its_set():
    frame_set = Rig().trigger(0).reject("back")
    assert frame_set.degraded and frame_set.entries["back"].state is InputState.REJECTED
    assert frame_set.entries["back"].payload is None and frame_set.entries["back"].stamp_ns == START


def test_reference_image_older_than_a_set_that_was_stood_in_for_makes_no_other():
    rig = Rig(min_cameras=1)
    rig.drive(5)
    rig.trigger(500, CAMERAS[1:])
    assert ms(rig.poll(700)) == 500 and rig.sets[-1].reference_camera == "front_right"
    assert rig.add("front", 495, at_ms=900) is None and rig.poll(1000) is None
    assert ms(rig.trigger(1000, at_ms=1005)) == 1000


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
