"""Posterior: draws of what a private table leaves open, and the synthetic sets that follow from each.

What was released are moments of the patients with Gaussian noise of known size. The patients themselves are a sample.
Given the noisy moments, those of the population are therefore about normal around them, with the variance of the
noise and that of a sample of so many patients (Raisa et al. 2023, with a flat prior). Each draw of them is put into
the table's model by exponential tilting: of all distributions with these moments, the one nearest to the model.
Nothing here sees a patient, so it costs no budget.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ...core.errors import InputError
from ...core.types import AnyArray, Float32Array, FloatArray, IntArray
from .table_model import TableModel

if TYPE_CHECKING:
    import pandas as pd

POOL = 20_000  # rows of the model that are weighted at least
STEPS = 150  # of a fit
NEAR = 0.2  # a fit is done where its moments are off by such a part of their uncertainty
RIDGE = 0.003  # how far a parameter is held back; 1 is a feature's own variance
LEAST_EFFECTIVE = 0.005  # share of the pool that must count, by Kish; below, the moments contradict the model


@dataclass(frozen=True)
class _Pool:
    """Rows of the model, and their features, (row, 1 + feature)."""

    values: dict[str, AnyArray]
    rows: Float32Array


class Posterior:
    """Draws of a table's parameters given its noisy moments. Raises InputError for a table learnt without them."""

    def __init__(self, model: TableModel, where: str = "table") -> None:
        if model.moments is None:
            raise InputError(
                f"{where}: was learnt without what inference needs; train it again with `inference: {{}}` under "
                "options of dataset.yaml"
            )
        self.model, self.moments = model, model.moments
        self._upper = np.nonzero(self.moments.told(model.columns))
        self._target = self.moments.products[self._upper]
        diagonal = self._upper[0] == self._upper[1]
        self._noise = self.moments.noise * np.where(diagonal, np.sqrt(2), 1.0)

    def sets(self, number: int, seed: int, rows: int | None = None) -> Iterator["pd.DataFrame"]:
        """Synthetic sets, each from a draw of the parameters of its own; as many rows as there were patients.

        Set k is the same whatever `number` is. Raises InputError.
        """
        if number < 1 or (rows is not None and rows < 1):
            raise InputError(f"expected a number of sets and of rows over 0, got {number} and {rows}")
        return (self.set(k, seed, rows) for k in range(number))

    def set(self, k: int, seed: int, rows: int | None = None) -> "pd.DataFrame":
        """Set k of a seed."""
        import pandas as pd

        rng = np.random.default_rng([seed % 2**64, 1 + k])
        wanted = rows or self.moments.patients
        pool, weights, numbers = self._centre
        # what a sample of so many patients is off by, then the noise, as both were when the table was learnt
        sample = _resampled(weights, self.moments.patients, rng)
        counts = np.bincount(sample, minlength=len(weights)) / len(sample)
        chance = self._products(pool.rows, counts - weights)
        target = self._target + chance + self._noise * rng.standard_normal(len(self._noise))
        pool = self._pool(max(POOL, wanted), rng)
        own, _ = self._tilted(pool, target, numbers)
        chosen = _resampled(own, wanted, rng)
        return pd.DataFrame({name: values[chosen] for name, values in pool.values.items()})

    @cached_property
    def _centre(self) -> tuple[_Pool, FloatArray, FloatArray]:
        """A pool at the moments as they were released, its weights, and the parameters."""
        pool = self._pool(max(POOL, self.moments.patients), np.random.default_rng(0))
        weights, numbers = self._tilted(pool, self._target, np.zeros(len(self._target)))
        return pool, weights, numbers

    def _pool(self, rows: int, rng: np.random.Generator) -> _Pool:
        model = self.model
        values = model.values(model.given(), rng.random((rows, len(model.columns))))
        return _Pool(values, self.moments.rows(model.columns, values))

    def _products(self, rows: Float32Array, weights: FloatArray) -> FloatArray:
        """Weighted sums of the products that are told."""
        return ((rows * weights[:, None].astype(np.float32)).T @ rows)[self._upper].astype(np.float64)

    def _tilted(self, pool: _Pool, target: FloatArray, start: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Weights of the pool's rows under which they have these moments, and the parameters.

        Minimises log Z(t) - t . target + RIDGE / 2 * |t|^2, the dual of least relative entropy. Raises InputError.
        """
        from scipy.optimize import minimize

        rows, size = pool.rows, pool.rows.shape[1]

        def weights(numbers: FloatArray) -> tuple[float, FloatArray]:
            matrix = np.zeros((size, size), dtype=np.float32)
            matrix[self._upper] = numbers
            logs = np.einsum("ij,ij->i", rows @ matrix, rows).astype(np.float64)
            top = float(logs.max())
            found = np.exp(logs - top)
            total = float(found.sum())
            return top + np.log(total / len(rows)), found / total

        def objective(numbers: FloatArray) -> tuple[float, FloatArray]:
            log_z, own = weights(numbers)
            slope = self._products(rows, own) - target + RIDGE * numbers
            return log_z - float(numbers @ target) + RIDGE / 2 * float(numbers @ numbers), slope

        close = NEAR * self.moments.patients**-0.5
        found = minimize(
            objective, start, jac=True, method="L-BFGS-B",
            options={"maxiter": STEPS, "maxcor": 20, "gtol": close, "ftol": 1e-9},
        )  # fmt: skip
        own = weights(found.x)[1]
        if (effective := 1 / float((own**2).sum()) / len(own)) < LEAST_EFFECTIVE:
            raise InputError(
                f"the noise on the moments is too large for {self.moments.patients} patients ({effective:.2%} of the "
                "model's rows fit them); raise epsilon, or learn fewer columns"
            )
        return own, found.x


def _resampled(weights: FloatArray, rows: int, rng: np.random.Generator) -> IntArray:
    """Places of rows drawn with these weights."""
    return np.searchsorted(np.cumsum(weights), rng.random(rows) * weights.sum(), "right").clip(
        max=len(weights) - 1
    )
