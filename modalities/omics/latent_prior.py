"""The latent prior: the distribution of latent codes of tumours, given the subtype, age and other covariates."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...core.types import BoolArray, FloatArray, IntArray
from .classes import SUBTYPES

if TYPE_CHECKING:
    from torch import Tensor

    from ...core.training.weights import Weights

STORED = "law"  # the prefix of its tensors: weights that ship have it
RIDGE = 20.0  # rows' worth of doubt about the line
POOL = 100.0  # rows' worth of the common covariance in the covariance of a subtype


@dataclass(frozen=True)
class LatentPrior:
    """latent = line @ (covariates - middle) + centre[subtype] + departure, normal with covariance root @ root.T.

    With `codes` (patient, latent), the departures of training patients of subtype `owner`, it is the
    aggregated posterior: departure = sqrt(1 - blur^2) * (a patient's) + blur * normal, which has the same
    covariance, and the shape of the data. blur 1 is the normal, and keeps no patient's code.

    shares (subtype,); centre (subtype, latent); root (subtype, latent, latent); line (latent,
    covariate); middle (covariate,); blur (1,).
    """

    shares: FloatArray
    centre: FloatArray
    root: FloatArray
    line: FloatArray
    middle: FloatArray
    codes: FloatArray
    owner: FloatArray
    blur: FloatArray

    @classmethod
    def fit(
        cls,
        latent: FloatArray,
        covariates: FloatArray,
        subtype: IntArray,
        blur: float,
        classes: int = len(SUBTYPES),
    ) -> "LatentPrior":
        """Of (row, latent) codes, their covariates (row, column) and subtype, one of `classes`; -1 is unknown."""
        middle = covariates.mean(0)
        away = covariates - middle
        inner = away - _by_subtype(away, subtype)
        within = latent - _by_subtype(latent, subtype)
        line = np.linalg.solve(inner.T @ inner + RIDGE * np.eye(covariates.shape[1]), inner.T @ within).T
        rest = latent - away @ line.T
        centre = np.stack([rest[(subtype == k) | ~(subtype == k).any()].mean(0) for k in range(classes)])
        departures = rest - np.concatenate([centre, rest.mean(0, keepdims=True)])[subtype]
        common = departures.T @ departures / len(rest)
        roots = []
        for k in range(classes):
            rows = departures[subtype == k]
            covariance = (rows.T @ rows + POOL * common) / (len(rows) + POOL)
            roots.append(np.linalg.cholesky(covariance + 1e-6 * np.eye(len(covariance))))
        counts = np.array([(subtype == k).sum() for k in range(classes)], dtype=np.float64)
        shares = counts / counts.sum() if counts.any() else np.full(classes, 1 / classes)
        kept = subtype >= 0 if blur < 1 else np.zeros(len(rest), dtype=bool)
        return cls(
            shares, centre, np.stack(roots), line, middle, departures[kept],
            subtype[kept].astype(np.float64), np.array([blur]),
        )  # fmt: skip

    @classmethod
    def normal(
        cls, shares: FloatArray, centre: FloatArray, root: FloatArray, line: FloatArray, middle: FloatArray
    ) -> "LatentPrior":
        """One covariance for all subtypes, and nobody's code."""
        roots = np.broadcast_to(root, (len(centre), *root.shape)).copy()
        return cls(shares, centre, roots, line, middle, np.zeros((0, len(root))), np.zeros(0), np.ones(1))

    def tensors(self) -> "dict[str, Tensor]":
        """For the weight file, half precision."""
        from ...core.training.weights import halves

        return halves(STORED, vars(self))

    @classmethod
    def restored(cls, weights: "Weights") -> "LatentPrior":
        """Inverse of tensors()."""
        return cls(**weights.arrays(STORED))

    def draw(
        self, subtype: int, covariates: FloatArray, known: BoolArray, rng: np.random.Generator
    ) -> FloatArray:
        """(latent,) of one tumour; an unknown covariate is taken at its mean."""
        blur = float(self.blur[0])
        departure = self.root[subtype] @ rng.standard_normal(self.root.shape[1]) * blur
        if len(codes := np.flatnonzero(self.owner == subtype)):
            departure += np.sqrt(1 - blur**2) * self.codes[codes[rng.integers(len(codes))]]
        shift = self.line @ np.where(known, covariates - self.middle, 0.0)
        return np.asarray(self.centre[subtype] + shift + departure)


def _by_subtype(rows: FloatArray, subtype: IntArray) -> FloatArray:
    """(row, column): the mean of each row's subtype (of all rows of unknown subtype)."""
    out = np.empty_like(rows)
    for k in np.unique(subtype):
        out[subtype == k] = rows[subtype == k].mean(0)
    return out
