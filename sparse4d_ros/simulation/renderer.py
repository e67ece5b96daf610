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
from sparse4d_ros.simulation import ground
from sparse4d_ros.simulation.actors import Instances, in_view
from sparse4d_ros.simulation.catalogue import Body, bodies
from sparse4d_ros.simulation.lamps import Lamps
from sparse4d_ros.simulation.look import Look
from sparse4d_ros.simulation.shading import INSTANCE_FLOATS, Buffers, Shading

if TYPE_CHECKING:
    import moderngl

NEAREST_M, FARTHEST_M = 0.3, 500.0
_QUAD = np.array([[-1, -1], [1, -1], [-1, 1], [1, 1]], dtype=np.float32)
_MOST_INSTANCES = 4096


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
    """A GL context with its buffers, for pictures of one size ``(width, height)``.

    ``catalogue`` lists the bodies that instances name by index; the world's own by default.
    """

    def __init__(self, image_size: tuple[int, int], oversampling: int = 2,
                 catalogue: tuple[Body, ...] | None = None) -> None:
        if not 16 <= min(image_size) <= max(image_size) <= 4096:
            raise UserError(f"pictures of {image_size[0]}x{image_size[1]} cannot be rendered: 16 to 4096 pixels a side")
        self.image_size, self.oversampling = image_size, oversampling
        self.context = context = _context()
        width, height = image_size[0] * oversampling, image_size[1] * oversampling
        self._size = (width, height)
        self._colour = context.renderbuffer(self._size, 4)
        self._labels = context.texture(self._size, 2, dtype="f4")
        self._frame = context.framebuffer([self._colour, self._labels], context.depth_renderbuffer(self._size))
        self.catalogue = bodies() if catalogue is None else catalogue
        meshes = [body.mesh for body in self.catalogue]
        counts = np.array([len(mesh.vertices) for mesh in meshes])
        self._mesh_ranges = np.stack([counts, np.cumsum(counts) - counts], axis=1)
        self._instances = context.buffer(reserve=4 * INSTANCE_FLOATS * _MOST_INSTANCES, dynamic=True)
        self._buffers = Buffers(context.buffer(np.concatenate([mesh.vertices for mesh in meshes]).tobytes()),
                                context.buffer(_QUAD.tobytes()), self._instances)
        self._commands = context.buffer(reserve=20 * len(meshes), dynamic=True)
        self._shadings: dict[bool, Shading] = {}
        self._ground_buffer = None

    def set_world(self, ground_vertices: np.ndarray, look: Look) -> None:
        """Take over a drive's ground and light."""
        if ground_vertices.shape[1] != ground.VERTEX_FLOATS:
            raise ValueError(f"ground vertices have {ground_vertices.shape[1]} columns, not {ground.VERTEX_FLOATS}")
        varied = look.weather is not None
        if varied not in self._shadings:
            self._shadings[varied] = Shading(self.context, self._buffers, varied)
        self._shading = self._shadings[varied]
        if self._ground_buffer is not None:
            self._ground_buffer.release()
        self._ground_buffer = self.context.buffer(ground_vertices.astype(np.float32).tobytes())
        self._shading.set_ground(self._ground_buffer)
        values = {"sun": look.sun, "sun_colour": look.sun_colour, "ambient": look.ambient, "zenith": look.zenith,
                  "horizon": look.horizon, "haze": look.haze, "clip_range": (NEAREST_M, FARTHEST_M)}
        if look.weather is not None:
            values |= {name: getattr(look.weather, name) for name in ("wet", "shadow", "windows", "sun_disc")}
        self._shading.set({name: float(value) if np.isscalar(value) else tuple(float(v) for v in value)
                           for name, value in values.items()})

    def release(self) -> None:
        """Give back the GL context and all that it holds."""
        self.context.release()

    def draw(self, instances: Instances, intrinsic: np.ndarray, camera_from_world: np.ndarray,
             lamps: Lamps | None = None, lit: np.ndarray | None = None) -> Picture:
        """One picture; ``intrinsic`` is K ``[3, 3]`` for pictures of ``image_size``.

        In a varied world ``lamps`` shine on it, and ``lit`` ``[highest id + 1]`` says whose own lamps are seen
        to be lit, by id; the lamps of scenery stand at 0.
        """
        width, height = self.image_size
        lens = (2.0 * intrinsic[0, 0] / width, 2.0 * intrinsic[1, 1] / height,
                2.0 * intrinsic[0, 2] / width, 2.0 * intrinsic[1, 2] / height)
        self._shading.set_view(lens, camera_from_world, lamps)
        # One metre more than the body takes, for its shadow.
        drawn = instances.pick(in_view(instances, intrinsic, camera_from_world, width, margin=1.0))
        self._upload(drawn, np.zeros(len(drawn)) if lit is None else lit[drawn.ids])
        self._paint(len(drawn))
        return self._read()

    def _upload(self, instances: Instances, lit: np.ndarray) -> None:
        order = np.argsort(instances.bodies, kind="stable")
        rows = np.column_stack([instances.poses, instances.sizes, instances.colours, instances.ids, lit])
        data = rows[order].astype(np.float32).tobytes()
        if len(data) > self._instances.size:
            raise ValueError(f"{len(instances)} instances in one picture exceed the renderer's buffer")
        self._instances.write(data)
        numbers = np.bincount(instances.bodies, minlength=len(self._mesh_ranges))
        # vertices, instances, first vertex, first instance; moderngl strides by five words, as for indexed draws
        commands = np.stack([self._mesh_ranges[:, 0], numbers, self._mesh_ranges[:, 1], np.cumsum(numbers) - numbers,
                             np.zeros_like(numbers)], axis=1)
        self._commands.write(commands.astype(np.uint32).tobytes())

    def _paint(self, count: int) -> None:
        import moderngl

        context = self.context
        self._frame.use()
        self._frame.clear(depth=1.0)
        context.front_face = "cw"
        context.enable_only(moderngl.DEPTH_TEST)
        context.depth_func = "1"  # the ground is painted in order
        self._shading.ground.render(moderngl.TRIANGLES)
        if count:
            context.enable_only(moderngl.DEPTH_TEST | moderngl.BLEND)
            self._shading.shadow.render(moderngl.TRIANGLE_STRIP, instances=count)
            context.enable_only(moderngl.DEPTH_TEST | moderngl.CULL_FACE)
            context.depth_func = "<"
            self._shading.body.render_indirect(self._commands, moderngl.TRIANGLES)
        context.enable_only(moderngl.DEPTH_TEST)
        context.depth_func = "<="
        self._shading.sky.render(moderngl.TRIANGLE_STRIP)

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
