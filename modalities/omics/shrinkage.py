"""Shrinkage: many noisy numbers, each pulled in as far as its known noise explains their spread (empirical Bayes)."""

import numpy as np

from ...core.types import FloatArray


def shrunk(noisy: FloatArray, error: FloatArray, centre: float = 0.0) -> FloatArray:
    """Towards the centre, as far as noise of that standard deviation explains the spread."""
    wide = max(0.0, float(np.average((noisy - centre) ** 2 - error**2, weights=1 / error**2)))
    return np.asarray(centre + (noisy - centre) * wide / (wide + error**2))


def shrunk_together(noisy: FloatArray, error: FloatArray) -> FloatArray:
    """(feature, factor) numbers towards 0: what features load together tells signal from noise."""
    precision = 1 / np.square(error).mean(1)
    precision /= precision.sum()
    square = (noisy * precision[:, None]).T @ noisy - np.diag(precision @ np.square(error))
    values, vectors = np.linalg.eigh(square)
    signal = (vectors * np.maximum(values, 1e-6)) @ vectors.T
    both = signal + np.square(error)[:, :, None] * np.eye(len(signal))
    return np.asarray(np.linalg.solve(both, noisy[:, :, None])[:, :, 0] @ signal)
