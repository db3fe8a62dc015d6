"""CaseMix: age, sex and conditions of patients, condition by condition or from a learnt table, under evidence."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..core.errors import InputError
from ..core.fields import BY_NAME, ONLY_SEX
from ..core.types import BoolArray, FloatArray
from .design.cohort_config import CohortConfig, Prevalence
from .design.criteria import ANYBODY, Wanted
from .physiology import QUANTITIES, normal_places, truncated_normal
from .table.table_model import Draws, TableModel

PROBE = 20_000  # patients on whom shares are calibrated
TABLE = "table/"  # what a table column's uniform numbers are called


@dataclass(frozen=True)
class Crowd:
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

    def chance(self, crowd: Crowd) -> FloatArray:
        able = _able(crowd, self.sex)
        if self.prevalence.share == 1:
            return able.astype(float)
        odds = self.odds * self.prevalence.relative_odds(crowd.age, crowd.male, crowd.present)
        return np.where(able, np.where(_forced(crowd, self.prevalence), 1.0, odds / (1 + odds)), 0.0)


def _able(crowd: Crowd, sex: str | None) -> BoolArray:
    return np.ones(len(crowd.age), dtype=bool) if sex is None else crowd.male == float(sex == "M")


def _forced(crowd: Crowd, prevalence: Prevalence) -> BoolArray:
    forced = np.zeros(len(crowd.age), dtype=bool)
    for code in prevalence.always_if:
        forced |= crowd.present[code] > 0
    return forced


@dataclass
class CaseMix:
    """How a cohort's age, sex and conditions hang together, calibrated so that shares are as asked."""

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
        crowd = self.draw(u)
        for code, prevalence in self.config.conditions.items():
            rule = _Rule(prevalence, 0.0, ONLY_SEX.get(code))
            odds = _solve(rule, crowd, f"{self.where}: conditions.{code}")
            self.rules[code] = rule = _Rule(prevalence, odds, rule.sex)
            crowd.present[code] = (rng.random(PROBE) < rule.chance(crowd)).astype(float)
        if self.config.chest_ap is not None:
            odds = _solve(_Rule(self.config.chest_ap, 0.0, None), crowd, f"{self.where}: chest_ap")
            self.ap_rule = _Rule(self.config.chest_ap, odds, None)

    @property
    def tabled(self) -> tuple[str, ...]:
        """Profile fields that the learnt table draws: age, sex, conditions and what else follows from rules."""
        return () if self.table is None else tuple(c.name for c in self.table.columns if _drawn(c.name))

    def draw(
        self,
        u: Mapping[str, FloatArray],
        wanted: Wanted = ANYBODY,
        twin: Mapping[str, object] | None = None,
        draws: Draws | None = None,
    ) -> Crowd:
        """Patients from uniform numbers by field; `twin` changes a field and what follows from it, at no weight.

        `draws` are the learnt table's under the evidence, where they are at hand.
        """  # fmt: skip
        rows = len(next(iter(u.values())))
        changed = twin or {}
        known = self._from_table(u, wanted, draws)
        age = known.pop("age") if "age" in known else self._ages(u["age"], wanted)
        male = known.pop("sex") if "sex" in known else self._men(u["sex"], wanted)
        if "age" in changed:
            age = np.full(rows, float(changed["age"]))  # type: ignore[arg-type]
        if "sex" in changed:
            male = np.full(rows, float(changed["sex"] == "M"))
        measured = {name: known.pop(name) for name in QUANTITIES if name in known}
        crowd = Crowd(age, male, {}, {}, measured, np.ones(rows))
        for code, drawn in known.items():
            unknown = np.isnan(drawn) if code not in changed else np.zeros(rows, dtype=bool)
            present = np.full(rows, float(bool(changed[code]))) if code in changed else drawn
            # noise may give a man a code for women
            able = _able(crowd, ONLY_SEX.get(code)) & ~unknown
            crowd.present[code], crowd.unknown[code] = np.where(able, present, 0.0), unknown
        for code, rule in self.rules.items():
            chance = rule.chance(crowd)
            if code in changed:
                crowd.present[code] = np.where(_able(crowd, rule.sex), float(bool(changed[code])), 0.0)
            elif code in wanted.conditions:
                has = wanted.conditions[code]
                crowd.present[code] = np.where(chance > 0, float(has), 0.0)
                crowd.weight[:] *= chance if has else 1 - chance
            else:
                crowd.present[code] = (u[code] < chance).astype(float)
        return crowd

    def evidence(self, wanted: Wanted) -> dict[str, FloatArray]:
        """What the criteria say of the learnt table's columns; age and sex must be known."""
        assert self.table is not None
        found: dict[str, FloatArray] = {}
        for column in self.table.columns:
            where = f"{self.where}: {column.name}"
            if column.name in wanted.conditions:
                found[column.name] = column.weights(wanted.conditions[column.name], where)
            elif column.name in wanted.words:
                found[column.name] = column.weights(sorted(wanted.words[column.name]), where)
            elif column.name in wanted.ranges:
                found[column.name] = column.weights(list(wanted.ranges[column.name]), where)
            elif column.name in ("age", "sex") and column.missing:
                found[column.name] = np.array([1.0] * len(column.levels) + [0.0])
        return found

    def share_of_roots(self, wanted: Wanted) -> float:
        """How common the wanted ages and sexes are among all patients, or the table's whole evidence."""
        if self.table is not None:
            everybody = self.table.given(self.evidence(ANYBODY)).probability
            share = self.table.given(self.evidence(wanted)).probability / everybody
        else:
            share = 1.0
        if "age" not in self.tabled:
            low, high = self._age_places(wanted)
            share *= high - low
        if "sex" not in self.tabled:
            allowed = wanted.words.get("sex", {"F", "M"})
            share *= self.config.women * ("F" in allowed) + (1 - self.config.women) * ("M" in allowed)
        return share

    def _from_table(
        self, u: Mapping[str, FloatArray], wanted: Wanted, draws: Draws | None
    ) -> dict[str, FloatArray]:
        if self.table is None:
            return {}
        draws = draws or self.table.given(self.evidence(wanted))
        columns = self.table.columns
        codes, places = draws.codes(np.column_stack([u[f"{TABLE}{column.name}"] for column in columns]))
        found: dict[str, FloatArray] = {}
        for k, column in enumerate(columns):
            if column.name not in self.tabled:
                continue
            within = wanted.ranges.get(column.name, (-np.inf, np.inf))
            values = column.decode(codes[:, k], places[:, k], within)
            if column.name == "sex":
                found["sex"] = (values == "M").astype(float)
            else:
                found[column.name] = np.array(values, dtype=np.float64)
        return found

    def _ages(self, u: FloatArray, wanted: Wanted) -> FloatArray:
        years = self.config.age
        assert years is not None
        low, high = self._age_places(wanted)
        drawn = [
            truncated_normal(low + x * (high - low), years.mean, years.sd, years.low, years.high) for x in u
        ]
        return np.array(drawn)

    def _age_places(self, wanted: Wanted) -> tuple[float, float]:
        years = self.config.age
        if years is None or "age" not in wanted.ranges:
            return 0.0, 1.0
        low, high = wanted.ranges["age"]
        return normal_places(low, high, years.mean, years.sd, years.low, years.high)

    def _men(self, u: FloatArray, wanted: Wanted) -> FloatArray:
        allowed = wanted.words.get("sex", {"F", "M"})
        return (
            (u >= self.config.women).astype(float)
            if len(allowed) == 2
            else np.full(len(u), float("M" in allowed))
        )


def _drawn(name: str) -> bool:
    known = BY_NAME.get(name)
    return name in ("age", "sex") or name in QUANTITIES or (known is not None and known.kind == "condition")


def open_table(config: CohortConfig, where: str) -> TableModel | None:
    """The learnt table that a cohort names. Raises InputError if it is missing, changed or tells too little."""
    if config.table is None:
        return None
    from ..core.training.weights import digest

    path = Path(config.table.file)
    model = TableModel.load(path)
    if config.table.sha256 and digest(path) != config.table.sha256:
        raise InputError(f"{where}: table: {path} is not the file that the cohort was begun with")
    return model


def _solve(rule: _Rule, crowd: Crowd, key: str) -> float:
    """Baseline odds that give the share, by bisection on their logarithm."""
    prevalence, share = rule.prevalence, rule.prevalence.share
    able, forced = _able(crowd, rule.sex), _forced(crowd, rule.prevalence)
    relative = prevalence.relative_odds(crowd.age, crowd.male, crowd.present)
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
