"""OMOP CDM 5.4 of a cohort: one Parquet file a table, made from the joined FHIR files, ready for the official DDL.

The columns and their types are configs/omop/tables.yaml. Ids count from 1 in the order of the cohort. Source values are
our codes; a standard concept id stands only where the bundled lists have it, else 0, which is OMOP's word for "no
matching concept". source_to_concept_map lists every code that the tables name, with its concept id.
"""

import re
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import date
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

from ....core.config import read_yaml
from ....core.errors import InputError
from ....core.remarks import remark
from ..data import whole_file
from .by_patient import by_patient, root_of
from .omop_concepts import Concepts
from .omop_hospital import write_hospital
from .omop_rows import PatientRows
from .omop_studies import studies

ROWS = 20_000  # a row group; also what is in memory
MOST = 2**31 - 1  # ids are 32-bit integers in the official DDL


@cache
def columns() -> dict[str, dict[str, tuple[str, int | None, bool]]]:
    """Table -> column -> type, most characters of a text, and whether it may not be null."""
    path = Path(str(files("polyclinic.configs"))) / "omop" / "tables.yaml"
    return {table: {c: _kind(text) for c, text in own.items()} for table, own in read_yaml(path).items()}


def _kind(text: str) -> tuple[str, int | None, bool]:
    match = re.fullmatch(r"(\w+)(?:\((\d+)\))?(!?)", text)
    assert match is not None, text
    return match[1], int(match[2]) if match[2] else None, bool(match[3])


class Omop:
    """omop/<table>.parquet of a cohort; see core.contracts.CohortFormat."""

    name = "omop"
    modality = "records"

    def convert(self, source: Path, folder: Path) -> list[Path]:
        """omop/<table>.parquet below folder, of the joined NDJSON files below source; the paths.

        Remarks how many patients and events without a date are left out, since OMOP asks for one, and which codes
        have no standard concept id. The key-value metadata of every file says that it is synthetic.
        """
        concepts = Concepts()
        undated: dict[str, int] = {}
        root = root_of(source)
        with Tables(folder / "omop") as tables:
            last: date | None = None
            sites = write_hospital(tables, concepts)
            for number, (patient, resources) in enumerate(by_patient(source), start=1):
                rows = PatientRows(number, patient, resources, tables, concepts, sites, undated)
                if rows.period is not None:
                    rows.write()
                    studies(rows, root)
                    last = max(last or rows.period[1].date(), rows.period[1].date())
            if last is not None:
                tables.add("cdm_source", **_source(last))
            for code in concepts.used():
                tables.add("source_to_concept_map", **code)
        for what, count in sorted(undated.items()):
            remark(f"OMOP: {count} {what} without a date are left out, since the tables ask for one")
        if lacking := concepts.lacking():
            remark(
                f"OMOP: {len(lacking)} codes have no standard concept id in the bundled lists and stand as concept 0: "
                + ", ".join(lacking)
            )
        return tables.paths


def _source(last: date) -> dict[str, Any]:
    """The row of cdm_source; the dates are those of the records, so that the bytes depend on nothing else."""
    return {
        "cdm_source_name": "Polyclinic synthetic patients",
        "cdm_source_abbreviation": "Polyclinic",
        "cdm_holder": "nobody: synthetic data",
        "source_description": "SYNTHETIC: drawn by models and rules, no person's data.",
        "cdm_etl_reference": f"polyclinic {version('polyclinic')}",
        "source_release_date": last,
        "cdm_release_date": last,
        "cdm_version": "v5.4",
        "cdm_version_concept_id": Concepts.fixed("cdm"),
        "vocabulary_version": "none loaded",
    }


class Tables:
    """The files of all tables while they are written: rows with their ids, ROWS in memory; whole files at the end."""

    def __init__(self, folder: Path) -> None:
        self.paths = [folder / f"{table}.parquet" for table in columns()]
        self._rows: dict[str, list[dict[str, Any]]] = {table: [] for table in columns()}
        self._count = dict.fromkeys(columns(), 0)
        self._files: dict[str, Any] = {}
        self._open = ExitStack()

    def __enter__(self) -> "Tables":
        import pyarrow as pa
        import pyarrow.parquet as pq

        with self._open as undo:
            for table, path in zip(columns(), self.paths, strict=True):
                temporary = undo.enter_context(whole_file(path))
                schema = _schema(pa, columns()[table])
                self._files[table] = undo.enter_context(
                    pq.ParquetWriter(temporary, schema, compression="zstd")
                )
            self._open = undo.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        if error[0] is None:
            for table in self._rows:
                self._flush(table)
        self._open.__exit__(*error)

    def add(self, table: str, **values: Any) -> int:
        """Add a row; its id. Texts are cut to the column's length. Raises InputError past 32-bit ids."""
        kinds = columns()[table]
        self._count[table] += 1
        number = self._count[table]
        if number > MOST:
            raise InputError(
                f"OMOP: {table} has more than {MOST} rows, the most that its 32-bit ids can count"
            )
        row = {f"{table}_id": number} if f"{table}_id" in kinds else {}
        for column, value in values.items():
            most = kinds[column][1]
            row[column] = value[:most] if most is not None and value is not None else value
        assert all(row.get(c) is not None for c, (_, _, must) in kinds.items() if must), (table, row)
        self._rows[table].append(row)
        if len(self._rows[table]) == ROWS:
            self._flush(table)
        return number

    def _flush(self, table: str) -> None:
        import pyarrow as pa

        rows, self._rows[table] = self._rows[table], []
        if rows:
            self._files[table].write_table(pa.Table.from_pylist(rows, self._files[table].schema))


def _schema(pa: Any, kinds: Mapping[str, tuple[str, int | None, bool]]) -> Any:
    types = {
        "integer": pa.int32(), "numeric": pa.float64(), "text": pa.string(), "date": pa.date32(),
        "timestamp": pa.timestamp("us"), "time": pa.time64("us"), "boolean": pa.bool_(),
    }  # fmt: skip
    fields = [pa.field(name, types[kind], nullable=not must) for name, (kind, _, must) in kinds.items()]
    return pa.schema(fields, {"synthetic": "true"})
