"""The cosine model: a normal distribution of images in the public cosine basis, whose mean is linear in the profile.

It needs no prior and no network. A private fit costs two one-shot Gaussian mechanisms: products of the code of the
profile with the image's vector, then one covariance about the means. What follows the release is post-processing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pydantic import Field, model_validator

from ...core.condition import conditional_normal, field_of
from ...core.config import Settings
from ...core.dp.dp_statistics import clip, denoised, sum_of_squares, symmetric_noise
from ...core.errors import InputError
from ...core.fields import SHIPPED, Vocabulary
from ...core.profile import PatientProfile
from ...core.remarks import remark
from ...core.types import Float32Array, FloatArray
from .cosine_basis import CosineBasis
from .gaussian_prior import root_of

KIND = "cosine model"  # in the card
STORED = "cosine"  # the prefix of its tensors
MEAN_SHARE = 0.3  # of the budget, as squared signal, for the means
GRAM_WEIGHT = 0.3  # of the products of the code with itself, relative to those with an image's vector
MEAN_NORM, SPREAD_NORM = 1.3, 0.9  # clip a vector before and after centring, in units of sqrt(width)
SHRINK = 0.05  # of a public covariance towards its diagonal
RIDGE = 10.0  # of the public regression, in patients
ROWS_A_NUMBER = 4  # patients for each number of a vector, at least, in a public fit
LEAST_RANK, MOST_RANK = 8, 128
CROWDED = 0.3  # how far a covariance's noise may reach, relative to variances of about 1


class CosineSettings(Settings):
    """The `network` of a cosine model: `size` in pixels, `channels` (1 or 3; found in the images unless said).

    `rank` is the number of leading coefficients; unless it is given it follows from the number of patients and the
    noise. `fields` are those that the mean depends on, all that the folder knows unless said. `temperature` scales the
    distance from the mean: a lower one shows more of the fields and varies less. `emphasis` multiplies what flags and
    classes change in the mean; above 1 a classifier trained on real images finds more of them in drawn ones.
    """

    size: int = Field(default=64, ge=16, le=512)
    channels: int | None = None
    rank: int | None = Field(default=None, ge=1)
    fields: tuple[str, ...] | None = None
    temperature: float = Field(default=0.8, gt=0)
    emphasis: float = Field(default=1.0, gt=0)

    @model_validator(mode="after")
    def _fits(self) -> "CosineSettings":
        if self.channels not in (None, 1, 3):
            raise ValueError(f"channels: expected 1 (grey) or 3 (RGB), got {self.channels}")
        return self


@dataclass(frozen=True)
class CosineModel:
    """vector = line @ [code, 1] + root @ N(0, I) in the basis; line (width, column + 1), root (width, width).

    centre (column,) is the mean code of the training patients.
    """

    basis: CosineBasis
    line: FloatArray
    root: FloatArray
    centre: FloatArray

    def draw(self, code: Float32Array, seed: int) -> FloatArray:
        """(channel, y, x) in [-1, 1] of a code (column,)."""
        random = np.random.Generator(np.random.PCG64(seed))
        vector = self.line @ np.append(code, 1.0) + self.root @ random.standard_normal(len(self.root))
        shape = (self.basis.channels, self.basis.size, self.basis.size)
        return self.basis.image(vector, random.standard_normal(shape))

    def sharpened(self, temperature: float, emphasis: FloatArray) -> "CosineModel":
        """With the distance from the mean scaled, and what each column (column,) changes in the mean.

        The mean of the training patients stays.
        """
        line = self.line[:, :-1] * emphasis
        kept = self.line[:, -1] + (self.line[:, :-1] - line) @ self.centre
        return replace(self, line=np.column_stack([line, kept]), root=temperature * self.root)

    def tensors(self) -> dict[str, FloatArray]:
        """Arrays by name, for a weight file."""
        return {"line": self.line, "root": self.root, "centre": self.centre}

    @classmethod
    def restore(cls, shape: Mapping[str, Any], arrays: Mapping[str, FloatArray]) -> "CosineModel":
        """From the card's `size`, `channels`, `rank` and `masks`, and tensors()."""
        basis = CosineBasis(shape["size"], shape["channels"], shape["rank"], shape.get("masks", 0))
        centre = arrays.get("centre", np.zeros(arrays["line"].shape[1] - 1))  # older weights have none
        return cls(basis, arrays["line"], arrays["root"], centre)


def design_columns(columns: Sequence[str]) -> list[str]:
    """Of the encoder's columns those that a mean is linear in: one a flag or number, one a class."""
    return [column for column in columns if "~" not in column and not column.endswith("?")]


def varying(
    fields: Sequence[str], profiles: Sequence[PatientProfile], vocabulary: Vocabulary = SHIPPED
) -> list[str]:
    """The fields without the shipped categories of which all patients have one: all are men, all views are PA."""
    kept = []
    for name in dict.fromkeys(fields):
        field = vocabulary.field(name, "model.network.fields")
        values = {profile.get(name) for profile in profiles} - {None}
        if field.kind == "category" and not field.declared and len(values) == 1:
            remark(
                f"imaging: all patients have {name} = {values.pop()}, so that images cannot follow it; left out"
            )
        else:
            kept.append(name)
    return kept


def require_known_classes(
    fields: Sequence[str], profiles: Sequence[PatientProfile], vocabulary: Vocabulary = SHIPPED
) -> None:
    """Raises InputError where nobody is known to be of some class: what it changes would be noise alone."""
    for name in fields:
        field = vocabulary.field(name, "model.network.fields")
        values = {profile.get(name) for profile in profiles} - {None}
        if field.kind == "number":
            missing = ["any value"] if not values else []
        else:
            expected = [False, True] if field.kind == "flag" else list(field.classes)
            missing = [str(value) for value in expected if value not in values]
        if missing:
            raise InputError(
                f"{name}: no training patient is known to have {name} = {', '.join(missing)}, so that what it changes "
                "in an image would be noise alone; map its column in dataset.yaml or declare the classes that there "
                "are, or name the fields to learn in model.network.fields"
            )


def rank_for(basis: CosineBasis, patients: int, noise: float | None) -> int:
    """Leading coefficients that so many patients can teach; `noise` is the covariance's multiplier, None is public.

    Raises InputError where they teach too few, with the number of patients that would do.
    """
    extra = basis.width - basis.rank

    def most(count: int) -> int:
        if noise is None:
            return count // ROWS_A_NUMBER - extra
        # sqrt(2 width) standard deviations of SPREAD_NORM**2 width noise / count: the edge of Wigner's semicircle
        width = (CROWDED * count / (SPREAD_NORM**2 * np.sqrt(2) * noise)) ** (2 / 3)
        return int(width) - extra

    planes = basis.channels + basis.masks
    rank = min(MOST_RANK * planes // basis.channels, most(patients))
    if rank >= LEAST_RANK:
        return rank
    enough = next(n for n in range(patients, 100_000_000, max(1, patients // 20)) if most(n) >= LEAST_RANK)
    raise InputError(
        f"imaging: {patients} patients are too few for a model of images"
        f"{'' if noise is None else ' under this budget'}; {enough} would do"
        f"{'' if noise is None else ', or a larger epsilon'}"
    )


def fit_public(v: FloatArray, code: Float32Array, basis: CosineBasis) -> CosineModel:
    """From public images: v (row, width), code (row, column)."""
    line, root = conditional_normal(code, v, ridge=RIDGE, shrink=SHRINK)
    return CosineModel(basis, line, root, code.mean(0).astype(np.float64))


def fit_private(
    v: FloatArray,
    code: Float32Array,
    columns: Sequence[str],
    basis: CosineBasis,
    noise: Sequence[float],
    random: np.random.Generator,
) -> CosineModel:
    """The same under differential privacy: v has one row a patient; noise are the two noise multipliers.

    A patient's contribution to the first release is the product of his code with [code, vector], clipped to 1 in
    all; to the second the square of his vector about the mean of his code.
    """
    weight, width, patients = basis.weight, basis.width, len(v)
    length = np.sqrt(1 + len({field_of(column) for column in columns}))  # no code with its 1 is longer
    d = clip(np.column_stack([code, np.ones(patients)]).astype(np.float64) / length)
    bound, together = MEAN_NORM * np.sqrt(width), np.hypot(1, GRAM_WEIGHT)
    products = d.T @ clip(v * weight / bound) + noise[0] * together * random.standard_normal(
        (d.shape[1], width)
    )
    scale = noise[0] * together / GRAM_WEIGHT
    gram = d.T @ d + scale * symmetric_noise(d.shape[1], random)
    ridge = 2 * scale * np.sqrt(d.shape[1]) * np.eye(d.shape[1])
    ridge[-1, -1] = 0  # of the 1: the count is known
    gram[-1, -1] = patients / length**2
    centre = np.clip(gram[:-1, -1] / gram[-1, -1], -1, 1)
    values, directions = np.linalg.eigh(gram)
    gram = (directions * np.maximum(values, scale)) @ directions.T
    line = bound * np.linalg.solve(
        gram + ridge, products
    )  # (column + 1, width), weighted, of the scaled code

    bound = SPREAD_NORM * np.sqrt(width)
    squares = sum_of_squares((v * weight - d @ line) / bound) + noise[1] * symmetric_noise(width, random)
    unit = bound**2 / patients
    spread = denoised(unit * squares, unit * noise[1])
    return CosineModel(basis, (line / weight).T / length, root_of(spread / np.outer(weight, weight)), centre)
