"""Messages of one camera, right ones and with changes; no ROS is needed."""

from __future__ import annotations

import array
from types import SimpleNamespace

import cv2
import numpy as np

from sparse4d_ros.node.cameras import Camera

WIDTH, HEIGHT = 64, 48


def picture(width=WIDTH, height=HEIGHT):
    """Smooth colours that differ in every channel and direction, BGR."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 255 / width, y * 255 / height, 255 - x * 200 / width], axis=-1).astype(np.uint8)


def header(frame_id="front_optical_frame"):
    return SimpleNamespace(frame_id=frame_id, stamp=SimpleNamespace(sec=1, nanosec=0))


def image_message(pixels, encoding="bgr8", padding=0, frame_id="front_optical_frame", **changes):
    """A sensor_msgs/Image; ``padding`` bytes of rubbish end each row."""
    rows = pixels.reshape(len(pixels), -1)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=77)
    message = SimpleNamespace(header=header(frame_id), height=len(pixels), width=pixels.shape[1], encoding=encoding,
                              is_bigendian=0, step=rows.shape[1], data=array.array("B", rows.tobytes()))
    return SimpleNamespace(**{**vars(message), **changes})


def compressed(pixels, suffix=".jpg", frame_id="front_optical_frame"):
    data = cv2.imencode(suffix, pixels)[1].tobytes()
    return SimpleNamespace(header=header(frame_id), format={".jpg": "jpeg", ".png": "png"}[suffix],
                           data=array.array("B", data))


def camera_info(width=WIDTH, height=HEIGHT, frame_id="front_optical_frame", **changes):
    message = dict(header=header(frame_id), width=width, height=height, distortion_model="plumb_bob", d=[0.0] * 5,
                   k=[50.0, 0.0, width / 2, 0.0, 50.0, height / 2, 0.0, 0.0, 1.0], binning_x=0, binning_y=0,
                   roi=SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0))
    return SimpleNamespace(**{**message, **changes})


def ready(**options):
    camera = Camera("front", **options)
    camera.on_camera_info(camera_info())
    return camera
