"""Sums that one patient moves by no more than 1, and what is left of a covariance under their noise."""

import numpy as np

from ..types import FloatArray


def sum_of_squares(rows: FloatArray) -> FloatArray:
    """(number, number): products of clipped rows, summed; one row moves it by 1 at most."""
    clipped = clip(rows)
    return np.asarray(clipped.T @ clipped)


def clip(rows: FloatArray) -> FloatArray:
    """(row, number) with no row longer than 1."""
    return rows / np.maximum(1.0, np.linalg.norm(rows, axis=1, keepdims=True))


def symmetric_noise(size: int, random: np.random.Generator) -> FloatArray:
    """(size, size) noise of a symmetric matrix whose Frobenius norm is the sensitivity.

    Off-diagonal entries appear twice in that norm, so each needs only 1 / sqrt(2) of the noise.
    """
    upper = np.triu(random.standard_normal((size, size)), 1) / np.sqrt(2)
    return upper + upper.T + np.diag(random.standard_normal(size))


def denoised(covariance: FloatArray, noise: float) -> FloatArray:
    """A covariance less symmetric noise, whose standard deviation on the diagonal is `noise`.

    What is beside the diagonal is shrunk: noise alone has eigenvalues up to the edge of Wigner's
    semicircle, sqrt(2 size) times the noise, and adds to a true one in squares.
    """
    diagonal = np.diag(np.maximum(np.diag(covariance), noise))
    return np.asarray(diagonal + shrunk(covariance - diagonal, noise))


def shrunk(difference: FloatArray, noise: float) -> FloatArray:
    """A symmetric matrix near zero, less symmetric noise: eigenvalues within the edge of Wigner's semicircle go."""
    scale, directions = np.linalg.eigh(difference)
    kept = np.sign(scale) * np.sqrt(np.maximum(scale**2 - 2 * len(scale) * noise**2, 0))
    return np.asarray((directions * kept) @ directions.T)
