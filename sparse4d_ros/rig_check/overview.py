"""The rig from above: where the cameras sit, what they see, and what nobody sees."""

from __future__ import annotations

import numpy as np

from sparse4d_ros.evaluation import canvas
from sparse4d_ros.rig_check.coverage import blind_sectors, overlaps
from sparse4d_ros.rig_check.mounted import MountedCamera, shared_sector_deg

_RANGE_M = 11.0
_SIGHT_M = 8.0
_BLIND_M = 9.2
#: One colour a camera, apart in hue.
_COLOURS: tuple[canvas.Colour, ...] = ((250, 178, 74), (84, 140, 255), (118, 222, 132), (236, 128, 196),
                                       (72, 214, 255), (178, 92, 240), (182, 170, 146), (112, 104, 244))
_VEHICLE = np.array([[3.6, 0.55], [3.1, 0.95], [-0.7, 0.95], [-1.0, 0.7], [-1.0, -0.7], [-0.7, -0.95], [3.1, -0.95],
                     [3.6, -0.55]])


def draw_overview(mounted: dict[str, MountedCamera], size: int) -> np.ndarray:
    """``[size, size, 3]``: x (forward) points up, y (left) to the left, as one sits in the vehicle."""
    view = np.full((size, size, 3), canvas.PANEL, dtype=np.uint8)
    scale = size / (2 * _RANGE_M)
    middle = np.array([size / 2, size / 2])

    def pixels(points: np.ndarray) -> np.ndarray:
        points = np.asarray(points, dtype=np.float64)
        return middle - scale * points[..., 1::-1]

    known = {name: camera for name, camera in mounted.items() if camera.calibration is not None}
    colours = {name: _COLOURS[index % len(_COLOURS)] for index, name in enumerate(mounted)}
    for name, camera in known.items():
        right, left = np.radians(camera.borders_deg())
        fan = camera.position[:2] + _SIGHT_M * _directions(np.linspace(right, left, 60))
        outline = pixels(np.vstack([camera.position[:2], fan]))
        filled = view.copy()
        canvas.polygon(filled, outline, colours[name])
        view[:] = np.round(0.84 * view + 0.16 * filled)
        canvas.polyline(view, outline, canvas.mix(canvas.PANEL, colours[name], 0.6), 1, closed=True)
    for metres in (2, 4, 6, 8):
        canvas.circle(view, tuple(middle), metres * scale, canvas.LINE)
        canvas.text(view, f"{metres} m", middle[0] + 4, middle[1] + metres * scale - 15, 11, canvas.MUTED)
    canvas.polyline(view, pixels(_VEHICLE), canvas.MUTED, 1, closed=True)
    canvas.polyline(view, pixels(np.array([[0, 0], [1.2, 0]])), (84, 140, 255), 2)
    canvas.polyline(view, pixels(np.array([[0, 0], [0, 1.2]])), (236, 128, 196), 2)
    for low, high in blind_sectors(known) if known else []:
        turn = np.radians(np.linspace(low, high, 90))
        canvas.polyline(view, pixels(_BLIND_M * _directions(turn)), canvas.ALERT, 6)
        x, y = pixels(10.0 * _directions(np.radians([(low + high) / 2])))[0]
        canvas.text(view, f"blind {high - low:.0f} deg", x, y - 7, 12, canvas.ALERT, bold=True, align="centre")
    for name, camera in mounted.items():
        place, aim = camera.position[:2], np.radians(camera.azimuth_deg)
        canvas.polyline(view, pixels(np.stack([place, place + 1.6 * _directions(aim)])), colours[name], 2)
        canvas.circle(view, tuple(pixels(place)), 4, colours[name], -1)
        x, y = pixels(place + 5.0 * _directions(aim))
        canvas.text(view, name, x, y - 14, 13, colours[name], bold=True, align="centre")
        canvas.text(view, f"{camera.azimuth_deg:+.0f} deg, z {camera.position[2]:.2f} m", x, y + 2, 11, canvas.TEXT,
                    align="centre")
    for (first, second), width in overlaps(known).items():
        _draw_overlap(view, pixels, known[first], known[second], width)
    canvas.text(view, "from above: x forward is up; bearings from x, left positive", 10, size - 22, 12, canvas.MUTED)
    return view


def _draw_overlap(view: np.ndarray, pixels, first: MountedCamera, second: MountedCamera, width: float) -> None:
    """The shared degrees, written at the middle of two neighbours' shared sector."""
    x, y = pixels(_BLIND_M * _directions(np.radians(sum(shared_sector_deg(first, second)) / 2)))
    canvas.text(view, f"{width:.0f} deg", x, y - 8, 12, canvas.TEXT, align="centre")


def _directions(azimuth: np.ndarray) -> np.ndarray:
    return np.stack([np.cos(azimuth), np.sin(azimuth)], axis=-1)
