"""Measures of drawn genotypes: allele frequencies, Hardy-Weinberg equilibrium, linkage, odds ratios."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...core.types import AnyArray, FloatArray

MANY = 50  # alleles in each cell, from which on the exact interval is slow and Woolf's is the same


@dataclass(frozen=True)
class OddsRatio:
    """Of one allele, with the 95 % interval; NaN where a cell is empty."""

    ratio: float
    low: float
    high: float


def frequency(calls: AnyArray) -> float:
    """Share of ALT among the called alleles of (patient, haplotype); NaN where none is called."""
    called = calls[calls >= 0]
    return float(called.mean()) if len(called) else math.nan


def hardy_weinberg(calls: AnyArray) -> float:
    """Two-sided exact p of Hardy-Weinberg equilibrium of (patient, haplotype) calls.

    Patients with one or no allele do not count. Wigginton et al., Am J Hum Genet 2005;76:887.
    """
    both = calls[(calls >= 0).all(axis=1)].sum(axis=1)
    heterozygous, rare = int((both == 1).sum()), int(both.sum())
    total = len(both)
    rare = min(rare, 2 * total - rare)
    if rare == 0:
        return 1.0
    # P(h heterozygous) is proportional to 2^h / (h! a! b!), with a and b the two homozygous counts
    h = np.arange(rare % 2, rare + 1, 2)
    few, many = (rare - h) // 2, total - (rare + h) // 2
    logs = h * math.log(2) - sum(np.vectorize(math.lgamma)(count + 1.0) for count in (h, few, many))
    shares = np.exp(logs - logs.max())
    shares /= shares.sum()
    own = shares[h == heterozygous][0]
    return float(min(1.0, shares[shares <= own * (1 + 1e-9)].sum()))


def r_squared(one: AnyArray, other: AnyArray) -> float:
    """Squared correlation of the alleles of two sites over haplotypes, each (patient, haplotype) and phased."""
    there = (one >= 0) & (other >= 0)
    a, b = one[there], other[there]
    return float(np.corrcoef(a, b)[0, 1] ** 2) if a.std() and b.std() else math.nan


def expected_r_squared(shares: FloatArray, one: AnyArray, other: AnyArray) -> float:
    """The same by haplotype frequencies (haplotype,) and which of them carry either ALT."""
    a, b, both = float(shares @ one), float(shares @ other), float(shares @ (one * other))
    return (both - a * b) ** 2 / (a * (1 - a) * b * (1 - b))


def odds_ratio(calls: AnyArray, affected: AnyArray, level: float = 0.95) -> OddsRatio:
    """Allelic odds ratio of ALT: (patient, haplotype) calls, (patient,) who is affected.

    The interval is exact and conditional; it is Woolf's where every cell has MANY.
    """
    from scipy.stats.contingency import odds_ratio as of_table

    sick, well = calls[affected], calls[~affected]
    table = [[int((side == allele).sum()) for allele in (1, 0)] for side in (sick, well)]
    if min(map(min, table)) == 0:
        return OddsRatio(math.nan, 0.0, math.inf)
    kind = "sample" if min(map(min, table)) >= MANY else "conditional"
    found = of_table(table, kind=kind)
    bounds = found.confidence_interval(level)
    return OddsRatio(float(found.statistic), float(bounds.low), float(bounds.high))


def carriers(calls: Sequence[AnyArray]) -> AnyArray:
    """(patient,) who has ALT at any of these sites, each (patient, haplotype)."""
    return np.any([(site == 1).any(axis=1) for site in calls], axis=0)
