"""timeline_of(): a patient's resources as a list of dated events in plain JSON, from which notes are rendered.

An event has the keys kind, code, display, value, unit, date, end, reason, id and encounter; what does not
apply is None. kind is encounter, condition, observation, medication, procedure, imaging, report or death.
value is a number, an answer in words, the sentence of a report or of a dosage, or the class of a visit; a
panel gives one event a part. date and end are ISO texts (a day, or a moment in UTC), reason is the display of
a condition, id and encounter are `Type/id` of the resources. Events come in order of date.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .data import Resource, parts_of, value_at

Event = dict[str, Any]
CAUSE_OF_DEATH = "69453-9"  # LOINC


def _concept(element: str) -> dict[str, str]:
    return {"code": f"{element}.coding.0.code", "display": f"{element}.coding.0.display|{element}.text"}


_DOSAGE = "dosageInstruction.0"
_SUMMARY = "stage.0.summary"
# resource type: the kind of event, and the path of what each key says
_EVENTS: Mapping[str, tuple[str, dict[str, str]]] = {
    "Patient": ("death", {"date": "deceasedDateTime"}),
    "Encounter": ("encounter", {
        "code": "class.code", "display": "class.display", "value": "class.display", "date": "period.start",
        "end": "period.end", "reason": "reasonCode.0.coding.0.display|reasonCode.0.text",
    }),
    "Condition": ("condition", {
        **_concept("code"), "date": "onsetDateTime|recordedDate", "end": "abatementDateTime",
        "value": f"{_SUMMARY}.coding.0.display|{_SUMMARY}.text",
    }),
    "Observation": ("observation", {
        **_concept("code"), "date": "effectiveDateTime", "unit": "valueQuantity.unit",
        "value": "valueQuantity.value|valueCodeableConcept.text|valueCodeableConcept.coding.0.display",
    }),
    "MedicationRequest": ("medication", {
        **_concept("medicationCodeableConcept"), "value": f"{_DOSAGE}.text", "date": "authoredOn",
        "end": f"{_DOSAGE}.timing.repeat.boundsPeriod.end",
    }),
    "Procedure": ("procedure", {**_concept("code"), "date": "performedDateTime"}),
    "ImagingStudy": ("imaging", {
        "code": "modality.0.code", "display": "modality.0.display", "value": "identifier.0.value", "date": "started",
    }),
    "DiagnosticReport": ("report", {
        **_concept("code"), "value": "conclusion", "date": "effectiveDateTime",
    }),
}  # fmt: skip


def timeline_of(resources: Sequence[Resource]) -> list[Event]:
    """The events of one patient's resources."""
    named = {
        f"Condition/{r['id']}": value_at(r, _concept("code")["display"])
        for r in resources
        if r["resourceType"] == "Condition"
    }
    events = [
        event
        for resource in resources
        if resource["resourceType"] in _EVENTS
        for event in _events(resource, named)
    ]
    causes = [event["value"] for event in events if event["code"] == CAUSE_OF_DEATH]
    for event in events:
        if event["kind"] == "death":
            event["reason"] = causes[0] if causes else None
    return sorted(events, key=lambda event: event["date"] or "")  # stable: as written within a moment


def _events(resource: Resource, named: Mapping[str, str | None]) -> Iterator[Event]:
    kind, paths = _EVENTS[resource["resourceType"]]
    if kind == "death" and "deceasedDateTime" not in resource:
        return
    name = f"{resource['resourceType']}/{resource['id']}"
    reasons = (named.get(r["reference"]) for r in resource.get("reasonReference", ()))
    event = dict.fromkeys(("kind", "code", "display", "value", "unit", "date", "end"))
    event |= {"kind": kind, "reason": next((r for r in reasons if r), None), "id": name}
    event["encounter"] = name if kind == "encounter" else value_at(resource, "encounter.reference")
    for part in parts_of(resource):
        found = {key: value_at(part, path) for key, path in paths.items()}
        if kind == "imaging":
            found["value"] = found["value"].removeprefix("urn:oid:")
        yield event | found
