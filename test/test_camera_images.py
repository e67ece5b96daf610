"""Images from drivers that err: decoded, or refused with a sentence that names the camera."""

from __future__ import annotations

import array
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from camera_messages import HEIGHT, WIDTH, compressed, image_message, picture
from hypothesis import given, settings
from hypothesis import strategies as st

from sparse4d_ros.node.cameras import CameraError, decode

# -- raw images ---------------------------------------------------------------------------------


@pytest.mark.fault(13)
@pytest.mark.parametrize("padding", [0, 10])
@pytest.mark.parametrize(("encoding", "convert"), [
    ("bgr8", lambda bgr: bgr),
    ("rgb8", lambda bgr: bgr[..., ::-1]),
    ("bgra8", lambda bgr: np.dstack([bgr, np.full(bgr.shape[:2], 9, np.uint8)])),
    ("rgba8", lambda bgr: np.dstack([bgr[..., ::-1], np.full(bgr.shape[:2], 9, np.uint8)])),
])
def test_fault_13_colour_encodings_are_exact(encoding, convert, padding):
    pixels = picture()
    np.testing.assert_array_equal(decode(image_message(convert(pixels), encoding, padding), "front"), pixels)


@pytest.mark.fault(13)
@pytest.mark.parametrize("padding", [0, 6])
def test_fault_13_mono(padding):
    grey = picture()[..., 0]
    np.testing.assert_array_equal(decode(image_message(grey, "mono8", padding), "front"), np.dstack([grey] * 3))


@pytest.mark.fault(13)
@pytest.mark.parametrize("padding", [0, 6])
@pytest.mark.parametrize(("encoding", "pattern"), [
    ("bayer_rggb8", "RGGB"), ("bayer_bggr8", "BGGR"), ("bayer_gbrg8", "GBRG"), ("bayer_grbg8", "GRBG")])
def test_fault_13_bayer_patterns_are_named_by_their_first_row(encoding, pattern, padding):
    pixels = picture()
    mosaic = np.empty((HEIGHT, WIDTH), np.uint8)
    for index, colour in enumerate(pattern):
        row, column = divmod(index, 2)
        mosaic[row::2, column::2] = pixels[row::2, column::2, "BGR".index(colour)]
    decoded = decode(image_message(mosaic, encoding, padding), "front").astype(int)
    assert np.abs(decoded - pixels)[4:-4, 4:-4].max() <= 8


@pytest.mark.fault(13)
@pytest.mark.parametrize("padding", [0, 6])
@pytest.mark.parametrize(("encoding", "luma"), [("yuv422", 1), ("uyvy", 1), ("yuv422_yuy2", 0), ("yuyv", 0)])
def test_fault_13_yuv422(encoding, luma, padding):
    pixels = picture()
    # ITU-R BT.601, video range, chroma of each pair of pixels together: written out here, independently of OpenCV.
    b, g, r = (pixels[..., channel].astype(float) for channel in range(3))
    y = 16 + (65.481 * r + 128.553 * g + 24.966 * b) / 255
    u = 128 + (-37.797 * r - 74.203 * g + 112.0 * b) / 255
    v = 128 + (112.0 * r - 93.786 * g - 18.214 * b) / 255
    packed = np.empty((HEIGHT, WIDTH, 2), np.uint8)
    packed[..., luma] = np.round(y)
    packed[:, 0::2, 1 - luma] = np.round((u[:, 0::2] + u[:, 1::2]) / 2)
    packed[:, 1::2, 1 - luma] = np.round((v[:, 0::2] + v[:, 1::2]) / 2)
    decoded = decode(image_message(packed, encoding, padding), "front").astype(int)
    assert np.abs(decoded - pixels).max() <= 6


@pytest.mark.fault(13)
@pytest.mark.parametrize("encoding", ["8UC3", "8UC1", "", "mono16", "32FC1", "RGB8", "jpeg"])
def test_fault_13_unknown_encoding_is_refused_not_guessed(encoding):
    with pytest.raises(CameraError, match=f"'front'.*'{encoding}'"):
        decode(image_message(picture(), encoding), "front")


def test_bgr8_is_a_view_without_a_copy():
    message = image_message(picture(), padding=4)
    decoded = decode(message, "front")
    message.data[0] = 123
    assert decoded[0, 0, 0] == 123


@pytest.mark.parametrize("make", [bytes, bytearray, lambda data: np.frombuffer(data, np.uint8), memoryview])
def test_data_may_be_any_row_of_bytes(make):
    message = image_message(picture())
    message.data = make(message.data.tobytes())
    np.testing.assert_array_equal(decode(message, "front"), picture())


@pytest.mark.fault(14)
@pytest.mark.parametrize(("changes", "text"), [
    (dict(step=10), "step is 10 bytes, but 64 pixels of bgr8 take 192"),
    (dict(step=193), "9216 bytes, but 48 rows of 193 bytes are 9264"),
    (dict(height=47), "9216 bytes, but 47 rows"),
    (dict(data=array.array("B")), "holds 0 bytes"),
    (dict(data=array.array("B", bytes(9215))), "holds 9215 bytes"),
    (dict(width=0), "size is 0x48"),
    (dict(height=0), "size is 64x0"),
    (dict(width=65), "step is 192 bytes, but 65 pixels of bgr8 take 195"),
    (dict(data=["a", "b"]), "not a row of bytes"),
])
def test_fault_14_wrong_step_or_length_is_refused_with_both_numbers(changes, text):
    with pytest.raises(CameraError, match=f"camera 'front'.*{text}"):
        decode(image_message(picture(), **changes), "front")


def test_odd_width_and_tiny_mosaic_are_refused():
    with pytest.raises(CameraError, match="pairs"):
        decode(image_message(np.zeros((4, 5, 2), np.uint8), "yuv422"), "front")
    with pytest.raises(CameraError, match="too small"):
        decode(image_message(np.zeros((2, 8), np.uint8), "bayer_rggb8"), "front")


@pytest.mark.fault(61)
@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["bgr8", "mono8", "bayer_rggb8", "yuv422", "rgba8", "mono16", ""]) | st.text(max_size=5),
       st.integers(0, 20), st.integers(0, 20), st.integers(0, 100), st.binary(max_size=400))
def test_fault_61_random_raw_images(encoding, width, height, step, data):
    message = SimpleNamespace(encoding=encoding, width=width, height=height, step=step, is_bigendian=0, data=data)
    try:
        image = decode(message, "front")
    except CameraError as error:
        assert "front" in str(error)
    else:
        assert image.shape == (height, width, 3) and image.dtype == np.uint8


# -- compressed images --------------------------------------------------------------------------


@pytest.mark.parametrize("reduce", [1, 2, 4, 8])
def test_png_keeps_every_pixel_at_any_reduction(reduce):
    np.testing.assert_array_equal(decode(compressed(picture(), ".png"), "front", reduce), picture())


@pytest.mark.parametrize("reduce", [1, 2, 4, 8])
def test_jpeg_decodes_at_full_or_reduced_size(reduce):
    pixels = picture(161, 90)
    decoded = decode(compressed(pixels), "front", reduce)
    assert decoded.shape == (-(-90 // reduce), -(-161 // reduce), 3)
    expected = cv2.resize(pixels, decoded.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(decoded.astype(int) - expected).mean() < 6


def test_reduce_is_checked():
    with pytest.raises(ValueError, match="reduce is 3"):
        decode(compressed(picture()), "front", 3)


def test_jpeg_with_trailing_zeros_is_whole():
    message = compressed(picture())
    message.data.extend(bytes(100_000))  # USB cameras pad their buffers
    assert decode(message, "front").shape == (HEIGHT, WIDTH, 3)


def test_orientation_tag_does_not_turn_the_picture_away_from_its_calibration():
    plain = compressed(picture()).data.tobytes()
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    message = SimpleNamespace(format="jpeg", data=plain[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
                              + plain[2:])
    assert decode(message, "front").shape == (HEIGHT, WIDTH, 3)


@pytest.mark.fault(15)
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("keep", [0, 3, 30, 0.5, 0.9, -2])
def test_fault_15_truncated_images_are_refused(suffix, keep):
    message = compressed(picture(), suffix)
    length = len(message.data)
    message.data = message.data[:int(length * keep) if 0 < keep < 1 else keep % length]
    with pytest.raises(CameraError, match="camera 'front'"):
        decode(message, "front")


@pytest.mark.fault(15)
@pytest.mark.parametrize("data", [b"GIF89a and so on", bytes(100), b"\x89PNG\r\n\x1a\n"])
def test_fault_15_what_is_no_picture_is_refused(data):
    with pytest.raises(CameraError, match=f"'whatever', {len(data)} bytes.*neither JPEG nor PNG"):
        decode(SimpleNamespace(format="whatever", data=data), "front")


@pytest.mark.fault(15)
def test_fault_15_depth_image_is_refused():
    with pytest.raises(CameraError, match="depth image"):
        decode(SimpleNamespace(format="16UC1; compressedDepth png", data=b""), "front")


@pytest.mark.fault(15)
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_fault_15_header_that_asks_for_gigabytes_is_refused_unread(suffix):
    data = bytearray(compressed(picture(), suffix).data.tobytes())
    if suffix == ".jpg":
        at = data.index(b"\xff\xc0") + 5
        data[at:at + 4] = b"\xff\xf0\xff\xf0"
    else:
        data[16:24] = b"\x00\x01\x00\x00\x00\x01\x00\x00"
    with pytest.raises(CameraError, match="says it is 65"):
        decode(SimpleNamespace(format="jpeg", data=bytes(data)), "front")


@pytest.mark.fault(61)
@settings(max_examples=50, deadline=None)
@given(st.sampled_from([".jpg", ".png"]), st.sampled_from([1, 2]), st.data())
def test_fault_61_damaged_compressed_images(suffix, reduce, data):
    whole = bytearray(compressed(picture(), suffix).data.tobytes())
    for _ in range(data.draw(st.integers(1, 6))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        image = decode(SimpleNamespace(format="", data=bytes(whole)), "front", reduce)
    except CameraError as error:
        assert "front" in str(error)
    else:
        assert image.ndim == 3 and image.dtype == np.uint8
