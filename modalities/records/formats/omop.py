"""OMOP-shaped Parquet of a cohort: seven tables of the Common Data Model 5.4, from the joined FHIR files.

Source values are our codes; a standard concept id is given only where the bundled list is certain of it, else 0,
which is OMOP's word for "no matching concept". Ids are hashes of the FHIR ids, so they do not depend on order.
"""

from collections.abc import Callable, Iterator
from datetime import date
from functools import cache
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any

from ..case import moment
from ..codes import codes
from ..data import FOLDER, GENE_UNIT, Resource, patient_of, read_resources
from .csv_tables import Row, coded, medication_rows, observation_rows

OMOP = "omop"
ROWS = 20_000  # a row group; also what is in memory
_EHR = 32817  # type concept: EHR
_GENDER = {"female": 8532, "male": 8507}
_VISIT = {"IMP": 9201, "AMB": 9202, "EMER": 9203, "OBSENC": 0}
_UNIT = {
    "mg/dL": 8840, "mm[Hg]": 8876, "/min": 8541, "%": 8554, "g/dL": 8713, "mmol/L": 8753, "kg": 9529, "cm": 8582,
    "mg": 8576, GENE_UNIT: 0,
}  # fmt: skip


def number_of(name: str) -> int:
    """A 62-bit id of a FHIR `Type/id`."""
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big") >> 2


@cache
def _standard() -> dict[str, int]:
    """Code -> standard concept id, of conditions, observations and drugs."""
    own = codes()
    lists = [*own.conditions.values(), *own.observations.values(), *own.drugs.values()]
    return {entry.code: entry.omop for entry in lists}


def _keys(resource: Resource, table: str) -> Row:
    visit = (resource.get("encounter") or {}).get("reference")
    return {
        f"{table}_id": number_of(f"{resource['resourceType']}/{resource['id']}"),
        "person_id": number_of(f"Patient/{patient_of(resource)}"),
        "visit_occurrence_id": None if visit is None else number_of(visit),
    }


def _day(text: str | None) -> date | None:
    return moment(text).date() if text else None


def _person(resource: Resource) -> Iterator[Row]:
    born = _day(resource.get("birthDate"))
    yield {
        "person_id": number_of(f"Patient/{resource['id']}"),
        "gender_concept_id": _GENDER.get(resource["gender"], 0),
        "year_of_birth": None if born is None else born.year,
        "month_of_birth": None if born is None else born.month,
        "day_of_birth": None if born is None else born.day,
        "race_concept_id": 0,
        "ethnicity_concept_id": 0,
        "person_source_value": resource["id"],
        "gender_source_value": resource["gender"],
    }


def _death(resource: Resource) -> Iterator[Row]:
    if "deceasedDateTime" in resource:
        yield {
            "person_id": number_of(f"Patient/{resource['id']}"),
            "death_date": _day(resource["deceasedDateTime"]),
            "death_type_concept_id": _EHR,
        }


def _visit(resource: Resource) -> Iterator[Row]:
    period = resource.get("period", {})
    yield {
        "visit_occurrence_id": number_of(f"Encounter/{resource['id']}"),
        "person_id": number_of(f"Patient/{patient_of(resource)}"),
        "visit_concept_id": _VISIT[resource["class"]["code"]],
        "visit_start_date": _day(period.get("start")),
        "visit_end_date": _day(period.get("end")),
        "visit_type_concept_id": _EHR,
        "visit_source_value": resource["class"]["code"],
    }


def _condition(resource: Resource) -> Iterator[Row]:
    code = coded(resource["code"])[1]
    yield {
        **_keys(resource, "condition_occurrence"),
        "condition_concept_id": _standard().get(code, 0),
        "condition_start_date": _day(resource.get("onsetDateTime") or resource.get("recordedDate")),
        "condition_end_date": _day(resource.get("abatementDateTime")),
        "condition_type_concept_id": _EHR,
        "condition_source_value": code,
    }


def _drug(resource: Resource) -> Iterator[Row]:
    (row,) = medication_rows(resource)
    yield {
        **_keys(resource, "drug_exposure"),
        "drug_concept_id": _standard().get(row["code"], 0),
        "drug_exposure_start_date": _day(row["start"]),
        "drug_exposure_end_date": _day(row["end"]),
        "drug_type_concept_id": _EHR,
        "quantity": float(row["dose"]),
        "sig": resource["dosageInstruction"][0]["text"],
        "drug_source_value": row["code"],
        "route_source_value": row["route"],
        "dose_unit_source_value": row["unit"],
    }


def _measurement(resource: Resource) -> Iterator[Row]:
    for part, row in enumerate(observation_rows(resource)):
        value = row["value"]
        yield {
            **_keys(resource, "measurement"),
            "measurement_id": number_of(f"Observation/{resource['id']}/{part}"),
            "measurement_concept_id": _standard().get(row["code"], 0),
            "measurement_date": _day(row["date"]),
            "measurement_type_concept_id": _EHR,
            "value_as_number": None if value == "" else float(value),
            "unit_concept_id": _UNIT.get(row["unit"], 0),
            "measurement_source_value": row["code"] or row["display"],
            "unit_source_value": row["unit"] or None,
            "value_source_value": str(row["answer"] or value),
        }


def _procedure(resource: Resource) -> Iterator[Row]:
    yield {
        **_keys(resource, "procedure_occurrence"),
        "procedure_concept_id": 0,
        "procedure_date": _day(resource.get("performedDateTime")),
        "procedure_type_concept_id": _EHR,
        "procedure_source_value": coded(resource["code"])[1],
    }


TABLES: dict[str, tuple[str, Callable[[Resource], Iterator[Row]]]] = {
    "person": ("Patient", _person),
    "death": ("Patient", _death),
    "visit_occurrence": ("Encounter", _visit),
    "condition_occurrence": ("Condition", _condition),
    "drug_exposure": ("MedicationRequest", _drug),
    "measurement": ("Observation", _measurement),
    "procedure_occurrence": ("Procedure", _procedure),
}
_INT32 = ("year_of_birth", "month_of_birth", "day_of_birth")
_FLOAT = ("value_as_number", "quantity")
COLUMNS = {
    "person": "person_id gender_concept_id year_of_birth month_of_birth day_of_birth race_concept_id "
    "ethnicity_concept_id person_source_value gender_source_value",
    "death": "person_id death_date death_type_concept_id",
    "visit_occurrence": "visit_occurrence_id person_id visit_concept_id visit_start_date visit_end_date "
    "visit_type_concept_id visit_source_value",
    "condition_occurrence": "condition_occurrence_id person_id condition_concept_id condition_start_date "
    "condition_end_date condition_type_concept_id visit_occurrence_id condition_source_value",
    "drug_exposure": "drug_exposure_id person_id drug_concept_id drug_exposure_start_date drug_exposure_end_date "
    "drug_type_concept_id quantity sig visit_occurrence_id drug_source_value route_source_value "
    "dose_unit_source_value",
    "measurement": "measurement_id person_id measurement_concept_id measurement_date measurement_type_concept_id "
    "value_as_number unit_concept_id visit_occurrence_id measurement_source_value unit_source_value "
    "value_source_value",
    "procedure_occurrence": "procedure_occurrence_id person_id procedure_concept_id procedure_date "
    "procedure_type_concept_id visit_occurrence_id procedure_source_value",
}


def write_omop(folder: Path) -> list[Path]:
    """omop/<table>.parquet of the joined NDJSON files below folder, ROWS rows in memory; the paths.

    The key-value metadata of every file says that it is synthetic.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    paths = []
    for name, (kind, rows) in TABLES.items():
        source = folder / FOLDER / f"{kind}.ndjson"
        resources = read_resources(source) if source.exists() else iter(())
        schema = pa.schema(
            [(column, _type(pa, column)) for column in COLUMNS[name].split()], {"synthetic": "true"}
        )
        path = folder / OMOP / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.part")
        waiting = (row for resource in resources for row in rows(resource))
        with pq.ParquetWriter(temporary, schema, compression="zstd") as out:
            while chunk := list(islice(waiting, ROWS)):
                out.write_table(pa.Table.from_pylist(chunk, schema), row_group_size=ROWS)
        temporary.replace(path)
        paths.append(path)
    return paths


def _type(pa: Any, column: str) -> Any:
    if column in _INT32:
        return pa.int32()
    if column in _FLOAT:
        return pa.float64()
    if column.endswith("_date"):
        return pa.date32()
    return pa.int64() if column.endswith("_id") else pa.string()
