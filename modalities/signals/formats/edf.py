"""EDF+ files: the ECG with its marks as annotations, and the hourly vitals; and the signals of any EDF file."""

import warnings
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ....core.config import LARGEST
from ....core.errors import InputError, first_line
from ....core.extras import need
from ....core.modality import Record
from ....core.profile import PatientProfile
from ....core.remarks import remark
from ....core.study import chart_begins
from ..channels import VITALS, Channel, channels_of, step_of, vitals_steps
from ..layout import (
    ABSENT,
    BEATS,
    BEDSIDE_RATE,
    ECG_GAIN,
    RATE,
    VITALS_RATE,
    Tracing,
    beats_of,
    ecg_steps,
    rhythms,
    taken,
)
from ..leads import lead_off, leads_of

if TYPE_CHECKING:
    from edfio import Edf, EdfAnnotation, EdfSignal

HOUR, MINUTE = 3600, 60  # s, a data record of vitals, by the hour and at the bedside
EDF_UNITS = {"Cel": "degC"}  # of the EDF+ standard texts, where they differ from UCUM
ROOM = 64  # characters of a patient id that the patient field takes beside sex and day of birth
ROOM_OF_LABEL = 16  # characters
YEARS = range(1985, 2085)  # of a start date
PREFIXES = ("ECG", "EKG", "LEAD")  # that labels put before the name of a lead


class EdfFormat:
    """EDF+ files in edf/<patient>/: ecg.edf, vitals.edf and bedside.edf, what a record has of them.

    The ECG is in steps of 1 uV, in data records of 1 s, or in one where it does not last whole seconds. Vitals are in
    steps of 0.01, in data records of an hour (at the bedside a minute) from midnight; the digital minimum, -327.68,
    stands for not charted.
    """

    name, modality = "edf", "signals"

    def check(self, profile: PatientProfile) -> None:
        """Raises InputError for an id or a date that an EDF header cannot hold."""
        name = profile.patient_id
        if not (name.isascii() and name.isprintable() and 0 < len(name) <= ROOM and name == name.strip()):
            raise InputError(
                f"patient id {name!r}: EDF takes 1 to {ROOM} printable ASCII characters; "
                "leave edf out of signals.formats"
            )
        if profile.index_date is not None and profile.index_date.year not in YEARS:
            raise InputError(
                f"patient {name}: EDF has two digits for years from {YEARS[0]} to {YEARS[-1]}, "
                f"got {profile.index_date}; leave edf out of signals.formats"
            )

    def write(
        self, records: Sequence[Record], profiles: Sequence[PatientProfile], folder: Path
    ) -> list[Path]:
        """See core.contracts.Format."""
        for profile in profiles:
            self.check(profile)
        paths = []
        for record, profile in zip(records, profiles, strict=True):
            place, day = folder / "edf" / profile.patient_id, profile.index_date
            place.mkdir(parents=True, exist_ok=True)
            if "ecg" in record.arrays:
                begun = taken(record.facts, day) if day else None
                paths.append(place / "ecg.edf")
                _ecg(record, profile, begun).write(paths[-1])
            for name, rate, span in (("vitals", VITALS_RATE, HOUR), ("bedside", BEDSIDE_RATE, MINUTE)):
                if name in record.arrays and len(record.arrays[name]):
                    chart = name == "vitals"
                    channels = channels_of(record.facts) if chart else VITALS
                    step = step_of(record.facts) if chart else 1.0
                    paths.append(place / f"{name}.edf")
                    midnight = chart_begins(day) if day else None
                    _vitals(record.arrays[name], channels, rate / step, span * step, profile, midnight).write(
                        paths[-1]
                    )
        return paths

    def holds(self, path: Path) -> bool:
        """By name."""
        return path.suffix.lower() == ".edf"

    def tracing(self, path: Path) -> Tracing:
        """Signals of any EDF or EDF+ file; `ECG II` and the like are the leads. Raises InputError."""
        need(f"{path}: EDF", "edfio")
        from edfio import read_edf

        if not path.is_file():
            raise InputError(f"{path}: no such file; expected an EDF file")
        if _is_bdf(path):
            raise InputError(f"{path}: expected an EDF file of 16 bits, got BDF of 24; convert it to EDF")
        if _lasts_nothing(path):
            raise InputError(
                f"{path}: expected data records that last, got a duration of 0 s: no sampling rate follows"
            )
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # edfio warns of a truncated file, and of broken ranges
                file = read_edf(path, lazy_load_data=False, header_encoding="latin-1")
                whole, every = file.is_continuous, list(file.signals)
            signals = [
                signal for signal in every if _has_range(signal, path)
            ]  # a remark is no warning of edfio's
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                values = [signal.data for signal in signals]
        except InputError:
            raise
        # what edfio raises for headers that are not, and what it warns of
        except (
            ValueError,
            KeyError,
            IndexError,
            TypeError,
            ArithmeticError,
            OSError,
            UserWarning,
            NameError,
        ) as error:
            raise InputError(
                f"{path}: expected a whole EDF file, cannot read it ({first_line(error)}); copy it again"
            ) from None
        if not whole:
            raise InputError(f"{path}: expected a recording without gaps, this one is interrupted (EDF+D)")
        return Tracing(
            tuple(_lead(signal.label) for signal in signals),
            tuple(_unit(signal.physical_dimension) for signal in signals),
            tuple(signal.sampling_frequency for signal in signals),
            values,
        )


def _is_bdf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(8) == b"\xffBIOSEMI"


def _lasts_nothing(path: Path) -> bool:
    """Whether the header gives data records no duration: bytes 245 to 252 (Kemp et al. 1992)."""
    with path.open("rb") as file:
        head = file.read(256)
    try:
        return float(head[244:252]) == 0
    except ValueError:  # what is no number edfio names
        return False


def _has_range(signal: "EdfSignal", path: Path) -> bool:
    """Whether a signal has a physical range; one that has none (an idle channel) is left out and remarked.

    Raises InputError for a range of which a step is no number.
    """
    ends = signal.physical_min, signal.physical_max
    if not max(abs(ends[0]), abs(ends[1])) <= LARGEST:
        raise InputError(
            f"{path}: expected a physical range within {LARGEST:g} of zero, the channel {signal.label!r} has "
            f"{ends[0]:g} to {ends[1]:g}"
        )
    if signal.physical_min == signal.physical_max:
        remark(f"{path}: the channel {signal.label!r} has no physical range and is left out")
        return False
    return True


def _unit(text: str) -> str:
    """A unit of a header read as Latin-1, which may have been UTF-8."""
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeDecodeError:
        return text


def _ecg(record: Record, profile: PatientProfile, begun: datetime | None) -> "Edf":
    steps = ecg_steps(record.arrays["ecg"])
    samples = steps.shape[1]
    span = 1.0 if samples % RATE == 0 else samples / RATE
    signals = [
        _signal(row, RATE, _label(lead), "uV", 1000 / ECG_GAIN)
        for lead, row in zip(leads_of(record).names, steps, strict=True)
    ]
    return _file(signals, profile, begun, span, _marks(record))


def _vitals(
    chart: NDArray[np.floating[Any]], channels: Sequence[Channel], rate: float, span: float,
    profile: PatientProfile, begun: datetime | None,
) -> "Edf":  # fmt: skip
    from edfio import EdfAnnotation

    signals = [
        _signal(row, rate, channel.name, EDF_UNITS.get(channel.unit, channel.unit[:8]), 1 / channel.gain)
        for channel, row in zip(channels, vitals_steps(chart, channels).T, strict=True)
    ]
    marks = sorted({ABSENT / channel.gain for channel in channels})
    said = EdfAnnotation(0, None, f"{' or '.join(f'{mark:g}' for mark in marks)} stands for not charted")
    return _file(signals, profile, begun, span, [said])


def _signal(steps: NDArray[np.int16], rate: float, label: str, unit: str, step: float) -> Any:
    from edfio import EdfSignal

    return EdfSignal.from_digital(
        np.ascontiguousarray(steps), rate, label=label, physical_dimension=unit,
        physical_range=(round(ABSENT * step, 5), round((-1 - ABSENT) * step, 5)),
    )  # fmt: skip


def _file(
    signals: list[Any],
    profile: PatientProfile,
    begun: datetime | None,
    span: float,
    marks: list["EdfAnnotation"],
) -> "Edf":
    """An EDF+C file; what is not known is X, as the standard says."""
    from edfio import Edf, Patient, Recording

    sex: Any = profile.sex if profile.sex in ("F", "M") else "X"
    code = profile.patient_id.replace(" ", "_")
    return Edf(
        signals,
        patient=Patient(code=code, sex=sex, birthdate=profile.birth_date),
        recording=Recording(
            startdate=begun.date() if begun else None, equipment_code="Polyclinic", additional=("SYNTHETIC",)
        ),
        starttime=begun.time() if begun else None,
        data_record_duration=span,
        annotations=marks,
    )


def _marks(record: Record) -> list["EdfAnnotation"]:
    """Rhythms with their lengths, a mark a beat, and the times when an electrode is off."""
    from edfio import EdfAnnotation

    samples = record.arrays["ecg"].shape[1]
    spans = [(first, end, f"rhythm: {name}") for first, end, name in rhythms(record.facts, samples)]
    off = [(first, end, f"lead off {text}") for first, end, text, _ in lead_off(record.facts)]
    return [
        *(EdfAnnotation(first / RATE, (end - first) / RATE, text) for first, end, text in spans),
        *(EdfAnnotation(n / RATE, None, BEATS[kind]) for n, kind in beats_of(record)),
        # on one line: edfio 0.4.18 drops an annotation with a line break
        *(
            EdfAnnotation(first / RATE, (end - first) / RATE, " ".join(text.split()))
            for first, end, text in off
        ),
    ]


def _label(lead: str) -> str:
    """`ECG II` for II; a name that begins with ECG, or leaves no room for it, stays as it is, cut to 16 characters."""
    label = lead if lead.upper().startswith(PREFIXES) or len(lead) > ROOM_OF_LABEL - 4 else f"ECG {lead}"
    return label.encode("ascii", "replace").decode()[:ROOM_OF_LABEL]


def _lead(label: str) -> str:
    """`ECG II` to `II`; other labels as they are."""
    first, _, rest = label.strip().partition(" ")
    return rest.strip() if rest and first.upper() in PREFIXES else label.strip()
