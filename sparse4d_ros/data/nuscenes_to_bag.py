"""`sparse4d nuscenes-to-bag`: scenes of nuScenes as bags, pictures byte by byte, objects as ground truth."""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image
from tqdm import tqdm

from sparse4d_ros.data.bag_output import BagOutput
from sparse4d_ros.errors import UserError

if TYPE_CHECKING:  # needs the nuScenes devkit, `--help` does not
    from sparse4d_ros.data.nuscenes_set import Picture, Scene

_SPLITS = ("mini_train", "mini_val", "test", "train", "train_detect", "train_track", "val")

_EXAMPLES = """examples:
  sparse4d nuscenes-to-bag --dataroot nuscenes --version v1.0-mini --output bags
  sparse4d nuscenes-to-bag --dataroot nuscenes --version v1.0-mini --scene scene-0061 --sweeps --output bags_12hz
  sparse4d nuscenes-to-bag --dataroot nuscenes --version v1.0-trainval --split val --labels-at lidar --output val
docs/nuscenes.md goes from the download to scores.
"""


def write_scene(scene: Scene, path: Path, *, sweeps: bool = False, overwrite: bool = False) -> int:
    """Write a scene as a bag and return its number of pictures; without ``sweeps`` those of key frames alone.

    Raises ``UserError`` naming a picture that is missing or is not what the table says; the bag appears only whole.
    """
    pictures = [picture for picture in scene.pictures if sweeps or picture.is_key_frame]
    missing = [picture.path for picture in pictures if not picture.path.is_file()]
    if missing:
        raise UserError(f"{scene.name}: the picture {missing[0]} is missing ({len(missing)} of {len(pictures)} are)")
    # The poses are those in nuScenes' map; within a scene they do not jump, which is what `odom` stands for (REP-105).
    with BagOutput(path, fixed_frame="odom", overwrite=overwrite) as bag:
        bag.put_mountings(next(iter(scene.poses)), scene.vehicle_from_camera)
        for stamp_ns, pose in scene.poses.items():
            bag.put_pose(stamp_ns, pose)
        for sequence, (stamp_ns, objects) in enumerate(scene.labels.items()):
            bag.put_objects(stamp_ns, objects, sequence)
        for picture in pictures:
            bag.put_camera(picture.camera, picture.stamp_ns, _jpeg(picture), scene.intrinsics[picture.camera],
                           picture.width, picture.height)
            bag.flush(picture.stamp_ns)  # memory holds a few pictures, not the scene
    return len(pictures)


def _jpeg(picture: Picture) -> bytes:
    """The file's bytes, after a look at its header: camera_info must fit the picture."""
    try:
        data = picture.path.read_bytes()
        with Image.open(io.BytesIO(data)) as image:
            kind, size = image.format, image.size
    except OSError as error:  # Pillow's own error is one, without a reason
        raise UserError(f"{picture.path} cannot be read: {error.strerror or 'it is not a picture'}") from error
    if (kind, size) != ("JPEG", (picture.width, picture.height)):
        raise UserError(f"{picture.path} is a {kind} of {size[0]}x{size[1]}; the table sample_data says a JPEG of "
                        f"{picture.width}x{picture.height}")
    return data


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.epilog = _EXAMPLES
    parser.add_argument("--dataroot", type=Path, required=True, metavar="DIR",
                        help="where nuScenes lies: the folder with samples, sweeps, maps and v1.0-*")
    parser.add_argument("--version", default="v1.0-mini", help="which tables (default %(default)s)")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--scene", nargs="+", metavar="SCENE", help="names of scenes (default: all)")
    which.add_argument("--split", choices=_SPLITS, help="the scenes of an official split")
    parser.add_argument("--sweeps", action="store_true",
                        help="all pictures (12 a second); without, those of key frames (2 a second). Ground truth is "
                             "at key frames only")
    parser.add_argument("--labels-at", choices=("camera", "lidar"), default="camera",
                        help="camera: objects are moved by their velocity to the front camera's stamp (default); "
                             "lidar: they stay where they were annotated, as in the official scores")
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER",
                        help="each scene becomes FOLDER/<scene>; bags that exist are kept")
    parser.add_argument("--overwrite", action="store_true", help="replace bags that exist")


def run(args: argparse.Namespace) -> int:
    """Write the scenes that are not there yet, one after the other."""
    from nuscenes.utils.splits import create_splits_scenes

    from sparse4d_ros.data.nuscenes_set import NuScenesSet

    data = NuScenesSet(args.dataroot, args.version)
    names = create_splits_scenes()[args.split] if args.split else args.scene or data.scene_names
    data.check_scenes(names)
    for name in tqdm(names, unit="scene", disable=None):
        path = args.output / name
        if path.exists() and not args.overwrite:
            tqdm.write(f"{path} exists already")
            continue
        scene = data.scene(name, moved_labels=args.labels_at == "camera")
        count = write_scene(scene, path, sweeps=args.sweeps, overwrite=args.overwrite)
        objects = sum(len(labels.boxes) for labels in scene.labels.values())
        tqdm.write(f"{path}: {count} pictures, {len(scene.poses)} poses, {objects} objects at {len(scene.labels)} key "
                   f"frames ({scene.unhit} more were hit by no lidar or radar point and are left out)")
    return 0
