"""What the WFDB files of a cohort say of their patients: headers, marks, and the traces themselves."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ...core.assertions import (
    AGE,
    ECG_STUDY,
    FIBRILLATION,
    FLUTTER,
    PATIENT,
    RHYTHM,
    SEX,
    SINUS,
    STUDY_DATE,
    VITALS,
    Assertion,
)
from ...core.modality import Record
from .channels import channels_of, step_of
from .export import read
from .layout import RATE
from .metrics import rhythm_features

HEADERS = {"ecg": "ECG header", "vitals": "vitals header"}
MARKS, TRACE, DAY = "ECG marks", "ECG trace, beats found anew", "vitals, mean of the day"
# Median change from one RR interval to the next over the median interval. Fibrillation has more than a tenth,
# the usual cut for such ratios (Dash et al., Ann Biomed Eng 2009;37:1701).
IRREGULAR = 0.1


def assertions(folder: Path, patient_ids: Sequence[str]) -> dict[str, list[Assertion]]:
    """See core.capabilities.Asserting."""
    return {
        patient_id: [*_headers(folder / "wfdb" / patient_id), *_trace(record), *_day(record)]
        for patient_id, record in read(folder, patient_ids).items()
    }


def _headers(place: Path) -> Iterator[Assertion]:
    for name, source in HEADERS.items():
        if not (path := place / f"{name}.hea").exists():
            continue
        comments = [line[1:].strip() for line in path.read_text().splitlines() if line.startswith("#")]
        notes = dict(comment.split(": ", 1) for comment in comments if ": " in comment)
        for subject, key in ((PATIENT, "patient"), (SEX, "sex"), (STUDY_DATE, "index date")):
            if key in notes:
                yield Assertion.of(subject, source, notes[key])
        if "age" in notes:
            yield Assertion.of(AGE, source, float(notes["age"]), within=0.05)
        if "heart_rate" in notes:
            yield Assertion.vital("heart_rate", source, float(notes["heart_rate"]))


def _trace(record: Record) -> Iterator[Assertion]:
    """Heart rate and rhythm as marked, and as found on the trace itself."""
    peaks = record.arrays.get("r_peaks", ())
    if len(peaks) > 2:
        yield Assertion.vital("heart_rate", MARKS, 60 * RATE / float(np.median(np.diff(peaks))))
    if "study_uid" in record.facts:
        yield Assertion.of(ECG_STUDY, HEADERS["ecg"], str(record.facts["study_uid"]))
    if "rhythm" in record.facts:
        yield Assertion.of(RHYTHM, MARKS, str(record.facts["rhythm"]))
    if "ecg" in record.arrays:
        seen = rhythm_features(record.arrays["ecg"].astype(np.float64))
        if seen["beats"] > 2:
            yield Assertion.vital("heart_rate", TRACE, seen["heart rate"], certain=False)
        steady = record.facts.get("rhythm") != FLUTTER and "rhythm_changes" not in record.facts
        if seen["beats"] > 2 and steady:  # flutter is regular or not, as its conduction is
            rhythm = FIBRILLATION if seen["RR irregularity"] > IRREGULAR else SINUS
            yield Assertion.of(RHYTHM, TRACE, rhythm, certain=False)


def _day(record: Record) -> Iterator[Assertion]:
    if "vitals" not in record.arrays:
        return
    for channel, readings in zip(channels_of(record.facts), record.arrays["vitals"].T, strict=True):
        if channel.field in VITALS and np.isfinite(readings).any():
            yield Assertion.vital(channel.field, DAY, float(np.nanmean(readings)), certain=False)
            first = readings[: int(24 / step_of(record.facts))]
            if values := [float(value) for value in first if np.isfinite(value)]:
                yield Assertion.charted(channel.field, "vitals, first day", values)
