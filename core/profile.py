"""PatientProfile, the one description of a synthetic patient, and seed_for, the one source of randomness."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from hashlib import blake2b
from types import MappingProxyType
from typing import Any

Value = float | str | bool
_EMPTY: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class PatientProfile:
    """Who a patient is; every field but the id may be unknown (None, or absent from its mapping).

    age in years, height in cm, weight in kg. `conditions` maps ICD-10-CM codes to present (True) or
    assessed and absent (False). `measurements` maps vocabulary names (heart_rate, creatinine, ...) to
    numbers in the vocabulary's unit, `traits` maps them to category names. `index_date` is the day of
    the visit that the records describe.
    """

    patient_id: str
    age: float | None = None
    sex: str | None = None
    height: float | None = None
    weight: float | None = None
    conditions: Mapping[str, bool] = field(default_factory=dict)
    measurements: Mapping[str, float] = field(default_factory=dict)
    traits: Mapping[str, str] = field(default_factory=dict)
    index_date: date | None = None

    def has(self, code: str) -> bool:
        """Whether the condition is known to be present."""
        return self.conditions.get(code, False)

    @property
    def birth_date(self) -> date | None:
        """A day of birth that agrees with age on index_date; None unless both are known."""
        if self.age is None or self.index_date is None:
            return None
        years = int(self.age)
        day, year = self.index_date, self.index_date.year - years
        if (day.month, day.day) == (2, 29):
            day = day.replace(day=28)  # born a day early rather than on a day that the year may lack
        return day.replace(year=year) - timedelta(days=int((self.age - years) * 365))

    def get(self, name: str) -> Value | None:
        """Value of any vocabulary field by name (age, sex, I48.91, heart_rate, ...); None if unknown."""
        if name in ("age", "sex", "height", "weight"):
            return getattr(self, name)
        for mapping in (self.conditions, self.measurements, self.traits):
            if name in mapping:
                return mapping[name]
        return None

    def but(self, **changes: Any) -> "PatientProfile":
        """A copy with fields replaced; mappings are merged into the present ones."""
        for name in ("conditions", "measurements", "traits"):
            if name in changes:
                changes[name] = {**getattr(self, name), **changes[name]}
        return replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Plain types only, for JSON; unknown fields are left out."""
        row: dict[str, Any] = {"patient_id": self.patient_id}
        for name in ("age", "sex", "height", "weight"):
            if (value := getattr(self, name)) is not None:
                row[name] = value
        for name in ("conditions", "measurements", "traits"):
            if getattr(self, name):
                row[name] = dict(getattr(self, name))
        if self.index_date is not None:
            row["index_date"] = self.index_date.isoformat()
        return row

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> "PatientProfile":
        """Inverse of to_dict."""
        day = row.get("index_date")
        return cls(**{**row, "index_date": date.fromisoformat(day) if day else None})


def seed_for(run: int, patient: str, stream: str) -> int:
    """A 63-bit seed that depends on the run, the patient and the purpose, and on nothing else.

    No global random state exists: what a patient gets is the same alone, in a batch, on any worker.
    """
    digest = blake2b(f"{run}/{patient}/{stream}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def uid_for(seed: int, part: str) -> str:
    """A DICOM UID (2.25 root, from 128 hashed bits) that depends on a record's seed and the object's role."""
    return f"2.25.{int.from_bytes(blake2b(f'{seed}/{part}'.encode(), digest_size=16).digest(), 'big')}"


def derived_uid(uid: str, part: str) -> str:
    """A UID that depends on another one and a role."""
    return uid_for(int(uid.replace(".", "")), part)


def slice_uid(series_uid: str, instance_uid: str, place: int) -> str:
    """The UID of an image of a series: the first has the record's own, the others derive theirs."""
    return derived_uid(series_uid, f"slice {place}") if place else instance_uid
