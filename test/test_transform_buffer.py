"""What only our transform buffer promises; what it shares with tf2_ros is in test_transform_sources."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from transform_cases import SECOND, T0, between, close, rigid, stamped

from sparse4d_ros.node.transform_buffer import TransformBuffer
from sparse4d_ros.node.transform_errors import LookupException, TransformError


def test_leading_slash_of_old_publishers_is_dropped():
    buffer = TransformBuffer()
    assert buffer.set_transform(stamped("/odom", "/base_link", T0))
    close(buffer.lookup_transform("odom", "base_link", T0), np.eye(4))


def test_frame_that_changes_its_parent_is_found_by_time():
    buffer = TransformBuffer()
    buffer.set_transform_static(stamped("world", "left", 0, (10, 0, 0)))
    buffer.set_transform_static(stamped("world", "right", 0, (20, 0, 0)))
    buffer.set_transform(stamped("left", "box", T0, (1, 0, 0)))
    buffer.set_transform(stamped("right", "box", T0 + SECOND, (3, 0, 0)))
    close(buffer.lookup_transform("world", "box", T0 + SECOND // 2), rigid((11, 0, 0)))
    close(buffer.lookup_transform("world", "box", T0 + SECOND), rigid((23, 0, 0)))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_random_trees_compose_whatever_the_order_of_messages(data):
    count = data.draw(st.integers(2, 8))
    generator = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    parents = [None] + [data.draw(st.integers(0, index - 1)) for index in range(1, count)]
    static = [data.draw(st.booleans()) for _ in range(count)]
    times = np.arange(4) * 100_000_000
    tracks = [(generator.normal(size=(4, 3)), Rotation.random(4, rng=generator).as_quat()) for _ in range(count)]
    transforms = [(index, sample) for index in range(1, count) for sample in range(1 if static[index] else 4)]
    buffer = TransformBuffer()
    for index, sample in data.draw(st.permutations(transforms)):
        store = buffer.set_transform_static if static[index] else buffer.set_transform
        assert store(stamped(f"f{parents[index]}", f"f{index}", T0 + int(times[sample]),
                             tracks[index][0][sample], tracks[index][1][sample]))

    def root_from(index, moment):
        if index == 0:
            return np.eye(4)
        own = rigid(tracks[index][0][0], tracks[index][1][0]) if static[index] else between(
            times, *tracks[index], moment)
        return root_from(parents[index], moment) @ own

    for _ in range(5):
        target, source_, moment, other = (data.draw(st.integers(0, high)) for high in (
            count - 1, count - 1, int(times[-1]), int(times[-1])))
        close(buffer.lookup_transform(f"f{target}", f"f{source_}", T0 + moment),
              np.linalg.inv(root_from(target, moment)) @ root_from(source_, moment))
        close(buffer.lookup_transform_full(f"f{target}", T0 + moment, f"f{source_}", T0 + other, "f0"),
              np.linalg.inv(root_from(target, moment)) @ root_from(source_, other))


def test_memory_is_bounded_by_time_by_count_and_by_frames():
    buffer = TransformBuffer(cache_time_s=1.0, max_samples=50, max_frames=20)
    for index in range(500):
        buffer.set_transform(stamped("odom", "slow", T0 + index * SECOND // 10))
        buffer.set_transform(stamped("odom", "fast", T0 + index * SECOND // 1000))
        buffer.set_transform_static(stamped("odom", "rigid", index))
        buffer.set_transform(stamped(f"parent_{index}", f"child_{index}", T0))
        buffer.set_transform(stamped(f"parent_{index}", "slow_child", T0 + index))
    assert len(buffer._frames["slow"]) == 11 and len(buffer._frames["fast"]) == 50
    assert len(buffer._frames["rigid"]) == 1
    assert len(buffer._frames) + len(buffer._roots) <= 20
    assert "more than 20 frames" in buffer.last_rejection


@pytest.mark.parametrize(("parent", "child", "quaternion", "reason"), [
    ("", "camera", (0, 0, 0, 1), "empty"),
    ("base_link", "", (0, 0, 0, 1), "empty"),
    ("base_link", "base_link", (0, 0, 0, 1), "its own parent"),
    ("base_link", "camera", (0, 0, 0, 2), "length 2.0000"),
    ("base_link", "camera", (0, 0, float("nan"), 1), "not finite"),
])
def test_refused_transforms_are_counted_and_explained(parent, child, quaternion, reason):
    buffer = TransformBuffer()
    assert not buffer.set_transform(stamped(parent, child, T0, (0, 0, 0), quaternion), "/tf")
    assert buffer.rejected == 1 and reason in buffer.last_rejection and "/tf" in buffer.last_rejection


def test_loop_in_the_tree_is_an_error_not_a_hang():
    buffer = TransformBuffer()
    for parent, child in (("a", "b"), ("b", "c"), ("c", "a")):
        buffer.set_transform(stamped(parent, child, T0))
    with pytest.raises(LookupException, match="loop"):
        buffer.lookup_transform("a", "c", T0)


@pytest.mark.fault(61)
@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.text(max_size=3), st.text(max_size=3), st.integers(0, 2**62),
                          st.tuples(*[st.floats()] * 3), st.tuples(*[st.floats()] * 4)), max_size=8),
       st.text(max_size=3), st.text(max_size=3), st.integers(0, 2**62))
def test_fault_61_random_transforms_never_break_it(transforms, target, source_, moment):
    buffer = TransformBuffer()
    for parent, child, time_ns, translation, quaternion in transforms:
        message = stamped("a", "b", 0)
        message.header = type("Header", (), {"frame_id": parent, "stamp": type("Stamp", (), {
            "sec": time_ns // SECOND, "nanosec": time_ns % SECOND})})
        fields = {"translation": dict(zip("xyz", translation, strict=True)),
                  "rotation": dict(zip("xyzw", quaternion, strict=True))}
        transform = type("Transform", (), {name: type("Part", (), values) for name, values in fields.items()})
        buffer.set_transform(type("Stamped", (), {"header": message.header, "child_frame_id": child,
                                                  "transform": transform}))
    try:
        found = buffer.lookup_transform(target, source_, moment)
    except TransformError:
        return
    assert np.isfinite(found).all()


def test_threads_may_write_and_read_at_once():
    buffer = TransformBuffer()
    buffer.set_transform(stamped("odom", "base_link", T0))
    failures = []

    def read():
        for _ in range(300):
            found = buffer.lookup_transform("odom", "base_link")
            if abs(found[0, 3] - found[1, 3]) > 1e-9:  # both coordinates come from one message
                failures.append(found)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for index in range(1, 1500):
        buffer.set_transform(stamped("odom", "base_link", T0 + index * 10_000_000, (index, index, 0)))
    for reader in readers:
        reader.join()
    assert failures == []
