"""CSV of a cohort: one table a FHIR resource type, a row an event, each column by its path in the resource."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..data import FOLDER, Resource, parts_of, read_resources, value_at, whole_file

_HEAD = {"id": "id", "patient": "subject.reference", "encounter": "encounter.reference"}


def _concept(element: str) -> dict[str, str]:
    """Columns of a CodeableConcept; the display is its text where it has no coding."""
    coding = f"{element}.coding.0"
    display = f"{coding}.display|{element}.text"
    return {"system": f"{coding}.system", "code": f"{coding}.code", "display": display}


_CODE = _concept("code")
_REASON = {"reason": "reasonReference.0.reference"}
_DOSAGE = "dosageInstruction.0"
_DOSE, _REPEAT = f"{_DOSAGE}.doseAndRate.0.doseQuantity", f"{_DOSAGE}.timing.repeat"
# table: the resource type, and the path of each column
TABLES: dict[str, tuple[str, dict[str, str]]] = {
    "patients": (
        "Patient", {"id": "id", "gender": "gender", "birth_date": "birthDate", "death": "deceasedDateTime"}
    ),
    "encounters": ("Encounter", {
        "id": "id", "patient": "subject.reference", "class": "class.code", "start": "period.start",
        "end": "period.end", "reason": "reasonCode.0.coding.0.code",
        "discharge": "hospitalization.dischargeDisposition.coding.0.code",
    }),
    "conditions": ("Condition", {
        **_HEAD, **_CODE, "onset": "onsetDateTime", "abatement": "abatementDateTime",
        "recorded": "recordedDate", "status": "clinicalStatus.coding.0.code",
        "stage": "stage.0.summary.coding.0.code",
    }),
    "observations": ("Observation", {
        **_HEAD, **_CODE, "date": "effectiveDateTime", "value": "valueQuantity.value",
        "unit": "valueQuantity.code", "answer_code": "valueCodeableConcept.coding.0.code",
        "answer": "valueCodeableConcept.coding.0.display|valueCodeableConcept.text", "entered": "issued",
    }),
    "medications": ("MedicationRequest", {
        **_HEAD, **_concept("medicationCodeableConcept"), "start": "authoredOn",
        "end": f"{_REPEAT}.boundsPeriod.end", "status": "status", "dose": f"{_DOSE}.value",
        "unit": f"{_DOSE}.code", "frequency": f"{_REPEAT}.frequency", "period_days": f"{_REPEAT}.period",
        "route": f"{_DOSAGE}.route.coding.0.display", **_REASON,
    }),
    "procedures": ("Procedure", {**_HEAD, **_CODE, "date": "performedDateTime", **_REASON}),
    "imaging_studies": ("ImagingStudy", {
        **_HEAD, "modality": "modality.0.code", "started": "started", "description": "description",
        "study_uid": "identifier.0.value", "series_uid": "series.0.uid",
        "instance_uid": "series.0.instance.0.uid",
    }),
    "reports": ("DiagnosticReport", {
        **_HEAD, **_CODE, "date": "effectiveDateTime", "conclusion": "conclusion",
    }),
    "documents": ("DocumentReference", {
        **_HEAD, "encounter": "context.encounter.0.reference", **_concept("type"), "date": "date",
        "author": "author.0.display",
    }),
}  # fmt: skip


class CsvTables:
    """csv/<table>.csv of a cohort; see core.contracts.CohortFormat."""

    name = "csv"
    modality = "records"

    def convert(self, source: Path, folder: Path) -> list[Path]:
        """csv/<table>.csv below folder, of the joined NDJSON files below source, a line at a time; the paths."""
        paths = []
        for name, (kind, columns) in TABLES.items():
            resources = source / FOLDER / f"{kind}.ndjson"
            if not resources.exists():
                continue
            path = folder / "csv" / f"{name}.csv"
            with whole_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as out:
                writer = csv.writer(out, lineterminator="\n")
                writer.writerow([*columns, "synthetic"])
                for resource in read_resources(resources):
                    writer.writerows(_rows(resource, list(columns.values())))
            paths.append(path)
        return paths


def _rows(resource: Resource, columns: Sequence[str]) -> Iterator[list[Any]]:
    """A row; of a panel a row a part."""
    for part in parts_of(resource):
        yield [*(_cell(part, path) for path in columns), "true"]


def _cell(part: Resource, path: str) -> Any:
    """The value; of a reference the id, of an identifier the bare UID."""
    value = value_at(part, path, "")
    if path.endswith(".reference"):
        return value.partition("/")[2]
    return value.removeprefix("urn:oid:") if path.startswith("identifier.") else value
