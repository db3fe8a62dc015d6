"""CaseMix: age, sex and fields of patients, rule by rule or from a learnt table, under criteria."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..core.errors import InputError
from ..core.fields import Field, Vocabulary
from ..core.training.weights import digest
from ..core.types import AnyArray, FloatArray
from .design.cohort_config import CohortConfig
from .design.criteria import ANYBODY, Criteria
from .distributions import (
    CategoryRule,
    CategoryShares,
    FieldSettings,
    FlagRule,
    NumberRule,
    PatientBatch,
    Prevalence,
    Rule,
)
from .physiology import QUANTITIES, places_between, truncated
from .table.table_model import Draws, TableModel

PROBE = 20_000  # patients on whom shares are calibrated
BODY = ("height", "weight", "diastolic")  # follow from other values where a table does not have them
TABLE = "table/"  # what a table column's uniform numbers are called


@dataclass
class CaseMix:
    """The joint distribution of a cohort's age, sex and fields, calibrated so that shares are as asked."""

    config: CohortConfig
    settings: FieldSettings  # of conditions and declared fields, each after those that it depends on
    vocabulary: Vocabulary
    where: str
    table: TableModel | None = None
    rules: dict[str, Rule] = field(default_factory=dict)
    ap_rule: FlagRule | None = None

    def __post_init__(self) -> None:
        rng = np.random.default_rng(0)
        u = {"age": (np.arange(PROBE) + 0.5) / PROBE, "sex": rng.random(PROBE)}
        if self.table:
            u |= {f"{TABLE}{column.name}": rng.random(PROBE) for column in self.table.columns}
        batch = self.draw(u)
        for name, settings in self.settings.items():
            known, key = self.vocabulary.field(name, self.where), f"{self.where}: {self.key(name)}"
            if isinstance(settings, Prevalence):
                flag = self.rules[name] = FlagRule.solve(settings, known.sex, batch, key)
                batch.present[name] = (rng.random(PROBE) < flag.chance(batch)).astype(float)
            elif isinstance(settings, CategoryShares):
                category = self.rules[name] = CategoryRule.solve(settings, known, batch, key)
                batch.set_category(name, category.draw(batch, rng.random(PROBE))[0], known.classes)
            else:
                self.rules[name] = NumberRule.solve(settings, known, batch, key)
        if self.config.chest_ap is not None:
            self.ap_rule = FlagRule.solve(self.config.chest_ap, None, batch, f"{self.where}: chest_ap")

    @property
    def drawn(self) -> tuple[str, ...]:
        """The fields drawn beyond those that every cohort has: by rules, from the table, the view of an X-ray."""
        view = ("chest_view",) if self.ap_rule is not None else ()
        return (*self.rules, *self.tabled, *view)

    def key(self, name: str) -> str:
        """Where the cohort YAML sets a field."""
        return f"{'conditions' if name in self.config.conditions else 'fields'}.{name}"

    @property
    def tabled(self) -> tuple[str, ...]:
        """Profile fields that the learnt table draws: age, sex, flags and what else follows from rules."""
        return () if self.table is None else tuple(c.name for c in self.table.columns if self._drawn(c.name))

    def _drawn(self, name: str) -> bool:
        known = self.vocabulary.by_name.get(name)
        if known is None:
            return False
        return name in ("age", "sex", *QUANTITIES, *BODY) or known.kind == "flag" or known.declared

    def draw(
        self,
        u: Mapping[str, FloatArray],
        criteria: Criteria = ANYBODY,
        twin: Mapping[str, object] | None = None,
        draws: Draws | None = None,
    ) -> PatientBatch:
        """Patients from uniform numbers by field; `twin` changes a field and what follows from it, at no weight.

        `draws` are the learnt table's under the criteria, where they are at hand.
        """  # fmt: skip
        rows = len(next(iter(u.values())))
        changed = twin or {}
        tabled = self._from_table(u, criteria, draws)
        age = tabled.pop("age").astype(float) if "age" in tabled else self._ages(u["age"], criteria)
        male = (tabled.pop("sex") == "M").astype(float) if "sex" in tabled else self._men(u["sex"], criteria)
        if "age" in changed:
            age = np.full(rows, float(changed["age"]))  # type: ignore[arg-type]
        if "sex" in changed:
            male = np.full(rows, float(changed["sex"] == "M"))
        batch = PatientBatch(age, male, {}, {}, {}, np.ones(rows))
        for name, drawn in tabled.items():
            self._set_tabled(batch, self.vocabulary.field(name), drawn, changed.get(name))
        for name, rule in self.rules.items():
            fixed = changed.get(name)
            if isinstance(rule, FlagRule):
                chance = rule.chance(batch)
                if fixed is not None:
                    batch.present[name] = np.where(batch.able(rule.sex), float(bool(fixed)), 0.0)
                elif name in criteria.conditions:
                    has = criteria.conditions[name]
                    batch.present[name] = np.where(chance > 0, float(has), 0.0)
                    batch.weight[:] *= chance if has else 1 - chance
                else:
                    batch.present[name] = (u[name] < chance).astype(float)
            elif isinstance(rule, CategoryRule):
                values, chance = rule.draw(batch, u[name], criteria.categories.get(name))
                batch.set_category(name, values if fixed is None else _filled(fixed, rows), rule.classes)
                batch.weight[:] *= chance
            else:
                numbers, chance = rule.draw(batch, u[name], criteria.ranges.get(name))
                batch.values[name] = numbers if fixed is None else np.full(rows, float(str(fixed)))
                batch.weight[:] *= chance
        return batch

    def _set_tabled(self, batch: PatientBatch, known: Field, drawn: AnyArray, fixed: object) -> None:
        """Give the rows what the learnt table drew of a field, or the twin's value."""
        if known.kind == "category":
            values = drawn if fixed is None else _filled(fixed, len(drawn))
            batch.set_category(known.name, values, known.classes)
            return
        numbers = np.array(drawn, dtype=np.float64)  # None becomes NaN
        if known.kind == "number":
            batch.values[known.name] = numbers
            return
        unknown = np.isnan(numbers) if fixed is None else np.zeros(len(drawn), dtype=bool)
        present = numbers if fixed is None else np.full(len(drawn), float(bool(fixed)))
        # noise may give a man a code for women
        able = batch.able(known.sex) & ~unknown
        batch.present[known.name], batch.unknown[known.name] = np.where(able, present, 0.0), unknown

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
        """How common the wanted ages and sexes are among all patients, or the table's whole evidence."""
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
    ) -> dict[str, AnyArray]:
        if self.table is None:
            return {}
        draws = draws or self.table.given(self.evidence(criteria))
        uniforms = np.column_stack([u[f"{TABLE}{column.name}"] for column in self.table.columns])
        drawn, tabled = self.table.values(draws, uniforms, criteria.ranges), self.tabled
        return {name: values for name, values in drawn.items() if name in tabled}

    def _ages(self, u: FloatArray, criteria: Criteria) -> FloatArray:
        years = self.config.age
        assert years is not None
        low, high = self._age_places(criteria)
        drawn = [truncated(low + x * (high - low), years.mean, years.sd, years.low, years.high) for x in u]
        return np.array(drawn)

    def _age_places(self, criteria: Criteria) -> tuple[float, float]:
        years = self.config.age
        if years is None or "age" not in criteria.ranges:
            return 0.0, 1.0
        low, high = criteria.ranges["age"]
        return places_between(low, high, years.mean, years.sd, years.low, years.high)

    def _men(self, u: FloatArray, criteria: Criteria) -> FloatArray:
        allowed = criteria.categories.get("sex", {"F", "M"})
        both = len(allowed) == 2
        return (u >= self.config.women).astype(float) if both else np.full(len(u), float("M" in allowed))


def _filled(value: object, rows: int) -> AnyArray:
    return np.full(rows, value, dtype=object)


def open_table(config: CohortConfig, where: str) -> TableModel | None:
    """The learnt table that a cohort names. Raises InputError if it is missing, changed or damaged."""
    if config.table is None:
        return None
    path = Path(config.table.file)
    model = TableModel.load(path)
    if config.table.sha256 and digest(path) != config.table.sha256:
        raise InputError(f"{where}: table: {path} is not the file that the cohort was begun with")
    return model
