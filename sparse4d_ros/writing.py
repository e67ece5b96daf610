"""Files that appear whole or not at all, and say so when the disk is full."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from sparse4d_ros.errors import UserError


@contextlib.contextmanager
def blaming(path: str | Path) -> Iterator[None]:
    """``UserError`` naming ``path`` where the block cannot write."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{path} was not written: {error.strerror or f'{error} (is the disk full?)'}") from error


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A path beside ``path`` to write a file to, which takes its place at the end of the block.

    Where that fails nothing is left of it and what was at ``path`` is as it was; ``UserError`` naming ``path`` if the
    disk is full or the folder cannot be written to.
    """
    path = Path(path)
    partial = path.with_name(f".partial.{path.name}")  # in front: many writers go by the end of a name
    try:
        with blaming(path):
            yield partial
            os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write a text file, whole or not at all; ``UserError`` as :func:`replacing`."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")
