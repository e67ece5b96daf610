"""Light and air of a drive: sun, sky, haze."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sparse4d_ros.simulation.weather import Weather


@dataclass(frozen=True)
class WeatherLook:
    """What the varied shaders need beyond the plain light; shares in 0..1."""

    #: How wet the ground is.
    wet: float
    #: How dark the shadows under things are, 1 as in sunshine.
    shadow: float
    #: Brightness of lit windows.
    windows: float
    #: Brightness of the sun's disc and of the sky around it.
    sun_disc: float
    #: Strength of the light of head lamps, tail lamps and street lamps before that of the sky; 0: they are off.
    lamps: float
    street_lamp_colour: np.ndarray


@dataclass(frozen=True)
class Look:
    """Light and air of one drive; colours are RGB in 0..1."""

    #: Unit vector towards the sun.
    sun: np.ndarray
    sun_colour: np.ndarray
    ambient: np.ndarray
    zenith: np.ndarray
    horizon: np.ndarray
    #: Share of the horizon's colour that 100 m of air add.
    haze: float
    #: Only in varied drives; without it the plain shaders draw.
    weather: WeatherLook | None = None


def draw_look(rng: np.random.Generator) -> Look:
    """A clear or overcast day with the sun anywhere between 20 and 65 degrees high."""
    overcast = rng.random() < 0.3
    azimuth, elevation = rng.uniform(-np.pi, np.pi), np.deg2rad(rng.uniform(20.0, 65.0))
    sun = np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
    brightness = rng.uniform(0.95, 1.30)
    warm = np.array([1.0, rng.uniform(0.90, 1.0), rng.uniform(0.78, 1.0)])
    sun_colour = brightness * warm * (0.25 if overcast else rng.uniform(0.55, 0.8))
    ambient = brightness * (np.full(3, 0.72) if overcast else np.array([0.44, 0.47, 0.52]))
    grey = np.full(3, 0.78)
    blend = 0.85 if overcast else rng.uniform(0.0, 0.35)
    zenith = (1 - blend) * np.array([0.30, 0.50, 0.82]) + blend * grey
    horizon = (1 - blend) * np.array([0.72, 0.82, 0.92]) + blend * np.full(3, 0.86)
    return Look(sun, sun_colour, ambient, brightness * zenith, brightness * horizon, rng.uniform(0.05, 0.30))


# Per hour under a clear and under a covered sky: sun (by night the moon), ambient, zenith, horizon.
_CLEAR = {
    "day": ((0.72, 0.68, 0.60), (0.44, 0.47, 0.52), (0.30, 0.50, 0.82), (0.72, 0.82, 0.92)),
    "dusk": ((0.68, 0.40, 0.20), (0.34, 0.35, 0.42), (0.16, 0.24, 0.45), (0.72, 0.52, 0.40)),
    "night": ((0.07, 0.08, 0.11), (0.19, 0.20, 0.25), (0.02, 0.03, 0.06), (0.09, 0.09, 0.12)),
}
_COVERED = {
    "day": ((0.12, 0.12, 0.12), (0.62, 0.63, 0.65), (0.66, 0.68, 0.71), (0.74, 0.75, 0.77)),
    "dusk": ((0.10, 0.07, 0.05), (0.36, 0.36, 0.41), (0.26, 0.28, 0.34), (0.40, 0.37, 0.38)),
    "night": ((0.01, 0.01, 0.01), (0.21, 0.20, 0.21), (0.06, 0.055, 0.06), (0.14, 0.12, 0.11)),
}
_SODIUM, _WHITE = np.array([1.0, 0.72, 0.38]), np.array([0.92, 0.96, 1.0])


def weather_look(weather: Weather, rng: np.random.Generator) -> Look:
    """The light that a varied drive's hour and weather give."""
    elevation, azimuth = np.deg2rad([weather.elevation_deg, weather.azimuth_deg])
    sun = np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
    brightness = rng.uniform(0.85, 1.20) * (1.0 - 0.20 * weather.rain)
    sun_colour, ambient, zenith, horizon = (
        brightness * ((1.0 - weather.clouds) * np.array(clear) + weather.clouds * np.array(covered))
        for clear, covered in zip(_CLEAR[weather.hour], _COVERED[weather.hour], strict=True))
    # Fog hides the sky; objects keep a third of their contrast at the range of the labels.
    zenith = (1.0 - 0.9 * weather.fog) * zenith + 0.9 * weather.fog * horizon
    haze = rng.uniform(0.05, 0.30) + 0.5 * weather.rain + 1.3 * weather.fog
    lamps = {"day": 0.0, "dusk": 0.35 if rng.random() < 0.7 else 0.0, "night": 1.0}[weather.hour]
    return Look(sun, sun_colour, ambient, zenith, horizon, haze, WeatherLook(
        wet=weather.rain, shadow=(1.0 - 0.6 * weather.clouds) * (0.6 if weather.hour == "night" else 1.0),
        windows={"day": 0.0, "dusk": 0.4, "night": 0.65}[weather.hour], sun_disc=1.0 - min(1.0, 2.0 * weather.clouds),
        lamps=lamps, street_lamp_colour=_SODIUM if rng.random() < 0.5 else _WHITE))
