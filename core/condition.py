"""Work on encoded conditions: columns by name, what to hide in training, and latents given a condition."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .types import Float32Array, FloatArray

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def field_of(column: str) -> str:
    """The profile field a code column belongs to: of `sex=F`, `age~sin1`, `age?` and `age[0,18]~sin1` sex, age."""
    return re.split(r"[=~\[]", column, maxsplit=1)[0].removesuffix("?")


def columns_of(columns: Sequence[str], fields: Sequence[str]) -> list[str]:
    """The columns that code these fields, in the encoder's order."""
    return [column for column in columns if field_of(column) in set(fields)]


def select(condition: Float32Array, columns: Sequence[str], wanted: Sequence[str]) -> Float32Array:
    """The wanted columns, in that order; zeros (unknown) for those the encoder does not have.

    A model keeps the columns it was trained with, so that it never meets a field it has not seen and
    outlives additions to the vocabulary.
    """
    place = {column: i for i, column in enumerate(columns)}
    out = np.zeros((len(condition), len(wanted)), dtype=np.float32)
    for j, column in enumerate(wanted):
        if column in place:
            out[:, j] = condition[:, place[column]]
    return out


class FieldDropout:
    """Hide known fields at random in training, so that any subset of fields can steer generation.

    Each field of each row is hidden with probability `rate`, and all fields of a row with
    probability `all_rate` (the unconditional case that classifier-free guidance needs).
    """

    def __init__(self, columns: Sequence[str], rate: float = 0.15, all_rate: float = 0.1) -> None:
        import torch  # a second of processor time, which work on columns alone is spared

        names = list(dict.fromkeys(field_of(column) for column in columns))
        self.owner = torch.tensor([names.index(field_of(column)) for column in columns], dtype=torch.long)
        self.fields, self.rate, self.all_rate = len(names), rate, all_rate

    def __call__(self, condition: "Tensor", generator: "torch.Generator | None" = None) -> "Tensor":
        """(row, column) -> (row, column) with hidden fields set to 0."""
        import torch

        if not self.fields:
            return condition
        rows = len(condition)
        keep = torch.rand(rows, self.fields, generator=generator) >= self.rate
        keep &= torch.rand(rows, 1, generator=generator) >= self.all_rate
        return condition * keep[:, self.owner].to(condition)


def conditional_normal(
    code: Float32Array, latent: FloatArray, ridge: float = 10.0, shrink: float = 0.1
) -> tuple[FloatArray, FloatArray]:
    """latent ~ line @ [code, 1] + root @ N(0, I): ridge regression and a shrunk residual covariance.

    code (row, column), latent (row, d) -> line (d, column + 1), root (d, d) lower triangular.
    """
    design = np.concatenate([code, np.ones((len(code), 1))], axis=1).astype(np.float64)
    penalty = ridge * np.eye(design.shape[1])
    penalty[-1, -1] = 0
    line = np.linalg.solve(design.T @ design + penalty, design.T @ latent).T
    covariance = np.atleast_2d(np.cov((latent - design @ line.T).T))
    covariance = (1 - shrink) * covariance + shrink * np.diag(np.diag(covariance))
    root = np.linalg.cholesky(covariance + 1e-6 * np.eye(len(covariance)))
    return line.astype(np.float64), root.astype(np.float64)
