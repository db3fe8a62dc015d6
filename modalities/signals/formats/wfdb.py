"""WFDB records: ecg (its leads, beats, rhythm, waves), vitals (hourly), bedside (1 Hz); written and read."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....core.errors import InputError
from ....core.modality import Facts, Record
from ....core.profile import PatientProfile
from ....core.study import Study, chart_begins
from ....core.types import AnyArray, Float32Array
from ..channels import VITALS, Channel, channels_of, step_of, vitals_steps
from ..layout import (
    ABSENT,
    BEATS,
    BEDSIDE_RATE,
    ECG_GAIN,
    FIBRILLATION,
    FLUTTER,
    RATE,
    SINUS,
    STUDY,
    SYNTHETIC,
    VITALS_RATE,
    beats_of,
    ecg_steps,
    hour_taken,
    rhythms,
)
from ..leads import Leads, lead_off, leads_of
from ..leads import in_order as leads_named
from ..leads import noted as noted_leads
from ..vitals.bedside import BASIS
from .diagnoses import dx_lines
from .wfdb_marks import encoded
from .wfdb_reading import opened

RHYTHMS = {SINUS: "(N", FIBRILLATION: "(AFIB", FLUTTER: "(AFL"}  # WFDB rhythm marks
READ, LARGE = 128, 300_000  # records that are kept as they were read, if of no more bytes: 75 MB
QUALITY = "~"  # WFDB's mark of a change of signal quality; wfdb-python drops a comment mark at sample 0
OFF, ON = "lead off", "lead on"
MOST_NOTE = 255  # bytes
ENDS = ("hea", "dat", "atr", "waves")
# facts in the header of the ECG, as JSON
NOTED = ("heart_rate", "rhythm_basis", "pacing_basis", "noise", *STUDY)
TRAJECTORY = ("trajectory", "sepsis_onset", "trajectory_basis")  # and in that of the vitals
CHART = ("channels", "step_hours")


@dataclass(frozen=True)
class Signal:
    """A signal of a record: name, unit, steps a unit, its samples in steps, and how many of them a frame has."""

    name: str
    unit: str
    gain: float
    steps: NDArray[np.int16]
    per_frame: int = 1


class WfdbFormat:
    """WFDB records in wfdb/<patient>/, the form that cohorts are read from: ecg and vitals, what a record has of them.

    `gain` is steps a mV of the ECG. `together` adds `all`, both in one record of one-second frames: 500 samples of
    each lead and one of each vital sign of the hour that the ECG was taken in. Its last frame is filled up with invalid
    samples.
    """

    name, modality = "wfdb", "signals"

    def __init__(self, gain: int = ECG_GAIN, together: bool = False) -> None:
        self.gain, self.together = gain, together

    def write(
        self, records: Sequence[Record], profiles: Sequence[PatientProfile], folder: Path
    ) -> list[Path]:
        """See core.contracts.Format."""
        paths = []
        for record, profile in zip(records, profiles, strict=True):
            place = folder / "wfdb" / profile.patient_id
            place.mkdir(parents=True, exist_ok=True)
            paths += _write(record, profile, place, self.gain, self.together)
        return paths

    def read(self, folder: Path, patient_ids: Sequence[str]) -> dict[str, Record]:
        """See core.contracts.ReadableFormat; microvolts are exact at 1000 steps a mV, vitals to half a step of 0.01."""
        found = {patient_id: _as_it_is(folder / "wfdb" / patient_id) for patient_id in patient_ids}
        return {patient_id: record for patient_id, record in found.items() if record is not None}


def _write(record: Record, profile: PatientProfile, place: Path, gain: int, together: bool) -> list[Path]:
    arrays, facts, leads = record.arrays, record.facts, leads_of(record)
    names = [name for name in ("ecg", "ecg_clean") if name in arrays]
    day, study = profile.index_date, Study.of(facts, profile.index_date)
    midnight = None if day is None else chart_begins(day)
    taken = None if study is None else study.taken
    for name in names:
        notes = {} if name == "ecg_clean" else _notes(facts, NOTED)
        lines = [*_comments(profile, notes), *dx_lines(record)]
        _write_signals(name, RATE, taken, _leads(arrays[name], gain, leads), lines, place)
    if "ecg" in arrays:
        _write_marks(record, place)
    if len(arrays.get("vitals", ())):
        channels = channels_of(facts)
        steps = vitals_steps(arrays["vitals"], channels)
        notes = {"not charted": "invalid samples", **_notes(facts, (*TRAJECTORY, *CHART))}
        rate = VITALS_RATE / step_of(facts)
        _write_signals("vitals", rate, midnight, _channels(steps, channels), _comments(profile, notes), place)
        names.append("vitals")
        if together and "ecg" in arrays:
            hour, samples = int(hour_taken(facts, 24) / step_of(facts)), arrays["ecg"].shape[1]
            hour = min(hour, len(steps) - 1)
            notes = {"hour of the vitals": str(hour), "frames": f"1 s, {RATE} samples of each lead"}
            signals = [
                replace(
                    lead,
                    steps=np.pad(lead.steps, (0, -samples % RATE), constant_values=ABSENT),
                    per_frame=RATE,
                )
                for lead in _leads(arrays["ecg"], gain, leads)
            ] + _channels(np.tile(steps[hour], (-(-samples // RATE), 1)), channels)
            _write_signals("all", 1, taken, signals, _comments(profile, notes), place)
            names.append("all")
    if "bedside" in arrays:
        lines = _comments(profile, {"not charted": "invalid samples", "basis": BASIS})
        signals = _channels(vitals_steps(arrays["bedside"]), VITALS)
        _write_signals("bedside", BEDSIDE_RATE, midnight, signals, lines, place)
        names.append("bedside")
    return [path for name in names for end in ENDS if (path := place / f"{name}.{end}").exists()]


def _as_it_is(place: Path) -> Record | None:
    """_read(), which is not done again while the files are the same: an evaluation asks twice for each record."""
    try:
        seen = tuple(sorted((f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in os.scandir(place)))
    except OSError:
        return _read(place)
    if sum(size for _, size, _ in seen) > LARGE:  # such as a day at 1 Hz
        return _read(place)
    record = _read_once(place, seen)
    return None if record is None else Record(dict(record.arrays), dict(record.facts))


@lru_cache(maxsize=READ)
def _read_once(place: Path, _: tuple[tuple[str, int, int], ...]) -> Record | None:
    return _read(place)


def _read(place: Path) -> Record | None:
    """What a patient's folder of a cohort holds; None if nothing. Raises InputError naming a damaged file."""
    arrays: dict[str, AnyArray] = {}
    facts: dict[str, Any] = {}
    for name in ("ecg", "ecg_clean"):
        if (place / f"{name}.hea").exists():
            header = opened(place / name, physical=False)
            arrays[name] = (header.d_signal.T / np.array(header.adc_gain)[:, None]).astype(np.float32)
            facts |= _noted(header.comments) | noted_leads(leads_named(header.sig_name))
    if "ecg" in arrays:
        if (marks := _annotations(place / "ecg", "atr")) is not None:
            _add_marks(marks, arrays, facts)
        if (waves := _annotations(place / "ecg", "waves")) is not None:
            facts["waves"] = [[int(n), s] for n, s in zip(waves.sample, waves.symbol, strict=True)]
    if (place / "vitals.hea").exists():
        header = opened(place / "vitals", physical=True)
        arrays["vitals"] = header.p_signal.astype(np.float32)
        facts |= _noted(header.comments)
        facts["hours"] = len(arrays["vitals"])
    if (place / "bedside.hea").exists():
        arrays["bedside"] = opened(place / "bedside", physical=True).p_signal.astype(np.float32)
    return Record(arrays, facts) if arrays else None


def _leads(ecg: Float32Array, gain: int, leads: Leads) -> list[Signal]:
    return [
        Signal(lead, "mV", gain, row) for lead, row in zip(leads.names, ecg_steps(ecg, gain), strict=True)
    ]


def _channels(steps: NDArray[np.int16], channels: Sequence[Channel]) -> list[Signal]:
    return [
        Signal(channel.name.replace(" ", "_"), channel.unit.replace(" ", "_") or "1", channel.gain, row)
        for channel, row in zip(channels, steps.T, strict=True)
    ]


def _write_signals(
    name: str,
    rate: float,
    begins: datetime | None,
    signals: Sequence[Signal],
    lines: Sequence[str],
    place: Path,
) -> None:
    """Header and samples (format 16): the bytes that wfdb.wrsamp writes, which is slow at headers.

    `begins`, UTC, is the base time and date, left out where unknown; `lines` are the comments.
    """
    frames = len(signals[0].steps) // signals[0].per_frame
    even = all(signal.per_frame == 1 for signal in signals)
    base = f" {begins:%H:%M:%S %d/%m/%Y}" if begins else ""
    head = [f"{name} {len(signals)} {rate} {frames}{base}"]
    for signal in signals:
        form = "16" if even else f"16x{signal.per_frame}"
        checksum = int(signal.steps.sum(dtype=np.int64)) % 65536
        head.append(
            f"{name}.dat {form} {signal.gain:g}(0)/{signal.unit} 16 0 {signal.steps[0]} {checksum} 0 {signal.name}"
        )
    (place / f"{name}.hea").write_text("\n".join([*head, *lines]) + "\n", encoding="utf-8")
    rows = [signal.steps.reshape(frames, signal.per_frame) for signal in signals]
    (place / f"{name}.dat").write_bytes(np.concatenate(rows, axis=1).astype("<i2").tobytes())


def _write_marks(record: Record, place: Path) -> None:
    """ecg.atr: rhythm, beats by kind, electrodes off; ecg.waves: onsets, peaks and ends."""
    facts, samples = record.facts, record.arrays["ecg"].shape[1]
    marks = [(first, "+", RHYTHMS[name]) for first, _, name in rhythms(facts, samples)]
    marks += [(n, kind, "") for n, kind in beats_of(record)]
    for first, end, text, _ in lead_off(facts):
        marks += [
            (n, QUALITY, fitting(f"{verb} {text}")) for n, verb in ((first, OFF), (end, ON)) if n < samples
        ]
    if marks := sorted(marks, key=lambda mark: mark[0]):
        (place / "ecg.atr").write_bytes(encoded(marks, RATE))
    if waves := sorted(facts.get("waves", ()), key=lambda wave: wave[0]):
        (place / "ecg.waves").write_bytes(encoded([(n, symbol, "") for n, symbol in waves], RATE))


def fitting(note: str) -> str:
    """A note cut to the 255 bytes that its length, one byte of the file, can count; whole characters alone.

    Of a longer one wfdb 4.3.1 writes a file that reads back as marks nobody made.
    """
    return note.encode()[:MOST_NOTE].decode(errors="ignore")


def _comments(profile: PatientProfile, notes: Mapping[str, str]) -> list[str]:
    """Lines of header comments, `# name: value`; of the patient what is known."""
    known = {"age": profile.age, "sex": profile.sex, "index date": profile.index_date}
    said = {name: value for name, value in known.items() if value is not None}
    lines = [f"{name}: {value}" for name, value in {**said, **notes}.items()]
    return [f"# {line}" for line in (SYNTHETIC, f"patient: {profile.patient_id}", *lines)]


def _notes(facts: Facts, names: Sequence[str]) -> dict[str, str]:
    """Facts as header comments, those of these names that there are."""
    return {name: json.dumps(facts[name]) for name in names if name in facts}


def _noted(comments: Sequence[str]) -> dict[str, Any]:
    """Facts back from header comments."""
    notes = dict(line.split(": ", 1) for line in comments if ": " in line)
    return {name: json.loads(notes[name]) for name in (*NOTED, *TRAJECTORY, *CHART) if name in notes}


def _add_marks(marks: Any, arrays: dict[str, AnyArray], facts: dict[str, Any]) -> None:
    """Beats, rhythm and lost electrodes of an annotation file, into arrays and facts."""
    notes = [note.rstrip("\x00") for note in marks.aux_note]
    found = [(int(n), s, note) for n, s, note in zip(marks.sample, marks.symbol, notes, strict=True)]
    beats = [(n, symbol) for n, symbol, _ in found if symbol in BEATS]
    arrays["r_peaks"] = np.array([n for n, _ in beats], dtype=np.int64)
    facts |= {"beats": len(beats), "kinds": "".join(symbol for _, symbol in beats)}
    names = {mark: rhythm for rhythm, mark in RHYTHMS.items()}
    changes = [[n, names[note]] for n, symbol, note in found if symbol == "+" and note in names]
    if changes:
        facts["rhythm"] = next((name for _, name in changes if name != SINUS), SINUS)
    if len(changes) > 1:
        facts["rhythm_changes"] = changes
    said = [(n, *note.split(":")[0].rsplit(" ", 1)) for n, symbol, note in found if symbol == QUALITY]
    episodes: list[list[Any]] = []
    for n, verb, electrode in said:
        if verb == OFF:
            episodes.append([electrode, n, arrays["ecg"].shape[1]])
        elif verb == ON and episodes:
            episodes[-1][2] = n
    if episodes:
        facts["lead_off"] = episodes


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
