"""Pixels of image messages: every encoding shows the same colours, and what does not add up is refused."""

from __future__ import annotations

import resource

import cv2
import numpy as np
import pytest
from fuzz.cameras import animated
from hypothesis import given
from hypothesis import strategies as st

from sparse4d_ros.data import images, ros_messages
from sparse4d_ros.data.images import CameraError


def raw(data, encoding, height, width, step):
    return ros_messages.new(
        ros_messages.IMAGE, header=ros_messages.header(0, "optical"), height=height, width=width, encoding=encoding,
        is_bigendian=0, step=step, data=np.frombuffer(bytes(data), dtype=np.uint8))


def decode_raw(*fields):
    return images.decode(raw(*fields), "front")


def decode_compressed(data):
    return images.decode(ros_messages.compressed_image(0, "optical", data), "front")


@pytest.mark.fault(13)
def test_every_colour_order_shows_the_same_red():
    red = np.zeros((4, 6, 3), dtype=np.uint8)
    red[..., 2] = 200
    padded = np.zeros((4, 24), dtype=np.uint8)
    padded[:, :18] = cv2.cvtColor(red, cv2.COLOR_BGR2RGB).reshape(4, 18)
    np.testing.assert_array_equal(decode_raw(padded, "rgb8", 4, 6, 24), red)
    np.testing.assert_array_equal(decode_raw(red, "bgr8", 4, 6, 18), red)
    for encoding, code in (("rgba8", cv2.COLOR_BGR2RGBA), ("bgra8", cv2.COLOR_BGR2BGRA)):
        np.testing.assert_array_equal(decode_raw(cv2.cvtColor(red, code), encoding, 4, 6, 24), red)
    assert (decode_raw(np.full((4, 6), 90, dtype=np.uint8), "mono8", 4, 6, 6) == 90).all()
    np.testing.assert_array_equal(decode_compressed(cv2.imencode(".png", red)[1].tobytes()), red)


@pytest.mark.fault(13)
@pytest.mark.parametrize(("pattern", "red_at"), [
    ("rggb", (0, 0)), ("bggr", (1, 1)), ("gbrg", (1, 0)), ("grbg", (0, 1)),
])
def test_bayer_patterns_put_red_where_their_name_says(pattern, red_at):
    mosaic = np.zeros((8, 8), dtype=np.uint8)
    mosaic[red_at[0]::2, red_at[1]::2] = 200
    image = decode_raw(mosaic, f"bayer_{pattern}8", 8, 8, 8)
    assert image[2:-2, 2:-2, 2].min() > 150
    assert image[2:-2, 2:-2, :2].max() == 0


@pytest.mark.fault(13)
@pytest.mark.parametrize(("encoding", "order"), [
    ("yuv422", "uyvy"), ("uyvy", "uyvy"), ("yuv422_yuy2", "yuyv"), ("yuyv", "yuyv"),
])
def test_yuv422_orders(encoding, order):
    red = {"y": 82, "u": 90, "v": 240}  # BT.601
    pixels = bytes(red[letter] for letter in order) * 3 * 4
    image = decode_raw(pixels, encoding, 4, 6, 12)
    assert (np.abs(image.reshape(-1, 3).astype(int) - [0, 0, 255]).max(axis=0) < 12).all()


@pytest.mark.fault(13, 14)
@pytest.mark.parametrize(("fields", "word"), [
    (("32FC1", 4, 6, 24), "32FC1"), (("rgb8", 4, 6, 17), "step"), (("rgb8", 5, 6, 18), "90"),
    (("rgb8", 0, 6, 18), "6x0"), (("yuv422", 9, 3, 8), "pairs"), (("bayer_rggb8", 2, 36, 36), "too small"),
])
def test_images_that_do_not_add_up_are_refused(fields, word):
    with pytest.raises(CameraError, match=f"'front'.*{word}"):
        decode_raw(bytes(72), *fields)


@pytest.mark.fault(15)
def test_bytes_that_are_no_picture_are_refused():
    jpeg = images.encode_jpeg(np.zeros((32, 48, 3), dtype=np.uint8), 90)
    assert decode_compressed(jpeg).shape == (32, 48, 3)
    huge = jpeg.replace(b"\x00\x20\x00\x30", b"\xff\xff\xff\xff")
    assert huge != jpeg
    for data, word in ((b"", "neither"), (b"GIF89a" + bytes(50), "neither"), (jpeg[:-20], "truncated"),
                       (huge, "65535x65535"), (b"\xff\xd8\xff" + bytes(50) + b"\xff\xd9", "cannot be decoded")):
        with pytest.raises(CameraError, match=word):
            decode_compressed(data)


def test_jpeg_decodes_at_reduced_size():
    image = np.full((33, 50, 3), 77, dtype=np.uint8)
    message = ros_messages.compressed_image(0, "optical", images.encode_jpeg(image, 95))
    for reduce, shape in ((1, (33, 50, 3)), (2, (17, 25, 3)), (4, (9, 13, 3)), (8, (5, 7, 3))):
        small = images.decode(message, "front", reduce)
        assert small.shape == shape
        assert np.abs(small.astype(int) - 77).max() <= 2
    with pytest.raises(ValueError, match="reduce"):
        images.decode(message, "front", 3)


@pytest.mark.fault(15)
def test_a_png_part_that_says_it_is_2_gb_is_refused_unread():
    data = bytearray(cv2.imencode(".png", np.full((8, 8, 3), 77, dtype=np.uint8))[1].tobytes())
    at = data.index(b"IDAT") - 4
    data[at:at + 4] = b"\x7f\xff\xff\xff"  # OpenCV would reserve and fill them
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CameraError, match="its parts are longer than itself"):
        decode_compressed(bytes(data))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


@pytest.mark.fault(15)
def test_an_animation_is_refused_undecoded():
    data = animated(cv2.imencode(".png", np.full((8, 8), 77, dtype=np.uint8))[1].tobytes())
    for picture in (data, data.replace(b"acTL", b"teXt")):  # damaged, it would end the process: memory freed twice
        with pytest.raises(CameraError, match="is an animation"):
            decode_compressed(picture)


@pytest.mark.fault(15)
def test_a_jpeg_whose_size_does_not_stand_where_it_should_is_refused():
    data = images.encode_jpeg(np.full((8, 8, 3), 77, dtype=np.uint8), 90)
    at = data.index(b"\xff\xc0")
    huge = data[:at + 5] + b"\xff\xf0\xff\xf0" + data[at + 9:]
    # A decoder skips bytes between two parts, and would find a picture of 4 gigapixels behind them.
    with pytest.raises(CameraError, match="more than 33554432 pixels"):
        decode_compressed(huge)
    with pytest.raises(CameraError, match="its size does not stand where it should"):
        decode_compressed(huge[:at] + b"\0" + huge[at:])


def test_an_array_that_is_no_image_is_not_written():
    for array in (np.zeros((0, 5, 3), np.uint8), np.zeros((4, 4, 7), np.uint8)):
        with pytest.raises(ValueError, match="image"):
            images.encode_jpeg(array, 90)


@pytest.mark.fault(61)
@given(st.sampled_from(sorted(images.ENCODINGS) + ["16UC1", ""]), st.integers(0, 40), st.integers(0, 40),
       st.integers(0, 200), st.binary(max_size=600))
def test_any_fields_give_a_picture_of_their_size_or_an_error(encoding, height, width, step, data):
    try:
        image = decode_raw(data, encoding, height, width, step)
    except CameraError as error:
        assert "'front'" in str(error)
    else:
        assert image.shape == (height, width, 3)
        assert image.dtype == np.uint8


@pytest.mark.fault(61)
@given(st.binary(max_size=300), st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"]))
def test_any_bytes_give_a_picture_or_an_error(data, start):
    try:
        image = decode_compressed(start + data + b"\xff\xd9")
    except CameraError:
        return
    assert image.ndim == 3
