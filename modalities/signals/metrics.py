"""What eval may measure on ECGs and vitals: rhythm, waves, spectrum and noise; levels, swings and gaps."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from ...core.modality import Record, Task, View
from ...core.profile import PatientProfile
from ...core.types import FloatArray, IntArray
from .channels import CHANNELS, VITALS, Channel, channels_of
from .layout import LEADS
from .leads import Leads, leads_of
from .peaks import BAND, SLOW, filtered, r_peaks
from .pictures import draw_ecgs, draw_vitals
from .time_metrics import ECG_PANELS, LEAST_PAIRS, VITALS_PANELS, common_leads, correlation, spectrum_leads
from .vitals.quantizer import Lattice

if TYPE_CHECKING:
    from pandas import DataFrame

BEFORE, AFTER = int(0.30 * SLOW), int(0.45 * SLOW)  # samples of a beat around its R peak
POWERS = ((0.5, 2), (2, 5), (5, 10), (10, 15), (15, 25), (25, 45))  # Hz
PAIRS = (("I", "II"), ("II", "V6"), ("I", "V1"), *pairwise(LEADS[6:]))
RHYTHM = (
    "beats", "heart rate", "RR spread", "RR change from beat to beat", "RR irregularity", "shortest RR",
    "longest RR",
)  # fmt: skip
HOURS = 24
USUAL = {"HR": 80.0, "O2Sat": 97.0, "Temp": 37.0, "SBP": 120.0, "MAP": 85.0, "DBP": 65.0, "Resp": 16.0}


def ecg_features(records: Sequence[Record]) -> "DataFrame":
    """(record, feature) of (lead, sample) mV at 500 Hz, in the leads that all have; R peaks are detected in each."""
    from pandas import DataFrame

    common = common_leads(records)
    if not common:
        return DataFrame([rhythm_features(np.asarray(r.arrays["ecg"], dtype=np.float64)) for r in records])
    rows = [
        _of_ecg(np.asarray(r.arrays["ecg"], dtype=np.float64)[leads_of(r).places(common.names)], common)
        for r in records
    ]
    return DataFrame(rows).fillna(0.0)


def _of_ecg(ecg: FloatArray, shown: Leads) -> dict[str, float]:
    """All features of one record, by name."""
    from scipy import signal

    leads, names = filtered(ecg), shown.names
    peaks = r_peaks(leads, SLOW)
    out = _rhythm(peaks) | _waves(leads, peaks, shown)
    for name, lead, cuts in zip(names, leads, np.percentile(leads, [5, 95, 99.5], axis=1).T, strict=True):
        out |= {f"{name} {p} % of amplitudes": c for p, c in zip((5, 95, 99.5), cuts, strict=True)}
        rough = lead - np.convolve(lead, np.full(9, 1 / 9), mode="same")
        calm = rough[: len(rough) // 25 * 25].reshape(-1, 25).std(1)  # stretches of 0.1 s
        out[f"{name} noise between beats"] = float(np.log10(np.percentile(calm, 20) + 1e-4))
    for name in spectrum_leads(shown):
        frequency, power = signal.welch(
            leads[names.index(name)], fs=SLOW, nperseg=min(4 * SLOW, leads.shape[1])
        )
        total = power.sum() + 1e-12
        for low, high in POWERS:
            part = power[(frequency >= low) & (frequency < high)].sum()
            out[f"{name} power {low}-{high} Hz"] = float(np.log10(part / total + 1e-6))
    for a, b in _pairs(shown):
        out[f"correlation of {a} and {b}"] = correlation(leads[names.index(a)], leads[names.index(b)], 0.0)
    return out


def _pairs(leads: Leads) -> list[tuple[str, str]]:
    """The leads that are compared: those of PAIRS, else each with the next."""
    found = [pair for pair in PAIRS if set(pair) <= set(leads.names)]
    return found or list(pairwise(leads.names))


def rhythm_features(ecg: FloatArray) -> dict[str, float]:
    """The features of RHYTHM alone, by name, of one (lead, sample) record in mV at 500 Hz."""
    return _rhythm(r_peaks(filtered(ecg), SLOW))


def _rhythm(peaks: IntArray) -> dict[str, float]:
    values = [float(len(peaks)), *[0.0] * (len(RHYTHM) - 1)]
    if len(peaks) > 2:
        rr = np.diff(peaks) / SLOW
        middle = float(np.median(rr))
        jumps = np.abs(np.diff(rr))
        change, irregular = np.sqrt(np.square(jumps).mean()), np.median(jumps) / middle
        values[1:] = [60 / middle, rr.std(), change, irregular, rr.min(), rr.max()]
    return dict(zip(RHYTHM, map(float, values), strict=True))


def _waves(leads: FloatArray, peaks: IntArray, shown: Leads) -> dict[str, float]:
    """P, R, S, ST, T of the median beat of each lead in mV, QRS width, how alike beats are, and the axes if known."""
    inside = peaks[(peaks >= BEFORE) & (peaks < leads.shape[1] - AFTER)]
    beats = leads[:, inside[:, None] + np.arange(-BEFORE, AFTER)]  # (lead, beat, sample)
    if not len(inside):
        beats = np.zeros((len(leads), 1, BEFORE + AFTER))
    beat = np.median(beats, axis=1)

    def span(start: float, end: float) -> FloatArray:
        """Seconds around the R peak, the level before the QRS taken off."""
        return np.asarray(beat[:, BEFORE + int(start * SLOW) : BEFORE + int(end * SLOW)] - level[:, None])

    level = np.zeros(len(leads))
    level = np.median(span(-0.09, -0.06), axis=1)
    out: dict[str, float] = {}
    for wave, values in {
        "P": _extreme(span(-0.24, -0.09)),
        "R": span(-0.08, 0.08).max(1),
        "S": span(-0.08, 0.10).min(1),
        "ST": span(0.08, 0.10).mean(1),
        "T": _extreme(span(0.14, 0.44)),
    }.items():
        out |= {f"{name} {wave} wave": float(v) for name, v in zip(shown.names, values, strict=True)}
    areas = {"QRS": span(-0.06, 0.06).sum(1), "T": span(0.14, 0.44).sum(1)} if shown.has_axis else {}
    for wave, area in areas.items():
        across, down = shown.frontal(area)
        size = np.hypot(across, down) + 1e-9
        out |= {f"{wave} axis, left": float(across / size), f"{wave} axis, down": float(down / size)}
    speed = np.sqrt(np.square(np.gradient(beat, axis=1)).sum(0))[BEFORE - 40 : BEFORE + 40]
    out["QRS width"] = float((speed > 0.2 * speed.max()).sum() / SLOW) if speed.max() > 0 else 0.0
    out["T peak time"] = float(np.abs(span(0.14, 0.44)).max(0).argmax() / SLOW)
    unlike = np.sqrt(np.square(beats - beat[:, None]).mean()) / (np.sqrt(np.square(beat).mean()) + 1e-9)
    out["beat-to-beat difference"] = float(unlike)
    return out


def _extreme(values: FloatArray) -> FloatArray:
    """(lead,) the value farthest from 0."""
    return np.asarray(np.take_along_axis(values, np.abs(values).argmax(1)[:, None], axis=1)[:, 0])


def vitals_features(records: Sequence[Record]) -> "DataFrame":
    """(record, feature) of the first 24 rows of (step, channel); a channel never charted counts as usual."""
    from pandas import DataFrame

    return DataFrame(
        [
            _of_vitals(np.asarray(r.arrays["vitals"], dtype=np.float64)[:HOURS], channels_of(r.facts))
            for r in records
        ]
    )


def _usual(channel: Channel) -> float:
    """What a channel that was never charted counts as: the middle of a lab's range on the scale of its lattice."""
    if channel in VITALS:
        return USUAL[channel.name]
    return float(Lattice.of([channel]).middle[0])


def _of_vitals(table: FloatArray, channels: Sequence[Channel]) -> dict[str, float]:
    seen = np.isfinite(table)
    # hours until nothing at all is charted any more: a short stay ends, it is not "missing"
    hours = int(np.flatnonzero(seen.any(1)).max(initial=0)) + 1
    table, seen = table[:hours], seen[:hours]
    out = {"hours": float(hours)}
    for channel, column, has in zip(channels, table.T, seen.T, strict=True):
        name = channel.name
        values = column[has] if has.any() else np.array([_usual(channel)])
        steps = np.abs(np.diff(values)) if len(values) > 1 else np.zeros(1)
        third = max(1, len(values) // 3)
        alike = correlation(values[:-1], values[1:], 0.0) if len(values) > 3 else 0.0
        out |= {
            f"{name} mean": values.mean(),
            f"{name} spread": values.std(),
            f"{name} lowest": values.min(),
            f"{name} highest": values.max(),
            f"{name} last": values[-1],
            f"{name} missing share": 1 - has.mean(),
            f"{name} change from reading to reading": steps.mean(),
            f"{name} lag-1 autocorrelation": alike,
            f"{name} trend": values[-third:].mean() - values[:third].mean(),
        }
    names = [channel.name for channel in channels]
    for i, a in enumerate(names):
        for j, b in enumerate(names[:i]):
            both = seen[:, i] & seen[:, j]
            enough = both.sum() >= LEAST_PAIRS
            out[f"correlation of {b} and {a}"] = (
                correlation(table[both, i], table[both, j], 0.0) if enough else 0.0
            )
    return {name: float(value) for name, value in out.items()}


def _has(code: str) -> Callable[[PatientProfile, Record], float]:
    """1 where the condition is known present, 0 known absent, NaN unknown."""

    def label(profile: PatientProfile, record: Record) -> float:
        return float(profile.conditions.get(code, np.nan))

    return label


def chart_title(channels: Sequence[Channel] = VITALS, step_hours: float = 1.0) -> str:
    """What a chart is of: `Hourly vital signs`, `Chart of Lactate, Creatinine and 3 more, every 4 hours`."""
    every = f"every {step_hours:g} hours"
    if {channel.name for channel in channels} <= set(CHANNELS):
        return "Hourly vital signs" if step_hours == 1 else f"Vital signs, {every}"
    names = [c.name if c in VITALS else c.label or c.name for c in channels]
    shown = names if len(names) <= 3 else [*names[:2], f"{len(names) - 2} more"]
    said = " and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else shown[0]
    return f"Chart of {said}, {'hourly' if step_hours == 1 else every}"


def views(chart: str) -> list[View]:
    """Two views: the ECG, and the chart under its title."""
    return [
        View(
            name="ecg",
            title="ECG",
            needs="ecg",
            features=ecg_features,
            tasks=(
                Task(
                    "atrial fibrillation", ("no atrial fibrillation", "atrial fibrillation"), _has("I48.91")
                ),
                Task("an abnormal ECG", ("normal", "abnormal"), _has("R94.31")),
                Task("left bundle-branch block", ("none", "left bundle-branch block"), _has("I44.7")),
            ),
            picture=draw_ecgs,
            panels=ECG_PANELS,
            about=f"Each record is filtered to {BAND[0]:g}-{BAND[1]:g} Hz, its R peaks are detected, "
            "and it is described by its rhythm, P, R, S, ST and T of the median beat in each lead, axes (of two "
            "limb leads or more), "
            "amplitudes, power in frequency bands, correlation of leads, and noise between beats.",
            blind=(
                "baseline wander below 0.5 Hz and noise above 45 Hz, since all records are filtered alike",
                "how a cardiologist would read the traces",
            ),
        ),
        View(
            name="vitals",
            title=chart,
            needs="vitals",
            features=vitals_features,
            tasks=(Task("sepsis", ("no sepsis", "sepsis"), _has("A41.9")),),
            picture=draw_vitals,
            panels=VITALS_PANELS,
            about=f"The first {HOURS} hours (or steps of time) are described, for each channel of the chart, by "
            "level, spread, extremes, last reading, missing share, change from reading to reading and "
            "trend, and by how the channels move together. A channel never charted counts as usual.",
            blind=(f"anything after {HOURS} hours", "values that the chart has no channel for"),
        ),
    ]
