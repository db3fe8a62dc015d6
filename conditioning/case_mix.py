"""CaseMix: age, sex and conditions of patients, condition by condition or from a learnt table, under evidence."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..core.errors import InputError
from ..core.fields import BY_NAME, ONLY_SEX
from ..core.types import BoolArray, FloatArray
from .design.cohort_config import CohortConfig, Prevalence
from .design.criteria import ANYBODY, Criteria
from .physiology import QUANTITIES, normal_places, truncated_normal
from .table.table_model import Draws, TableModel

PROBE = 20_000  # patients on whom shares are calibrated
TABLE = "table/"  # what a table column's uniform numbers are called


@dataclass(frozen=True)
class PatientBatch:
    """Rows of patients: years, 1 for men, 1 for a condition present, and what a learnt table adds.

    A condition that is unknown there counts as absent; `measured` values are NaN where unknown. `weight` is
    the chance of what the evidence fixed by rule, given all that came before it.
    """

    age: FloatArray
    male: FloatArray
    present: dict[str, FloatArray]
    unknown: dict[str, BoolArray]
    measured: dict[str, FloatArray]
    weight: FloatArray


@dataclass(frozen=True)
class _Rule:
    """A prevalence with the baseline odds that give its share in this cohort."""

    prevalence: Prevalence
    odds: float
    sex: str | None

    def chance(self, batch: PatientBatch) -> FloatArray:
        able = _able(batch, self.sex)
        if self.prevalence.share == 1:
            return able.astype(float)
        odds = self.odds * self.prevalence.relative_odds(batch.age, batch.male, batch.present)
        return np.where(able, np.where(_forced(batch, self.prevalence), 1.0, odds / (1 + odds)), 0.0)


def _able(batch: PatientBatch, sex: str | None) -> BoolArray:
    return np.ones(len(batch.age), dtype=bool) if sex is None else batch.male == float(sex == "M")


def _forced(batch: PatientBatch, prevalence: Prevalence) -> BoolArray:
    forced = np.zeros(len(batch.age), dtype=bool)
    for code in prevalence.always_if:
        forced |= batch.present[code] > 0
    return forced


@dataclass
class CaseMix:
    """The joint distribution of a cohort's age, sex and conditions, calibrated so that shares are as asked."""

    config: CohortConfig
    where: str
    table: TableModel | None = None
    rules: dict[str, _Rule] = field(default_factory=dict)
    ap_rule: _Rule | None = None

    def __post_init__(self) -> None:
        rng = np.random.default_rng(0)
        u = {"age": (np.arange(PROBE) + 0.5) / PROBE, "sex": rng.random(PROBE)}
        if self.table:
            u |= {f"{TABLE}{column.name}": rng.random(PROBE) for column in self.table.columns}
        batch = self.draw(u)
        for code, prevalence in self.config.conditions.items():
            rule = _Rule(prevalence, 0.0, ONLY_SEX.get(code))
            odds = _solve(rule, batch, f"{self.where}: conditions.{code}")
            self.rules[code] = rule = _Rule(prevalence, odds, rule.sex)
            batch.present[code] = (rng.random(PROBE) < rule.chance(batch)).astype(float)
        if self.config.chest_ap is not None:
            odds = _solve(_Rule(self.config.chest_ap, 0.0, None), batch, f"{self.where}: chest_ap")
            self.ap_rule = _Rule(self.config.chest_ap, odds, None)

    @property
    def tabled(self) -> tuple[str, ...]:
        """Profile fields that the learnt table draws: age, sex, conditions and what else follows from rules."""
        return () if self.table is None else tuple(c.name for c in self.table.columns if _drawn(c.name))

    def draw(
        self,
        u: Mapping[str, FloatArray],
        criteria: Criteria = ANYBODY,
        twin: Mapping[str, object] | None = None,
        draws: Draws | None = None,
    ) -> PatientBatch:
        """Patients from uniform numbers by field; `twin` changes a field and what follows from it, at no weight.

        `draws` are the learnt table's under the evidence, where they are at hand.
        """  # fmt: skip
        rows = len(next(iter(u.values())))
        changed = twin or {}
        known = self._from_table(u, criteria, draws)
        age = known.pop("age") if "age" in known else self._ages(u["age"], criteria)
        male = known.pop("sex") if "sex" in known else self._men(u["sex"], criteria)
        if "age" in changed:
            age = np.full(rows, float(changed["age"]))  # type: ignore[arg-type]
        if "sex" in changed:
            male = np.full(rows, float(changed["sex"] == "M"))
        measured = {name: known.pop(name) for name in QUANTITIES if name in known}
        batch = PatientBatch(age, male, {}, {}, measured, np.ones(rows))
        for code, drawn in known.items():
            unknown = np.isnan(drawn) if code not in changed else np.zeros(rows, dtype=bool)
            present = np.full(rows, float(bool(changed[code]))) if code in changed else drawn
            # noise may give a man a code for women
            able = _able(batch, ONLY_SEX.get(code)) & ~unknown
            batch.present[code], batch.unknown[code] = np.where(able, present, 0.0), unknown
        for code, rule in self.rules.items():
            chance = rule.chance(batch)
            if code in changed:
                batch.present[code] = np.where(_able(batch, rule.sex), float(bool(changed[code])), 0.0)
            elif code in criteria.conditions:
                has = criteria.conditions[code]
                batch.present[code] = np.where(chance > 0, float(has), 0.0)
                batch.weight[:] *= chance if has else 1 - chance
            else:
                batch.present[code] = (u[code] < chance).astype(float)
        return batch

    def evidence(self, criteria: Criteria) -> dict[str, FloatArray]:
        """What the criteria say of the learnt table's columns; age and sex must be known."""
        assert self.table is not None
        found: dict[str, FloatArray] = {}
        for column in self.table.columns:
            where = f"{self.where}: {column.name}"
            if column.name in criteria.conditions:
                found[column.name] = column.weights(criteria.conditions[column.name], where)
            elif column.name in criteria.categories:
                found[column.name] = column.weights(sorted(criteria.categories[column.name]), where)
            elif column.name in criteria.ranges:
                found[column.name] = column.weights(list(criteria.ranges[column.name]), where)
            elif column.name in ("age", "sex") and column.missing:
                found[column.name] = np.array([1.0] * len(column.levels) + [0.0])
        return found

    def share_of_roots(self, criteria: Criteria) -> float:
        """How common the criteria ages and sexes are among all patients, or the table's whole evidence."""
        if self.table is not None:
            everybody = self.table.given(self.evidence(ANYBODY)).probability
            share = self.table.given(self.evidence(criteria)).probability / everybody
        else:
            share = 1.0
        if "age" not in self.tabled:
            low, high = self._age_places(criteria)
            share *= high - low
        if "sex" not in self.tabled:
            allowed = criteria.categories.get("sex", {"F", "M"})
            share *= self.config.women * ("F" in allowed) + (1 - self.config.women) * ("M" in allowed)
        return share

    def _from_table(
        self, u: Mapping[str, FloatArray], criteria: Criteria, draws: Draws | None
    ) -> dict[str, FloatArray]:
        if self.table is None:
            return {}
        draws = draws or self.table.given(self.evidence(criteria))
        columns = self.table.columns
        codes, places = draws.codes(np.column_stack([u[f"{TABLE}{column.name}"] for column in columns]))
        found: dict[str, FloatArray] = {}
        for k, column in enumerate(columns):
            if column.name not in self.tabled:
                continue
            within = criteria.ranges.get(column.name, (-np.inf, np.inf))
            values = column.decode(codes[:, k], places[:, k], within)
            if column.name == "sex":
                found["sex"] = (values == "M").astype(float)
            else:
                found[column.name] = np.array(values, dtype=np.float64)
        return found

    def _ages(self, u: FloatArray, criteria: Criteria) -> FloatArray:
        years = self.config.age
        assert years is not None
        low, high = self._age_places(criteria)
        drawn = [
            truncated_normal(low + x * (high - low), years.mean, years.sd, years.low, years.high) for x in u
        ]
        return np.array(drawn)

    def _age_places(self, criteria: Criteria) -> tuple[float, float]:
        years = self.config.age
        if years is None or "age" not in criteria.ranges:
            return 0.0, 1.0
        low, high = criteria.ranges["age"]
        return normal_places(low, high, years.mean, years.sd, years.low, years.high)

    def _men(self, u: FloatArray, criteria: Criteria) -> FloatArray:
        allowed = criteria.categories.get("sex", {"F", "M"})
        return (
            (u >= self.config.women).astype(float)
            if len(allowed) == 2
            else np.full(len(u), float("M" in allowed))
        )


def _drawn(name: str) -> bool:
    known = BY_NAME.get(name)
    return name in ("age", "sex") or name in QUANTITIES or (known is not None and known.kind == "condition")


def open_table(config: CohortConfig, where: str) -> TableModel | None:
    """The learnt table that a cohort names. Raises InputError if it is missing, changed or damaged."""
    if config.table is None:
        return None
    from ..core.training.weights import digest

    path = Path(config.table.file)
    model = TableModel.load(path)
    if config.table.sha256 and digest(path) != config.table.sha256:
        raise InputError(f"{where}: table: {path} is not the file that the cohort was begun with")
    return model


def _solve(rule: _Rule, batch: PatientBatch, key: str) -> float:
    """Baseline odds that give the share, by bisection on their logarithm."""
    prevalence, share = rule.prevalence, rule.prevalence.share
    able, forced = _able(batch, rule.sex), _forced(batch, rule.prevalence)
    relative = prevalence.relative_odds(batch.age, batch.male, batch.present)
    if share == 1:
        if (relative[able] == 0).any():
            raise InputError(f"{key}.share: 1 contradicts a factor of 0; lower the share or drop the factor")
        return float("inf")
    if not able.any():
        return 0.0
    least, most = float(forced[able].mean()), float((forced | (relative > 0))[able].mean())
    if share < least - 0.01:
        raise InputError(f"{key}.share: always_if alone makes it {least:.3g}, got {share:g}; raise the share")
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
    return 0.0 if share == 0 else float(f"{np.exp(high):.6g}")
