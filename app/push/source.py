"""Source: the objects of a cohort that a target takes: its DICOM files, bundles of its patients, or all its files."""

import json
import tempfile
from collections.abc import Iterator
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

from ...core.cohort.cohort import MANIFEST, Cohort
from ...core.cohort.journal import JOURNAL
from ...core.config import read_json
from ...core.errors import InputError
from ...core.paths import inside
from ...core.registry import load, load_modality
from ...core.training.weights import digest
from ..governance.certificate import CERTIFICATE, CROISSANT, DATASHEET, ENVELOPE, REPORT, SCORES
from .sender import Item
from .target import ARCHIVE, ARCHIVE_DIMSE, FHIR, Target

RECORDS = "records"
TOGETHER = 64  # patients in memory
OF_ALL = ("Organization", "Location", "Practitioner", "PractitionerRole", "Device", "Medication")
PAPERS = (CERTIFICATE, ENVELOPE, SCORES, REPORT, CROISSANT, DATASHEET, JOURNAL)


def count(cohort: Cohort, target: Target) -> int:
    """How many items there are, or in FHIR patients. Raises InputError where there is none."""
    if target.kind in (ARCHIVE, ARCHIVE_DIMSE):
        if found := sum(name.endswith(".dcm") for name in cohort.manifest["files"]):
            return found
        raise InputError(
            f"{cohort.folder}: no DICOM files; generate it with the modality imaging, or with ECGs as DICOM "
            "(--set signals.formats=[dicom])"
        )
    if target.kind == FHIR:
        if RECORDS not in cohort.manifest["modalities"]:
            raise InputError(f"{cohort.folder}: no health records; generate it with the modality records")
        return int(cohort.manifest["modalities"][RECORDS].get("with_record", cohort.patients))
    papers = (*PAPERS, *cohort.shards, MANIFEST)
    return len(cohort.manifest["files"]) + sum((cohort.folder / name).is_file() for name in papers)


def items(cohort: Cohort, target: Target) -> Iterator[Item]:
    """What goes there, in order."""
    if target.kind in (ARCHIVE, ARCHIVE_DIMSE):
        return (item for item in _listed(cohort) if item.name.endswith(".dcm"))
    return _bundles(cohort) if target.kind == FHIR else _everything(cohort)


def _listed(cohort: Cohort) -> Iterator[Item]:
    for name, entry in cohort.manifest["files"].items():
        path = inside(cohort.folder, name, MANIFEST)
        yield Item(name, str(entry["sha256"]), int(entry["bytes"]), path)


def _everything(cohort: Cohort) -> Iterator[Item]:
    """All files, the papers of a release, shards, and the manifest last: where it is, the cohort is whole."""
    yield from _listed(cohort)
    for name in (*PAPERS, *cohort.shards, MANIFEST):
        path = cohort.folder / name
        if path.is_file() and name not in cohort.manifest["files"]:
            yield Item(name, digest(path), path.stat().st_size, path, alone=name == MANIFEST)


def _bundles(cohort: Cohort) -> Iterator[Item]:
    """A transaction a patient; what patients share goes once, before the first of those who refer to it."""
    made, known = load("formats", f"{RECORDS}.bundles"), set[str]()
    patients = cohort.records(load_modality(RECORDS))
    while some := list(islice(patients, TOGETHER)):
        with tempfile.TemporaryDirectory() as folder:
            paths = made.write([p.records[RECORDS] for p in some], [p.profile for p in some], Path(folder))
            bundles = [read_json(path.read_text(encoding="utf-8")) for path in paths]
        shared: dict[str, Any] = {}
        for bundle in bundles:
            for entry in bundle["entry"]:
                if of_all(entry["resource"]) and entry["request"]["url"] not in known:
                    shared.setdefault(entry["request"]["url"], entry)
        known |= set(shared)
        if shared:
            first = {**bundles[0], "entry": list(shared.values())}
            yield _bundle(f"fhir_bundles/shared-before-{some[0].profile.patient_id}.json", first, alone=True)
        for patient, bundle in zip(some, bundles, strict=True):
            own = [e for e in bundle["entry"] if not of_all(e["resource"])]
            yield _bundle(f"fhir_bundles/{patient.profile.patient_id}.json", {**bundle, "entry": own})


def of_all(resource: dict[str, Any]) -> bool:
    """Whether patients share it: a resource of the hospital, not of one of them."""
    return resource["resourceType"] in OF_ALL and "patient" not in resource


def _bundle(name: str, bundle: dict[str, Any], alone: bool = False) -> Item:
    content = json.dumps(bundle, ensure_ascii=False, separators=(",", ":")).encode()
    return Item(name, sha256(content).hexdigest(), len(content), content=content, alone=alone)
