"""Distributions of a cohort's fields given age, sex and other fields: flags, categories and numbers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Annotated, Any, TypeVar

import numpy as np
from pydantic import AfterValidator, BeforeValidator, model_validator
from pydantic import Field as Setting

from ..core.config import Settings
from ..core.errors import InputError
from ..core.fields import ClassName, Field
from ..core.types import AnyArray, BoolArray, FloatArray
from .physiology import REFERENCE_AGE, Quantity

MAX_FACTOR = 1000.0
Number = TypeVar("Number", float, FloatArray)
Factor = Annotated[float, Setting(ge=0, le=MAX_FACTOR)]


class Prevalence(Settings):
    """How common a flag is, and in whom: `0.1`, or `{share: 0.1, per_decade: 2, given: {I10: 1.5}}`.

    `share` is the share of the cohort that has it (of those who can: women, for C50.919). The rest are
    factors on the odds: for ten years more of age, for men, and for each listed flag that is present, or
    class (`stage=IV`) that a patient is in. `always_if` names flags that imply this one.
    """

    share: float = Setting(ge=0, le=1)
    per_decade: float = Setting(1.0, gt=0, le=10)
    men: float = Setting(1.0, ge=0, le=100)
    given: dict[str, float] = Setting(default_factory=dict)
    always_if: list[str] = Setting(default_factory=list)

    @model_validator(mode="before")
    @classmethod
    def _plain_number(cls, value: Any) -> Any:
        if isinstance(value, dict | Prevalence):
            return value
        if type(value) not in (int, float):
            raise ValueError(f"expected a share from 0 to 1, or a mapping with one, got {value!r}")
        return {"share": value}

    def relative_odds(self, age: Number, male: Number, present: Mapping[str, Number]) -> Number:
        """Odds relative to a woman of the reference age with none of the `given` conditions."""
        odds: Number = self.per_decade ** ((age - REFERENCE_AGE) / 10) * self.men**male
        for code, factor in self.given.items():
            odds = odds * factor ** present[code]
        return odds


class CategoryShares(Settings):
    """Shares of a category's classes: `{LumA: 0.5, LumB: 0.5}`, or `{shares: {...}, given: {I10: {LumA: 2}}}`.

    The shares are those of the cohort and add up to 1. The rest are factors on a class's odds: for ten years
    more of age, for men, and for each listed flag that is present.
    """

    shares: dict[ClassName, float]
    per_decade: dict[ClassName, Annotated[float, Setting(gt=0, le=10)]] = Setting(default_factory=dict)
    men: dict[ClassName, Factor] = Setting(default_factory=dict)
    given: dict[str, dict[ClassName, Factor]] = Setting(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _plain_shares(cls, value: Any) -> Any:
        plain = isinstance(value, dict) and "shares" not in value
        return {"shares": value} if plain else value

    @model_validator(mode="after")
    def _add_up(self) -> "CategoryShares":
        if any(share < 0 for share in self.shares.values()) or abs(sum(self.shares.values()) - 1) > 0.02:
            raise ValueError("shares must be 0 or more and add up to 1")
        return self


def _range(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


Ends = Annotated[tuple[float, float], BeforeValidator(_range)]


def _ascend(scores: list[float]) -> list[float]:
    if not (scores[0] < 0 < scores[-1] and all(a <= b for a, b in pairwise(scores))):
        raise ValueError("a shape's quantiles must ascend, from below 0 to above 0")
    return scores


Scores = Annotated[list[float], Setting(min_length=2, max_length=101), AfterValidator(_ascend)]


class NumberSpread(Settings):
    """How a number is spread: `{mean: 2, sd: 0.5}`, evenly over a `range`, or a `table` of [low, high, share].

    The distribution is cut off at the field's range, or at low and high. The mean is the cohort's; for ten
    years more of age, for men and for each listed flag that is present, a number is added to a patient's own. With
    `log: true` the mean is a median, sd is of the natural logarithm, and the effects multiply. `sd_given` has factors
    on sd, by flag that is present. `shape` is that of the distribution where it is not normal: quantiles at even places
    from the least to the largest, in standard deviations from the mean; `shape_given` is that of who has a flag (the
    first that is present).
    """

    mean: float | None = None
    sd: float | None = Setting(default=None, gt=0)
    low: float | None = None
    high: float | None = None
    log: bool = False
    per_decade: float | None = None
    men: float | None = None
    given: dict[str, float] = Setting(default_factory=dict)
    sd_given: dict[str, Annotated[float, Setting(gt=0, le=100)]] = Setting(default_factory=dict)
    shape: Scores | None = None
    shape_given: dict[str, Scores] = Setting(default_factory=dict)
    range: Ends | None = None
    table: list[tuple[float, float, Annotated[float, Setting(ge=0)]]] | None = Setting(
        default=None, min_length=1
    )

    @model_validator(mode="after")
    def _one_of(self) -> "NumberSpread":
        ways = [self.mean is not None or self.sd is not None, self.range is not None, self.table is not None]
        if sum(ways) != 1:
            raise ValueError("give mean and sd, or range, or table")
        if ways[0] and (self.mean is None or self.sd is None):
            raise ValueError("mean needs sd, and sd needs mean")
        normal = [self.low, self.high, self.per_decade, self.men, self.log or None]
        normal += [1.0 if self.given or self.sd_given or self.shape or self.shape_given else None]
        if not ways[0] and any(value is not None for value in normal):
            raise ValueError(
                "low, high, log, per_decade, men, given, sd_given, shape and shape_given go with mean and sd"
            )
        multiplied = [self.mean, self.low, self.high, self.per_decade, self.men, *self.given.values()]
        if self.log and any(value is not None and value <= 0 for value in multiplied):
            raise ValueError("with log: true all numbers must be over 0")
        rows = self.table or []
        if any(low >= high for low, high, _ in rows) or any(a[1] > b[0] for a, b in pairwise(rows)):
            raise ValueError("the table's [low, high, share] must ascend and not overlap")
        if rows and abs(sum(share for _, _, share in rows) - 1) > 0.02:
            raise ValueError("the table's shares must add up to 1")
        return self


@dataclass(frozen=True)
class PatientBatch:
    """Rows of patients: years, 1 for men, 1 for a flag that is present, and the values of other fields.

    A flag that is unknown there counts as absent; `values` are NaN or None where unknown. `weight` is the chance
    of what the criteria fixed by rule, given all that came before it.
    """

    age: FloatArray
    male: FloatArray
    present: dict[str, FloatArray]
    unknown: dict[str, BoolArray]
    values: dict[str, AnyArray]
    weight: FloatArray
    classes: dict[str, FloatArray] = field(default_factory=dict)  # `stage=IV`: 1 for those in that class

    @property
    def parents(self) -> Mapping[str, FloatArray]:
        """What other fields may depend on: flags and classes."""
        return {**self.present, **self.classes}

    def able(self, sex: str | None) -> BoolArray:
        """Who can have a flag that is for one sex."""
        return np.ones(len(self.age), dtype=bool) if sex is None else self.male == float(sex == "M")

    def set_category(self, name: str, values: AnyArray, classes: tuple[str, ...]) -> None:
        """Give the rows the values of a category."""
        self.values[name] = values
        self.classes.update({f"{name}={one}": (values == one).astype(float) for one in classes})


@dataclass(frozen=True)
class FlagRule:
    """A prevalence with the baseline odds that give its share in this cohort."""

    prevalence: Prevalence
    odds: float
    sex: str | None

    @classmethod
    def solve(cls, prevalence: Prevalence, sex: str | None, batch: PatientBatch, key: str) -> "FlagRule":
        """Baseline odds that give the share, by bisection on their logarithm. Raises InputError."""
        share, able, forced = prevalence.share, batch.able(sex), _forced(batch, prevalence)
        relative = prevalence.relative_odds(batch.age, batch.male, batch.parents)
        if share == 1:
            if (relative[able] == 0).any():
                raise InputError(
                    f"{key}.share: 1 contradicts a factor of 0; lower the share or drop the factor"
                )
            return cls(prevalence, float("inf"), sex)
        if not able.any():
            return cls(prevalence, 0.0, sex)
        least, most = float(forced[able].mean()), float((forced | (relative > 0))[able].mean())
        if share < least - 0.01:
            raise InputError(
                f"{key}.share: always_if alone makes it {least:.3g}, got {share:g}; raise the share"
            )
        if share > most:
            raise InputError(
                f"{key}.share: factors of 0 leave at most {most:.3g}, got {share:g}; lower the share"
            )
        low, high = -40.0, 40.0
        for _ in range(60):
            middle = (low + high) / 2
            odds = np.exp(middle) * relative[able]
            mean = np.where(forced[able], 1.0, odds / (1 + odds)).mean()
            low, high = (middle, high) if mean < share else (low, middle)
        return cls(prevalence, 0.0 if share == 0 else float(f"{np.exp(high):.6g}"), sex)

    def chance(self, batch: PatientBatch) -> FloatArray:
        """Of each row, to have it."""
        able = batch.able(self.sex)
        if self.prevalence.share == 1:
            return able.astype(float)
        odds = self.odds * self.prevalence.relative_odds(batch.age, batch.male, batch.parents)
        return np.where(able, np.where(_forced(batch, self.prevalence), 1.0, odds / (1 + odds)), 0.0)


def _forced(batch: PatientBatch, prevalence: Prevalence) -> BoolArray:
    forced = np.zeros(len(batch.age), dtype=bool)
    for code in prevalence.always_if:
        forced |= batch.present[code] > 0
    return forced


@dataclass(frozen=True)
class CategoryRule:
    """Shares with the baseline odds of the classes that give them in this cohort."""

    settings: CategoryShares
    classes: tuple[str, ...]
    odds: FloatArray

    @classmethod
    def solve(cls, settings: CategoryShares, known: Field, batch: PatientBatch, key: str) -> "CategoryRule":
        """Baseline odds by proportional fitting. Raises InputError for shares that factors of 0 rule out."""
        shares = np.array([settings.shares.get(name, 0.0) for name in known.classes])
        shares /= shares.sum()
        rule = cls(settings, known.classes, shares.copy())
        relative = rule._relative(batch)
        for _ in range(200):
            chance = rule.odds * relative
            chance /= np.maximum(chance.sum(axis=1, keepdims=True), 1e-300)
            mean = chance.mean(axis=0)
            rule.odds[:] *= np.where(mean > 0, shares / np.where(mean > 0, mean, 1.0), 1.0)
        if abs(mean - shares).max() > 0.01:
            worst = known.classes[int(np.argmax(abs(mean - shares)))]
            raise InputError(
                f"{key}: factors of 0 do not leave {worst} its share of {settings.shares[worst]:g}"
            )
        return cls(settings, known.classes, np.array([float(f"{x:.6g}") for x in rule.odds]))

    def _relative(self, batch: PatientBatch) -> FloatArray:
        parents = batch.parents
        columns = []
        for name in self.classes:
            odds = self.settings.per_decade.get(name, 1.0) ** ((batch.age - REFERENCE_AGE) / 10)
            odds = odds * self.settings.men.get(name, 1.0) ** batch.male
            for parent, factors in self.settings.given.items():
                odds = odds * factors.get(name, 1.0) ** parents[parent]
            columns.append(odds)
        return np.stack(columns, axis=1)

    def draw(
        self, batch: PatientBatch, u: FloatArray, allowed: frozenset[str] | None = None
    ) -> tuple[AnyArray, FloatArray]:
        """Classes of the rows, among those that are allowed, and the chance of being allowed."""
        chance = self.odds * self._relative(batch)
        chance /= np.maximum(chance.sum(axis=1, keepdims=True), 1e-300)
        if allowed is not None:
            chance = chance * np.array([name in allowed for name in self.classes])
        cumulative = np.cumsum(chance, axis=1)
        mass = cumulative[:, -1]
        last = (cumulative < mass[:, None]).sum(axis=1)
        found = np.minimum((u[:, None] * mass[:, None] >= cumulative).sum(axis=1), last)
        return np.array(self.classes, dtype=object)[found], mass


@dataclass(frozen=True)
class NumberRule:
    """A number's spread, its middle moved so that the mean of the cohort is as asked."""

    known: Field
    quantity: Quantity | None  # a normal distribution, or one of another shape about a mean
    edges: FloatArray  # else: places where the cumulative share changes its slope,
    shares: FloatArray  # and that share there

    @classmethod
    def solve(cls, spread: NumberSpread, known: Field, batch: PatientBatch, key: str) -> "NumberRule":
        """Raises InputError for what lies outside of the field's range."""
        low = known.low if spread.low is None else spread.low
        high = known.high if spread.high is None else spread.high
        ends = [low, high, *(spread.range or ()), *(x for row in spread.table or () for x in row[:2])]
        if spread.mean is not None:
            ends.append(spread.mean)
        if not (all(known.low <= x <= known.high for x in ends) and low < high):
            raise InputError(
                f"{key}: must lie in the field's range of {known.low:g} to {known.high:g} {known.unit}"
            )
        none = np.zeros(0)
        if spread.mean is None or spread.sd is None:
            rows = spread.table or [(*(spread.range or (low, high)), 1.0)]
            whole, edges, shares = sum(share for _, _, share in rows), [rows[0][0]], [0.0]
            for below, above, share in rows:
                if below > edges[-1]:
                    edges, shares = [*edges, below], [*shares, shares[-1]]
                edges, shares = [*edges, above], [*shares, shares[-1] + share / whole]
            return cls(known, None, np.array(edges), np.array(shares))
        scale = np.log if spread.log else float
        if spread.log and low <= 0:
            low = 10.0**-known.decimals / 2
        moved = np.zeros(len(batch.age))
        if spread.men is not None:
            moved += scale(spread.men) * batch.male
        if spread.per_decade is not None:
            moved += scale(spread.per_decade) * (batch.age - REFERENCE_AGE) / 10
        for parent, effect in spread.given.items():
            moved += scale(effect) * batch.parents[parent]
        middle = float(scale(spread.mean)) - float(moved.mean())
        middle = float(f"{np.exp(middle) if spread.log else middle:.6g}")
        made = Quantity(
            middle,
            spread.sd,
            low,
            high,
            spread.log,
            spread.men,
            spread.per_decade,
            dict(spread.given),
            dict(spread.sd_given),
            tuple(spread.shape or ()),
            {name: tuple(scores) for name, scores in spread.shape_given.items()},
        )
        return cls(known, made, none, none)

    def draw(
        self, batch: PatientBatch, u: FloatArray, within: tuple[float, float] | None = None
    ) -> tuple[FloatArray, FloatArray]:
        """Values of the rows, within a range, and the chance of lying there."""
        parents = batch.parents
        values, chance = np.empty(len(u)), np.ones(len(u))
        for row, place in enumerate(u):
            has = {name: bool(there[row] > 0) for name, there in parents.items()}
            age, sex = float(batch.age[row]), "M" if batch.male[row] else "F"
            if within is not None:
                low, high = (
                    np.interp(within, self.edges, self.shares)
                    if self.quantity is None
                    else self.quantity.places(*within, age, sex, has)
                )
                place, chance[row] = low + place * (high - low), high - low
            values[row] = (
                np.interp(place, self.shares, self.edges)
                if self.quantity is None
                else self.quantity.draw(place, age, sex, has)
            )
        rounded = np.round(values, self.known.decimals)
        return np.clip(rounded, *(within or (self.known.low, self.known.high))), chance


Rule = FlagRule | CategoryRule | NumberRule
FieldSettings = Mapping[str, Prevalence | CategoryShares | NumberSpread]
SETTINGS: dict[str, type[Prevalence] | type[CategoryShares] | type[NumberSpread]] = {
    "flag": Prevalence, "category": CategoryShares, "number": NumberSpread,
}  # fmt: skip
