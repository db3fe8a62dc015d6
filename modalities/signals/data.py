"""Real ECGs and vitals as model arrays: filtered leads with R peaks, hourly tables on a fixed grid."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import signal as dsp

from ...core.errors import InputError
from ...core.modality import Record, TrainingSet
from ...core.types import Float32Array, FloatArray, IntArray
from .export import read_ecg
from .layout import CHANNELS, RATE

MODEL_RATE = 250  # Hz, of the generator
FREE = (0, 1, 6, 7, 8, 9, 10, 11)  # leads that are not combinations of I and II
PLAUSIBLE = {
    "HR": (20, 250), "O2Sat": (40, 100), "Temp": (30, 43), "SBP": (40, 260),
    "MAP": (25, 200), "DBP": (15, 180), "Resp": (3, 70),
}  # fmt: skip

VITAL_FIELDS = {
    "heart_rate": "HR", "systolic": "SBP", "diastolic": "DBP", "respiration": "Resp",
    "oxygen_saturation": "O2Sat", "temperature": "Temp",
}  # fmt: skip


def twelve(free: FloatArray) -> Float32Array:
    """(8, sample) leads I, II, V1..V6 in mV to all twelve; Einthoven's law holds exactly in microvolts.

    I and II are rounded to 2 microvolts, so that aVR = -(I + II) / 2 and its sisters are whole microvolts too.
    """
    limb = 2 * np.rint(free[:2] * 500)
    chest = np.rint(free[2:] * 1000)
    i, ii = limb
    leads = np.stack([i, ii, ii - i, -(i + ii) / 2, i - ii / 2, ii - i / 2])
    microvolts = np.clip(np.concatenate([leads, chest]), -32000, 32000)
    return (microvolts / 1000).astype(np.float32)


def r_peaks(ecg: NDArray[np.floating], rate: int = RATE) -> IntArray:
    """Sample numbers of the QRS complexes of a (lead, sample) record.

    Energy of the 5 to 20 Hz band over all leads, a moving window of 100 ms, an adaptive threshold with
    search back, after Pan and Tompkins (1985); the peak is where that energy is greatest.
    """
    band = dsp.butter(2, (5, 20), btype="bandpass", fs=rate, output="sos")
    energy = np.square(dsp.sosfiltfilt(band, ecg, axis=1)).sum(0)
    width = max(1, int(0.1 * rate))
    smooth = np.convolve(energy, np.ones(width) / width, mode="same")
    blocks = smooth[: len(smooth) // rate * rate].reshape(-1, rate).max(1)
    level = np.median(blocks) if len(blocks) else smooth.max()
    if level <= 0:
        return np.zeros(0, dtype=np.int64)
    spots, _ = dsp.find_peaks(smooth, height=0.15 * level, distance=int(0.25 * rate))
    if len(spots) > 2:  # a T wave that passed: close behind a much stronger beat
        keep = [True] * len(spots)
        for k in range(1, len(spots)):
            near = spots[k] - spots[k - 1] < 0.4 * rate
            keep[k] = not (near and keep[k - 1] and smooth[spots[k]] < 0.4 * smooth[spots[k - 1]])
        spots = spots[np.array(keep)]
    half = width // 2
    refined = [max(0, s - half) + int(np.argmax(energy[max(0, s - half) : s + half + 1])) for s in spots]
    return np.array(sorted(set(refined)), dtype=np.int64)


@dataclass(frozen=True)
class Beats:
    """A record ready for the ECG model: (8, sample) mV at 250 Hz, and its R peaks in those samples."""

    leads: Float32Array
    peaks: IntArray

    @property
    def heart_rate(self) -> float:
        """Per minute, from the median interval."""
        return float(60 * MODEL_RATE / np.median(np.diff(self.peaks)))


def clean(ecg: NDArray[np.floating]) -> FloatArray:
    """(lead, sample) at 500 Hz without baseline wander (0.5 Hz) and mains hum (50 Hz)."""
    high = dsp.butter(2, 0.5, btype="highpass", fs=RATE, output="sos")
    notch_b, notch_a = dsp.iirnotch(50, 30, fs=RATE)
    filtered = dsp.filtfilt(notch_b, notch_a, dsp.sosfiltfilt(high, ecg, axis=1), axis=1)
    return np.asarray(filtered, dtype=np.float64)


def read_ecgs(data: TrainingSet) -> list[Record]:
    """Real ECGs of a training folder as records: 12 leads at 500 Hz, with R peaks and heart rate."""
    raw = bool(data.options.get("raw_microvolts", False))
    out = []
    for name in data.records:
        ecg = read_ecg(data.root / name, raw)
        peaks = r_peaks(clean(ecg))
        rate = float(60 * RATE / np.median(np.diff(peaks))) if len(peaks) > 2 else float("nan")
        facts: dict[str, Any] = {"heart_rate": round(rate, 1), "beats": len(peaks), "baseline": {}}
        if 20 < rate < 250:
            facts["baseline"] = {"heart_rate": facts["heart_rate"]}
        out.append(Record({"ecg": ecg, "r_peaks": peaks}, facts))
    return out


def beats(record: Record) -> Beats:
    """A 12-lead record as the model sees it."""
    filtered = clean(record.arrays["ecg"][list(FREE)])
    slow = dsp.resample_poly(filtered, 1, RATE // MODEL_RATE, axis=1)
    return Beats(slow.astype(np.float32), record.arrays["r_peaks"] // (RATE // MODEL_RATE))


def read_vitals(data: TrainingSet, hours: int) -> list[Record]:
    """First `hours` of each stay: (hour, channel) float32, NaN where not charted or not plausible.

    Options: `series`, the parquet file of hourly rows; `key` and `hour`, its columns; `onset`, a column that
    turns from 0 to 1 `lead` hours before the onset of sepsis. Stays that are shorter keep NaN at the end.
    Facts: hours in the window, baseline (medians by field), and sepsis_onset, hours from the stay's first.
    """
    import pandas as pd

    path = data.root / str(data.options.get("series", "series.parquet"))
    key, hour = str(data.options.get("key", "patient_id")), str(data.options.get("hour", "hour"))
    onset = data.options.get("onset")
    if not path.exists():
        raise InputError(f"{path}: no such file; expected the hourly series")
    table = pd.read_parquet(path)
    needed = (key, hour, *CHANNELS, *([str(onset)] if onset else []))
    if missing := [c for c in needed if c not in table.columns]:
        raise InputError(f"{path}: no column {missing[0]!r}; the table has: {', '.join(table.columns[:12])}")
    place = {patient: i for i, patient in enumerate(data.records)}
    row = table[key].astype(str).map(place)
    first = table.groupby(key)[hour].transform("min")
    since = (table[hour] - first).to_numpy()
    inside = (row.notna() & (since < hours)).to_numpy()
    grid = np.full((len(data), hours, len(CHANNELS)), np.nan, dtype=np.float32)
    values = table.loc[inside, list(CHANNELS)].to_numpy(np.float32)
    for c, channel in enumerate(CHANNELS):
        low, high = PLAUSIBLE[channel]
        values[(values[:, c] < low) | (values[:, c] > high), c] = np.nan
    grid[row[inside].to_numpy(np.int64), since[inside].astype(np.int64)] = values
    length = np.bincount(row[inside].to_numpy(np.int64), minlength=len(data))
    starts: dict[int, float] = {}
    if onset:
        on = (row.notna() & (table[str(onset)] > 0)).to_numpy()
        begun = np.full(len(data), np.inf)
        np.minimum.at(begun, row[on].to_numpy(np.int64), since[on])
        # a label that is on from the first row began before it: nobody knows when
        known = np.flatnonzero(np.isfinite(begun) & (begun > 0))
        starts = {int(i): float(begun[i] + data.options.get("lead", 0)) for i in known}
    return [
        Record(
            {"vitals": grid[i]},
            {
                "hours": int(length[i]),
                "baseline": baselines(grid[i]),
                **({"sepsis_onset": starts[i]} if i in starts else {}),
            },
        )
        for i in range(len(data))
    ]


def baselines(grid: Float32Array) -> dict[str, float]:
    """Medians of a stay's charted readings by profile field; a vital never charted is left out."""
    out = {}
    for field, channel in VITAL_FIELDS.items():
        readings = grid[:, CHANNELS.index(channel)]
        readings = readings[np.isfinite(readings)]
        if len(readings):
            out[field] = float(np.median(readings))
    return out
