"""OMOP and MEDS of a cohort: in the programs of their users, with the right dates, units, visits and amounts."""

import importlib.util
import json
import sys
from collections import Counter
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from polyclinic.conditioning.population import Population
from polyclinic.core.errors import InputError
from polyclinic.core.modality import Batch, Record
from polyclinic.core.profile import seed_for
from polyclinic.core.remarks import remarks
from polyclinic.modalities.records import Records
from polyclinic.modalities.records.formats import omop
from polyclinic.modalities.records.formats.meds import SPLITS, split_of

PROFILES = tuple(Population.load("general_ward").draw(16, 3))
FACTS = {
    "imaging": {
        "study_uid": "2.25.1", "series_uid": "2.25.2", "instance_uid": "2.25.3", "view": "PA", "findings": ["J90"],
    },
    "signals": {"rhythm": "sinus", "heart_rate": 71.0, "beats": 12},
}  # fmt: skip
ALL = {"formats": ["omop", "meds"]}
HEADER = "ecg 2 500 5000\necg.dat 16 1000(0)/mV 16 0 0 0 0 I\necg.dat 16 1000(0)/mV 16 0 0 0 0 II\n"


@pytest.fixture(scope="module")
def readers() -> ModuleType:
    """benchmarks/readers.py: one function a program."""
    path = Path(__file__).parents[4] / "benchmarks" / "readers.py"
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    spec = importlib.util.spec_from_file_location("readers", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["readers"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def records() -> list[Record]:
    seeds = tuple(seed_for(3, p.patient_id, "records") for p in PROFILES)
    batch = Batch(PROFILES, np.zeros((len(PROFILES), 0), np.float32), seeds, (FACTS,) * len(PROFILES))
    return Records(ALL).generator(()).sample(batch)


def write(folder: Path, records: list[Record], sizes: list[int], profiles: Any = PROFILES) -> dict[str, None]:
    """A cohort below folder, in slices of these sizes; what was remarked."""
    for profile in profiles:
        place = folder / "wfdb" / profile.patient_id
        place.mkdir(parents=True, exist_ok=True)
        (place / "ecg.hea").write_text(HEADER)
    modality, pieces, start = Records(ALL), [], 0
    for size in sizes:
        pieces.append(folder / ".pending" / f"{len(pieces)}")
        pieces[-1].mkdir(parents=True)
        modality.export(records[start : start + size], profiles[start : start + size], pieces[-1])
        start += size
    with remarks(lambda _: None) as said:
        modality.assemble(pieces, folder)
    return said


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory, records: list[Record]) -> Path:
    folder = tmp_path_factory.mktemp("tables")
    write(folder, records, [10, 6])
    return folder


def rows(cohort: Path, table: str) -> list[dict[str, Any]]:
    return list(pq.read_table(cohort / "omop" / f"{table}.parquet").to_pylist())


def events(cohort: Path) -> list[dict[str, Any]]:
    paths = sorted((cohort / "meds" / "data").rglob("*.parquet"))
    return [row for path in paths for row in pq.read_table(path).to_pylist()]


def resources_of(records: list[Record], kind: str) -> list[dict[str, Any]]:
    return [r for record in records for r in record.facts["resources"] if r["resourceType"] == kind]


# -- programs


@pytest.mark.parametrize("name", ["duckdb", "meds", "ehrdata"])
def test_the_programs_read_them_without_an_error(cohort: Path, readers: ModuleType, name: str) -> None:
    try:
        row = readers.READERS[name](cohort)
    except readers.AbsentError as why:
        pytest.skip(str(why))
    assert row.errors == []
    assert row.files > 3
    assert any(character in "123456789" for character in row.figure)


def test_a_lost_visit_and_a_lost_code_are_errors(cohort: Path, readers: ModuleType, tmp_path: Path) -> None:
    pytest.importorskip("omop_lite")
    pytest.importorskip("meds")
    for path in cohort.rglob("*.*"):
        if path.suffix in (".parquet", ".json"):
            target = tmp_path / path.relative_to(cohort)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    for path in (
        tmp_path / "omop" / "visit_occurrence.parquet",
        tmp_path / "meds" / "metadata" / "codes.parquet",
    ):
        pq.write_table(pq.read_table(path).slice(40), path)
    assert any("point to no row of visit_occurrence" in e for e in readers.duckdb_ddl(tmp_path).errors)
    assert any("codes.parquet lacks" in e for e in readers.meds_schema(tmp_path).errors)


# -- OMOP


def test_omop_holds_every_event(cohort: Path, records: list[Record]) -> None:
    kinds = Counter(r["resourceType"] for record in records for r in record.facts["resources"])
    tables = {name: rows(cohort, name) for name in omop.columns()}
    observed = sum(len(r.get("component", [1])) for r in resources_of(records, "Observation"))
    assert len(tables["person"]) == len(tables["observation_period"]) == kinds["Patient"]
    assert len(tables["visit_occurrence"]) == kinds["Encounter"]
    assert len(tables["condition_occurrence"]) == kinds["Condition"]
    assert len(tables["drug_exposure"]) == kinds["MedicationRequest"]
    assert len(tables["measurement"]) + len(tables["observation"]) == observed
    assert len(tables["procedure_occurrence"]) == kinds["Procedure"] + 2 * len(PROFILES)  # image and ECG
    assert len(tables["note"]) == kinds["DiagnosticReport"] + kinds["DocumentReference"]
    assert len(tables["cdm_source"]) == 1
    for name, table in tables.items():
        metadata = pq.read_schema(cohort / "omop" / f"{name}.parquet").metadata
        assert metadata[b"synthetic"] == b"true"
        if table and f"{name}_id" in table[0]:
            assert [row[f"{name}_id"] for row in table] == list(range(1, len(table) + 1))


def test_dates_units_visits_and_amounts_are_right(cohort: Path, records: list[Record]) -> None:
    visits = {row["visit_occurrence_id"]: row for row in rows(cohort, "visit_occurrence")}
    periods = {row["person_id"]: row for row in rows(cohort, "observation_period")}
    for row in rows(cohort, "measurement"):
        visit, period = visits[row["visit_occurrence_id"]], periods[row["person_id"]]
        assert visit["visit_start_datetime"] <= row["measurement_datetime"] <= visit["visit_end_datetime"]
        assert visit["person_id"] == row["person_id"]
        assert period["observation_period_start_date"] <= row["measurement_date"]
        assert row["measurement_date"] <= period["observation_period_end_date"]
        if row["measurement_source_value"] == "8480-6":
            assert (row["measurement_concept_id"], row["unit_concept_id"]) == (3004249, 8876)
    orders = {r["dosageInstruction"][0]["text"]: r for r in resources_of(records, "MedicationRequest")}
    checked = 0
    for row in rows(cohort, "drug_exposure"):
        order = orders[row["sig"]]["dosageInstruction"][0]
        repeat, dose = order["timing"]["repeat"], order["doseAndRate"][0]["doseQuantity"]
        days = (
            row["drug_exposure_end_datetime"] - row["drug_exposure_start_datetime"]
        ).total_seconds() / 86400
        if not dose["code"].endswith("/min"):
            wanted = max(dose["value"], dose["value"] * days * repeat["frequency"] / repeat["period"])
            assert wanted - 1e-6 <= row["quantity"] <= wanted + dose["value"] + 1e-6
            assert row["dose_unit_source_value"] == dose["code"]
            checked += 1
    assert checked > 20
    assert {row["gender_concept_id"] for row in rows(cohort, "person")} == {8507, 8532}


def test_an_infusion_is_rate_times_time() -> None:
    from datetime import timedelta

    from polyclinic.modalities.records.formats.omop_parts import amount

    dose = [{"doseQuantity": {"value": 8, "code": "ug/min"}}]
    dosage = {"timing": {"repeat": {"frequency": 1, "period": 1}}, "doseAndRate": dose}
    assert amount({"dosageInstruction": [dosage]}, timedelta(hours=2)) == (960.0, "ug")


def test_the_image_and_the_ecg_are_in_the_extensions(cohort: Path) -> None:
    (image, *_), features = rows(cohort, "image_occurrence"), rows(cohort, "image_feature")
    assert (image["image_study_uid"], image["image_series_uid"]) == ("2.25.1", "2.25.2")
    assert image["local_path"] == f"dicom/{PROFILES[0].patient_id}/2.25.1/2.25.2"
    assert {feature["image_feature_concept_id"] for feature in features} == {254061}  # pleural effusion
    (recording, *_) = rows(cohort, "waveform_occurrence")
    length = recording["waveform_occurrence_end_datetime"] - recording["waveform_occurrence_start_datetime"]
    assert length.total_seconds() == 10
    assert [row["waveform_channel_source_value"] for row in rows(cohort, "waveform_channel_metadata")[:2]] == [
        "I", "II",
    ]  # fmt: skip
    measured = {row["measurement_id"]: row for row in rows(cohort, "measurement")}
    for feature in rows(cohort, "waveform_feature"):
        value = measured[feature["measurement_id"]]
        assert value["value_as_number"] == feature["value_as_number"]
    assert len(rows(cohort, "waveform_feature")) == 2 * len(PROFILES)


def test_codes_without_a_concept_are_listed(tmp_path: Path, records: list[Record]) -> None:
    said = [text for text in write(tmp_path, records, [16]) if text.startswith("OMOP")]
    assert len(said) == 1
    assert "LOINC 8884-9" in said[0]
    assert "LOINC 8480-6" not in said[0]
    listed = {row["source_code"]: row["target_concept_id"] for row in rows(tmp_path, "source_to_concept_map")}
    assert listed["8480-6"] == 3004249
    assert listed["8884-9"] == 0
    zero = {code for code, concept in listed.items() if not concept}
    assert all(code in said[0] for code in zero)


def test_patients_without_dates_are_left_out_and_told(tmp_path: Path) -> None:
    people = [PROFILES[0].but(index_date=None), PROFILES[1]]
    batch = Batch(tuple(people), np.zeros((2, 0), np.float32), (1, 2))
    said = write(tmp_path, Records().generator(()).sample(batch), [2], people)
    assert [row["person_id"] for row in rows(tmp_path, "person")] == [2]
    assert any("1 patients without a date are left out" in text for text in said)
    assert any(text.startswith("MEDS") for text in said)
    assert {e["code"][:8] for e in events(tmp_path) if e["subject_id"] == 1} <= {"GENDER//"}


def test_more_rows_than_32_bits_can_count_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(omop, "MOST", 0)
    with pytest.raises(InputError, match="cdm_source has more than 0 rows"), omop.Tables(tmp_path) as tables:
        tables.add("cdm_source")
    assert list(tmp_path.iterdir()) == []


# -- MEDS


def test_meds_has_statics_units_answers_and_ends(cohort: Path) -> None:
    found = events(cohort)
    assert {e["code"] for e in found if e["time"] is None} == {"GENDER//F", "GENDER//M"}
    codes = {e["code"] for e in found}
    assert {
        "MEDS_BIRTH",
        "LOINC//8480-6//mm[Hg]",
        "DICOM//DX",
        "VISIT//AMB//START",
        "VISIT//AMB//END",
    } <= codes
    pressure = [e["numeric_value"] for e in found if e["code"] == "LOINC//8480-6//mm[Hg]"]
    assert all(40 <= value <= 300 for value in pressure)
    assert {e["text_value"] for e in found if e["code"] == "LOINC//8884-9//SNOMED//426783006"} == {"sinus"}
    ecg = next(e for e in found if e["waveform_path"])
    assert (cohort / ecg["waveform_path"]).with_suffix(".hea").exists()
    starts = Counter(e["subject_id"] for e in found if e["code"].startswith("VISIT") and "START" in e["code"])
    ends = Counter(e["subject_id"] for e in found if e["code"].startswith("VISIT") and "END" in e["code"])
    assert starts == ends
    about = json.loads((cohort / "meds" / "metadata" / "dataset.json").read_text())
    assert about["meds_version"].startswith("0.4")


def test_subjects_are_the_persons_of_omop_and_keep_their_split(cohort: Path) -> None:
    meta = cohort / "meds" / "metadata"
    patients = {
        r["subject_id"]: r["patient_id"] for r in pq.read_table(meta / "patients.parquet").to_pylist()
    }
    splits = {r["subject_id"]: r["split"] for r in pq.read_table(meta / "subject_splits.parquet").to_pylist()}
    assert patients == {row["person_id"]: row["person_source_value"] for row in rows(cohort, "person")}
    assert splits == {subject: split_of(patient) for subject, patient in patients.items()}
    counts = Counter(split_of(f"p{number}") for number in range(4000))
    assert set(counts) == set(SPLITS)
    assert abs(counts["train"] / 4000 - 0.8) < 0.03


def test_events_are_those_of_omop(cohort: Path) -> None:
    numbers = sorted(
        (r["person_id"], r["measurement_datetime"], np.float32(r["value_as_number"]))
        for r in rows(cohort, "measurement")
        if r["value_as_number"] is not None
    )
    found = sorted(
        (e["subject_id"], e["time"], np.float32(e["numeric_value"]))
        for e in events(cohort)
        if e["numeric_value"] is not None and e["code"].startswith(("LOINC", "HGNC"))
    )
    assert found == numbers
    assert isinstance(found[0][1], datetime)


# -- both


def test_the_bytes_do_not_depend_on_slices(cohort: Path, tmp_path: Path, records: list[Record]) -> None:
    write(tmp_path, records, [1, 0, 11, 4])
    for name in ("omop", "meds"):
        ours = {p.relative_to(cohort): p.read_bytes() for p in (cohort / name).rglob("*.*")}
        theirs = {p.relative_to(tmp_path): p.read_bytes() for p in (tmp_path / name).rglob("*.*")}
        assert ours == theirs
        assert len(ours) > 4


def test_resources_out_of_order_are_refused(cohort: Path, tmp_path: Path) -> None:
    (tmp_path / "fhir").mkdir()
    for path in (cohort / "fhir").iterdir():
        lines = path.read_text().splitlines(keepends=True)
        (tmp_path / "fhir" / path.name).write_text(
            "".join(reversed(lines) if path.stem == "Encounter" else lines)
        )
    with pytest.raises(InputError, match=r"Encounter\.ndjson: expected resources in the order"):
        omop.Omop().convert(tmp_path, tmp_path / "out")
