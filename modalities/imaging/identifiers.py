"""Traces of persons in a cohort's DICOM files: names that are not invented, and text burned into pixels."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ...core.names import MARK
from ...core.types import AnyArray, Float32Array
from .burned_in import shows_text
from .formats.dicom import read_dataset, stored_pixels


def identifiers(folder: Path, patient_ids: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(path below the folder, what it shows) of these patients' files. Raises InputError naming a damaged file."""
    for patient_id in patient_ids:
        for path in sorted((folder / "dicom" / patient_id).glob("*/*/*.dcm")):
            where, dataset = path.relative_to(folder).as_posix(), read_dataset(path)
            if not str(dataset.get("PatientName", MARK)).startswith(MARK):
                yield where, "a patient's name that is not an invented one"
            if str(dataset.get("PatientID", patient_id)) != patient_id:
                yield where, "a patient id that is not the cohort's"
            if shows_text(_grey(stored_pixels(dataset, path))):
                yield where, "text burned into the pixels"


def _grey(pixels: AnyArray) -> Float32Array:
    """(row, column) from black 0 to white 1 of a stored image, grey or RGB."""
    values = pixels.astype(np.float32)
    if values.ndim == 3:
        values = values.mean(2)
    return values / max(1.0, float(values.max()))
