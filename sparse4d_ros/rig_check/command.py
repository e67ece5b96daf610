"""`sparse4d check-rig`: read a bag of six newly mounted cameras and say in words what looks wrong."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import yaml

from sparse4d_ros.data.image_topics import add_images_option
from sparse4d_ros.data.images import encode_jpeg
from sparse4d_ros.errors import UserError
from sparse4d_ros.findings import FAIL, SKIP, Finding, page, to_json, worst
from sparse4d_ros.node.parameters import ROS_PARAMETERS, settings_from
from sparse4d_ros.node.settings import Settings
from sparse4d_ros.rig_check.aim import check_aim
from sparse4d_ros.rig_check.coverage import check_coverage
from sparse4d_ros.rig_check.flow import follow
from sparse4d_ros.rig_check.lenses import check_lenses
from sparse4d_ros.rig_check.moments import read_moments
from sparse4d_ros.rig_check.motion import Motion, check_motion, read_motion
from sparse4d_ros.rig_check.mounted import MountedCamera, mounted_cameras
from sparse4d_ros.rig_check.mountings import check_mountings
from sparse4d_ros.rig_check.objects import KnownObjects
from sparse4d_ros.rig_check.overlap import check_overlaps, exchanged, find_overlaps
from sparse4d_ros.rig_check.overlay import draw_overlay
from sparse4d_ros.rig_check.overview import draw_overview
from sparse4d_ros.rig_check.pictures import check_pictures, read_pictures
from sparse4d_ros.rig_check.recording import Recording
from sparse4d_ros.rig_check.sets import check_sets
from sparse4d_ros.rig_check.sheet import TILE_WIDTH, draw_sheet, round_the_vehicle
from sparse4d_ros.rig_check.stamps import check_stamps
from sparse4d_ros.rig_check.strips import draw_strip
from sparse4d_ros.writing import blaming, replacing, write_text

_EXAMPLES = """examples:
  sparse4d check-rig --bag models/sparse4d_small/demo_drive --output rig
  sparse4d check-rig --bag drive --params-file my_vehicle.yaml --images /cam_{name}/image_raw --json rig.json
The exit code is 1 if anything FAILs. docs/check_rig.md explains every finding.
"""
_OVERVIEW = 690
_JPEG_QUALITY = 85


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of `sparse4d check-rig`."""
    parser.epilog = _EXAMPLES
    parser.add_argument("--bag", type=Path, required=True, help="rosbag2 with images, camera_info, /tf and /tf_static")
    parser.add_argument("--params-file", type=Path, metavar="YAML",
                        help="the node's parameter file: cameras, frames, limits (default: the declared values)")
    parser.add_argument("--cameras", type=_names, metavar="A,B,...",
                        help="the cameras that should be there (default: those of the parameter file, else of the bag)")
    add_images_option(parser)
    parser.add_argument("--camera-infos", metavar="PATTERN",
                        help="calibration topics (default: camera_info beside the image topic)")
    parser.add_argument("--output", type=Path, metavar="FOLDER",
                        help="write pictures there: each camera with horizon, ground lines and known objects, what "
                             "neighbours share, the rig from above")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all findings with their numbers")


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))


def run(args: argparse.Namespace) -> int:
    """Check and report; 0, or 1 if a finding is FAIL."""
    given = read_parameters(args.params_file) if args.params_file else {}
    settings = settings_from(given)
    cameras = args.cameras or (settings.cameras if "cameras" in given else None)
    recording = Recording(args.bag, cameras, args.images, args.camera_infos)
    mounted = mounted_cameras(recording, settings)
    motion = read_motion(recording, settings)
    moments = read_moments(recording, mounted, motion, settings) if motion else []
    shared = find_overlaps(mounted, moments)
    sections = check(recording, mounted, motion, settings)
    sections["Cameras against their neighbours"] = (
        check_overlaps(shared, exchanged(mounted, moments, shared)) if motion else
        [Finding(SKIP, "overlap", "all cameras", "without odometry pictures of different moments cannot be compared")])
    print(page(sections))
    if args.json:
        write_text(args.json, json.dumps(to_json(sections), indent=2) + "\n")
    if args.output:
        strips = {overlap.pair.names: draw_strip(overlap, moments) for overlap in shared if len(overlap.agree)}
        count = write_pictures(args.output, recording, mounted, motion, settings, sections, strips)
        print(f"\n{args.output}: {count} pictures; begin with {args.output / 'check_rig.jpg'}")
    return int(worst(finding for findings in sections.values() for finding in findings) == FAIL)


def check(recording: Recording, mounted: dict[str, MountedCamera], motion: Motion | None, settings: Settings
          ) -> dict[str, list[Finding]]:
    """All findings about single cameras by section, in the order in which one would mend them."""
    if motion is None:
        aim = [Finding(SKIP, "aim", "all cameras", "without odometry the pictures' motion cannot be judged")]
    else:
        aim = check_aim(mounted, follow(recording, mounted, motion, settings))
    return {
        "Pictures in time": [*check_stamps(recording, settings), *check_pictures(recording)],
        "Cameras among each other": check_sets(recording, settings),
        "Calibration (camera_info)": check_lenses(recording, settings),
        "Mountings (tf)": check_mountings(recording, mounted, settings),
        "All round": check_coverage(mounted),
        "Motion of the vehicle (tf)": check_motion(recording, motion, settings),
        "Pictures against calibration and motion": aim,
    }


def read_parameters(path: Path) -> dict[str, object]:
    """Parameters of a ROS parameter file by full name; ``UserError`` if it is none."""
    try:
        trees = yaml.safe_load(path.read_text(encoding="utf-8")).values()
        flat = {name: value for tree in trees for name, value in _flat(tree["ros__parameters"])}
    except (OSError, ValueError, yaml.YAMLError, AttributeError, KeyError, TypeError) as error:
        raise UserError(f"{path} is not a ROS parameter file (<node>: ros__parameters: ...): {error}") from error
    return {name: value for name, value in flat.items() if name not in ROS_PARAMETERS}


def _flat(node: dict[str, object]) -> Iterator[tuple[str, object]]:
    for name, value in node.items():
        if isinstance(value, dict):
            yield from ((f"{name}.{inner}", item) for inner, item in value.items())
        else:
            yield name, value


def write_pictures(folder: Path, recording: Recording, mounted: dict[str, MountedCamera], motion: Motion | None,
                   settings: Settings, sections: dict[str, list[Finding]],
                   strips: dict[tuple[str, str], np.ndarray]) -> int:
    """A picture of each camera from the middle of the bag, what neighbours share, the rig from above, and the sheet;
    returns their number."""
    with blaming(folder):
        folder.mkdir(parents=True, exist_ok=True)
    drawable = {name: camera for name, camera in mounted.items() if camera.calibration is not None}
    wanted = {}
    for name in drawable:
        stamps = recording.cameras[name].pictures.stamps_ns
        if stamps:
            wanted[name] = sorted(stamps)[len(stamps) // 2]
    known = KnownObjects(recording, motion, settings.base_frame, wanted.values())
    objects = {name: known.at(stamp_ns) for name, stamp_ns in wanted.items()}
    images = {name: image for name, _, image in read_pictures(recording, drawable, wanted.items(), settings)}
    for name, image in images.items():
        _write_picture(folder / f"{name}.jpg", draw_overlay(image, drawable[name], image.shape[1], objects[name]))
    for names, strip in strips.items():
        _write_picture(folder / f"{'-'.join(names)}.jpg", strip)
    overview = draw_overview(mounted, _OVERVIEW)
    _write_picture(folder / "rig.jpg", overview)
    views = [draw_overlay(images[name], drawable[name], TILE_WIDTH, objects[name])
             for name in round_the_vehicle(drawable) if name in images]
    _write_picture(folder / "check_rig.jpg", draw_sheet(views, overview, sections))
    return len(images) + len(strips) + 2


def _write_picture(path: Path, picture: np.ndarray) -> None:
    with replacing(path) as partial:
        partial.write_bytes(encode_jpeg(picture, _JPEG_QUALITY))
