"""timeline_of(): a patient's resources as a list of dated events in plain JSON, from which notes are rendered.

An event has the keys kind, code, display, value, unit, date, end, reason, id and encounter; what does not
apply is None. kind is encounter, condition, observation, medication, procedure, imaging, report or death.
value is a number, an answer in words, the sentence of a report or of a dosage, or the class of a visit; a
panel gives one event a part. date and end are ISO texts (a day, or a moment in UTC), reason is the display of
a condition, id and encounter are `Type/id` of the resources. Events come in order of date.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from .data import Resource

Event = dict[str, Any]
CAUSE_OF_DEATH = "69453-9"  # LOINC


def timeline_of(resources: Sequence[Resource]) -> list[Event]:
    """The events of one patient's resources."""
    named = {
        f"Condition/{r['id']}": _coded(r.get("code"))[1]
        for r in resources
        if r["resourceType"] == "Condition"
    }
    events = [event for resource in resources for event in _events(resource, named)]
    causes = [event["value"] for event in events if event["code"] == CAUSE_OF_DEATH]
    for event in events:
        if event["kind"] == "death":
            event["reason"] = causes[0] if causes else None
    return sorted(events, key=lambda event: event["date"] or "")  # stable: as written within a moment


def _coded(concept: Any) -> tuple[str | None, str | None]:
    """Code and display of a CodeableConcept; its text where it has no coding."""
    coding = ((concept or {}).get("coding") or [{}])[0]
    return coding.get("code"), coding.get("display") or (concept or {}).get("text")


def _event(resource: Resource, kind: str, concept: Any, **known: Any) -> Event:
    code, display = _coded(concept)
    event: Event = {
        "kind": kind, "code": code, "display": display, "value": None, "unit": None, "date": None, "end": None,
        "reason": None, "id": f"{resource['resourceType']}/{resource['id']}",
        "encounter": (resource.get("encounter") or {}).get("reference"),
    }  # fmt: skip
    return event | known


def _events(resource: Resource, named: dict[str, str | None]) -> Iterator[Event]:
    reasons = [named.get(r["reference"]) for r in resource.get("reasonReference", ())]
    reason = next((r for r in reasons if r), None)
    match resource["resourceType"]:
        case "Patient":
            if (died := resource.get("deceasedDateTime")) is not None:
                yield _event(resource, "death", None, date=died)
        case "Encounter":
            period = resource.get("period", {})
            kind = resource["class"]
            yield _event(
                resource, "encounter", {"coding": [kind]}, value=kind.get("display"), date=period.get("start"),
                end=period.get("end"), reason=_coded((resource.get("reasonCode") or [None])[0])[1],
                encounter=f"Encounter/{resource['id']}",
            )  # fmt: skip
        case "Condition":
            onset = resource.get("onsetDateTime") or resource.get("recordedDate")
            stage = (resource.get("stage") or [{}])[0].get("summary")
            yield _event(
                resource, "condition", resource["code"], date=onset, end=resource.get("abatementDateTime"),
                value=_coded(stage)[1],
            )  # fmt: skip
        case "Observation":
            for part in resource.get("component") or [resource]:
                measured = part.get("valueQuantity", {})
                said = part.get("valueCodeableConcept", {})
                yield _event(
                    resource, "observation", part.get("code"), date=resource.get("effectiveDateTime"),
                    value=measured.get("value", said.get("text") or _coded(said)[1]), unit=measured.get("unit"),
                )  # fmt: skip
        case "MedicationRequest":
            dosage = resource["dosageInstruction"][0]
            bounds = dosage["timing"]["repeat"].get("boundsPeriod", {})
            yield _event(
                resource, "medication", resource["medicationCodeableConcept"], value=dosage["text"],
                date=resource.get("authoredOn"), end=bounds.get("end"), reason=reason,
            )  # fmt: skip
        case "Procedure":
            when = resource.get("performedDateTime")
            yield _event(resource, "procedure", resource["code"], date=when, reason=reason)
        case "ImagingStudy":
            uid = resource["identifier"][0]["value"].removeprefix("urn:oid:")
            modality = {"coding": resource["modality"]}
            started = resource.get("started")
            yield _event(resource, "imaging", modality, value=uid, date=started)
        case "DiagnosticReport":
            when = resource.get("effectiveDateTime")
            yield _event(resource, "report", resource["code"], value=resource["conclusion"], date=when)
