"""A FHIR R4 bulk export, or bundles, as one row a patient: sex, age, conditions and first observations by code."""

import gzip
import re
from collections import Counter
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pandas as pd

from ...core.config import LARGEST, read_json
from ...core.errors import InputError
from ...core.paths import require_file
from ...core.remarks import remark

CONDITION, MEASURED = "condition:", "observation:"  # how columns of coded tables are called, before the code
DAYS_A_YEAR = 365.25
FULL_URL = "_fullUrl"  # where a resource of a bundle keeps what the bundle calls it
BUNDLE, SEARCHED = re.compile(rb'"resourceType"\s*:\s*"Bundle"'), 1 << 12  # bytes at the start of a file
NOT_SO = {"entered-in-error", "refuted"}  # verificationStatus of a condition that the patient does not have
NOT_MEASURED = {"entered-in-error", "cancelled", "registered"}  # status of an observation without a result

Resource = dict[str, Any]


def is_fhir_folder(path: Path) -> bool:
    """Whether a folder holds patients as NDJSON (Patient.ndjson, its parts, either gzipped) or as bundles (.json)."""
    return path.is_dir() and bool(_parts(path, "Patient") or _bundles(path))


def coded_columns(folder: Path) -> Counter[str]:
    """`condition:CODE` and `observation:CODE` (those with a number), and of how many subjects each is stated."""
    said: dict[str, set[str]] = {}
    for where, condition in _resources(folder, "Condition"):
        for code in _codes(condition, "code", where):
            said.setdefault(f"{CONDITION}{code}", set()).add(str(condition.get("subject")))
    for where, observation in _resources(folder, "Observation"):
        for part in (observation, *_list(observation, "component", where)):
            if _number(part, where) is not None:
                for code in _codes(part, "code", where):
                    said.setdefault(f"{MEASURED}{code}", set()).add(str(observation.get("subject")))
    return Counter({name: len(subjects) for name, subjects in said.items()})


def read_fhir(folder: Path, key: str, wanted: list[str]) -> pd.DataFrame:
    """Patient, Condition and Observation files as a table; age (years) is at the last condition or observation.

    Columns: `key`, gender, age, and of `wanted` those named `condition:CODE` (1 or 0) and `observation:CODE` (the
    earliest number, of components too). References may be relative, absolute, versioned, urn:uuid, contained or by
    identifier. What was entered in error, refuted or cancelled is left out and remarked, and so are resources of
    patients who are not there. Raises InputError that names file and line.
    """
    patients = _Patients(folder)
    rows: dict[str, Resource] = {}
    born: dict[str, str] = {}
    for where, patient in _resources(folder, "Patient"):
        own = patients.add(patient, where)
        rows[own] = {key: own, "gender": _text(patient, "gender", where) or None, **absent(wanted)}
        born[own] = _text(patient, "birthDate", where)
    if not rows:
        raise InputError(f"{folder / 'Patient.ndjson'}: holds no patients")
    last: dict[str, str] = {}
    first: dict[tuple[str, str], str] = {}
    dropped: Counter[str] = Counter()
    for where, condition in _resources(folder, "Condition"):
        if _codes(condition, "verificationStatus", where) & NOT_SO:
            dropped["conditions entered in error or refuted"] += 1
            continue
        if (name := patients.of(condition, where)) is None:
            dropped["conditions of patients who are not there"] += 1
            continue
        day = _text(condition, "onsetDateTime", where) or _text(condition, "recordedDate", where)
        last[name] = max(last.get(name, ""), day)
        for code in _codes(condition, "code", where):
            if f"{CONDITION}{code}" in rows[name]:
                rows[name][f"{CONDITION}{code}"] = 1
    for where, observation in _resources(folder, "Observation"):
        if _text(observation, "status", where) in NOT_MEASURED:
            dropped["observations entered in error or cancelled"] += 1
            continue
        if (name := patients.of(observation, where)) is None:
            dropped["observations of patients who are not there"] += 1
            continue
        day = _day(observation, where)
        last[name] = max(last.get(name, ""), day)
        for part in (observation, *_list(observation, "component", where)):
            value = _number(part, where)
            if value is None:
                continue
            for code in _codes(part, "code", where):
                column = f"{MEASURED}{code}"
                if column in rows[name] and ((name, column) not in first or day < first[name, column]):
                    rows[name][column], first[name, column] = value, day
    for what, count in dropped.items():
        remark(f"{folder}: {count} {what} are left out")
    for own, row in rows.items():
        row["age"] = _years(born[own], last.get(own, ""))
    return pd.DataFrame(list(rows.values()))


def absent(wanted: list[str]) -> Resource:
    """The coded columns of a patient of whom nothing is said: conditions absent, observations unknown."""
    coded = (name for name in wanted if name.startswith((CONDITION, MEASURED)))
    return {name: 0 if name.startswith(CONDITION) else None for name in coded}


class _Patients:
    """The patients of an export by logical id and by identifier; resolves what a `subject` refers to."""

    def __init__(self, folder: Path) -> None:
        self.ids: set[str] = set()
        self.by_identifier: dict[tuple[str, str], str] = {}
        self.by_url: dict[str, str] = {}  # of the entry in a bundle
        self.folder = folder

    def add(self, patient: Resource, where: str) -> str:
        """File a Patient resource; its logical id. Raises InputError without one, or where it comes twice."""
        name = _text(patient, "id", where)
        if not name:
            raise InputError(f"{where}: a Patient without an id; conditions and observations refer to it")
        if name in self.ids:
            raise InputError(f"{where}: the Patient {name!r} comes twice; keep one version of each resource")
        self.ids.add(name)
        if isinstance(url := patient.get(FULL_URL), str):
            self.by_url[url] = name
        for identifier in _list(patient, "identifier", where):
            self.by_identifier[_identifier(identifier)] = name
        return name

    def of(self, resource: Resource, where: str) -> str | None:
        """Logical id of the patient that a resource is about; None if it is not in the export."""
        subject = resource.get("subject")
        if subject is None:
            return None
        if not isinstance(subject, dict):
            raise InputError(f"{where}: subject must be a Reference, got {type(subject).__name__}")
        reference = _text(subject, "reference", where)
        if reference.startswith("#"):
            inner = [p for p in _list(resource, "contained", where) if p.get("id") == reference[1:]]
            return self._identified(inner[0], where) if inner else None
        if reference in self.by_url:
            return self.by_url[reference]
        if reference.startswith("Patient?"):
            system, _, value = parse_qs(reference[8:]).get("identifier", [""])[0].rpartition("|")
            return self.by_identifier.get((system, value))
        if reference:
            path = reference.partition("/_history/")[0]
            name = path.removeprefix("urn:uuid:").removeprefix("urn:oid:").rpartition("/")[2]
            return name if name in self.ids else None
        given = subject.get("identifier")
        return self.by_identifier.get(_identifier(given)) if isinstance(given, dict) else None

    def _identified(self, contained: Resource, where: str) -> str | None:
        keys = (_identifier(i) for i in _list(contained, "identifier", where))
        return next((self.by_identifier[key] for key in keys if key in self.by_identifier), None)


def _identifier(value: Resource) -> tuple[str, str]:
    return str(value.get("system") or ""), str(value.get("value") or "")


def _parts(folder: Path, kind: str) -> list[Path]:
    """Files of one resource type: Patient.ndjson, Patient.000.ndjson, Patient-1.ndjson, each may end in .gz.

    Raises InputError for one that is no regular file.
    """
    found = (
        path for pattern in (f"{kind}.*ndjson*", f"{kind}[-_]*.ndjson*") for path in folder.glob(pattern)
    )
    parts = sorted({path for path in found if path.name.endswith((".ndjson", ".ndjson.gz"))})
    for path in parts:
        require_file(path, f"{kind} resources as NDJSON")
    return parts


def _bundles(folder: Path) -> list[Path]:
    """JSON files that hold a Bundle. Raises InputError for a pipe or a device."""
    found = []
    for path in sorted(path for path in folder.glob("*.json") if not path.is_dir()):
        require_file(path, "a FHIR bundle")
        with path.open("rb") as file:
            if BUNDLE.search(file.read(SEARCHED)):
                found.append(path)
    return found


def _entries(path: Path, kind: str) -> Iterator[tuple[str, Resource]]:
    """(file and entry, resource) of one type in a bundle. Raises InputError."""
    try:
        bundle = _resource(path.read_text(encoding="utf-8-sig"), "Bundle", str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as a FHIR bundle ({error})") from None
    for number, entry in enumerate(_list(bundle, "entry", str(path)), 1):
        resource = entry.get("resource")
        if isinstance(resource, dict) and resource.get("resourceType") == kind:
            yield f"{path}, entry {number}", {**resource, FULL_URL: entry.get("fullUrl") or ""}


def _resources(folder: Path, kind: str) -> Iterator[tuple[str, Resource]]:
    """(file and line, resource) of one type, over all its files. Raises InputError."""
    if not _parts(folder, "Patient"):
        for path in _bundles(folder):
            yield from _entries(path, kind)
    for path in _parts(folder, kind):
        opened, nulls = gzip.open if path.suffix == ".gz" else open, list[str]()
        try:
            with opened(path, "rt", encoding="utf-8-sig") as file:
                for number, line in enumerate(file, 1):
                    if line.strip():
                        where = f"{path}, line {number}"
                        resource = _resource(line, kind, where)
                        nulls += [f"line {number}, {key}" for key, value in resource.items() if value is None]
                        yield where, resource
        except (OSError, EOFError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: cannot be read as NDJSON ({error})") from None
        if nulls:
            remark(
                f"{path}: {len(nulls)} elements are null, which FHIR does not allow ({nulls[0]}); taken as absent"
            )


def _resource(line: str, kind: str, where: str) -> Resource:
    try:
        resource = read_json(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: not JSON ({error})") from None
    if not isinstance(resource, dict):
        raise InputError(f"{where}: expected a FHIR resource, got {type(resource).__name__}")
    if (stated := resource.get("resourceType", kind)) != kind:
        raise InputError(f"{where}: expected a {kind}, got {stated!r}")
    return resource


def _text(resource: Resource, key: str, where: str) -> str:
    """A string element; "" where it is absent or null. Raises InputError."""
    value = resource.get(key)
    if value is not None and not isinstance(value, str):
        raise InputError(f"{where}: {key} must be text, got {type(value).__name__}")
    return value or ""


def _list(resource: Resource, key: str, where: str) -> list[Resource]:
    """A repeating element; empty where it is absent or null. Raises InputError."""
    value = resource.get(key) or []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise InputError(f"{where}: {key} must be a list of objects, got {type(value).__name__}")
    return value


def _codes(resource: Resource, key: str, where: str) -> set[str]:
    """Codes of a CodeableConcept. Raises InputError."""
    concept = resource.get(key) or {}
    if not isinstance(concept, dict):
        raise InputError(f"{where}: {key} must be a CodeableConcept, got {type(concept).__name__}")
    return {_text(coding, "code", where) for coding in _list(concept, "coding", where)} - {""}


def _number(resource: Resource, where: str) -> float | None:
    """valueQuantity or valueInteger; None where there is none. Raises InputError."""
    quantity = resource.get("valueQuantity")
    if quantity is not None and not isinstance(quantity, dict):
        raise InputError(f"{where}: valueQuantity must be a Quantity, got {type(quantity).__name__}")
    value = (quantity or {}).get("value", resource.get("valueInteger"))
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{where}: the value of a Quantity must be a number, got {value!r}")
    if not abs(value) <= LARGEST:
        raise InputError(
            f"{where}: the value of a Quantity must be a number of at most {LARGEST:g}, got more"
        )
    return value


def _day(observation: Resource, where: str) -> str:
    """When it was observed, as ISO text: effectiveDateTime, effectiveInstant, or the start of effectivePeriod."""
    period = observation.get("effectivePeriod") or {}
    start = _text(period, "start", where) if isinstance(period, dict) else ""
    return (
        _text(observation, "effectiveDateTime", where)
        or _text(observation, "effectiveInstant", where)
        or start
    )


def _years(born: str, day: str) -> float | None:
    """Years between two ISO dates; None unless both are whole."""
    try:
        return (date.fromisoformat(day[:10]) - date.fromisoformat(born[:10])).days / DAYS_A_YEAR
    except ValueError:
        return None
