"""Shape: how a number lies within its bins, and what is noise among them; worked out from their shares alone.

A public family (a normal, or log-normal from either end) is fitted to the shares of the bins. Within the bins the
number follows it, bent smoothly so that each bin keeps its share. Both are post-processing: they cost nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ...core.types import FloatArray
from .domain import PARTS

TAIL, WIDER = (
    0.01,
    2.0,
)  # the share of a family's wider part, which has heavier tails, and how much wider it is
GRID = 401  # places of a bin at which its curve is worked out
STRENGTHS = 10.0 ** np.arange(-4, 5.5, 0.5)  # of smoothing, of which the best is chosen


@dataclass(frozen=True)
class _Family:
    """A distribution over [low, high]: normal of a transformed number; `end` is the end that logarithms start from."""

    edges: FloatArray
    end: int  # 0: none, the number itself; -1: the low one; 1: the high one
    pad: float  # added to the distance from that end

    def scaled(self, x: FloatArray) -> FloatArray:
        """The number as what is normal, ascending."""
        if self.end == 0:
            return x
        if self.end < 0:
            return np.log(x - self.edges[0] + self.pad)
        return -np.log(np.maximum(self.edges[-1] - x, 0.0) + self.pad)

    def below(self, x: FloatArray, middle: float, spread: float) -> FloatArray:
        """Cumulative shares, 0 at the lowest edge and 1 at the highest."""
        from scipy.special import ndtr

        z = (self.scaled(np.concatenate([self.edges[[0, -1]], x])) - middle) / spread
        whole = (1 - TAIL) * ndtr(z) + TAIL * ndtr(z / WIDER)
        even = (x - self.edges[0]) / (self.edges[-1] - self.edges[0])
        # a trace of an even spread, so that no bin is without any
        return (1 - 1e-6) * (whole[2:] - whole[0]) / max(whole[1] - whole[0], 1e-12) + 1e-6 * even

    def fit(self, shares: FloatArray, variance: float) -> tuple[float, tuple[float, float]]:
        """How badly it fits at best, and with which middle and spread."""
        from scipy.optimize import minimize

        places = self.scaled((self.edges[:-1] + self.edges[1:]) / 2)
        known = np.maximum(shares, 0) / np.maximum(shares, 0).sum()
        middle = float(known @ places)
        width = float(np.diff(self.scaled(self.edges)).min())
        spread = max(float(np.sqrt(known @ (places - middle) ** 2)), width / 2)

        def misfit(numbers: FloatArray) -> float:
            fitted = np.diff(self.below(self.edges, numbers[0], np.exp(numbers[1])))
            # a weak pull keeps what few bins leave open
            pull = ((numbers[0] - middle) / spread) ** 2 + (numbers[1] - np.log(spread)) ** 2
            return float(((shares - fitted) ** 2 / (variance + 1e-3 * fitted + 1e-7)).sum() + 0.02 * pull)

        found = minimize(misfit, [middle, np.log(spread)], method="Nelder-Mead", options={"maxiter": 300})
        return float(found.fun), (float(found.x[0]), float(np.exp(found.x[1])))


def _best(edges: FloatArray, shares: FloatArray, variance: float) -> tuple[_Family, tuple[float, float]]:
    """The family that fits the shares best, with its numbers."""
    first, last = edges[1] - edges[0], edges[-1] - edges[-2]
    tried = [_Family(edges, 0, 0.0)]
    tried += [_Family(edges, -1, pad * first) for pad in (0.25, 2.0)]
    tried += [_Family(edges, 1, pad * last) for pad in (0.25, 2.0)]
    if edges[0] > 0:
        tried.append(_Family(edges, -1, float(edges[0])))
    fitted = [(*family.fit(shares, variance), family) for family in tried]
    _, numbers, family = min(fitted, key=lambda one: one[0])
    return family, numbers


def denoised(edges: Sequence[float], shares: FloatArray, variance: float) -> FloatArray:
    """Shares of bins with less noise: drawn to the family that fits, and smoothed over neighbours against it.

    How much is chosen by Stein's unbiased estimate of the error, since the variance of the noise is known.
    """
    ends = np.asarray(edges, dtype=np.float64)
    if len(shares) < 3 or shares.max() <= 0:
        return nearest_shares(shares)
    family, numbers = _best(ends, shares, variance)
    base = np.maximum(np.diff(family.below(ends, *numbers)), 1e-4)
    base *= shares.sum() / base.sum()
    steps = np.diff(np.eye(len(base)), axis=0)
    held, best = shares, len(base) * variance  # no smoothing leaves the noise as it is
    for strength in STRENGTHS:
        # smooth ratios to the base, (base * ratio - shares)^2 + strength * base's mean^2 * differences^2
        pull = strength * float(base @ base) / len(base) * (steps.T @ steps)
        onto = base[:, None] * np.linalg.solve(np.diag(base**2) + pull, np.diag(base))
        smooth = onto @ shares
        risk = float(((shares - smooth) ** 2).sum()) + variance * (2 * float(np.trace(onto)) - len(base))
        if risk < best:
            held, best = smooth, risk
    return nearest_shares(held) * max(float(shares.sum()), 1e-9)


def nearest_shares(numbers: FloatArray) -> FloatArray:
    """The nearest shares that are not negative and add up to 1 (Duchi et al. 2008)."""
    total = numbers.sum()
    scaled = numbers / total if total > 0 else np.full(len(numbers), 1 / len(numbers))
    ordered = np.sort(scaled)[::-1]
    over = (np.cumsum(ordered) - 1) / np.arange(1, len(ordered) + 1)
    last = int(np.flatnonzero(ordered > over)[-1])
    return np.maximum(scaled - over[last], 0.0)


def curves(edges: Sequence[float], shares: FloatArray) -> tuple[tuple[float, ...], ...]:
    """Of each bin, where its PARTS of patients end, as parts of its width from 0 to 1; the ends are left out."""
    from scipy.interpolate import PchipInterpolator

    ends = np.asarray(edges, dtype=np.float64)
    shares = np.maximum(shares, 0) / max(np.maximum(shares, 0).sum(), 1e-12)
    if len(shares) < 2:
        return ()
    family, numbers = _best(ends, shares, 1e-8)
    below = family.below(ends, *numbers)
    bend = PchipInterpolator(below, np.concatenate([[0.0], np.cumsum(shares)]))
    found, inner = [], np.array(PARTS[1:-1])
    for low, high in pairwise(ends):
        places = np.linspace(0, 1, GRID)
        base = family.below(low + places * (high - low), *numbers)
        bent = np.maximum.accumulate(bend(base))
        curve = bent if bent[-1] - bent[0] > 1e-6 else base
        curve = (curve - curve[0]) / max(curve[-1] - curve[0], 1e-300)
        curve = 0.9999 * curve + 0.0001 * places  # strictly ascending
        found.append(tuple(round(float(x), 4) for x in np.interp(inner, curve, places)))
    return tuple(found)
