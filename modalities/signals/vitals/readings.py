"""Readings: what the files of a training folder say, of any form, as blocks of (stay, time, value) a channel."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ....core.errors import InputError
from ....core.ids import id_text, match_ids, spelling
from ....core.remarks import remark
from ....core.tables import numbers, read_table
from ....core.types import FloatArray, IntArray
from ..channels import VITALS
from .options import SeriesOptions, Source

# Readings in another unit: how to get to ours, where that makes nearly all of them plausible.
OTHER_UNITS = {"Temp": ("degrees Fahrenheit", 5 / 9, -160 / 9), "O2Sat": ("a fraction of 1", 100.0, 0.0)}
SLOW = 1.0  # Hz, the fastest signal of WFDB numerics
# default columns and files of each form
KEYS = {"meds": "subject_id", "omop": "person_id"}
TIMES = {"meds": "time", "omop": "measurement_datetime"}
NAMES = {"meds": "code", "omop": "measurement_concept_id"}
VALUES = {"meds": "numeric_value", "omop": "value_as_number"}
FILES = {
    "meds": ("data/**/*.parquet",),
    "omop": ("measurement.parquet", "measurement.csv", "measurement.csv.gz"),
}


@dataclass(frozen=True)
class Block:
    """Rows of a file: place of the stay (-1: of none), hours since some zero (NaN: none), and values by channel.

    A channel that a block does not have is not among its values.
    """

    stay: IntArray
    time: FloatArray
    values: dict[int, FloatArray]
    onset: FloatArray | None = None  # 1 from the hour on that a label turns on


def read_blocks(
    root: Path,
    stays: Sequence[str],
    settings: SeriesOptions,
    channels: Sequence[Source],
    others: Collection[str] | None = None,
) -> list[Block]:
    """All rows of all files; those of neither these stays nor the `others` are remarked, where others are known.

    Raises InputError naming file and column.
    """
    if settings.form == "wfdb":
        return list(_recordings(root, stays, channels))
    if settings.form == "wide":
        return [_wide(root / (settings.series or "series.parquet"), stays, settings, channels, others)]
    return _long(root, stays, settings, channels, others)


def where_from(root: Path, settings: SeriesOptions) -> Path:
    """The file or folder that remarks on all rows name."""
    named = settings.series or FILES.get(settings.form, ("series.parquet",))[0]
    return root if settings.form == "wfdb" else root / named


def _wide(
    path: Path,
    stays: Sequence[str],
    settings: SeriesOptions,
    channels: Sequence[Source],
    others: Collection[str] | None,
) -> Block:
    table = read_table(path)
    key, hour = settings.key or "patient_id", settings.hour or "hour"
    onset = [settings.onset] if settings.onset else []
    _require(table, path, {key: "key", hour: "hour"}, [*(c.name for c in channels), *onset])
    values = {
        place: numbers(table[source.name], source.name, str(path)) for place, source in enumerate(channels)
    }
    label = numbers(table[settings.onset], settings.onset, str(path)) if settings.onset else None
    return Block(_rows(table[key], stays, path, others), hours_of(table[hour], hour, path), values, label)


def _long(
    root: Path,
    stays: Sequence[str],
    settings: SeriesOptions,
    channels: Sequence[Source],
    others: Collection[str] | None,
) -> list[Block]:
    """Tables of a reading a row: time, channel and value."""
    form = settings.form
    names = {
        "key": settings.key or KEYS.get(form, "patient_id"),
        "hour": settings.hour or TIMES.get(form, "hour"),
        "channel": settings.channel or NAMES.get(form, "channel"),
        "value": settings.value or VALUES.get(form, "value"),
    }
    if settings.onset:
        raise InputError(f"{root}: onset is an option of wide tables; leave it out")
    tables = []
    for path in _files(root, settings):
        table = read_table(path)
        _require(table, path, {column: option for option, column in names.items()}, [])
        tables.append(table[list(names.values())])
    path = where_from(root, settings)
    table = pd.concat(tables, ignore_index=True) if len(tables) > 1 else tables[0]
    words = table[names["channel"]].astype(object)
    told = words.map({word: id_text(word) for word in words.dropna().unique()}).fillna("")
    wanted = {source.name for source in channels}
    rows = told.isin(wanted).to_numpy()
    if not rows.any():
        have = ", ".join(told[told != ""].value_counts().index[:12])
        raise InputError(
            f"{path}: {names['channel']} has none of the channels {', '.join(sorted(wanted)[:12])}; it has: {have}"
        )
    if (unnamed := told[~rows & (told != "").to_numpy()].nunique()) and form == "long":
        remark(f"{path}: {unnamed} channels that dataset.yaml does not name are left out")
    table, told = table[rows], told[rows]
    stay = _rows(
        table[names["key"]], stays, path, others if form == "long" else None
    )  # of a whole hospital else
    time = hours_of(table[names["hour"]], names["hour"], path)
    found = numbers(table[names["value"]], names["value"], str(path))
    out = []
    for place, source in enumerate(channels):
        own = (told == source.name).to_numpy()
        if not own.any():
            remark(f"{path}: no reading of {source.channel.name} ({source.name}) is there")
        values = found[own]
        empty = int(table[names["value"]][own].isna().sum())
        if empty and form in ("long", "omop"):  # events of MEDS may be without a number
            remark(f"{path}: {empty} rows of {source.name} have no {names['value']} and are left out")
        out.append(Block(np.where(np.isfinite(values), stay[own], -1), time[own], {place: values}))
    return out


def _files(root: Path, settings: SeriesOptions) -> list[Path]:
    if settings.series is None and settings.form in FILES:
        found = [path for pattern in FILES[settings.form] for path in sorted(root.glob(pattern))]
        if not found:
            raise InputError(
                f"{root}: no {FILES[settings.form][0]} there; say options: {{series: FILE}} or a pattern"
            )
        return found if settings.form == "meds" else found[:1]
    named = settings.series or "series.parquet"
    found = sorted(root.glob(named)) if any(c in named for c in "*?[") else [root / named]
    if not found:
        raise InputError(f"{root}: no file is like {named}")
    return found


def _recordings(root: Path, stays: Sequence[str], channels: Sequence[Source]) -> Iterator[Block]:
    """WFDB records of slow signals, one a stay; signals are found by name."""
    from ..formats.wfdb_reading import tracing

    lacking: dict[str, int] = {}
    blocks = []
    for stay, name in enumerate(stays):
        found = tracing(root / name, raw=False)
        place = {signal.strip().lower(): i for i, signal in enumerate(found.names)}
        for k, source in enumerate(channels):
            if (i := place.get(source.name.strip().lower())) is None:
                lacking[source.name] = lacking.get(source.name, 0) + 1
                continue
            if not 0 < found.rates[i] <= SLOW:
                raise InputError(
                    f"{root / name}: expected numerics of at most {SLOW:g} Hz, {source.name} has {found.rates[i]:g} Hz"
                )
            values = np.asarray(found.values[i], dtype=np.float64)
            time = np.arange(len(values)) / found.rates[i] / 3600
            blocks.append(Block(np.full(len(values), stay), time, {k: values}))
    for k, source in enumerate(channels):
        if lacking.get(source.name, 0) == len(stays):
            raise InputError(f"{root}: no record has a signal {source.name!r}")
        if source.name in lacking:
            remark(f"{root}: {lacking[source.name]} of {len(stays)} records have no signal {source.name}")
        own = [block for block in blocks if k in block.values]
        yield Block(
            np.concatenate([block.stay for block in own]),
            np.concatenate([block.time for block in own]),
            {k: np.concatenate([block.values[k] for block in own])},
        )


def _require(table: pd.DataFrame, path: Path, named: dict[str, str], others: Sequence[str]) -> None:
    """Raises InputError for a column that is not there; `named` says by which option a column is chosen."""
    have = ", ".join(map(str, table.columns[:40]))
    for column in (*named, *others):
        if column not in table.columns:
            way = f"; say options: {{{named[column]}: COLUMN}}" if column in named else ""
            if column in others:
                way = (
                    f"; say options: {{channels: {{{column}: {{column: COLUMN}}}}}}, or name those there are"
                )
            raise InputError(f"{path}: no column {column!r}{way}; the table has: {have}")


def _rows(
    key: "pd.Series[Any]", stays: Sequence[str], path: Path, others: Collection[str] | None
) -> IntArray:
    """The place in `stays` of each row; -1 for a row of another stay. Raises InputError."""
    ids = key.astype(object).map({value: id_text(value) for value in key.unique()}).fillna("")
    there = [name for name in ids.unique() if name]
    if blank := int((ids == "").sum()):
        remark(f"{path}: {blank} rows have no {key.name} and are left out")
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
    if others is not None:
        known = {*joined.values(), *map(spelling, others)}
        strange = [name for name in there if name not in known and spelling(name) not in known]
        if count := int(ids.isin(strange).sum()):
            remark(
                f"{path}: {count} rows of {len(strange)} stays that the table does not list (as {strange[0]!r}) are "
                "left out"
            )
    place = {joined[name]: i for i, name in enumerate(stays) if name in joined}
    return np.asarray(ids.map(place).fillna(-1), dtype=np.int64)


def hours_of(column: "pd.Series[Any]", name: str, path: Path) -> FloatArray:
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


def plausible(values: FloatArray, source: Source, path: Path) -> FloatArray:
    """A channel's readings in its unit; NaN where there is none, or one that is not plausible."""
    found = values * source.scale + source.offset
    channel, low, high = source.channel.name, source.channel.low, source.channel.high
    wrong = np.isfinite(found) & ((found < low) | (found > high))
    if wrong.any():
        share = wrong.sum() / np.isfinite(found).sum()
        text = f"{path}: {wrong.sum()} readings of {channel} ({share:.1%}) outside {low:g} to {high:g} are left out"
        unit, scale, offset = (
            OTHER_UNITS.get(channel, ("", 1.0, 0.0)) if source.channel in VITALS else ("", 1.0, 0.0)
        )
        meant = found[wrong] * scale + offset
        if unit and np.mean((meant >= low) & (meant <= high)) > 0.5:
            text += (
                f"; they look like {unit}: say options: {{columns: {{{channel}: {{column: {source.name}, "
                f"scale: {scale:.6g}, offset: {offset:.6g}}}}}}}"
            )
        remark(text)
    return np.where(wrong, np.nan, found)
