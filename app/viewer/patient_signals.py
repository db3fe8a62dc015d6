"""Signals: WFDB records of a patient as the page shows them: ECGs with beats and intervals, series of any channels."""

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...core.config import read_json
from ...core.errors import InputError, first_line
from . import patient_tables
from .patient_files import DAMAGED, TABLE, NotThere

if TYPE_CHECKING:
    from .patient_files import PatientFiles

VOLTS = {"mv": 1.0, "uv": 1e-3, "v": 1e3}  # millivolts in one
SLOWEST = 50.0  # Hz: signals in volts below it are no ECG
BEATS = "NLRBAaJSVrFejnE/fQ?"
RHYTHMS = {"(N": "sinus", "(AFIB": "atrial fibrillation", "(AFL": "atrial flutter"}
LONGEST = 3600.0  # s of an ECG that one answer holds
PR_MOST, QT_MOST = 0.4, 0.7  # s: a wave farther off belongs to another beat


def about(files: "PatientFiles", n: int) -> dict[str, Any]:
    """A record's head: kind (`ecg` or `series`), rate (Hz), channels with units, when it begins. Raises InputError."""
    name = files.named(files.signals, n, "record")
    if name.endswith(TABLE):
        found = patient_tables.about(files, name, n)
        if found is None:
            raise NotThere(f"{name}: has no times, or no numbers")
        return found
    head = _header(files, name)
    units = [str(unit) for unit in head.units]
    is_ecg = float(head.fs) >= SLOWEST and all(unit.lower() in VOLTS for unit in units)
    notes = _notes(head.comments)
    labels = {str(c.get("name", "")): str(c.get("label") or "") for c in notes.get("channels") or ()}
    begins = head.base_datetime
    own = name.split("/")[0]
    label, last = own.partition("-")[2] if "-" in own else "", name.rpartition("/")[2]
    return {
        "kind": "ecg" if is_ecg else "series",
        "key": f"signal-{n}",
        "n": n,
        "name": last,
        "instance": label,
        "label": _title(last, is_ecg, len(units)) + (f" ({label})" if label else ""),
        "rate": float(head.fs),
        "samples": int(head.sig_len),
        "seconds": int(head.sig_len) / float(head.fs),
        "even": True,
        "time": begins.isoformat() + "Z" if begins else "",
        "study": str(notes.get("study_uid") or ""),
        "channels": [
            {"name": str(c), "unit": "" if u in ("1", "NU") else u, "label": labels.get(str(c).replace("_", " "), "")}
            for c, u in zip(head.sig_name, units, strict=True)
        ],
        "file": f"{name}.hea",
    }  # fmt: skip


def ecg(files: "PatientFiles", n: int) -> dict[str, Any]:
    """An ECG's head with its marks: beats and waves as [sample, symbol], rhythms, measured intervals."""
    found = about(files, n)
    if found["kind"] != "ecg":
        raise InputError(f"{found['file']}: is no ECG, but a series; ask for vitals/{n}")
    name = files.signals[n]
    marks, waves = _marks(files, name, "atr"), _marks(files, name, "waves")
    beats = [[at, symbol] for at, symbol, _ in marks if symbol in BEATS]
    found |= {
        "leads": [channel["name"] for channel in found["channels"]],
        "unit": "mV",
        "beats": beats,
        "waves": [[at, symbol] for at, symbol, _ in waves],
        "rhythms": [[at, RHYTHMS.get(text, text.lstrip("("))] for at, symbol, text in marks if symbol == "+"],
        "quality": [[at, text] for at, symbol, text in marks if symbol == "~"],
    }
    axis = _axis(files, n, found["leads"], found["waves"])
    return found | {"intervals": intervals(found["rate"], beats, found["waves"]) | axis}


def samples(files: "PatientFiles", n: int, start: float = 0.0, seconds: float | None = None) -> bytes:
    """(channel, sample) float32, little-endian, in each channel's unit, an ECG in mV; NaN where invalid.

    From `start` s on, for so many seconds, an hour of an ECG at most. Raises InputError.
    """
    return _values(files, n, start, seconds).astype("<f4").tobytes()


def listed(files: "PatientFiles", broken: list[str]) -> list[dict[str, Any]]:
    """Heads of all records that can be drawn; tables without times are left out, damaged files told in `broken`."""
    found = []
    for n in range(len(files.signals)):
        try:
            found.append(about(files, n))
        except NotThere:
            continue
        except InputError as error:
            broken.append(first_line(error))
    return found


def times(files: "PatientFiles", n: int) -> bytes:
    """(sample,) float64, little-endian: seconds since 1970, UTC, of a series that is not even."""
    found = about(files, n)
    if found["even"]:
        raise InputError(f"{found['file']}: is even; its samples are {1 / found['rate']:g} s apart")
    return patient_tables.times(files, found["file"]).astype("<f8").tobytes()


def _values(
    files: "PatientFiles", n: int, start: float = 0.0, seconds: float | None = None
) -> NDArray[np.float64]:
    import wfdb

    found = about(files, n)
    if not found["even"]:
        return patient_tables.values(files, found["file"])
    is_ecg = found["kind"] == "ecg"
    seconds = min(seconds or LONGEST, LONGEST) if is_ecg else found["samples"] / found["rate"]
    first = min(max(0, round(start * found["rate"])), found["samples"])
    last = min(found["samples"], first + max(0, round(seconds * found["rate"])))
    shape = len(found["channels"]), last - first
    if last <= first:
        return np.zeros((shape[0], 0))
    path = files.cohort.path(found["file"]).with_suffix("")
    try:
        record = wfdb.rdrecord(str(path), sampfrom=first, sampto=last)
        values = np.asarray(record.p_signal, dtype=np.float64).T
    except DAMAGED as error:
        raise InputError(f"{found['file']}: cannot be read ({first_line(error)}); copy it again") from None
    if values.shape != shape:
        raise InputError(f"{found['file']}: expected {shape} samples, got {values.shape}; copy it again")
    if is_ecg:
        values *= np.array([VOLTS[channel["unit"].lower()] for channel in found["channels"]])[:, None]
    return values


def intervals(rate: float, beats: Sequence[Sequence[Any]], waves: Sequence[Sequence[Any]]) -> dict[str, Any]:
    """Medians over the beats, in ms, of RR and of the marked PR, QRS and QT; QTc by Bazett and by Fridericia.

    `rate` in Hz; marks as [sample, symbol], waves as onset `(`, peak (p, N, t), end `)`. What is not marked is None.
    """
    places = [at for at, _ in beats]
    found: dict[str, list[float]] = {
        "rr": [b - a for a, b in pairwise(places)],
        "pr": [],
        "qrs": [],
        "qt": [],
    }
    triples = list(_triples(waves))
    for place, (kind, onset, _, end) in enumerate(triples):
        if kind != "N":
            continue
        found["qrs"].append(end - onset)
        before = triples[place - 1] if place else None
        if before and before[0] == "p" and 0 <= onset - before[1] <= PR_MOST * rate:
            found["pr"].append(onset - before[1])
        after = triples[place + 1] if place + 1 < len(triples) else None
        if after and after[0] == "t" and after[3] - onset <= QT_MOST * rate:
            found["qt"].append(after[3] - onset)
    out: dict[str, Any] = {name: _median_ms(values, rate) for name, values in found.items()}
    out["counted"] = {name: len(values) for name, values in found.items()}
    rr, qt = out["rr"], out["qt"]
    out["rate"] = round(60_000 / rr, 1) if rr else None
    out["qtc_bazett"] = round(qt / (rr / 1000) ** 0.5) if rr and qt else None
    out["qtc_fridericia"] = round(qt / (rr / 1000) ** (1 / 3)) if rr and qt else None
    return out


def _median_ms(steps: Sequence[float], rate: float) -> float | None:
    return round(float(np.median(steps)) * 1000 / rate, 1) if len(steps) else None


def _triples(waves: Sequence[Sequence[Any]]) -> list[tuple[str, int, int, int]]:
    """(kind, onset, peak, end) of each wave that has all three marks."""
    out = []
    for (a, left), (b, kind), (c, right) in zip(waves, waves[1:], waves[2:], strict=False):
        if left == "(" and right == ")" and kind in "pNt":
            out.append((str(kind), int(a), int(b), int(c)))
    return out


def _axis(files: "PatientFiles", n: int, leads: Sequence[str], waves: Sequence[Any]) -> dict[str, Any]:
    """The QRS axis in degrees, of the net areas of leads I and aVF; None without them or without marks."""
    complexes = [(onset, end) for kind, onset, _, end in _triples(waves) if kind == "N"]
    if not complexes or "I" not in leads or "aVF" not in leads:
        return {"axis": None}
    values = _values(files, n, 0.0, 60.0)
    lead_i, avf = values[leads.index("I")], values[leads.index("aVF")]
    area = [0.0, 0.0]
    for onset, end in complexes:
        if end < values.shape[1] and end > onset:
            for k, lead in enumerate((lead_i, avf)):
                area[k] += float(np.sum(lead[onset:end] - (lead[onset] + lead[end]) / 2))
    if not any(area) or not np.isfinite(area).all():
        return {"axis": None}
    return {"axis": round(float(np.degrees(np.arctan2(2 / 3**0.5 * area[1], area[0]))))}


def _header(files: "PatientFiles", name: str) -> Any:
    import wfdb

    path = files.cohort.path(f"{name}.hea")
    try:
        head = wfdb.rdheader(str(path.with_suffix("")))
    except DAMAGED as error:
        raise InputError(
            f"{name}.hea: cannot be read as a WFDB header ({first_line(error)}); copy it again"
        ) from None
    folder = name.rpartition("/")[0]
    for file in {str(file) for file in head.file_name or ()}:
        files.cohort.path(f"{folder}/{file}")  # a header may name any file: only those of the cohort are read
    if not head.n_sig or not head.sig_len or len(set(head.samps_per_frame or [1])) > 1:
        raise InputError(f"{name}.hea: expected signals of one rate, with their number of samples")
    return head


def _marks(files: "PatientFiles", name: str, extension: str) -> list[tuple[int, str, str]]:
    """(sample, symbol, text) of an annotation file; none where there is no such file."""
    import wfdb

    if f"{name}.{extension}" not in files.names:
        return []
    path = files.cohort.path(f"{name}.{extension}")
    try:
        found = wfdb.rdann(str(path.with_suffix("")), extension)
    except DAMAGED as error:
        raise InputError(f"{name}.{extension}: cannot be read ({first_line(error)}); copy it again") from None
    texts = [str(text).rstrip("\x00") for text in found.aux_note or [""] * len(found.sample)]
    return [(int(at), str(s), text) for at, s, text in zip(found.sample, found.symbol, texts, strict=True)]


def _notes(comments: Sequence[str]) -> dict[str, Any]:
    """Header comments `name: value` whose value is JSON."""
    found = {}
    for line in comments:
        name, colon, value = line.partition(": ")
        if colon and re.match(r'[\[{"\d]', value):
            try:
                found[name] = read_json(value)
            except ValueError:
                continue
    return found


def _title(name: str, is_ecg: bool, signals: int) -> str:
    if is_ecg:
        return f"{signals}-lead ECG" + (", without the recording's noise" if name.endswith("_clean") else "")
    known = {"vitals": "Vital signs", "bedside": "Bedside monitor"}
    return known.get(name, name.replace("_", " ").capitalize())
