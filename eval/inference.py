"""Intervals over several synthetic sets that count what privacy and sampling leave open.

For sets that were drawn each from a draw of the model's parameters (conditioning/table/posterior.py). One set alone,
or several from the same parameters, give intervals that are too narrow.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..core.errors import InputError
from ..core.types import FloatArray
from .regression import Estimates, interval_table

if TYPE_CHECKING:
    import pandas as pd

FEWEST_SETS = 3


@dataclass(frozen=True)
class Combined:
    """What m synthetic sets say together, by term: estimates, standard errors, and degrees of freedom."""

    terms: tuple[str, ...]
    values: FloatArray
    errors: FloatArray
    freedom: FloatArray
    sets: int

    def intervals(self, level: float = 0.95) -> "pd.DataFrame":
        """One row a term: estimate, standard error, degrees of freedom, low, high, and the two-sided p."""
        return interval_table(self.terms, self.values, self.errors, self.freedom, level)


def combine(found: Sequence[Estimates], patients: int | None = None) -> Combined:
    """Estimates of m synthetic sets as one, by the rules of Raghunathan, Reiter and Rubin (2003) for synthetic data.

    The variance is (1 + 1/m) b - v: b between the sets, v within, which b holds once too often, since each set is
    a sample. It is never taken below that of `patients` real rows (by default, as many as a set has), which can
    happen by chance with few sets (Reiter 2002). Degrees of freedom: (m - 1) (1 - v / ((1 + 1/m) b))^2.
    Raises InputError for fewer than three sets, or sets whose terms differ.
    """
    m = len(found)
    if m < FEWEST_SETS:
        raise InputError(f"combine: expected {FEWEST_SETS} sets or more, got {m}; draw about 20")
    terms = found[0].terms
    for one in found:
        if one.terms != terms:
            raise InputError(
                f"combine: a set has the terms {', '.join(one.terms)}, the first {', '.join(terms)}"
            )
    values = np.array([one.values for one in found])
    within = np.mean([one.variances for one in found], axis=0)
    between = (1 + 1 / m) * values.var(axis=0, ddof=1)
    rows = float(np.mean([one.rows for one in found]))
    least = within * rows / (patients or rows)
    total = np.maximum(between - within, least)
    part = np.clip(1 - within / np.maximum(between, 1e-300), 0.0, 1.0)
    # where the floor holds, its variance is known from all rows, and b is not what the width rests on
    freedom = np.where(between - within > least, np.maximum((m - 1) * part**2, 1.0), m - 1)
    return Combined(terms, values.mean(axis=0), np.sqrt(total), freedom, m)
