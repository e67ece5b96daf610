"""Draws a world from a camera: colour, depth and identity in one pass, headless through EGL.

All bodies share one vertex buffer and are drawn by a single indirect call. Pictures are rendered
larger than asked for and averaged down, which is what a network sees of a real camera's picture
after an antialiased resize; depth and identity take one sample instead, as an average of two
surfaces is neither.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from sparse4d_ros.errors import UserError
from sparse4d_ros.simulation import ground, shaders
from sparse4d_ros.simulation.actors import Instances, in_view
from sparse4d_ros.simulation.catalogue import bodies
from sparse4d_ros.simulation.look import Look

if TYPE_CHECKING:
    import moderngl

NEAREST_M, FARTHEST_M = 0.3, 500.0
_QUAD = np.array([[-1, -1], [1, -1], [-1, 1], [1, 1]], dtype=np.float32)
_INSTANCE_FLOATS = 11


@dataclass(frozen=True)
class Picture:
    """What one camera sees."""

    #: ``[height, width, 3]`` uint8 BGR.
    image: np.ndarray
    #: ``[height, width]`` float32 metres along the optical axis, inf for the sky.
    depth: np.ndarray
    #: ``[height, width]`` int32: id of the nearest surface's instance, 0 for none.
    ids: np.ndarray


def _context() -> moderngl.Context:
    import moderngl  # only where a picture is wanted: worlds and their motion need no GL

    try:
        return moderngl.create_standalone_context(backend="egl")
    except Exception as error:  # moderngl and glcontext raise bare Exceptions
        raise UserError(
            f"no headless OpenGL context ({error}): install Mesa's EGL (Debian: libegl1 libgl1-mesa-dri)") from error


class Renderer:
    """A GL context with its buffers, for pictures of one size ``(width, height)``."""

    def __init__(self, image_size: tuple[int, int], oversampling: int = 2) -> None:
        if not 16 <= min(image_size) <= max(image_size) <= 4096:
            raise UserError(f"pictures of {image_size[0]}x{image_size[1]} cannot be rendered: 16 to 4096 pixels a side")
        self.image_size, self.oversampling = image_size, oversampling
        self.context = context = _context()
        width, height = image_size[0] * oversampling, image_size[1] * oversampling
        self._size = (width, height)
        self._colour = context.renderbuffer(self._size, 4)
        self._labels = context.texture(self._size, 2, dtype="f4")
        self._frame = context.framebuffer([self._colour, self._labels], context.depth_renderbuffer(self._size))
        program = context.program
        self._ground = program(vertex_shader=shaders.GROUND_VERTEX, fragment_shader=shaders.GROUND_FRAGMENT)
        self._shadow = program(vertex_shader=shaders.SHADOW_VERTEX, fragment_shader=shaders.SHADOW_FRAGMENT)
        self._body = program(vertex_shader=shaders.BODY_VERTEX, fragment_shader=shaders.BODY_FRAGMENT)
        self._sky = program(vertex_shader=shaders.SKY_VERTEX, fragment_shader=shaders.SKY_FRAGMENT)

        meshes = [body.mesh for body in bodies()]
        counts = np.array([len(mesh.vertices) for mesh in meshes])
        self._mesh_ranges = np.stack([counts, np.cumsum(counts) - counts], axis=1)
        vertices = context.buffer(np.concatenate([mesh.vertices for mesh in meshes]).tobytes())
        quad = context.buffer(_QUAD.tobytes())
        self._instances = context.buffer(reserve=4 * _INSTANCE_FLOATS * 4096, dynamic=True)
        self._commands = context.buffer(reserve=20 * len(meshes), dynamic=True)
        self._body_array = context.vertex_array(self._body, [
            (vertices, "3f 3f 3f 2f", "in_position", "in_normal", "in_colour", "in_kind"),
            (self._instances, "4f 3f 3f 1f /i", "in_pose", "in_size", "in_paint", "in_id")])
        self._shadow_array = context.vertex_array(self._shadow, [
            (quad, "2f", "in_corner"), (self._instances, "4f 3f 16x /i", "in_pose", "in_size")])
        self._sky_array = context.vertex_array(self._sky, [(quad, "2f", "in_corner")])
        self._ground_array = None

    def set_world(self, ground_vertices: np.ndarray, look: Look) -> None:
        """Take over a drive's ground and light."""
        if ground_vertices.shape[1] != ground.VERTEX_FLOATS:
            raise ValueError(f"ground vertices have {ground_vertices.shape[1]} columns, not {ground.VERTEX_FLOATS}")
        if self._ground_array is not None:
            self._ground_buffer.release()
            self._ground_array.release()
        self._ground_buffer = buffer = self.context.buffer(ground_vertices.astype(np.float32).tobytes())
        self._ground_array = self.context.vertex_array(
            self._ground, [(buffer, "2f 3f 1f", "in_position", "in_colour", "in_grain")])
        values = {"sun": look.sun, "sun_colour": look.sun_colour, "ambient": look.ambient, "zenith": look.zenith,
                  "horizon": look.horizon, "haze": look.haze, "clip_range": (NEAREST_M, FARTHEST_M)}
        for program in self._programs:
            for name, value in values.items():
                if name in program:
                    program[name].value = value if np.isscalar(value) else tuple(float(v) for v in value)

    @property
    def _programs(self) -> tuple[moderngl.Program, ...]:
        return self._ground, self._shadow, self._body, self._sky

    def release(self) -> None:
        """Give back the GL context and all that it holds."""
        self.context.release()

    def draw(self, instances: Instances, intrinsic: np.ndarray, camera_from_world: np.ndarray) -> Picture:
        """One picture; ``intrinsic`` is K ``[3, 3]`` for pictures of ``image_size``."""
        width, height = self.image_size
        lens = (2.0 * intrinsic[0, 0] / width, 2.0 * intrinsic[1, 1] / height,
                2.0 * intrinsic[0, 2] / width, 2.0 * intrinsic[1, 2] / height)
        for program in self._programs:
            if "camera_from_world" in program:
                program["camera_from_world"].write(camera_from_world.T.astype(np.float32).tobytes())
            program["lens"].value = lens
        # One metre more than the body takes, for its shadow.
        count = self._upload(instances.pick(in_view(instances, intrinsic, camera_from_world, width, margin=1.0)))
        self._paint(count)
        return self._read()

    def _upload(self, instances: Instances) -> int:
        order = np.argsort(instances.bodies, kind="stable")
        rows = np.concatenate([instances.poses, instances.sizes, instances.colours, instances.ids[:, None]], axis=1)
        data = rows[order].astype(np.float32).tobytes()
        if len(data) > self._instances.size:
            raise ValueError(f"{len(instances)} instances in one picture exceed the renderer's buffer")
        self._instances.write(data)
        numbers = np.bincount(instances.bodies, minlength=len(self._mesh_ranges))
        # vertices, instances, first vertex, first instance; moderngl strides by five words, as for indexed draws
        commands = np.stack([self._mesh_ranges[:, 0], numbers, self._mesh_ranges[:, 1], np.cumsum(numbers) - numbers,
                             np.zeros_like(numbers)], axis=1)
        self._commands.write(commands.astype(np.uint32).tobytes())
        return len(instances)

    def _paint(self, count: int) -> None:
        import moderngl

        context = self.context
        self._frame.use()
        self._frame.clear(depth=1.0)
        context.front_face = "cw"
        context.enable_only(moderngl.DEPTH_TEST)
        context.depth_func = "1"  # the ground is painted in order
        self._ground_array.render(moderngl.TRIANGLES)
        if count:
            context.enable_only(moderngl.DEPTH_TEST | moderngl.BLEND)
            self._shadow_array.render(moderngl.TRIANGLE_STRIP, instances=count)
            context.enable_only(moderngl.DEPTH_TEST | moderngl.CULL_FACE)
            context.depth_func = "<"
            self._body_array.render_indirect(self._commands, moderngl.TRIANGLES)
        context.enable_only(moderngl.DEPTH_TEST)
        context.depth_func = "<="
        self._sky_array.render(moderngl.TRIANGLE_STRIP)

    def _read(self) -> Picture:
        width, height = self._size
        image = np.frombuffer(self._frame.read(components=4, alignment=1), dtype=np.uint8).reshape(height, width, 4)
        labels = np.frombuffer(self._labels.read(), dtype=np.float32).reshape(height, width, 2)
        if self.oversampling > 1:
            image = cv2.resize(image, self.image_size, interpolation=cv2.INTER_AREA)
            middle = self.oversampling // 2
            labels = labels[middle::self.oversampling, middle::self.oversampling]
        return Picture(cv2.cvtColor(image, cv2.COLOR_RGBA2BGR), np.ascontiguousarray(labels[..., 0]),
                       labels[..., 1].astype(np.int32))
