"""A small untrained model package and frames of a six-camera rig, for tests of the engine."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from sparse4d_ros.boxes import NUSCENES_CLASSES
from sparse4d_ros.engine.package import ModelPackage, sha256
from sparse4d_ros.frame import CameraFrame, Frame
from sparse4d_ros.geometry import from_yaw, inverse
from sparse4d_ros.model.config import BackboneConfig, ModelConfig
from sparse4d_ros.resources import share_path

NAMES = ("front", "front_right", "front_left", "back", "back_left", "back_right")
YAWS = np.radians([0, -55, 55, 180, 108, -108])
TINY = ModelConfig(
    num_anchors=30, num_temporal=20, embed_dims=16, num_groups=2, num_decoders=2, num_learnable_points=1,
    strides=(4, 8), backbone=BackboneConfig(depth=0, widths=(8, 8), blocks=(1, 1), stem_width=8),
    swap_yaw_on_projection=False,
)
# Optical axes (right, down, forward) in a camera body frame (forward, left, up).
_OPTICAL_FROM_BODY = np.array([[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]])


def package_of(num_cameras: int = 6, **changes) -> ModelPackage:
    """A package of the tiny network without files."""
    values = dict(
        name="tiny", version="1", classes=NUSCENES_CLASSES, cameras=NAMES[:num_cameras], input_width=176,
        input_height=64, model=TINY, training_interval_s=0.2, interval_range_s=(0.1, 0.6))
    return ModelPackage(**{**values, **changes})


def write_package(folder: Path, seed: int = 0, model: ModelConfig = TINY) -> ModelPackage:
    """A package on disk with untrained weights whose scores differ between rows. Needs torch."""
    import torch
    from safetensors.torch import save_file

    from sparse4d_ros.model.detector import Sparse4D

    torch.manual_seed(seed)
    network = Sparse4D(model)
    generator = np.random.default_rng(seed)
    anchors = np.zeros((TINY.num_anchors, 11), np.float32)
    anchors[:, :2] = generator.uniform(-30, 30, (TINY.num_anchors, 2))
    anchors[:, 2] = 1.0
    anchors[:, 7] = 1.0
    network.head.anchor.data = torch.from_numpy(anchors)
    for decoder in network.head.decoders:
        decoder.refinement.cls_layers[-1].bias.data.zero_()
    folder.mkdir(parents=True, exist_ok=True)
    save_file(network.state_dict(), folder / "weights.safetensors")
    files = {"weights": ("weights.safetensors", sha256(folder / "weights.safetensors"))}
    package_of(files=files, model=model).save(folder)
    return ModelPackage.load(folder)


def rig_frame(
    package: ModelPackage, stamp_s: float = 0.0, x: float = 0.0, source: tuple[int, int] = (352, 128), seed: int = 0,
) -> Frame:
    """A frame of noise pictures; the vehicle stands at (x, 0) in the fixed frame."""
    generator = np.random.default_rng(seed)
    width, height = source
    intrinsic = np.array([[0.79 * width, 0, width / 2], [0, 0.79 * width, 0.3 * height], [0, 0, 1.0]])
    cameras = []
    for name, yaw in zip(package.cameras, YAWS, strict=False):
        camera_from_vehicle = _OPTICAL_FROM_BODY @ inverse(from_yaw(1.5, 0.0, 1.5, yaw))
        image = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
        cameras.append(CameraFrame(name, image, intrinsic, camera_from_vehicle, int(stamp_s * 1e9)))
    return Frame(int(round(stamp_s * 1e9)), tuple(cameras), from_yaw(x, 0.0, 0.0, 0.0))


def copy_shipped(folder: Path) -> Path:
    """The shipped package without its drive, for a test to break."""
    folder.mkdir()
    for name in ("model.yaml", "model.onnx", "weights.safetensors"):
        shutil.copy(share_path("models", "sparse4d_small") / name, folder)
    return folder
