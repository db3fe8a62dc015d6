"""Law: how tumours are spread in the latent space, given the subtype, age and what else is known."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...core.types import BoolArray, FloatArray, IntArray
from .tumours import SUBTYPES

if TYPE_CHECKING:
    from torch import Tensor

RIDGE = 20.0  # rows' worth of doubt about the line
POOL = 100.0  # rows' worth of the common covariance that a subtype's own is mixed with


@dataclass(frozen=True)
class Law:
    """latent = line @ (plain code - middle) + centre[subtype] + departure, normal with covariance root @ root.T.

    With `codes` (patient, latent), the departures of training patients of subtype `owner`, it is the
    aggregated posterior: departure = sqrt(1 - blur^2) * (a patient's) + blur * normal, which has the same
    covariance and the data's own shape. blur 1 is the normal, and keeps no patient's code.

    shares (subtype,); centre (subtype, latent); root (subtype, latent, latent); line (latent, plain
    column); middle (plain column,); blur (1,).
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
    def fit(cls, latent: FloatArray, plain: FloatArray, subtype: IntArray, blur: float) -> "Law":
        """Of (row, latent) codes, their plain code (row, column) and subtype; -1 is unknown."""
        middle = plain.mean(0)
        away = plain - middle
        inner = away - _by_subtype(away, subtype)
        own = latent - _by_subtype(latent, subtype)
        line = np.linalg.solve(inner.T @ inner + RIDGE * np.eye(plain.shape[1]), inner.T @ own).T
        rest = latent - away @ line.T
        centre = np.stack(
            [rest[(subtype == k) | ~(subtype == k).any()].mean(0) for k in range(len(SUBTYPES))]
        )
        departures = rest - np.concatenate([centre, rest.mean(0, keepdims=True)])[subtype]
        common = departures.T @ departures / len(rest)
        roots = []
        for k in range(len(SUBTYPES)):
            mine = departures[subtype == k]
            covariance = (mine.T @ mine + POOL * common) / (len(mine) + POOL)
            roots.append(np.linalg.cholesky(covariance + 1e-6 * np.eye(len(covariance))))
        counts = np.array([(subtype == k).sum() for k in range(len(SUBTYPES))], dtype=np.float64)
        shares = counts / counts.sum() if counts.any() else np.full(len(SUBTYPES), 1 / len(SUBTYPES))
        kept = subtype >= 0 if blur < 1 else np.zeros(len(rest), dtype=bool)
        return cls(
            shares, centre, np.stack(roots), line, middle, departures[kept],
            subtype[kept].astype(np.float64), np.array([blur]),
        )  # fmt: skip

    @classmethod
    def normal(
        cls, shares: FloatArray, centre: FloatArray, root: FloatArray, line: FloatArray, middle: FloatArray
    ) -> "Law":
        """One covariance for all subtypes, and nobody's code."""
        roots = np.broadcast_to(root, (len(centre), *root.shape)).copy()
        return cls(shares, centre, roots, line, middle, np.zeros((0, len(root))), np.zeros(0), np.ones(1))

    def tensors(self) -> "dict[str, Tensor]":
        """For the weight file, half precision."""
        import torch

        return {f"law.{name}": torch.from_numpy(value).half() for name, value in vars(self).items()}

    @classmethod
    def restored(cls, tensors: "dict[str, Tensor]") -> "Law":
        """Inverse of tensors()."""
        return cls(**{k: tensors[f"law.{k}"].double().numpy() for k in cls.__dataclass_fields__})

    def draw(self, subtype: int, plain: FloatArray, known: BoolArray, rng: np.random.Generator) -> FloatArray:
        """(latent,) of one tumour; what is not known of the plain code is taken at its middle."""
        blur = float(self.blur[0])
        departure = self.root[subtype] @ rng.standard_normal(self.root.shape[1]) * blur
        if len(own := np.flatnonzero(self.owner == subtype)):
            departure += np.sqrt(1 - blur**2) * self.codes[own[rng.integers(len(own))]]
        shift = self.line @ np.where(known, plain - self.middle, 0.0)
        return np.asarray(self.centre[subtype] + shift + departure)


def _by_subtype(rows: FloatArray, subtype: IntArray) -> FloatArray:
    """(row, column): the mean of each row's subtype (of all rows of unknown subtype)."""
    out = np.empty_like(rows)
    for k in np.unique(subtype):
        out[subtype == k] = rows[subtype == k].mean(0)
    return out
