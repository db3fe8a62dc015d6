"""Pulse: the photoplethysmogram at wrist and finger, from the same beats: arrival by pressure and age, artefacts."""

from dataclasses import dataclass

import numpy as np

from ...core.types import Float32Array, FloatArray
from .body import DAY, Body
from .day import Day
from .figures import figures

SITES = ("wrist", "finger")
RATE = 64  # Hz


@dataclass(frozen=True)
class Segment:
    """A stretch of a day: its first second, and the wave of each site (site, sample)."""

    begins: int
    wave: Float32Array


def transit(body: Body, systolic: float, site: str) -> float:
    """Seconds from the R peak to the foot of the pulse: shorter at high pressure and in stiff, old vessels."""
    given = figures()["wave"]["transit"]
    value = given["middle"] + given["per_mmhg"] * (systolic - 120) + given["per_year"] * (body.age - 50)
    return float(np.clip(value + (given["finger"] if site == "finger" else 0.0), 0.08, 0.35))


def segment(day: Day, begins: int, seconds: int, rate: int = RATE) -> Segment:
    """The wave of both sites from a second of a day on, in arbitrary units."""
    begins = int(min(max(begins, 0), DAY - seconds))
    time = begins + np.arange(seconds * rate) / rate
    return Segment(
        begins, np.stack([_wave(day, time, begins, site, rate) for site in SITES]).astype(np.float32)
    )


def _wave(day: Day, time: FloatArray, begins: int, site: str, rate: int) -> FloatArray:
    body, minute = day.body, np.minimum((time // 60).astype(int), 1439)
    asleep = day.basis.stage[minute[0]] > 0
    effort = float(day.basis.mets[minute[0]] - 1)
    pressure = float(day.systolic[0]) * (0.88 if asleep else 1.0) + 8 * effort
    feet = day.beats + transit(body, pressure, site)
    strength = 1 - np.exp(
        -np.diff(day.beats, prepend=day.beats[0] - 0.8) / 0.45
    )  # an early beat ejects little
    place = np.searchsorted(feet, time, side="right") - 1
    stiff = float(np.clip((body.age - 25) / 60, 0, 1))
    out = np.zeros(len(time))
    for back in (0, 1):
        beat = np.clip(place - back, 0, len(feet) - 1)
        since = time - feet[beat]
        rise, width = 0.12 + 0.03 * stiff, 0.055 + 0.012 * stiff
        shape = np.exp(-0.5 * ((since - rise) / np.where(since < rise, width, 2.6 * width)) ** 2)
        later = 0.2 + 0.06 * (1 - stiff)
        shape += (0.45 - 0.25 * stiff) * np.exp(-0.5 * ((since - rise - later) / 0.07) ** 2)
        out += np.where(place - back >= 0, strength[beat] * shape, 0.0)
    rng = body.rng(17, day.offset, begins, SITES.index(site))
    breath = np.cumsum(day.breath[minute] / 60) / rate
    skin = day.finger if site == "finger" else day.wrist
    perfusion = float(np.clip(1 + 0.18 * (skin[minute[0]] - 33), 0.15, 1.8)) * (
        1.0 if site == "finger" else 0.6
    )
    out *= perfusion * (1 + 0.06 * np.sin(2 * np.pi * breath))
    out += 0.12 * np.sin(2 * np.pi * breath + 1) + 0.01 * rng.standard_normal(len(time))
    return out + _motion(day, time, minute, site, rate, rng)


def _motion(
    day: Day, time: FloatArray, minute: FloatArray, site: str, rate: int, rng: np.random.Generator
) -> FloatArray:
    """What movement adds: swings at half the cadence and coloured noise, none in minutes without steps."""
    from scipy.signal import lfilter

    walked = day.basis.steps[minute].astype(np.float64)
    cadence = np.cumsum(np.maximum(walked, 30) / 60) / rate
    noise = lfilter([0.15], [1, -0.85], rng.standard_normal(len(time)))
    size = np.where(walked > 0, 0.15 + 0.9 * np.minimum(walked / 100, 1.5), 0.0) * (
        1.0 if site == "wrist" else 0.7
    )
    return size * (0.7 * np.sin(np.pi * cadence) + 0.4 * np.sin(2 * np.pi * cadence + 1) + noise)
