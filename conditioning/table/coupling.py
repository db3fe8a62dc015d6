"""Coupling: ranks of numbers within their bins that go together as the bins do.

A number's place within its bin is drawn by a Gaussian copula with one number before it, so that wide bins do not
weaken a correlation. The strength follows from the learnt counts of the bins: it costs nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...core.types import FloatArray, IntArray
from .junction_tree import Columns

WEAK, STRONG = 0.1, 0.95  # correlations below are left out, and above taken as this


@dataclass(frozen=True)
class Coupling:
    """A column of numbers, an earlier one that its places follow, and their normal-score correlation."""

    column: int
    parent: int
    correlation: float


@dataclass(frozen=True)
class Ranks:
    """Cumulative shares of a number's bins, from 0 to 1: its ranks are normal scores of these."""

    ends: FloatArray

    def scores(self, codes: IntArray, places: FloatArray) -> FloatArray:
        """Normal scores of values by bin and place in it; NaN where missing."""
        from scipy.special import ndtri

        known = np.minimum(codes, len(self.ends) - 2)
        rank = self.ends[known] + places * (self.ends[known + 1] - self.ends[known])
        return np.where(codes == known, ndtri(np.clip(rank, 1e-9, 1 - 1e-9)), np.nan)

    def coupled(
        self, low: FloatArray, high: FloatArray, places: FloatArray, parent: FloatArray, correlation: float
    ) -> FloatArray:
        """Places between two ranks, given the normal scores of the parent; as they are where that is missing."""
        from scipy.special import ndtr, ndtri

        a, b = (ndtri(np.clip(end, 1e-9, 1 - 1e-9)) for end in (low, high))
        middle, spread = correlation * np.nan_to_num(parent), np.sqrt(1 - correlation**2)
        below, above = ndtr((a - middle) / spread), ndtr((b - middle) / spread)
        score = middle + spread * ndtri(np.clip(below + places * (above - below), 1e-12, 1 - 1e-12))
        width = ndtr(b) - ndtr(a)
        moved = (ndtr(np.clip(score, a, b)) - ndtr(a)) / np.maximum(width, 1e-300)
        kept = np.isnan(parent) | (above - below < 1e-9) | (width < 1e-9)
        return np.where(kept, places, np.clip(moved, 0.0, np.nextafter(1.0, 0.0)))


def correlation_of(joint: FloatArray) -> float:
    """The normal-score correlation of two numbers by the shares of their bins' cells."""
    from scipy.stats import norm

    joint = np.maximum(joint, 0) / max(float(np.maximum(joint, 0).sum()), 1e-12)
    scores, kept = [], []
    for axis in (1, 0):
        share = joint.sum(axis=axis)
        ends = norm.pdf(norm.ppf(np.clip(np.concatenate([[0.0], np.cumsum(share)]), 0, 1)))
        mean = -np.diff(ends) / np.maximum(share, 1e-12)  # of a normal between two quantiles
        scores.append(mean)
        kept.append(float(share @ mean**2))
    if min(kept) < 0.05:
        return 0.0
    # grouping keeps the parts `kept` of the variances, and about their product of the covariance
    return float(np.clip(scores[0] @ joint @ scores[1] / (kept[0] * kept[1]), -STRONG, STRONG))


def couplings(
    order: Sequence[int], bins: Mapping[int, int], pairs: Mapping[Columns, FloatArray]
) -> tuple[Coupling, ...]:
    """For each number, in the order of draws, the earlier number that it goes with most.

    `pairs` are joint shares of every two columns (i < j), by level.
    """
    found: list[Coupling] = []
    drawn: list[int] = []
    for column in (c for c in order if c in bins):
        near = {}
        for other in drawn:
            joint = pairs[min(column, other), max(column, other)]
            joint = joint if column < other else joint.T
            near[other] = correlation_of(joint[: bins[column], : bins[other]])
        if near and abs(near[best := max(near, key=lambda c: abs(near[c]))]) >= WEAK:
            found.append(Coupling(column, best, round(near[best], 4)))
        drawn.append(column)
    return tuple(found)
