"""Declared fields in the health record: stated with their codes where the patient has them, and nowhere else."""

import json
from typing import Any

import pytest

from polyclinic import ProfileEncoder, load_modality
from polyclinic.conditioning.design.cohort_config import CohortConfig
from polyclinic.conditioning.population import Population
from polyclinic.core.config import parse
from polyclinic.core.modality import Record
from polyclinic.core.pipeline import Patient, generate

DECLARE = {
    "melanoma": {"kind": "flag", "label": "Melanoma", "codes": {"icd10cm": "C43.9", "snomed": "372244006"}},
    "mole": {"kind": "flag", "label": "A mole <large>"},
    "mmse": {
        "kind": "number",
        "label": "MMSE",
        "range": [0, 30],
        "unit": "{score}",
        "codes": {"loinc": "72106-8"},
    },
    "cdr": {"kind": "category", "label": "Dementia rating", "classes": [0, 0.5, 1]},
    "lactate": {"kind": "number", "unit": "mmol/L", "range": [0, 30]},
    "unknown": {"kind": "flag"},
}
FIELDS = {"melanoma": 0.5, "mole": 0.5, "mmse": {"mean": 25, "sd": 2}, "cdr": {0: 0.5, 1: 0.5}}


def drawn(**more: Any) -> list[Patient]:
    config = {
        "name": "skin",
        "index_date": {"first": "2024-01-01", "last": "2024-12-31"},
        "age": {"mean": 60, "sd": 15},
        **more,
    }
    population = Population(parse(CohortConfig, config, "skin"), "skin")
    encoder = ProfileEncoder.of(population.vocabulary)
    return list(generate(population.draw(12, 3), [load_modality("records")], encoder, seed=3))


@pytest.fixture(scope="module")
def patients() -> list[Patient]:
    return drawn(declare=DECLARE, fields=FIELDS)


def stated(patient: Patient, kind: str) -> dict[str, dict[str, Any]]:
    resources = patient.records["records"].facts["resources"]
    return {r["code"]["text"]: r for r in resources if r["resourceType"] == kind and "-field-" in r["id"]}


def test_a_flag_is_a_condition_of_those_who_have_it(patients: list[Patient]) -> None:
    for patient in patients:
        found = stated(patient, "Condition")
        has = {"Melanoma": patient.profile.has("melanoma"), "A mole <large>": patient.profile.has("mole")}
        assert set(found) == {label for label, there in has.items() if there}
        if "Melanoma" in found:
            codes = {c["system"].rsplit("/", 1)[-1]: c["code"] for c in found["Melanoma"]["code"]["coding"]}
            assert codes == {"icd-10-cm": "C43.9", "sct": "372244006"}
        if "A mole <large>" in found:
            assert found["A mole <large>"]["code"] == {"text": "A mole <large>"}
            assert "&lt;large" in found["A mole <large>"]["text"]["div"]


def test_numbers_and_classes_are_observations(patients: list[Patient]) -> None:
    for patient in patients:
        found = stated(patient, "Observation")
        assert set(found) == {"MMSE", "Dementia rating"}  # a shipped field is stated by the chart alone
        assert found["MMSE"]["valueQuantity"]["value"] == patient.profile.measurements["mmse"]
        assert found["MMSE"]["code"]["coding"][0]["code"] == "72106-8"
        assert found["Dementia rating"]["valueCodeableConcept"] == {"text": patient.profile.traits["cdr"]}


def test_notes_of_the_index_visit_and_later_know_them(patients: list[Patient]) -> None:
    looked_at = 0
    for patient in patients:
        facts = patient.records["records"].facts
        asked = {
            r["id"]: r["period"]["start"] for r in facts["resources"] if r["resourceType"] == "Encounter"
        }
        first = asked[f"{patient.profile.patient_id}-visit"]
        for note in facts["notes"]:
            if note["meta"]["kind"] in ("visit-note", "discharge-summary"):
                later = asked[note["meta"]["encounter"].removeprefix("Encounter/")] >= first
                said = {
                    s["reference"]: s["text"] for s in note["spans"] if "-field-" in s.get("reference", "")
                }
                on_record = {
                    f"Condition/{resource['id']}": text
                    for text, resource in stated(patient, "Condition").items()
                }
                assert {k: v.lower() for k, v in said.items()} == (
                    {k: v.lower() for k, v in on_record.items()} if later else {}
                )
                looked_at += bool(said)
    assert looked_at > 3


def test_a_note_that_calls_a_declared_diagnosis_otherwise_is_a_breach(patients: list[Patient]) -> None:
    records: Any = load_modality("records")
    patient = next(p for p in patients if "Melanoma" in stated(p, "Condition"))
    record = patient.records["records"]
    notes = json.loads(json.dumps(record.facts["notes"]))
    note = next(n for n in notes if any("-field-" in s.get("reference", "") for s in n["spans"]))
    span = next(s for s in note["spans"] if "-field-" in s.get("reference", ""))
    other = "x" * len(span["text"])
    note["text"] = note["text"][: span["start"]] + other + note["text"][span["end"] :]
    span["text"] = other
    assert records.breaches(Record({}, {**record.facts, "notes": notes}))


def test_the_record_still_keeps_its_rules(patients: list[Patient]) -> None:
    records: Any = load_modality("records")
    assert [broken for patient in patients for broken in records.breaches(patient.records["records"])] == []


def test_the_rest_of_the_record_is_as_without_them(patients: list[Patient]) -> None:
    plain = drawn(declare={"lactate": DECLARE["lactate"]})
    for before, after in zip(plain, patients, strict=True):
        kept = [r for r in after.records["records"].facts["resources"] if "-field-" not in r["id"]]
        assert [r["id"] for r in kept] == [r["id"] for r in before.records["records"].facts["resources"]]
