"""Transaction Bundles: one JSON file a patient, which any FHIR R4 server takes in one POST."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ....core.cohort.disk import write_atomic
from ....core.modality import Record
from ....core.profile import PatientProfile
from ..data import Resource, line
from ..us_core.hospital import HOSPITAL, hospital

OF_ANYONE = re.compile(r'"reference": ?"([A-Za-z]+/[^"]*)"')


class Bundles:
    """fhir_bundles/<patient>.json of a cohort; see core.contracts.PatientFormat."""

    name = "bundles"
    modality = "records"

    def write(
        self, records: Sequence[Record], profiles: Sequence[PatientProfile], folder: Path
    ) -> list[Path]:
        """fhir_bundles/<patient>.json of each patient below folder; the paths."""
        (folder / "fhir_bundles").mkdir(parents=True, exist_ok=True)
        paths = []
        for record, profile in zip(records, profiles, strict=True):
            paths.append(folder / "fhir_bundles" / f"{profile.patient_id}.json")
            write_atomic(paths[-1], line(bundle(record.facts["resources"])).encode())
        return paths


def bundle(resources: list[Resource]) -> dict[str, Any]:
    """A transaction that puts every resource under its own id, so that it may be sent twice.

    What the resources refer to and all patients share comes first, with the roles of the staff.
    """
    named = {f"Organization/{HOSPITAL}", *(name for r in resources for name in OF_ANYONE.findall(line(r)))}
    named |= {name.replace("Practitioner/", "PractitionerRole/") for name in named}
    before = [r for r in hospital() if f"{r['resourceType']}/{r['id']}" in named]
    entries = [
        {
            "fullUrl": f"http://example.org/polyclinic/fhir/{r['resourceType']}/{r['id']}",
            "resource": r,
            "request": {"method": "PUT", "url": f"{r['resourceType']}/{r['id']}"},
        }
        for r in [*before, *resources]
    ]
    tag = resources[0]["meta"]
    return {"resourceType": "Bundle", "meta": tag, "type": "transaction", "entry": entries}
