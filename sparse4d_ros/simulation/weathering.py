"""A varied drive's pictures: lit lamps while rendering, and the lens afterwards."""

from __future__ import annotations

import numpy as np

from sparse4d_ros import geometry
from sparse4d_ros.boxes import NUSCENES_CLASSES
from sparse4d_ros.simulation.actors import Instances
from sparse4d_ros.simulation.lamps import Lamps, ego_lamps, head_lamps, street_lamps
from sparse4d_ros.simulation.lens import Lens, Shot
from sparse4d_ros.simulation.renderer import Picture, Renderer
from sparse4d_ros.simulation.rig import Camera
from sparse4d_ros.simulation.scene import Scene
from sparse4d_ros.simulation.shaders import MOST_LAMPS
from sparse4d_ros.simulation.variety import look_of
from sparse4d_ros.simulation.weather import draw_weather

_LENS_STREAM = 204
_LAMPS_AHEAD = [NUSCENES_CLASSES.index(name) for name in ("car", "truck", "construction_vehicle", "bus", "motorcycle")]


class Weathering:
    """Light, lamps and lenses of one drive."""

    def __init__(self, scene: Scene, seed: int, image_size: tuple[int, int], cameras: int) -> None:
        self.scene, self.seed = scene, seed
        weather = draw_weather(seed)
        self.look, self.noise_levels = look_of(seed), weather.noise
        self._lens = Lens(weather, image_size, cameras, np.random.default_rng([seed, _LENS_STREAM]))
        self._strength = self.look.weather.lamps
        lit = self._strength > 0.0
        self._lit = np.concatenate([[lit], scene.in_traffic & lit]).astype(np.float64)
        # By object number, 0 for scenery: whose head lamps light the street.
        self._beams = self._lit.astype(bool) & np.isin(np.concatenate([[-1], scene.classes]), _LAMPS_AHEAD)
        self._street = street_lamps(scene.scenery, self.look.weather.street_lamp_colour) if lit else None

    def shoot(self, renderer: Renderer, drawn: Instances, intrinsic: np.ndarray, number: int, camera: Camera,
              shot_ns: int) -> tuple[Picture, np.ndarray]:
        """What is rendered for camera ``number`` of the rig at ``shot_ns``, and the image that it delivers."""
        pose = self.scene.fixed_from_vehicle(shot_ns * 1e-9)
        late = self.scene.fixed_from_vehicle(shot_ns * 1e-9 + self._lens.exposure_s / 2.0)
        camera_from_fixed = geometry.inverse(pose @ camera.vehicle_from_camera)
        late_from_camera = geometry.inverse(late @ camera.vehicle_from_camera) @ pose @ camera.vehicle_from_camera
        lamps = None
        if self._street is not None:
            lamps = self._lamps(pose, drawn).for_view(intrinsic, camera_from_fixed, renderer.image_size[0], MOST_LAMPS)
        picture = renderer.draw(drawn, intrinsic, camera_from_fixed, lamps, self._lit)
        shot = Shot(picture.depth, intrinsic, late_from_camera, camera_from_fixed[:3, :3] @ self.look.sun)
        rain = np.random.default_rng([self.seed, shot_ns, number])
        return picture, self._lens.apply(picture.image, number, shot, rain)

    def _lamps(self, pose: np.ndarray, drawn: Instances) -> Lamps:
        return (ego_lamps(pose) + self._street + head_lamps(drawn.pick(self._beams[drawn.ids]))).dimmed(self._strength)
