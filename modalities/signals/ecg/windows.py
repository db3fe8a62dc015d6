"""Windows: ECGs of a training folder, in the leads asked for, long records cut into several of one length."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import Field, field_validator

from ....core.config import Settings, parse
from ....core.errors import InputError
from ....core.modality import Record, TrainingSet
from ....core.profile import PatientProfile
from ....core.remarks import remark
from ....core.types import Float32Array, FloatArray
from ..export import EcgFile, lead_names, open_ecg
from ..layout import LEADS, RATE
from ..leads import MOST, TWELVE, Leads, in_order, lead_name, noted
from ..peaks import clean, r_peaks

STILL = 2.0  # s without any change: nothing is connected
CLIPPED = 0.1  # s at the record's value that is farthest from its middle: the amplifier was at its end
TRIES = 5  # windows looked at, for each that is wanted
COARSE = 100  # Hz; of less a QRS has few samples


class EcgOptions(Settings):
    """The options of a folder of ECGs.

    `leads` are those to learn, by default those that all files share. `window_seconds` is the length of the windows
    into which longer records are cut; `windows` is how many of a patient are taken at most.
    """

    modality: str = "signals"
    kind: str = "ecg"
    reference: bool = False
    raw_microvolts: bool = False
    leads: tuple[str, ...] | None = None
    window_seconds: float = Field(default=10.0, ge=8, le=60)
    windows: int = Field(default=8, ge=1, le=1000)

    @field_validator("leads")
    @classmethod
    def _named_once(cls, leads: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if leads is None:
            return None
        named = [lead_name(lead) for lead in leads]
        if not 1 <= len(named) <= MOST or len(set(named)) < len(named):
            raise ValueError(f"expected 1 to {MOST} leads, each once, got {', '.join(leads) or 'none'}")
        return leads


def options_of(data: TrainingSet) -> EcgOptions:
    """The folder's options. Raises InputError."""
    given = {name: value for name, value in data.options.items() if name != "constants"}
    return parse(EcgOptions, given, f"{data.source.name}: options")


def leads_of_folder(data: TrainingSet) -> Leads:
    """The leads asked for, else those that all files share. Raises InputError where they share none."""
    options = options_of(data)
    if options.leads is not None:
        return in_order([lead_name(lead) for lead in options.leads])
    found = Counter(name for file in dict.fromkeys(data.records) for name in lead_names(data.root / file))
    shared = [name for name, count in found.items() if count == len(set(data.records))]
    if all(name in shared for name in LEADS):
        return TWELVE
    if not shared:
        have = ", ".join(f"{name} ({count})" for name, count in found.most_common(MOST))
        raise InputError(
            f"{data.root}: no lead is in all {len(set(data.records))} files; name those to learn with "
            f"`options: {{leads: [NAME]}}` and leave out files without them; there are {have or 'none'}"
        )
    leads = in_order(shared[:MOST])
    more = [name for name in found if name not in leads.names]
    if more:
        remark(
            f"{data.source.name}: the leads that all files share are {', '.join(leads.names)}; left out: "
            f"{', '.join(more[:MOST])}"
        )
    return leads


@dataclass(frozen=True)
class _Cut:
    """Windows of a record: (lead, sample) mV at RATE each, and how many of those looked at were left out, and why."""

    traces: list[Float32Array]
    left_out: Counter[str]


def windows(data: TrainingSet) -> Iterator[tuple[PatientProfile, Record]]:
    """Each patient's ECGs, at most as many as the options say, those of long records evenly spread.

    Windows that are flat, clipped or hold invalid samples are left out, which is remarked.
    """
    options, leads = options_of(data), leads_of_folder(data)
    files = Counter(profile.patient_id for profile in data.profiles)
    left_out: Counter[str] = Counter()
    slow: Counter[float] = Counter()
    for name, profile in zip(data.records, data.profiles, strict=True):
        found = open_ecg(data.root / name, options.raw_microvolts, leads)
        slow[found.rate] += found.rate < COARSE
        share = max(1, options.windows // files[profile.patient_id])
        cut = _cut(found, options.window_seconds, share)
        left_out += cut.left_out
        for trace in cut.traces:
            yield profile, _record(trace, leads)
    if left_out:
        reasons = ", ".join(f"{count} {why}" for why, count in left_out.most_common())
        remark(f"{data.source.name}: windows of {options.window_seconds:g} s left out: {reasons}")
    for rate in sorted(rate for rate, count in slow.items() if count):
        remark(
            f"{data.source.name}: {slow[rate]} records of {rate:g} Hz: nothing above {rate / 2:g} Hz can be learnt "
            "from them, so that QRS complexes come out blunt"
        )


def read_ecgs(data: TrainingSet) -> list[Record]:
    """A record a row: of a long one the window in its middle, if that will do."""
    options, leads = options_of(data), leads_of_folder(data)
    out = []
    for name in data.records:
        found = open_ecg(data.root / name, options.raw_microvolts, leads)
        traces = _cut(found, options.window_seconds, 1).traces
        out.append(_record(traces[0] if traces else found.part(0, found.samples), leads))
    return out


def _record(ecg: Float32Array, leads: Leads) -> Record:
    """With R peaks and heart rate."""
    peaks = r_peaks(clean(ecg))
    rate = float(60 * RATE / np.median(np.diff(peaks))) if len(peaks) > 2 else float("nan")
    facts: dict[str, Any] = {
        "heart_rate": round(rate, 1),
        "beats": len(peaks),
        "baseline": {},
        **noted(leads),
    }
    if 20 < rate < 250:
        facts["baseline"] = {"heart_rate": facts["heart_rate"]}
    return Record({"ecg": ecg, "r_peaks": peaks}, facts)


def _cut(found: EcgFile, seconds: float, most: int) -> _Cut:
    """At most so many windows of a record, one of each of as many equal parts; of a short record all of it.

    Raises InputError: a record whose every window holds invalid samples.
    """
    length = round(seconds * found.rate)
    there = found.samples // length
    if there < 2:
        begin = (found.samples - length) // 2 if there else 0
        end = begin + length if there else found.samples
        why = _fault(found, begin, end, of_all=True)
        if why == INVALID:
            raise found.invalid()
        return _Cut([], Counter({why: 1})) if why else _Cut([found.part(begin, end)], Counter())
    traces, left_out = [], Counter[str]()
    for part in np.array_split(np.arange(there), min(most, there)):
        nearest = part[np.argsort(np.abs(part - part[len(part) // 2]), kind="stable")]
        for begin in (nearest[:TRIES] * length).tolist():
            if (why := _fault(found, begin, begin + length)) is None:
                traces.append(found.part(begin, begin + length))
                break
            left_out[why] += 1
    if not traces and set(left_out) == {INVALID}:
        raise found.invalid()
    return _Cut(traces, left_out)


INVALID = "with invalid samples"


def _fault(found: EcgFile, begin: int, end: int, of_all: bool = False) -> str | None:
    """Why these samples will not do; `of_all`: unless all leads are flat or clipped they do."""
    enough = all if of_all else any
    values = found.values[:, begin:end]
    if np.isnan(values).any():
        return INVALID
    still = _longest(np.diff(values, axis=1) == 0)
    if enough(run >= STILL * found.rate for run in still):
        return "that are flat"
    wall = np.max([_longest(values == end) for end in found.ends], axis=0)
    if enough(run >= max(3, CLIPPED * found.rate) for run in wall):
        return "that are clipped"
    return None


def _longest(flags: Any) -> FloatArray:
    """(row,) the longest run of True in each row."""
    padded = np.pad(flags, ((0, 0), (1, 1))).astype(np.int8)
    out = np.zeros(len(flags))
    for k, row in enumerate(np.diff(padded, axis=1)):
        starts, ends = np.flatnonzero(row == 1), np.flatnonzero(row == -1)
        out[k] = (ends - starts).max(initial=0)
    return out
