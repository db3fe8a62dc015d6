"""Variation: a drawn stay made steadier or rougher, its channels going together or not, charted more or less often.

Stays of one network are more alike than patients are, and a critic that chooses among draws can only choose what is
there. So each draw is proposed in a few variants as well. How far they vary is set by hand, wide, and no patient is
behind it: the critic takes what real stays show.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ....core.types import BoolArray, Float32Array, FloatArray
from .baseline_shift import coherent, even
from .quantizer import SHIPPED, Lattice

VARIANTS = 6  # of a draw, beside itself
SCALE, SHARED = 0.3, 0.2  # standard deviations of log scales: of each channel, of all together
MIXED = 0.35  # of other channels' deviations, at most
ROUGH, SMOOTH = -0.6, 1.2  # range of what is added of both neighbours' mean
TREND = 0.3  # deviations
CHARTED = 0.5  # share of variants in which readings are lost or added
LOST, ADDED = 0.5, 0.6  # the largest rates of that
LOOSE = 0.5  # deviations that an added reading lies off the last one
FLOOR = 0.05  # spreads of a channel, of one that hardly moves


@dataclass(frozen=True)
class Chance:
    """What decides about variants: uniform and normal numbers of each row, (row, number)."""

    uniform: FloatArray
    normal: FloatArray

    @classmethod
    def of(cls, randoms: Sequence[np.random.Generator], hours: int, channels: int) -> "Chance":
        """One row from each generator, or all from one."""
        cells = hours * channels
        sizes = 5 + 4 * channels + hours + 2 * cells, channels * channels + 2 * channels + 1 + cells
        return cls(
            np.stack([random.random(sizes[0]) for random in randoms]),
            np.stack([random.standard_normal(sizes[1]) for random in randoms]),
        )

    def padded(self, rows: int) -> "Chance":
        """The same in a block of so many rows, zeros in those that nobody has."""
        more = ((0, rows - len(self.uniform)), (0, 0))
        return Chance(np.pad(self.uniform, more), np.pad(self.normal, more))


def variants(readings: Float32Array, chance: Chance, day: int, lattice: Lattice = SHIPPED) -> Float32Array:
    """(row, hour, channel) a variant of each row's stay, on its lattice, pressures coherent; trends are of a `day`."""
    rows, hours, count = readings.shape
    cells = (rows, hours, count)
    ends = np.cumsum([1, count, count, 5 - 1, 2 * count, hours, hours * count])
    mixes, rough, dither, rates, channels, missed, lost, added = np.split(chance.uniform, ends, axis=1)
    ends = np.cumsum([count * count, count, count, 1])
    mixing, trend, scale, shared, loose = np.split(chance.normal, ends, axis=1)
    seen = np.isfinite(readings)
    values = (lattice.inward(readings) - lattice.usual) / lattice.spread
    mean = np.where(seen, values, 0).sum(1) / seen.sum(1).clip(min=1)
    away = _held(np.where(seen, values - mean[:, None], 0), seen)
    spread = _deviation(away, seen) + FLOOR
    new = away / spread[:, None]
    new = new + new @ (MIXED * mixes[..., None] * mixing.reshape(rows, count, count))
    wide = np.concatenate([new[:, :1], new, new[:, -1:]], axis=1)
    new = new + (ROUGH + (SMOOTH - ROUGH) * rough)[:, None] * (wide[:, 2:] + wide[:, :-2]) / 2
    line = np.minimum(np.arange(hours), day - 1) / max(1, day - 1) * 2 - 1
    new = new + TREND * trend[:, None] * line[:, None]
    new = new / (_deviation(new, seen)[:, None] + FLOOR)
    new = new * (spread * np.exp(SCALE * scale + SHARED * shared))[:, None]
    some = rates[:, :1] < CHARTED
    gone = missed < some * LOST * rates[:, 1:2] ** 4
    fewer = some * LOST * rates[:, 2:3] ** 4 * channels[:, :count]
    more = some * ADDED * rates[:, 3:4] ** 3 * channels[:, count:]
    kept = seen & ~gone[..., None] & (lost.reshape(cells) >= fewer[:, None])
    filled = ~seen & np.maximum.accumulate(seen, axis=1) & seen.any(2, keepdims=True)
    filled &= added.reshape(cells) < more[:, None]
    new = new + np.where(filled, LOOSE * spread[:, None] * loose.reshape(cells), 0)
    unit = lattice.step / lattice.spread * np.where([even(stay, lattice) for stay in readings], 2, 1)[:, None]
    old = np.where(seen, values, mean[:, None] + away)
    steps = np.rint((mean[:, None] + new - old) / unit + dither[:, None] - 0.5) * unit
    inside = np.clip((old + steps) * lattice.spread + lattice.usual, lattice.low, lattice.high)
    out = np.where(kept | filled, lattice.rounded(lattice.outward(inside)), np.nan)
    return np.stack([coherent(stay, lattice) for stay in out]).astype(np.float32)


def _held(away: FloatArray, seen: BoolArray) -> FloatArray:
    """(row, hour, channel) with the last reading's deviation where there is none; 0 before the first."""
    hour = np.where(seen, np.arange(seen.shape[1])[:, None], 0)
    last = np.maximum.accumulate(hour, axis=1)
    return np.asarray(np.take_along_axis(away, last, axis=1))


def _deviation(away: FloatArray, seen: BoolArray) -> FloatArray:
    """(row, channel) of the readings."""
    number = seen.sum(1).clip(min=1)
    mean = (away * seen).sum(1) / number
    return np.asarray(np.sqrt((np.square(away - mean[:, None]) * seen).sum(1) / number))
