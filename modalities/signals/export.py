"""WFDB records of a patient: ecg (12 leads, beats, rhythm, waves) and vitals (hourly), written and read."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.errors import InputError
from ...core.modality import Record
from ...core.profile import PatientProfile

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
RATE = 500  # Hz
ECG_GAIN = 1000  # steps a mV: one step is a microvolt
CHANNELS = ("HR", "O2Sat", "Temp", "SBP", "MAP", "DBP", "Resp")
VITALS_UNITS = ("/min", "%", "Cel", "mmHg", "mmHg", "mmHg", "/min")
VITALS_RATE = 1 / 3600  # Hz: one value an hour
VITALS_GAIN = 100  # steps a unit
ABSENT = -32768  # WFDB's invalid sample in format 16
BEATS = ("N", "V", "A")  # WFDB codes: normal, ventricular and atrial premature
RHYTHMS = {"sinus": "(N", "atrial fibrillation": "(AFIB"}  # WFDB rhythm marks
MILLIVOLTS = {"mv": 1.0, "uv": 1e-3, "µv": 1e-3, "v": 1e3}
SYNTHETIC = "SYNTHETIC: drawn by a model, not measured on a person"


def export(records: Sequence[Record], profiles: Sequence[PatientProfile], folder: Path) -> list[Path]:
    """Write wfdb/<patient>/{ecg,vitals}.{hea,dat} with ecg.atr and ecg.waves below folder; the paths written.

    "ecg" is (12, sample) mV at 500 Hz in whole microvolts, "r_peaks" (beat,) samples, "vitals" (hour, 7)
    with NaN where nothing was charted. What a record lacks is not written. The bytes depend on the record
    and the profile alone.
    """
    paths: list[Path] = []
    for record, profile in zip(records, profiles, strict=True):
        place = folder / "wfdb" / profile.patient_id
        place.mkdir(parents=True, exist_ok=True)
        if "ecg" in record.arrays:
            paths += _write_ecg(record, profile, place)
        if len(record.arrays.get("vitals", ())):
            paths += _write_vitals(record.arrays["vitals"], profile, place)
    return paths


def read(folder: Path, patient_ids: Sequence[str]) -> dict[str, Record]:
    """Records of these patients from a cohort folder; patients without one are left out.

    The ECG is exact, vitals lie within half a step of 0.01. Raises InputError naming the path of a truncated
    or unreadable file.
    """
    found = {}
    for patient_id in patient_ids:
        place = folder / "wfdb" / patient_id
        arrays: dict[str, NDArray[Any]] = {}
        facts: dict[str, Any] = {}
        if (place / "ecg.hea").exists():
            record = _open(place / "ecg", physical=False)
            arrays["ecg"] = millivolts(record.d_signal.T)
            facts = _noted(record.comments)
            marks = _annotations(place / "ecg", "atr")
            if marks is not None:
                _add_marks(marks, arrays, facts)
            waves = _annotations(place / "ecg", "waves")
            if waves is not None:
                facts["waves"] = [[int(n), s] for n, s in zip(waves.sample, waves.symbol, strict=True)]
        if (place / "vitals.hea").exists():
            arrays["vitals"] = _open(place / "vitals", physical=True).p_signal.astype(np.float32)
            facts["hours"] = len(arrays["vitals"])
        if arrays:
            found[patient_id] = Record(arrays, facts)
    return found


def read_ecg(path: Path, raw_microvolts: bool = False) -> NDArray[np.float32]:
    """(12, sample) float32 mV at 500 Hz of a WFDB record, leads I II III aVR aVL aVF V1..V6.

    Leads are found by name whatever their case, other rates are resampled (polyphase). With
    `raw_microvolts` the stored integers are taken as microvolts: sets whose gains differ by lead break
    Einthoven's law in physical units. Raises InputError: missing, truncated or unreadable file, missing
    lead, unknown unit, invalid samples.
    """
    if path.suffix in (".hea", ".dat"):
        path = path.with_suffix("")
    record = _open(path, physical=not raw_microvolts)
    place = {str(name).strip().lower(): i for i, name in enumerate(record.sig_name)}
    if missing := [lead for lead in LEADS if lead.lower() not in place]:
        have = ", ".join(map(str, record.sig_name))
        raise InputError(
            f"{path}: expected a 12-lead ECG, missing {', '.join(missing)}; the record has: {have}"
        )
    order = [place[lead.lower()] for lead in LEADS]
    if raw_microvolts:
        signal = record.d_signal[:, order].T / 1000
        invalid = record.d_signal[:, order].T == ABSENT
    else:
        units = [str(record.units[i]) for i in order]
        if unknown := sorted({unit for unit in units if unit.lower() not in MILLIVOLTS}):
            raise InputError(f"{path}: expected leads in mV, uV or V, got {', '.join(unknown)}")
        signal = record.p_signal[:, order].T * np.array([[MILLIVOLTS[unit.lower()]] for unit in units])
        invalid = np.isnan(signal)
    if invalid.any():
        raise InputError(
            f"{path}: {invalid.sum()} samples are marked invalid; leave this record out of the table"
        )
    if record.fs != RATE:
        from scipy.signal import resample_poly

        ratio = Fraction(RATE / record.fs).limit_denominator(1000)
        signal = resample_poly(signal, ratio.numerator, ratio.denominator, axis=1)
    return np.asarray(signal, dtype=np.float32)


def millivolts(steps: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
    """Microvolt integers as float32 mV, the nearest float of each: what an ECG array holds."""
    return (steps / ECG_GAIN).astype(np.float32)


def _write_ecg(record: Record, profile: PatientProfile, place: Path) -> list[Path]:
    import wfdb

    steps = np.rint(record.arrays["ecg"].astype(np.float64) * ECG_GAIN)
    assert np.abs(steps).max() < -ABSENT, "an ECG beyond 32.767 mV does not fit"
    notes = {name: record.facts[name] for name in ("heart_rate",) if name in record.facts}
    _write_signals("ecg", RATE, ["mV"] * 12, LEADS, steps.T, ECG_GAIN, _comments(profile, notes), place)
    beats = [int(n) for n in record.arrays.get("r_peaks", ())]
    rhythm = [RHYTHMS[record.facts["rhythm"]]] if "rhythm" in record.facts else []
    if beats or rhythm:
        wfdb.wrann(
            "ecg",
            "atr",
            np.array([0] * len(rhythm) + beats),
            symbol=["+"] * len(rhythm) + list(record.facts.get("kinds", "N" * len(beats))),
            aux_note=rhythm + [""] * len(beats),
            fs=RATE,
            write_dir=str(place),
        )
    if waves := sorted(record.facts.get("waves", ()), key=lambda wave: wave[0]):
        samples, symbols = [n for n, _ in waves], [symbol for _, symbol in waves]
        wfdb.wrann("ecg", "waves", np.array(samples), symbol=symbols, fs=RATE, write_dir=str(place))
    return [path for end in ("hea", "dat", "atr", "waves") if (path := place / f"ecg.{end}").exists()]


def _write_vitals(values: NDArray[np.float32], profile: PatientProfile, place: Path) -> list[Path]:
    charted = ~np.isnan(values)
    steps = np.full(values.shape, ABSENT, dtype=np.float64)
    steps[charted] = np.rint(values[charted].astype(np.float64) * VITALS_GAIN)
    assert np.abs(steps[charted]).max(initial=0) < -ABSENT, "a vital sign beyond 327.67 does not fit"
    notes = {"not charted": "invalid samples"}
    _write_signals(
        "vitals", VITALS_RATE, VITALS_UNITS, CHANNELS, steps, VITALS_GAIN, _comments(profile, notes), place
    )
    return [place / "vitals.hea", place / "vitals.dat"]


def _write_signals(
    name: str,
    rate: float,
    units: Sequence[str],
    names: Sequence[str],
    steps: NDArray[np.float64],  # (sample, signal)
    gain: int,
    comments: list[str],
    place: Path,
) -> None:
    import wfdb

    wfdb.wrsamp(
        name,
        fs=rate,
        units=list(units),
        sig_name=list(names),
        d_signal=steps.astype(np.int16),
        fmt=["16"] * len(names),
        adc_gain=[gain] * len(names),
        baseline=[0] * len(names),
        comments=comments,
        write_dir=str(place),
    )


def _comments(profile: PatientProfile, notes: Mapping[str, Any]) -> list[str]:
    """Header comments, `name: value` a line."""
    known = {"age": profile.age, "sex": profile.sex, "index date": profile.index_date, **notes}
    lines = [f"{name}: {value}" for name, value in known.items() if value is not None]
    return [SYNTHETIC, f"patient: {profile.patient_id}", *lines]


def _noted(comments: Sequence[str]) -> dict[str, Any]:
    """Facts back from header comments."""
    notes = dict(line.split(": ", 1) for line in comments if ": " in line)
    return {"heart_rate": float(notes["heart_rate"])} if "heart_rate" in notes else {}


def _add_marks(marks: Any, arrays: dict[str, NDArray[Any]], facts: dict[str, Any]) -> None:
    """Beats and rhythm of an annotation file, into arrays and facts."""
    beats = [(n, symbol) for n, symbol in zip(marks.sample, marks.symbol, strict=True) if symbol in BEATS]
    arrays["r_peaks"] = np.array([n for n, _ in beats], dtype=np.int64)
    facts |= {"beats": len(beats), "kinds": "".join(symbol for _, symbol in beats)}
    names = {mark: rhythm for rhythm, mark in RHYTHMS.items()}
    for symbol, note in zip(marks.symbol, marks.aux_note, strict=True):
        if symbol == "+" and note.rstrip("\x00") in names:
            facts["rhythm"] = names[note.rstrip("\x00")]


def _open(path: Path, physical: bool) -> Any:
    """A wfdb.Record, after a check that its signal file is whole. Raises InputError with the path."""
    import wfdb

    if not path.with_name(f"{path.name}.hea").is_file():
        raise InputError(f"{path}.hea: no such file; expected the header of a WFDB record")
    try:
        header = wfdb.rdheader(str(path))
        names = dict.fromkeys(header.file_name or ())
        absent = [path.parent / name for name in names if not (path.parent / name).is_file()]
        record = None if absent else wfdb.rdrecord(str(path), physical=physical)
    # what wfdb raises for a bad header line, a short signal file and an unknown format
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, OSError) as error:
        detail = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"{path}: expected a whole WFDB record, cannot read it ({detail}); copy it again"
        ) from None
    if absent:
        raise InputError(f"{absent[0]}: no such file; {path.name}.hea names it")
    if not header.n_sig:
        raise InputError(f"{path}: expected a WFDB record with signals, its header lists none")
    return record


def _annotations(path: Path, extension: str) -> Any:
    """A wfdb.Annotation, or None where there is no such file. Raises InputError with the path."""
    import wfdb

    file = path.with_name(f"{path.name}.{extension}")
    if not file.exists():
        return None
    if not file.read_bytes().endswith(b"\0\0"):  # wfdb would drop the last marks without a word
        raise InputError(f"{file}: expected a WFDB annotation file, its end mark is missing; copy it again")
    try:
        return wfdb.rdann(str(path), extension)
    except (ValueError, KeyError, IndexError, OSError) as error:
        raise InputError(f"{file}: expected a WFDB annotation file, cannot read it ({error})") from None
