"""Moments: the noisy second moments of a table's features, all pairs of columns at once, which regressions rest on.

Junction trees hold the pairs that were measured; a coefficient also rests on the others. So one Gaussian mechanism
on all patients releases the mean products of every two features. A number's feature is itself, scaled; a word's are
its levels' indicators. All scales come from rows of the model that the rest of the budget learnt.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...core.dp.dp_statistics import symmetric_noise
from ...core.types import AnyArray, BoolArray, Float32Array, FloatArray
from .domain import ABSENT as WORDS
from .domain import Column

ABSENT, PRESENT = WORDS
FAR = 4.0  # standard deviations to which a number goes
RARE = 0.1  # an indicator of a level rarer than so is scaled as if it had this share
CLIPPED = 0.95  # share of the model's rows whose features are not shortened

Rows = Mapping[str, AnyArray]  # values by column, as TableModel.values gives them


@dataclass(frozen=True)
class Feature:
    """One number of a row: a column's number (`level` None), or whether its level is that one (None: missing).

    It is centred, divided by `scale`, and kept within FAR where it is a number; a missing number counts as the mean.
    """

    column: int
    kind: str  # number, level or missing
    level: str
    centre: float
    scale: float


@dataclass(frozen=True)
class Moments:
    """Mean products of (1, features), each row shortened to `norm`, of `patients`, with Gaussian noise on them.

    `noise` is its standard deviation beside the diagonal; on it, sqrt(2) times as much.
    """

    features: tuple[Feature, ...]
    norm: float
    products: FloatArray  # (1 + feature, 1 + feature), symmetric
    noise: float
    patients: int

    def described(self) -> dict[str, Any]:
        """All but the products, as JSON has it."""
        features = [[one.column, one.kind, one.level, one.centre, one.scale] for one in self.features]
        return {"features": features, "norm": self.norm, "noise": self.noise, "patients": self.patients}

    @classmethod
    def read(cls, said: Mapping[str, Any], columns: int, products: FloatArray) -> "Moments":
        """What described() said, with the products. Raises LookupError, TypeError or ValueError."""
        features = tuple(Feature(*one) for one in said["features"])
        if products.shape != (1 + len(features), 1 + len(features)):
            raise ValueError("the moments are of another shape than their features")
        if not all(0 <= one.column < columns and one.scale > 0 for one in features):
            raise ValueError("the moments are of columns that are not there")
        norm, noise, patients = float(said["norm"]), float(said["noise"]), int(said["patients"])
        if not (np.isfinite(products).all() and norm > 0 and noise >= 0 and patients > 0):
            raise ValueError(
                "the moments, their noise or their number of patients is no number, or out of range"
            )
        return cls(features, norm, products, noise, patients)

    def rows(self, columns: Sequence[Column], values: Rows) -> Float32Array:
        """(row, 1 + feature): 1 and the features of each row, as they were measured."""
        return _rows(self.features, self.norm, columns, values)

    def told(self, columns: Sequence[Column]) -> BoolArray:
        """Which products say something of their own, (1 + feature, 1 + feature), above the diagonal and on it.

        Two levels of one column are never together, and an indicator's square is itself.
        """
        at = np.array([-1, *(one.column for one in self.features)])
        number = np.array([False, *(one.kind == "number" for one in self.features)])
        apart = at[:, None] != at[None, :]
        return np.asarray(np.triu(apart, 1) | np.diag(number))


def _rows(features: Sequence[Feature], norm: float, columns: Sequence[Column], values: Rows) -> Float32Array:
    known: dict[int, tuple[AnyArray, BoolArray]] = {}
    for k in {one.column for one in features}:
        own = np.asarray(values[columns[k].name], dtype=object)
        missing = np.array([value is None for value in own])
        if columns[k].kind == "number":
            own = np.where(missing, np.nan, own).astype(np.float64)
        known[k] = own, missing
    found = np.empty((len(next(iter(known.values()))[1]), 1 + len(features)), dtype=np.float32)
    found[:, 0] = 1.0
    for place, one in enumerate(features, 1):
        own, missing = known[one.column]
        if one.kind == "number":
            z = np.clip((own - one.centre) / one.scale, -FAR, FAR)
            found[:, place] = np.where(missing, 0.0, z)
        else:
            flag = columns[one.column].kind == "condition"
            there = missing if one.kind == "missing" else own == (one.level == PRESENT if flag else one.level)
            found[:, place] = (there.astype(np.float64) - one.centre) / one.scale
    length = np.linalg.norm(found[:, 1:], axis=1)
    found[:, 1:] *= np.minimum(1.0, norm / np.maximum(length, 1e-12))[:, None]
    return found


def features_of(columns: Sequence[Column], drawn: Rows) -> tuple[tuple[Feature, ...], float]:
    """Features of a table, and the norm to which a row is shortened, from rows of its model alone.

    A column's commonest level has none: the others say it.
    """
    made: list[Feature] = []
    for k, column in enumerate(columns):
        own = np.asarray(drawn[column.name], dtype=object)
        missing = np.array([value is None for value in own])
        if column.kind == "number":
            numbers = own[~missing].astype(np.float64)
            if len(numbers) > 1:
                low, high = np.quantile(numbers, (0.005, 0.995))
                kept = np.clip(numbers, low, high)
                made.append(Feature(k, "number", "", float(kept.mean()), max(float(kept.std()), 1e-6)))
            if column.missing:
                made.append(_indicator(k, "missing", "", missing))
            continue
        codes = {False: ABSENT, True: PRESENT}
        words = np.array(["" if value is None else codes.get(value, value) for value in own], dtype=object)
        levels = [("level", level, words == level) for level in column.levels]
        levels += [("missing", "", missing)] if column.missing else []
        commonest = max(range(len(levels)), key=lambda place: levels[place][2].sum())
        del levels[commonest]
        made += [_indicator(k, kind, level, there) for kind, level, there in levels]
    lengths = np.linalg.norm(_rows(made, np.inf, columns, drawn)[:, 1:], axis=1)
    return tuple(made), float(np.quantile(lengths, CLIPPED))


def _indicator(column: int, kind: str, level: str, there: BoolArray) -> Feature:
    share = float(there.mean())
    spread = max(share * (1 - share), RARE * (1 - RARE))
    return Feature(column, kind, level, share, float(np.sqrt(spread)))


def measure_moments(
    columns: Sequence[Column], values: Rows, drawn: Rows, noise_multiplier: float, rng: np.random.Generator
) -> Moments:
    """The moments of patients, by one Gaussian mechanism; features are scaled by `drawn`, rows of the model alone.

    A row more moves the products of (1, features) by 1 + norm^2 at most.
    """
    features, norm = features_of(columns, drawn)
    rows = _rows(features, norm, columns, values).astype(np.float64)
    # float32 may round a row's norm up by a few parts in 10 million
    noise = noise_multiplier * (1 + norm**2) * (1 + 1e-5)
    products = (rows.T @ rows + noise * symmetric_noise(rows.shape[1], rng)) / len(rows)
    return Moments(features, norm, products, noise / np.sqrt(2) / len(rows), len(rows))
