"""Tables that profiles are learnt from: CSV and Parquet, FHIR resources as ndjson, OMOP tables; one row a patient."""

import json
from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from ...core.config import DatasetConfig
from ...core.errors import InputError, first_line
from ...core.tables import read_table
from .rows import require_column
from .split import is_in, require_apart

if TYPE_CHECKING:
    import duckdb

CONDITION, MEASURED = "condition:", "observation:"  # how columns of coded tables are called, before the code
DAYS_A_YEAR = 365.25


def read_patients(config: DatasetConfig, root: Path, columns: Iterable[str]) -> tuple[pd.DataFrame, int]:
    """Train rows, the first of each patient in the order of the table, and how many rows there were.

    `table` in the dataset.yaml is a file; or `.` or another folder with Patient.ndjson (FHIR) or person
    (OMOP); or a DuckDB file of OMOP tables. Of the coded ones, `columns` may be gender, age,
    `condition:CODE` (1 or 0) and `observation:CODE` (the earliest number). Raises InputError.
    """
    if config.table is None:
        raise InputError(f"{root}: expected `table:` in dataset.yaml, to learn profiles from")
    path = root / config.path / config.table
    wanted = list(dict.fromkeys(columns))
    if path.is_dir() and (path / "Patient.ndjson").is_file():
        table = _fhir(path, config.patient_id, wanted)
    elif path.suffix == ".duckdb" or (path.is_dir() and list(path.glob("person.*"))):
        table = _omop(path, config.patient_id, wanted)
    elif path.is_dir():
        raise InputError(f"{path}: expected Patient.ndjson (FHIR) or person.parquet or .csv (OMOP) there")
    else:
        table = read_table(path)
    where = str(path)
    coded = path.is_dir() or path.suffix == ".duckdb"  # has no column for a split; test_share cuts one
    for column in [config.patient_id, *([config.split] if config.split and not coded else [])]:
        require_column(table, column, where)
    if config.split and not coded:
        require_apart(table[config.patient_id], table[config.split], config, where)
        table = table[table[config.split] == config.train]
    elif config.test_share is not None:
        table = table[[is_in("train", str(p), config.test_share) for p in table[config.patient_id]]]
    if table.empty:
        raise InputError(f"{where}: no rows of split {config.train!r}")
    return table.drop_duplicates(config.patient_id), len(table)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """Resources of an ndjson file; none if it is not there. Raises InputError with the line's number."""
    if not path.is_file():
        return
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                resource = json.loads(line)
            except ValueError as error:
                raise InputError(f"{path}, line {number}: not JSON ({error})") from None
            if not isinstance(resource, dict):
                raise InputError(
                    f"{path}, line {number}: expected a FHIR resource, got {type(resource).__name__}"
                )
            yield resource


def _fhir(folder: Path, key: str, wanted: list[str]) -> pd.DataFrame:
    """Patient, Condition and Observation; age is at a patient's last condition or observation."""
    rows: dict[str, dict[str, Any]] = {}
    born: dict[str, str] = {}
    for patient in _lines(folder / "Patient.ndjson"):
        patient_id = str(patient.get("id", ""))
        rows[patient_id] = {key: patient_id, "gender": patient.get("gender"), **_coded(wanted)}
        born[patient_id] = str(patient.get("birthDate", ""))
    last: dict[str, str] = {}
    first: dict[tuple[str, str], str] = {}
    for condition in _lines(folder / "Condition.ndjson"):
        patient_id = _subject(condition)
        _later(last, patient_id, str(condition.get("onsetDateTime") or condition.get("recordedDate") or ""))
        for code in _codes(condition):
            if patient_id in rows and f"{CONDITION}{code}" in rows[patient_id]:
                rows[patient_id][f"{CONDITION}{code}"] = 1
    for observation in _lines(folder / "Observation.ndjson"):
        patient_id, day = _subject(observation), str(observation.get("effectiveDateTime", ""))
        _later(last, patient_id, day)
        value = observation.get("valueQuantity", {}).get("value")
        for code in _codes(observation):
            name = f"{MEASURED}{code}"
            if patient_id not in rows or name not in rows[patient_id] or value is None:
                continue
            if (patient_id, name) not in first or day < first[patient_id, name]:
                rows[patient_id][name], first[patient_id, name] = value, day
    for patient_id, row in rows.items():
        row["age"] = _years(born[patient_id], last.get(patient_id, ""))
    if not rows:
        raise InputError(f"{folder / 'Patient.ndjson'}: holds no patients")
    return pd.DataFrame(list(rows.values()))


def _coded(wanted: list[str]) -> dict[str, Any]:
    """The coded columns of a patient of whom nothing is said: conditions absent, observations unknown."""
    return {
        name: 0 if name.startswith(CONDITION) else None
        for name in wanted
        if name.startswith((CONDITION, MEASURED))
    }


def _subject(resource: dict[str, Any]) -> str:
    return (
        str(resource.get("subject", {}).get("reference", ""))
        .removeprefix("Patient/")
        .removeprefix("urn:uuid:")
    )


def _codes(resource: dict[str, Any]) -> list[str]:
    return [str(coding.get("code", "")) for coding in resource.get("code", {}).get("coding", [])]


def _later(last: dict[str, str], patient: str, day: str) -> None:
    last[patient] = max(last.get(patient, ""), day)


def _years(born: str, day: str) -> float | None:
    """Years between two ISO dates; None unless both are whole."""
    try:
        return (date.fromisoformat(day[:10]) - date.fromisoformat(born[:10])).days / DAYS_A_YEAR
    except ValueError:
        return None


def _omop(path: Path, key: str, wanted: list[str]) -> pd.DataFrame:
    """person, condition_occurrence and measurement of the OMOP common data model, through DuckDB.

    gender is the gender_concept_id; age is whole years in the year of the patient's last record; codes are
    concept ids or source values.
    """
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
    for name in _coded(wanted):
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
