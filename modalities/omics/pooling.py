"""Noisy numbers of features, pooled within public groups of features and then shrunk, by empirical Bayes."""

import numpy as np

from ...core.types import FloatArray

SHARES = (0.02, 0.1, 0.3, 0.6, 0.9)  # of the variance that groups may explain
SCALES = (0.5, 1.0, 1.6)  # of the variance in all, about what the moments say


def shrunk(noisy: FloatArray, error: FloatArray, centre: float = 0.0) -> FloatArray:
    """Empirical Bayes: moved towards the centre, as far as noise of that standard deviation explains the spread."""
    wide = max(0.0, float(np.average((noisy - centre) ** 2 - error**2, weights=1 / error**2)))
    return np.asarray(centre + (noisy - centre) * wide / (wide + error**2))


def pooled(noisy: FloatArray, error: FloatArray, groups: FloatArray | None) -> FloatArray:
    """(feature,) numbers towards what their groups make one expect; towards their median without groups.

    `error` (feature,) is the standard deviation of the noise, `groups` (feature, group) as groups_of() gives them.
    """
    centre = float(np.median(noisy))
    if groups is None:
        return shrunk(noisy, error, centre)
    common = centre + by_groups(noisy - centre, error, groups)
    return common + shrunk(noisy - common, error)


def by_groups(noisy: FloatArray, error: FloatArray, groups: FloatArray) -> FloatArray:
    """(feature,) the part of the numbers that groups explain: posterior mean of a random effect a group.

    The variance of the effects and that of the features' own departures are those of a small grid under which the
    numbers are likeliest, so that groups which say nothing add nothing (Robinson 1991, doi:10.1214/ss/1177011926).
    """
    whole = max(1e-4, float(np.average(noisy**2 - error**2, weights=1 / error**2)))
    width, a_feature = groups.shape[1], groups.sum() / len(groups)
    best, found = -np.inf, np.zeros(len(noisy))
    for share in SHARES:
        for scale in SCALES:
            own = whole * scale * (1 - share) + error**2
            effect = whole * scale * share / a_feature
            rows = groups / np.sqrt(own)[:, None]
            precision = np.eye(width) / effect + rows.T @ rows
            against = rows.T @ (noisy / np.sqrt(own))
            mean = np.linalg.solve(precision, against)
            determinant = np.linalg.slogdet(precision)[1] + width * np.log(effect) + np.log(own).sum()
            likelihood = -0.5 * (determinant + (noisy**2 / own).sum() - against @ mean)
            if likelihood > best:
                best, found = float(likelihood), groups @ mean
    return found


def shrunk_together(noisy: FloatArray, error: FloatArray) -> FloatArray:
    """(feature, factor) numbers towards 0: the covariance of the loadings separates signal from noise."""
    precision = 1 / np.square(error).mean(1)
    precision /= precision.sum()
    square = (noisy * precision[:, None]).T @ noisy - np.diag(precision @ np.square(error))
    values, vectors = np.linalg.eigh(square)
    signal = (vectors * np.maximum(values, 1e-6)) @ vectors.T
    both = signal + np.square(error)[:, :, None] * np.eye(len(signal))
    return np.asarray(np.linalg.solve(both, noisy[:, :, None])[:, :, 0] @ signal)
