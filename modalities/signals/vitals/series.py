"""Hourly series of a training folder on a grid: ids joined, hours placed by time, rows of one hour averaged."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import Field

from ....core.config import Settings, parse
from ....core.errors import InputError
from ....core.ids import id_text, match_ids
from ....core.remarks import remark
from ....core.tables import numbers, read_table
from ....core.types import Float32Array, FloatArray, IntArray
from ..layout import CHANNELS, PLAUSIBLE

# Readings in another unit: how to get to ours, where that makes nearly all of them plausible.
OTHER_UNITS = {"Temp": ("degrees Fahrenheit", 5 / 9, -160 / 9), "O2Sat": ("a fraction of 1", 100.0, 0.0)}


class ChannelColumn(Settings):
    """Where a channel stands in the table, and how its numbers become the channel's unit: scale * x + offset."""

    column: str
    scale: float = 1.0
    offset: float = 0.0


class SeriesOptions(Settings):
    """What a training folder says of its hourly table.

    `key` and `hour` are columns: the stay's id, and its time in hours (any zero, halves allowed) or as a date and
    time. `onset` turns from 0 to 1 `lead` hours ahead of sepsis. `columns` is for channels under other names or units.
    """

    series: str = "series.parquet"
    key: str = "patient_id"
    hour: str = "hour"
    onset: str | None = None
    lead: float = 0
    columns: dict[str, ChannelColumn] = Field(default_factory=dict)


@dataclass(frozen=True)
class Series:
    """(stay, hour, channel) readings, NaN where none; hours of each stay in the window; hour of onset, inf if none."""

    grid: Float32Array
    hours: IntArray
    onset: FloatArray


def read_series(root: Path, stays: Sequence[str], options: Mapping[str, Any], hours: int) -> Series:
    """The first `hours` of each stay, by time: an hour without a row is missing, rows of one hour are averaged.

    Readings outside of PLAUSIBLE are taken for errors. What is dropped or merged is remarked. Raises InputError:
    no such file or column, no stay of the table in the series, times that are none.
    """
    known = {name: options[name] for name in SeriesOptions.model_fields if name in options}
    settings = parse(SeriesOptions, known, f"{root / 'dataset.yaml'}: options")
    path = root / settings.series
    table = read_table(path)
    for channel in settings.columns:
        if channel not in CHANNELS:
            raise InputError(
                f"{path}: columns: unknown channel {channel!r}; expected some of {', '.join(CHANNELS)}"
            )
    columns = [settings.columns.get(channel, ChannelColumn(column=channel)) for channel in CHANNELS]
    needed = (settings.key, settings.hour, *(c.column for c in columns), *filter(None, [settings.onset]))
    if missing := [column for column in needed if column not in table.columns]:
        have = ", ".join(map(str, table.columns[:12]))
        raise InputError(f"{path}: no column {missing[0]!r}; the table has: {have}")
    row = _rows(table[settings.key], stays, path)
    time = _hours(table[settings.hour], settings.hour, path)
    if (lost := (row >= 0) & np.isnan(time)).any():
        remark(f"{path}: {lost.sum()} rows without a time in {settings.hour} are left out")
    row = np.where(np.isnan(time), -1, row)
    kept = row >= 0
    first = np.full(len(stays), np.inf)
    np.minimum.at(first, row[kept], time[kept])
    since = np.where(kept, time - first[row], -1.0)
    inside = kept & (since < hours)
    cell = row[inside] * hours + since[inside].astype(np.int64)
    if (double := len(cell) - len(np.unique(cell))) > 0:
        remark(
            f"{path}: {double} rows share their hour with another of the stay; readings of one hour are averaged"
        )
    seen, cells = table[inside], len(stays) * hours
    channels = [
        _averaged(_readings(seen[column.column], column, channel, path), cell, cells)
        for column, channel in zip(columns, CHANNELS, strict=True)
    ]
    grid = np.stack(channels, axis=-1).reshape(len(stays), hours, len(CHANNELS))
    length = np.zeros(len(stays), dtype=np.int64)
    np.maximum.at(length, row[inside], since[inside].astype(np.int64) + 1)
    onset = np.full(len(stays), np.inf)
    if settings.onset:
        on = kept & (numbers(table[settings.onset], settings.onset, str(path)) > 0)
        np.minimum.at(onset, row[on], np.floor(since[on]))
        # a label that is on from the first row began before it: nobody knows when
        onset = np.where(onset > 0, onset + settings.lead, np.inf)
    return Series(grid, length, onset)


def _rows(key: "pd.Series[Any]", stays: Sequence[str], path: Path) -> IntArray:
    """The place in `stays` of each row; -1 for a row of another stay. Raises InputError."""
    ids = key.astype(object).map({value: id_text(value) for value in key.unique()}).fillna("")
    there = [name for name in ids.unique() if name]
    joined = match_ids(stays, there, f"{path} and the table of stays")
    if not joined:
        raise InputError(
            f"{path}: none of the {len(stays)} stays of the table is there: its ids are like "
            f"{there[0] if there else ''!r}, the table's like {stays[0]!r}; write them the same way"
        )
    if lacking := [name for name in stays if name not in joined]:
        remark(
            f"{path}: {len(lacking)} of {len(stays)} stays have no rows (as {lacking[0]!r}): nothing charted"
        )
    place = {joined[name]: i for i, name in enumerate(stays) if name in joined}
    return np.asarray(ids.map(place).fillna(-1), dtype=np.int64)


def _hours(column: "pd.Series[Any]", name: str, path: Path) -> FloatArray:
    """Hours since some zero, NaN where there is none: of numbers, spans, dates with times, or text of these."""
    if pd.api.types.is_timedelta64_dtype(column):
        return column.dt.total_seconds().to_numpy(np.float64) / 3600
    if not pd.api.types.is_datetime64_any_dtype(column):
        if pd.api.types.is_numeric_dtype(column):
            return column.to_numpy(np.float64, na_value=np.nan)
        text = column.astype("string").str.strip()
        plain = pd.to_numeric(text, errors="coerce")
        if plain.notna().any() or text.fillna("").eq("").all():
            return numbers(text, name, str(path))
        spans = pd.to_timedelta(text, errors="coerce")
        if spans.notna().any():
            return spans.dt.total_seconds().to_numpy(np.float64) / 3600
        try:
            column = pd.to_datetime(text, utc=True, format="ISO8601")
        except ValueError:
            raise InputError(
                f"{path}: {name} must be hours, spans or ISO 8601 times, got {text.dropna().iloc[0]!r}"
            ) from None
    seconds = (column - column.min()).dt.total_seconds()
    return seconds.to_numpy(np.float64) / 3600


def _readings(values: "pd.Series[Any]", source: ChannelColumn, channel: str, path: Path) -> FloatArray:
    """A channel's readings in its unit; NaN where there is none, or one that is not plausible."""
    found = numbers(values, source.column, str(path)) * source.scale + source.offset
    low, high = PLAUSIBLE[channel]
    wrong = np.isfinite(found) & ((found < low) | (found > high))
    if wrong.any():
        share = wrong.sum() / np.isfinite(found).sum()
        text = f"{path}: {wrong.sum()} readings of {channel} ({share:.1%}) outside {low:g} to {high:g} are left out"
        unit, scale, offset = OTHER_UNITS.get(channel, ("", 1.0, 0.0))
        meant = found[wrong] * scale + offset
        if unit and np.mean((meant >= low) & (meant <= high)) > 0.5:
            text += (
                f"; they look like {unit}: say options: {{columns: {{{channel}: {{column: {source.column}, "
                f"scale: {scale:.6g}, offset: {offset:.6g}}}}}}}"
            )
        remark(text)
    return np.where(wrong, np.nan, found)


def _averaged(readings: FloatArray, cell: IntArray, cells: int) -> Float32Array:
    """(cell,) mean of the readings of each cell; NaN where there is none."""
    there = np.isfinite(readings)
    total = np.bincount(cell[there], readings[there], cells)
    count = np.bincount(cell[there], minlength=cells)
    with np.errstate(invalid="ignore"):
        return (total / count).astype(np.float32)
