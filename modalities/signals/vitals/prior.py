"""Simulated stays from public knowledge alone, on which a private run is pretrained.

Numbers are textbook ones of intensive care (usual values, how far readings wander in a day, a temperature every four
hours) or wide guesses; what differs between units (rounding, gaps, steadiness) is drawn anew for each stay, so that a
network which has seen many such stays reads it off the chart. None was measured on patients.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ....core.profile import PatientProfile
from ....core.types import BoolArray, Float32Array, FloatArray, IntArray
from ..channels import CHANNELS, DBP, MAP, SBP, TEMP
from ..data import baselines
from .quantizer import HIGH, LOW, SPREAD, STEP, USUAL
from .trajectory import DERANGED, FIRST, SEPSIS

COUNT = len(CHANNELS)
WANDERS = np.array([7.0, 1.4, 0.35, 12.0, 9.0, 7.0, 3.2])  # within a day, standard deviation of a usual stay
STRESS = np.array([0.4, -0.2, 0.3, 0.0, 0.0, 0.0, 0.4])  # what levels share: a patient who is worse
PRESSURE = np.array([0.0, 0.0, 0.0, 0.75, 0.75, 0.75, 0.0])
EVERY = (1, 2, 4, 6, 8)  # hours between temperatures
OFTEN = (0.15, 0.1, 0.55, 0.1, 0.1)
LEAST = 8  # hours that a simulated stay lasts
SHORT, SEPTIC = 0.2, 0.07  # shares of stays that end within the day, and of sepsis


class SimulatedStays(NamedTuple):
    """Stays: (row, hour, channel) float32 with NaN, hours in the window, hour of onset or NaN, whose they are."""

    readings: Float32Array
    lengths: IntArray
    onsets: FloatArray
    profiles: Sequence[PatientProfile]


def simulated_stays(rows: int, hours: int, random: np.random.Generator) -> SimulatedStays:
    """That many stays."""
    sepsis = random.random(rows) < SEPTIC
    onsets = np.where(sepsis & (random.random(rows) < 0.5), random.integers(FIRST, hours + 6, rows), np.nan)
    values = _values(rows, hours, random) + _sepsis(sepsis, onsets, hours, random)
    seen = _charted(rows, hours, random)
    readings = np.where(seen, _rounded(values, seen, random), np.nan).astype(np.float32)
    ends = random.random(rows) < SHORT
    lengths = np.where(ends, random.integers(min(LEAST, hours), hours + 1, rows), hours)
    readings[np.arange(hours) >= lengths[:, None]] = np.nan
    ages = random.normal(62, 16, rows).clip(18, 90).round()
    profiles = [
        PatientProfile(
            f"made up {i}", age=float(ages[i]), sex="FM"[int(random.integers(2))],
            conditions={SEPSIS: bool(sepsis[i])}, measurements=baselines(readings[i]),
        )
        for i in range(rows)
    ]  # fmt: skip
    return SimulatedStays(readings, lengths.astype(np.int64), onsets, profiles)


def _values(rows: int, hours: int, random: np.random.Generator) -> FloatArray:
    """(row, hour, channel) true values: a level, what wanders slowly around it, what differs from hour to hour."""
    rest = np.sqrt(1 - STRESS**2 - PRESSURE**2)
    level = rest * random.standard_normal((rows, COUNT))
    level += STRESS * random.standard_normal((rows, 1)) + PRESSURE * random.standard_normal((rows, 1))
    size = WANDERS * np.exp(0.4 * random.standard_normal((rows, COUNT)))
    slowly = random.uniform(0.2, 0.9, (rows, COUNT))
    keep = random.uniform(0.7, 0.98, (rows, COUNT))
    state, out = random.standard_normal((rows, COUNT)), np.empty((rows, hours, COUNT))
    for hour in range(hours):
        both = random.standard_t(5, (rows, COUNT)) / np.sqrt(5 / 3)
        shock, fast = _together(random.standard_normal((rows, COUNT)), random), _together(both, random)
        state = keep * state + np.sqrt(1 - keep**2) * shock
        out[:, hour] = np.sqrt(slowly) * state + np.sqrt(1 - slowly) * fast
    out = USUAL + 0.85 * SPREAD * level[:, None] + size[:, None] * out
    residual = random.normal(0, 3, (rows, 1)) + np.exp(
        random.normal(0.9, 0.6, (rows, 1))
    ) * random.standard_t(5, (rows, hours))
    out[..., MAP] = (out[..., SBP] + 2 * out[..., DBP]) / 3 + residual
    return out


def _together(noise: FloatArray, random: np.random.Generator) -> FloatArray:
    """Pressures move together."""
    return np.sqrt(1 - PRESSURE**2) * noise + PRESSURE * random.standard_normal((len(noise), 1))


def _sepsis(sepsis: BoolArray, onsets: FloatArray, hours: int, random: np.random.Generator) -> FloatArray:
    """(row, hour, channel) what sepsis adds from six hours before its onset, or throughout if unknown."""
    begun = np.clip((np.arange(hours) - onsets[:, None] + 6) / 9, 0, 1)
    begun = np.where(np.isfinite(begun), begun, 0.5) * sepsis[:, None]
    strength = random.uniform(0, 1, (len(sepsis), 1, 1)) * random.uniform(0, 1.5, (len(sepsis), 1, COUNT))
    return begun[..., None] * strength * DERANGED


def _rounded(values: FloatArray, seen: BoolArray, random: np.random.Generator) -> FloatArray:
    """Readings on the lattice: even numbers in some units, half-way or the last one again now and then."""
    rows, hours, _ = values.shape
    even = (random.random((rows, 1, 1)) < 0.1) & (random.random((rows, 1, COUNT)) < 0.8) & (STEP == 1)
    unit = STEP * np.where(even, 2, 1)
    whole = LOW + unit * np.rint((values.clip(LOW, HIGH) - LOW) / unit)
    halves = random.beta(1, 12, (rows, 1, COUNT)) * (random.random((rows, 1, 1)) < 0.4) * ~even
    out = whole + 0.5 * STEP * (random.random(values.shape) < halves) * (whole < HIGH)
    again = random.random(values.shape) < random.beta(1, 9, (rows, 1, COUNT))
    last = out[:, 0]
    for hour in range(1, hours):
        out[:, hour] = np.where(again[:, hour], last, out[:, hour])
        last = np.where(seen[:, hour], out[:, hour], last)
    return out


def _charted(rows: int, hours: int, random: np.random.Generator) -> BoolArray:
    """(row, hour, channel) whether it was written down: rounds are missed in runs, units leave channels out."""
    missed = random.beta(1.2, 8, (rows, 1))  # share of rounds
    run = random.uniform(0, 0.6, rows)
    rounds = random.random((rows, hours)) >= missed
    for hour in range(1, hours):
        same = random.random(rows) < run
        rounds[:, hour] = np.where(same, rounds[:, hour - 1], rounds[:, hour])
    rounds[:, 0] &= random.random(rows) < 0.6
    kept = 1 - random.beta(1, 15, (rows, 1, COUNT))
    for channel, share in ((DBP, 0.12), (MAP, 0.08)):
        kept[..., channel] *= 1 - (random.random((rows, 1)) < share) * random.uniform(0.6, 1, (rows, 1))
    seen = rounds[..., None] & (random.random((rows, hours, COUNT)) < kept)
    every = random.choice(EVERY, (rows, 1), p=OFTEN)
    due = (np.arange(hours) + random.integers(0, 8, (rows, 1))) % every == 0
    off = random.random((rows, hours)) < 0.1
    seen[..., TEMP] = rounds & (due ^ off)
    return np.asarray(seen)
