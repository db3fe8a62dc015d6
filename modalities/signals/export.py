"""Files of a patient's signals: which formats a cohort gets, written, read back, and ECGs of training folders."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, field_validator

from ...core.config import Settings
from ...core.errors import InputError
from ...core.modality import Record
from ...core.profile import PatientProfile
from ...core.types import Float32Array
from .layout import ECG_GAIN, LEADS, RATE, Tracing

Format = Literal["wfdb", "edf", "dicom"]
MILLIVOLTS = {"mv": 1.0, "uv": 1e-3, "µv": 1e-3, "v": 1e3}


class ExportOptions(Settings):
    """How signals are written: formats beside the cohort's own WFDB, steps a mV there, ECG and vitals in one record."""

    formats: tuple[Format, ...] = ("wfdb",)
    ecg_gain: int = Field(default=ECG_GAIN, ge=50, le=ECG_GAIN)
    together: bool = False

    @field_validator("formats")
    @classmethod
    def _with_our_own(cls, formats: tuple[Format, ...]) -> tuple[Format, ...]:
        if "wfdb" not in formats or len(set(formats)) < len(formats):
            raise ValueError("expected each format once and wfdb among them, which cohorts are read from")
        return formats

    @property
    def dated(self) -> bool:
        """Whether records need the facts of layout.study_of."""
        return self.together or len(self.formats) > 1


PLAIN = ExportOptions()


def export(
    records: Sequence[Record],
    profiles: Sequence[PatientProfile],
    folder: Path,
    options: ExportOptions = PLAIN,
) -> list[Path]:
    """Write wfdb/<patient>/, edf/<patient>/ and waveforms/<patient>/<study>/<series>/ below folder; the paths written.

    "ecg" (and "ecg_clean") is (12, sample) mV at 500 Hz in whole microvolts, "r_peaks" (beat,) samples, "vitals"
    (hour, 7) with NaN where nothing was charted. What a record lacks is not written. The bytes depend on the record,
    the profile and the options alone. Raises InputError before the first file is written: a patient whom a format has
    no room for.
    """
    from .formats import dicom as waveform
    from .formats import edf
    from .formats import wfdb as wfdb_files

    for profile in profiles:
        if "edf" in options.formats:
            edf.check(profile)
        if "dicom" in options.formats:
            waveform.check(profile)
    paths: list[Path] = []
    for record, profile in zip(records, profiles, strict=True):
        place = folder / "wfdb" / profile.patient_id
        place.mkdir(parents=True, exist_ok=True)
        paths += wfdb_files.write(record, profile, place, options.ecg_gain, options.together)
        if "edf" in options.formats:
            place = folder / "edf" / profile.patient_id
            place.mkdir(parents=True, exist_ok=True)
            paths += edf.write(record, profile, place)
        if "dicom" in options.formats:
            paths += waveform.write(record, profile, folder / "waveforms" / profile.patient_id)
    return paths


def read(folder: Path, patient_ids: Sequence[str]) -> dict[str, Record]:
    """Records of these patients from the WFDB files of a cohort folder; patients without one are left out.

    The ECG is exact at 1000 steps a mV, vitals lie within half a step of 0.01. Raises InputError naming the path of a
    truncated or unreadable file.
    """
    from .formats import wfdb as wfdb_files

    found = {patient_id: wfdb_files.read(folder / "wfdb" / patient_id) for patient_id in patient_ids}
    return {patient_id: record for patient_id, record in found.items() if record is not None}


def read_ecg(path: Path, raw_microvolts: bool = False) -> Float32Array:
    """(12, sample) float32 mV at 500 Hz of a WFDB, EDF (.edf) or DICOM file, leads I II III aVR aVL aVF V1..V6.

    Leads are found by name whatever their case, other rates are resampled (polyphase). With
    `raw_microvolts` the stored integers of WFDB are taken as microvolts: sets whose gains differ by lead break
    Einthoven's law in physical units. Raises InputError: missing, truncated or unreadable file, missing
    lead, unknown unit, invalid samples.
    """
    tracing = _tracing(path, raw_microvolts)
    place = {name.strip().lower(): i for i, name in enumerate(tracing.names)}
    if missing := [lead for lead in LEADS if lead.lower() not in place]:
        have = ", ".join(tracing.names)
        raise InputError(
            f"{path}: expected a 12-lead ECG, missing {', '.join(missing)}; the record has: {have}"
        )
    order = [place[lead.lower()] for lead in LEADS]
    units = [tracing.units[i] for i in order]
    if unknown := sorted({unit for unit in units if unit.lower() not in MILLIVOLTS}):
        raise InputError(f"{path}: expected leads in mV, uV or V, got {', '.join(unknown)}")
    if len(rates := sorted({tracing.rates[i] for i in order})) > 1:
        raise InputError(
            f"{path}: expected all leads at one rate, got {', '.join(f'{r:g}' for r in rates)} Hz"
        )
    signal = np.stack(
        [tracing.values[i] * MILLIVOLTS[unit.lower()] for i, unit in zip(order, units, strict=True)]
    )
    if invalid := int(np.isnan(signal).sum()):
        raise InputError(f"{path}: {invalid} samples are marked invalid; leave this record out of the table")
    if rates[0] != RATE:
        from scipy.signal import resample_poly

        ratio = Fraction(RATE / rates[0]).limit_denominator(1000)
        signal = resample_poly(signal, ratio.numerator, ratio.denominator, axis=1)
    return np.asarray(signal, dtype=np.float32)


def _tracing(path: Path, raw: bool) -> Tracing:
    """The signals of a file of any kind that we read; what is neither EDF nor DICOM is WFDB."""
    from .formats import dicom as waveform
    from .formats import edf
    from .formats import wfdb as wfdb_files

    if path.suffix.lower() != ".edf" and not _is_dicom(path):
        return wfdb_files.tracing(path, raw)
    if raw:
        raise InputError(f"{path}: raw_microvolts is an option of WFDB records; leave it out")
    return edf.tracing(path) if path.suffix.lower() == ".edf" else waveform.tracing(path)


def _is_dicom(path: Path) -> bool:
    """By name, or by the mark of a DICOM file: many have no suffix."""
    if path.suffix.lower() in (".dcm", ".dicom"):
        return True
    if path.suffix or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"
