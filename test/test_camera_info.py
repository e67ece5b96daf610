"""camera_info from drivers that err: the K that goes with each image, or a sentence that names the camera."""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from camera_messages import HEIGHT, WIDTH, camera_info, compressed, image_message, picture, ready
from hypothesis import given, settings
from hypothesis import strategies as st

from sparse4d_ros.data.camera_info import Undistorter, read_camera_info
from sparse4d_ros.node.cameras import Camera, CameraError, CameraState


@pytest.mark.fault(19)
def test_fault_19_without_camera_info_nothing_is_read():
    camera = Camera("front")
    camera.on_image(0)
    assert camera.status(0).state is CameraState.WAITING_CAMERA_INFO
    with pytest.raises(CameraError, match="no camera_info yet"):
        camera.read(image_message(picture()))


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


# -- lens distortion ----------------------------------------------------------------------------


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
