"""Transaction Bundles: one JSON file a patient, which any FHIR R4 server takes in one POST."""

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from ....core.training.weights import write_atomic
from ..data import FOLDER, TYPES, Resource, line, patient_of, read_resources

BUNDLES = "fhir_bundles"


def write_bundles(folder: Path) -> list[Path]:
    """fhir_bundles/<patient>.json of the joined NDJSON files below folder, one patient in memory; the paths."""
    (folder / BUNDLES).mkdir(parents=True, exist_ok=True)
    paths = []
    for patient_id, resources in patients(folder / FOLDER):
        path = folder / BUNDLES / f"{patient_id}.json"
        write_atomic(path, line(bundle(resources)).encode())
        paths.append(path)
    return paths


def bundle(resources: list[Resource]) -> dict[str, Any]:
    """A transaction that puts every resource under its own id, so that it may be sent twice."""
    entries = [
        {
            "fullUrl": f"http://example.org/polyclinic/fhir/{r['resourceType']}/{r['id']}",
            "resource": r,
            "request": {"method": "PUT", "url": f"{r['resourceType']}/{r['id']}"},
        }
        for r in resources
    ]
    tag = resources[0]["meta"]
    return {"resourceType": "Bundle", "meta": tag, "type": "transaction", "entry": entries}


def patients(folder: Path) -> Iterator[tuple[str, list[Resource]]]:
    """Each patient's resources, merged from files that are all in the patients' order."""
    streams = {
        kind: groupby(read_resources(folder / f"{kind}.ndjson"), patient_of)
        for kind in TYPES
        if (folder / f"{kind}.ndjson").exists()
    }
    waiting: dict[str, tuple[str, list[Resource]] | None] = {}

    def take(kind: str) -> None:
        found = next(streams[kind], None)
        waiting[kind] = None if found is None else (found[0], list(found[1]))

    for kind in streams:
        take(kind)
    while (first := waiting.get("Patient")) is not None:
        patient_id, own = first[0], []
        for kind in streams:
            if (part := waiting[kind]) is not None and part[0] == patient_id:
                own += part[1]
                take(kind)
        yield patient_id, own
