"""Files of a patient's signals: which formats a cohort gets, written, read back, and ECGs of training folders."""

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path
from unicodedata import normalize

import numpy as np
from pydantic import Field, field_validator

from ...core.config import Settings
from ...core.contracts import PatientFormat
from ...core.errors import InputError
from ...core.modality import Record
from ...core.profile import PatientProfile
from ...core.registry import formats_of, load, load_format
from ...core.types import Float32Array
from .formats import CheckedFormat, TracingFormat
from .formats.wfdb import WfdbFormat, tracing
from .layout import ECG_GAIN, LEADS, RATE, Tracing

MILLIVOLTS = {"mv": 1.0, "uv": 1e-3, "\N{GREEK SMALL LETTER MU}v": 1e-3, "v": 1e3}


class ExportOptions(Settings):
    """How signals are written: formats beside the cohort's own WFDB, steps a mV there, ECG and vitals in one record."""

    formats: tuple[str, ...] = ("wfdb",)
    ecg_gain: int = Field(default=ECG_GAIN, ge=50, le=ECG_GAIN)
    together: bool = False

    @field_validator("formats")
    @classmethod
    def _installed(cls, formats: tuple[str, ...]) -> tuple[str, ...]:
        known = formats_of("signals")
        if unknown := [name for name in formats if name not in known]:
            raise ValueError(f"expected some of {', '.join(known)}, got {unknown[0]!r}")
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
    """Write wfdb/<patient>/ and the folders of the other formats below `folder`; the paths written.

    "ecg" (and "ecg_clean") is (12, sample) mV at 500 Hz in whole microvolts, "r_peaks" (beat,) samples, "vitals"
    (hour, 7) with NaN where nothing was charted. What a record lacks is not written. The bytes depend on the record,
    the profile and the options alone. Raises InputError before the first file is written: a patient whom a format has
    no room for.
    """
    formats: list[PatientFormat] = [WfdbFormat(options.ecg_gain, options.together)]
    formats += [load_format("signals", name) for name in options.formats if name != "wfdb"]
    for format_ in formats:
        if isinstance(format_, CheckedFormat):
            for profile in profiles:
                format_.check(profile)
    return [path for format_ in formats for path in format_.write(records, profiles, folder)]


def read(folder: Path, patient_ids: Sequence[str]) -> dict[str, Record]:
    """Records of these patients from the WFDB files of a cohort folder; patients without one are left out.

    The ECG is exact at 1000 steps a mV, vitals lie within half a step of 0.01. Raises InputError naming the path of a
    truncated or unreadable file.
    """
    return WfdbFormat().read(folder, patient_ids)


def read_ecg(path: Path, raw_microvolts: bool = False) -> Float32Array:
    """(12, sample) float32 mV at 500 Hz of a WFDB, EDF (.edf) or DICOM file, leads I II III aVR aVL aVF V1..V6.

    Leads are found by name whatever their case, other rates are resampled (polyphase). With
    `raw_microvolts` the stored integers of WFDB are taken as microvolts: sets whose gains differ by lead break
    Einthoven's law in physical units. Raises InputError: missing, truncated or unreadable file, missing
    lead, unknown unit, invalid samples.
    """
    found = _tracing(path, raw_microvolts)
    named = Counter(name.strip().lower() for name in found.names)
    if twice := [lead for lead in LEADS if named[lead.lower()] > 1]:
        raise InputError(
            f"{path}: {', '.join(twice)} is there {named[twice[0].lower()]} times, so nobody knows which is meant; "
            f"the record has: {', '.join(found.names)}"
        )
    place = {name.strip().lower(): i for i, name in enumerate(found.names)}
    if missing := [lead for lead in LEADS if lead.lower() not in place]:
        have = ", ".join(found.names)
        raise InputError(
            f"{path}: expected a 12-lead ECG, missing {', '.join(missing)}; the record has: {have}"
        )
    order = [place[lead.lower()] for lead in LEADS]
    units = [normalize("NFKC", found.units[i]).strip().lower() for i in order]
    if unknown := sorted(
        {found.units[i] for i, unit in zip(order, units, strict=True) if unit not in MILLIVOLTS}
    ):
        raise InputError(f"{path}: expected leads in mV, uV or V, got {', '.join(unknown)}")
    if len(rates := sorted({found.rates[i] for i in order})) > 1:
        raise InputError(
            f"{path}: expected all leads at one rate, got {', '.join(f'{r:g}' for r in rates)} Hz"
        )
    if not 0 < rates[0] < np.inf:
        raise InputError(f"{path}: expected a sampling rate above 0 Hz, got {rates[0]:g}")
    signal = np.stack([found.values[i] * MILLIVOLTS[unit] for i, unit in zip(order, units, strict=True)])
    if invalid := int(np.isnan(signal).sum()):
        raise InputError(f"{path}: {invalid} samples are marked invalid; leave this record out of the table")
    if rates[0] != RATE:
        from scipy.signal import resample_poly

        ratio = Fraction(RATE / rates[0]).limit_denominator(1000)
        signal = resample_poly(signal, ratio.numerator, ratio.denominator, axis=1)
    return np.asarray(signal, dtype=np.float32)


def _tracing(path: Path, raw: bool) -> Tracing:
    """The signals of a file of any installed format that reads them; what no other one holds is WFDB."""
    other = next((reader for reader in _readers() if reader.holds(path)), None)
    if other is None:
        return tracing(path, raw)
    if raw:
        raise InputError(f"{path}: raw_microvolts is an option of WFDB records; leave it out")
    return other.tracing(path)


@cache
def _readers() -> tuple[TracingFormat, ...]:
    """Installed formats that read single files."""
    found = [load("formats", f"signals.{name}") for name in formats_of("signals")]
    return tuple(plugin for plugin in found if isinstance(plugin, TracingFormat))
