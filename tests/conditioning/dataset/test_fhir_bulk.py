"""Bulk exports as servers write them: whatever points to a patient is found, and what is no fact is left out."""

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from polyclinic.conditioning.dataset.fhir_bulk import is_fhir_folder, read_fhir
from polyclinic.core.errors import InputError
from polyclinic.core.remarks import DataWarning, remarks

WANTED = ["condition:I10", "observation:8867-4", "observation:8480-6"]
Resource = dict[str, Any]


def patient(name: str, **more: Any) -> Resource:
    identifier = [{"system": "urn:mrn", "value": f"MRN-{name}"}]
    return {
        "resourceType": "Patient", "id": name, "gender": "female", "birthDate": "1960-06-01",
        "identifier": identifier, **more,
    }  # fmt: skip


def condition(subject: Any, **more: Any) -> Resource:
    return {
        "resourceType": "Condition", "subject": subject, "code": {"coding": [{"code": "I10"}]},
        "onsetDateTime": "2020-06-01", **more,
    }  # fmt: skip


def observation(subject: Any, value: Any = 80, **more: Any) -> Resource:
    return {
        "resourceType": "Observation", "status": "final", "subject": subject, "effectiveDateTime": "2021-06-01",
        "code": {"coding": [{"code": "8867-4"}]}, "valueQuantity": {"value": value}, **more,
    }  # fmt: skip


def export(folder: Path, *resources: Resource) -> Path:
    for resource in resources:
        with (folder / f"{resource['resourceType']}.ndjson").open("a") as file:
            file.write(json.dumps(resource) + "\n")
    return folder


OF_A = {"reference": "Patient/a"}
INNER = {"resourceType": "Patient", "id": "p", "identifier": [{"system": "urn:mrn", "value": "MRN-a"}]}
CONTAINED = {"contained": [INNER]}
REFERENCES = [
    (OF_A, {}),
    ({"reference": "https://ehr.example.org/fhir/R4/Patient/a"}, {}),
    ({"reference": "Patient/a/_history/3"}, {}),
    ({"reference": "https://ehr.example.org/fhir/Patient/a/_history/3"}, {}),
    ({"reference": "urn:uuid:a"}, {}),
    ({"reference": "#p"}, CONTAINED),
    ({"reference": "Patient?identifier=urn:mrn|MRN-a"}, {}),
    ({"identifier": {"system": "urn:mrn", "value": "MRN-a"}}, {}),
]


@pytest.mark.parametrize(("subject", "more"), REFERENCES)
def test_every_form_of_reference_leads_to_the_patient(
    tmp_path: Path, subject: Resource, more: Resource
) -> None:
    folder = export(
        tmp_path, patient("a"), patient("b"), condition(subject, **more), observation(subject, **more)
    )
    rows = read_fhir(folder, "id", WANTED).set_index("id")
    assert rows["condition:I10"].to_dict() == {"a": 1, "b": 0}
    assert rows.loc["a", "observation:8867-4"] == 80
    assert rows.loc["a", "age"] == pytest.approx(61, abs=0.01)


def test_components_are_measurements_of_their_own(tmp_path: Path) -> None:
    parts = [{"code": {"coding": [{"code": "8480-6"}]}, "valueQuantity": {"value": 131}}]
    panel = observation(OF_A, None, component=parts)
    assert read_fhir(export(tmp_path, patient("a"), panel), "id", WANTED)["observation:8480-6"].tolist() == [
        131
    ]


@pytest.mark.parametrize(
    ("resource", "said"),
    [
        (condition(OF_A, verificationStatus={"coding": [{"code": "entered-in-error"}]}), "1 conditions"),
        (condition(OF_A, verificationStatus={"coding": [{"code": "refuted"}]}), "1 conditions"),
        (observation(OF_A, status="entered-in-error"), "1 observations entered in error"),
        (observation(OF_A, status="cancelled"), "1 observations entered in error"),
        (condition({"reference": "Patient/x"}), "1 conditions of patients who are not there"),
        (observation({"reference": "#nobody"}), "1 observations of patients who are not there"),
        (observation(None), "1 observations of patients who are not there"),
    ],
)  # fmt: skip
def test_what_is_no_fact_of_a_patient_is_left_out_and_counted(
    tmp_path: Path, resource: Resource, said: str
) -> None:
    with remarks(lambda text: None) as found:
        rows = read_fhir(export(tmp_path, patient("a"), resource), "id", WANTED)
    assert rows[WANTED].to_numpy().tolist() == [[0, None, None]]
    assert sum(said in text for text in found) == 1


def gzipped(folder: Path) -> None:
    plain = folder / "Observation.ndjson"
    (folder / "Observation.ndjson.gz").write_bytes(gzip.compress(plain.read_bytes()))
    plain.unlink()


def numbered(folder: Path) -> None:
    (folder / "Patient.ndjson").rename(folder / "Patient.000.ndjson")
    export(folder, patient("b")).joinpath("Patient.ndjson").rename(folder / "Patient.001.ndjson")


def marked(folder: Path) -> None:
    file = folder / "Patient.ndjson"
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())


@pytest.mark.parametrize("change", [gzipped, numbered, marked])
def test_parts_gzip_and_a_byte_order_mark_are_read(tmp_path: Path, change: Callable[[Path], None]) -> None:
    change(export(tmp_path, patient("a"), observation(OF_A)))
    assert is_fhir_folder(tmp_path)
    assert read_fhir(tmp_path, "id", WANTED)["observation:8867-4"].iloc[0] == 80


@pytest.mark.parametrize(
    ("resource", "message"),
    [
        (observation("Patient/a"), "subject must be a Reference, got str"),
        (observation({"reference": 7}), "reference must be text, got int"),
        (observation(OF_A, "80"), "must be a number, got '80'"),
        (observation(OF_A, True), "must be a number, got True"),
        (
            observation(OF_A, valueQuantity=80),
            "valueQuantity must be a Quantity, got int",
        ),
        (observation(OF_A, code="8867-4"), "code must be a CodeableConcept, got str"),
        (
            observation(OF_A, component={"a": 1}),
            "component must be a list of objects, got dict",
        ),
        (condition(OF_A, onsetDateTime=2020), "onsetDateTime must be text, got int"),
        (patient("a"), "comes twice"),
        (patient("") | {"resourceType": "Patient"}, "without an id"),
    ],
)
def test_wrong_types_are_named_by_file_and_line(tmp_path: Path, resource: Resource, message: str) -> None:
    folder = export(tmp_path, patient("a"), resource)
    line = 2 if resource["resourceType"] == "Patient" else 1
    with pytest.raises(InputError, match=rf"{resource['resourceType']}\.ndjson, line {line}: .*{message}"):
        read_fhir(folder, "id", WANTED)


def test_nulls_are_absent(tmp_path: Path) -> None:
    nothing = {"subject": OF_A, "valueQuantity": None, "component": None}
    with remarks(lambda text: None) as found:
        rows = read_fhir(export(tmp_path, patient("a"), observation({}) | nothing), "id", WANTED)
    assert ["Observation.ndjson: 2 elements are null" in text and "(line 1, " in text for text in found] == [
        True
    ]
    assert rows["observation:8867-4"].tolist() == [None]


def test_outside_of_remarks_a_warning_is_given(tmp_path: Path) -> None:
    with pytest.warns(DataWarning, match="not there"):
        read_fhir(export(tmp_path, patient("a"), condition({"reference": "Patient/x"})), "id", WANTED)


@pytest.mark.parametrize("name", ["Observation.ndjson", "Patient.1.ndjson", "bundle.json"])
def test_a_pipe_is_not_read_for_ever(name: str, tmp_path: Path) -> None:
    if not name.endswith(".json"):
        export(tmp_path, patient("a"))
    os.mkfifo(tmp_path / name)
    with pytest.raises(InputError, match=rf"{name}: expected .*, got a device or a pipe"):
        read_fhir(tmp_path, "id", WANTED)


def test_a_folder_called_as_a_bundle_is_none(tmp_path: Path) -> None:
    (tmp_path / "x.json").mkdir()
    assert not is_fhir_folder(tmp_path)
