"""Writer: a chart as FHIR R4 resources, each tagged as test data, with a narrative and dates on the calendar."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache
from html import escape
from typing import Any

from ....core.errors import InputError
from ....core.fields import LOINC, SNOMED
from ....core.profile import PatientProfile
from ..codes import codes
from ..data import (
    ANSWERS,
    CATEGORIES,
    HL7,
    HTEST,
    REPORTS,
    TYPES,
    Resource,
    concept,
    listed,
    quantity,
)
from ..simulation.chart import INDEX, Chart, Order, Reading, Visit
from ..us_core.hospital import HOSPITAL, reference
from ..us_core.lists import LOINC_TERMS
from ..us_core.lists import profile as us_core
from ..us_core.observed import form_of, judged
from ..us_core.team import Team

LONGEST_ID = 64
_FHIR_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_RANK = {kind: place for place, kind in enumerate(TYPES)}
READERS = {  # who reads what a report is of: a specialty of the staff
    "chest-xray": "radiology", "imaging": "radiology", "ecg": "cardiology", "pathology": "pathology",
    "tumour-expression": "pathology", "genotypes": "pathology",
}  # fmt: skip


def order_of(kind: str, key: str = "") -> str:
    """The order that a report answers: of a study its own, of a tumour that of its tissue."""
    return "tumour" if kind in ("pathology", "tumour-expression") else key or kind


DEPARTMENTS = {"radiology": "radiology", "cardiology": "cardiology", "pathology": "pathology"}


_OPEN = '<div xmlns="http://www.w3.org/1999/xhtml">Synthetic patient. '


@cache
def meta_of(profiles: tuple[str, ...]) -> dict[str, Any]:
    """The element `meta`, shared by all resources that claim these profiles, so nobody changes it."""
    meta: dict[str, Any] = {"security": [HTEST], "tag": [HTEST]}
    return {**meta, "profile": [us_core(name) for name in profiles]} if profiles else meta


@dataclass
class Sample:
    """What is sent to a laboratory: blood, urine or tissue, when it was taken and at which visit."""

    kind: str
    at: float
    visit: Visit


def _fhir_id(text: str) -> str:
    """Raises InputError for an id that is too long, which one with the name of an instance may be."""
    if len(text) > LONGEST_ID:
        raise InputError(
            f"{text!r}: a FHIR id has at most {LONGEST_ID} characters, got {len(text)}; shorten the instance's name"
        )
    return text


class Writer:
    """One patient's resources as they are written. Raises InputError if the patient id cannot be a FHIR id."""

    def __init__(self, profile: PatientProfile, chart: Chart) -> None:
        if not _FHIR_ID.fullmatch(profile.patient_id) or len(profile.patient_id) > 32:
            raise InputError(
                f"patient id {profile.patient_id!r}: a FHIR id needs letters, digits, '-' or '.', at most 32"
            )
        self.profile, self.chart, self.codes = profile, chart, codes()
        self.resources: list[Resource] = []
        self.team = Team(profile.patient_id, chart)
        self.specimens: dict[str, Sample] = {}
        self.subject = {"reference": f"Patient/{profile.patient_id}"}
        day: date | None = profile.index_date
        self._times: dict[float, str | None] = {}
        self._midnight = None if day is None else datetime(day.year, day.month, day.day)

    def in_order(self) -> list[Resource]:
        """All resources, in the order of data.TYPES."""
        return sorted(self.resources, key=lambda resource: _RANK[resource["resourceType"]])

    # -- parts

    def moment(self, at: float) -> datetime | None:
        """Days from the index date on the calendar, to the minute; None without one."""
        if self._midnight is None:
            return None
        return self._midnight + timedelta(minutes=round(at * 1440))

    def time(self, at: float) -> str | None:
        """The same as ISO text; a visit's many resources ask for the same few."""
        if at not in self._times:
            moment = self.moment(at)
            self._times[at] = None if moment is None else moment.isoformat() + "Z"
        return self._times[at]

    def day(self, at: float) -> str | None:
        """Days from the index date as a date, never before birth."""
        moment = self.time(at)
        born = self.profile.birth_date
        return moment and max(moment[:10], born.isoformat() if born else "")

    def add(
        self, kind: str, key: str, says: str, content: Mapping[str, Any], profiles: Sequence[str] = ()
    ) -> Resource:
        """File one resource; elements that are None are left out. It claims these profiles of US Core 6.1."""
        patient_id = self.profile.patient_id
        resource: Resource = {
            "resourceType": kind,
            "id": _fhir_id(f"{patient_id}-{key}" if key else patient_id),
            "meta": meta_of(tuple(profiles)),
            "text": {"status": "generated", "div": f"{_OPEN}{escape(says, quote=False)}</div>"},
        }
        for name, value in content.items():
            if value is not None:
                resource[name] = value
        self.resources.append(resource)
        return resource

    def refer(self, kind: str, key: str) -> dict[str, str]:
        """A reference to another resource of this patient."""
        return {"reference": f"{kind}/{self.profile.patient_id}-{key}"}

    def reason(self, name: str | None, at: float) -> list[dict[str, str]] | None:
        """A reference to the condition that is the reason, if it is on record by then."""
        problem = self.chart.problems.get(name or "")
        if problem is None or problem.recorded > at:
            return None
        return [self.refer("Condition", f"condition-{self.codes.conditions[problem.name].code}")]

    # -- resources

    def observation(self, reading: Reading) -> Resource:
        """A number, an answer in words, or a panel."""
        entry = self.codes.observations[reading.name]
        code, value, sex = form_of(reading.name).code, reading.value, self.profile.sex
        if isinstance(value, dict):
            says = ", ".join(f"{self.codes.observations[part].display} {value[part]}" for part in value)
            content: dict[str, Any] = {
                "component": [
                    {
                        "code": form_of(name).code,
                        "valueQuantity": quantity(number, form_of(name).unit),
                        **judged(name, number, sex),
                    }
                    for name, number in value.items()
                ]
            }
        elif isinstance(value, str):
            answer = self.codes.answers[value]
            text = ANSWERS.get(value, answer.display)
            says = f"{entry.display}: {text}"
            content = {
                "valueCodeableConcept": listed(SNOMED, answer, text),
                **judged(reading.name, value, sex),
            }
        else:
            says = f"{entry.display} {value} {entry.unit}"
            content = {"valueQuantity": quantity(value, entry.unit), **judged(reading.name, value, sex)}
        if entry.group == "laboratory":
            content |= self.drawn(form_of(reading.name).specimen, reading.at, reading.visit)
        names = form_of(reading.name).profiles
        return self.result(reading.key, entry.group, code, says, content, reading.at, reading.visit, names)

    def drawn(self, kind: str, at: float, visit: Visit) -> dict[str, Any]:
        """The elements of a result that name its specimen and its order: one of each a kind, visit and day."""
        key = "tumour" if kind == "tissue" else f"{kind}-{visit.key}-{int(at // 1)}"
        sample = self.specimens.setdefault(key, Sample(kind, at, visit))
        sample.at = min(sample.at, at)
        return {
            "basedOn": [self.refer("ServiceRequest", f"order-{key}")],
            "specimen": self.refer("Specimen", f"specimen-{key}"),
        }

    def result(
        self,
        key: str,
        group: str,
        code: Mapping[str, Any],
        says: str,
        content: Mapping[str, Any],
        at: float,
        visit: Visit | None,
        profiles: Sequence[str] = (),
    ) -> Resource:
        """An Observation of any code; a laboratory has done it, or a nurse, or who attends."""
        moment = self.time(at)
        return self.add(
            "Observation",
            key,
            says,
            {
                "status": "final",
                "category": [CATEGORIES[group]],
                "code": code,
                "subject": self.subject,
                "encounter": None if visit is None else self.refer("Encounter", visit.key),
                "effectiveDateTime": moment,
                "performer": [self.team.performer(group, visit)],
                **content,
            },
            profiles,
        )

    def charted(
        self,
        key: str,
        code: dict[str, Any],
        says: str,
        content: Mapping[str, Any],
        when: str,
        names: Sequence[str],
    ) -> None:
        """A vital sign of the index stay, read off the monitor at that time."""
        fixed: dict[str, Any] = {
            "status": "final",
            "category": [CATEGORIES["vital-signs"]],
            "code": code,
            "subject": self.subject,
            "encounter": self.refer("Encounter", INDEX),
            "effectiveDateTime": when,
            "performer": [self.team.reference("nurse")],
        }
        self.add("Observation", key, says, {**fixed, **content}, names)

    def request(self, order: Order) -> Resource:
        """The MedicationRequest that was written of an order."""
        name = f"{self.profile.patient_id}-{order.key}"
        return next(r for r in self.resources if r["id"] == name and r["resourceType"] == "MedicationRequest")

    # -- reports

    def report(
        self,
        kind: str,
        conclusion: str,
        at: float | None,
        visit: Visit,
        more: Mapping[str, Any],
        key: str = "",
    ) -> None:
        """A diagnostic report whose conclusion says the facts in one plain sentence; `key` is the kind if not said."""
        code, name, section, section_name = REPORTS[kind]
        reader = READERS[kind]
        (system, part), department = LOINC_TERMS[DEPARTMENTS[reader]]
        self.add(
            "DiagnosticReport",
            f"report-{key or kind}",
            conclusion,
            {
                "status": "final",
                "category": [
                    concept(f"{HL7}/v2-0074", section, section_name),
                    concept(system, part, department),
                ],
                "code": concept(LOINC, code, name, name),
                "subject": self.subject,
                "encounter": self.refer("Encounter", visit.key),
                "effectiveDateTime": None if at is None else self.time(at),
                "issued": None if at is None else self.time(at),
                "performer": [reference("Organization", HOSPITAL)],
                "resultsInterpreter": [self.team.reference(reader)],
                "basedOn": [self.refer("ServiceRequest", f"order-{order_of(kind, key)}")],
                **more,
                "conclusion": conclusion,
            },
            ["diagnosticreport-note"],
        )
