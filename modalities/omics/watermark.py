"""The watermark of an assay: parity of its values in steps of 1/1024, far below the precision of a measurement.

A value moves by a whole step or not at all and keeps its rest, so that marked values look like others. What was not
detected (exactly 0.0) stays so. Read counts carry none.
"""

import numpy as np

from ...core.cohort.watermark import Mark, Tally
from ...core.modality import Record
from ...core.types import AnyArray, BoolArray, Float32Array, IntArray
from .data import MARKERS

STEPS = 1024  # a power of two, so that adding a step is exact in float32
LEAST = 4 / STEPS  # nearer to zero, a step could make a value look undetected


def mark(record: Record, key: Mark, patient_id: str) -> Record:
    """The record with every assay marked, and marker genes stated as they now are."""
    arrays, facts = dict(record.arrays), dict(record.facts)
    for assay in _assays(record):
        values = record.arrays[assay]
        levels = _levels(values)
        moved = key.put(levels, patient_id, assay, _eligible(values)) - levels
        arrays[assay] = (values + moved / STEPS).astype(np.float32)
    if "rna" in arrays:
        names = arrays["rna_var"]
        for gene in MARKERS:
            if gene in facts:
                facts[gene] = round(float(arrays["rna"][np.flatnonzero(names == gene)[0]]), 3)
    return Record(arrays, facts)


def marks(record: Record, key: Mark, patient_id: str) -> Tally:
    """How far all assays agree with the marks."""
    return sum(
        (
            key.read(_levels(values), patient_id, assay, _eligible(values))
            for assay in _assays(record)
            for values in (record.arrays[assay],)
        ),
        Tally(),
    )


def _assays(record: Record) -> list[str]:
    return [name for name in record.arrays if f"{name}_var" in record.arrays]


def _eligible(values: Float32Array) -> BoolArray:
    return np.asarray(np.abs(values) >= LEAST)


def _levels(values: AnyArray) -> IntArray:
    return np.floor(values.astype(np.float64) * STEPS).astype(np.int64)
