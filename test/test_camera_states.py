"""A camera's state for diagnostics, and the frame that its pictures are in."""

from __future__ import annotations

import pytest
from camera_messages import camera_info, image_message, picture, ready

from sparse4d_ros.node.cameras import Camera, CameraError, CameraState

SECOND = 1_000_000_000


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


def test_frame_is_the_images_own_then_camera_infos():
    camera = ready()
    assert camera.frame_id == "front_optical_frame"
    camera = Camera("front")
    assert camera.frame_id == ""
    camera.on_camera_info(camera_info(frame_id=""))
    camera.read(image_message(picture(), frame_id="from_image"))
    assert camera.frame_id == "from_image"


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
