"""Fit a junction tree to noisy marginals: the maximum-entropy distribution that agrees with them up to the noise."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np

from ...core.types import FloatArray
from .junction_tree import Columns, JunctionTree, marginal

# How far a logarithm may be moved by what noise leaves uncertain. 1 / (RIDGE * variance) plays the number of
# patients; between 100 and 3,000 the fit hardly changes, below 10 it follows the noise.
RIDGE = 1000.0


@dataclass(frozen=True)
class Measurement:
    """A marginal as measured: shares of patients with Gaussian noise of this variance on each."""

    shares: FloatArray
    variance: float


def fit(
    tree: JunctionTree,
    measured: Mapping[Columns, Measurement],
    start: Mapping[Columns, FloatArray],
    steps: int,
) -> dict[Columns, FloatArray]:
    """A log factor for each measured marginal; their product over the tree fits all marginals.

    Minimises log Z(t) - sum t*y + RIDGE * variance / 2 * sum t^2, the convex dual of maximum entropy under
    squared deviations from the measurements y (Dudik, Phillips and Schapire 2007), by L-BFGS.
    """
    from scipy.optimize import minimize

    keys = list(measured)
    shapes = [measured[key].shares.shape for key in keys]
    ends = np.cumsum([0, *(prod(shape) for shape in shapes)])
    cliques = [tree.clique_of(key) for key in keys]
    ridge = {key: RIDGE * measurement.variance for key, measurement in measured.items()}
    # a share's curvature is about itself: scaled by it, common and rare cells converge alike
    scale = np.concatenate(
        [
            1 / np.sqrt(np.maximum(measurement.shares, measurement.variance**0.5) + ridge[key]).ravel()
            for key, measurement in measured.items()
        ]
    )

    def factors(numbers: FloatArray) -> dict[Columns, FloatArray]:
        scaled = numbers * scale
        return {key: scaled[ends[k] : ends[k + 1]].reshape(shapes[k]) for k, key in enumerate(keys)}

    def objective(numbers: FloatArray) -> tuple[float, FloatArray]:
        current = factors(numbers)
        log_z, conditionals = tree.solve(tree.potentials(current))
        joint = tree.marginals(conditionals)
        value, slope = log_z, np.empty_like(numbers)
        for k, key in enumerate(keys):
            wanted, factor = measured[key].shares, current[key]
            model = marginal(joint[cliques[k]], tree.cliques[cliques[k]].columns, key)
            value += float(-(factor * wanted).sum() + ridge[key] / 2 * (factor**2).sum())
            slope[ends[k] : ends[k + 1]] = (model - wanted + ridge[key] * factor).ravel()
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
