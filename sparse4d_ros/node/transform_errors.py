"""Why a transform is not to be had: tf2's kinds, for whichever buffer answers."""

from __future__ import annotations


class TransformError(Exception):
    """A transform is not to be had; the text names the frames and times."""


class LookupException(TransformError):
    """A frame was never heard of."""


class ConnectivityException(TransformError):
    """Both frames are known and belong to trees that do not meet."""


class ExtrapolationException(TransformError):
    """There is no data at that time."""


class InvalidArgumentException(TransformError):
    """The question itself is wrong: an empty frame name, for example."""
