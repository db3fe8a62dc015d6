"""Regressions on a table: linear, logistic and Cox, with what an interval needs; one table, real or synthetic."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..core.errors import InputError, listed
from ..core.types import BoolArray, FloatArray, IntArray

if TYPE_CHECKING:
    import pandas as pd

STEPS, CLOSE = 50, 1e-9  # of Newton's method, and the step after which it has arrived
WORST = 1e12  # condition of the terms' products beyond which one says what others say


@dataclass(frozen=True)
class Estimates:
    """What one regression on one table found, by term: values and their squared standard errors; from so many rows."""

    terms: tuple[str, ...]
    values: FloatArray
    variances: FloatArray
    rows: int

    def intervals(self, level: float = 0.95) -> "pd.DataFrame":
        """Those of this table alone. Of a synthetic table they are naive: they count none of the model's error."""
        return interval_table(
            self.terms, self.values, np.sqrt(self.variances), np.full(len(self.terms), np.inf), level
        )


def interval_table(
    terms: Sequence[str], values: FloatArray, errors: FloatArray, freedom: FloatArray, level: float
) -> "pd.DataFrame":
    """One row a term: estimate, standard error, degrees of freedom, low, high, two-sided p (Student's t)."""
    import pandas as pd
    from scipy.stats import t

    if not 0 < level < 1:
        raise InputError(f"level must be between 0 and 1, got {level:g}")
    reach = t.ppf((1 + level) / 2, freedom) * errors
    z = np.abs(values) / np.maximum(errors, 1e-300)
    return pd.DataFrame(
        {"estimate": values, "error": errors, "freedom": freedom, "low": values - reach, "high": values + reach,
         "p": 2 * t.sf(z, freedom)}, index=pd.Index(terms, name="term"),
    )  # fmt: skip


def linear(table: "pd.DataFrame", outcome: str, terms: Sequence[str]) -> Estimates:
    """Least squares with an intercept; variances hold under unequal spread (HC1, MacKinnon and White 1985)."""
    y, x = _numbers(table, outcome), _design(table, terms)
    bread = np.linalg.inv(x.T @ x)
    values = bread @ (x.T @ y)
    scores = x * (y - x @ values)[:, None]
    rows, width = x.shape
    variances = np.diag(bread @ (scores.T @ scores) @ bread) * rows / max(rows - width, 1)
    return Estimates(tuple(terms), values[1:], variances[1:], rows)


def ipw(table: "pd.DataFrame", outcome: str, treatment: str, terms: Sequence[str]) -> Estimates:
    """The mean difference that a treatment (0 or 1) makes, by inverse probability weighting over terms.

    Weights of each arm add up to 1 (Hajek); its variance takes them as known, which is too wide rather than too narrow
    (Lunceford and Davidian 2004).
    """
    y, arm, x = _numbers(table, outcome), _numbers(table, treatment), _design(table, terms)
    beta = _logistic(arm, x, f"ipw: {treatment}")[0]
    chance = 1 / (1 + np.exp(-(x @ beta)))
    value = variance = 0.0
    for sign, weight in ((1, arm / chance), (-1, (1 - arm) / (1 - chance))):
        weight = weight / weight.sum()
        mean = float(weight @ y)
        value += sign * mean
        variance += float(weight**2 @ (y - mean) ** 2)
    return Estimates((treatment,), np.array([value]), np.array([variance]), len(y))


def logistic(table: "pd.DataFrame", outcome: str, terms: Sequence[str]) -> Estimates:
    """Log odds ratios of an outcome of 0 and 1, by maximum likelihood with an intercept."""
    values, variances = _logistic(_numbers(table, outcome), _design(table, terms), f"logistic: {outcome}")
    return Estimates(tuple(terms), values[1:], variances[1:], len(table))


def _logistic(y: FloatArray, x: FloatArray, where: str) -> tuple[FloatArray, FloatArray]:
    if not np.isin(y, (0.0, 1.0)).all() or y.min() == y.max():
        raise InputError(f"{where} must hold both 0 and 1, and nothing else")

    def step(beta: FloatArray) -> tuple[FloatArray, FloatArray]:
        p = 1 / (1 + np.exp(-np.clip(x @ beta, -500, 500)))
        return x.T @ (y - p), (x * (p * (1 - p))[:, None]).T @ x

    start = np.zeros(x.shape[1])
    start[0] = np.log(y.mean() / (1 - y.mean()))
    return _newton(step, start, where)


def cox(table: "pd.DataFrame", time: str, event: str, terms: Sequence[str]) -> Estimates:
    """Log hazard ratios by the partial likelihood, ties by Efron (1977); `event` is 1, or 0 where censored."""
    at, happened = _numbers(table, time), _numbers(table, event)
    if not np.isin(happened, (0.0, 1.0)).all() or not happened.any():
        raise InputError(f"cox: {event} must be 0 or 1, and 1 at least once")
    x = _design(table, terms)[:, 1:]
    order = np.argsort(-at, kind="stable")  # the longest first, so that who is at risk adds up
    at, died, x = at[order], happened[order] > 0, x[order]
    lasts = np.flatnonzero(np.append(at[1:] != at[:-1], True))

    def step(beta: FloatArray) -> tuple[FloatArray, FloatArray]:
        return _efron(x, died, lasts, beta)

    values, variances = _newton(step, np.zeros(x.shape[1]), f"cox: {time}")
    return Estimates(tuple(terms), values, variances, len(at))


def _efron(
    x: FloatArray, died: BoolArray, lasts: IntArray, beta: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Score and information; rows by descending time, `lasts` where each distinct time's rows end."""
    linear_part = x @ beta
    risk = np.exp(linear_part - linear_part.max())
    width = x.shape[1]
    slope, curve = np.zeros(width), np.zeros((width, width))
    total, first, second = 0.0, np.zeros(width), np.zeros((width, width))
    begin = 0
    for last in lasts:
        own = slice(begin, last + 1)
        begin, r, z = last + 1, risk[own], x[own]
        total, first, second = total + r.sum(), first + r @ z, second + (z * r[:, None]).T @ z
        dead = died[own]
        if not (count := int(dead.sum())):
            continue
        r, z = r[dead], z[dead]
        tied = r.sum(), r @ z, (z * r[:, None]).T @ z
        slope += z.sum(axis=0)
        part = np.arange(count) / count
        s0 = total - part * tied[0]  # (death,)
        s1 = first - part[:, None] * tied[1]
        slope -= (s1 / s0[:, None]).sum(axis=0)
        curve += second * (1 / s0).sum() - tied[2] * (part / s0).sum()
        curve -= (s1 / s0[:, None]).T @ (s1 / s0[:, None])
    return slope, curve


def _newton(
    step: Callable[[FloatArray], tuple[FloatArray, FloatArray]], start: FloatArray, where: str
) -> tuple[FloatArray, FloatArray]:
    """The root of a score with its information, and the variances there. Raises InputError if it runs away."""
    beta = start
    for _ in range(STEPS):
        score, information = step(beta)
        if not np.isfinite(information).all() or np.linalg.cond(information) > WORST:
            break
        move = np.linalg.solve(information, score)
        move *= min(1.0, 5.0 / max(float(np.abs(move).max()), 1e-300))
        beta = beta + move
        if np.abs(move).max() < CLOSE * max(1.0, float(np.abs(beta).max())):
            return beta, np.diag(np.linalg.inv(step(beta)[1]))
    raise InputError(
        f"{where}: no estimate; a term, or several together, tell the outcomes apart without error: leave it out"
    )


def _numbers(table: "pd.DataFrame", name: str) -> FloatArray:
    if name not in table:
        raise InputError(f"no column {name!r}; the table has: {listed([str(c) for c in table.columns])}")
    try:
        found = np.asarray(table[name], dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{name}: expected numbers; make words into columns of 0 and 1 first") from None
    if not np.isfinite(found).all():
        raise InputError(
            f"{name}: {int((~np.isfinite(found)).sum())} empty cells; leave those rows out, or fill them"
        )
    return found


def _design(table: "pd.DataFrame", terms: Sequence[str]) -> FloatArray:
    """(row, 1 + term): an intercept, then the terms. Raises InputError where one follows from others."""
    x = np.column_stack([np.ones(len(table)), *(_numbers(table, name) for name in terms)])
    scaled = x / np.maximum(np.sqrt((x**2).mean(axis=0)), 1e-300)
    if len(x) <= x.shape[1] or np.linalg.cond(scaled.T @ scaled) > WORST:
        raise InputError(
            f"{', '.join(terms)}: {len(x)} rows do not say them apart; a term is constant or follows from others"
        )
    return x
