"""The watermark of an ECG: parity of the free leads' steps, so that Einthoven's law still holds in whole microvolts.

I and II are stored in steps of 2 microvolts and V1 to V6 in steps of 1; the other limb leads follow from I and II, but
where an electrode is off: there they do not, and stay as they are.
Vital signs carry none: they are charted in whole numbers, where a step would show.
"""

import numpy as np

from ...core.cohort.watermark import Mark, Tally
from ...core.modality import Record
from ...core.types import Float32Array, IntArray
from .layout import ECG_GAIN, INDEPENDENT, twelve_leads

ECG = "ecg"
STEP = np.array([2, 2, 1, 1, 1, 1, 1, 1])[:, None]  # microvolts


def mark(record: Record, key: Mark, patient_id: str) -> Record:
    """The record with a marked ECG, where it has one."""
    if ECG not in record.arrays:
        return record
    ecg = record.arrays[ECG]
    marked = twelve_leads(key.put(_levels(ecg), patient_id, ECG) * STEP / ECG_GAIN)
    apart = np.abs(ecg[1] - ecg[0] - ecg[2]) > 0.5 / ECG_GAIN  # Einthoven's law is broken
    marked[2:6, apart] = ecg[2:6, apart]
    return Record({**record.arrays, ECG: marked}, record.facts)


def marks(record: Record, key: Mark, patient_id: str) -> Tally:
    """How far the ECG agrees with the marks."""
    if ECG not in record.arrays:
        return Tally()
    return key.read(_levels(record.arrays[ECG]), patient_id, ECG)


def _levels(ecg: Float32Array) -> IntArray:
    """(free lead, sample) whole steps of (12, sample) mV."""
    return np.rint(ecg[INDEPENDENT, :].astype(np.float64) * ECG_GAIN / STEP).astype(np.int64)
