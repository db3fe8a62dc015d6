"""What the DICOM files of a cohort say of their patients: assertions from the tags, and traces of real persons."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...core.assertions import AGE, IMAGE, PATIENT, SEX, STUDY_DATE, VIEW, Assertion
from ...core.dicom_patient import SEGMENTATIONS
from ...core.errors import InputError
from ...core.names import MARK
from .burned_in import shows_text
from .formats.dicom import frames_of, read_dataset

if TYPE_CHECKING:
    from pydicom import Dataset

SOURCE = "DICOM tags"
YEARS = {"D": 1 / 365.25, "W": 7 / 365.25, "M": 1 / 12, "Y": 1.0}  # of a unit of Patient's Age
UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")


def assertions(folder: Path, patient_ids: Sequence[str]) -> dict[str, list[Assertion]]:
    """Of each patient's first image by path; see core.capabilities.Asserting."""
    found = {}
    for patient_id in patient_ids:
        paths = sorted((folder / "dicom" / patient_id).glob("*/*/*.dcm"))
        if paths:
            series = [one for path in paths if not _is_mask(one := read_dataset(path))]
            if not series:
                raise InputError(f"{paths[0]}: a segmentation without its image; expected both")
            first = min(series, key=lambda dataset: int(dataset.get("InstanceNumber") or 0))
            found[patient_id] = list(_of(first))
    return found


def _is_mask(dataset: "Dataset") -> bool:
    return dataset.get("SOPClassUID") in SEGMENTATIONS


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
    yield Assertion.of(IMAGE, SOURCE, " ".join(str(dataset[uid].value) for uid in UIDS))


def identifiers(folder: Path, patient_ids: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(path below the folder, what it shows) of these patients' files: names that are not invented, other ids, text.

    Raises InputError naming a damaged file.
    """
    for patient_id in patient_ids:
        for path in sorted((folder / "dicom" / patient_id).glob("*/*/*.dcm")):
            where, dataset = path.relative_to(folder).as_posix(), read_dataset(path)
            if not str(dataset.get("PatientName", MARK)).startswith(MARK):
                yield where, "a patient's name that is not an invented one"
            if str(dataset.get("PatientID", patient_id)) != patient_id:
                yield where, "a patient id that is not the cohort's"
            if _is_mask(dataset):
                continue
            pixels = frames_of(dataset, path, several=True).astype(np.float32)
            colour = int(dataset.get("SamplesPerPixel", 1)) > 1
            planes = [pixels.mean(2)] if colour else pixels.reshape(-1, *pixels.shape[-2:])
            if any(shows_text(plane / max(1.0, float(plane.max()))) for plane in planes):
                yield where, "text burned into the pixels"
