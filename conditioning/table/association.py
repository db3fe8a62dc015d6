"""Associations: one number for each pair of features of two columns, all pairs in one Gaussian mechanism.

For tables with few patients: a pair's counts have a cell for each two levels, and noise in each; its association has
one number for two numbers or flags. A column's features are its normal score (numbers) or its centred, scaled
indicators (words), each patient's clipped together to a norm. Their mean products fit a log-linear model with
linear-by-linear terms (Agresti 2010, section 6), which for numbers is close to a Gaussian copula.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from math import prod, sqrt

import numpy as np

from ...core.types import FloatArray, IntArray
from .estimation import Measurement
from .junction_tree import Columns, total_cells, triangulated

RARE = 0.1  # an indicator of a level rarer than so is scaled as if it had this share
FAR = 2.5  # standard deviations to which a normal score may go
CLEAR = 1.5  # standard deviations of noise over which an association is modelled
CELLS = 100_000  # numbers that the model may hold
CLIPPED = 0.99  # share of patients whose features would not be clipped if columns were independent


def features(shares: FloatArray, bins: int) -> FloatArray:
    """What is known of a level, (level, feature), with mean 0 under these shares.

    The first `bins` levels are those of a number.
    """
    from scipy.special import ndtri

    shares = np.maximum(shares, 1e-6) / np.maximum(shares, 1e-6).sum()
    found = []
    if bins > 1:
        known = shares[:bins] / shares[:bins].sum()
        score = np.clip(ndtri(np.clip(np.cumsum(known) - known / 2, 1e-6, 1 - 1e-6)), -FAR, FAR)
        score = (score - known @ score) / max(sqrt(known @ (score - known @ score) ** 2), 1e-3)
        found.append(np.concatenate([score, np.zeros(len(shares) - bins)]))
    words = range(bins if bins > 1 else 0, len(shares))
    for level in list(words)[1:] if len(words) == 2 and bins <= 1 else words:  # one of two levels says both
        spread = max(shares[level] * (1 - shares[level]), RARE * (1 - RARE))
        found.append((np.arange(len(shares)) == level) / sqrt(spread) - shares[level] / sqrt(spread))
    return np.stack(found, axis=1) if found else np.zeros((len(shares), 0))


def measure(
    codes: IntArray,
    bases: Sequence[FloatArray],
    shares: Sequence[FloatArray],
    noise_multiplier: float,
    rng: np.random.Generator,
) -> dict[Columns, Measurement]:
    """Mean products of the features of every two columns, by one Gaussian mechanism on all patients.

    A patient's features are clipped to the norm c, so the sum over patients of the products of different columns
    has sensitivity c^2 / sqrt(2). The norm is chosen by the columns' (noisy) shares alone.
    """
    patients, norm = len(codes), _norm(bases, shares)
    rows = np.concatenate([basis[codes[:, k]] for k, basis in enumerate(bases)], axis=1)
    rows *= np.minimum(1.0, norm / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))
    products = rows.T @ rows
    noise = noise_multiplier * norm**2 / sqrt(2)
    ends = np.cumsum([0, *(basis.shape[1] for basis in bases)])
    found: dict[Columns, Measurement] = {}
    for i, j in combinations(range(len(bases)), 2):
        block = products[ends[i] : ends[i + 1], ends[j] : ends[j + 1]]
        if block.size:
            drawn = (block + rng.normal(0, noise, block.shape)) / patients
            variance = (noise / patients) ** 2 + 1 / patients
            found[i, j] = Measurement(drawn, variance, (bases[i], bases[j]))
    return found


def _norm(bases: Sequence[FloatArray], shares: Sequence[FloatArray]) -> float:
    """What CLIPPED of the patients would keep to if columns were independent, by the sum's mean and deviation."""
    mean = spread = 0.0
    for basis, share in zip(bases, shares, strict=True):
        squares, known = (basis**2).sum(axis=1), np.maximum(share, 0) / np.maximum(share, 0).sum()
        mean += float(known @ squares)
        spread += float(known @ (squares - known @ squares) ** 2)
    from scipy.special import ndtri

    return sqrt(max(mean + float(ndtri(CLIPPED)) * sqrt(spread), 1e-6))


def clear_pairs(
    found: Mapping[Columns, Measurement], sizes: Sequence[int], held: Sequence[Columns] = ()
) -> dict[Columns, Measurement]:
    """Pairs whose association stands out of the noise, the strongest first, while the junction tree stays small.

    Each is drawn towards 0 by the part of its square that noise would make (James and Stein 1961). `held` are groups
    that the tree holds already.
    """
    excess = {}
    for pair, one in found.items():
        chance = one.variance * (one.shares.size + CLEAR * sqrt(2 * one.shares.size))
        if (total := float((one.shares**2).sum())) > chance:
            excess[pair] = total - one.variance * one.shares.size
    chosen: dict[Columns, Measurement] = {}
    for pair in sorted(excess, key=lambda p: -excess[p]):
        if prod(sizes[c] for c in pair) <= CELLS and (
            total_cells(sizes, triangulated(sizes, [*held, *chosen, pair])) <= CELLS
        ):
            one = found[pair]
            kept = excess[pair] / float((one.shares**2).sum())
            chosen[pair] = replace(one, shares=kept * one.shares)
    return chosen
