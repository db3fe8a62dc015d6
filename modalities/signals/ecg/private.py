"""The ECG morphology model under a budget: a public model adapted to a hospital by Gaussian mechanisms."""

import secrets
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ....core.dp.budget import PrivacyPlan, noise_for
from ....core.dp.dp_statistics import clip, denoised, sum_of_squares, symmetric_noise
from ....core.dp.ledger import pay
from ....core.training.fit import Fit
from ....core.types import Float32Array, FloatArray, IntArray
from .morphology import QUANTILES, MorphologyModel, as_correlation

MEAN_SHARE = 0.3  # of the budget, as squared signal
FIELDS_SHARE = 0.35  # of the rest, where fields are learnt that the public model does not know
MOMENTS = 0.5  # weight of the fields' own moments beside those with the scores
MEAN_NORM, SPREAD_NORM = (
    1.0,
    1.1,
)  # in sqrt(scores), the usual length of a public vector: where vectors are clipped
FIELDS_NORM = 1.3  # the same, of residuals that slopes are learnt from: fewer are cut
LEAST_VARIED = 0.02  # variance of a field's column, of which less is not told from none
LEAST, MOST = 0.3, 3.0  # of a score's public spread
FARTHEST = 2.0  # public spreads that a hospital's mean may be off


def one_each(patients: Sequence[str]) -> IntArray:
    """A random row of each patient: the unit is the patient, however many records one has."""
    order = np.random.default_rng(secrets.randbits(128)).permutation(len(patients))
    _, first = np.unique(np.asarray(patients)[order], return_index=True)
    return np.asarray(order[first], dtype=np.int64)


def adapt(
    model: MorphologyModel, scores: FloatArray, code: Float32Array, patients: Sequence[str], how: Fit,
    population: str, fresh: Sequence[int] = (),
) -> tuple[MorphologyModel, dict[str, Any]]:  # fmt: skip
    """The model of these patients' ECGs, and what the card must say of the cost.

    scores (record, score) and code (record, column) of records, one of which is taken a patient. Public are the axes of
    the scores, the regression on the profile, and the shape and spread of each residual. Learnt are the mean and the
    covariance of the residuals in units of that spread, clipped as vectors, and the rows of the regression at the
    columns `fresh`, which the public model does not know. Raises InputError when delta is not below 1
    over the number of patients; Refused when the ledger's limit would be passed.
    """
    budget = how.budget
    assert budget is not None
    first = one_each(patients)
    budget.check(len(first))
    shares = {"mean": MEAN_SHARE, "covariance": 1 - MEAN_SHARE}
    if fresh:
        shares = {what: share * (1 - FIELDS_SHARE) for what, share in shares.items()} | {
            "fields": FIELDS_SHARE
        }
    noise = dict(zip(shares, noise_for(budget, list(shares.values())), strict=True))
    plans = {
        f"signals, ecg {what}": PrivacyPlan.once(
            len(first), size, budget.delta, f"the {what} of morphology scores"
        )
        for what, size in noise.items()
    }
    spent = pay(how, plans, population)
    random = np.random.default_rng(secrets.randbits(128))
    low, middle, high = (model.quantiles[np.abs(QUANTILES - q).argmin()] for q in (0.16, 0.5, 0.84))
    spread = (high - low) / 2 + 1e-6
    expected = np.concatenate([code[first], np.ones((len(first), 1))], axis=1) @ model.regression
    unbiased = np.clip(scores[first] - model.bias, *model.limits)
    residuals = (unbiased - expected - middle) * np.sqrt(model.reliability) / spread
    size = residuals.shape[1]
    bound = MEAN_NORM * np.sqrt(size)
    mean = (
        (clip(residuals / bound).sum(0) + noise["mean"] * random.standard_normal(size)) * bound / len(first)
    )
    # what noise alone would come to (and four deviations of that) is taken off, after James and Stein (1961)
    alone = size * (noise["mean"] * bound / len(first)) ** 2 * (1 + 4 * np.sqrt(2 / size))
    mean = np.clip(mean * max(0.0, 1 - alone / float(mean @ mean)), -FARTHEST, FARTHEST)
    slopes = np.zeros((len(fresh), size))
    values = np.asarray(code[first][:, list(fresh)], dtype=np.float64)
    if fresh:
        reach = FIELDS_NORM * np.sqrt(size)
        slopes, usual = _slopes((residuals - mean) / reach, values, noise["fields"], random)
        slopes = np.clip(slopes * reach, -FARTHEST, FARTHEST)
        mean = mean - usual @ slopes
    residuals = residuals - values @ slopes
    bound = SPREAD_NORM * np.sqrt(size)
    squares = sum_of_squares((residuals - mean) / bound) + noise["covariance"] * symmetric_noise(size, random)
    unit = bound**2 / len(first)
    covariance = denoised(unit * squares, unit * noise["covariance"])
    deviation = np.sqrt(np.clip(np.diag(covariance), LEAST**2, MOST**2))  # noise can make a variance negative
    weight = len(first) / (len(first) + unit * noise["covariance"] * len(first) * np.sqrt(size))
    correlation = weight * covariance / np.outer(deviation, deviation)
    correlation = correlation + (1 - weight) * model.cholesky @ model.cholesky.T
    correlation = as_correlation((correlation + correlation.T) / 2)
    regression = model.regression.copy()
    regression[-1] += mean * spread / np.sqrt(model.reliability)
    regression[list(fresh)] += slopes * spread / np.sqrt(model.reliability)
    quantiles = middle + (model.quantiles - middle) * (1 + weight * (deviation - 1))
    cholesky = np.asarray(np.linalg.cholesky(correlation))
    return replace(model, regression=regression, quantiles=quantiles, cholesky=cholesky), spent


def _slopes(
    residuals: FloatArray, values: FloatArray, noise: float, random: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """(column, score) least-squares slopes of the residuals on the fields' values, and the (column,) mean of these.

    One noised sum a patient: residuals (patient, score) times values (patient, column), and the first two moments of
    the values, each clipped. Residuals have a mean near zero, since the released one was taken off, and a usual length
    of 1 / FIELDS_NORM. What noise and chance alone would come to is taken off each slope's squared length.
    """
    count, columns = values.shape
    size, reach = residuals.shape[1], np.sqrt(columns)
    vectors, known = clip(residuals), clip(values / reach)
    products = np.einsum("nc,ns->ncs", known, vectors).reshape(count, -1)
    squares = np.einsum("nc,nd->ncd", known, known).reshape(count, -1)
    released = np.concatenate([products, MOMENTS * squares, MOMENTS * known], axis=1).sum(0)
    released = released + noise * np.sqrt(1 + 2 * MOMENTS**2) * random.standard_normal(len(released))
    cross, second, first = np.split(released / count, [columns * size, columns * (size + columns)])
    usual = reach * first / MOMENTS
    second = reach**2 * second.reshape(columns, columns) / MOMENTS - np.outer(usual, usual)
    error = noise * np.sqrt(1 + 2 * MOMENTS**2) * reach / count  # of an entry of `cross`
    varied, axes = np.linalg.eigh((second + second.T) / 2)
    varied = np.maximum(varied, LEAST_VARIED + reach * error / MOMENTS)
    inverse = (axes / varied) @ axes.T
    slopes = inverse @ (reach * cross.reshape(columns, size))
    chance = np.diag(inverse) / count / FIELDS_NORM**2
    alone = np.square(error) * np.square(inverse).sum(1) * size + chance
    found = np.square(slopes).sum(1)
    # the length is that of a slope without them, since it is what sets drawn patients with the field apart
    return slopes * np.sqrt(np.maximum(0, 1 - alone / np.maximum(found, 1e-12)))[:, None], usual
