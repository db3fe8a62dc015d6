"""OMOP-shaped Parquet of a cohort: seven tables of the Common Data Model 5.4, from the joined FHIR files.

Source values are our codes; a standard concept id is given only where the bundled list is certain of it, else 0,
which is OMOP's word for "no matching concept". Ids are hashes of the FHIR ids, so they do not depend on order.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import date
from functools import cache
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any

from ..case import moment
from ..codes import codes
from ..data import FOLDER, GENE_UNIT, Resource, parts_of, read_resources, value_at, whole_file

ROWS = 20_000  # a row group; also what is in memory
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
    lists = codes()
    entries = [*lists.conditions.values(), *lists.observations.values(), *lists.drugs.values()]
    return {entry.code: entry.omop for entry in entries}


# -- from the value at a column's path, None where there is none, to the column's value

Column = tuple[str, Callable[[Any], Any]]


def _same(value: Any) -> Any:
    return value


def _id(value: Any) -> int | None:
    return None if value is None else number_of(value)


def _day(value: Any) -> date | None:
    return moment(value).date() if value else None


def _of_day(unit: str) -> Column:
    return "birthDate", lambda value: getattr(_day(value), unit, None)


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _concept(path: str) -> Column:
    return path, lambda code: _standard().get(code, 0)


def _always(value: int) -> Column:
    return "", lambda _: value


_EHR, _NO_CONCEPT = _always(32817), _always(0)
_ID, _PART_ID = ("@id", _id), ("@part", _id)  # see _rows()
_PERSON, _VISIT_ID = ("subject.reference", _id), ("encounter.reference", _id)
_CODE, _DRUG = "code.coding.0.code", "medicationCodeableConcept.coding.0.code"
_DOSAGE = "dosageInstruction.0"
_DOSE = f"{_DOSAGE}.doseAndRate.0.doseQuantity"
_NAMED = f"{_CODE}|code.coding.0.display|code.text"
_ANSWER = "valueCodeableConcept.coding.0.display|valueCodeableConcept.text|valueQuantity.value"
# table: the resource type, and each column in order
TABLES: dict[str, tuple[str, dict[str, Column]]] = {
    "person": ("Patient", {
        "person_id": _ID,
        "gender_concept_id": ("gender", lambda gender: _GENDER.get(gender, 0)),
        "year_of_birth": _of_day("year"),
        "month_of_birth": _of_day("month"),
        "day_of_birth": _of_day("day"),
        "race_concept_id": _NO_CONCEPT,
        "ethnicity_concept_id": _NO_CONCEPT,
        "person_source_value": ("id", _same),
        "gender_source_value": ("gender", _same),
    }),
    "death": ("Patient", {
        "person_id": _ID,
        "death_date": ("deceasedDateTime", _day),
        "death_type_concept_id": _EHR,
    }),
    "visit_occurrence": ("Encounter", {
        "visit_occurrence_id": _ID,
        "person_id": _PERSON,
        "visit_concept_id": ("class.code", lambda kind: _VISIT[kind]),
        "visit_start_date": ("period.start", _day),
        "visit_end_date": ("period.end", _day),
        "visit_type_concept_id": _EHR,
        "visit_source_value": ("class.code", _same),
    }),
    "condition_occurrence": ("Condition", {
        "condition_occurrence_id": _ID,
        "person_id": _PERSON,
        "condition_concept_id": _concept(_CODE),
        "condition_start_date": ("onsetDateTime|recordedDate", _day),
        "condition_end_date": ("abatementDateTime", _day),
        "condition_type_concept_id": _EHR,
        "visit_occurrence_id": _VISIT_ID,
        "condition_source_value": (_CODE, _text),
    }),
    "drug_exposure": ("MedicationRequest", {
        "drug_exposure_id": _ID,
        "person_id": _PERSON,
        "drug_concept_id": _concept(_DRUG),
        "drug_exposure_start_date": ("authoredOn", _day),
        "drug_exposure_end_date": (f"{_DOSAGE}.timing.repeat.boundsPeriod.end", _day),
        "drug_type_concept_id": _EHR,
        "quantity": (f"{_DOSE}.value", _number),
        "sig": (f"{_DOSAGE}.text", _same),
        "visit_occurrence_id": _VISIT_ID,
        "drug_source_value": (_DRUG, _text),
        "route_source_value": (f"{_DOSAGE}.route.coding.0.display", _text),
        "dose_unit_source_value": (f"{_DOSE}.code", _same),
    }),
    "measurement": ("Observation", {
        "measurement_id": _PART_ID,
        "person_id": _PERSON,
        "measurement_concept_id": _concept(_CODE),
        "measurement_date": ("effectiveDateTime", _day),
        "measurement_type_concept_id": _EHR,
        "value_as_number": ("valueQuantity.value", _number),
        "unit_concept_id": ("valueQuantity.code", lambda unit: _UNIT.get(unit, 0)),
        "visit_occurrence_id": _VISIT_ID,
        "measurement_source_value": (_NAMED, _text),
        "unit_source_value": ("valueQuantity.code", lambda unit: unit or None),
        "value_source_value": (_ANSWER, _text),
    }),
    "procedure_occurrence": ("Procedure", {
        "procedure_occurrence_id": _ID,
        "person_id": _PERSON,
        "procedure_concept_id": _NO_CONCEPT,
        "procedure_date": ("performedDateTime", _day),
        "procedure_type_concept_id": _EHR,
        "visit_occurrence_id": _VISIT_ID,
        "procedure_source_value": (_CODE, _text),
    }),
}  # fmt: skip


class Omop:
    """omop/<table>.parquet of a cohort; see core.contracts.CohortFormat."""

    name = "omop"
    modality = "records"

    def convert(self, folder: Path) -> list[Path]:
        """omop/<table>.parquet of the joined NDJSON files below folder, ROWS rows in memory; the paths.

        The key-value metadata of every file says that it is synthetic.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        paths = []
        for name, (kind, columns) in TABLES.items():
            source = folder / FOLDER / f"{kind}.ndjson"
            resources = read_resources(source) if source.exists() else iter(())
            schema = pa.schema([(column, _type(pa, column)) for column in columns], {"synthetic": "true"})
            path = folder / "omop" / f"{name}.parquet"
            waiting = (row for resource in resources for row in _rows(resource, columns))
            with (
                whole_file(path) as temporary,
                pq.ParquetWriter(temporary, schema, compression="zstd") as out,
            ):
                while chunk := list(islice(waiting, ROWS)):
                    out.write_table(pa.Table.from_pylist(chunk, schema), row_group_size=ROWS)
            paths.append(path)
        return paths


def _rows(resource: Resource, columns: Mapping[str, Column]) -> Iterator[dict[str, Any]]:
    """A row, of a panel a row a part; none in the table of deaths for who lives."""
    name = f"{resource['resourceType']}/{resource['id']}"
    for place, part in enumerate(parts_of(resource)):
        named = {**part, "@id": name, "@part": f"{name}/{place}"}
        row = {column: made(value_at(named, path)) for column, (path, made) in columns.items()}
        if row.get("death_date", True) is not None:
            yield row


def _type(pa: Any, column: str) -> Any:
    if column in ("year_of_birth", "month_of_birth", "day_of_birth"):
        return pa.int32()
    if column in ("value_as_number", "quantity"):
        return pa.float64()
    if column.endswith("_date"):
        return pa.date32()
    return pa.int64() if column.endswith("_id") else pa.string()
