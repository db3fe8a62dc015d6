"""FHIR on disk and in codes: resource types, code systems, the elements of resources, and reading NDJSON back."""

import json
import re
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from ...core.config import read_json
from ...core.errors import InputError
from .codes import UCUM, Entry

Resource = dict[str, Any]

FEW = 64  # patients whose resources are kept as they were read

# The order of a patient's resources in facts, and of the files.
TYPES = (
    "Organization",
    "Location",
    "Practitioner",
    "PractitionerRole",
    "Patient",
    "Coverage",
    "Device",
    "Encounter",
    "Condition",
    "AllergyIntolerance",
    "Immunization",
    "CareTeam",
    "Goal",
    "CarePlan",
    "ServiceRequest",
    "Specimen",
    "Observation",
    "MedicationRequest",
    "MedicationAdministration",
    "Procedure",
    "ImagingStudy",
    "DiagnosticReport",
    "DocumentReference",
    "Claim",
    "Provenance",
)
FOLDER = "fhir"  # what is delivered
TRUTH = "fhir_truth"  # the same patients before any corruption was made; only where there is corruption
NOTES = "notes"
TRUE_NOTES = "notes_truth"

ACT_REASON = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
HTEST = {"system": ACT_REASON, "code": "HTEST", "display": "test health data"}
DICOM_UID = "urn:dicom:uid"
IMPLICATION = "http://hl7.org/fhir/uv/genomics-reporting/CodeSystem/tbd-codes-cs"
ACCESSIONS = "http://example.org/polyclinic/accession"
VISIT_IDS = "http://example.org/polyclinic/visit-id"
PATIENT_IDS = "http://example.org/polyclinic/patient-id"  # example.org: nobody's real identifiers

# of a trace -> name of the answer
PACED, EARLY = "/", "VA"  # WFDB codes of beats: paced, and those that come early
RHYTHMS = {"sinus": "sinus", "atrial fibrillation": "fibrillation", "atrial flutter": "flutter"}
CHARTED = "chart-"  # how keys of resources that state the vitals chart begin
DECLARED = "field-"  # how keys of resources that state declared fields begin
ANSWERS = {answer: rhythm for rhythm, answer in RHYTHMS.items()} | {
    "positive": "positive",
    "negative": "negative",
}  # how an answer is said in plain words, where not by its display
MODALITIES = {
    "DX": "Digital Radiography",
    "CR": "Computed Radiography",
    "MG": "Mammography",
    "XA": "X-Ray Angiography",
    "CT": "Computed Tomography",
    "MR": "Magnetic Resonance",
    "PT": "Positron emission tomography",
    "NM": "Nuclear Medicine",
    "US": "Ultrasound",
    "OP": "Ophthalmic Photography",
    "ES": "Endoscopy",
    "GM": "General Microscopy",
    "XC": "External-camera Photography",
    "DMS": "Dermoscopy",
    "SC": "Other",
}
SOP_CLASSES = {
    "DX": "1.2.840.10008.5.1.4.1.1.1.1",
    "CR": "1.2.840.10008.5.1.4.1.1.1",
    "MG": "1.2.840.10008.5.1.4.1.1.1.2",
    "XA": "1.2.840.10008.5.1.4.1.1.12.1",
    "CT": "1.2.840.10008.5.1.4.1.1.2",
    "MR": "1.2.840.10008.5.1.4.1.1.4",
    "PT": "1.2.840.10008.5.1.4.1.1.128",
    "NM": "1.2.840.10008.5.1.4.1.1.20",
    "US": "1.2.840.10008.5.1.4.1.1.6.1",
    "OP": "1.2.840.10008.5.1.4.1.1.77.1.5.1",
    "ES": "1.2.840.10008.5.1.4.1.1.77.1.1",
    "GM": "1.2.840.10008.5.1.4.1.1.77.1.2",
    "XC": "1.2.840.10008.5.1.4.1.1.77.1.4",
    "DMS": "1.2.840.10008.5.1.4.1.1.77.1.7",
    "SC": "1.2.840.10008.5.1.4.1.1.7",
}
GENES = {"ESR1": "HGNC:3467", "PGR": "HGNC:8910", "ERBB2": "HGNC:3430", "MKI67": "HGNC:7107"}
GENE_UNIT = "{log2_RSEM}"
SUBTYPES = {
    "LumA": "Luminal A",
    "LumB": "Luminal B",
    "Her2": "HER2-enriched",
    "Basal": "Basal-like",
    "Normal": "Normal-like",
}
# NCI Thesaurus: the classification, and its classes
PAM50 = {"code": "C53553", "display": "Breast Carcinoma by Gene Expression Profile"}
SUBTYPE_CODES = {
    "LumA": {"code": "C53554", "display": "Luminal A Breast Carcinoma"},
    "LumB": {"code": "C53555", "display": "Luminal B Breast Carcinoma"},
    "Her2": {"code": "C53556", "display": "HER2 Positive Breast Carcinoma"},
    "Basal": {"code": "C53558", "display": "Basal-Like Breast Carcinoma"},
    "Normal": {"code": "C53557", "display": "Normal Breast-Like Subtype of Breast Carcinoma"},
}
REPORTS = {  # kind: LOINC code, its name, HL7 v2-0074 section, its name
    "chest-xray": ("30745-4", "Chest X-ray study", "RAD", "Radiology"),
    # of anything but the chest
    "imaging": ("18748-4", "Diagnostic imaging study", "IMG", "Diagnostic Imaging"),
    "ecg": ("11524-6", "EKG study", "EC", "Electrocardiac (e.g., EKG, EEC, Holter)"),
    "pathology": ("60568-3", "Pathology Synoptic report", "SP", "Surgical Pathology"),
    "tumour-expression": ("51969-4", "Genetic analysis report", "GE", "Genetics"),
    "genotypes": ("81247-9", "Master HL7 genetic variant reporting panel", "GE", "Genetics"),
}
DOCUMENTS = {  # kind: LOINC code, its name, a title
    "discharge-summary": ("18842-5", "Discharge summary", "Discharge summary"),
    "visit-note": ("34108-1", "Outpatient Note", "Visit note"),
}

HL7 = "http://terminology.hl7.org/CodeSystem"
CLASSES = {
    "AMB": "ambulatory", "EMER": "emergency", "IMP": "inpatient encounter", "OBSENC": "observation encounter"
}  # fmt: skip
CATEGORIES = {
    group: {"coding": [{"system": f"{HL7}/observation-category", "code": group, "display": display}]}
    for group, display in (
        ("vital-signs", "Vital Signs"), ("laboratory", "Laboratory"), ("imaging", "Imaging"), ("exam", "Exam"),
        ("procedure", "Procedure"), ("social-history", "Social History"),
    )
}  # fmt: skip
ADMITTED = "From accident/emergency department"
NO_CONDITION = {  # ICD-10-CM: why somebody came who has none of the listed conditions
    "observed": ("Z03.89", "Encounter for observation for other suspected diseases and conditions ruled out"),
    "examined": ("Z00.00", "Encounter for general adult medical examination without abnormal findings"),
    "child": ("Z00.129", "Encounter for routine child health examination without abnormal findings"),
}
DISPOSITIONS = {"home": "Home", "exp": "Expired"}
ROUTES = {
    "oral": ("26643006", "Oral route"),
    "intravenous": ("47625008", "Intravenous route"),
    "subcutaneous": ("34206005", "Subcutaneous route"),
}
# the order of a patient's notes; genotypes have none
NOTE_KINDS = (*DOCUMENTS, *(kind for kind in REPORTS if kind != "genotypes"))

_OWNING = ("subject", "patient", "beneficiary", "target")  # elements that name the patient
OWNERS = re.compile(r'"reference": ?"Patient/([^"]*)"')


def patient_of(resource: Resource) -> str:
    """The patient id a resource belongs to; empty if it names none, as what the hospital shares does."""
    if resource.get("resourceType") == "Patient":
        return str(resource.get("id", ""))
    subject = next((resource[name] for name in _OWNING if name in resource), None)
    if isinstance(subject, list):  # of a Provenance
        subject = subject[0] if subject else None
    reference = subject.get("reference", "") if isinstance(subject, dict) else ""
    return str(reference).removeprefix("Patient/") if str(reference).startswith("Patient/") else ""


def parts_of(resource: Resource) -> list[Resource]:
    """The resource as it is, or for a panel once a part, with the part's code and value in place of its own.

    What has a value of its own is no panel: its components say more of that value.
    """
    if "valueCodeableConcept" in resource or "valueQuantity" in resource:
        return [resource]
    return [resource | part for part in resource.get("component", ())] or [resource]


@cache
def _steps(path: str) -> tuple[tuple[str | int, ...], ...]:
    steps = (one.split(".") for one in path.split("|"))
    return tuple(tuple(int(step) if step.isdigit() else step for step in one) for one in steps)


def value_at(resource: Resource, path: str, otherwise: Any = None) -> Any:
    """The value at a path such as `code.coding.0.code`; of `this|that` the first that there is."""
    for steps in _steps(path):
        value: Any = resource
        try:
            for step in steps:
                value = value[step]
        except (KeyError, IndexError):
            continue
        return value
    return otherwise


def concept(system: str, code: str, display: str = "", text: str = "") -> dict[str, Any]:
    """A CodeableConcept."""
    coding = {"system": system, "code": code} | ({"display": display} if display else {})
    return {"coding": [coding]} | ({"text": text} if text else {})


def listed(system: str, entry: Entry, text: str = "") -> dict[str, Any]:
    """The CodeableConcept of an entry of the bundled lists; its text is the display unless another is given."""
    return concept(system, entry.code, entry.display, text or entry.display)


def quantity(value: float, unit: str) -> dict[str, Any]:
    """A Quantity in a UCUM unit."""
    return {"value": value, "unit": unit, "system": UCUM, "code": unit}


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary path to write to, which becomes `path` when all of it is written; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


# one encoder for all, which does not look for cycles: resources are trees
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":"))


def line(resource: Resource) -> str:
    """One resource as one line of JSON: keys in the order written, no clock, no NaN."""
    return _ENCODER.encode(resource) + "\n"


def read_resources(path: Path, of: Container[str] | None = None) -> Iterator[Resource]:
    """Resources of one NDJSON file, a line at a time. Raises InputError naming file and line.

    With `of`, lines that refer to other patients than these alone are passed over unread, which is faster.
    """
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                if of is not None and (ids := OWNERS.findall(line)) and not any(i in of for i in ids):
                    continue
                try:
                    resource = read_json(line)
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


def read_patients(folder: Path, patient_ids: Sequence[str]) -> dict[str, list[Resource]]:
    """Resources of these patients from a folder of NDJSON files, in the order of TYPES.

    The last answer of few is kept while the files are the same: an evaluation asks twice for the same patients.
    """
    if len(patient_ids) > FEW:
        return _patients(folder, patient_ids)
    files = sorted(folder.glob("*.ndjson"))
    seen = tuple((file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files)
    found = _patients_once(folder, tuple(patient_ids), seen)
    return {patient_id: list(resources) for patient_id, resources in found.items()}


def _patients(folder: Path, patient_ids: Sequence[str]) -> dict[str, list[Resource]]:
    wanted: dict[str, list[Resource]] = {patient_id: [] for patient_id in patient_ids}
    for kind in TYPES:
        path = folder / f"{kind}.ndjson"
        if kind == "Patient" or path.exists():
            for resource in read_resources(path, wanted):
                if (owner := patient_of(resource)) in wanted:
                    wanted[owner].append(resource)
    return wanted


@lru_cache(maxsize=2)  # delivered and true ones
def _patients_once(
    folder: Path, patient_ids: tuple[str, ...], _: tuple[tuple[str, int, int], ...]
) -> dict[str, list[Resource]]:
    return _patients(folder, patient_ids)


def read_notes(folder: Path, patient_ids: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Notes of these patients from a folder of JSONL files, as Note.to_dict gives them, in the order of NOTE_KINDS."""
    wanted: dict[str, list[dict[str, Any]]] = {patient_id: [] for patient_id in patient_ids}
    for kind in NOTE_KINDS:
        path = folder / f"{kind}.jsonl"
        for note in read_resources(path) if path.exists() else ():
            if (owner := note["meta"]["patient"]) in wanted:
                wanted[owner].append(note)
    return wanted
