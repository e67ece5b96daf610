"""Poses between two stamps, and images of one moment: what reading a bag is made of."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparse4d_ros import geometry
from sparse4d_ros.data import camera_sets
from sparse4d_ros.data.transforms import PoseTable, TransformTree

stamps = st.integers(0, 10**10)


@given(st.dictionaries(stamps, st.tuples(*[st.floats(-100, 100)] * 3, st.floats(-3, 3)), min_size=1, max_size=12),
       st.data())
def test_pose_table_interpolates_between_neighbours_only(entries, data):
    table = PoseTable()
    order = data.draw(st.permutations(list(entries)))
    for stamp in order:
        table.add(stamp, geometry.from_yaw(*entries[stamp]))
    known = sorted(entries)
    for stamp in known:
        np.testing.assert_array_equal(table.at(stamp), geometry.from_yaw(*entries[stamp]))
    at = data.draw(stamps)
    assert table.covers(at) == (known[0] <= at <= known[-1])
    if not table.covers(at):
        with pytest.raises(LookupError, match=str(at)):
            table.at(at)
        return
    pose = geometry.check_rigid(table.at(at), "pose")
    before, after = max(s for s in known if s <= at), min(s for s in known if s >= at)
    share = (at - before) / (after - before) if after > before else 0.0
    expected = (1 - share) * np.array(entries[before][:3]) + share * np.array(entries[after][:3])
    np.testing.assert_allclose(pose[:3, 3], expected, atol=1e-6)


def test_transform_tree_chains_static_and_moving_links():
    tree = TransformTree()
    tree.add("map", "odom", 0, geometry.from_yaw(5, 0, 0, 0))
    tree.add("map", "odom", 100, geometry.from_yaw(5, 0, 0, 0))
    for stamp in (0, 100):
        tree.add("/odom", "base_footprint", stamp, geometry.from_yaw(stamp / 100, 0, 0, np.pi / 2))
    tree.add_static("base_footprint", "base_link", geometry.from_yaw(0, 0, 0.3, 0))
    tree.add_static("base_link", "camera", geometry.from_yaw(2, 0, 0, 0))
    np.testing.assert_allclose(tree.lookup("odom", "camera", 50)[:3, 3], [0.5, 2, 0.3], atol=1e-12)
    np.testing.assert_allclose(
        tree.lookup("camera", "odom", 50), geometry.inverse(tree.lookup("odom", "camera", 50)), atol=1e-12)
    np.testing.assert_allclose(tree.lookup("base_link", "camera", 10**9)[:3, 3], [2, 0, 0])  # static: at any time
    assert tree.covers("odom", "camera", 100)
    assert not tree.covers("odom", "camera", 101)
    with pytest.raises(LookupError, match="odom -> base_footprint"):
        tree.lookup("odom", "camera", 101)
    assert not tree.connected("odom", "elsewhere")
    with pytest.raises(LookupError, match="elsewhere"):
        tree.lookup("odom", "elsewhere", 0)
    with pytest.raises(ValueError, match="two parents"):
        tree.add("world", "base_footprint", 0, np.eye(4))


camera_stamps = st.lists(st.integers(0, 2000), max_size=25)


@given(st.fixed_dictionaries({name: camera_stamps for name in "abc"}), st.integers(0, 300))
def test_sets_use_each_image_once_and_near_its_reference(stamps_ns, spread):
    sets = camera_sets.group(stamps_ns, "a", spread)
    assert [members["a"] for members in sets] == sorted(set(stamps_ns["a"]))
    for camera in "bc":
        used = [members[camera] for members in sets if camera in members]
        assert len(used) == len(set(used))
        assert set(used) <= set(stamps_ns[camera])
        assert used == sorted(used)
    for members in sets:
        for camera, stamp in members.items():
            distance = abs(stamp - members["a"])
            assert distance <= spread
            assert distance == min(abs(stamp - other["a"]) for other in sets)
            assert distance == min(abs(other - members["a"]) for other in stamps_ns[camera])
