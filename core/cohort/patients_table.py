"""patients.parquet: profiles as a flat table, one row a patient, and back."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError, first_line
from ..paths import file_name, require_file
from ..profile import PatientProfile
from ..types import BoolArray
from .disk import part_of

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

FILE = "patients.parquet"
OWN = ("patient_id", "age", "sex", "height", "weight", "index_date")
TOGETHER = 1_000  # rows in memory as Python objects
ROWS = 65_536  # of a row group
EPOCH = date(1970, 1, 1)  # of Arrow's dates
SYNTHETIC = {"synthetic": "true"}
KINDS = {"conditions": "bool", "measurements": "double", "traits": "string"}  # mapping -> arrow type


def columns(profiles: Sequence[PatientProfile], have: Mapping[str, Sequence[bool]]) -> "pa.Table":
    """A column a known field (null where unknown), and has_<name> for each of `have`, a row a profile."""
    import pyarrow as pa

    kinds = dict(zip(OWN, ("string", "double", "string", "double", "double", "date32"), strict=True))
    values: dict[str, list[Any]] = {name: [getattr(p, name) for p in profiles] for name in OWN}
    for mapping, kind in KINDS.items():
        for name in sorted({name for p in profiles for name in getattr(p, mapping)}):
            kinds[name] = kind
            values[name] = [getattr(p, mapping).get(name) for p in profiles]
    for name, flags in have.items():
        kinds[f"has_{name}"] = "bool"
        values[f"has_{name}"] = list(flags)
    fields = [pa.field(name, pa.type_for_alias(kind)) for name, kind in kinds.items()]
    arrays = [array(values[name], kind) for name, kind in kinds.items()]
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields, metadata=SYNTHETIC))


def array(values: Sequence[Any], kind: str) -> "pa.Array":
    """Strings, bools, doubles or date32 (None where unknown) as Arrow holds them.

    pyarrow.array() gives the same, and loads pandas to ask whether it was given a series: 65 MB and a second a process.
    """
    import pyarrow as pa

    known = np.array([value is not None for value in values], dtype=bool)
    buffers: list[Any] = [None if known.all() else _bits(known)]
    if kind == "string":
        words = [b"" if value is None else value.encode() for value in values]
        ends = np.cumsum([0, *map(len, words)], dtype=np.int32)
        buffers += [pa.py_buffer(ends), pa.py_buffer(b"".join(words))]
    elif kind == "bool":
        buffers.append(_bits(np.array([bool(value) for value in values], dtype=bool)))
    elif kind == "date32":
        days = [0 if value is None else (value - EPOCH).days for value in values]
        buffers.append(pa.py_buffer(np.array(days, dtype=np.int32)))
    else:
        numbers = [0.0 if value is None else value for value in values]
        buffers.append(pa.py_buffer(np.array(numbers, dtype=np.float64)))
    return pa.Array.from_buffers(pa.type_for_alias(kind), len(values), buffers)


def _bits(flags: BoolArray) -> "pa.Buffer":
    import pyarrow as pa

    return pa.py_buffer(np.packbits(flags, bitorder="little"))


def write(path: Path, stream: Callable[[], Iterable["pa.Table"]]) -> None:
    """Write a Parquet file, in one step, of the rows of tables made by columns(); it does not depend on their cuts.

    `stream` gives the tables anew each time; they are gone through twice, and some ROWS rows are in memory.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    found: dict[str, pa.Field] = {}
    for table in stream():
        found |= {field.name: field for field in table.schema}
    kinds = [None, *(pa.type_for_alias(kind) for kind in KINDS.values())]

    def place(name: str) -> tuple[bool, int, str]:
        kind = 0 if name in OWN else kinds.index(found[name].type)
        return name.startswith("has_"), kind, f"{OWN.index(name)}" if name in OWN else name

    schema = pa.schema([found[name] for name in sorted(found, key=place)], metadata=SYNTHETIC)
    waiting = pa.Table.from_batches([], schema)
    with pq.ParquetWriter(part_of(path), schema) as file:
        for table in stream():
            both = pa.concat_tables([waiting, table], promote_options="default").select(schema.names)
            waiting = both.combine_chunks()
            while len(waiting) >= ROWS:
                file.write_table(waiting[:ROWS])
                waiting = waiting[ROWS:].combine_chunks()
        if len(waiting):
            file.write_table(waiting)
    part_of(path).replace(path)


def fields(path: Path) -> list[str]:
    """The fields of the profiles in such a file: age, sex, height and weight, then the others as they stand."""
    import pyarrow.parquet as pq

    kept = ("patient_id", "index_date")
    return [name for name in pq.read_schema(path).names if name not in kept and not name.startswith("has_")]


def profiles(path: Path) -> Iterator[PatientProfile]:
    """The profiles of such a file, in order. Raises InputError if it is missing or damaged."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    require_file(path, "the table of a cohort's patients")
    try:
        file = pq.ParquetFile(path)
        content = file.schema_arrow
    except (OSError, ValueError, pa.ArrowException) as error:
        raise InputError(f"{path}: cannot be read as a table of patients: {first_line(error)}") from None
    home = {kind: mapping for mapping, kind in KINDS.items()}
    kinds = {field.name: str(field.type) for field in content}
    lost = [name for name in OWN if name not in kinds]
    odd = [n for n, kind in kinds.items() if n not in OWN and not n.startswith("has_") and kind not in home]
    if lost or odd:
        wrong = f"no column {lost[0]!r}" if lost else f"{odd[0]!r} is of type {kinds[odd[0]]}"
        raise InputError(f"{path}: expected the table of patients that a cohort has, {wrong}")
    for row in _rows(file, path):
        values: dict[str, Any] = {name: row.pop(name) for name in OWN}
        values["patient_id"] = file_name(
            values["patient_id"], f"{path}: patient_id"
        )  # files are called by it
        for name, value in row.items():
            if value is not None and not name.startswith("has_"):
                values.setdefault(home[kinds[name]], {})[name] = value
        yield PatientProfile(**values)


def _rows(file: "pq.ParquetFile", path: Path) -> Iterator[dict[str, Any]]:
    """Its rows, TOGETHER of them in memory. Raises InputError where they cannot be read."""
    import pyarrow as pa

    batches = file.iter_batches(TOGETHER, use_threads=False)
    while True:
        try:
            some = next(batches, None)
        except (OSError, ValueError, pa.ArrowException) as error:
            raise InputError(f"{path}: cannot be read as a table of patients: {first_line(error)}") from None
        if some is None:
            return
        yield from some.to_pylist()


def lacking(path: Path, modality: str) -> frozenset[str] | None:
    """Ids of the patients without a record of a modality; None where the table does not say."""
    return _lacking(path, path.stat().st_mtime_ns, f"has_{modality}")


@lru_cache(maxsize=16)
def _lacking(path: Path, _: int, column: str) -> frozenset[str] | None:
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    if column not in file.schema_arrow.names:
        return None
    batches = file.iter_batches(TOGETHER, columns=["patient_id", column], use_threads=False)
    rows = (row for some in batches for row in some.to_pylist())
    return frozenset(row["patient_id"] for row in rows if not row[column])
