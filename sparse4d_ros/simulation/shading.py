"""The four GL programs of one way of shading, plain or varied, with their vertex arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sparse4d_ros.simulation import shaders
from sparse4d_ros.simulation.lamps import Lamps

if TYPE_CHECKING:
    import moderngl

#: Floats of one instance in the buffer: pose 4, size 3, paint 3, id, whether its lamps are lit.
INSTANCE_FLOATS = 12


@dataclass(frozen=True)
class Buffers:
    """What all programs draw from."""

    vertices: moderngl.Buffer
    quad: moderngl.Buffer
    instances: moderngl.Buffer


class Shading:
    """Programs and vertex arrays over shared buffers."""

    def __init__(self, context: moderngl.Context, buffers: Buffers, varied: bool) -> None:
        self.context, self.varied = context, varied
        sources = shaders.sources(varied).items()
        self._programs = {name: context.program(vertex_shader=vertex, fragment_shader=fragment)
                          for name, (vertex, fragment) in sources}
        layout, names = ("4f 3f 3f 1f 1f /i", ("in_lit",)) if varied else ("4f 3f 3f 1f 4x /i", ())
        self.body = context.vertex_array(self._programs["body"], [
            (buffers.vertices, "3f 3f 3f 2f", "in_position", "in_normal", "in_colour", "in_kind"),
            (buffers.instances, layout, "in_pose", "in_size", "in_paint", "in_id", *names)])
        self.shadow = context.vertex_array(self._programs["shadow"], [
            (buffers.quad, "2f", "in_corner"), (buffers.instances, "4f 3f 20x /i", "in_pose", "in_size")])
        self.sky = context.vertex_array(self._programs["sky"], [(buffers.quad, "2f", "in_corner")])
        self.ground = None

    def set_ground(self, buffer: moderngl.Buffer) -> None:
        """Draw the ground of this buffer from now on."""
        if self.ground is not None:
            self.ground.release()
        self.ground = self.context.vertex_array(
            self._programs["ground"], [(buffer, "2f 3f 1f", "in_position", "in_colour", "in_grain")])

    def set(self, values: dict[str, float | tuple[float, ...] | np.ndarray]) -> None:
        """Set uniforms in every program that uses them; arrays of the GL's own layout are written as bytes."""
        for program in self._programs.values():
            for name, value in values.items():
                if name not in program:
                    continue
                if isinstance(value, np.ndarray):
                    program[name].write(value.astype(np.float32).tobytes())
                else:
                    program[name].value = value

    def set_view(self, lens: tuple[float, ...], camera_from_world: np.ndarray, lamps: Lamps | None) -> None:
        """The camera of the next picture, and the lamps that shine into it (varied shading only)."""
        self.set({"camera_from_world": np.ascontiguousarray(camera_from_world.T), "lens": lens})
        if self.varied:
            eye = -camera_from_world[:3, :3].T @ camera_from_world[:3, 3]
            rows = np.zeros((3, shaders.MOST_LAMPS, 4)) if lamps is None else lamps.rows(shaders.MOST_LAMPS)
            self.set({"eye": tuple(float(v) for v in eye), "lamp_count": 0 if lamps is None else len(lamps),
                      "lamp_place": rows[0], "lamp_aim": rows[1], "lamp_colour": np.ascontiguousarray(rows[2, :, :3])})
