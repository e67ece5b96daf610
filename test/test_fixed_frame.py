"""In which frame the vehicle of a bag moves, without reading the bag to its end."""

from __future__ import annotations

from pathlib import Path

import bag_cases
import pytest

from sparse4d_ros.data.bag_writer import BagWriter
from sparse4d_ros.errors import UserError
from sparse4d_ros.node import fixed_frame
from sparse4d_ros.node.fixed_frame import find_fixed_frame


@pytest.mark.parametrize(("in_bag", "preferred", "found"), [
    ("odom", "odom", "odom"), ("map", "odom", "map"), ("world", "world", "world"), ("odom", "world", "odom"),
    ("world", "odom", "odom"),  # nothing fits: the node says what it lacks
])
def test_the_preferred_frame_is_taken_where_the_bag_has_it(in_bag: str, preferred: str, found: str, tmp_path: Path
                                                           ) -> None:
    bag = bag_cases.write(tmp_path / "drive", 2, fixed_frame=in_bag)
    assert find_fixed_frame(bag, preferred, "base_link") == found


def test_a_chain_of_frames_counts(tmp_path: Path) -> None:
    assert find_fixed_frame(chained(tmp_path, "map", "odom"), "odom", "base_link") == "odom"
    assert find_fixed_frame(tmp_path / "drive", "map", "base_link") == "map"


def test_frames_in_a_loop_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="drive: the frames .* form a loop"):
        find_fixed_frame(chained(tmp_path, "base_link", "odom"), "map", "base_link")


def test_a_transform_after_the_first_seconds_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bag = bag_cases.write(tmp_path / "drive", 2, fixed_frame="map")
    monkeypatch.setattr(fixed_frame, "_WITHIN_NS", 1)
    assert find_fixed_frame(bag, "odom", "base_link") == "odom"


def test_the_program_prints_it_or_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    bag = bag_cases.write(tmp_path / "drive", 2, fixed_frame="map")
    assert fixed_frame.main([str(bag), "odom", "base_link"]) == 0
    assert fixed_frame.main([str(tmp_path / "none"), "odom", "base_link"]) == 2
    assert capsys.readouterr() == ("map\n", f"there is no bag at {tmp_path / 'none'}\n")


def chained(folder: Path, parent: str, child: str) -> Path:
    """A bag with odom -> base_link and, before it, another link."""
    with BagWriter(folder / "drive", bag_cases.rig()) as writer:
        writer.fixed_frame, writer.vehicle_frame = parent, child
        writer.put_pose(bag_cases.START_NS - 10**9, bag_cases.vehicle_pose(0))
        writer.fixed_frame, writer.vehicle_frame = "odom", "base_link"
        for item in bag_cases.frames(2):
            writer.add(item)
    return folder / "drive"
