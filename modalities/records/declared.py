"""Declared fields of a profile, stated: a Condition for a flag that is present, an Observation for other values."""

from collections.abc import Sequence
from typing import Any

from ...core.fields import BY_NAME, SYSTEMS, Field
from .data import DECLARED, HL7, concept, quantity
from .formats.fhir import Writer

DIAGNOSES = ("icd10cm", "snomed")  # codes that a Condition may have; an Observation has LOINC or SNOMED
MINUTES = 10 / 1440  # after the index visit began


def declared(writer: Writer, fields: Sequence[Field]) -> None:
    """What the profile knows of declared fields, at the index visit, with the codes that they have.

    A flag that is absent or unknown is not stated, nor is a shipped field: the chart has it.
    """
    visit = writer.chart.index_visit
    at = min(visit.start + MINUTES, visit.end)
    for place, field in enumerate(fields):
        value = writer.profile.get(field.name)
        if value is None or value is False or field.name in BY_NAME:
            continue
        key = f"{DECLARED}{place}"
        if field.kind == "flag":
            writer.add(
                "Condition",
                key,
                field.label,
                {
                    "clinicalStatus": concept(f"{HL7}/condition-clinical", "active"),
                    "verificationStatus": concept(f"{HL7}/condition-ver-status", "confirmed"),
                    "category": [concept(f"{HL7}/condition-category", "encounter-diagnosis")],
                    "code": _code(field, DIAGNOSES),
                    "subject": writer.subject,
                    "encounter": writer.refer("Encounter", visit.key),
                    "onsetDateTime": writer.day(at),
                    "recordedDate": writer.time(at),
                },
            )
            continue
        content = (
            {"valueQuantity": quantity(float(value), field.unit or "1")}
            if field.kind == "number"
            else {"valueCodeableConcept": {"text": str(value)}}
        )
        says = f"{field.label}: {value} {field.unit}".strip()
        writer.result(key, "exam", _code(field, ("loinc", "snomed")), says, content, at, visit)


def _code(field: Field, systems: Sequence[str]) -> dict[str, Any]:
    """A CodeableConcept of the field's codes, or of its label alone."""
    coding = [
        {"system": SYSTEMS[name], "code": field.codes[name]}  # the label need not be the code's display
        for name in systems
        if name in field.codes
    ]
    return {**({"coding": coding} if coding else {}), "text": field.label}
