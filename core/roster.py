"""patients.parquet: profiles as a flat table, one row a patient, and back."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .errors import InputError
from .profile import PatientProfile

OWN = ("patient_id", "age", "sex", "height", "weight", "index_date")
KINDS = {"conditions": "bool", "measurements": "double", "traits": "string"}  # mapping -> arrow type


def table(profiles: Sequence[PatientProfile], have: Mapping[str, Sequence[bool]]) -> bytes:
    """A Parquet file: a column a known field (null where unknown), and has_<name> for each of `have`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = dict(zip(OWN, ("string", "double", "string", "double", "double", "date32"), strict=True))
    columns: dict[str, list[Any]] = {name: [getattr(p, name) for p in profiles] for name in OWN}
    for mapping, kind in KINDS.items():
        for name in sorted({name for p in profiles for name in getattr(p, mapping)}):
            kinds[name] = kind
            columns[name] = [getattr(p, mapping).get(name) for p in profiles]
    for name, flags in have.items():
        kinds[f"has_{name}"] = "bool"
        columns[f"has_{name}"] = list(flags)
    fields = [pa.field(name, pa.type_for_alias(kind)) for name, kind in kinds.items()]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns, schema=pa.schema(fields, metadata={"synthetic": "true"})), sink)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def profiles(path: Path) -> Iterator[PatientProfile]:
    """The profiles of such a file, in order. Raises InputError if it is missing or damaged."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        content = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: cannot be read as a table of patients: {error}") from None
    home = {kind: mapping for mapping, kind in KINDS.items()}
    for row in content.to_pylist():
        values: dict[str, Any] = {name: row.pop(name) for name in OWN}
        for name, value in row.items():
            if value is not None and not name.startswith("has_"):
                values.setdefault(home[str(content.schema.field(name).type)], {})[name] = value
        yield PatientProfile(**values)
