"""What the DICOM files of a cohort say of their patients, read from the tags."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...core.assertions import (  # fmt: skip
    AGE,
    FINDINGS,
    IMAGE,
    PATIENT,
    SEX,
    STUDY_DATE,
    VIEW,
    Assertion,
    findings,
)
from .formats.dicom import read_dataset

if TYPE_CHECKING:
    from pydicom import Dataset

SOURCE = "DICOM tags"
YEARS = {"D": 1 / 365.25, "W": 7 / 365.25, "M": 1 / 12, "Y": 1.0}  # of a unit of Patient's Age
UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")


def assertions(folder: Path, patient_ids: Sequence[str]) -> dict[str, list[Assertion]]:
    """Of each patient's first image by path; see core.assertions.Asserting."""
    found = {}
    for patient_id in patient_ids:
        paths = sorted((folder / "dicom" / patient_id).glob("*/*/*.dcm"))
        if paths:
            series = [read_dataset(path) for path in paths]
            first = min(series, key=lambda dataset: int(dataset.get("InstanceNumber") or 0))
            found[patient_id] = list(_of(first))
    return found


def _of(dataset: "Dataset") -> Iterator[Assertion]:
    yield Assertion.of(PATIENT, SOURCE, str(dataset.PatientID))
    if sex := str(dataset.get("PatientSex") or ""):
        yield Assertion.of(SEX, SOURCE, sex)
    if age := str(dataset.get("PatientAge") or ""):
        unit = YEARS[age[-1]]
        yield Assertion(AGE, SOURCE, int(age[:-1]) * unit, (int(age[:-1]) + 1) * unit)  # completed units
    if day := str(dataset.get("StudyDate") or ""):
        yield Assertion.of(STUDY_DATE, SOURCE, f"{day[:4]}-{day[4:6]}-{day[6:8]}")
    if view := str(dataset.get("ViewPosition") or ""):
        yield Assertion.of(VIEW, SOURCE, view)
    codes = [str(item.CodeValue) for item in dataset.get("AdmittingDiagnosesCodeSequence") or []]
    yield Assertion.of(FINDINGS, SOURCE, findings(codes))
    yield Assertion.of(IMAGE, SOURCE, " ".join(str(dataset[uid].value) for uid in UIDS))
