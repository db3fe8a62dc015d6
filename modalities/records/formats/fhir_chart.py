"""The chart as resources: the patient, visits, problems, readings, orders and procedures."""

from typing import Any

from ....core.fields import ICD10, LOINC, SNOMED
from ....core.names import invented_name
from ..codes import RXNORM
from ..data import (
    ADMITTED,
    CLASSES,
    DISPOSITIONS,
    HL7,
    NO_CONDITION,
    ROUTES,
    VISIT_IDS,
    concept,
    listed,
    quantity,
)
from ..simulation.chart import INDEX_STARTS, Order, Problem, Procedure, Visit
from ..simulation.patient_simulation import FOLLOW_UP
from ..us_core.hospital import HOSPITAL, reference
from ..us_core.lists import lists
from ..us_core.person import person
from .fhir import Writer

ORDERED = {True: ("inpatient", "Inpatient"), False: ("outpatient", "Outpatient")}


def chart(writer: Writer) -> None:
    """Patient, visits, problems, readings, orders, procedures and the reports of the chart."""
    patient(writer)
    for visit in writer.chart.visits:
        encounter(writer, visit)
    for problem in writer.chart.problems.values():
        condition(writer, problem)
    for reading in writer.chart.readings:
        writer.observation(reading)
    for order in writer.chart.orders:
        medication(writer, order)
    for done in writer.chart.procedures:
        procedure(writer, done)


def patient(writer: Writer) -> None:
    """The patient; deceased where the chart says so."""
    profile, death = writer.profile, writer.chart.death
    born = profile.birth_date
    family, given = invented_name(profile.patient_id, profile.sex)
    writer.add(
        "Patient",
        "",
        f"{given} {family}",
        {
            **person(profile),
            "birthDate": born.isoformat() if born else None,
            "deceasedDateTime": None if death is None else writer.time(death),
            "generalPractitioner": [writer.team.reference("medicine")],
            "managingOrganization": reference("Organization", HOSPITAL),
        },
        ["patient"],
    )
    if death is not None and writer.chart.cause is not None:
        cause = writer.codes.conditions[writer.chart.cause]
        value = {"valueCodeableConcept": listed(ICD10, cause)}
        entry = writer.codes.observations["cause_of_death"]
        code = listed(LOINC, entry)
        visit = writer.chart.stay_at(death - 1 / 1440)
        writer.result("cause-of-death", entry.group, code, f"Died of {cause.display}", value, death, visit)


def encounter(writer: Writer, visit: Visit) -> None:
    """A visit or stay."""
    dead = writer.chart.death is not None and visit.end >= writer.chart.death
    code = "exp" if dead else "home"
    left = {
        "admitSource": concept(f"{HL7}/admit-source", "emd", ADMITTED),
        "dischargeDisposition": concept(f"{HL7}/discharge-disposition", code, DISPOSITIONS[code]),
    }
    start, end = writer.time(visit.start), writer.time(visit.end)
    kind = lists().terms[visit.kind]
    period = None if start is None else {"start": start, "end": end}
    attending = {
        "type": [concept(f"{HL7}/v3-ParticipationType", "ATND", "attender")],
        "period": period,
        "individual": writer.team.attending(visit),
    }
    made = writer.reason(visit.reason, visit.end)
    diagnoses = [
        {
            "condition": writer.refer("Condition", f"condition-{writer.codes.conditions[p.name].code}"),
            "use": concept(f"{HL7}/diagnosis-role", "DD", "Discharge diagnosis"),
        }
        for p in writer.chart.problems.values()
        if p.visit is visit
    ]
    writer.add(
        "Encounter",
        visit.key,
        f"Visit ({CLASSES[visit.kind]})",
        {
            "status": "finished",
            "identifier": [{"system": VISIT_IDS, "value": f"{writer.profile.patient_id}-{visit.key}"}],
            "class": {"system": f"{HL7}/v3-ActCode", "code": visit.kind, "display": CLASSES[visit.kind]},
            "type": [listed(SNOMED, kind)],
            "subject": writer.subject,
            "participant": [{name: value for name, value in attending.items() if value is not None}],
            "period": period,
            "reasonCode": [concept(ICD10, *why(writer, visit))],
            "reasonReference": made,
            "diagnosis": diagnoses or None,
            "hospitalization": left if visit.is_stay else None,
            "location": places(writer, visit),
            "serviceProvider": reference("Organization", HOSPITAL),
        },
        ["encounter"],
    )


def why(writer: Writer, visit: Visit) -> tuple[str, str]:
    """ICD-10-CM code and display of the reason of a visit: a condition, else that nothing was found."""
    entry = writer.codes.conditions.get(visit.reason or "")
    if entry is not None:
        return entry.code, entry.display
    age = writer.profile.age
    name = "observed" if visit.is_stay else "child" if age is not None and age < 18 else "examined"
    return NO_CONDITION[name]


def places(writer: Writer, visit: Visit) -> list[dict[str, Any]]:
    """Where a visit was: one place, or of a stay with intensive care two, one after the other."""
    at = writer.team.intensive_from(visit)
    if at is None or writer.time(0) is None:
        key = {"AMB": "clinic", "EMER": "emergency"}.get(visit.kind, "ward" if at is None else "icu")
        return [{"location": reference("Location", key), "status": "completed"}]
    stays = [("ward", visit.start, at), ("icu", at, visit.end)]
    return [
        {
            "location": reference("Location", key),
            "status": "completed",
            "period": {"start": writer.time(start), "end": writer.time(end)},
        }
        for key, start, end in stays
        if end > start
    ]


def condition(writer: Writer, problem: Problem) -> None:
    """A diagnosis; resolved where the chart says when."""
    entry = writer.codes.conditions[problem.name]
    status = "active" if problem.end is None else "resolved"
    stage = None
    if problem.stage is not None:
        answer = writer.codes.answers[problem.stage[0]]
        summary = concept(SNOMED, answer.code, answer.display)
        stage = [{"summary": summary, "assessment": [writer.refer("Observation", problem.stage[1])]}]
    lasting = problem.end is None and problem.recorded < INDEX_STARTS - 1
    category = "problem-list-item" if lasting else "encounter-diagnosis"
    writer.add(
        "Condition",
        f"condition-{entry.code}",
        entry.display,
        {
            "clinicalStatus": concept(f"{HL7}/condition-clinical", status),
            "verificationStatus": concept(f"{HL7}/condition-ver-status", "confirmed"),
            "category": [concept(f"{HL7}/condition-category", category)],
            "code": listed(ICD10, entry),
            "subject": writer.subject,
            "encounter": writer.refer("Encounter", problem.visit.key),
            "stage": stage,
            "onsetDateTime": writer.day(problem.onset),
            "abatementDateTime": None if problem.end is None else writer.day(problem.end),
            "recordedDate": writer.time(problem.recorded),
            "recorder": writer.team.attending(problem.visit),
        },
        ["condition-problems-health-concerns" if lasting else "condition-encounter-diagnosis"],
    )


def medication(writer: Writer, order: Order) -> None:
    """A prescription with its dose, how often, and from when to when."""
    drug = writer.codes.drugs[order.drug]
    last = FOLLOW_UP if writer.chart.death is None else writer.chart.death
    over = order.end is not None and order.end <= last
    status = "active" if not over else "completed" if order.planned else "stopped"
    repeat: dict[str, Any] = {
        "boundsPeriod": {"start": writer.time(order.start)}
        | ({"end": writer.time(order.end)} if order.end is not None else {})
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
    writer.add(
        "MedicationRequest",
        order.key,
        says,
        {
            "status": status,
            "intent": "order",
            "category": [concept(f"{HL7}/medicationrequest-category", *ORDERED[order.visit.is_stay])],
            "reportedBoolean": False,
            "medicationCodeableConcept": listed(RXNORM, drug),
            "subject": writer.subject,
            "encounter": writer.refer("Encounter", order.visit.key),
            "authoredOn": writer.time(order.start),
            "requester": writer.team.attending(order.visit),
            "reasonReference": writer.reason(order.reason, order.start),
            "dosageInstruction": [
                {
                    "text": says,
                    "timing": {"repeat": repeat},
                    "route": concept(SNOMED, *route),
                    "doseAndRate": [{"doseQuantity": quantity(dose, drug.unit)}],
                }
            ],
        },
        ["medicationrequest"],
    )


def procedure(writer: Writer, done: Procedure) -> None:
    """Something done."""
    act = writer.codes.procedures[done.name]
    writer.add(
        "Procedure",
        done.key,
        act.display,
        {
            "status": "completed",
            "code": listed(SNOMED, act),
            "subject": writer.subject,
            "encounter": writer.refer("Encounter", done.visit.key),
            "performedDateTime": writer.time(done.at),
            "performer": [{"actor": writer.team.attending(done.visit)}],
            "location": places(writer, done.visit)[-1]["location"],
            "reasonReference": writer.reason(done.reason, done.at),
            "usedReference": [writer.refer("Device", "ventilator")] if done.name == "ventilation" else None,
        },
        ["procedure"],
    )
