"""Light and air of a drive: sun, sky, haze."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


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
