"""Fit a junction tree to noisy marginals: the maximum-entropy distribution that agrees with them up to the noise."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from types import MappingProxyType

import numpy as np

from ...core.types import FloatArray
from .junction_tree import Columns, JunctionTree, marginal

# How far a logarithm may be moved by what noise leaves uncertain. 1 / (RIDGE * variance) plays the number of
# patients; between 100 and 3,000 the fit hardly changes, below 10 it follows the noise.
RIDGE = 1000.0
ASSOCIATION_RIDGE = (
    15.0  # the same for associations, which are drawn to 0 before; times the root of their number
)


def together(
    factors: Mapping[Columns, FloatArray], fixed: Mapping[Columns, FloatArray]
) -> dict[Columns, FloatArray]:
    """The log factors with fixed ones added."""
    return {**fixed, **{key: factor + fixed.get(key, 0.0) for key, factor in factors.items()}}


@dataclass(frozen=True)
class Measurement:
    """A marginal as measured: shares of patients with Gaussian noise of this variance on each.

    With `bases`, (level, feature) of two columns, it is the mean products of their features instead. `prior` is the
    log factor that noise draws it to, 0 by default.
    """

    shares: FloatArray
    variance: float
    bases: tuple[FloatArray, FloatArray] | None = None
    prior: FloatArray | None = None

    @property
    def ridge(self) -> float:
        """How much noise holds a factor back."""
        if self.bases is None:
            return RIDGE * self.variance
        return ASSOCIATION_RIDGE * self.shares.size**0.5 * self.variance

    def factor(self, numbers: FloatArray) -> FloatArray:
        """The log factor on the columns' levels that these parameters mean."""
        return numbers if self.bases is None else self.bases[0] @ numbers @ self.bases[1].T

    def expected(self, model: FloatArray) -> FloatArray:
        """What would be measured if the model's marginal were true."""
        return model if self.bases is None else self.bases[0].T @ model @ self.bases[1]


def fit(
    tree: JunctionTree,
    measured: Mapping[Columns, Measurement],
    start: Mapping[Columns, FloatArray],
    steps: int,
    fixed: Mapping[Columns, FloatArray] = MappingProxyType({}),
) -> dict[Columns, FloatArray]:
    """A log factor for each measured marginal; their product over the tree fits all marginals.

    `start` are parameters to begin from: log factors, or those of associations. `fixed` are log factors that stay.

    Minimises log Z(t) - sum t*y + RIDGE * variance / 2 * sum t^2, the convex dual of maximum entropy under
    squared deviations from the measurements y (Dudik, Phillips and Schapire 2007), by L-BFGS; t^2 is (t - prior)^2.
    """
    from scipy.optimize import minimize

    keys = list(measured)
    shapes = [measured[key].shares.shape for key in keys]
    ends = np.cumsum([0, *(prod(shape) for shape in shapes)])
    cliques = [tree.clique_of(key) for key in keys]
    ridge = {key: measurement.ridge for key, measurement in measured.items()}
    # a share's curvature is about itself: scaled by it, common and rare cells converge alike
    scale = np.concatenate(
        [
            1 / np.sqrt(np.maximum(measurement.shares, measurement.variance**0.5) + ridge[key]).ravel()
            if measurement.bases is None
            else np.ones(measurement.shares.size)
            for key, measurement in measured.items()
        ]
    )

    def factors(numbers: FloatArray) -> dict[Columns, FloatArray]:
        scaled = numbers * scale
        return {key: scaled[ends[k] : ends[k + 1]].reshape(shapes[k]) for k, key in enumerate(keys)}

    def objective(numbers: FloatArray) -> tuple[float, FloatArray]:
        current = factors(numbers)
        log_z, conditionals = tree.solve(
            tree.potentials(
                together({key: measured[key].factor(numbers) for key, numbers in current.items()}, fixed)
            )
        )
        joint = tree.marginals(conditionals)
        value, slope = log_z, np.empty_like(numbers)
        for k, key in enumerate(keys):
            wanted, factor = measured[key].shares, current[key]
            model = marginal(joint[cliques[k]], tree.cliques[cliques[k]].columns, key)
            prior = measured[key].prior
            away = factor if prior is None else factor - prior
            value += float(-(factor * wanted).sum() + ridge[key] / 2 * (away**2).sum())
            expected = measured[key].expected(model)
            slope[ends[k] : ends[k + 1]] = (expected - wanted + ridge[key] * away).ravel()
        return value, slope * scale

    first = np.concatenate([start.get(key, np.zeros(shapes[k])).ravel() for k, key in enumerate(keys)])
    found = minimize(
        objective,
        first / scale,
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": steps, "maxcor": 20, "ftol": 1e-9, "gtol": 1e-6},
    )
    return factors(found.x)
