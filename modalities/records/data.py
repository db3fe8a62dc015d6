"""FHIR on disk and in codes: which resource types exist, their code systems, and reading NDJSON back."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ...core.errors import InputError
from ...core.modality import Record

Resource = dict[str, Any]

# The order of a patient's resources in facts, and of the files.
TYPES = ("Patient", "Encounter", "Condition", "Observation", "ImagingStudy", "DiagnosticReport")
FOLDER = "fhir"

UCUM = "http://unitsofmeasure.org"
DICOM = "http://dicom.nema.org/resources/ontology/DCM"
HGNC = "http://www.genenames.org"
ACT_REASON = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
HTEST = {"system": ACT_REASON, "code": "HTEST", "display": "test health data"}
PATIENT_IDS = "http://example.org/polyclinic/patient-id"  # example.org: nobody's real identifiers

VITALS = ("height", "weight", "heart_rate", "respiration", "oxygen_saturation", "temperature")
PRESSURES = ("systolic", "diastolic")
RHYTHMS = {  # SNOMED CT
    "sinus": ("426783006", "Electrocardiogram: sinus rhythm (finding)"),
    "atrial fibrillation": ("164889003", "Electrocardiographic atrial fibrillation (finding)"),
}
GENES = {"ESR1": "HGNC:3467", "PGR": "HGNC:8910", "ERBB2": "HGNC:3430", "MKI67": "HGNC:7107"}
SUBTYPES = {
    "LumA": "Luminal A",
    "LumB": "Luminal B",
    "Her2": "HER2-enriched",
    "Basal": "Basal-like",
    "Normal": "Normal-like",
}
REPORTS = {  # kind: LOINC code, its name, HL7 v2-0074 section, its name
    "chest-xray": ("30745-4", "Chest X-ray study", "RAD", "Radiology"),
    "ecg": ("11524-6", "EKG study", "EC", "Electrocardiac (e.g., EKG, EEC, Holter)"),
    "tumour-expression": ("51969-4", "Genetic analysis report", "GE", "Genetics"),
}


def patient_of(resource: Resource) -> str:
    """The patient id a resource belongs to; empty if it names none."""
    if resource.get("resourceType") == "Patient":
        return str(resource.get("id", ""))
    subject = resource.get("subject")
    reference = subject.get("reference", "") if isinstance(subject, dict) else ""
    return str(reference).removeprefix("Patient/") if str(reference).startswith("Patient/") else ""


def read_resources(path: Path) -> Iterator[Resource]:
    """Resources of one NDJSON file, a line at a time. Raises InputError naming file and line."""
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                try:
                    resource = json.loads(line)
                except json.JSONDecodeError as error:
                    raise InputError(
                        f"{path}, line {number}: expected one JSON resource, got {error.msg}; "
                        "the file is damaged, generate the cohort again"
                    ) from None
                if not isinstance(resource, dict):
                    raise InputError(
                        f"{path}, line {number}: expected a JSON object, got {line.strip()[:40]}"
                    )
                yield resource
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; expected the NDJSON of a cohort") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as UTF-8 text ({error})") from None


def read_records(folder: Path, patient_ids: Sequence[str]) -> dict[str, Record]:
    """Records of these patients from <folder>/fhir, in the order asked for; others are left out."""
    wanted: dict[str, list[Resource]] = {patient_id: [] for patient_id in patient_ids}
    for kind in TYPES:
        path = folder / FOLDER / f"{kind}.ndjson"
        if kind == "Patient" or path.exists():
            for resource in read_resources(path):
                if (owner := patient_of(resource)) in wanted:
                    wanted[owner].append(resource)
    return {key: Record({}, {"resources": resources}) for key, resources in wanted.items() if resources}
