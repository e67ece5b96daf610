"""Values of command line options that more than one command takes."""

from __future__ import annotations

import argparse


def picture_size(text: str) -> tuple[int, int]:
    """Width and height of text like "704x256"; ``ArgumentTypeError`` for anything else, as argparse wants it."""
    try:
        width, height = (int(part) for part in text.lower().split("x"))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form 704x256") from error
    if width < 1 or height < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no size of a picture")
    return width, height
