"""What eval may measure over time on ECGs and vitals: heart-rate variability, spectra, autocorrelation, stays."""

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from ...core.errors import InputError
from ...core.modality import Panel, Record
from ...core.types import FloatArray, IntArray
from .channels import VITALS, Channel, channels_of
from .leads import Leads, in_order, leads_of
from .peaks import SLOW, filtered, r_peaks

if TYPE_CHECKING:
    from pandas import DataFrame

SPECTRUM_LEADS = ("II", "V2", "V5")  # where an ECG has them
EDGES = (0.5, 1, 2, 3, 5, 7, 10, 14, 20, 30, 45)  # Hz
LAGS_SECONDS = (0.04, 0.1, 0.2, 0.3, 0.4)
LAGS_HOURS = (1, 2, 3, 4, 6)
LEAST_BEATS = 5
LEAST_PAIRS = 6  # of readings, for a correlation
HOURS = 24


def common_leads(records: Sequence[Record]) -> Leads:
    """The leads that all of these records have."""
    every = [leads_of(record).names for record in records]
    return in_order([name for name in every[0] if all(name in names for names in every)])


def spectrum_leads(leads: Leads) -> list[str]:
    """Three leads whose spectrum and autocorrelation are measured: SPECTRUM_LEADS, or the first ones."""
    return [name for name in SPECTRUM_LEADS if name in leads.names] or list(leads.names[:3])


def heart_rate_variability(peaks: IntArray, rate: float) -> dict[str, float]:
    """SDNN, RMSSD, SDSD in ms and pNN50 in % of R peaks at `rate` Hz; NaN of fewer than 5 beats.

    Definitions: Task Force of the ESC and NASPE, Circulation 93:1043, 1996. Ten seconds give ultra-short
    figures: they compare records of one length, not a patient with tables.
    """
    names = ("SDNN", "RMSSD", "SDSD", "pNN50")
    if len(peaks) < LEAST_BEATS:
        return dict.fromkeys(names, float("nan"))
    rr = 1000 * np.diff(peaks) / rate
    steps = np.diff(rr)
    changed = 100 * np.sum(np.abs(steps) > 50) / len(rr)
    values = (rr.std(ddof=1), np.sqrt(np.square(steps).mean()), steps.std(ddof=1), changed)
    return dict(zip(names, map(float, values), strict=True))


def variability(records: Sequence[Record]) -> "DataFrame":
    """(record, figure) of R peaks detected in each."""
    from pandas import DataFrame

    leads = (filtered(np.asarray(r.arrays["ecg"], dtype=np.float64)) for r in records)
    return DataFrame([heart_rate_variability(r_peaks(ecg, SLOW), SLOW) for ecg in leads])


def spectra(records: Sequence[Record]) -> "DataFrame":
    """(record, band) log10 of the share of power in ten bands of three leads, or of those there are."""
    from pandas import DataFrame
    from scipy import signal

    chosen = spectrum_leads(common_leads(records))
    rows = []
    for record in records:
        places = leads_of(record).places(chosen)
        leads = filtered(np.asarray(record.arrays["ecg"], dtype=np.float64)[places])
        frequency, power = signal.welch(leads, fs=SLOW, nperseg=min(4 * SLOW, leads.shape[1]))
        bands = np.digitize(frequency, EDGES)
        shares = np.stack([power[:, bands == b].sum(1) for b in range(1, len(EDGES))], axis=1)
        rows.append(np.log10(shares / (shares.sum(1, keepdims=True) + 1e-12) + 1e-6).ravel())
    names = [f"{lead} {low:g}-{high:g} Hz" for lead in chosen for low, high in pairwise(EDGES)]
    return DataFrame(np.stack(rows), columns=names)


def ecg_autocorrelation(records: Sequence[Record]) -> "DataFrame":
    """(record, lag) of three leads, in seconds, and one beat, the record's own median, later."""
    from pandas import DataFrame

    rows, chosen = [], spectrum_leads(common_leads(records))
    for record in records:
        leads = filtered(np.asarray(record.arrays["ecg"], dtype=np.float64))
        peaks = r_peaks(leads, SLOW)
        beat = int(np.median(np.diff(peaks))) if len(peaks) > 1 else 0
        row = {}
        for name, place in zip(chosen, leads_of(record).places(chosen), strict=True):
            lead = leads[place]
            for lag in LAGS_SECONDS:
                row[f"{name} {lag:g} s"] = autocorrelation(lead, round(lag * SLOW))
            row[f"{name} one beat"] = autocorrelation(lead, beat) if beat else float("nan")
        rows.append(row)
    return DataFrame(rows)


def vitals_autocorrelation(records: Sequence[Record]) -> "DataFrame":
    """(record, channel and lag) correlation of the readings of a stay with those some hours before."""
    from pandas import DataFrame

    return DataFrame(
        [
            {
                f"{channel.name} {lag} h": autocorrelation(column, lag)
                for channel, column in zip(
                    channels_of(record.facts),
                    np.asarray(record.arrays["vitals"], dtype=np.float64)[:HOURS].T,
                    strict=True,
                )
                for lag in LAGS_HOURS
            }
            for record in records
        ]
    )


def channels_of_all(records: Sequence[Record]) -> tuple[Channel, ...]:
    """The channels of these records, which are one data set's. Raises InputError where they differ."""
    found = {channels_of(record.facts) for record in records} or {VITALS}
    if len(found) > 1:
        names = sorted({channel.name for channels in found for channel in channels})
        raise InputError(
            f"the charts have different channels, which cannot be held together: {', '.join(names)}"
        )
    return found.pop()


def autocorrelation(series: FloatArray, lag: int) -> float:
    """Pearson correlation of a series with itself `lag` places before, where both are known; NaN of too few."""
    before, after = series[:-lag], series[lag:]
    both = np.isfinite(before) & np.isfinite(after)
    return correlation(before[both], after[both]) if both.sum() >= LEAST_PAIRS else float("nan")


def correlation(a: FloatArray, b: FloatArray, otherwise: float = float("nan")) -> float:
    """Pearson correlation; `otherwise` if either is constant."""
    x, y = a - a.mean(), b - b.mean()
    norm = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / norm if norm > 1e-12 else otherwise


def stacked(records: Sequence[Record], hours: int) -> FloatArray:
    """(record, hour, channel) vitals of the first hours; NaN where nothing was charted."""
    stays = np.full((len(records), hours, len(channels_of_all(records))), np.nan)
    for stay, record in zip(stays, records, strict=True):
        table = record.arrays["vitals"][:hours]
        stay[: len(table)] = table
    return stays


def hourly_readings(records: Sequence[Record]) -> "DataFrame":
    """(record, `channel@hour`) of the first 24 hours, hour by hour; NaN where nothing was charted."""
    from pandas import DataFrame

    named = [channel.name for channel in channels_of_all(records)]
    names = [f"{channel}@{hour}" for hour in range(HOURS) for channel in named]
    return DataFrame(stacked(records, HOURS).reshape(len(records), -1), columns=names)


def length_of_stay(records: Sequence[Record]) -> "DataFrame":
    """(record, 2): hours until nothing is charted any more, and 1 where that is before the window ends."""
    from pandas import DataFrame

    seen = np.isfinite(stacked(records, HOURS)).any(2)
    hours = np.where(seen, np.arange(1, HOURS + 1), 0).max(1).astype(float)
    return DataFrame({"hours": hours, "ended": (hours < HOURS).astype(float)})


ECG_PANELS = (
    Panel("variability", "heart-rate variability", "numbers", variability, "SDNN, RMSSD, SDSD and pNN50."),
    Panel("spectrum", "spectrum", "numbers", spectra, "Share of power in ten bands of three leads."),
    Panel(
        "autocorrelation", "autocorrelation", "numbers", ecg_autocorrelation,
        "Of three leads, to 0.4 s and one beat later.",
    ),
)  # fmt: skip
VITALS_PANELS = (
    Panel(
        "autocorrelation", "autocorrelation", "numbers", vitals_autocorrelation,
        "Of each channel, 1 to 6 hours later.",
    ),
    Panel(
        "stay", "hours charted of the first day", "event", length_of_stay,
        "The end of the day is where nobody watches any longer.",
    ),
    Panel(
        "series", "hourly readings of the first day", "series", hourly_readings,
        "Gaps are filled with the mean of the stay.",
    ),
)  # fmt: skip
