"""Files of a patient's signals: which formats a cohort gets, written, read back, and ECGs of training folders."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, cached_property
from pathlib import Path
from unicodedata import normalize

import numpy as np
from pydantic import Field, field_validator

from ...core.config import LARGEST, Settings
from ...core.contracts import PatientFormat
from ...core.errors import InputError
from ...core.modality import Record
from ...core.profile import PatientProfile
from ...core.registry import formats_of, load, load_format
from ...core.types import Float32Array, FloatArray
from .formats import CheckedFormat, TracingFormat
from .formats.wfdb import WfdbFormat
from .formats.wfdb_reading import signal_names, tracing
from .layout import ECG_GAIN, RATE, Tracing
from .leads import TWELVE, Leads, lead_name

MILLIVOLTS = {"mv": 1.0, "uv": 1e-3, "\N{GREEK SMALL LETTER MU}v": 1e-3, "v": 1e3}
SLOWEST = 50.0  # Hz
FAR = 0.8  # of the greatest distance from the middle of a trace: an end at which an amplifier may be
# signals in volts that are no ECG, by how their names begin
NO_LEAD = re.compile(
    r"eeg|eog|emg|resp|pleth|ppg|abp|bp\b|cvp|pap|icp|art|flow|thor|abd|chest|status|event|mark",
    re.IGNORECASE,
)


NATIVE = "wfdb"  # always written: cohorts are read from it


class ExportOptions(Settings):
    """How signals are written: formats beside the cohort's own WFDB, steps a mV there, ECG and vitals in one record."""

    formats: tuple[str, ...] = (NATIVE,)
    ecg_gain: int = Field(default=ECG_GAIN, ge=50, le=ECG_GAIN)
    together: bool = False

    @field_validator("formats")
    @classmethod
    def _installed(cls, formats: tuple[str, ...]) -> tuple[str, ...]:
        known = formats_of("signals")
        if unknown := [name for name in formats if name not in known]:
            raise ValueError(f"expected some of {', '.join(known)}, got {unknown[0]!r}")
        if len(set(formats)) < len(formats):
            raise ValueError("expected each format once")
        return formats if NATIVE in formats else (NATIVE, *formats)


PLAIN = ExportOptions()


def export(
    records: Sequence[Record],
    profiles: Sequence[PatientProfile],
    folder: Path,
    options: ExportOptions = PLAIN,
) -> list[Path]:
    """Write wfdb/<patient>/ and the folders of the other formats below `folder`; the paths written.

    "ecg" (and "ecg_clean") is (lead, sample) mV at 500 Hz in whole microvolts, "r_peaks" (beat,) samples, "vitals"
    (hour, 7) with NaN where nothing was charted. What a record lacks is not written. The bytes depend on the record,
    the profile and the options alone. Raises InputError before the first file is written: a patient whom a format has
    no room for.
    """
    formats: list[PatientFormat] = [WfdbFormat(options.ecg_gain, options.together)]
    formats += [load_format("signals", name) for name in options.formats if name != NATIVE]
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


def read_ecg(path: Path, raw_microvolts: bool = False, leads: Leads = TWELVE) -> Float32Array:
    """(lead, sample) float32 mV at 500 Hz of a WFDB, EDF (.edf) or DICOM file; see open_ecg.

    Other rates are resampled (polyphase). Raises InputError: invalid samples, and what open_ecg raises.
    """
    found = open_ecg(path, raw_microvolts, leads)
    if np.isnan(found.values).any():
        raise found.invalid()
    return found.part(0, found.samples)


@dataclass(frozen=True)
class EcgFile:
    """Leads of a file as they are stored: (lead, sample) mV at `rate` Hz, NaN where samples are marked invalid."""

    path: Path
    values: FloatArray
    rate: float

    @property
    def samples(self) -> int:
        """Of each lead."""
        return self.values.shape[1]

    @cached_property
    def ends(self) -> tuple[FloatArray, FloatArray]:
        """(lead, 1) mV, the greatest and the least of each lead; NaN for one that is near the middle of the trace."""
        known = np.where(np.isnan(self.values), 0.0, self.values)
        middle = np.median(known, axis=1, keepdims=True)
        high, low = known.max(1, keepdims=True), known.min(1, keepdims=True)
        far = FAR * np.maximum(high - middle, middle - low)
        return np.where(high - middle >= far, high, np.nan), np.where(middle - low >= far, low, np.nan)

    def part(self, begin: int, end: int) -> Float32Array:
        """(lead, sample) mV at 500 Hz of these samples; a second on either side is resampled with them."""
        if self.rate == RATE:
            return np.asarray(self.values[:, begin:end], dtype=np.float32)
        from scipy.signal import resample_poly

        ratio = Fraction(RATE / self.rate).limit_denominator(1000)
        margin = round(self.rate)
        first, last = max(0, begin - margin), min(self.samples, end + margin)
        if np.isnan(self.values[:, first:last]).any():
            first, last = begin, end
        whole = resample_poly(self.values[:, first:last], ratio.numerator, ratio.denominator, axis=1)
        if (first, last) == (begin, end):
            return np.asarray(whole, dtype=np.float32)
        start = round((begin - first) * RATE / self.rate)
        return np.asarray(whole[:, start : start + round((end - begin) * RATE / self.rate)], dtype=np.float32)

    def invalid(self) -> InputError:
        """What is said of a file whose samples are marked invalid."""
        return InputError(
            f"{self.path}: {int(np.isnan(self.values).sum())} samples are marked invalid; leave this record out of "
            "the table"
        )


def open_ecg(path: Path, raw_microvolts: bool = False, leads: Leads = TWELVE) -> EcgFile:
    """These leads of a WFDB, EDF (.edf) or DICOM file.

    Leads are found by name, as people write them (leads.lead_name). With
    `raw_microvolts` the stored integers of WFDB are taken as microvolts: sets whose gains differ by lead break
    Einthoven's law in physical units. Raises InputError: missing, truncated or unreadable file, missing
    lead, unknown unit, a rate that is too low.
    """
    found = _tracing(path, raw_microvolts)
    names = [lead_name(name) for name in found.names]
    named = Counter(names)
    if twice := [lead for lead in leads.names if named[lead] > 1]:
        raise InputError(
            f"{path}: {', '.join(twice)} is there {named[twice[0]]} times, so nobody knows which is meant; "
            f"the record has: {', '.join(found.names)}"
        )
    if missing := [lead for lead in leads.names if lead not in named]:
        have = ", ".join(found.names)
        raise InputError(
            f"{path}: expected {leads.article} {leads.title}, missing {', '.join(missing)}; the record has: {have}"
        )
    order = [names.index(lead) for lead in leads.names]
    units = [_unit(found.units[i]) for i in order]
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
    if rates[0] < SLOWEST:
        raise InputError(
            f"{path}: expected an ECG of {SLOWEST:g} Hz or more, got {rates[0]:g} Hz, too few to see a QRS complex"
        )
    signal = np.stack([found.values[i] * MILLIVOLTS[unit] for i, unit in zip(order, units, strict=True)])
    return EcgFile(path, np.asarray(signal, dtype=np.float64), rates[0])


def lead_names(path: Path) -> list[str]:
    """The standard names, where there are, of a file's voltages that are not known to be of something else."""
    other = next((reader for reader in _readers() if reader.holds(path)), None)
    found = signal_names(path) if other is None else (lambda of: (of.names, of.units))(other.tracing(path))
    pairs = zip(*found, strict=True)
    return list(
        dict.fromkeys(
            lead_name(n) for n, unit in pairs if _unit(unit) in MILLIVOLTS and not NO_LEAD.match(n.strip())
        )
    )


def _unit(text: str) -> str:
    return normalize("NFKC", text).strip().lower()


def _tracing(path: Path, raw: bool) -> Tracing:
    """The signals of a file of any installed format that reads them; what no other one holds is WFDB."""
    other = next((reader for reader in _readers() if reader.holds(path)), None)
    if other is not None and raw:
        raise InputError(f"{path}: raw_microvolts is an option of WFDB records; leave it out")
    found = tracing(path, raw) if other is None else other.tracing(path)
    for name, values in zip(found.names, found.values, strict=True):
        if len(values) and max(np.nanmax(values, initial=0), -np.nanmin(values, initial=0)) > LARGEST:
            raise InputError(
                f"{path}: expected values of at most {LARGEST:g}, the signal {name!r} has larger ones: look at its "
                "gain or range in the header"
            )
    return found


@cache
def _readers() -> tuple[TracingFormat, ...]:
    """Installed formats that read single files."""
    found = [load("formats", f"signals.{name}") for name in formats_of("signals")]
    return tuple(plugin for plugin in found if isinstance(plugin, TracingFormat))
