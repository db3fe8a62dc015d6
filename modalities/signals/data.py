"""Real ECGs and vitals as model arrays: filtered leads with R peaks, hourly tables on a fixed grid."""

from typing import Any

import numpy as np

from ...core.errors import InputError
from ...core.modality import Record, TrainingSet
from ...core.types import Float32Array
from .export import read_ecg
from .layout import CHANNELS, PLAUSIBLE, RATE, VITAL_FIELDS
from .peaks import clean, r_peaks


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
