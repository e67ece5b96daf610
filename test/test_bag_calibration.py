"""K of a bag's pictures: by the node's rule, whatever size camera_info is for."""

from __future__ import annotations

import bag_cases
import cv2
import numpy as np
import pytest

from sparse4d_ros.data import bag_files
from sparse4d_ros.data.bag_reader import BagDrive
from sparse4d_ros.errors import UserError
from sparse4d_ros.node.cameras import Camera

INFO, PICTURES = "/camera/back/camera_info", "/camera/back/image/compressed"


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    return bag_cases.write(tmp_path_factory.mktemp("bags") / "drive", 1)


@pytest.fixture
def altered(bag, tmp_path):
    """A copy in which ``info(message)`` and ``resize(picture)`` worked on the back camera."""
    def make(info=lambda message: None, resize=None):
        def change(topic, message, log_ns):
            if topic == INFO:
                info(message)
            elif topic == PICTURES and resize is not None:
                picture = cv2.resize(cv2.imdecode(message.data, cv2.IMREAD_COLOR), resize)
                message.data = cv2.imencode(".jpg", picture)[1].ravel()
            return message.__msgtype__, message, log_ns
        return bag_cases.rewrite(bag, tmp_path / "copy", change=change)
    return make


def of_node(path) -> np.ndarray:
    """The K with which the node would take the picture."""
    camera = Camera("back")
    with bag_files.open_bag(path) as reader:
        messages = {connection.topic: bag_files.deserialize(reader, connection, raw) for connection, _, raw in
                    bag_files.messages(reader, reader.connections)}
    camera.on_camera_info(messages[INFO])
    return camera.read(messages[PICTURES])[1]


def full_sensor(message):
    message.width, message.height, message.binning_x, message.binning_y = 500, 400, 2, 2
    message.roi.x_offset, message.roi.y_offset, message.roi.width, message.roi.height = 100, 60, 192, 128


@pytest.mark.parametrize(("how", "k"), [
    ({"resize": (48, 32)}, [[60.5 / 2, 0, 47.25 / 2], [0, 61.5 / 2, 31.75 / 2], [0, 0, 1]]),
    ({"info": full_sensor}, [[60.5 / 2, 0, (47.25 - 100) / 2], [0, 61.5 / 2, (31.75 - 60) / 2], [0, 0, 1]]),
])
def test_k_is_that_of_the_picture_as_in_the_node(altered, how, k):
    path = altered(**how)
    (item,) = BagDrive(path)
    found = {camera.name: camera.intrinsic for camera in item.frame.cameras}
    np.testing.assert_allclose(found["back"], k)
    np.testing.assert_array_equal(found["back"], of_node(path))
    np.testing.assert_array_equal(found["front"], bag_cases.INTRINSIC)


def test_a_picture_that_camera_info_is_not_for_is_refused(altered):
    with pytest.raises(UserError, match=f"{PICTURES} at 17.*: the image is 64x64, but camera_info is for 96x64"):
        list(BagDrive(altered(resize=(64, 64))))


@pytest.mark.parametrize(("field", "value", "words"), [
    ("k", np.zeros(9), "not calibrated"), ("width", 0, "size as 0x64"), ("binning_x", 200, "binning by 200x1")])
def test_camera_info_that_the_node_refuses_is_refused(altered, field, value, words):
    with pytest.raises(UserError, match=f"copy: {INFO}: camera 'back': .*{words}"):
        BagDrive(altered(info=lambda message: setattr(message, field, value)))
