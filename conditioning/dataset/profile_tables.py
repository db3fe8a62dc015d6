"""Tables that profiles are learnt from: CSV and Parquet, FHIR resources as ndjson, OMOP tables; one row a patient."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from ...core.config import DatasetConfig
from ...core.errors import InputError, first_line
from ...core.extras import need
from ...core.ids import require_ids
from ...core.tables import read_table
from .fhir_bulk import CONDITION, absent, is_fhir_folder, read_fhir
from .rows import require_column
from .split import rows_of

if TYPE_CHECKING:
    import duckdb


def read_patients(
    config: DatasetConfig, root: Path, columns: Iterable[str], split: str = "train"
) -> tuple[pd.DataFrame, int]:
    """Rows of one split, the first of each patient in the order of the table, and how many rows there were.

    `table` in the dataset.yaml is a file; or `.` or another folder with Patient.ndjson or bundles (FHIR) or person
    (OMOP); or a DuckDB file of OMOP tables. Of the coded ones, `columns` may be gender, age,
    `condition:CODE` (1 or 0) and `observation:CODE` (the earliest number). Raises InputError.
    """
    if config.table is None:
        raise InputError(f"{root}: expected `table:` in dataset.yaml, to learn profiles from")
    path = root / config.path / config.table
    wanted = list(dict.fromkeys(columns))
    if is_fhir_folder(path):
        table = read_fhir(path, config.patient_id, wanted)
    elif path.suffix == ".duckdb" or (path.is_dir() and list(path.glob("person.*"))):
        table = _omop(path, config.patient_id, wanted)
    elif path.is_dir():
        raise InputError(
            f"{path}: expected Patient.ndjson (FHIR; parts and .gz too), FHIR bundles (.json), or person.parquet or "
            ".csv (OMOP) there"
        )
    else:
        table = read_table(path)
    where = str(path)
    coded = path.is_dir() or path.suffix == ".duckdb"  # has no column for a split; test_share cuts one
    for column in [config.patient_id, *([config.split] if config.split and not coded else [])]:
        require_column(table, column, where)
    table = table.assign(
        **{config.patient_id: require_ids(table[config.patient_id], config.patient_id, where)}
    )
    table = rows_of(table, split, config.model_copy(update={"split": None}) if coded else config, where)
    return table.drop_duplicates(config.patient_id), len(table)


def _omop(path: Path, key: str, wanted: list[str]) -> pd.DataFrame:
    """person, condition_occurrence and measurement of the OMOP common data model, through DuckDB.

    gender is the gender_concept_id; age is whole years in the year of the patient's last record; codes are
    concept ids or source values.
    """
    need(f"{path}: reading OMOP tables", "duckdb")
    import duckdb

    try:
        with duckdb.connect(str(path) if path.is_file() else ":memory:", read_only=path.is_file()) as base:
            if path.is_dir():
                _views(base, path)
            return _omop_rows(base, key, wanted)
    except duckdb.Error as error:
        raise InputError(f"{path}: cannot be read as OMOP tables ({first_line(error)})") from None


def _views(base: "duckdb.DuckDBPyConnection", folder: Path) -> None:
    for name in ("person", "condition_occurrence", "measurement"):
        found = [
            file for suffix in ("parquet", "csv", "csv.gz") if (file := folder / f"{name}.{suffix}").is_file()
        ]
        if not found:
            raise InputError(f"{folder}: no {name}.parquet or {name}.csv; expected the OMOP table there")
        base.read_parquet(str(found[0])).create_view(name) if found[
            0
        ].suffix == ".parquet" else base.read_csv(str(found[0])).create_view(name)


def _omop_rows(base: "duckdb.DuckDBPyConnection", key: str, wanted: list[str]) -> pd.DataFrame:
    table = base.execute(
        """
        SELECT person_id, CAST(gender_concept_id AS VARCHAR) AS gender, last - year_of_birth AS age
        FROM person LEFT JOIN (
            SELECT person_id, max(year(CAST(day AS DATE))) AS last FROM (
                SELECT person_id, condition_start_date AS day FROM condition_occurrence
                UNION ALL SELECT person_id, measurement_date FROM measurement
            ) GROUP BY person_id
        ) USING (person_id) ORDER BY person_id
        """
    ).df()
    for name in absent(wanted):
        code = name.partition(":")[2]
        if name.startswith(CONDITION):
            found = base.execute(
                "SELECT DISTINCT person_id, 1 AS value FROM condition_occurrence "
                "WHERE CAST(condition_concept_id AS VARCHAR) = $code OR condition_source_value = $code",
                {"code": code},
            ).df()
            table[name] = table["person_id"].isin(found["person_id"]).astype(int)
        else:
            found = base.execute(
                "SELECT person_id, arg_min(value_as_number, measurement_date) AS value FROM measurement "
                "WHERE (CAST(measurement_concept_id AS VARCHAR) = $code OR measurement_source_value = $code) "
                "AND value_as_number IS NOT NULL GROUP BY person_id",
                {"code": code},
            ).df()
            table[name] = table["person_id"].map(found.set_index("person_id")["value"])
    return table.rename(columns={"person_id": key}).assign(**{key: table["person_id"].astype(str)})
