"""patients.parquet: profiles as a flat table, one row a patient, and back."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError, first_line
from ..paths import file_name, require_file
from ..profile import PatientProfile

if TYPE_CHECKING:
    import pyarrow as pa

OWN = ("patient_id", "age", "sex", "height", "weight", "index_date")
TOGETHER = 1_000  # rows in memory as Python objects
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
    return pa.table(values, schema=pa.schema(fields, metadata={"synthetic": "true"}))


def join(tables: Sequence["pa.Table"]) -> bytes:
    """A Parquet file of the rows of tables made by columns(); it does not depend on how they were cut."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    joined = pa.concat_tables(tables, promote_options="default").combine_chunks()
    kinds = [None, *(pa.type_for_alias(kind) for kind in KINDS.values())]

    def place(name: str) -> tuple[bool, int, str]:
        kind = 0 if name in OWN else kinds.index(joined.schema.field(name).type)
        return name.startswith("has_"), kind, f"{OWN.index(name)}" if name in OWN else name

    sink = pa.BufferOutputStream()
    pq.write_table(joined.select(sorted(joined.column_names, key=place)), sink)
    content: bytes = sink.getvalue().to_pybytes()
    return content


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
        content = pq.read_table(path)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise InputError(f"{path}: cannot be read as a table of patients: {first_line(error)}") from None
    home = {kind: mapping for mapping, kind in KINDS.items()}
    kinds = {field.name: str(field.type) for field in content.schema}
    lost = [name for name in OWN if name not in kinds]
    odd = [n for n, kind in kinds.items() if n not in OWN and not n.startswith("has_") and kind not in home]
    if lost or odd:
        wrong = f"no column {lost[0]!r}" if lost else f"{odd[0]!r} is of type {kinds[odd[0]]}"
        raise InputError(f"{path}: expected the table of patients that a cohort has, {wrong}")
    for row in (row for some in content.to_batches(max_chunksize=TOGETHER) for row in some.to_pylist()):
        values: dict[str, Any] = {name: row.pop(name) for name in OWN}
        values["patient_id"] = file_name(
            values["patient_id"], f"{path}: patient_id"
        )  # files are called by it
        for name, value in row.items():
            if value is not None and not name.startswith("has_"):
                values.setdefault(home[kinds[name]], {})[name] = value
        yield PatientProfile(**values)
