"""`sparse4d inject`: the broken bag has the faults and is otherwise the bag."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import bag_cases
import numpy as np
import pytest
from rosbags.interfaces import QosDurability
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from sparse4d_ros.cli import build_parser, main
from sparse4d_ros.data import bag_files, faults, ros_messages
from sparse4d_ros.data.bag_reader import BagDrive
from sparse4d_ros.data.ros_types import typestore

FRAMES = 10
FRONT = "/camera/front/image/compressed"


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    return bag_cases.write(tmp_path_factory.mktemp("bags") / "drive", FRAMES, weather="rain")


def contents(path):
    with bag_files.open_bag(path) as reader:
        messages = bag_files.messages(reader, reader.connections)
        return [(item.topic, log_ns, bytes(raw)) for item, log_ns, raw in messages]


def inject(bag, output, *words):
    return main(["inject", "--bag", str(bag), "--output", str(output), *map(str, words)])


def test_a_broken_bag_differs_in_its_fault_alone(bag, tmp_path, capsys):
    assert inject(bag, tmp_path / "out", "--fault", "drop:camera=front,from=1") == 0
    before, after = contents(bag), contents(tmp_path / "out")
    begin_ns = before[0][1]
    assert after == [item for item in before if not (item[0] == FRONT and item[1] - begin_ns >= 1_000_000_000)]
    hit = len(before) - len(after)
    assert 0 < hit < FRAMES
    assert f"\n{hit:8d}  {FRONT}  drop:camera=front,from=1\n" in capsys.readouterr().out
    drive = BagDrive(tmp_path / "out", min_cameras=5, reference_camera="back")
    assert len(drive) == FRAMES and sum(item.frame.cameras[0].image is None for item in drive) == hit
    assert bag_files.custom_data(tmp_path / "out") == bag_files.custom_data(bag) == {"weather": "rain"}
    with bag_files.open_bag(tmp_path / "out") as reader:
        latched = [item.topic for item in reader.connections
                   if item.ext.offered_qos_profiles[0].durability == QosDurability.TRANSIENT_LOCAL]
        assert latched == ["/tf_static"] and reader.topics["/ground_truth/objects"].msgcount == FRAMES


def test_file_and_words_add_up_and_the_seed_decides(bag, tmp_path):
    (tmp_path / "faults.yaml").write_text("- drop: {probability: 0.5}\n")
    words = ["--faults", tmp_path / "faults.yaml", "--fault", "tf_jump"]
    for name, seed in (("one", 1), ("again", 1), ("two", 2)):
        assert inject(bag, tmp_path / name, *words, "--seed", seed) == 0
    one, again, two = (contents(tmp_path / name) for name in ("one", "again", "two"))
    assert one == again != two
    poses = [typestore().deserialize_cdr(raw, ros_messages.TF).transforms[0] for topic, _, raw in one if topic == "/tf"]
    assert all(item.transform.translation.x > 1015 for item in poses)


def test_broken_time_comes_with_its_clock(bag, tmp_path):
    assert inject(bag, tmp_path / "out", "--fault", "clock_backward:from=1,seconds=20") == 0
    items = contents(tmp_path / "out")
    clock = [(log_ns, ros_messages.stamp_ns(typestore().deserialize_cdr(raw, "rosgraph_msgs/msg/Clock").clock))
             for topic, log_ns, raw in items if topic == "/clock"]
    begin_ns = items[0][1]
    assert {now_ns - log_ns for log_ns, now_ns in clock if log_ns < begin_ns + 10 ** 9} == {0}
    assert {now_ns - log_ns for log_ns, now_ns in clock if log_ns >= begin_ns + 10 ** 9} == {-20 * 10 ** 9}
    stamps = [bag_files.header_stamp_ns(raw) for topic, _, raw in items if topic == FRONT]
    assert len(stamps) == FRAMES and min(stamps[1:]) < stamps[0] - 15 * 10 ** 9


def test_types_that_nobody_knows_pass(tmp_path):
    store = get_typestore(Stores.ROS2_JAZZY)
    store.register(get_types_from_msg("std_msgs/Header header\nint32 value", "unheard_msgs/msg/Odd"))
    odd = store.types["unheard_msgs/msg/Odd"]
    with Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.SQLITE3) as writer:
        connection = writer.add_connection("/odd", "unheard_msgs/msg/Odd", typestore=store)
        for index in range(5):
            header = store.types["std_msgs/msg/Header"](store.types["builtin_interfaces/msg/Time"](50 + index, 0), "x")
            raw = store.serialize_cdr(odd(header, index), "unheard_msgs/msg/Odd")
            writer.write(connection, (50 + index) * 10 ** 9, raw)
    assert inject(tmp_path / "bag", tmp_path / "out", "--fault", "clock_forward:from=2,seconds=100") == 0
    with bag_files.open_bag(tmp_path / "out") as reader:
        found = [reader.deserialize(raw, "unheard_msgs/msg/Odd") for item, _, raw in reader.messages()
                 if item.topic == "/odd"]
    assert [item.header.stamp.sec for item in found] == [50, 51, 152, 153, 154]
    assert [item.value for item in found] == list(range(5))


def test_a_type_that_nothing_defines_is_left_out_and_said(tmp_path, capsys):
    """As in bags of Humble, which hold no definitions."""
    store = get_typestore(Stores.ROS2_JAZZY)
    store.register(get_types_from_msg("int32 value", "unheard_msgs/msg/Odd"))
    with Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.SQLITE3) as writer:
        pose = ros_messages.transform(1, "odom", "base_link", np.eye(4))
        for topic, kind, content in [("/odd", "unheard_msgs/msg/Odd", store.types["unheard_msgs/msg/Odd"](1)),
                                     ("/tf", ros_messages.TF, ros_messages.tf_message([pose]))]:
            writer.write(writer.add_connection(topic, kind, typestore=store), 1, store.serialize_cdr(content, kind))
    database = sqlite3.connect(tmp_path / "bag" / "bag.db3")
    database.executescript("DROP TABLE message_definitions; UPDATE schema SET schema_version = 3")
    database.close()
    assert inject(tmp_path / "bag", tmp_path / "out", "--fault", "tf_jump") == 0
    assert "/odd is left out: nothing defines its type unheard_msgs/msg/Odd\n" in capsys.readouterr().out
    assert {topic for topic, _, _ in contents(tmp_path / "out")} == {"/tf"}


@pytest.mark.parametrize(("words", "text"), [
    ([], "nothing to break: give --fault or --faults"),
    (["--fault", "dorp"], "no fault 'dorp'"),
    (["--fault", "drop:camera=side"], "drive has no sensor_msgs/msg/Image or sensor_msgs/msg/CompressedImage"),
    (["--faults", "nowhere.yaml"], "nowhere.yaml cannot be read"),
])
def test_bad_input_is_one_sentence_and_leaves_nothing(bag, tmp_path, capsys, words, text):
    assert inject(bag, tmp_path / "out", *words) == 2
    out, err = capsys.readouterr()
    assert text in err and "Traceback" not in err and not out
    assert not list(tmp_path.iterdir())


def test_the_page_shows_what_works(tmp_path):
    page = (Path(__file__).parents[1] / "docs" / "fault_injection.md").read_text()
    lines = [line.removeprefix("# ").split() for line in page.splitlines() if "sparse4d inject --bag" in line]
    assert len(lines) == 2 and page.index("sparse4d inject") < 60
    for words in lines:
        args = build_parser("inject").parse_args(words[1:])
        assert args.faults or faults.from_options(args)
    (tmp_path / "faults.yaml").write_text(page.partition("```yaml")[2].partition("```")[0])
    assert len(faults.read_file(tmp_path / "faults.yaml")) == 3


def test_the_list_needs_no_bag(capsys):
    with pytest.raises(SystemExit) as left:
        main(["inject", "--list-faults"])
    assert left.value.code == 0 and capsys.readouterr().out == faults.listing() + "\n"


def test_an_existing_bag_is_kept_unless_asked(bag, tmp_path, capsys):
    assert inject(bag, tmp_path / "out", "--fault", "drop") == 0
    kept = contents(tmp_path / "out")
    assert inject(bag, tmp_path / "out", "--fault", "reorder") == 2 and contents(tmp_path / "out") == kept
    assert inject(bag, tmp_path / "out", "--fault", "reorder", "--overwrite") == 0
    assert contents(tmp_path / "out") != kept
    assert "exists already" in capsys.readouterr().err


@pytest.mark.parametrize(("fault", "topic", "kind", "text"), [
    ("tf_jump", "/tf", ros_messages.TF, "a message on /tf is not a valid tf2_msgs/msg/TFMessage"),
    ("skew:camera=front", FRONT, ros_messages.COMPRESSED_IMAGE, f"{FRONT}: the message is too short for a header"),
    ("zero_stamp", FRONT, ros_messages.COMPRESSED_IMAGE, f"{FRONT}: the message is too short for a header"),
])
def test_a_damaged_message_is_named(tmp_path, capsys, fault, topic, kind, text):
    with Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        writer.write(writer.add_connection(topic, kind, typestore=typestore()), 1, b"\0\1\0\0\xff\xff\xff\xff")
    assert inject(tmp_path / "bag", tmp_path / "out", "--fault", fault) == 2
    assert text in capsys.readouterr().err
