"""The cohort YAML as typed settings: who the patients are, and which of them are wanted."""

from datetime import date
from typing import Annotated, Any

from pydantic import Field as Setting
from pydantic import model_validator

from ...core.config import Settings, parse
from ...core.errors import InputError
from ...core.fields import TRUTH, ClassName, Declaration, Field, class_of
from ...core.profile import Value
from ..distributions import Prevalence


class Age(Settings):
    """Years: a normal distribution cut off at low and high; adults unless `low` says otherwise."""

    mean: float
    sd: float = Setting(gt=0, le=60)
    low: float = Setting(18, ge=0, le=110)
    high: float = Setting(95, gt=0, le=110)


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
    """A cohort YAML: who the patients are. Conditions and fields come in order: each may depend on those above it.

    `declare` adds fields to the vocabulary; `fields` says how they, or other fields, are distributed. `counts` asks
    for so many patients of each class of one field. `table` draws age, sex and conditions from a learnt table, the
    rest from the rules. `include`, `exclude`, `strata` and `fairness` say which of these patients are wanted. `twin`
    changes one field of every patient. `sites` are named changes to all of the above; `options` are settings of
    modalities.
    """

    name: str = Setting(pattern=r"^[a-z][a-z0-9_]*$")
    title: str = ""
    index_date: Days
    table: LearntTable | None = None
    age: Age | None = None
    women: float = Setting(0.5, ge=0, le=1)
    conditions: dict[str, Prevalence] = Setting(default_factory=dict)
    declare: dict[str, Declaration] = Setting(default_factory=dict)
    fields: dict[str, Any] = Setting(default_factory=dict)
    counts: dict[str, dict[ClassName, Annotated[int, Setting(ge=0)]]] = Setting(
        default_factory=dict, max_length=1
    )
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


def parse_counts(text: str) -> dict[str, dict[str, int]]:
    """`counts` from the command line, as `melanoma: 300 yes, 300 no`. Raises InputError."""
    name, colon, rest = text.partition(":")
    found: dict[str, int] = {}
    for part in rest.split(","):
        number, _, value = part.strip().partition(" ")
        value = class_of(value)
        if value in found:
            raise InputError(
                f"--fields: {name.strip()}: {value} is named twice in {text!r}; add the two numbers up"
            )
        if not (colon and name.strip() and number.isdigit() and value):
            raise InputError(
                f"--fields: expected `FIELD: N CLASS, N CLASS`, as 'melanoma: 300 yes, 300 no', got {text!r}"
            )
        found[value] = int(number)
    return {name.strip(): found}


def counted(counts: dict[str, int], known: Field, where: str) -> dict[Value, int]:
    """The counts of a field by its values. Raises InputError for a number, or a class that the field lacks."""
    if known.kind == "number":
        raise InputError(f"{where}: {known.name} is a number; counts need a flag or a category")
    classes = {name: flag for name, flag in TRUTH.items() if name in ("yes", "no", "true", "false")}
    values: dict[str, Value] = (
        dict(classes) if known.kind == "flag" else {name: name for name in known.classes}
    )
    if strange := [name for name in counts if name not in values]:
        raise InputError(f"{where}: {known.name}: expected one of {', '.join(values)}, got {strange[0]!r}")
    if not sum(counts.values()):
        raise InputError(f"{where}: {known.name}: asks for no patients; expected a number above 0")
    return {values[name]: number for name, number in counts.items() if number}


def _changed(values: Any, changes: Any) -> Any:
    """Nested settings with others put in their place; a plain share replaces a prevalence's share alone."""
    if isinstance(values, dict) and isinstance(changes, dict):
        return values | {key: _changed(values.get(key), change) for key, change in changes.items()}
    if isinstance(values, dict) and "share" in values and type(changes) in (int, float):
        return {**values, "share": changes}
    return changes
