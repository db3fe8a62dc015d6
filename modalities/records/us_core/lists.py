"""The lists behind US Core's resources: further terms, allergens, vaccines, and configs/us_core.yaml."""

from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from ....core.config import Settings, parse, read_yaml
from ....core.fields import LOINC, SNOMED
from ..codes import RXNORM, Entry, read_list

CVX = "http://hl7.org/fhir/sid/cvx"
OMB = "urn:oid:2.16.840.1.113883.6.238"
SOPT = "https://nahdo.org/sopt"
NCIT = "http://ncicb.nci.nih.gov/xml/owl/EVS/Thesaurus.owl"


class Allergen(Entry):
    """What a patient may be allergic to, and the drugs that are never given then."""

    system: Literal["snomed", "rxnorm"]
    category: Literal["medication", "food", "environment"]
    criticality: Literal["low", "high"]
    reaction: str
    share: float
    drugs: list[str]

    @property
    def uri(self) -> str:
        """The code system."""
        return SNOMED if self.system == "snomed" else RXNORM


class Vaccine(Entry):
    """A vaccine: from which age (years), in which season and years, how often, and who has had it."""

    low: float
    month: int = 0
    days: int = 0
    since: int
    until: int
    every: int
    doses: int = 1
    apart: int = 0
    share: dict[int, float]

    def share_at(self, age: float) -> float:
        """The share of people of that age who have it."""
        return next((share for low, share in sorted(self.share.items(), reverse=True) if age >= low), 0.0)


class Category(Settings):
    """A category of race or ethnicity."""

    code: str
    share: float


class Payer(Settings):
    """Who pays; `share` of people too young for Medicare."""

    code: str
    display: str
    name: str = ""
    share: float = 0.0


class Aim(Settings):
    """What is aimed at while a condition lasts; `drug` must run for it."""

    observation: str
    words: str
    low: float | None = None
    high: float | None = None
    drug: str = ""


class UsCore(Settings):
    """configs/us_core.yaml."""

    race: dict[str, Category]
    two_or_more: float
    ethnicity: dict[str, Category]
    payers: dict[str, Payer]
    medicare_age: int
    goals: dict[str, Aim]


@dataclass(frozen=True)
class Lists:
    """All of them, each by name."""

    terms: dict[str, Entry]
    allergens: dict[str, Allergen]
    vaccines: dict[str, Vaccine]
    settings: UsCore

    def displays(self) -> dict[tuple[str, str], str]:
        """(system, code) -> display of every entry that a record may carry."""
        return {
            **{(SNOMED, entry.code): entry.display for entry in self.terms.values()},
            **{(entry.uri, entry.code): entry.display for entry in self.allergens.values()},
            **{(CVX, entry.code): entry.display for entry in self.vaccines.values()},
            **dict(LOINC_TERMS.values()),
        }


# LOINC terms that are neither observed nor a document: what is asked for, and who reads a report
LOINC_TERMS: dict[str, tuple[tuple[str, str], str]] = {
    "laboratory": ((LOINC, "26436-6"), "Laboratory studies (set)"),
    "radiology": ((LOINC, "LP29684-5"), "Radiology"),
    "cardiology": ((LOINC, "LP29708-2"), "Cardiology"),
    "pathology": ((LOINC, "LP7839-6"), "Pathology"),
    "pulse_oximetry": ((LOINC, "59408-5"), "Oxygen saturation in Arterial blood by Pulse oximetry"),
    "waveform": ((LOINC, "11524-6"), "EKG study"),
    "vitals_chart": (
        (LOINC, "85353-1"), "Vital signs, weight, height, head circumference, oxygen saturation and BMI panel"
    ),
}  # fmt: skip


@cache
def lists() -> Lists:
    """The bundled lists, read once."""
    path = Path(str(files("polyclinic.configs"))) / "us_core.yaml"
    settings: Any = read_yaml(path)
    return Lists(
        read_list(Entry, "terms"),
        read_list(Allergen, "allergens"),
        read_list(Vaccine, "vaccines"),
        parse(UsCore, settings, str(path)),
    )


def uniform(patient_id: str, what: str) -> float:
    """A number in [0, 1) that depends on the patient and the purpose alone."""
    digest = blake2b(f"{patient_id}/{what}".encode(), digest_size=6).digest()
    return int.from_bytes(digest, "big") / 2**48


def drawn(shares: dict[str, float], at: float) -> str:
    """The name at that place, in [0, 1), of shares laid end to end."""
    place = at * sum(shares.values())
    for name, share in shares.items():
        place -= share
        if place < 0:
            return name
    return next(reversed(shares))


def profile(kind: str) -> str:
    """The canonical of a US Core 6.1 profile."""
    return f"http://hl7.org/fhir/us/core/StructureDefinition/us-core-{kind}|6.1.0"
