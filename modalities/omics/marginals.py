"""Marginals: the map between a feature's values and normal scores."""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

from ...core.types import Float32Array, FloatArray

REACH = 3.25  # standard deviations that the grid of scores covers on either side
LEVELS = 66
GRID = np.linspace(-REACH, REACH, LEVELS)
NEVER = -9.0  # a score that no tumour has


@dataclass(frozen=True)
class Marginals:
    """Each feature's distribution, as the values that evenly spaced normal scores stand for.

    threshold (feature,): the score below which a feature is not detected (exact 0.0; what is not
    detected ranks lowest); quantiles (feature, level): the value at each score of GRID, rising.
    """

    threshold: Float32Array
    quantiles: Float32Array

    @classmethod
    def fit(cls, values: Float32Array) -> "Marginals":
        """Of (patient, feature) values; NaN is missing.

        A quantile is a mean over its step of the grid: of several patients, where there are many.
        """
        features = values.shape[1]
        threshold = np.full(features, NEVER, np.float32)
        quantiles = np.zeros((features, LEVELS), np.float32)
        fine = np.linspace(-REACH, REACH, LEVELS * 8)
        for k in range(features):
            known = values[~np.isnan(values[:, k]), k]
            seen = np.sort(known[known != 0]).astype(np.float64)
            share = 1 - len(seen) / max(1, len(known))
            if share > 0:
                threshold[k] = ndtri(share)
            if len(seen):
                place = ndtri(share + (1 - share) * (np.arange(len(seen)) + 0.5) / len(seen))
                quantiles[k] = np.interp(fine, place, seen).reshape(LEVELS, 8).mean(1)
        return cls(threshold, quantiles)

    @classmethod
    def normal(
        cls,
        location: FloatArray,
        spread: FloatArray,
        undetected: FloatArray,
        low: FloatArray,
        high: FloatArray,
    ) -> "Marginals":
        """(feature,) normal distributions, cut at `low` and `high`, with a share not detected."""
        lines = location[:, None] + spread[:, None] * GRID
        cut = np.clip(lines, low[:, None], high[:, None])
        threshold = np.where(undetected > 0, ndtri(np.maximum(undetected, 1e-6)), NEVER)
        return cls(threshold.astype(np.float32), cut.astype(np.float32))

    def of(self, place: slice) -> "Marginals":
        """Those of some features."""
        return Marginals(self.threshold[place], self.quantiles[place])

    def to_scores(self, values: Float32Array, rng: np.random.Generator) -> Float32Array:
        """(patient, feature) normal scores; what is not detected ranks lowest, in random order; NaN stays."""
        scores = np.empty(values.shape)
        for k in range(values.shape[1]):
            share = float(ndtr(self.threshold[k]))
            low = rng.uniform(0, max(share, 1e-6), size=len(values))
            place = np.interp(values[:, k], self.quantiles[k] + 1e-7 * GRID, GRID)
            scores[:, k] = np.where(values[:, k] == 0, ndtri(low), np.maximum(place, self.threshold[k]))
        scores[np.isnan(values)] = np.nan
        return np.clip(scores, -REACH, REACH).astype(np.float32)

    def to_values(self, scores: Float32Array) -> Float32Array:
        """Inverse of to_scores: (patient, feature) scores to values, 0.0 where not detected."""
        place = (np.clip(scores, -REACH, REACH) + np.float32(REACH)) * np.float32((LEVELS - 1) / (2 * REACH))
        low = np.minimum(place.astype(np.int32), LEVELS - 2)
        part = place - low
        low += np.arange(scores.shape[1], dtype=np.int32) * LEVELS
        flat = self.quantiles.ravel()
        under = flat[low]
        values = under + part * (flat[low + 1] - under)
        values[scores < self.threshold] = 0.0
        return values

    def calibrated(self, scores: Float32Array) -> "Marginals":
        """The map for a model with (draw, feature) scores that are not quite normal.

        Each score is first taken to the normal score of its rank among the model's draws, so that what
        the model writes has the data's marginals.
        """
        ranked = np.sort(scores.astype(np.float64), axis=0)
        normal = ndtri((np.arange(len(ranked)) + 0.5) / len(ranked))
        quantiles, threshold = np.empty_like(self.quantiles), self.threshold.copy()
        for k in range(ranked.shape[1]):
            scores_of = np.interp(GRID, ranked[:, k], normal)
            quantiles[k] = np.interp(scores_of, GRID, self.quantiles[k])
            if threshold[k] > -REACH:
                threshold[k] = np.interp(threshold[k], normal, ranked[:, k])
        return Marginals(threshold, quantiles)
