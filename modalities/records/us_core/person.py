"""person(): who a patient is, as US Core asks: identifiers, name, address, race, ethnicity, sex at birth, language."""

from typing import Any

from ....core.names import invented_name
from ....core.profile import PatientProfile
from ..data import HL7, PATIENT_IDS, concept
from .hospital import ADDRESS, HOSPITAL, reference
from .lists import OMB, drawn, lists, uniform

_EXTENSION = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-"
_STREETS = ("Alder", "Birch", "Cedar", "Elm", "Linden", "Maple", "Oak", "Rowan")


def person(profile: PatientProfile) -> dict[str, Any]:
    """The elements of a Patient that do not depend on the chart.

    Race, ethnicity, address and telephone are drawn by the patient's id alone (configs/us_core.yaml): no image, trace
    or disease depends on them. Sex at birth is the profile's sex.
    """
    patient_id, sex = profile.patient_id, profile.sex
    family, given = invented_name(patient_id, sex)
    number, street = (
        1 + int(999 * uniform(patient_id, "house")),
        int(len(_STREETS) * uniform(patient_id, "street")),
    )
    phone = int(100 * uniform(patient_id, "phone"))  # 555-01XX is set aside for fiction
    return {
        "extension": [
            _categories("race", races(patient_id), lists().settings.race),
            _categories("ethnicity", [ethnicity(patient_id)], lists().settings.ethnicity),
            {"url": f"{_EXTENSION}birthsex", "valueCode": sex if sex in ("F", "M") else "UNK"},
        ],
        "identifier": [
            {
                "use": "usual",
                "type": concept(f"{HL7}/v2-0203", "MR", "Medical record number"),
                "system": PATIENT_IDS,
                "value": patient_id,
                "assigner": reference("Organization", HOSPITAL),
            }
        ],
        "active": True,
        "name": [{"use": "official", "family": family, "given": [given]}],
        "telecom": [{"system": "phone", "value": f"555-555-01{phone:02d}", "use": "home"}],
        "gender": {"F": "female", "M": "male"}.get(sex or "", "unknown"),
        "address": [{"use": "home", **ADDRESS, "line": [f"{number} {_STREETS[street]} Street"]}],
        "communication": [{"language": concept("urn:ietf:bcp:47", "en", "English"), "preferred": True}],
    }  # fmt: skip


def races(patient_id: str) -> list[str]:
    """One category of OMB's, or two."""
    settings = lists().settings
    shares = {name: category.share for name, category in settings.race.items()}
    second = drawn({**shares, "": settings.two_or_more}, uniform(patient_id, "race"))
    if second:
        return [second]
    first = next(iter(shares))
    shares.pop(first)
    return [first, drawn(shares, uniform(patient_id, "second race"))]


def ethnicity(patient_id: str) -> str:
    """Hispanic or Latino, or not."""
    shares = {name: category.share for name, category in lists().settings.ethnicity.items()}
    return drawn(shares, uniform(patient_id, "ethnicity"))


def _categories(kind: str, names: list[str], known: dict[str, Any]) -> dict[str, Any]:
    parts: list[dict[str, Any]] = [
        {"url": "ombCategory", "valueCoding": {"system": OMB, "code": known[name].code, "display": name}}
        for name in names
    ]
    return {
        "url": _EXTENSION + kind,
        "extension": [*parts, {"url": "text", "valueString": " and ".join(names)}],
    }
