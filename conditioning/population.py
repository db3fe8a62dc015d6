"""Population: synthetic profiles drawn from a cohort YAML, each from the seed and its own index alone."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from hashlib import blake2b
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field as Setting
from pydantic import model_validator

from ..core.config import Settings, load
from ..core.errors import InputError
from ..core.profile import PatientProfile, seed_for
from ..core.vocabulary import BREAST_CANCER, BY_NAME, ONLY_SEX, checked, field
from .physiology import REFERENCE_AGE, USED, measured, truncated_normal

FROM_HEART_RATE = ("R00.0", "R00.1")  # over 100 and under 60 /min, without atrial fibrillation
MAX_FACTOR = 1000.0
_UNIFORMS = tuple(dict.fromkeys([*BY_NAME, *USED, "index_date"]))
_PROBE = 20_000  # patients on whom shares are calibrated

Number = TypeVar("Number", float, NDArray[np.float64])


class Prevalence(Settings):
    """How common a condition is, and in whom: `0.1`, or `{share: 0.1, per_decade: 2, given: {I10: 1.5}}`.

    `share` is the share of the cohort that has it (of those who can: women, for C50.919). The rest are
    factors on the odds: for ten years more of age, for men, and for each listed condition that is
    present. `always_if` names conditions that imply this one.
    """

    share: float = Setting(ge=0, le=1)
    per_decade: float = Setting(1.0, gt=0, le=10)
    men: float = Setting(1.0, ge=0, le=100)
    given: dict[str, float] = Setting(default_factory=dict)
    always_if: list[str] = Setting(default_factory=list)

    @model_validator(mode="before")
    @classmethod
    def _plain_number(cls, value: Any) -> Any:
        return {"share": value} if type(value) in (int, float) else value

    def relative_odds(self, age: Number, male: Number, present: Mapping[str, Number]) -> Number:
        """Odds relative to a woman of the reference age with none of the `given` conditions."""
        odds: Number = self.per_decade ** ((age - REFERENCE_AGE) / 10) * self.men**male
        for code, factor in self.given.items():
            odds = odds * factor ** present[code]
        return odds


class Age(Settings):
    """Years: a normal distribution cut off at low and high. Adults only."""

    mean: float
    sd: float = Setting(gt=0, le=60)
    low: float = Setting(18, ge=18, le=110)
    high: float = Setting(95, ge=18, le=110)


class Days(Settings):
    """The index date lies between these two days, both included."""

    first: date
    last: date


class CohortConfig(Settings):
    """A cohort YAML: who the patients are. Conditions come in order: each may depend on those above it."""

    name: str = Setting(pattern=r"^[a-z][a-z0-9_]*$")
    title: str = ""
    index_date: Days
    age: Age
    women: float = Setting(0.5, ge=0, le=1)
    conditions: dict[str, Prevalence] = Setting(default_factory=dict)
    chest_ap: Prevalence | None = None
    pam50: dict[str, float] = Setting(default_factory=dict)


@dataclass(frozen=True)
class _Rule:
    """A prevalence with the baseline odds that give its share in this cohort."""

    prevalence: Prevalence
    odds: float
    sex: str | None

    def probability(self, age: float, sex: str, present: Mapping[str, bool]) -> float:
        if self.sex not in (None, sex):
            return 0.0
        if self.prevalence.share == 1 or any(present[code] for code in self.prevalence.always_if):
            return 1.0
        odds = self.odds * self.prevalence.relative_odds(
            age, float(sex == "M"), {code: float(present[code]) for code in self.prevalence.given}
        )
        return odds / (1 + odds)


class Population:
    """All patients a cohort YAML can give: patient(i, seed) depends on the cohort, the seed and i alone.

    Raises InputError, naming file and key, for a design that no patients can satisfy.
    """

    def __init__(self, config: CohortConfig, where: str = "cohort") -> None:
        self.config = config
        _check(config, where)
        self._rules, self._ap_rule = _calibrate(config, where)
        self._subtypes = list(config.pam50)
        shares = np.array([config.pam50[name] for name in self._subtypes], dtype=float)
        self._subtype_edges = (np.cumsum(shares) / max(shares.sum(), 1e-9)).tolist()

    @classmethod
    def load(cls, name: str) -> "Population":
        """The population of a shipped cohort (`cardio_oncology`) or of a YAML file. Raises InputError."""
        config, path = load(CohortConfig, name, "cohort")
        return cls(config, str(path))

    def patient_id(self, index: int, seed: int) -> str:
        """`PC-7F3A2C-000012`: six hex digits for cohort and seed, then the index."""
        mark = blake2b(f"{self.config.name}/{seed}".encode(), digest_size=3).hexdigest().upper()
        return f"PC-{mark}-{index:06d}"

    def draw(self, n: int, seed: int) -> Iterator[PatientProfile]:
        """Patients 0 to n - 1, one at a time. Raises InputError at once unless n is a whole number over 0."""
        if isinstance(n, bool) or not isinstance(n, int) or n <= 0:
            raise InputError(f"the number of patients must be a whole number over 0, got {n!r}")
        return (self.patient(index, seed) for index in range(n))

    def patient(self, index: int, seed: int) -> PatientProfile:
        """The profile of one patient, whoever else is drawn."""
        patient_id = self.patient_id(index, seed)
        rng = np.random.default_rng(seed_for(seed, patient_id, "profile"))
        # One number a vocabulary field, so that a change to one condition leaves the others' draws alone.
        u = dict(zip(_UNIFORMS, rng.random(len(_UNIFORMS)).tolist(), strict=True))
        years = self.config.age
        age = round(truncated_normal(u["age"], years.mean, years.sd, years.low, years.high), 1)
        sex = "F" if u["sex"] < self.config.women else "M"
        conditions: dict[str, bool] = {}
        for code, rule in self._rules.items():
            conditions[code] = u[code] < rule.probability(age, sex, conditions)
        values = measured(age, sex, conditions, u)
        regular = not conditions.get("I48.91", False)
        fast, slow = FROM_HEART_RATE
        traits: dict[str, str] = {}
        if self._ap_rule is not None:
            ap = u["chest_view"] < self._ap_rule.probability(age, sex, conditions)
            traits["chest_view"] = "AP" if ap else "PA"
        if self._subtypes and any(conditions.get(code) for code in BREAST_CANCER):
            place = sum(u["pam50"] >= edge for edge in self._subtype_edges[:-1])
            traits["pam50"] = self._subtypes[place]
        days = self.config.index_date
        after = int(u["index_date"] * ((days.last - days.first).days + 1))
        profile = PatientProfile(
            patient_id=patient_id,
            age=age,
            sex=sex,
            height=values.pop("height"),
            weight=values.pop("weight"),
            conditions={
                **conditions,
                fast: regular and values["heart_rate"] > 100,
                slow: regular and values["heart_rate"] < 60,
            },
            measurements=values,
            traits=traits,
            index_date=days.first + timedelta(days=after),
        )
        return checked(profile, self.config.name)


def _check(config: CohortConfig, where: str) -> None:
    """Refuse what no patients can satisfy, before any is drawn."""
    if config.index_date.first > config.index_date.last:
        raise InputError(f"{where}: index_date.first must not come after index_date.last")
    if not config.age.low < config.age.high:
        raise InputError(f"{where}: age.low must lie below age.high, got {config.age.low}, {config.age.high}")
    if not config.age.low <= config.age.mean <= config.age.high:
        raise InputError(f"{where}: age.mean must lie between age.low and age.high, got {config.age.mean}")
    above: list[str] = []
    for code, prevalence in config.conditions.items():
        key = f"{where}: conditions.{code}"
        if field(code, f"{where}: conditions").kind != "condition":
            raise InputError(
                f"{key}: {code} is not a condition; expected an ICD-10-CM code of the vocabulary"
            )
        if code in FROM_HEART_RATE:
            raise InputError(f"{key}: follows from the heart rate of every patient; leave it out")
        if prevalence.share > 0 and _share_of_sex(config, ONLY_SEX.get(code)) == 0:
            who = "women" if ONLY_SEX[code] == "F" else "men"
            raise InputError(f"{key}: is a code for {who}, and women: {config.women:g} leaves none")
        _check_parents(prevalence, above, key)
        above.append(code)
    if config.chest_ap is not None:
        _check_parents(config.chest_ap, above, f"{where}: chest_ap")
    if config.pam50:
        for name, share in config.pam50.items():
            BY_NAME["pam50"].check(name, f"{where}: pam50")
            if not 0 <= share <= 1:
                raise InputError(f"{where}: pam50.{name}: a share must lie in 0 to 1, got {share}")
        if abs(sum(config.pam50.values()) - 1) > 0.02:  # published shares are rounded
            raise InputError(f"{where}: pam50: shares must add up to 1, got {sum(config.pam50.values()):g}")
        if not set(BREAST_CANCER) & set(above):
            raise InputError(
                f"{where}: pam50: needs breast cancer ({', '.join(BREAST_CANCER)}) in conditions"
            )


def _check_parents(prevalence: Prevalence, above: list[str], key: str) -> None:
    for name, codes in (("given", list(prevalence.given)), ("always_if", prevalence.always_if)):
        for code in codes:
            field(code, f"{key}.{name}")
            if code not in above:
                raise InputError(f"{key}.{name}: {code} must be listed under conditions, above what needs it")
    for code, factor in prevalence.given.items():
        if not 0 <= factor <= MAX_FACTOR:
            raise InputError(f"{key}.given.{code}: a factor must lie in 0 to {MAX_FACTOR:g}, got {factor}")


def _share_of_sex(config: CohortConfig, sex: str | None) -> float:
    return 1.0 if sex is None else config.women if sex == "F" else 1 - config.women


def _calibrate(config: CohortConfig, where: str) -> tuple[dict[str, _Rule], _Rule | None]:
    """Baseline odds that give each share, found on a fixed crowd drawn condition by condition."""
    rng = np.random.default_rng(0)
    years = config.age
    places = (np.arange(_PROBE) + 0.5) / _PROBE
    age = np.array([truncated_normal(u, years.mean, years.sd, years.low, years.high) for u in places])
    male = (rng.random(_PROBE) >= config.women).astype(float)
    present: dict[str, NDArray[np.float64]] = {}
    rules: dict[str, _Rule] = {}
    for code, prevalence in config.conditions.items():
        sex = ONLY_SEX.get(code)
        able = np.ones(_PROBE, dtype=bool) if sex is None else male == float(sex == "M")
        key = f"{where}: conditions.{code}"
        odds, chance = _solve(prevalence, age, male, present, able, key)
        rules[code] = _Rule(prevalence, odds, sex)
        present[code] = (able & (rng.random(_PROBE) < chance)).astype(float)
    if config.chest_ap is None:
        return rules, None
    everyone = np.ones(_PROBE, dtype=bool)
    odds, _ = _solve(config.chest_ap, age, male, present, everyone, f"{where}: chest_ap")
    return rules, _Rule(config.chest_ap, odds, None)


def _solve(
    prevalence: Prevalence,
    age: NDArray[np.float64],
    male: NDArray[np.float64],
    present: Mapping[str, NDArray[np.float64]],
    able: NDArray[np.bool_],
    key: str,
) -> tuple[float, NDArray[np.float64]]:
    """Baseline odds and each probe patient's chance, by bisection on the logarithm of the odds."""
    relative = prevalence.relative_odds(age, male, present)
    forced = np.zeros(len(age), dtype=bool)
    for code in prevalence.always_if:
        forced |= present[code] > 0
    share = prevalence.share
    if share == 1:
        if (relative[able] == 0).any():
            raise InputError(f"{key}.share: 1 contradicts a factor of 0; lower the share or drop the factor")
        return float("inf"), np.ones(len(age))

    def chances(odds: float) -> NDArray[np.float64]:
        return np.where(forced, 1.0, odds * relative / (1 + odds * relative))

    if not able.any():
        return 0.0, np.zeros(len(age))
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
        low, high = (middle, high) if chances(np.exp(middle))[able].mean() < share else (low, middle)
    odds = 0.0 if share == 0 else float(f"{np.exp(high):.6g}")
    return odds, chances(odds)
