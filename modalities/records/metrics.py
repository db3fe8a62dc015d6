"""Whether a cohort's health records hold together: references, images, and the rules of medicine."""

from collections import Counter
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from .case import Case, Violation
from .data import (
    DICOM_UID,
    FOLDER,
    HTEST,
    NOTE_KINDS,
    NOTES,
    TRUE_NOTES,
    TRUTH,
    TYPES,
    Resource,
    patient_of,
    read_resources,
)
from .notes.consistency import contradictions
from .rules.clinical import check
from .studies import home_of
from .us_core.hospital import hospital_names

NOTES_RULE = "notes-state-the-record"


def violations(folder: Path) -> Iterator[tuple[str, Violation]]:
    """(patient, broken rule) of a cohort folder, a patient at a time; of the truth where there is corruption.

    A rule is one of rules.clinical.RULES, or NOTES_RULE where a note says what the record does not. Raises InputError
    if a file is missing or is not NDJSON.
    """
    corrupted = (folder / TRUTH).is_dir()
    texts: dict[str, list[dict[str, Any]]] = {}
    for kind in NOTE_KINDS:
        path = folder / (TRUE_NOTES if corrupted else NOTES) / f"{kind}.jsonl"
        for note in read_resources(path) if path.exists() else ():
            texts.setdefault(note["meta"]["patient"], []).append(note)
    for patient_id, resources in patients(folder / (TRUTH if corrupted else FOLDER)):
        case = Case(resources)
        found = check(resources)
        for note in texts.get(patient_id, ()):
            found += [
                Violation(NOTES_RULE, note["meta"]["reference"], says) for says in contradictions(note, case)
            ]
        for violation in found:
            yield patient_id, violation


def check_references(folder: Path) -> list[str]:
    """Problems of the FHIR files of a cohort folder, one line each; empty means none were found.

    Ids are unique; every resource is tagged HTEST and belongs to a patient of the cohort; every
    reference resolves, to the same patient; the UIDs of every ImagingStudy are those of a DICOM file
    of that patient. Raises InputError if a file is missing or is not NDJSON.
    """
    owner: dict[str, str] = {}
    problems: list[str] = []
    counts: Counter[str] = Counter()
    for name, resource in _resources(folder):
        counts[name] += 1
        owner[name] = patient_of(resource)
    problems += [f"{name}: id used {n} times" for name, n in counts.items() if n > 1]
    for name, resource in _resources(folder):
        patient = owner[name]
        if f"Patient/{patient}" not in owner and name not in hospital_names():
            problems.append(f"{name}: belongs to no patient of the cohort, got {patient!r}")
        if HTEST["code"] not in [tag.get("code") for tag in resource.get("meta", {}).get("tag", [])]:
            problems.append(f"{name}: not tagged {HTEST['code']}")
        for reference in _references(resource):
            if reference not in owner:
                problems.append(f"{name}: reference {reference!r} does not resolve")
            elif owner[reference] not in (patient, ""):
                problems.append(f"{name}: reference {reference!r} leads to another patient")
        if resource["resourceType"] == "ImagingStudy":
            images = folder / home_of(resource, "imaging") / "dicom" / patient
            problems += [f"{name}: {problem}" for problem in _images(resource, images)]
    return problems


def patients(folder: Path) -> Iterator[tuple[str, list[Resource]]]:
    """Each patient's resources, merged from files that are all in the patients' order."""
    streams = {
        kind: groupby(read_resources(folder / f"{kind}.ndjson"), patient_of)
        for kind in TYPES
        if (folder / f"{kind}.ndjson").exists()
    }
    waiting: dict[str, tuple[str, list[Resource]] | None] = {}

    def take(kind: str) -> None:
        found = next((group for group in streams[kind] if group[0]), None)  # what all share belongs to nobody
        waiting[kind] = None if found is None else (found[0], list(found[1]))

    for kind in streams:
        take(kind)
    while (first := waiting.get("Patient")) is not None:
        patient_id, resources = first[0], []
        for kind in streams:
            if (part := waiting[kind]) is not None and part[0] == patient_id:
                resources += part[1]
                take(kind)
        yield patient_id, resources


def _resources(folder: Path) -> Iterator[tuple[str, Resource]]:
    for kind in TYPES:
        path = folder / FOLDER / f"{kind}.ndjson"
        if kind == "Patient" or path.exists():
            for resource in read_resources(path):
                yield f"{resource.get('resourceType')}/{resource.get('id')}", resource


def _references(value: Any) -> Iterator[str]:
    """Every `reference` in a resource, at any depth."""
    if isinstance(value, dict):
        if isinstance(value.get("reference"), str):
            yield value["reference"]
        for part in value.values():
            yield from _references(part)
    elif isinstance(value, list):
        for part in value:
            yield from _references(part)


def _images(study: Resource, folder: Path) -> Iterator[str]:
    """What the ImagingStudy names and the patient's DICOM folder does not hold."""
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    held: set[tuple[str, str, str]] = set()
    for path in sorted(folder.rglob("*.dcm")):
        try:
            header = dcmread(path, specific_tags=["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"])
        except InvalidDicomError:
            yield f"{path.name} is not a DICOM file"
            continue
        held.add((header.StudyInstanceUID, header.SeriesInstanceUID, header.SOPInstanceUID))
    for identifier in study.get("identifier", []):
        if identifier.get("system") != DICOM_UID:
            continue
        uid = str(identifier.get("value", "")).removeprefix("urn:oid:")
        said = {(uid, series["uid"], one["uid"]) for series in study["series"] for one in series["instance"]}
        for _, _, instance in sorted(said - held):
            yield f"no DICOM file of study {uid}, instance {instance}"
        for _, _, instance in sorted(found for found in held - said if found[0] == uid):
            yield f"the DICOM file of study {uid}, instance {instance} is not listed"
