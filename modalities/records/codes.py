"""The bundled list of codes: every diagnosis, observation, drug, procedure and answer that a record may name.

The lists are configs/codes/*.yaml; courses call an entry by its name (`heart_failure`), files by its code.
"""

from dataclasses import dataclass, fields
from functools import cache, cached_property
from importlib.resources import files
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import Field

from ...core.config import Settings, parse, read_yaml
from ...core.fields import ICD10, LOINC, SNOMED

RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
UCUM = "http://unitsofmeasure.org"
DICOM = "http://dicom.nema.org/resources/ontology/DCM"
HGNC = "http://www.genenames.org"

# One guard for both codes of breast cancer; which one a patient has follows from sex.
BREAST_CANCER = "breast_cancer"


class Entry(Settings):
    """A code and its display, in the system of its list; `omop` is its standard concept, 0 where uncertain."""

    code: str
    display: str
    omop: int = 0


class Diagnosis(Entry):
    """A condition: in whom it can be (sex, years), and when it began if no course says so."""

    after: float | Literal["found"] | None = None
    sex: Literal["F", "M"] | None = None
    low: float = 0.0


class Observable(Entry):
    """What is measured: UCUM unit and possible range, or answers in words, or a panel of parts."""

    unit: str = ""
    decimals: int = 0
    low: float = 0.0
    high: float = 0.0
    group: str = "laboratory"
    usual: tuple[float, float] | None = None
    within: float = 0.0
    normal: tuple[float, float] | dict[Literal["F", "M"], tuple[float, float]] | None = None
    answers: bool = False
    parts: list[str] | None = None

    def range_of(self, sex: str | None) -> tuple[float, float] | None:
        """The reference range of that sex; of either where it is not known and they differ, None."""
        if isinstance(self.normal, dict):
            return {str(key): limits for key, limits in self.normal.items()}.get(sex or "")
        return self.normal

    def rounded(self, value: float) -> float | int:
        """The value inside [low, high], with this observation's decimals."""
        inside = min(max(value, self.low), self.high)
        return round(inside, self.decimals) if self.decimals else round(inside)


class Drug(Entry):
    """An ingredient: limits of one dose and of a day in `unit`, what it treats, when it must not be started."""

    unit: str
    dose: tuple[float, float]
    daily: float
    treats: list[str]
    route: Literal["oral", "intravenous", "subcutaneous"] = "oral"
    sex: Literal["F", "M"] | None = None
    not_with: tuple[str, ...] = ()
    least_egfr: float = 0.0
    effect: dict[str, float] = Field(default_factory=dict)


class Act(Entry):
    """A procedure, and the conditions of which one must be on record."""

    needs: tuple[str, ...] = ()


E = TypeVar("E", bound=Entry)


def read_list(model: type[E], name: str) -> dict[str, E]:
    """The entries of configs/codes/<name>.yaml by name. Raises InputError."""
    path = Path(str(files("polyclinic.configs"))) / "codes" / f"{name}.yaml"
    return {key: parse(model, values, f"{path}: {key}") for key, values in read_yaml(path).items()}


@dataclass(frozen=True)
class Codes:
    """The five lists, each by name."""

    conditions: dict[str, Diagnosis]
    observations: dict[str, Observable]
    drugs: dict[str, Drug]
    procedures: dict[str, Act]
    answers: dict[str, Entry]

    @cached_property
    def by_code(self) -> dict[str, dict[str, str]]:
        """Of each list, by its name: the name of every code."""
        return {
            one.name: {entry.code: name for name, entry in getattr(self, one.name).items()}
            for one in fields(self)
        }

    def displays(self) -> dict[tuple[str, str], str]:
        """(system, code) -> display of every entry."""
        lists: list[tuple[str, dict[str, Entry]]] = [
            (ICD10, dict(self.conditions)),
            (LOINC, dict(self.observations)),
            (RXNORM, dict(self.drugs)),
            (SNOMED, {**self.procedures, **self.answers}),
        ]
        return {(system, entry.code): entry.display for system, one in lists for entry in one.values()}


@cache
def codes() -> Codes:
    """The bundled lists, read once."""
    return Codes(
        read_list(Diagnosis, "conditions"),
        read_list(Observable, "observations"),
        read_list(Drug, "drugs"),
        read_list(Act, "procedures"),
        read_list(Entry, "answers"),
    )


def holds(wanted: str, present: set[str]) -> bool:
    """Whether a condition, or for breast cancer either of its codes, is among those present."""
    if wanted == BREAST_CANCER:
        return "breast_cancer_woman" in present or "breast_cancer_man" in present
    return wanted in present
