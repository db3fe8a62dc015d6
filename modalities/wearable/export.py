"""Parquet files of a patient's wearables: one a device and rate, columns with unit, code and label, and the time."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ...core.modality import Record
from ...core.profile import PatientProfile
from ...core.types import AnyArray
from .channels import CHANNELS
from .figures import devices
from .layout import BEATS, FOLDER, MEALS, PPG, VERSION, Table, midnight, name_of, seconds_of, tables_of
from .wearing import Clock

GAP = 3000  # ms between two beats that are not one interval
SYNTHETIC = "synthetic data, of no real person; drawn by rules, not learnt"
_MEALS = {
    "minute": ("min", "since the first midnight"),
    "grams": ("g", "carbohydrate"),
    "units": ("[iU]", "insulin"),
}


def export(records: Sequence[Record], profiles: Sequence[PatientProfile], folder: Path) -> list[Path]:
    """wearable/<patient>/*.parquet below `folder`; the paths written. The bytes depend on record and profile alone."""
    paths = []
    for record, profile in zip(records, profiles, strict=True):
        place = folder / FOLDER / profile.patient_id
        place.mkdir(parents=True, exist_ok=True)
        for name, table in tables(record, profile).items():
            path = place / f"{name}.parquet"
            delta = [f.name for f in table.schema if pa.types.is_timestamp(f.type)]
            pq.write_table(
                table, path, compression="zstd", compression_level=3,
                use_dictionary=[name for name in table.column_names if name not in delta],
                column_encoding=dict.fromkeys(delta, "DELTA_BINARY_PACKED"),
            )  # fmt: skip
            paths.append(path)
    return paths


def periods() -> dict[str, Mapping[str, int]]:
    """Seconds from value to value by device and channel."""
    return {name: device.channels for name, device in devices().items()}


def clock_of(record: Record, device: str) -> Clock:
    """The clock of a device, from the facts."""
    facts = record.facts
    return Clock(facts["clock_ppm"][device], 3600 * devices()[device].sync, facts["clock_phase"][device])


def tables(record: Record, profile: PatientProfile) -> dict[str, pa.Table]:
    """Arrow tables by name, with what is known of the record in the schema's metadata."""
    begins = midnight(record.facts, profile.index_date)
    found: dict[str, pa.Table] = {}
    for table, channels in tables_of(record.arrays, periods()).items():
        found[name_of(table)] = _table(record, profile, begins, table, channels)
    eaten = {name: record.arrays[f"{MEALS}/{name}"] for name in _MEALS}
    about = {name: {"unit": unit, "label": label} for name, (unit, label) in _MEALS.items()}
    found[MEALS] = _pieces(eaten, about, _head(record, profile, begins, {}))
    if f"{PPG}/begins" in record.arrays:
        found[PPG] = _waves(record, profile, begins)
    return found


def _head(
    record: Record, profile: PatientProfile, begins: datetime, more: Mapping[str, Any]
) -> dict[str, str]:
    head = {
        "synthetic": SYNTHETIC, "version": VERSION, "patient_id": profile.patient_id,
        "begins": f"{begins.isoformat()}Z", "calendar": profile.index_date is not None,
        "facts": dict(record.facts), **more,
    }  # fmt: skip
    return {"polyclinic": json.dumps(head, sort_keys=True)}


def _stamps(begins: datetime, milliseconds: AnyArray) -> pa.Array:
    origin = np.datetime64(begins, "ms").astype(np.int64)
    return pa.array(origin + np.asarray(milliseconds, dtype=np.int64), pa.timestamp("ms", tz="UTC"))


def _table(
    record: Record, profile: PatientProfile, begins: datetime, table: Table, channels: Sequence[str]
) -> pa.Table:
    device, period = table
    preset, clock = devices()[device], clock_of(record, device)
    if period:
        values = {name: record.arrays[f"{device}/{name}"] for name in channels}
        at = 1000 * seconds_of(period, len(next(iter(values.values()))))
        about = {
            n: {"unit": CHANNELS[n].unit, "loinc": CHANNELS[n].loinc, "label": CHANNELS[n].label}
            for n in channels
        }
    else:
        at = record.arrays[f"{device}/{BEATS}"].astype(np.int64)
        gaps = np.diff(at, prepend=at[:1]).astype(np.float32)
        values = {"rr": np.where((gaps > 0) & (gaps < GAP), gaps, np.nan).astype(np.float32)}
        about = {"rr": {"unit": "ms", "loinc": "8637-1", "label": "R-R interval before the beat"}}
        values["at"] = record.arrays[f"{device}/{BEATS}"]
        about["at"] = {"unit": "ms", "label": "true time since the first midnight"}
    stamps = {"time": _stamps(begins, clock.shown(at))}
    if clock.sync:
        stamps["received"] = _stamps(begins, clock.received(at))
    more = {"device": device, "site": preset.site, "period_s": period, "clock_ppm": clock.ppm}
    return _pieces(values, about, _head(record, profile, begins, more), stamps)


def _pieces(
    values: Mapping[str, AnyArray], about: Mapping[str, Mapping[str, str]], head: Mapping[str, str],
    stamps: Mapping[str, pa.Array] | None = None,
) -> pa.Table:  # fmt: skip
    fields, columns = [], []
    for name, column in (stamps or {}).items():
        said = {
            "label": "what the device's clock shows"
            if name == "time"
            else "when the upload came that brought it"
        }
        fields.append(pa.field(name, column.type, metadata=said))
        columns.append(column)
    for name, array in values.items():
        column = pa.array(array, from_pandas=True)
        fields.append(pa.field(name, column.type, metadata={k: v for k, v in about[name].items() if v}))
        columns.append(column)
    return pa.table(columns, schema=pa.schema(fields, metadata=dict(head)))


def _waves(record: Record, profile: PatientProfile, begins: datetime) -> pa.Table:
    starts = record.arrays[f"{PPG}/begins"]
    shift = 86_400_000 * (int(record.facts["days"]) - 1)
    fields, columns = [], []
    for name in ("wrist", "finger"):
        waves = record.arrays[f"{PPG}/{name}"]
        columns.append(pa.FixedSizeListArray.from_arrays(pa.array(waves.ravel()), waves.shape[1]))
        fields.append(
            pa.field(name, columns[-1].type, metadata={"unit": "1", "label": f"photoplethysmogram, {name}"})
        )
    columns = [_stamps(begins, 1000 * starts.astype(np.int64) + shift), pa.array(starts), *columns]
    fields = [
        pa.field("time", columns[0].type),
        pa.field("begins", columns[1].type, metadata={"unit": "s"}),
        *fields,
    ]
    head = _head(record, profile, begins, {"rate_hz": record.facts["ppg_rate"]})
    return pa.table(columns, schema=pa.schema(fields, metadata=head))
