"""Stay features: a stay as a few bounded numbers a channel, in public bins, and a stay with given numbers.

Of each channel: level (mean), spread (standard deviation), trend (last third less first third, in spreads), change
(mean step from reading to reading, in spreads), in lattice units, and charted (share of the stay's steps). Last comes
the stay's length. All bins follow from the public ranges.
"""

from dataclasses import dataclass

import numpy as np

from ....core.types import BoolArray, Float32Array, FloatArray, IntArray
from .quantizer import Lattice

KINDS = ("level", "spread", "trend", "change", "charted")  # of each channel, in this order
LEVELS, FINE = 64, 24  # bins of levels, and of the others
TREND, CHANGE = 2.5, 3.0  # the farthest of each, in spreads
INDEPENDENT = 1.128  # mean step between independent normal numbers, in standard deviations


@dataclass(frozen=True)
class Features:
    """(stay, feature) numbers and whether the stay has them; the stay's class of readings by channel."""

    values: FloatArray
    known: BoolArray


def feature_edges(lattice: Lattice, hours: int) -> list[FloatArray]:
    """Edges of the public bins of each feature. A bin of no width holds one value alone."""
    out: list[FloatArray] = []
    for low, high, step in zip(lattice.low, lattice.high, lattice.step, strict=True):
        spreads = np.geomspace(step / 8, (high - low) / 2, FINE)
        out += [
            np.linspace(low, high, LEVELS + 1),
            np.concatenate([[0, 0], spreads]),
            np.linspace(-TREND, TREND, FINE + 1),
            np.linspace(0, CHANGE, FINE + 1),
            np.concatenate([[0, 0], np.linspace(0, 1, FINE)[1:] ** 2, [1]]),
        ]
    lengths = np.unique(np.linspace(0, hours - 1, min(hours, 48)).round())
    return [*out, np.concatenate([lengths, [hours, hours]])]


def features_of(readings: Float32Array, length: IntArray, lattice: Lattice) -> Features:
    """Of (stay, hour, channel) readings with NaN."""
    values = lattice.inward(readings)
    seen = np.isfinite(values)
    number = seen.sum(1)
    some = number.clip(min=1)
    filled = np.where(seen, values, 0.0)
    level = filled.sum(1) / some
    spread = np.sqrt((np.where(seen, values - level[:, None], 0.0) ** 2).sum(1) / some)
    place = np.cumsum(seen, axis=1) - 1  # of each reading among those of its channel
    third = np.maximum(1, number // 3)[:, None]
    early, late = seen & (place < third), seen & (place >= number[:, None] - third)
    trend = ((filled * late).sum(1) - (filled * early).sum(1)) / third[:, 0]
    last = np.zeros(level.shape)
    moved = np.zeros(level.shape)
    for hour in range(values.shape[1]):
        again = seen[:, hour] & (place[:, hour] > 0)
        moved += np.where(again, np.abs(filled[:, hour] - last), 0.0)
        last = np.where(seen[:, hour], filled[:, hour], last)
    varied = spread > lattice.step / 100
    unit = np.where(varied, spread, 1.0)
    spread = np.where(varied, spread, 0.0)
    trend = np.where(varied, trend / unit, 0.0)
    change = moved / (number - 1).clip(min=1) / unit
    charted = number / np.maximum(length, 1)[:, None]
    known = np.stack(
        [number >= 1, number >= 2, (number >= 2) & varied, (number >= 3) & varied, number >= 0], axis=2
    )
    stacked = np.stack([level, spread, trend, change, charted], axis=2).reshape(len(level), -1)
    ends = np.ones((len(level), 1), dtype=bool)
    return Features(
        np.concatenate([stacked, np.asarray(length, dtype=np.float64)[:, None]], axis=1),
        np.concatenate([known.reshape(len(level), -1), ends], axis=1),
    )


def course(
    level: FloatArray, spread: FloatArray, trend: FloatArray, change: FloatArray, count: IntArray, noise: FloatArray
) -> FloatArray:  # fmt: skip
    """(row, place) readings one after another with these features, of which the first `count` count.

    `noise` (row, place) are normal numbers.
    """
    rows, most = noise.shape
    inside = np.arange(most) < np.asarray(count)[:, None]
    keep = (1 - (change / INDEPENDENT) ** 2 / 2).clip(-0.6, 0.97)
    state, linked = np.zeros(rows), np.empty((rows, most))
    for k in range(most):
        state = keep * state + np.sqrt(1 - keep**2) * noise[:, k] if k else noise[:, 0]
        linked[:, k] = state
    line = _standardized(np.arange(most) - (np.asarray(count)[:, None] - 1) / 2, inside)
    linked = _standardized(linked, inside)
    linked = _standardized(linked - line * _mean(linked * line, inside), inside)
    steep = _thirds(line, count)
    share = np.clip(trend / np.maximum(steep, 1e-6), -1, 1)[:, None]
    share = np.where(np.asarray(count)[:, None] == 2, np.where(share < 0, -1.0, 1.0), share)
    both = _standardized(share * line + np.sqrt(1 - share**2) * linked, inside)
    return np.asarray(level[:, None] + spread[:, None] * both)


def _mean(values: FloatArray, inside: BoolArray) -> FloatArray:
    return np.asarray(
        np.where(inside, values, 0).sum(1, keepdims=True) / inside.sum(1, keepdims=True).clip(min=1)
    )


def _standardized(values: FloatArray, inside: BoolArray) -> FloatArray:
    centred = np.where(inside, values - _mean(values, inside), 0)
    return np.asarray(centred / np.sqrt(_mean(centred**2, inside) + 1e-12))


def _thirds(values: FloatArray, count: IntArray) -> FloatArray:
    """(row,) mean of the last third less that of the first."""
    place, number = np.arange(values.shape[1]), np.asarray(count)[:, None]
    third = np.maximum(1, number // 3)
    early, late = place < third, (place >= number - third) & (place < number)
    return np.asarray(((values * late).sum(1) - (values * early).sum(1)) / third[:, 0])
