"""Bags that lack something or are damaged: a sentence names what and where."""

from __future__ import annotations

import logging

import bag_cases
import numpy as np
import pytest

from sparse4d_ros.boxes import VX
from sparse4d_ros.data import ros_messages
from sparse4d_ros.data.bag_output import GROUND_TRUTH_TOPIC
from sparse4d_ros.data.bag_reader import BagDrive
from sparse4d_ros.errors import UserError


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    return bag_cases.write(tmp_path_factory.mktemp("bags") / "drive", 4)


@pytest.mark.parametrize(("unwanted", "words"), [
    (lambda topic: topic == "/camera/back/camera_info", ["'back'", "/camera/back/camera_info"]),
    (lambda topic: topic == "/tf", ["'odom'", "'base_link'"]),
    (lambda topic: topic == "/tf_static", ["'base_link'", "'front_optical_frame'"]),
    (lambda topic: "/image" in topic, ["holds no images at all"]),
])
def test_missing_topics_are_named(bag, tmp_path, unwanted, words):
    copy = bag_cases.without(bag, tmp_path / "copy", unwanted)
    with pytest.raises(UserError) as caught:
        BagDrive(copy)
    for word in [*words, str(copy)]:
        assert word in str(caught.value)


def test_a_camera_that_the_bag_lacks_is_named(bag):
    with pytest.raises(UserError, match="'side'"):
        BagDrive(bag, ["front", "side"])
    with pytest.raises(UserError, match="/cam0/image_raw"):
        BagDrive(bag, {"front": "/cam0/image_raw"})


def test_a_broken_picture_is_named_with_topic_and_stamp(bag, tmp_path):
    def break_one(topic, message, log_ns):
        if topic == "/camera/back/image/compressed":
            message.data = np.zeros(100, dtype=np.uint8)
        return message.__msgtype__, message, log_ns

    with pytest.raises(UserError, match="/camera/back/image/compressed at 17"):
        list(BagDrive(bag_cases.rewrite(bag, tmp_path / "copy", change=break_one)))


def test_changing_calibration_is_refused_and_distortion_warned_about(bag, tmp_path, caplog):
    def distort(topic, message, log_ns):
        if topic == "/camera/front/camera_info":
            message.d = np.array([0.1, 0.0, 0.0, 0.0, 0.0])
        return message.__msgtype__, message, log_ns

    with caplog.at_level(logging.WARNING):
        BagDrive(bag_cases.rewrite(bag, tmp_path / "distorted", change=distort))
    assert len([record for record in caplog.records if "'front' has lens distortion" in record.getMessage()]) == 1

    def zoom(topic, message, log_ns):
        if topic == "/camera/front/camera_info" and ros_messages.stamp_ns(message.header.stamp) > bag_cases.START_NS:
            message.k = message.k * [2, 2, 2, 2, 2, 2, 1, 1, 1]
        return message.__msgtype__, message, log_ns

    with pytest.raises(UserError, match="'front' changes"):
        BagDrive(bag_cases.rewrite(bag, tmp_path / "zoomed", change=zoom))


def test_ground_truth_of_another_frame_is_refused(bag, tmp_path):
    def rename(topic, message, log_ns):
        if topic == "/ground_truth/objects":
            message.header.frame_id = "map"
        return message.__msgtype__, message, log_ns

    with pytest.raises(UserError, match="'map'"):
        BagDrive(bag_cases.rewrite(bag, tmp_path / "copy", change=rename))


@pytest.mark.parametrize(("change", "problem"), [
    (lambda item: setattr(item.pose.position, "x", np.nan), "pose: the pose holds a number that is not finite"),
    (lambda item: setattr(item.pose.orientation, "w", 3.0), "pose: the quaternion has length"),
    (lambda item: setattr(item.size, "y", np.inf), "size is not finite"),
    (lambda item: setattr(item, "score", np.nan), "score is not finite"),
])
def test_ground_truth_that_is_not_finite_is_named_with_topic_stamp_and_field(bag, tmp_path, change, problem):
    def break_one(topic, message, log_ns):
        if topic == GROUND_TRUTH_TOPIC and len(message.objects) > 1:
            change(message.objects[1])
        return message.__msgtype__, message, log_ns

    stamp_ns = bag_cases.START_NS + bag_cases.INTERVAL_NS
    with pytest.raises(UserError, match=rf"{GROUND_TRUTH_TOPIC}: at {stamp_ns} ns, objects\[1\]\.{problem}"):
        BagDrive(bag_cases.rewrite(bag, tmp_path / "copy", change=break_one))


def test_a_velocity_marked_invalid_is_unknown(bag, tmp_path):
    def forget(topic, message, log_ns):
        for item in message.objects[:1] if topic == GROUND_TRUTH_TOPIC else ():
            item.velocity, item.velocity_valid = type(item.velocity)(0.0, 0.0, 0.0), False
        return message.__msgtype__, message, log_ns

    read = list(BagDrive(bag_cases.rewrite(bag, tmp_path / "copy", change=forget)))[1].objects.boxes
    assert np.isnan(read[0, VX:]).all() and np.isfinite(read[0, :VX]).all() and np.isfinite(read[1:]).all()


def test_transforms_in_a_loop_and_broken_ones_are_named(bag, tmp_path):
    def loop(topic, message, log_ns):
        if topic == "/tf_static":
            message.transforms[0].child_frame_id, message.transforms[0].header.frame_id = "odom", "base_link"
        return message.__msgtype__, message, log_ns

    with pytest.raises(UserError, match="form a loop"):
        BagDrive(bag_cases.rewrite(bag, tmp_path / "loop", change=loop))

    def shrink(topic, message, log_ns):
        if topic == "/tf":
            message.transforms[0].transform.rotation.w = 0.5
        return message.__msgtype__, message, log_ns

    with pytest.raises(UserError, match="/tf: the quaternion has length"):
        BagDrive(bag_cases.rewrite(bag, tmp_path / "shrunk", change=shrink))


def test_a_missing_bag_and_an_unfinished_one_are_named(tmp_path):
    with pytest.raises(UserError, match="no bag at"):
        BagDrive(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no metadata.yaml"):
        BagDrive(tmp_path / "empty")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_bag_is_one_sentence(bag, tmp_path, share):
    file = next(bag.glob("*.mcap"))
    cut = tmp_path / file.name
    cut.write_bytes(file.read_bytes()[:int(file.stat().st_size * share)])
    with pytest.raises(UserError, match="cannot be read as a rosbag2"):
        BagDrive(cut)


def test_random_damage_is_a_user_error_or_readable(bag, tmp_path):
    whole = next(bag.glob("*.mcap")).read_bytes()
    generator = np.random.default_rng(3)
    damaged = tmp_path / "damaged.mcap"
    refused = 0
    for _ in range(30):
        data = bytearray(whole)
        for position in generator.integers(0, len(data), 20):
            data[position] = generator.integers(256)
        damaged.write_bytes(data)
        try:
            list(BagDrive(damaged))
        except UserError:
            refused += 1
    assert refused > 0


def test_a_damaged_compressed_chunk_is_a_user_error(bag, tmp_path):
    data = bytearray(next(bag.glob("*.mcap")).read_bytes())
    begin = data.index(b"\x28\xb5\x2f\xfd")  # Zstandard's first bytes
    data[begin + 10:begin + 500] = bytes(490)
    (tmp_path / "damaged.mcap").write_bytes(data)
    with pytest.raises(UserError, match="damaged.mcap cannot be read as a rosbag2"):
        list(BagDrive(tmp_path / "damaged.mcap"))


def test_a_track_id_beyond_64_bits_with_sign_is_a_user_error(bag, tmp_path):
    def change(topic, message, log_ns):
        if topic == GROUND_TRUTH_TOPIC:
            message.objects[0].track_id = 2**64 - 1
        return message.__msgtype__, message, log_ns

    with pytest.raises(UserError, match=f"{GROUND_TRUTH_TOPIC}: .*too large"):
        BagDrive(bag_cases.rewrite(bag, tmp_path / "ids", change=change))
