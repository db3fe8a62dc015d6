"""Case: one patient's resources as a rule wants to see them: by type and id, dates parsed, codes named."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cached_property, lru_cache
from typing import Any

from ...core.modality import Facts
from .codes import codes
from .data import Resource
from .simulation.chart import INDEX

NESTED = (dict, list)


@dataclass(frozen=True)
class Violation:
    """One rule that one resource breaks, and how, in words."""

    rule: str
    resource: str
    says: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.resource}: {self.says}"


@lru_cache(maxsize=4096)  # of one patient: the rules ask for each many times
def moment(text: str) -> datetime:
    """A FHIR date or dateTime as a moment in UTC; a date is its midnight."""
    if len(text) == 10:
        day = date.fromisoformat(text)
        return datetime(day.year, day.month, day.day, tzinfo=UTC)
    return datetime.fromisoformat(text)


def code_of(concept: Any) -> str:
    """The first code of a CodeableConcept, empty without one."""
    return str(((concept or {}).get("coding") or [{}])[0].get("code", ""))


def _collect(value: Any, found: list[dict[str, Any]]) -> None:
    """Add the JSON objects in a value, at any depth, that name something: a reference or a coding's system."""
    if isinstance(value, dict):
        if "reference" in value or "system" in value:
            found.append(value)
        value = value.values()
    for part in value:
        if isinstance(part, NESTED):
            _collect(part, found)


class Case:
    """One patient: resources, and where they are known the facts of the other modalities."""

    def __init__(self, resources: Sequence[Resource], facts: Mapping[str, Facts] | None = None) -> None:
        self.resources, self.facts = list(resources), facts
        self.by_name = {self.name(r): r for r in resources}

    @staticmethod
    def name(resource: Resource) -> str:
        """`Type/id`."""
        return f"{resource['resourceType']}/{resource['id']}"

    def of(self, kind: str) -> Iterator[Resource]:
        """Resources of one type."""
        return (r for r in self.resources if r["resourceType"] == kind)

    @cached_property
    def parts(self) -> list[list[dict[str, Any]]]:
        """Of each resource, in order: the JSON objects in it, at any depth, that have a reference or a system."""
        found: list[list[dict[str, Any]]] = []
        for resource in self.resources:
            found.append([])
            _collect(resource, found[-1])
        return found

    @cached_property
    def dates(self) -> list[tuple[Resource, list[tuple[str, datetime]]]]:
        """Each resource, in order, with its clinical dates and their elements' names."""
        return [(resource, list(moments(resource))) for resource in self.resources]

    @cached_property
    def patient(self) -> Resource:
        """The Patient."""
        return next(self.of("Patient"))

    @cached_property
    def born(self) -> datetime | None:
        """Midnight of the day of birth."""
        return moment(self.patient["birthDate"]) if "birthDate" in self.patient else None

    @cached_property
    def died(self) -> datetime | None:
        """The moment of death."""
        text = self.patient.get("deceasedDateTime")
        return moment(text) if text else None

    def age(self, at: datetime) -> float | None:
        """Years at a moment."""
        return None if self.born is None else (at - self.born).total_seconds() / (365.25 * 86400)

    @cached_property
    def problems(self) -> dict[str, Resource]:
        """Conditions by their name in the list."""
        known = codes().by_code["conditions"]
        return {known[c]: r for r in self.of("Condition") if (c := code_of(r["code"])) in known}

    @cached_property
    def orders(self) -> list[tuple[str, Resource, datetime, datetime | None]]:
        """Prescriptions with a calendar: drug, resource, from, until."""
        known = codes().by_code["drugs"]
        found = []
        for resource in self.of("MedicationRequest"):
            name = known.get(code_of(resource["medicationCodeableConcept"]))
            if name is not None and "authoredOn" in resource:
                bounds = resource["dosageInstruction"][0]["timing"]["repeat"].get("boundsPeriod", {})
                until = moment(bounds["end"]) if "end" in bounds else None
                found.append((name, resource, moment(resource["authoredOn"]), until))
        return found

    @cached_property
    def readings(self) -> list[tuple[str, Resource, datetime | None, float | str | None]]:
        """Observations and parts of panels, by name: resource, when, number or answer."""
        known = codes().by_code["observations"]
        answers = codes().by_code["answers"]
        found = []
        for resource in self.of("Observation"):
            at = moment(resource["effectiveDateTime"]) if "effectiveDateTime" in resource else None
            for part in [resource, *resource.get("component", [])]:
                name = known.get(code_of(part["code"]))
                if name is None:
                    continue
                said = part.get("valueCodeableConcept")
                value = part.get("valueQuantity", {}).get("value")
                found.append((name, resource, at, answers.get(code_of(said)) if said else value))
        return found

    def numbers(self, wanted: str) -> list[tuple[Resource, datetime, float]]:
        """Dated numbers of one observation, in order of time."""
        rows = [
            (r, at, v) for n, r, at, v in self.readings if n == wanted and at and isinstance(v, float | int)
        ]
        return sorted(rows, key=lambda row: row[1])


def index_day(case: Case) -> datetime | None:
    """Midnight of the index date, the day on which the index visit begins; None where it has no date."""
    visit = case.by_name.get(f"Encounter/{case.patient['id']}-{INDEX}", {})
    return moment(visit["period"]["start"][:10]) if "period" in visit else None


def moments(resource: Resource) -> Iterator[tuple[str, datetime]]:
    """Every clinical date of a resource, with the element's name."""
    for name in (
        "onsetDateTime", "abatementDateTime", "recordedDate", "effectiveDateTime", "authoredOn",
        "performedDateTime", "started", "issued", "date", "occurrenceDateTime", "created", "recorded",
    ):  # fmt: skip
        if name in resource:
            yield name, moment(resource[name])
    for element in ("period", "effectivePeriod"):
        for end in ("start", "end"):
            if resource["resourceType"] != "Coverage" and end in resource.get(element, {}):
                yield f"{element}.{end}", moment(resource[element][end])
    if "collectedDateTime" in resource.get("collection", {}):
        yield "collection.collectedDateTime", moment(resource["collection"]["collectedDateTime"])
