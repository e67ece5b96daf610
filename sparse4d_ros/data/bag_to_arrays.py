"""`sparse4d bag-to-arrays`: bags with ground truth as drives for training, at the network's picture size."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from sparse4d_ros.arguments import picture_size
from sparse4d_ros.boxes import NUSCENES_CLASSES
from sparse4d_ros.data.bag_reader import BagDrive
from sparse4d_ros.data.drive_cache import write_drive
from sparse4d_ros.data.image_topics import add_images_option
from sparse4d_ros.engine.preprocess import ImagePlan, resize_and_crop
from sparse4d_ros.errors import UserError
from sparse4d_ros.frame import CameraFrame, LabelledFrame
from sparse4d_ros.geometry import pad_intrinsic


def at_size(item: LabelledFrame, width: int, height: int) -> LabelledFrame:
    """The frame with pictures as the engine's preprocessing makes them, and K to match."""
    cameras = tuple(_camera_at_size(camera, width, height) for camera in item.frame.cameras)
    return replace(item, frame=replace(item.frame, cameras=cameras))


def _camera_at_size(camera: CameraFrame, width: int, height: int) -> CameraFrame:
    plan = ImagePlan.of(camera.image.shape[1], camera.image.shape[0], width, height)
    intrinsic = (plan.matrix @ pad_intrinsic(camera.intrinsic))[:3, :3]
    return replace(camera, image=resize_and_crop(camera.image, width, height), intrinsic=intrinsic)


def convert(bag: Path, folder: Path, size: tuple[int, int], images: str | None = None) -> str:
    """Write a bag as the drive ``folder``; returns a sentence. ``size`` is (width, height);
    ``images`` goes to :class:`BagDrive`.

    The drive has no depth and class maps, and says so. Raises ``UserError`` for a bag without ground truth.
    """
    drive = BagDrive(bag, images=images)
    if not drive.has_ground_truth:
        raise UserError(f"{bag} has no ground truth: nothing can be learned from it")
    unlabelled = 0

    def labelled() -> Iterator[LabelledFrame]:
        nonlocal unlabelled
        for item in tqdm(drive, desc=bag.name, unit="frame", leave=False, disable=None):
            if item.objects is None:
                unlabelled += 1
            else:
                yield at_size(item, *size)

    count = write_drive(folder, labelled(), NUSCENES_CLASSES, drive.weather)
    left_out = {"without ground truth": unlabelled, **drive.skipped}
    reasons = "".join(f", {number} left out ({why})" for why, number in left_out.items() if number)
    return f"{folder}: {count} frames of {len(drive.camera_names)} cameras{reasons}"


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--bag", type=Path, action="append", required=True, metavar="BAG",
                        help="rosbag2 with /ground_truth/objects; may be given again")
    add_images_option(parser)
    parser.add_argument("--size", type=picture_size, required=True, metavar="WxH",
                        help="picture size: training.input_width and input_height of the configuration")
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER",
                        help="each bag becomes FOLDER/<its name>; drives that exist are kept")
    parser.epilog = ("example:\n  sparse4d bag-to-arrays --bag bags/scene-0061 --bag bags/scene-0103 --size 704x256 "
                     "--output drives/train\nThe drives have no depth and class maps: train with losses.depth, "
                     "losses.semantics and losses.perspective at 0.")


def run(args: argparse.Namespace) -> int:
    """Convert the bags that are no drives yet."""
    folders: dict[Path, Path] = {}
    for bag in args.bag:
        folder = args.output / (bag.stem if bag.suffix in (".mcap", ".db3") else bag.name)
        if folder in folders:
            raise UserError(f"{folders[folder]} and {bag} would both become {folder}; give them different --output")
        folders[folder] = bag
    for folder, bag in folders.items():
        print(f"{folder} exists already" if folder.exists() else convert(bag, folder, args.size, args.images))
    return 0
