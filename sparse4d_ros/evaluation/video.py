"""A short MP4 from pictures, written whole or not at all, and read back once to see that it plays."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from sparse4d_ros.errors import UserError


def write_video(path: str | Path, pictures: Iterable[np.ndarray], frames_per_second: float) -> int:
    """Write pictures ``[h, w, 3]`` BGR of one even size as MPEG-4 and return how many.

    Raises ``UserError`` if there is no picture, if this OpenCV cannot write the file, or if what
    was written cannot be read back with the same number of frames; nothing is left behind then.
    """
    path = Path(path)
    partial = path.with_name(f".{path.stem}.partial.mp4")
    writer, count = None, 0
    try:
        for picture in pictures:
            height, width = picture.shape[:2]
            if writer is None:
                writer = cv2.VideoWriter(str(partial), cv2.VideoWriter_fourcc(*"mp4v"), float(frames_per_second),
                                         (width, height))
                if not writer.isOpened():
                    raise UserError(f"{path} cannot be written: this OpenCV has no MPEG-4 encoder, or the folder is "
                                    "not writable. `pip install opencv-python-headless` brings one.")
            writer.write(picture)
            count += 1
        if writer is None:
            raise UserError(f"{path} was not written: there is no picture for it")
        writer.release()
        readable = count_frames(partial)
        if readable != count:
            raise UserError(f"{path} was not written: {count} pictures went in and {readable} can be read back; "
                            "is the disk full?")
        os.replace(partial, path)
        return count
    finally:
        if writer is not None:
            writer.release()
        partial.unlink(missing_ok=True)


def count_frames(path: str | Path) -> int:
    """How many frames of a video can be decoded; 0 if it cannot be opened."""
    reader = cv2.VideoCapture(str(path))
    count = 0
    while reader.grab():
        count += 1
    reader.release()
    return count
