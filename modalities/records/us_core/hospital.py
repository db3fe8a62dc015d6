"""hospital(): what all patients share: organizations, places, staff and machines; the same in every cohort."""

from functools import cache
from typing import Any

from ....core.fields import SNOMED
from ....core.names import invented_name
from ..data import HL7, HTEST, MODALITIES, Resource, concept
from .lists import lists, profile

HOSPITAL = "polyclinic"
IDS = "http://example.org/polyclinic"  # example.org: nobody's real identifiers
ADDRESS = {
    "line": ["1 Sample Street"],
    "city": "Sampletown",
    "state": "MA",
    "postalCode": "99999",
    "country": "US",
}
PHONE = [{"system": "phone", "value": "555-555-0100", "use": "work"}]
PLACES = {  # key: name, its code of v3-RoleCode
    "emergency": ("Emergency department", "ER", "Emergency room"),
    "ward": ("Ward", "HU", "Hospital unit"),
    "icu": ("Intensive care unit", "ICU", "Intensive care unit"),
    "clinic": ("Outpatient clinic", "OF", "Outpatient facility"),
    "radiology": ("Radiology", "RADDX", "Radiology diagnostics or therapeutics unit"),
    "cardiology": ("Cardiac diagnostics", "CVDX", "Cardiovascular diagnostics or therapeutics unit"),
}
STAFF = {  # specialty, a name of terms.yaml: how many
    "medicine": 6, "emergency": 2, "intensive": 2, "cardiology": 2, "oncology": 2, "radiology": 2, "pathology": 2,
    "nurse": 6,
}  # fmt: skip
META = {"security": [HTEST], "tag": [HTEST]}


def reference(kind: str, key: str) -> dict[str, str]:
    """A reference to one of the shared resources."""
    return {"reference": f"{kind}/{key}"}


def colleague(specialty: str, number: int) -> str:
    """The id of one of the staff of a specialty."""
    return f"{specialty}-{number % STAFF[specialty] + 1}"


@cache
def hospital() -> tuple[Resource, ...]:
    """The resources, in the order of data.TYPES; no patient is named in them."""
    return (*_organizations(), *_places(), *_staff(), *_machines())


@cache
def hospital_names() -> frozenset[str]:
    """`Type/id` of each."""
    return frozenset(f"{resource['resourceType']}/{resource['id']}" for resource in hospital())


def _resource(kind: str, key: str, says: str, us_core: str, content: dict[str, Any]) -> Resource:
    text = f'<div xmlns="http://www.w3.org/1999/xhtml">Synthetic: {says}</div>'
    meta: dict[str, Any] = {**META, **({"profile": [profile(us_core)]} if us_core else {})}
    return {
        "resourceType": kind,
        "id": key,
        "meta": meta,
        "text": {"status": "generated", "div": text},
        **content,
    }


def _organizations() -> list[Resource]:
    payers = {
        f"payer-{name}": (payer.name, "pay", "Payer")
        for name, payer in lists().settings.payers.items()
        if payer.name
    }
    named = {HOSPITAL: ("Synthetic Polyclinic", "prov", "Healthcare Provider"), **payers}
    return [
        _resource(
            "Organization",
            key,
            name,
            "organization",
            {
                "identifier": [{"system": f"{IDS}/organization", "value": key}],
                "active": True,
                "type": [concept(f"{HL7}/organization-type", code, display)],
                "name": name,
                "telecom": PHONE,
                "address": [ADDRESS],
            },
        )
        for key, (name, code, display) in named.items()
    ]


def _places() -> list[Resource]:
    return [
        _resource(
            "Location",
            key,
            name,
            "location",
            {
                "status": "active",
                "name": f"{name} of the Synthetic Polyclinic",
                "mode": "instance",
                "type": [concept(f"{HL7}/v3-RoleCode", code, display)],
                "telecom": PHONE,
                "address": ADDRESS,
                "managingOrganization": reference("Organization", HOSPITAL),
            },
        )
        for key, (name, code, display) in PLACES.items()
    ]


def _staff() -> list[Resource]:
    people, roles = [], []
    for specialty, count in STAFF.items():
        term = lists().terms[specialty]
        for number in range(count):
            key = colleague(specialty, number)
            family, given = invented_name(f"staff {key}", None)
            nurse = specialty == "nurse"
            people.append(
                _resource(
                    "Practitioner",
                    key,
                    f"{given} {family}",
                    "practitioner",
                    {
                        "identifier": [{"system": f"{IDS}/staff", "value": key}],
                        "active": True,
                        "name": [{"use": "official", "family": family, "given": [given]}],
                        "telecom": PHONE,
                        "address": [ADDRESS],
                    },
                )
            )
            kind = ("nurse", "Nurse") if nurse else ("doctor", "Doctor")
            roles.append(
                _resource(
                    "PractitionerRole",
                    key,
                    f"{given} {family}, {term.display}",
                    "practitionerrole",
                    {
                        "active": True,
                        "practitioner": reference("Practitioner", key),
                        "organization": reference("Organization", HOSPITAL),
                        "code": [concept(f"{HL7}/practitioner-role", *kind)],
                        "specialty": [concept(SNOMED, term.code, term.display, term.display)],
                        "telecom": PHONE,
                    },
                )
            )
    return [*people, *roles]


def _machines() -> list[Resource]:
    """One machine a kind of image, as its files name it, and the electrocardiograph."""
    scanner, recorder = lists().terms["scanner"], lists().terms["electrocardiograph"]
    made = [
        (f"SYNTHETIC-{kind}", "Synthetic image generator", noun, scanner) for kind, noun in MODALITIES.items()
    ]
    made.append(("SYNTHETIC-ECG", "Synthetic ECG generator", "Electrocardiograph", recorder))
    return [
        _resource(
            "Device",
            station,
            f"{noun}, station {station}",
            "",
            {
                "identifier": [{"system": f"{IDS}/station", "value": station}],
                "status": "active",
                "manufacturer": "Polyclinic",
                "serialNumber": "SYNTHETIC",
                "deviceName": [{"name": model, "type": "model-name"}],
                "modelNumber": model,
                "type": concept(SNOMED, term.code, term.display, noun),
                "owner": reference("Organization", HOSPITAL),
                "location": reference("Location", "cardiology" if station.endswith("ECG") else "radiology"),
            },
        )
        for station, model, noun, term in made
    ]  # fmt: skip
