"""What a cohort's Parquet files say of their patients: whose they are, and the heart rate when the ECG was made."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from ...core.assertions import PATIENT, Assertion
from ...core.modality import Record
from .body import DAY
from .data import read
from .layout import FOLDER

SOURCE = "wearable"
FINEST = 60  # s from value to value, at most, of a heart rate that is held against the ECG


def assertions(folder: Path, patient_ids: Sequence[str]) -> dict[str, list[Assertion]]:
    """Patients without files are left out. Raises InputError naming a file that cannot be read."""
    found: dict[str, list[Assertion]] = {}
    for patient_id, record in read(folder, patient_ids).items():
        said = []
        for path in sorted((folder / FOLDER / patient_id).glob("*.parquet")):
            head = json.loads(pq.read_schema(path).metadata[b"polyclinic"])
            said.append(Assertion.of(PATIENT, f"{SOURCE} ({path.stem})", str(head["patient_id"])))
        if (rate := rate_at_ecg(record)) is not None:
            said.append(Assertion.vital("heart_rate", f"{SOURCE}, minute of the ECG", rate))
        found[patient_id] = said
    return found


def rate_at_ecg(record: Record) -> float | None:
    """Mean heart rate of the minute in which the ECG begins, by the device that has it most often; None without."""
    at, best = record.facts.get("ecg_at"), None
    if at is None:
        return None
    for key, values in record.arrays.items():
        if key.endswith("/heart_rate"):
            period = int(record.facts["days"]) * DAY / len(values)
            begin = int(at // 60 * 60 / period)
            own = values[begin : begin + max(1, int(60 / period))]
            if period <= FINEST and np.isfinite(own).any() and (best is None or period < best[0]):
                best = period, float(np.nanmean(own))
    return None if best is None else best[1]
