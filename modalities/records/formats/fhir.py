"""Writer: a chart as FHIR R4 resources, each tagged as test data, with a narrative and dates on the calendar."""

import re
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from html import escape
from typing import Any

from ....core.errors import InputError
from ....core.fields import ICD10, LOINC, SNOMED
from ....core.names import invented_name
from ....core.profile import PatientProfile
from ..codes import RXNORM, codes
from ..data import (
    ANSWERS,
    CLASSES,
    DISPOSITIONS,
    HL7,
    HTEST,
    PATIENT_IDS,
    REPORTS,
    ROUTES,
    TYPES,
    Resource,
    concept,
    listed,
    quantity,
)
from ..simulation.chart import Chart, Order, Problem, Procedure, Reading, Visit
from ..simulation.patient_simulation import FOLLOW_UP

LONGEST_ID = 64
_FHIR_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_RANK = {kind: place for place, kind in enumerate(TYPES)}


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
        self.subject = {"reference": f"Patient/{profile.patient_id}"}
        day: date | None = profile.index_date
        self._midnight = None if day is None else datetime(day.year, day.month, day.day)

    def write(self) -> None:
        """Patient, visits, problems, readings, orders, procedures and the reports of the chart."""
        self.patient()
        for visit in self.chart.visits:
            self.encounter(visit)
        for problem in self.chart.problems.values():
            self.condition(problem)
        for reading in self.chart.readings:
            self.observation(reading)
        for order in self.chart.orders:
            self.medication(order)
        for procedure in self.chart.procedures:
            self.procedure(procedure)

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
        """The same as ISO text."""
        moment = self.moment(at)
        return None if moment is None else moment.isoformat() + "Z"

    def day(self, at: float) -> str | None:
        """Days from the index date as a date, never before birth."""
        moment = self.time(at)
        born = self.profile.birth_date
        return moment and max(moment[:10], born.isoformat() if born else "")

    def add(self, kind: str, key: str, says: str, content: Mapping[str, Any]) -> Resource:
        """File one resource; elements that are None are left out."""
        patient_id = self.profile.patient_id
        resource: Resource = {
            "resourceType": kind,
            "id": _fhir_id(f"{patient_id}-{key}" if key else patient_id),
            "meta": {"security": [HTEST], "tag": [HTEST]},
            "text": {
                "status": "generated",
                "div": '<div xmlns="http://www.w3.org/1999/xhtml">Synthetic patient. '
                f"{escape(says, quote=False)}</div>",
            },
        }
        resource.update((name, value) for name, value in content.items() if value is not None)
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

    def patient(self) -> None:
        """The patient; deceased where the chart says so."""
        profile, death = self.profile, self.chart.death
        family, given = invented_name(profile.patient_id, profile.sex)
        born = profile.birth_date
        self.add(
            "Patient",
            "",
            f"{given} {family}",
            {
                "identifier": [{"system": PATIENT_IDS, "value": profile.patient_id}],
                "active": True,
                "name": [{"use": "anonymous", "family": family, "given": [given]}],
                "gender": {"F": "female", "M": "male"}.get(profile.sex or "", "unknown"),
                "birthDate": born.isoformat() if born else None,
                "deceasedDateTime": None if death is None else self.time(death),
            },
        )
        if death is not None and self.chart.cause is not None:
            cause = self.codes.conditions[self.chart.cause]
            value = {"valueCodeableConcept": listed(ICD10, cause)}
            entry = self.codes.observations["cause_of_death"]
            code = listed(LOINC, entry)
            visit = self.chart.stay_at(death - 1 / 1440)
            self.result("cause-of-death", entry.group, code, f"Died of {cause.display}", value, death, visit)

    def encounter(self, visit: Visit) -> None:
        """A visit or stay."""
        dead = self.chart.death is not None and visit.end >= self.chart.death
        code = "exp" if dead else "home"
        left = {"dischargeDisposition": concept(f"{HL7}/discharge-disposition", code, DISPOSITIONS[code])}
        reason = self.codes.conditions.get(visit.reason or "")
        start, end = self.time(visit.start), self.time(visit.end)
        self.add(
            "Encounter",
            visit.key,
            f"Visit ({CLASSES[visit.kind]})",
            {
                "status": "finished",
                "class": {"system": f"{HL7}/v3-ActCode", "code": visit.kind, "display": CLASSES[visit.kind]},
                "subject": self.subject,
                "period": None if start is None else {"start": start, "end": end},
                "reasonCode": None if reason is None else [concept(ICD10, reason.code, reason.display)],
                "hospitalization": left if visit.is_stay else None,
            },
        )

    def condition(self, problem: Problem) -> None:
        """A diagnosis; resolved where the chart says when."""
        entry = self.codes.conditions[problem.name]
        status = "active" if problem.end is None else "resolved"
        stage = None
        if problem.stage is not None:
            answer = self.codes.answers[problem.stage[0]]
            summary = concept(SNOMED, answer.code, answer.display)
            stage = [{"summary": summary, "assessment": [self.refer("Observation", problem.stage[1])]}]
        self.add(
            "Condition",
            f"condition-{entry.code}",
            entry.display,
            {
                "clinicalStatus": concept(f"{HL7}/condition-clinical", status),
                "verificationStatus": concept(f"{HL7}/condition-ver-status", "confirmed"),
                "category": [concept(f"{HL7}/condition-category", "encounter-diagnosis")],
                "code": listed(ICD10, entry),
                "subject": self.subject,
                "encounter": self.refer("Encounter", problem.visit.key),
                "stage": stage,
                "onsetDateTime": self.day(problem.onset),
                "abatementDateTime": None if problem.end is None else self.day(problem.end),
                "recordedDate": self.time(problem.recorded),
            },
        )

    def observation(self, reading: Reading) -> Resource:
        """A number, an answer in words, or a panel."""
        entry = self.codes.observations[reading.name]
        code = listed(LOINC, entry)
        value = reading.value
        if isinstance(value, dict):
            says = ", ".join(f"{self.codes.observations[part].display} {value[part]}" for part in value)
            content: dict[str, Any] = {
                "component": [
                    {
                        "code": listed(LOINC, part),
                        "valueQuantity": quantity(value[name], part.unit),
                    }
                    for name in value
                    for part in (self.codes.observations[name],)
                ]
            }
        elif isinstance(value, str):
            answer = self.codes.answers[value]
            text = ANSWERS.get(value, answer.display)
            says = f"{entry.display}: {text}"
            content = {"valueCodeableConcept": listed(SNOMED, answer, text)}
        else:
            says = f"{entry.display} {value} {entry.unit}"
            content = {"valueQuantity": quantity(value, entry.unit)}
        return self.result(reading.key, entry.group, code, says, content, reading.at, reading.visit)

    def result(
        self,
        key: str,
        group: str,
        code: Mapping[str, Any],
        says: str,
        content: Mapping[str, Any],
        at: float,
        visit: Visit | None,
    ) -> Resource:
        """An Observation of any code."""
        return self.add(
            "Observation",
            key,
            says,
            {
                "status": "final",
                "category": [concept(f"{HL7}/observation-category", group)],
                "code": code,
                "subject": self.subject,
                "encounter": None if visit is None else self.refer("Encounter", visit.key),
                "effectiveDateTime": self.time(at),
                **content,
            },
        )

    def medication(self, order: Order) -> None:
        """A prescription with its dose, how often, and from when to when."""
        drug = self.codes.drugs[order.drug]
        last = FOLLOW_UP if self.chart.death is None else self.chart.death
        over = order.end is not None and order.end <= last
        status = "active" if not over else "completed" if order.planned else "stopped"
        repeat: dict[str, Any] = {
            "boundsPeriod": {"start": self.time(order.start)}
            | ({"end": self.time(order.end)} if order.end is not None else {})
        }
        if order.every is None:
            repeat |= {"frequency": order.per_day, "period": 1, "periodUnit": "d"}
            often = f"{order.per_day} times a day" if order.per_day > 1 else "once a day"
        else:
            repeat |= {"frequency": 1, "period": round(order.every), "periodUnit": "d"}
            often = f"every {round(order.every)} days"
        dose = int(order.dose) if order.dose == int(order.dose) else order.dose
        route = ROUTES[drug.route]
        says = f"{drug.display} {dose} {drug.unit} {drug.route} {often}"
        self.add(
            "MedicationRequest",
            order.key,
            says,
            {
                "status": status,
                "intent": "order",
                "medicationCodeableConcept": listed(RXNORM, drug),
                "subject": self.subject,
                "encounter": self.refer("Encounter", order.visit.key),
                "authoredOn": self.time(order.start),
                "reasonReference": self.reason(order.reason, order.start),
                "dosageInstruction": [
                    {
                        "text": says,
                        "timing": {"repeat": repeat},
                        "route": concept(SNOMED, *route),
                        "doseAndRate": [{"doseQuantity": quantity(dose, drug.unit)}],
                    }
                ],
            },
        )

    def procedure(self, done: Procedure) -> None:
        """Something done."""
        act = self.codes.procedures[done.name]
        self.add(
            "Procedure",
            done.key,
            act.display,
            {
                "status": "completed",
                "code": listed(SNOMED, act),
                "subject": self.subject,
                "encounter": self.refer("Encounter", done.visit.key),
                "performedDateTime": self.time(done.at),
                "reasonReference": self.reason(done.reason, done.at),
            },
        )

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
        self.add(
            "DiagnosticReport",
            f"report-{key or kind}",
            conclusion,
            {
                "status": "final",
                "category": [concept(f"{HL7}/v2-0074", section, section_name)],
                "code": concept(LOINC, code, name, name),
                "subject": self.subject,
                "encounter": self.refer("Encounter", visit.key),
                "effectiveDateTime": None if at is None else self.time(at),
                **more,
                "conclusion": conclusion,
            },
        )
