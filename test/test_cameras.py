"""Images and camera_info from drivers that err: decoded, or refused with a sentence that names the camera."""

import array
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparse4d_ros.node.calibration import Undistorter, read_camera_info
from sparse4d_ros.node.cameras import Camera, CameraError, CameraState, decode

WIDTH, HEIGHT = 64, 48
SECOND = 1_000_000_000


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


# -- encodings -----------------------------------------------------------------------------------


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


# -- broken images ---------------------------------------------------------------------------------


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


# -- camera_info ----------------------------------------------------------------------------------


@pytest.mark.fault(20)
@pytest.mark.parametrize(("changes", "text"), [
    (dict(k=[0.0] * 9), "all zero"),
    (dict(k=[float("nan")] + [1.0] * 8), "not finite"),
    (dict(k=[-1.0, 0, 1, 0, 1, 1, 0, 0, 1]), "focal lengths .* -1 and 1"),
    (dict(k=[1.0, 0, 1, 0, 1, 1, 0, 0, 2]), "not of the form"),
    (dict(k=[1.0]), "has 1 numbers, not 9"),
    (dict(width=0), "size as 0x48"),
    (dict(d=[0.1] * 3), "D in camera_info has 3 numbers"),
    (dict(d=[float("inf")] * 5), "D in camera_info holds"),
    (dict(d=[0.1] * 5, distortion_model="scaramuzza"), "'scaramuzza'"),
    (dict(roi=SimpleNamespace(x_offset=60, y_offset=0, width=10, height=48)), "region of interest .*10x48 at 60, 0"),
    (dict(binning_x=100), "binning by 100x1"),
])
def test_fault_20_unusable_camera_info_is_refused_by_field(changes, text):
    camera = Camera("front")
    with pytest.raises(CameraError, match=f"camera 'front'.*{text}"):
        camera.on_camera_info(camera_info(**changes))
    status = camera.status(0)
    assert status.state is CameraState.REJECTED and status.camera_infos_rejected == 1 and camera.calibration is None


numbers = st.floats(allow_subnormal=False) | st.sampled_from([0.0, 1.0, 50.0, -1.0])
sizes = st.integers(0, 2**32 - 1) | st.integers(0, 100)


@pytest.mark.fault(61)
@settings(max_examples=200, deadline=None)
@given(sizes, sizes, st.lists(numbers, min_size=9, max_size=9), st.lists(numbers, max_size=15),
       st.text(max_size=5) | st.sampled_from(["plumb_bob", "equidistant"]), st.tuples(*[sizes] * 6), st.booleans())
def test_fault_61_random_camera_info(width, height, k, d, model, rest, valid_form):
    camera = Camera("front", undistort=True)
    if valid_form:
        k = [abs(k[0]) or 1.0, 0.0, k[2], 0.0, abs(k[4]) or 1.0, k[5], 0.0, 0.0, 1.0]
    region = SimpleNamespace(**dict(zip(("x_offset", "y_offset", "width", "height"), rest, strict=False)))
    message = camera_info(width, height, k=k, d=d, distortion_model=model, binning_x=rest[4], binning_y=rest[5],
                          roi=region)
    try:
        camera.on_camera_info(message)
    except CameraError as error:
        assert "camera 'front'" in str(error)
        assert camera.calibration is None and camera.status(0).camera_infos_rejected == 1
    else:
        calibration = camera.calibration
        assert calibration.width >= 1 and calibration.height >= 1
        assert np.isfinite(calibration.intrinsic).all() and calibration.intrinsic[0, 0] > 0


@pytest.mark.fault(12)
def test_fault_12_size_differs_from_camera_info():
    camera = ready()
    with pytest.raises(CameraError, match="image is 64x64, but camera_info is for 64x48"):
        camera.read(image_message(picture(64, 64)))
    _, intrinsic = camera.read(image_message(picture(128, 96)))
    np.testing.assert_allclose(intrinsic, [[100, 0, 64], [0, 100, 48], [0, 0, 1]])


def test_reduced_jpeg_scales_k_with_the_size_it_came_to():
    camera = Camera("front")
    camera.on_camera_info(camera_info(161, 90))
    image, intrinsic = camera.read(compressed(picture(161, 90)), reduce=2)
    assert image.shape == (45, 81, 3)
    np.testing.assert_allclose(intrinsic[0], [50 * 81 / 161, 0, 80.5 * 81 / 161])
    np.testing.assert_allclose(intrinsic[1], [0, 25, 22.5])


def test_region_of_interest_and_binning_move_k_to_the_published_image():
    calibration = read_camera_info(camera_info(1600, 1200, binning_x=2, binning_y=2, roi=SimpleNamespace(
        x_offset=100, y_offset=200, width=1000, height=800)), "front")
    assert (calibration.width, calibration.height) == (500, 400)
    np.testing.assert_allclose(calibration.intrinsic, [[25, 0, (800 - 100) / 2], [0, 25, (600 - 200) / 2], [0, 0, 1]])


def test_k_handed_out_is_a_copy():
    camera = ready()
    camera.read(image_message(picture()))[1][0, 0] = 0.0
    assert camera.calibration.intrinsic[0, 0] == 50.0


@pytest.mark.fault(19)
def test_fault_19_without_camera_info_nothing_is_read():
    camera = Camera("front")
    camera.on_image(0)
    assert camera.status(0).state is CameraState.WAITING_CAMERA_INFO
    with pytest.raises(CameraError, match="no camera_info yet"):
        camera.read(image_message(picture()))


@pytest.mark.fault(21)
def test_fault_21_changed_camera_info_counts_from_the_next_image_and_is_told_once():
    camera = Camera("front")
    assert "calibrated" in camera.on_camera_info(camera_info())
    assert camera.on_camera_info(camera_info()) == ""
    changed = camera_info(k=[60.0, 0, 32, 0, 60.0, 24, 0, 0, 1])
    assert "new calibration" in camera.on_camera_info(changed) and camera.on_camera_info(changed) == ""
    assert camera.read(image_message(picture()))[1][0, 0] == 60.0


@pytest.mark.fault(21)
def test_fault_21_broken_camera_info_takes_the_old_calibration_away():
    camera = ready()
    with pytest.raises(CameraError):
        camera.on_camera_info(camera_info(k=[0.0] * 9))
    with pytest.raises(CameraError, match="all zero"):
        camera.read(image_message(picture()))
    assert camera.on_camera_info(camera_info()) != ""
    assert camera.read(image_message(picture()))[0].shape == (HEIGHT, WIDTH, 3)


DISTORTIONS = [
    ("plumb_bob", [-0.3, 0.1, 0.001, -0.002, 0.0]),
    ("rational_polynomial", [0.2, 0.1, 0.001, 0.0, 0.01, 0.1, 0.05, 0.01]),
    ("equidistant", [0.1, -0.05, 0.01, 0.0]),
]


@pytest.mark.fault(22)
def test_fault_22_distortion_is_ignored_with_one_warning():
    camera = Camera("front")
    info = camera_info(d=DISTORTIONS[0][1])
    assert "distortion is not zero and is ignored" in camera.on_camera_info(info)
    assert camera.on_camera_info(info) == ""
    np.testing.assert_array_equal(camera.read(image_message(picture()))[0], picture())


@pytest.mark.fault(22)
@pytest.mark.parametrize(("model", "coefficients"), DISTORTIONS)
def test_fault_22_undistorted_points_lie_where_k_projects_them(model, coefficients):
    width, height, focal = 320, 240, 200.0
    intrinsic = np.array([[focal, 0, 160], [0, focal, 120], [0, 0, 1]])
    points = np.array([[0.35, 0.2, 1.0], [-0.4, 0.3, 1.0], [0.1, -0.3, 1.0], [-0.2, -0.2, 1.0]])
    project = cv2.fisheye.projectPoints if model == "equidistant" else cv2.projectPoints
    seen = (project(points[:, None], np.zeros(3), np.zeros(3), intrinsic, np.array(coefficients))[0]).reshape(-1, 2)
    ideal = points[:, :2] * focal + [160, 120]
    assert np.abs(seen - ideal).max() > 1.5  # or the test would show nothing
    image = np.zeros((height, width, 3), np.uint8)
    for x, y in seen:
        cv2.circle(image, (round(x * 16), round(y * 16)), 3 * 16, (255, 255, 255), -1, cv2.LINE_AA, 4)
    camera = Camera("front", undistort=True)
    assert "ignored" not in camera.on_camera_info(camera_info(
        width, height, k=intrinsic.ravel().tolist(), d=coefficients, distortion_model=model))
    straight, same = camera.read(image_message(image))
    np.testing.assert_array_equal(same, intrinsic)
    _, _, _, centres = cv2.connectedComponentsWithStats((straight[..., 0] > 127).astype(np.uint8))
    for point in ideal:
        assert np.linalg.norm(centres[1:] - point, axis=1).min() < 0.75


def test_undistortion_maps_are_made_once_per_size():
    undistorter = Undistorter(read_camera_info(camera_info(d=DISTORTIONS[0][1]), "front"))
    undistorter(picture())
    maps = undistorter._maps[WIDTH, HEIGHT]
    undistorter(picture())
    assert undistorter._maps[WIDTH, HEIGHT] is maps
    undistorter(picture(32, 24))
    assert list(undistorter._maps) == [(32, 24)]


# -- frames and states ----------------------------------------------------------------------------


@pytest.mark.fault(16)
def test_fault_16_frame_id_that_is_not_the_configured_one_is_an_error():
    camera = Camera("front", frame_id="front_optical_frame")
    camera.on_camera_info(camera_info())
    with pytest.raises(CameraError, match="'back_optical_frame', but camera_frames.front says 'front_optical_frame'"):
        camera.read(image_message(picture(), frame_id="back_optical_frame"))
    with pytest.raises(CameraError, match="frame_id of camera_info is 'back_optical_frame'"):
        camera.on_camera_info(camera_info(frame_id="back_optical_frame"))


@pytest.mark.fault(16)
def test_fault_16_image_and_camera_info_of_different_frames():
    with pytest.raises(CameraError, match="'back_optical_frame', its camera_info in 'front_optical_frame'"):
        ready().read(image_message(picture(), frame_id="back_optical_frame"))


@pytest.mark.fault(23)
def test_fault_23_empty_frame_id_is_an_error_unless_overridden():
    camera = Camera("front")
    camera.on_camera_info(camera_info(frame_id=""))
    with pytest.raises(CameraError, match="frame_id is empty.*camera_frames.front"):
        camera.read(image_message(picture(), frame_id=""))
    camera = Camera("front", frame_id="override")
    camera.on_camera_info(camera_info(frame_id=""))
    camera.read(image_message(picture(), frame_id=""))
    assert camera.frame_id == "override"


def test_frame_is_the_images_own_then_camera_infos():
    camera = ready()
    assert camera.frame_id == "front_optical_frame"
    camera = Camera("front")
    assert camera.frame_id == ""
    camera.on_camera_info(camera_info(frame_id=""))
    camera.read(image_message(picture(), frame_id="from_image"))
    assert camera.frame_id == "from_image"


def test_states_follow_one_another():
    camera = Camera("front", max_image_age_ms=500)
    assert camera.status(0).state is CameraState.WAITING_CAMERA_INFO
    camera.on_camera_info(camera_info())
    assert camera.status(0).state is CameraState.WAITING_IMAGE and camera.status(0).age_ms is None
    for index in range(11):
        camera.on_image(index * SECOND // 10)
    status = camera.status(SECOND)
    assert status.state is CameraState.ACTIVE and status.text == "" and status.images == 11
    assert status.rate_hz == pytest.approx(10.0)
    with pytest.raises(CameraError):
        camera.read(image_message(picture(), step=1))
    status = camera.status(SECOND)
    assert status.state is CameraState.REJECTED and "step is 1" in status.text and status.images_rejected == 1
    camera.read(image_message(picture()))
    assert camera.status(SECOND).state is CameraState.ACTIVE


@pytest.mark.fault(5, 36)
def test_fault_05_silence_shows_as_stale_with_a_falling_rate():
    camera = ready(max_image_age_ms=500)
    for index in range(11):
        camera.on_image(index * SECOND // 10)
    assert camera.status(SECOND * 3 // 2).state is CameraState.ACTIVE  # exactly the limit
    status = camera.status(11 * SECOND)
    assert status.state is CameraState.STALE and "10.0 s ago" in status.text
    assert status.age_ms == 10_000 and status.rate_hz < 1.0
    camera.on_image(11 * SECOND)
    assert camera.status(11 * SECOND).state is CameraState.ACTIVE


@pytest.mark.fault(51)
def test_fault_51_qos_mismatch_is_the_state_until_an_image_comes():
    camera = ready()
    camera.on_qos_mismatch("RELIABILITY")
    status = camera.status(0)
    assert status.state is CameraState.QOS_MISMATCH and "RELIABILITY" in status.text
    camera.on_image(0)
    assert camera.status(0).state is CameraState.ACTIVE
