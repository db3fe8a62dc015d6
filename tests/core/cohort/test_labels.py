"""labels.csv: one row a record, whatever number of files the record has."""

import csv
from pathlib import Path

from polyclinic.core.cohort.labels import Part, stores_of, write_labels
from polyclinic.core.profile import PatientProfile

PEOPLE = [
    PatientProfile("PC-1", conditions={"J18.9": True}),
    PatientProfile("PC-2", conditions={"J18.9": False}),
]


def rows(folder: Path, files: list[str], shared: dict[str, list[str]] | None = None) -> list[tuple[str, ...]]:
    for path in files:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
    for top in shared or {}:
        (folder / top).parent.mkdir(parents=True, exist_ok=True)
    have = {"some": [patient for patients in (shared or {}).values() for patient in patients]}
    parts = [Part(PEOPLE, files, have)]
    (written,) = write_labels(folder, parts, ["J18.9"], (), dict.fromkeys(shared or {}, "some"))
    head, *found = csv.reader(written.read_text().splitlines())
    assert head == ["patient_id", "file", "J18.9"]
    return [tuple(row) for row in found]


def test_a_record_of_several_files_has_one_row(tmp_path: Path) -> None:
    ends = ("ecg.atr", "ecg.dat", "ecg.hea", "ecg.waves", "vitals.dat", "vitals.hea")
    files = [f"wfdb/{patient}/{end}" for patient in ("PC-1", "PC-2") for end in ends]
    assert rows(tmp_path, files) == [
        ("PC-1", "PC-1/ecg.hea", "yes"),
        ("PC-1", "PC-1/vitals.hea", "yes"),
        ("PC-2", "PC-2/ecg.hea", "no"),
        ("PC-2", "PC-2/vitals.hea", "no"),
    ]


def test_names_with_dots_are_records_of_their_own(tmp_path: Path) -> None:
    files = ["dicom/PC-1/2.25.1/2.25.7.dcm", "dicom/PC-1/2.25.1/2.25.8.dcm", "dicom/PC-1/2.25.2/2.25.7.dcm"]
    assert [file for _, file, _ in rows(tmp_path, files)] == [path.removeprefix("dicom/") for path in files]


def test_a_shared_store_has_a_row_a_patient(tmp_path: Path) -> None:
    found = rows(tmp_path, [], {"omics/rna.zarr": ["PC-2", "PC-1"]})
    assert found == [("PC-1", "rna.zarr", "yes"), ("PC-2", "rna.zarr", "no")]


def test_stores_are_files_in_which_each_patient_has_a_place() -> None:
    files = ["fhir/Patient.ndjson", "fhir/Observation.ndjson", "notes/ecg.jsonl", "notes/imaging.jsonl"]
    assert stores_of(files) == ["fhir/Patient.ndjson"]
    assert stores_of(["omics/rna.zarr/zarr.json", "omics/rna.zarr/X/c/0"]) == ["omics/rna.zarr"]
    assert stores_of(["genotypes/genotypes.vcf.gz", "genotypes/genotypes.vcf.gz.tbi"]) == [
        "genotypes/genotypes.vcf.gz"
    ]
    assert stores_of(["table/one.parquet"]) == ["table/one.parquet"]
