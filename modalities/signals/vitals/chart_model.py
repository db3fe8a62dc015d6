"""ChartModel: a Gaussian copula of stay features, from which charts of any channels are drawn.

It holds what chart_statistics.py releases of patients, and is all that a private training of such charts makes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

from ....core.condition import field_of
from ....core.types import BoolArray, Float32Array, FloatArray, IntArray
from .chart_statistics import ChartStatistics, bounds, regressed
from .quantizer import Lattice
from .stay_features import KINDS, course, feature_edges

NODES, CORRELATIONS = 32, np.linspace(0, 0.995, 40)  # of normal numbers
LEAST, MOST = 1e-4, 0.999  # share of hours charted


@dataclass(frozen=True)
class Noise:
    """What decides on stays: normal numbers (stay, feature), (stay, hour, channel) and (stay, channel, hour)."""

    features: FloatArray
    rounding: FloatArray  # (stay, channel), even in [0, 1]
    charting: FloatArray
    readings: FloatArray

    @classmethod
    def of(cls, seeds: Sequence[int], rows: int, hours: int, channels: int) -> "Noise":
        """Each row from its own seed, zeros in the rows beyond."""
        made = cls(
            np.zeros((rows, len(KINDS) * channels + 1)), np.zeros((rows, channels)), np.zeros((rows, hours, channels)),
            np.zeros((rows, channels, hours)),
        )  # fmt: skip
        for row, seed in enumerate(seeds):
            random = np.random.Generator(np.random.PCG64([seed, 1]))
            made.features[row] = random.standard_normal(made.features.shape[1])
            made.rounding[row] = random.random(channels)
            made.charting[row] = random.standard_normal((hours, channels))
            made.readings[row] = random.standard_normal((channels, hours))
        return made


@dataclass(frozen=True)
class ChartModel:
    """Cumulative shares of the features' bins, their normal scores given the code, and when channels are charted.

    scores = slopes (feature, column) times the code less its centres, and root (feature, feature) times noise.
    `charted` (slot, channel) are shares of time, `pattern` (channel, channel) the root of what is charted together.
    """

    below: FloatArray
    slopes: FloatArray
    centres: FloatArray
    root: FloatArray
    charted: FloatArray
    pattern: FloatArray

    @classmethod
    def of(cls, released: ChartStatistics, columns: Sequence[str]) -> "ChartModel":
        """From what was released, at no further cost."""
        count = len(released.histograms)
        bins = max(len(counts) for counts in released.histograms)
        below = np.ones((count, bins + 1))
        for k in range(count):
            found = released.distribution(k)
            below[k, : len(found)] = found
        together = np.array(released.together)
        correlation = tetrachoric(-ndtri(np.diag(together).clip(LEAST, MOST)), together)
        values, axes = np.linalg.eigh(correlation)
        pattern = axes * np.sqrt(values.clip(min=1e-6))
        pattern /= np.sqrt((pattern**2).sum(1))[:, None]
        charted = np.array(released.charted).clip(LEAST, MOST)
        return cls(below, *regressed(released, columns), charted, pattern)

    @classmethod
    def read(cls, arrays: Mapping[str, FloatArray]) -> "ChartModel":
        """Inverse of vars()."""
        return cls(**arrays)

    def draw(
        self,
        code: Float32Array,
        columns: Sequence[str],
        noise: Noise,
        lattice: Lattice,
        hours: int,
        shortest: int,
    ) -> tuple[Float32Array, IntArray]:
        """(stay, hour, channel) readings with NaN and steps of each stay; the model knows stays of up to `hours`.

        Noise of more hours draws as many, of a stay that lasts. Fields that the code (stay, column) does not know
        count as usual.
        """
        rows, steps, _ = noise.charting.shape
        moved = _known(code, columns)[:, None] * (code[:, None] - self.centres) * self.slopes
        scores = moved.sum(2) + noise.features @ self.root.T
        uniform = ndtr(scores).clip(1e-6, 1 - 1e-6)
        edges = feature_edges(lattice, hours)
        drawn = np.stack(
            [_number(u, below, limits) for u, below, limits in zip(uniform.T, self.below, edges, strict=True)], axis=1
        )  # fmt: skip
        length = np.floor(drawn[:, -1]).astype(np.int64).clip(max(1, min(shortest, hours)), hours)
        length = np.where((length == hours) & (steps > hours), steps, length).clip(max=steps)
        parts = drawn[:, :-1].reshape(rows, lattice.count, len(KINDS))
        number = np.floor(parts[..., 4] * length[:, None] + noise.rounding).astype(np.int64)
        number = np.where(parts[..., 4] > 0, number.clip(1, length[:, None]), 0)
        seen = self._charted(number, length, hours, noise.charting)
        readings = np.full((rows, steps, lattice.count), np.nan)
        for c in range(lattice.count):
            level, spread, trend, change = parts[:, c, :4].T
            values = course(level, spread, trend, change, number[:, c], noise.readings[:, c])
            place = (np.cumsum(seen[..., c], axis=1) - 1).clip(0)
            readings[..., c] = np.where(seen[..., c], np.take_along_axis(values, place, axis=1), np.nan)
        stepped = lattice.low + lattice.step * np.rint((readings - lattice.low) / lattice.step)
        inside = np.where(lattice.wide, readings, stepped).clip(lattice.low, lattice.high)
        return lattice.rounded(lattice.outward(inside)).astype(np.float32), length

    def _charted(self, number: IntArray, length: IntArray, hours: int, noise: FloatArray) -> BoolArray:
        """(stay, hour, channel): `number` hours of each channel, when and with which others as was released."""
        steps = noise.shape[1]
        slots = np.searchsorted(bounds(hours), np.arange(steps), side="right") - 1
        often = ndtri(self.charted[slots.clip(0, len(self.charted) - 1)])
        urge = (noise[..., None, :] * self.pattern).sum(-1) + often
        urge[np.arange(steps) >= length[:, None]] = -np.inf
        rank = np.argsort(np.argsort(-urge, axis=1), axis=1)
        return np.asarray(rank < number[:, None])


def _known(code: Float32Array, columns: Sequence[str]) -> BoolArray:
    """(stay, column) whether the field of a column is known."""
    masks = [columns.index(f"{field_of(column)}?") for column in columns]
    return np.asarray(code[:, masks] > 0)


def _number(uniform: FloatArray, below: FloatArray, limits: FloatArray) -> FloatArray:
    """Values of a feature at these places of its distribution."""
    bins = len(limits) - 1
    place = (np.searchsorted(below[: bins + 1], uniform, side="right") - 1).clip(0, bins - 1)
    within = (uniform - below[place]) / np.maximum(below[place + 1] - below[place], 1e-12)
    return np.asarray(limits[place] + within.clip(0, 1) * (limits[place + 1] - limits[place]))


def tetrachoric(cut: FloatArray, together: FloatArray) -> FloatArray:
    """(channel, channel) correlations of normal numbers that are both above their cuts as often as `together` says."""
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    top = np.maximum(cut + 6, 6.0)
    x = cut[:, None] + (nodes + 1) / 2 * (top - cut)[:, None]  # (channel, node) above the cut
    mass = weights / 2 * (top - cut)[:, None] * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
    both = np.stack(
        [
            np.einsum("in,inj->ij", mass, ndtr((r * x[:, :, None] - cut) / np.sqrt(1 - r**2)))
            for r in CORRELATIONS
        ]
    )
    out = np.eye(len(cut))
    for i in range(len(cut)):
        for j in range(i):
            known = np.maximum.accumulate(both[:, i, j])
            out[i, j] = out[j, i] = np.interp(together[i, j], known, CORRELATIONS)
    return out
