"""The cohort YAML as typed settings: who the patients are, and which of them are wanted."""

from datetime import date
from typing import Any, TypeVar

from pydantic import Field as Setting
from pydantic import model_validator

from ...core.config import Settings, parse
from ...core.errors import InputError
from ...core.types import FloatArray
from ..physiology import REFERENCE_AGE

MAX_FACTOR = 1000.0
Number = TypeVar("Number", float, FloatArray)


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

    def relative_odds(self, age: Number, male: Number, present: dict[str, Number]) -> Number:
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


class LearntTable(Settings):
    """A file of `polyclinic train population`, by path (from the YAML's folder on). The hash is filled in."""

    file: str
    sha256: str = ""

    @model_validator(mode="before")
    @classmethod
    def _plain_path(cls, value: Any) -> Any:
        return {"file": value} if isinstance(value, str) else value


class Stratum(Settings):
    """A share of the cohort, and who they are: `{share: 0.2, who: {sex: F, age: [65, 95], I50.9: true}}`."""

    share: float = Setting(gt=0, le=1)
    who: dict[str, Any] = Setting(min_length=1)


class Fairness(Settings):
    """Groups of equal size in which the listed conditions are equally common."""

    groups: list[dict[str, Any]] = Setting(min_length=2)
    conditions: dict[str, float] = Setting(default_factory=dict)


class CohortConfig(Settings):
    """A cohort YAML: who the patients are. Conditions come in order: each may depend on those above it.

    `table` draws age, sex and conditions from a learnt table, the rest from the rules. `include`,
    `exclude`, `strata` and `fairness` say which of these patients are wanted. `twin` changes one field of
    every patient. `sites` are named changes to all of the above; `options` are settings of modalities.
    """

    name: str = Setting(pattern=r"^[a-z][a-z0-9_]*$")
    title: str = ""
    index_date: Days
    table: LearntTable | None = None
    age: Age | None = None
    women: float = Setting(0.5, ge=0, le=1)
    conditions: dict[str, Prevalence] = Setting(default_factory=dict)
    chest_ap: Prevalence | None = None
    pam50: dict[str, float] = Setting(default_factory=dict)
    include: dict[str, Any] = Setting(default_factory=dict)
    exclude: list[dict[str, Any]] = Setting(default_factory=list)
    strata: list[Stratum] = Setting(default_factory=list)
    fairness: Fairness | None = None
    twin: dict[str, Any] = Setting(default_factory=dict, max_length=1)
    sites: dict[str, dict[str, Any]] = Setting(default_factory=dict)
    options: dict[str, dict[str, Any]] = Setting(default_factory=dict)

    def site(self, name: str, where: str) -> "CohortConfig":
        """The cohort of one site: the site's settings replace the common ones, key by key. Raises InputError."""
        if name not in self.sites:
            known = ", ".join(self.sites) or "none"
            raise InputError(f"{where}: no site {name!r}; sites: {known}")
        values = self.model_dump(mode="json", exclude={"sites"}, exclude_none=True)
        values["name"] = f"{self.name}_{name}"
        return parse(CohortConfig, _changed(values, self.sites[name]), f"{where}: sites.{name}")


def _changed(values: Any, changes: Any) -> Any:
    """Nested settings with others put in their place; a plain share replaces a prevalence's share alone."""
    if isinstance(values, dict) and isinstance(changes, dict):
        return values | {key: _changed(values.get(key), change) for key, change in changes.items()}
    if isinstance(values, dict) and "share" in values and type(changes) in (int, float):
        return {**values, "share": changes}
    return changes
