"""What the FHIR files of a cohort say of their patients; of the truth, where the delivered files have corruption."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from math import inf
from pathlib import Path
from typing import Any

from ...core.assertions import (
    AGE,
    CHEST_FINDINGS,
    ECG_STUDY,
    FINDINGS,
    IMAGE,
    PATIENT,
    RHYTHM,
    SEX,
    STUDY_DATE,
    SUBTYPE,
    SURVIVAL,
    VITALS,
    Assertion,
    findings,
    rhythm,
    subject_of,
)  # fmt: skip
from .case import Case, code_of, index_day, moment
from .codes import codes
from .data import (
    CHARTED,
    DICOM_UID,
    FOLDER,
    GENES,
    NOTES,
    PATIENT_IDS,
    SUBTYPES,
    TRUE_NOTES,
    TRUTH,
    Resource,
    read_notes,
    read_patients,
)
from .genomics import GENE_CODES, GENOTYPE
from .notes.assertions import noted
from .rules.order import TIME
from .simulation.chart import INDEX
from .simulation.outcome import DAYS_A_MONTH
from .simulation.patient_simulation import FOLLOW_UP
from .studies import unkeyed

ORDER, IN_ORDER = "order of events", "in order"
_NOBODY_YET = "9999-12-31"
_RECEPTORS = {
    "estrogen_receptor": ("ESR1", 9.5),
    "her2": ("ERBB2", 15.0),
}  # cuts of courses/breast_cancer.yaml
_TUMOUR = ("pam50", *(f"gene-{gene}" for gene in GENES))  # keys of what the tumour's expression gives


def assertions(folder: Path, patient_ids: Sequence[str]) -> dict[str, list[Assertion]]:
    """See core.capabilities.Asserting."""
    corrupted = (folder / TRUTH).is_dir()
    read = read_patients(folder / (TRUTH if corrupted else FOLDER), patient_ids)
    notes = read_notes(folder / (TRUE_NOTES if corrupted else NOTES), patient_ids)
    return {
        patient_id: [*_of(Case(resources)), *noted(notes[patient_id], patient_id)]
        for patient_id, resources in read.items()
        if resources
    }


def _of(case: Case) -> Iterator[Assertion]:
    yield from _patient(case)
    yield from _survival(case)
    yield from _conditions(case)
    yield from _measured(case)
    yield from _reported(case)
    yield from _dates(case)


def _patient(case: Case) -> Iterator[Assertion]:
    source, patient = "FHIR Patient", case.patient
    for identifier in patient.get("identifier", ()):
        if identifier.get("system") == PATIENT_IDS:
            yield Assertion.of(PATIENT, source, str(identifier["value"]))
    if (sex := {"female": "F", "male": "M"}.get(patient.get("gender", ""))) is not None:
        yield Assertion.of(SEX, source, sex)
    visit = _index_visit(case)
    if visit is not None and case.born is not None:
        age = case.age(moment(visit["period"]["start"][:10]))
        assert age is not None
        yield Assertion.of(
            AGE, source, age, within=0.1
        )  # a day of birth is kept, not an hour; years have leap days


def _survival(case: Case) -> Iterator[Assertion]:
    """Months to death; who does not die on record lives at least as long as records go on."""
    if (midnight := index_day(case)) is None:
        return
    if case.died is None:
        yield Assertion(SURVIVAL, "FHIR Patient", FOLLOW_UP / DAYS_A_MONTH, inf)
    else:
        months = (case.died - midnight) / timedelta(days=DAYS_A_MONTH)
        yield Assertion.of(SURVIVAL, "FHIR Patient", months, within=0.01)


def _index_visit(case: Case) -> Resource | None:
    visit = case.by_name.get(f"Encounter/{case.patient['id']}-{INDEX}", {})
    return visit if "period" in visit else None


def _conditions(case: Case) -> Iterator[Assertion]:
    held = {entry.code for name, entry in codes().conditions.items() if name in case.problems}
    yield Assertion.of(RHYTHM, "FHIR Condition", rhythm(sorted(held)))
    yield Assertion.of(
        FINDINGS, "FHIR Condition", findings([code for code in CHEST_FINDINGS if code in held])
    )


def _measured(case: Case) -> Iterator[Assertion]:
    """The vital signs of the index visit, and what the other modalities measured."""
    patient_id, index = case.patient["id"], index_day(case)
    charted: dict[str, list[float]] = {}
    for name, resource, at, value in case.readings:
        key = str(resource["id"]).removeprefix(f"{patient_id}-")
        if (
            name in VITALS
            and key in (name.replace("_", "-"), "blood-pressure")
            and isinstance(value, int | float)
        ):
            yield Assertion.vital(name, "FHIR vital sign", value)
        elif unkeyed(resource, ("ecg-heart-rate",))[0] and isinstance(value, int | float):
            yield Assertion.vital("heart_rate", "FHIR Observation of the ECG", value)
        elif unkeyed(resource, ("ecg-rhythm",))[0]:
            yield Assertion.of(RHYTHM, "FHIR Observation of the ECG", _text(resource))
        elif name in VITALS and key.startswith(CHARTED) and isinstance(value, int | float) and at is not None:
            if index is not None and at - index < timedelta(days=1):
                charted.setdefault(name, []).append(value)
        elif name in _RECEPTORS:
            gene, cut = _RECEPTORS[name]
            low, high = (cut, inf) if value == "positive" else (-inf, cut)
            yield Assertion(f"{gene} expression", f"FHIR {name.replace('_', ' ')}", low, high)
    for name, values in charted.items():
        yield Assertion.charted(name, "FHIR vitals chart", values)
    for resource in case.of("Observation"):
        if unkeyed(resource, (GENOTYPE,))[0] and (gene := unkeyed(resource, (GENOTYPE,))[1]) in GENE_CODES:
            said = _text(resource).removeprefix(f"{gene} ")
            yield Assertion.of(f"{gene} genotype", "FHIR Observation", said)
    labels = {label: subtype for subtype, label in SUBTYPES.items()}
    for resource in case.of("Observation"):
        key, label = unkeyed(resource, _TUMOUR)
        if key == "pam50":
            yield Assertion.of(subject_of(SUBTYPE, label), "FHIR Observation", labels[_text(resource)])
        elif key:
            level = float(resource["valueQuantity"]["value"])
            subject = subject_of(f"{key.removeprefix('gene-')} expression", label)
            yield Assertion.of(subject, "FHIR Observation", level, within=0.006)


def _text(resource: Mapping[str, Any]) -> str:
    return str(resource["valueCodeableConcept"]["text"])


def _reported(case: Case) -> Iterator[Assertion]:
    for report in case.of("DiagnosticReport"):
        if unkeyed(report)[0] == "chest-xray":  # images of other parts are not looked through for these
            said = [code_of(concept) for concept in report.get("conclusionCode", ())]
            yield Assertion.of(FINDINGS, "FHIR report of the X-ray", findings(said))
        key, label = unkeyed(report)
        for identifier in report.get("identifier", ()) if key == "ecg" else ():
            if identifier["system"] == DICOM_UID:
                uid = identifier["value"].removeprefix("urn:oid:")
                yield Assertion.of(subject_of(ECG_STUDY, label), "FHIR report of the ECG", uid)
    for study in case.of("ImagingStudy"):
        uid = study["identifier"][0]["value"].removeprefix("urn:oid:")
        series, subject = study["series"][0], subject_of(IMAGE, unkeyed(study)[1])
        yield Assertion.of(
            subject, "FHIR ImagingStudy", f"{uid} {series['uid']} {series['instance'][0]['uid']}"
        )


def _dates(case: Case) -> Iterator[Assertion]:
    """When the studies were made, the visit and the life that they must fall into; whether events are in order."""
    for study in case.of("ImagingStudy"):
        if "started" in study:
            yield Assertion.of(STUDY_DATE, "FHIR ImagingStudy", study["started"][:10])
    if (visit := _index_visit(case)) is not None:
        period = visit["period"]
        yield Assertion(
            STUDY_DATE, "FHIR Encounter, from start to end", period["start"][:10], period["end"][:10]
        )
    if case.born is not None:
        died = _NOBODY_YET if case.died is None else case.died.date().isoformat()
        yield Assertion(STUDY_DATE, "FHIR, from birth to death", case.born.date().isoformat(), died)
    broken = [f"{resource}: {says}" for rule in TIME for resource, says in rule(case)]
    yield Assertion.of(ORDER, "what is possible", IN_ORDER)
    yield Assertion.of(ORDER, "FHIR", broken[0] if broken else IN_ORDER)
