"""The watermark of an ECG: parity of the free leads' steps, so that Einthoven's law still holds in whole microvolts.

I and II are stored in steps of 2 microvolts and all other free leads in steps of 1; the other limb leads follow from I
and II, but where an electrode is off: there they do not, and stay as they are.
Vital signs carry none: they are charted in whole numbers, where a step would show.
"""

import numpy as np

from ...core.cohort.watermark import Mark, Tally
from ...core.modality import Record
from ...core.types import Float32Array, IntArray
from .layout import ECG_GAIN
from .leads import LIMB, Leads, leads_of

ECG = "ecg"


def mark(record: Record, key: Mark, patient_id: str) -> Record:
    """The record with a marked ECG, where it has one."""
    if ECG not in record.arrays:
        return record
    ecg, leads = record.arrays[ECG], leads_of(record)
    marked = leads.drawn(key.put(_levels(ecg, leads), patient_id, ECG) * leads.steps / ECG_GAIN)
    if leads.has_axis:
        limb = [p for p, name in enumerate(leads.names) if name in LIMB and name not in ("I", "II")]
        place = np.ix_(np.array(limb, dtype=np.int64), np.flatnonzero(leads.broken(ecg)))
        marked[place] = ecg[place]
    return Record({**record.arrays, ECG: marked}, record.facts)


def marks(record: Record, key: Mark, patient_id: str) -> Tally:
    """How far the ECG agrees with the marks."""
    if ECG not in record.arrays:
        return Tally()
    return key.read(_levels(record.arrays[ECG], leads_of(record)), patient_id, ECG)


def _levels(ecg: Float32Array, leads: Leads) -> IntArray:
    """(free lead, sample) whole steps of (lead, sample) mV."""
    return np.rint(leads.free_of(ecg.astype(np.float64)) * ECG_GAIN / leads.steps).astype(np.int64)
