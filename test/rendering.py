"""A renderer for tests, where the machine can draw without a screen."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sparse4d_ros.errors import UserError


def renderer_of(size: tuple[int, int]) -> Iterator:
    """One GL context for a whole file: ``yield from`` it in a fixture of scope "module"."""
    pytest.importorskip("moderngl", reason="moderngl is not installed: `pip install 'sparse4d_ros[all]'`")
    from sparse4d_ros.simulation.renderer import Renderer

    try:
        renderer = Renderer(size)
    except UserError as error:
        pytest.skip(str(error))
    yield renderer
    renderer.release()
