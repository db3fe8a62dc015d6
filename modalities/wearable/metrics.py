"""Measures of wearables: breaches of physiologic bounds, agreement of heart rates, persistence from day to day."""

from collections.abc import Iterator

import numpy as np

from ...core.modality import Record
from ...core.types import AnyArray, FloatArray
from .channels import BEATS, CHANNELS

RULES = {
    "bounds": "Every value lies within the physiologic bounds of its channel.",
    "intervals": "Beats come one after the other, at least 0.2 s apart.",
    "asleep": "Nobody makes more than twenty steps in a minute of sleep.",
    "heart-rates": "The heart rate of a minute is that of its beats.",
    "hba1c": "HbA1c is 6.5 % or more only with diabetes, and within 30 % of the ADAG line of the mean glucose.",
}
SHORTEST = 200  # ms
NEAR = 1.0  # /min


def breaches(record: Record) -> Iterator[tuple[str, str]]:
    """(name of the rule, what breaks it)."""
    for key, array in record.arrays.items():
        device, _, name = key.partition("/")
        if name in CHANNELS:
            channel, values = CHANNELS[name], array[np.isfinite(array)]
            if len(values) and (values.min() < channel.low or values.max() > channel.high):
                yield "bounds", f"{key}: {values.min():g} to {values.max():g} {channel.unit}"
        elif name == BEATS:
            gaps = np.diff(array.astype(np.int64))
            if len(gaps) and gaps.min() < SHORTEST:
                yield "intervals", f"{key}: {gaps.min()} ms"
            mean = record.arrays.get(f"{device}/heart_rate_mean")
            if (
                mean is not None
                and (far := float(np.nanmax(np.abs(mean - rate_of_beats(array, len(mean)))))) > NEAR
            ):
                yield "heart-rates", f"{device}: {far:.1f} /min apart"
        if name == "sleep_stage" and f"{device}/steps" in record.arrays:
            steps = record.arrays[f"{device}/steps"]
            if (
                len(steps) == len(array)
                and (most := float(np.nanmax(np.where(array > 0, steps, 0), initial=0))) > 20
            ):
                yield "asleep", f"{device}: {most:g} steps"
    yield from _hba1c(record)


def _hba1c(record: Record) -> Iterator[tuple[str, str]]:
    value, mean = record.facts.get("hba1c"), record.facts.get("mean_glucose")
    if value is None:
        return
    if value >= 6.5 and not record.facts.get("diabetes"):
        yield "hba1c", f"{value} % without diabetes"
    if mean is not None and abs(value / ((mean + 46.7) / 28.7) - 1) > 0.3:
        yield "hba1c", f"{value} % at a mean of {mean} mg/dL"


def rate_of_beats(beats: AnyArray, minutes: int) -> FloatArray:
    """(minute,) beats a minute, with fractions, of (beat,) times in ms."""
    edges = 60_000.0 * np.arange(minutes + 1)
    count = np.interp(edges, beats, np.arange(len(beats)), left=np.nan, right=np.nan)
    return np.diff(count)


def persistence(values: FloatArray) -> float:
    """Correlation of a day's value with the next day's, about each patient's own mean; values are (patient, day)."""
    own = values - values.mean(axis=1, keepdims=True)
    return float((own[:, 1:] * own[:, :-1]).mean() / (own**2).mean())
