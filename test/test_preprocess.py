"""Pictures and matrices against the reference's test pipeline (parity case u11), and missing cameras."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from engine_cases import package_of, rig_frame

from sparse4d_ros.engine.package import INPUT_SIZES
from sparse4d_ros.engine.preprocess import ImagePlan, Preprocessor, resize_and_crop
from sparse4d_ros.frame import CameraFrame, Frame
from sparse4d_ros.geometry import from_quaternion, inverse

SHIPPED = Path(__file__).resolve().parent / "data" / "parity"
FULL = Path(os.environ.get("PARITY_DIR", SHIPPED.parents[3] / "shared" / "parity"))
CASES = {path.name: path for folder in (SHIPPED, FULL) if folder.is_dir() for path in folder.glob("u11*.npz")}


def rotation(wxyz) -> np.ndarray:
    quaternion = np.array([*wxyz[1:], wxyz[0]])
    return quaternion / np.linalg.norm(quaternion)


@pytest.mark.parametrize("path", CASES.values(), ids=CASES.keys())
def test_equals_the_reference_pipeline(path):
    with np.load(path) as data:
        case = {key: data[key] for key in data.files}
    meta = json.loads(str(case["meta"]))
    height, width = meta["final_dim"]
    info = meta["info"]
    vehicle_from_lidar = from_quaternion(info["lidar2ego_translation"], rotation(info["lidar2ego_rotation_wxyz"]))
    fixed_from_vehicle = from_quaternion(info["ego2global_translation"], rotation(info["ego2global_rotation_wxyz"]))
    cameras = []
    for index, image in enumerate(case["raw_img"]):
        lidar_from_camera = np.eye(4)
        lidar_from_camera[:3, :3] = case["raw_sensor2lidar_rotation"][index]
        lidar_from_camera[:3, 3] = case["raw_sensor2lidar_translation"][index]
        cameras.append(CameraFrame(
            str(index), image, case["raw_cam_intrinsic"][index],
            np.linalg.inv(vehicle_from_lidar @ lidar_from_camera), meta["info"]["timestamp_us"] * 1000))
    package = replace(
        package_of(len(cameras)), cameras=tuple(c.name for c in cameras), input_width=width, input_height=height,
        vehicle_from_model=vehicle_from_lidar)
    frame = Frame(0, tuple(cameras), fixed_from_vehicle)
    inputs = Preprocessor(package)(frame)
    for index, image in enumerate(case["raw_img"]):
        assert (resize_and_crop(image, width, height) == case["resized"][index]).all(), "the resized bytes differ"
    assert np.abs(inputs.images[0] - case["img"]).max() < 1e-5
    expected = case["projection_mat"]
    assert np.abs(inputs.projection[0] - expected).max() < 1e-4 * np.abs(expected).max()
    assert np.abs(fixed_from_vehicle @ vehicle_from_lidar - case["T_global"]).max() < 1e-9


@pytest.mark.parametrize("size", INPUT_SIZES.values(), ids=INPUT_SIZES.keys())
def test_published_sizes_keep_the_bottom_of_the_picture(size):
    plan = ImagePlan.of(1600, 900, *size)
    assert plan.crop[1] == plan.scaled[1] - size[1] >= 0
    corner = plan.matrix @ [1600, 900, 1, 1]
    assert np.abs(corner[:2] - size).max() <= 1.0
    image = np.zeros((900, 1600, 3), np.uint8)
    image[-200:] = 255
    resized = resize_and_crop(image, *size)
    assert resized.shape == (size[1], size[0], 3)
    assert resized[-20:].min() == 255


def test_a_point_stays_on_its_pixel():
    """Project a world point with the matrices given out; the bright pixel of the picture must be there."""
    package = package_of(6)
    frame = rig_frame(package, source=(704, 256))
    point = np.array([12.0, 0.5, 1.0, 1.0])
    camera = frame.cameras[0]
    pixel = camera.intrinsic @ (camera.camera_from_vehicle @ point)[:3]
    column, row = np.round(pixel[:2] / pixel[2]).astype(int)
    image = np.zeros_like(camera.image)
    image[row - 1:row + 2, column - 1:column + 2] = 255
    cameras = (replace(camera, image=image), *frame.cameras[1:])
    inputs = Preprocessor(package)(replace(frame, cameras=cameras))
    projected = inputs.projection[0, 0] @ (inverse(package.vehicle_from_model) @ point)
    found = np.unravel_index(inputs.images[0, 0, 0].argmax(), inputs.images.shape[-2:])
    assert np.abs(projected[:2] / projected[2] - [found[1] + 0.5, found[0] + 0.5]).max() <= 1.5


def test_a_missing_camera_is_marked_and_blank():
    package = package_of(6)
    frame = rig_frame(package)
    preprocess = Preprocessor(package)
    preprocess(frame)
    cameras = (replace(frame.cameras[0], image=None), *frame.cameras[1:])
    inputs = preprocess(replace(frame, cameras=cameras))
    assert inputs.camera_valid.tolist() == [[False] + [True] * 5]
    assert not inputs.images[0, 0].any(), "the picture of the frame before must not be used again"
    assert inputs.images[0, 1].any()
