"""The weather and hour of a varied drive, as plain numbers drawn from the seed."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

#: Number of the random stream, apart from those of the world (0 to 9) and of the sensor's noise (99).
_STREAM = 200


@dataclass(frozen=True)
class Weather:
    """What light, air and the cameras' exposure of one drive are drawn from."""

    #: "day", "dusk" or "night".
    hour: str
    #: Of the sun, by night of the moon; degrees above the horizon, and from the world's x axis about z.
    elevation_deg: float
    azimuth_deg: float
    #: Shares 0..1: sky covered by clouds, strength of the rain, density of the fog.
    clouds: float
    rain: float
    fog: float
    #: Strength 0..1 of the glare when the sun stands in or near a picture.
    glare: float
    #: Strength 0..1 of the dirt on the lenses.
    dirt: float
    exposure_ms: float
    #: Standard deviation of the sensor's noise, grey values.
    noise: float

    @property
    def name(self) -> str:
        """The hour and what is remarkable, like "night, rain"."""
        marks = (("rain", self.rain > 0.0), ("fog", self.fog > 0.0), ("sun glare", self.glare > 0.0),
                 ("dirty lenses", self.dirt > 0.0))
        return ", ".join([self.hour, *(mark for mark, present in marks if present)])

    def describe(self) -> dict[str, str | float]:
        """Name, hour and all numbers, ready for JSON."""
        return {"name": self.name, **asdict(self)}


def draw_weather(seed: int) -> Weather:
    """The weather of the drive ``seed``: half of them by day, a fifth at dusk, the rest by night."""
    rng = np.random.default_rng([seed, _STREAM])
    hour = ("day", "dusk", "night")[rng.choice(3, p=[0.5, 0.2, 0.3])]
    low, high = {"day": (10.0, 65.0), "dusk": (2.0, 8.0), "night": (25.0, 60.0)}[hour]
    elevation, azimuth = rng.uniform(low, high), rng.uniform(-180.0, 180.0)
    rain = float(rng.uniform(0.3, 1.0)) if rng.random() < 0.30 else 0.0
    fog = float(rng.uniform(0.3, 1.0)) if rng.random() < 0.15 else 0.0
    clouds = rng.uniform(0.85, 1.0) if max(rain, fog) > 0.0 or rng.random() < 0.3 else rng.uniform(0.0, 0.5)
    glare = rng.uniform(0.5, 1.0) if hour != "night" and clouds < 0.5 and elevation < 18.0 else 0.0
    dirt = rng.uniform(0.3, 1.0) if rng.random() < 0.35 else 0.0
    exposure = {"day": (1.0, 8.0), "dusk": (6.0, 16.0), "night": (12.0, 28.0)}[hour]
    noise = {"day": (1.5, 3.0), "dusk": (2.0, 4.0), "night": (3.0, 6.0)}[hour]
    return Weather(hour, float(elevation), float(azimuth), float(clouds), rain, fog, float(glare), float(dirt),
                   float(rng.uniform(*exposure)), float(rng.uniform(*noise)))
