"""What a signals record holds: leads and channels, their order, units and rates, and the steps they are stored in."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.modality import Facts, Record
from ...core.profile import uid_for
from ...core.study import Study
from ...core.types import AnyArray, Float32Array, FloatArray

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
RATE = 500  # Hz
ECG_GAIN = 1000  # steps a mV: one step is a microvolt
INDEPENDENT = (0, 1, 6, 7, 8, 9, 10, 11)  # I, II, V1 to V6: the other leads are combinations of I and II
ELECTRODES = ("RA", "LA", "LL", "V1", "V2", "V3", "V4", "V5", "V6")
VITALS_RATE = 1 / 3600  # Hz: one value an hour
BEDSIDE_RATE = 1  # Hz
ABSENT = -32768  # WFDB's invalid sample in format 16, and in our EDF files too
SINUS, FIBRILLATION, FLUTTER = "sinus", "atrial fibrillation", "atrial flutter"
LEFT_BLOCK, RIGHT_BLOCK, PACED = "L", "R", "/"
BEATS = {  # by WFDB code
    "N": "normal beat", "V": "premature ventricular beat", "A": "premature atrial beat",
    LEFT_BLOCK: "left bundle branch block beat", RIGHT_BLOCK: "right bundle branch block beat", PACED: "paced beat",
}  # fmt: skip
STUDY = ("study_uid", "series_uid", "instance_uid")
SYNTHETIC = "SYNTHETIC: drawn by a model, not measured on a person"


@dataclass(frozen=True)
class Tracing:
    """Signals of a file as they stand there: a name, a unit and a rate (Hz) each; NaN = marked invalid."""

    names: tuple[str, ...]
    units: tuple[str, ...]
    rates: tuple[float, ...]
    values: Sequence[NDArray[np.floating[Any]]]


def twelve_leads(independent: FloatArray) -> Float32Array:
    """(8, sample) leads I, II, V1 to V6 in mV to all twelve; Einthoven's law holds exactly in microvolts.

    I and II are rounded to 2 microvolts, so that aVR = -(I + II) / 2, aVL and aVF are whole microvolts too.
    """
    limb = 2 * np.rint(independent[:2] * 500)
    chest = np.rint(independent[2:] * 1000)
    i, ii = limb
    leads = np.stack([i, ii, ii - i, -(i + ii) / 2, i - ii / 2, ii - i / 2])
    return millivolts(np.clip(np.concatenate([leads, chest]), -32000, 32000))


def millivolts(steps: AnyArray) -> Float32Array:
    """Whole microvolts as float32 mV, the nearest float of each: what an ECG array holds."""
    return (steps / ECG_GAIN).astype(np.float32)


def ecg_steps(ecg: NDArray[np.floating[Any]], gain: int = ECG_GAIN) -> NDArray[np.int16]:
    """(lead, sample) mV as the nearest of `gain` whole steps a mV."""
    steps = np.rint(ecg.astype(np.float64) * gain)
    assert np.abs(steps).max(initial=0) < -ABSENT, f"an ECG beyond {-ABSENT / gain:g} mV does not fit"
    return steps.astype(np.int16)


def rhythms(facts: Facts, samples: int) -> list[tuple[int, int, str]]:
    """First sample, sample after the last and name of each rhythm that the facts of an ECG of that length name."""
    if "rhythm" not in facts:
        return []
    changes = facts.get("rhythm_changes", [[0, facts["rhythm"]]])
    ends = [first for first, _ in changes[1:]] + [samples]
    return [(first, end, name) for (first, name), end in zip(changes, ends, strict=True)]


def beats_of(record: Record) -> list[tuple[int, str]]:
    """Sample of each R peak, and its WFDB code."""
    peaks = [int(n) for n in record.arrays.get("r_peaks", ())]
    return list(zip(peaks, record.facts.get("kinds", "N" * len(peaks)), strict=True))


def study_of(seed: int) -> dict[str, str]:
    """Facts that name the ECG's study, series and instance, from the record's seed."""
    return {name: uid_for(seed, name.removesuffix("_uid")) for name in STUDY}


def taken(facts: Facts, day: date) -> datetime:
    """When the ECG of these facts was taken on that day: two minutes into its study."""
    study = Study.of(facts, day)
    moment = None if study is None else study.taken
    assert moment is not None, "an ECG needs a study UID to know when it was taken"
    return moment


def hour_taken(facts: Facts, hours: int) -> int:
    """Which hour of vitals, which begin at midnight, the ECG falls into; the last one of a shorter chart."""
    return min(taken(facts, date.min).hour, hours - 1)
