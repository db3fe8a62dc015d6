"""MEDS 0.4 of a cohort: every patient's events in order of time, made from the joined FHIR files.

data/{train,tuning,held_out}/<n>.parquet has the events, metadata/ the codes, the splits and the data set. A code is
VOCABULARY//CODE, of a number with its unit (LOINC//2160-0//mg/dL), of an answer with the answer's code, of a visit or a
drug with START or END. A subject's id is the place in Patient.ndjson, counted from 1, as OMOP's person_id.
"""

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ....core.cohort.disk import write_atomic
from ....core.fields import LOINC
from ....core.remarks import remark
from ..data import REPORTS, Resource, parts_of, value_at, whole_file
from ..studies import home_of
from .by_patient import SIGNALS, by_patient, root_of
from .omop_concepts import VOCABULARIES
from .omop_parts import time_at

VERSION = "0.4.1"  # of the schema
SHARD = 1_000  # subjects a file; also what is in memory
SPLITS = {"train": 0.8, "tuning": 0.9, "held_out": 1.0}  # of the hash of the patient's id, up to
_DOSAGE = "dosageInstruction.0"


@dataclass(frozen=True)
class Event:
    """A row. Without a time it is static; columns that do not apply are None."""

    time: datetime | None
    code: str
    numeric_value: float | None = None
    text_value: str | None = None
    image_path: str | None = None
    waveform_path: str | None = None


PATHS = ("image_path", "waveform_path")  # columns beside those of the schema, relative to the cohort


class Meds:
    """meds/ of a cohort; see core.contracts.CohortFormat."""

    name = "meds"
    modality = "records"

    def convert(self, source: Path, folder: Path) -> list[Path]:
        """meds/data and meds/metadata below folder, of the joined NDJSON files below source; the paths.

        Remarks how many events without a date are left out.
        """
        place, codes = folder / "meds", Codes()
        shards = {split: _Shards(place / "data" / split) for split in SPLITS}
        subjects: list[dict[str, Any]] = []
        root, undated = root_of(source), 0
        for number, (patient, resources) in enumerate(by_patient(source), start=1):
            patient_id = str(patient["id"])
            split = split_of(patient_id)
            subjects.append({"subject_id": number, "split": split, "patient_id": patient_id})
            found = list(_events(patient, resources, codes, root))
            dated = [event for event in found if event.time is not None or event.code.startswith(STATIC)]
            undated += len(found) - len(dated)
            dated.sort(key=lambda event: (event.time is not None, event.time or datetime.min))
            shards[split].add(number, dated)
        if undated:
            remark(f"MEDS: {undated} events without a date are left out, since only static events have none")
        paths = [path for split in shards.values() for path in split.finish()]
        return paths + _metadata(place / "metadata", codes, subjects)


def split_of(patient_id: str) -> str:
    """train, tuning or held_out, by the hash of the patient's id: the same in every cohort that has the patient."""
    share = int.from_bytes(blake2b(patient_id.encode(), digest_size=8).digest(), "big") / 2**64
    return next(split for split, most in SPLITS.items() if share < most)


# -- events

STATIC = ("GENDER//", "RACE//", "ETHNICITY//")


@dataclass
class Codes:
    """The codes that events have, each with its description and the code of the vocabulary that it comes from."""

    known: dict[str, tuple[str, list[str]]] = field(default_factory=dict)

    def say(self, code: str, description: str, *parents: str) -> str:
        """The code, which is remembered."""
        self.known.setdefault(code, (description, list(parents)))
        return code

    def of(self, concept: Resource | None, *more: str, also: str = "") -> str:
        """VOCABULARY//CODE of a CodeableConcept's first coding, TEXT//TEXT without one, and what follows it."""
        coding = ((concept or {}).get("coding") or [{}])[0]
        display = str(coding.get("display") or (concept or {}).get("text", ""))
        name, parents = f"TEXT//{display}", list[str]()
        if "code" in coding:
            system = str(coding.get("system", ""))
            vocabulary = VOCABULARIES.get(system, system)
            bare = str(coding["code"]).removeprefix(f"{vocabulary}:")
            name, parents = f"{vocabulary}//{bare}", [f"{vocabulary}/{bare}"]
        return self.say("//".join((name, *more)), f"{display}{also}", *parents)


def _events(
    patient: Resource, resources: Mapping[str, list[Resource]], codes: Codes, root: Path
) -> Iterator[Event]:
    """All events of a patient, not yet in order; of those of one moment a visit's end and the death come last."""
    gender = {"female": "F", "male": "M"}.get(str(patient.get("gender")), "U")
    yield Event(None, codes.say(f"GENDER//{gender}", f"Gender: {patient.get('gender', 'unknown')}"))
    if "birthDate" in patient:
        yield Event(time_at(patient, "birthDate"), codes.say("MEDS_BIRTH", "Birth"))
    for visit in resources.get("Encounter", ()):
        yield _visit(visit, "START", codes)
    for kind, says in _SAYS.items():
        for resource in resources.get(kind, ()):
            yield from says(resource, codes)
    yield from _ecg(patient, resources, codes, root)
    for visit in resources.get("Encounter", ()):
        yield _visit(visit, "END", codes)
    if "deceasedDateTime" in patient:
        yield Event(time_at(patient, "deceasedDateTime"), codes.say("MEDS_DEATH", "Death"))


def _visit(visit: Resource, which: str, codes: Codes) -> Event:
    kind, name = value_at(visit, "class.code", ""), value_at(visit, "class.display", "")
    code = codes.say(f"VISIT//{kind}//{which}", f"{which.capitalize()} of a visit: {name}")
    return Event(time_at(visit, f"period.{which.lower()}"), code)


def _condition(condition: Resource, codes: Codes) -> Iterator[Event]:
    """When it was recorded, not its onset, which nobody knew; and when it was over."""
    yield Event(time_at(condition, "recordedDate|onsetDateTime"), codes.of(condition["code"]))
    if ended := time_at(condition, "abatementDateTime"):
        yield Event(ended, codes.of(condition["code"], "RESOLVED", also=", resolved"))


def _observation(observation: Resource, codes: Codes) -> Iterator[Event]:
    at = time_at(observation, "effectiveDateTime")
    for part in parts_of(observation):
        number, unit = value_at(part, "valueQuantity.value"), value_at(part, "valueQuantity.code")
        if number is not None:
            code = codes.of(part["code"], *([unit] if unit else []), also=f", {unit}" if unit else "")
            yield Event(at, code, numeric_value=float(number))
        elif (answer := part.get("valueCodeableConcept")) is not None:
            said = str(value_at(answer, "text|coding.0.display", ""))
            code = codes.of(part["code"], Codes().of(answer), also=f": {said}")
            yield Event(at, code, text_value=said)
        else:
            yield Event(at, codes.of(part["code"]))


def _order(order: Resource, codes: Codes) -> Iterator[Event]:
    """The start with its single dose, and the end where one is stated."""
    drug = order.get("medicationCodeableConcept")
    dose = value_at(order, f"{_DOSAGE}.doseAndRate.0.doseQuantity", {})
    unit = dose.get("code")
    code = codes.of(
        drug, *([unit] if unit else []), "START", also=f", start, dose in {unit}" if unit else ", start"
    )
    amount = None if "value" not in dose else float(dose["value"])
    yield Event(time_at(order, "authoredOn"), code, numeric_value=amount)
    if ended := time_at(order, f"{_DOSAGE}.timing.repeat.boundsPeriod.end"):
        yield Event(ended, codes.of(drug, "END", also=", end"))


def _procedure(procedure: Resource, codes: Codes) -> Iterator[Event]:
    yield Event(time_at(procedure, "performedDateTime"), codes.of(procedure["code"]))


def _image(study: Resource, codes: Codes) -> Iterator[Event]:
    uid = str(value_at(study, "identifier.0.value", "")).removeprefix("urn:oid:")
    patient = str(study["subject"]["reference"]).removeprefix("Patient/")
    for series in study["series"]:
        path = f"{home_of(study, 'imaging')}dicom/{patient}/{uid}/{series['uid']}"
        code = codes.of({"coding": [series["modality"]]})
        yield Event(time_at(study, "started"), code, image_path=path)


def _text(resource: Resource, codes: Codes) -> Iterator[Event]:
    """The text of a report or a document, at the time at which it is there to read."""
    data = value_at(resource, "presentedForm.0.data|content.0.attachment.data")
    if data is not None:
        at = time_at(resource, "issued|date|effectiveDateTime")
        code = codes.of(resource.get("type") or resource["code"], "TEXT", also=", text")
        yield Event(at, code, text_value=base64.b64decode(data).decode())


_SAYS = {
    "Condition": _condition,
    "Observation": _observation,
    "MedicationRequest": _order,
    "Procedure": _procedure,
    "ImagingStudy": _image,
    "DiagnosticReport": _text,
    "DocumentReference": _text,
}


def _ecg(
    patient: Resource, resources: Mapping[str, list[Resource]], codes: Codes, root: Path
) -> Iterator[Event]:
    loinc, name = REPORTS["ecg"][:2]
    for report in resources.get("DiagnosticReport", ()):
        path = f"{home_of(report, 'signals')}{SIGNALS}/{patient['id']}/ecg"
        if value_at(report, "code.coding.0.code") == loinc and (root / path).with_suffix(".hea").exists():
            code = codes.of({"coding": [{"system": LOINC, "code": loinc, "display": name}]})
            yield Event(time_at(report, "effectiveDateTime"), code, waveform_path=path)


# -- files


class _Shards:
    """The files of one split, SHARD subjects each."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.paths = folder, list[Path]()
        self._rows: list[dict[str, Any]] = []
        self._subjects = 0

    def add(self, subject: int, events: list[Event]) -> None:
        """All events of a subject, in order of time."""
        self._rows += ({"subject_id": subject, **vars(event)} for event in events)
        self._subjects += 1
        if self._subjects == SHARD:
            self._write()

    def finish(self) -> list[Path]:
        """The paths of all files."""
        if self._subjects:
            self._write()
        return self.paths

    def _write(self) -> None:
        import pyarrow as pa

        schema = pa.schema(
            [
                pa.field("subject_id", pa.int64(), nullable=False),
                pa.field("time", pa.timestamp("us")),
                pa.field("code", pa.string(), nullable=False),
                pa.field("numeric_value", pa.float32()),
                pa.field("text_value", pa.large_string()),
                *(pa.field(name, pa.string()) for name in PATHS),
            ]
        )
        path = self.folder / f"{len(self.paths)}.parquet"
        _write(path, self._rows, schema)
        self.paths.append(path)
        self._rows, self._subjects = [], 0


def _write(path: Path, rows: list[dict[str, Any]], schema: Any) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    marked = schema.with_metadata({"synthetic": "true"})
    with whole_file(path) as temporary:
        pq.write_table(pa.Table.from_pylist(rows, marked), temporary, compression="zstd")


def _metadata(folder: Path, codes: Codes, subjects: list[dict[str, Any]]) -> list[Path]:
    """codes.parquet, subject_splits.parquet, patients.parquet (the patient of each subject) and dataset.json."""
    import pyarrow as pa

    text, number = pa.string(), pa.int64()
    listed = pa.list_(text)
    schemas = {
        "codes": pa.schema([("code", text), ("description", text), ("parent_codes", listed)]),
        "subject_splits": pa.schema([("subject_id", number), ("split", text)]),
        "patients": pa.schema([("subject_id", number), ("patient_id", text)]),
    }
    rows = {
        "codes": [
            {"code": code, "description": description, "parent_codes": parents}
            for code, (description, parents) in sorted(codes.known.items())
        ],
        "subject_splits": [{key: s[key] for key in ("subject_id", "split")} for s in subjects],
        "patients": [{key: s[key] for key in ("subject_id", "patient_id")} for s in subjects],
    }
    for name, schema in schemas.items():
        _write(folder / f"{name}.parquet", rows[name], schema)
    about = {
        "dataset_name": "Polyclinic synthetic patients",
        "dataset_version": version("polyclinic"),
        "etl_name": "polyclinic",
        "etl_version": version("polyclinic"),
        "meds_version": VERSION,
        "additional_value_modality_columns": list(PATHS),
    }
    write_atomic(folder / "dataset.json", (json.dumps(about, indent=1) + "\n").encode())
    return [*(folder / f"{name}.parquet" for name in schemas), folder / "dataset.json"]
