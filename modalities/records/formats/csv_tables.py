"""Flat rows of FHIR resources, and the CSV files of a cohort: one table a resource type, a row an event."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..data import FOLDER, Resource, patient_of, read_resources

CSV = "csv"

Row = dict[str, Any]


def coded(concept: Any) -> tuple[str, str, str]:
    """System, code and display (or text) of a CodeableConcept."""
    concept = concept or {}
    coding = (concept.get("coding") or [{}])[0]
    return coding.get("system", ""), coding.get("code", ""), coding.get("display") or concept.get("text", "")


def _head(resource: Resource) -> Row:
    visit = (resource.get("encounter") or {}).get("reference", "").removeprefix("Encounter/")
    return {"id": resource["id"], "patient": patient_of(resource), "encounter": visit}


def _concept(concept: Any) -> Row:
    system, code, display = coded(concept)
    return {"system": system, "code": code, "display": display}


def _reason(resource: Resource) -> str:
    references = resource.get("reasonReference") or [{}]
    return str(references[0].get("reference", "")).removeprefix("Condition/")


def patient_rows(resource: Resource) -> Iterator[Row]:
    """A Patient."""
    yield {
        "id": resource["id"],
        "gender": resource["gender"],
        "birth_date": resource.get("birthDate", ""),
        "death": resource.get("deceasedDateTime", ""),
    }


def encounter_rows(resource: Resource) -> Iterator[Row]:
    """An Encounter."""
    period = resource.get("period", {})
    leaving = (resource.get("hospitalization") or {}).get("dischargeDisposition")
    yield {
        "id": resource["id"],
        "patient": patient_of(resource),
        "class": resource["class"]["code"],
        "start": period.get("start", ""),
        "end": period.get("end", ""),
        "reason": coded((resource.get("reasonCode") or [None])[0])[1],
        "discharge": coded(leaving)[1],
    }


def condition_rows(resource: Resource) -> Iterator[Row]:
    """A Condition."""
    yield {
        **_head(resource),
        **_concept(resource["code"]),
        "onset": resource.get("onsetDateTime", ""),
        "abatement": resource.get("abatementDateTime", ""),
        "recorded": resource.get("recordedDate", ""),
        "status": coded(resource.get("clinicalStatus"))[1],
        "stage": coded((resource.get("stage") or [{}])[0].get("summary"))[1],
    }


def observation_rows(resource: Resource) -> Iterator[Row]:
    """An Observation; a panel gives a row a part."""
    for part in resource.get("component") or [resource]:
        measured, said = part.get("valueQuantity") or {}, part.get("valueCodeableConcept")
        _, answer, words = coded(said)
        yield {
            **_head(resource),
            **_concept(part["code"]),
            "date": resource.get("effectiveDateTime", ""),
            "value": measured.get("value", ""),
            "unit": measured.get("code", ""),
            "answer_code": answer,
            "answer": words,
            "entered": resource.get("issued", ""),
        }


def medication_rows(resource: Resource) -> Iterator[Row]:
    """A MedicationRequest."""
    dosage = resource["dosageInstruction"][0]
    dose, repeat = dosage["doseAndRate"][0]["doseQuantity"], dosage["timing"]["repeat"]
    yield {
        **_head(resource),
        **_concept(resource["medicationCodeableConcept"]),
        "start": resource.get("authoredOn", ""),
        "end": repeat.get("boundsPeriod", {}).get("end", ""),
        "status": resource["status"],
        "dose": dose["value"],
        "unit": dose["code"],
        "frequency": repeat["frequency"],
        "period_days": repeat["period"],
        "route": coded(dosage.get("route"))[2],
        "reason": _reason(resource),
    }


def procedure_rows(resource: Resource) -> Iterator[Row]:
    """A Procedure."""
    yield {
        **_head(resource),
        **_concept(resource["code"]),
        "date": resource.get("performedDateTime", ""),
        "reason": _reason(resource),
    }


def imaging_rows(resource: Resource) -> Iterator[Row]:
    """An ImagingStudy."""
    series = resource["series"][0]
    yield {
        **_head(resource),
        "modality": resource["modality"][0]["code"],
        "started": resource.get("started", ""),
        "description": resource.get("description", ""),
        "study_uid": resource["identifier"][0]["value"].removeprefix("urn:oid:"),
        "series_uid": series["uid"],
        "instance_uid": series["instance"][0]["uid"],
    }


def document_rows(resource: Resource) -> Iterator[Row]:
    """A DocumentReference; its text is in notes/."""
    system, code, display = coded(resource["type"])
    yield {
        **_head(resource),
        "encounter": resource["context"]["encounter"][0]["reference"].removeprefix("Encounter/"),
        "system": system,
        "code": code,
        "display": display,
        "date": resource.get("date", ""),
        "author": resource["author"][0]["display"],
    }


def report_rows(resource: Resource) -> Iterator[Row]:
    """A DiagnosticReport."""
    yield {
        **_head(resource),
        **_concept(resource["code"]),
        "date": resource.get("effectiveDateTime", ""),
        "conclusion": resource.get("conclusion", ""),
    }


TABLES = {
    "patients": ("Patient", patient_rows),
    "encounters": ("Encounter", encounter_rows),
    "conditions": ("Condition", condition_rows),
    "observations": ("Observation", observation_rows),
    "medications": ("MedicationRequest", medication_rows),
    "procedures": ("Procedure", procedure_rows),
    "imaging_studies": ("ImagingStudy", imaging_rows),
    "reports": ("DiagnosticReport", report_rows),
    "documents": ("DocumentReference", document_rows),
}


def write_csv(folder: Path) -> list[Path]:
    """csv/<table>.csv of the joined NDJSON files below folder, a line at a time; the paths."""
    paths = []
    for name, (kind, rows) in TABLES.items():
        source = folder / FOLDER / f"{kind}.ndjson"
        if not source.exists():
            continue
        path = folder / CSV / f"{name}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.part")
        with temporary.open("w", encoding="utf-8", newline="") as out:
            writer: csv.DictWriter[str] | None = None
            for resource in read_resources(source):
                for row in rows(resource):
                    if writer is None:
                        writer = csv.DictWriter(out, [*row, "synthetic"], lineterminator="\n")
                        writer.writeheader()
                    writer.writerow({**row, "synthetic": "true"})
        temporary.replace(path)
        paths.append(path)
    return paths
