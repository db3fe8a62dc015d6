"""Series in Parquet files of a patient, as wearables have them: a time column, and numbers of any channels.

A table of waves has a list of samples a row, from that row's time on; after each wave stands an empty sample.
"""

import json
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...core.errors import InputError, first_line
from .patient_files import DAMAGED

if TYPE_CHECKING:
    from .patient_files import PatientFiles

TIME, MINUTE, UPLOADED = "time", "minute", "received"  # columns that are no channel


def about(files: "PatientFiles", name: str, n: int) -> dict[str, Any] | None:
    """A table's head, as patient_signals.about() gives it; None of a table without times or numbers.

    Raises InputError naming a file that cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = files.cohort.path(name)
    try:
        schema, rows = pq.read_schema(path), pq.read_metadata(path).num_rows
    except (pa.ArrowException, *DAMAGED) as error:
        raise InputError(f"{name}: cannot be read as Parquet ({first_line(error)}); copy it again") from None
    stamped = TIME in schema.names and pa.types.is_timestamp(schema.field(TIME).type)
    if not rows or not (stamped or MINUTE in schema.names):
        return None
    head = _head(schema)
    rate, waves = float(head.get("rate_hz") or 0), _waves(schema)
    numeric = [
        f
        for f in schema
        if f.name != MINUTE and (pa.types.is_floating(f.type) or pa.types.is_integer(f.type))
    ]
    channels = [_channel(field) for field in (waves if rate and waves else numeric)]
    if not channels:
        return None
    each = waves[0].type.list_size + 1 if rate and waves else 1
    seconds = times(files, name, head.get("begins", ""))
    folder, stem = name.split("/")[0], name.rpartition("/")[2].removesuffix(".parquet")
    begins = np.datetime64(0, "ms") + np.timedelta64(round(float(seconds[0]) * 1000), "ms")
    return {
        "kind": "series",
        "key": f"signal-{n}",
        "n": n,
        "name": stem,
        "instance": folder.partition("-")[2],
        "label": f"{folder.capitalize()}: {_title(stem)}",
        "rate": rate if each > 1 else 0.0,
        "samples": rows * each,
        "strips": rows if each > 1 else 0,
        "events": not stamped,
        "seconds": float(seconds[-1] - seconds[0]),
        "even": False,
        "time": f"{str(begins)[:19]}Z",
        "study": "",
        "channels": channels,
        "file": name,
    }  # fmt: skip


def times(files: "PatientFiles", name: str, begins: str = "") -> NDArray[np.float64]:
    """(row,) seconds since 1970, UTC: of the column `time`, or of `minute` since `begins`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pq.read_schema(files.cohort.path(name))
    if TIME in schema.names:
        column = _columns(files, name, [TIME])[TIME]
        stamps = column.cast(pa.timestamp("ms", tz="UTC")).to_numpy().astype("datetime64[ms]")
        seconds = np.asarray(stamps.astype(np.int64), dtype=np.float64) / 1000
        rate, waves = float(_head(schema).get("rate_hz") or 0), _waves(schema)
        if not (rate and waves):
            return seconds
        return (np.sort(seconds)[:, None] + np.arange(waves[0].type.list_size + 1) / rate).ravel()
    minutes = np.asarray(_columns(files, name, [MINUTE])[MINUTE], dtype=np.float64)
    start = np.datetime64((begins or _head(schema).get("begins") or "1970-01-01").rstrip("Z"), "s")
    return start.astype(np.int64) + minutes * 60


def values(files: "PatientFiles", name: str) -> NDArray[np.float64]:
    """(channel, row) of the numbers, NaN where nothing was recorded."""
    found = about(files, name, 0)
    assert found is not None, "only tables that about() knows are listed"
    names = [channel["name"] for channel in found["channels"]]
    if found["strips"]:
        table = _columns(files, name, [TIME, *names])
        order = np.argsort(table[TIME].to_numpy(), kind="stable")
        lists = [np.stack(table[name].to_numpy())[order].astype(np.float64) for name in names]
        return np.stack([np.pad(wave, ((0, 0), (0, 1)), constant_values=np.nan).ravel() for wave in lists])
    table = _columns(files, name, names)
    return np.stack([table[name].to_numpy().astype(np.float64) for name in names])


def _columns(files: "PatientFiles", name: str, columns: list[str]) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(files.cohort.path(name), columns=columns, use_threads=False)
    except (pa.ArrowException, *DAMAGED) as error:
        raise InputError(f"{name}: cannot be read as Parquet ({first_line(error)}); copy it again") from None


def _waves(schema: Any) -> list[Any]:
    """Fields that hold a wave a row: lists of floats, all of one length."""
    import pyarrow as pa

    found = [
        f for f in schema if pa.types.is_fixed_size_list(f.type) and pa.types.is_floating(f.type.value_type)
    ]
    return [f for f in found if f.type.list_size == found[0].type.list_size]


def _title(stem: str) -> str:
    """`watch, every 5 s` of `watch-5s`."""
    device, _, period = stem.rpartition("-")
    if not (device and period.endswith("s") and period[:-1].isdigit()):
        return stem.replace("-", " ").replace("_", " ")
    seconds = int(period[:-1])
    units = ((3600, "h"), (60, "min"), (1, "s"))
    size, unit = next(one for one in units if seconds % one[0] == 0)
    return f"{device}, every {seconds // size} {unit}"


def _head(schema: Any) -> dict[str, Any]:
    """What the file says of itself in its key `polyclinic`."""
    try:
        found = json.loads((schema.metadata or {}).get(b"polyclinic", b"{}"))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _channel(field: Any) -> dict[str, str]:
    said = {key.decode(): value.decode(errors="replace") for key, value in (field.metadata or {}).items()}
    unit = said.get("unit", "")
    return {"name": field.name, "unit": "" if unit == "1" else unit, "label": said.get("label", "")}
