"""Image features of two groups: Frechet and kernel distance, precision, recall, density, coverage (PRDC)."""

from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import cdist

from ...core.types import FloatArray
from .distances import gaussian_frechet, scatter

NEIGHBOURS = 5


@dataclass(frozen=True)
class Prdc:
    """Shares in [0, 1], density may pass 1; each is best where real against real is.

    precision: synthetic rows within the support of real ones; recall: real rows within that of synthetic
    ones (Kynkaanniemi et al. 2019). density, coverage: the same, robust to outliers (Naeem et al. 2020).
    """

    precision: float
    recall: float
    density: float
    coverage: float


def frechet(real: FloatArray, synthetic: FloatArray) -> float:
    """The FID of Heusel et al. 2017 in these features."""
    return gaussian_frechet(real.mean(0) - synthetic.mean(0), scatter(real), scatter(synthetic).T)


def kernel_distance(real: FloatArray, synthetic: FloatArray) -> float:
    """Squared maximum mean discrepancy, unbiased, cubic kernel: the KID of Binkowski et al. 2018."""
    from sklearn.metrics.pairwise import polynomial_kernel as kernel

    def within(a: FloatArray) -> float:
        k = kernel(a, a)
        return float((k.sum() - np.trace(k)) / (len(a) * (len(a) - 1)))

    return within(real) + within(synthetic) - 2 * float(kernel(real, synthetic).mean())


def prdc(real: FloatArray, synthetic: FloatArray, neighbours: int = NEIGHBOURS) -> Prdc:
    """Shares of each group that lie in the other's balls to the k-th neighbour."""
    between = cdist(synthetic, real)
    of_real = np.partition(cdist(real, real), neighbours, axis=1)[:, neighbours]
    of_synthetic = np.partition(cdist(synthetic, synthetic), neighbours, axis=1)[:, neighbours]
    inside = between <= of_real[None]
    return Prdc(
        float(inside.any(axis=1).mean()),
        float((between <= of_synthetic[:, None]).any(axis=0).mean()),
        float(inside.sum(axis=1).mean() / neighbours),
        float((between.min(axis=0) <= of_real).mean()),
    )
