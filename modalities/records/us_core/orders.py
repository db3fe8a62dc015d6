"""What was asked for and sent in: a ServiceRequest and a Specimen each, devices, and infusions given."""

from collections.abc import Mapping

from ....core.fields import LOINC, SNOMED
from ....core.modality import Facts
from ....core.study import Study
from ..data import HL7, REPORTS, concept, listed, quantity
from ..formats.fhir import Writer
from ..simulation.chart import Visit
from ..studies import facts_of, identifiers, image_kind, keyed
from .hospital import HOSPITAL, IDS, reference
from .lists import LOINC_TERMS, lists

_KINDS = {"imaging": "imaging", "chest-xray": "imaging", "ecg": "examination"}  # of orders, by kind of report


def orders(writer: Writer, facts: Mapping[str, Facts]) -> None:
    """An order and a specimen for each kind of sample, visit and day; an order for each image and ECG reported."""
    for key, sample in writer.specimens.items():
        (_, code), display = LOINC_TERMS["laboratory"]
        if sample.kind == "tissue":
            code, display, *_ = REPORTS["pathology"]
        _order(writer, key, "laboratory", (code, display), sample.at, sample.visit, {})
        _specimen(writer, key, sample.kind, sample.at, sample.visit)
    reports = {
        resource["id"] for resource in writer.resources if resource["resourceType"] == "DiagnosticReport"
    }
    studies = [(image_kind(own), own) for own in facts_of(facts, "imaging")]
    for kind, own in [*studies, *(("ecg", own) for own in facts_of(facts, "signals"))]:
        key = keyed(kind, own)
        if f"{writer.profile.patient_id}-report-{key}" not in reports:
            continue
        study = Study.of(own, writer.profile.index_date)
        code, display, *_ = REPORTS[kind]
        visit = writer.chart.index_visit
        named = {} if study is None else {"identifier": identifiers(study)["identifier"][1:]}
        _order(writer, key, _KINDS[kind], (code, display), visit.start, visit, named)


def _order(
    writer: Writer,
    key: str,
    kind: str,
    code: tuple[str, str],
    at: float,
    visit: Visit,
    named: dict[str, object],
) -> None:
    term = lists().terms[kind]
    reason = writer.reason(visit.reason, at)
    writer.add(
        "ServiceRequest",
        f"order-{key}",
        code[1],
        {
            **named,
            "status": "completed",
            "intent": "order",
            "category": [listed(SNOMED, term)],
            "code": concept(LOINC, *code, code[1]),
            "subject": writer.subject,
            "encounter": writer.refer("Encounter", visit.key),
            "occurrenceDateTime": writer.time(at),
            "authoredOn": writer.time(at),
            "requester": writer.team.attending(visit),
            "reasonReference": reason,
            "specimen": [writer.refer("Specimen", f"specimen-{key}")] if key in writer.specimens else None,
        },
        ["servicerequest"],
    )


def _specimen(writer: Writer, key: str, kind: str, at: float, visit: Visit) -> None:
    term, tumour = lists().terms[kind], kind == "tissue"
    breast = lists().terms["breast"]
    taken = [p for p in writer.chart.procedures if p.name == "breast_biopsy" and p.at <= at]
    if tumour and taken:
        at, visit = taken[-1].at, taken[-1].visit
    site = concept(SNOMED, breast.code, breast.display) if tumour else None
    collection = {
        "collector": writer.team.attending(visit) if tumour else writer.team.reference("nurse"),
        "collectedDateTime": writer.time(at),
        "bodySite": site,
    }
    writer.add(
        "Specimen",
        f"specimen-{key}",
        f"{term.display} of the breast tumour" if tumour else term.display,
        {
            "identifier": [{"system": f"{IDS}/specimen", "value": f"{writer.profile.patient_id}-{key}"}],
            "status": "available",
            "type": listed(SNOMED, term),
            "subject": writer.subject,
            "request": [writer.refer("ServiceRequest", f"order-{key}")],
            "collection": {name: value for name, value in collection.items() if value is not None},
        },
        ["specimen"],
    )


def devices(writer: Writer) -> None:
    """A pacemaker that the patient carries, and the ventilator of a stay."""
    problem = writer.chart.problems.get("pacemaker")
    if problem is not None:
        term = lists().terms["pacemaker"]
        serial = f"SYN-{writer.profile.patient_id}"
        content = {
            "distinctIdentifier": serial,
            "manufacturer": "Polyclinic",
            "manufactureDate": writer.day(problem.onset),
            "serialNumber": serial,
            "deviceName": [{"name": "Synthetic pacemaker", "type": "user-friendly-name"}],
            "type": listed(SNOMED, term),
        }
        _device(writer, "pacemaker", "Cardiac pacemaker, implanted", content, ["implantable-device"])
    if any(done.name == "ventilation" for done in writer.chart.procedures):
        term = lists().terms["ventilator"]
        content = {
            "serialNumber": "SYNTHETIC",
            "deviceName": [{"name": "Synthetic ventilator", "type": "user-friendly-name"}],
            "type": listed(SNOMED, term),
            "location": reference("Location", "icu"),
            "owner": reference("Organization", HOSPITAL),
        }
        _device(writer, "ventilator", "Ventilator at the bedside", content, [])


def _device(writer: Writer, key: str, says: str, content: Mapping[str, object], profiles: list[str]) -> None:
    writer.add("Device", key, says, {"status": "active", **content, "patient": writer.subject}, profiles)


def given(writer: Writer) -> None:
    """What went into a vein: an infusion at its visit, of a drug that runs for days its period in the stay."""
    drugs = writer.codes.drugs
    for order in writer.chart.orders:
        drug, visit = drugs[order.drug], order.visit
        if drug.route != "intravenous" or writer.time(order.start) is None:
            continue
        end = min(visit.end if order.end is None else order.end, visit.end)
        whole = order.every is None and end > order.start
        when = (
            {"effectivePeriod": {"start": writer.time(order.start), "end": writer.time(end)}}
            if whole
            else {"effectiveDateTime": writer.time(order.start)}
        )
        request = writer.request(order)
        dosage = request["dosageInstruction"][0]
        writer.add(
            "MedicationAdministration",
            f"given-{order.key}",
            f"Given: {dosage['text']}",
            {
                "status": "completed",
                "category": concept(f"{HL7}/medication-admin-category", *_PLACE[visit.is_stay]),
                "medicationCodeableConcept": request["medicationCodeableConcept"],
                "subject": writer.subject,
                "context": writer.refer("Encounter", visit.key),
                **when,
                "performer": [{"actor": writer.team.reference("nurse")}],
                "reasonReference": writer.reason(order.reason, order.start),
                "request": writer.refer("MedicationRequest", order.key),
                "dosage": {
                    "text": dosage["text"],
                    "route": dosage["route"],
                    "dose": quantity(order.dose, drug.unit),
                },
            },
        )


_PLACE = {True: ("inpatient", "Inpatient"), False: ("outpatient", "Outpatient")}
