"""WFDB reading: the signals of any record, also one of several segments, with faults told in one line."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ....core.config import LARGEST
from ....core.errors import InputError, first_line
from ..layout import ABSENT, Tracing

SMALLEST = 1 / LARGEST  # gain
# what wfdb raises for a bad header line, a short signal file and an unknown format
UNREADABLE = (
    ValueError, KeyError, IndexError, TypeError, AttributeError, OSError, ArithmeticError, MemoryError,
)  # fmt: skip


def tracing(path: Path, raw: bool) -> Tracing:
    """Signals of any WFDB record; with `raw` the stored integers, whatever the header's gains, as microvolts.

    Raises InputError.
    """
    path = path.with_suffix("") if path.suffix in (".hea", ".dat") else path
    words, segments = _record_line(path)
    if words and "/" in words[0]:
        return _joined(path, segments, raw)
    record = opened(path, physical=not raw)
    found = record.e_d_signal if raw else record.e_p_signal
    values = [np.asarray(signal, dtype=np.float64) for signal in found]
    if raw:
        values = [np.where(signal == ABSENT, np.nan, signal) for signal in values]
    return Tracing(
        tuple(map(str, record.sig_name)),
        ("uV",) * record.n_sig if raw else tuple(map(str, record.units)),
        tuple(record.fs * frame for frame in record.samps_per_frame),
        values,
    )


def signal_names(path: Path) -> tuple[list[str], list[str]]:
    """Names and units of a record's signals, from its header alone. Raises InputError."""
    import wfdb

    path = path.with_suffix("") if path.suffix in (".hea", ".dat") else path
    words, segments = _record_line(path)
    if words and "/" in words[0]:
        found: dict[tuple[str, int], str] = {}
        for segment in dict.fromkeys(name for name, length, *_ in segments if name != "~" and int(length)):
            _require_single(path.with_name(segment))
            own, units = signal_names(path.with_name(segment))
            for key, unit in zip(_numbered(own), units, strict=True):
                found.setdefault(key, unit)
        return [name for name, _ in found], list(found.values())
    try:
        header = wfdb.rdheader(str(path))
    except UNREADABLE as error:
        raise InputError(
            f"{path}: expected the header of a WFDB record, cannot read it ({first_line(error)})"
        ) from None
    return list(map(str, header.sig_name or ())), list(map(str, header.units or ()))


def opened(path: Path, physical: bool) -> Any:
    """A wfdb.Record, after a check that its signal file is whole. Raises InputError with the path.

    Signals are also there one by one, at their own rates: e_d_signal, or e_p_signal where `physical`.
    """
    import wfdb

    words, rest = _record_line(path)
    if physical:
        signals = int(words[1]) if len(words) > 1 and re.fullmatch(r"\d{1,6}", words[1]) else 0
        for line in rest[:signals]:
            _require_gain(line[2] if len(line) > 2 else "", path)
    try:
        record = wfdb.rdrecord(str(path), physical=physical, smooth_frames=False)
    except UNREADABLE as error:
        if (absent := _absent(path)) is not None:
            raise InputError(f"{absent}: no such file; {path.name}.hea names it") from None
        raise InputError(
            f"{path}: expected a whole WFDB record, cannot read it ({first_line(error)}); copy it again"
        ) from None
    if not record.n_sig:
        raise InputError(f"{path}: expected a WFDB record with signals, its header lists none")
    if far := [value for value in record.baseline or () if value is not None and abs(value) >= 2**31]:
        raise InputError(f"{path}.hea: expected baselines of 32 bits, got {far[0]}")
    signals = record.e_p_signal if physical else record.e_d_signal
    if len(set(record.samps_per_frame)) == 1:
        setattr(record, "p_signal" if physical else "d_signal", np.stack(signals, axis=1))
    return record


def _absent(path: Path) -> Path | None:
    """The first signal file that a header names and that is not there; None too where the header cannot be read."""
    import wfdb

    try:
        names = wfdb.rdheader(str(path)).file_name or ()
    except UNREADABLE:
        return None
    return next((path.parent / name for name in names if not (path.parent / name).is_file()), None)


def _record_line(path: Path) -> tuple[list[str], list[list[str]]]:
    """Words of a header's record line, and of the lines after it.

    Raises InputError: no such header; no rate, or one that is no number, for which wfdb would take 250 Hz; a
    length that is no number, for which it would take that of the signal file; a segment in another folder.
    """
    header = path.with_name(f"{path.name}.hea")
    if not header.is_file():
        raise InputError(f"{header}: no such file; expected the header of a WFDB record")
    lines = header.read_text(encoding="utf-8", errors="replace").splitlines()
    words, *rest = [line.split() for line in lines if line.strip() and not line.startswith("#")] or [[]]
    if words and not re.match(r"\d*\.?\d", rate := words[2] if len(words) > 2 else ""):
        raise InputError(f"{header}: expected a sampling rate above 0 Hz, got {rate!r}")
    if len(words) > 3 and not re.fullmatch(r"\d+", words[3]):
        raise InputError(f"{header}: expected a whole number of samples, got {words[3][:40]!r}")
    if words and "/" in words[0] and path.name in (name for name, *_ in rest):
        raise InputError(f"{header}: expected records of one segment as its segments, it names itself")
    if words and "/" in words[0] and (away := [name for name, *_ in rest if Path(name).name != name]):
        raise InputError(f"{header}: expected the names of segments beside it, got {away[0][:40]!r}")
    return words, rest


def _require_gain(word: str, path: Path) -> None:
    """Raises InputError for the gain of a signal line that is no number, or 0, for which wfdb would take 200."""
    found = re.match(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?=\(|/|$)", word)
    if not found or not SMALLEST < abs(float(found[0])) < LARGEST:
        raise InputError(
            f"{path}.hea: expected the gain of each signal, steps per unit, from {SMALLEST:g} to {LARGEST:g}, "
            f"got {word[:40]!r}"
        )


def _require_single(path: Path) -> None:
    """Raises InputError for a segment that has segments, which might be the record itself."""
    words, _ = _record_line(path)
    if words and "/" in words[0]:
        raise InputError(f"{path}.hea: expected a record of one segment, as it is a segment itself")


def _joined(path: Path, segments: Sequence[list[str]], raw: bool) -> Tracing:
    """The segments of a record one after the other, NaN in its gaps (`~`). wfdb 4.3.1 fails on gaps.

    Segments may have other signals than the first, as records of variable layout do (bedside monitors, as PhysioNet has
    them): a signal is NaN in those without it. Raises InputError: a segment that is not there, or a signal that has
    another unit or rate than before.
    """
    parts: list[Tracing | int] = []
    for name, length, *_ in segments:
        if int(length) == 0:  # the layout of records whose signals vary
            continue
        if name != "~":
            if not path.with_name(f"{name}.hea").is_file():
                raise InputError(f"{path.with_name(name)}.hea: no such file; {path.name}.hea names it")
            _require_single(path.with_name(name))
        parts.append(int(length) if name == "~" else tracing(path.with_name(name), raw))
    whole = [part for part in parts if isinstance(part, Tracing)]
    if not whole:
        raise InputError(f"{path}: expected a WFDB record with signals, its header lists none")
    known: dict[tuple[str, int], tuple[str, float]] = {}  # unit and rate, by name and which of that name
    for signals in whole:
        of_each = zip(signals.units, signals.rates, strict=True)
        for key, said in zip(_numbered(signals.names), of_each, strict=True):
            if known.setdefault(key, said) != said:
                was, got = (f"{unit} at {rate:g} Hz" for unit, rate in (known[key], said))
                raise InputError(
                    f"{path}: expected segments of the same signals, {key[0]} is in {was} and in {got}"
                )
    frame = min(rate for _, rate in known.values())  # a frame holds one or more samples of each signal
    values = []
    for key, (_, rate) in known.items():
        blocks = []
        for part in parts:
            if isinstance(part, Tracing) and key in (names := _numbered(part.names)):
                blocks.append(part.values[names.index(key)])
                continue
            frames = part if isinstance(part, int) else round(len(part.values[0]) * frame / part.rates[0])
            blocks.append(np.full(frames * round(rate / frame), np.nan))
        values.append(np.concatenate(blocks))
    units, rates = zip(*known.values(), strict=True)
    return Tracing(tuple(name for name, _ in known), units, rates, values)


def _numbered(names: Sequence[str]) -> list[tuple[str, int]]:
    """Each name with how many of the same stand before it."""
    return [(name, names[:place].count(name)) for place, name in enumerate(names)]
