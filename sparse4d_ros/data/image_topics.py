"""Which topics of a bag hold the cameras' pictures, and where calibrations lie beside them."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from sparse4d_ros.data import ros_messages
from sparse4d_ros.errors import UserError

if TYPE_CHECKING:
    from rosbags.interfaces import TopicInfo

#: The order of the models we ship; cameras of other names follow in alphabetical order.
CAMERA_ORDER = ("front", "front_right", "front_left", "back", "back_left", "back_right")
#: Types that pictures come as.
IMAGE_TYPES = (ros_messages.IMAGE, ros_messages.COMPRESSED_IMAGE)
#: Looked for where no pattern is given, each with ``/compressed`` too: what our recorder writes, and drivers' names.
_PATTERNS = tuple(f"/camera/{{name}}/{kind}" for kind in ("image", "image_raw", "image_rect", "image_rect_color"))


def add_images_option(parser: argparse.ArgumentParser) -> None:
    """`--images`, alike in every command that reads a bag."""
    parser.add_argument("--images", metavar="PATTERN",
                        help=f"image topics of the bag, {{name}} stands for the camera (default: the one there is of "
                             f"{', '.join(_PATTERNS)}, each with or without /compressed)")


def image_topics(path: str | Path, topics: Mapping[str, TopicInfo], pattern: str | None = None) -> dict[str, str]:
    """Image topic by camera name, in the order of :data:`CAMERA_ORDER`; ``topics`` are those of the bag at ``path``.

    ``pattern`` has ``{name}`` in place of the camera. Without one, compressed pictures are preferred where a bag holds
    both, and ``/camera/<name>/image`` before other kinds. Raises ``UserError`` naming the image topics that there are
    if none fits, or if a camera has pictures of several other kinds.
    """
    if pattern is not None and "{name}" not in pattern:
        raise UserError(f"--images {pattern} has no {{name}}, which stands for the camera")
    pictures = sorted(topic for topic, info in topics.items() if info.msgtype in IMAGE_TYPES)
    kinds = [_by_name(pattern, pictures)] if pattern is not None else \
        [_by_name(text, pictures) | _by_name(f"{text}/compressed", pictures) for text in _PATTERNS]
    found = {}
    for name in chain.from_iterable(kinds):
        several = [kind[name] for kind in kinds if name in kind]
        if len(several) > 1 and name not in kinds[0]:
            raise UserError(f"{path} holds several kinds of pictures of camera {name!r}, {' and '.join(several)}: "
                            f"choose with --images, for example --images "
                            f"/camera/{{name}}{several[0].removeprefix(f'/camera/{name}')}")
        found[name] = several[0]
    if not found:
        there = f"its images are on {', '.join(pictures)}: name them with --images, {{name}} for the camera" \
            if pictures else f"it holds no images at all; its topics are {', '.join(sorted(topics)) or 'none'}"
        raise UserError(f"{path} has no images on topics like {pattern or ', '.join(_PATTERNS)}; {there}")
    return {name: found[name] for name in in_order(found)}


def in_order(names: Iterable[str]) -> list[str]:
    """Camera names in the order of the models we ship, others after them by alphabet."""
    names = set(names)
    return [name for name in CAMERA_ORDER if name in names] + sorted(names - set(CAMERA_ORDER))


def camera_info_topic(image_topic: str) -> str:
    """The camera_info beside an image topic: ``/camera/front/image[/compressed]`` -> ``/camera/front/camera_info``."""
    return f"{image_topic.removesuffix('/compressed').rpartition('/')[0]}/camera_info"


def _by_name(pattern: str, topics: Iterable[str]) -> dict[str, str]:
    before, *after = re.escape(pattern).split(r"\{name\}")
    shape = re.compile(f"{before}(?P<name>[^/]+){'(?P=name)'.join(after)}")
    return {match["name"]: topic for topic in topics if (match := shape.fullmatch(topic))}
