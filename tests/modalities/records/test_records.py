"""Health records: valid FHIR that states the other modalities' facts, same bytes however sliced, checked."""

import json
import re
from collections.abc import Mapping
from datetime import date
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polyclinic.conditioning.encoder import ProfileEncoder
from polyclinic.conditioning.population import Population
from polyclinic.core.errors import InputError
from polyclinic.core.fields import BREAST_CANCER, FIELDS, SNOMED
from polyclinic.core.modality import Batch, Facts, Record, TrainingSet
from polyclinic.core.profile import PatientProfile, seed_for, uid_for
from polyclinic.core.registry import load_modality
from polyclinic.modalities.records import Records
from polyclinic.modalities.records.case import Case
from polyclinic.modalities.records.data import NOTE_KINDS, TYPES
from polyclinic.modalities.records.metrics import check_references, violations
from polyclinic.modalities.records.notes.consistency import contradictions
from polyclinic.modalities.records.rules.clinical import check
from polyclinic.modalities.records.us_core.hospital import hospital

RUN = 5
PROFILES = tuple(Population.load("cardio_oncology").draw(40, RUN))
WHOLE: list[Record] = []


def facts_of(profile: PatientProfile) -> dict[str, Facts]:
    """Made-up facts of the earlier modalities, as their contracts say; one patient in three lacks each."""
    index = int(profile.patient_id[-6:])
    seed = seed_for(RUN, profile.patient_id, "imaging")
    facts: dict[str, Facts] = {}
    if index % 3 != 0:
        facts["imaging"] = {
            "findings": [code for code in ("I51.7", "J90") if profile.has(code)],
            "view": profile.traits["chest_view"],
            "body_part": "CHEST",
            **{f"{part}_uid": uid_for(seed, part) for part in ("study", "series", "instance")},
        }
    if index % 3 != 1:
        rhythm = "atrial fibrillation" if profile.has("I48.91") else "sinus"
        facts["signals"] = {"heart_rate": 71.2345 + index, "rhythm": rhythm, "beats": 12, "waves": []}
    if index % 3 != 2:
        subtype = profile.traits.get("pam50")
        facts["omics"] = {"pam50": subtype, "ESR1": 12.3456, "PGR": 9.0, "ERBB2": 13.5, "MKI67": 10.25}
    return facts


def sample(profiles: tuple[PatientProfile, ...]) -> list[Record]:
    """Their records; those of all PROFILES are drawn once."""
    if profiles is not PROFILES:
        return draw(profiles)
    if not WHOLE:
        WHOLE.extend(draw(PROFILES))
    return WHOLE


def draw(profiles: tuple[PatientProfile, ...]) -> list[Record]:
    encoder = ProfileEncoder()
    seeds = tuple(seed_for(RUN, p.patient_id, "records") for p in profiles)
    batch = Batch(profiles, encoder.encode(profiles), seeds, tuple(facts_of(p) for p in profiles))
    return Records().generator(encoder.columns).sample(batch)


def resources(record: Record, kind: str) -> list[dict[str, Any]]:
    return [r for r in record.facts["resources"] if r["resourceType"] == kind]


def write(folder: Path, sizes: list[int]) -> dict[str, bytes]:
    """A cohort's fhir folder, written in slices of these sizes; its files' bytes."""
    pieces, start = [], 0
    for size in sizes:
        profiles = PROFILES[start : start + size]
        records = sample(PROFILES)[start : start + size]
        pieces.append(folder / "work" / f"{len(pieces)}")
        pieces[-1].mkdir(parents=True)
        Records().export(records, profiles, pieces[-1])
        start += size
    assert start == len(PROFILES)
    paths = Records().assemble(pieces, folder)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def write_images(folder: Path) -> None:
    """The least of a DICOM file for every imaging fact."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian

    for profile in PROFILES:
        if (facts := facts_of(profile).get("imaging")) is None:
            continue
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
        meta.MediaStorageSOPInstanceUID = facts["instance_uid"]
        image = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        image.StudyInstanceUID = facts["study_uid"]
        image.SeriesInstanceUID = facts["series_uid"]
        image.SOPInstanceUID = facts["instance_uid"]
        path = folder / "dicom" / profile.patient_id / "study" / "series" / "instance.dcm"
        path.parent.mkdir(parents=True)
        image.save_as(path, enforce_file_format=True)


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    write(tmp_path, [len(PROFILES)])
    write_images(tmp_path)
    return tmp_path


def test_resources_are_valid_fhir() -> None:
    seen: dict[str, int] = {}
    for record in sample(PROFILES):
        for resource in record.facts["resources"]:
            kind = resource["resourceType"]
            seen[kind] = seen.get(kind, 0) + 1
            if seen[kind] > 120:  # a validation takes milliseconds
                continue
            model = getattr(import_module(f"fhir.resources.R4B.{kind.lower()}"), kind)
            assert json.loads(model.model_validate(resource).model_dump_json()) == resource
    for resource in hospital():
        kind = resource["resourceType"]
        seen[kind] = seen.get(kind, 0) + 1
        model = getattr(import_module(f"fhir.resources.R4B.{kind.lower()}"), kind)
        assert json.loads(model.model_validate(resource).model_dump_json()) == resource
    assert set(seen) == set(TYPES)


def test_every_resource_says_it_is_synthetic() -> None:
    for record in sample(PROFILES):
        for resource in record.facts["resources"]:
            assert {"HTEST"} == {tag["code"] for tag in resource["meta"]["tag"]}
            assert resource["text"]["status"] == "generated"
            assert "Synthetic" in resource["text"]["div"]
        (patient,) = resources(record, "Patient")
        assert patient["name"][0]["family"].startswith("Synthetic-")


def test_conditions_and_measurements_are_the_profile_s() -> None:
    for profile, record in zip(PROFILES, sample(PROFILES), strict=True):
        coded = {r["code"]["coding"][0]["code"] for r in resources(record, "Condition")}
        present = {code for code, has in profile.conditions.items() if has}
        assert {code for code in coded if code in profile.conditions} == present
        values: dict[str, Any] = {}
        first = record.facts["resources"][0]["id"] + "-visit"
        for resource in reversed(resources(record, "Observation")):
            if resource.get("encounter", {}).get("reference") != f"Encounter/{first}":
                continue
            for part in [resource, *resource.get("component", [])]:
                if "valueQuantity" in part:
                    values[part["code"]["coding"][0]["code"]] = part["valueQuantity"]
        for known in FIELDS:
            if known.kind == "number" and known.name != "age":
                assert values[known.codes["loinc"]]["value"] == profile.get(known.name)
                assert values[known.codes["loinc"]]["code"] == known.unit


def test_age_on_the_index_date_agrees_with_the_birth_date() -> None:
    for profile, record in zip(PROFILES, sample(PROFILES), strict=True):
        (patient,) = resources(record, "Patient")
        (visit,) = (r for r in resources(record, "Encounter") if r["id"].endswith("-visit"))
        born, day = (
            date.fromisoformat(patient["birthDate"]),
            date.fromisoformat(visit["period"]["start"][:10]),
        )
        assert profile.age is not None
        assert day == profile.index_date
        assert day.year - born.year - ((day.month, day.day) < (born.month, born.day)) == int(profile.age)


def test_facts_of_the_other_modalities_are_stated() -> None:
    stated = set()
    for profile, record in zip(PROFILES, sample(PROFILES), strict=True):
        facts = facts_of(profile)
        reports = {r["id"].split("report-")[1]: r for r in resources(record, "DiagnosticReport")}
        kinds = {"imaging": "chest-xray", "signals": "ecg", "omics": "tumour-expression"}
        assert set(reports) - {"pathology"} == {kinds[name] for name in facts}
        assert ("pathology" in reports) == any(profile.has(code) for code in BREAST_CANCER)
        assert len(resources(record, "ImagingStudy")) == ("imaging" in facts)
        if "imaging" in facts:
            (study,) = resources(record, "ImagingStudy")
            assert study["identifier"][0]["value"] == f"urn:oid:{facts['imaging']['study_uid']}"
            assert study["series"][0]["uid"] == facts["imaging"]["series_uid"]
            assert study["series"][0]["instance"][0]["uid"] == facts["imaging"]["instance_uid"]
            codes = [c["coding"][0]["code"] for c in reports["chest-xray"].get("conclusionCode", [])]
            assert codes == facts["imaging"]["findings"]
            said = reports["chest-xray"]["conclusion"]
            assert facts["imaging"]["view"] in said
            assert ("Cardiomegaly" in said) == ("I51.7" in codes)
        if "signals" in facts:
            assert facts["signals"]["rhythm"] in reports["ecg"]["conclusion"]
            assert f"{facts['signals']['heart_rate']:.1f} /min" in reports["ecg"]["conclusion"]
            assert len(reports["ecg"]["result"]) == 2
        if "omics" in facts:
            said = reports["tumour-expression"]["conclusion"]
            assert "ESR1 12.35" in said
            assert ("PAM50" in said) == (facts["omics"]["pam50"] is not None)
            assert len(reports["tumour-expression"]["result"]) == 4 + ("PAM50" in said)
        stated |= set(facts)
    assert stated == {"imaging", "signals", "omics"}


def test_unknown_fields_are_left_out() -> None:
    bare = PatientProfile("P-1")
    batch = Batch((bare,), np.zeros((1, 0), np.float32), (1,), ({"signals": {}, "omics": {}},))
    (record,) = Records().generator(()).sample(batch)
    kinds = [r["resourceType"] for r in record.facts["resources"]]
    assert kinds == ["Patient", "Encounter"]
    (patient,) = resources(record, "Patient")
    assert patient["gender"] == "unknown"
    assert "birthDate" not in patient


@pytest.mark.parametrize(
    ("profile", "facts", "message"),
    [
        (PatientProfile("no spaces here"), {}, "patient id"),
        (PatientProfile("P" * 33), {}, "patient id"),
        (PatientProfile("P-1"), {"signals": {"rhythm": "waltz"}}, "ECG rhythm 'waltz'"),
    ],
)
def test_what_cannot_be_written_is_refused(
    profile: PatientProfile, facts: Mapping[str, Facts], message: str
) -> None:
    batch = Batch((profile,), np.zeros((1, 0), np.float32), (1,), (facts,))
    with pytest.raises(InputError, match=message):
        Records().generator(()).sample(batch)


def test_bytes_do_not_depend_on_slices(tmp_path: Path) -> None:
    whole = write(tmp_path / "a", [len(PROFILES)])
    assert whole == write(tmp_path / "b", [1, 7, 2, 0, len(PROFILES) - 10])
    notes = set(NOTE_KINDS) - {"visit-note", "imaging"}  # everybody here has a stay or lacks traces; chests
    assert set(whole) >= {f"fhir/{kind}.ndjson" for kind in TYPES} | {f"notes/{kind}.jsonl" for kind in notes}


def test_record_does_not_depend_on_the_batch() -> None:
    assert draw(PROFILES[7:8]) == sample(PROFILES)[7:8]
    assert draw(PROFILES[12:5:-1]) == sample(PROFILES)[12:5:-1]


def test_read_gives_back_what_was_written(cohort: Path) -> None:
    wanted = [PROFILES[i].patient_id for i in (5, 0, 39)]
    read = Records().read(cohort, [*wanted, "PC-000000-000000"])
    assert list(read) == wanted
    whole = sample(PROFILES)
    assert [read[key].facts for key in wanted] == [whole[i].facts for i in (5, 0, 39)]


def test_files_that_changed_are_read_again(cohort: Path) -> None:
    wanted = [PROFILES[0].patient_id]
    first = Records().read(cohort, wanted)[wanted[0]].facts["resources"]
    file = cohort / "fhir" / "Patient.ndjson"
    file.write_text(
        file.read_text()
        .replace('"gender":"female"', '"gender":"unknown"')
        .replace('"gender":"male"', '"gender":"unknown"')
    )
    again = Records().read(cohort, wanted)[wanted[0]].facts["resources"]
    assert [r.get("gender") for r in again] == ["unknown" if "gender" in r else None for r in first]
    assert first != again


def test_missing_and_damaged_files_are_refused(cohort: Path, tmp_path: Path) -> None:
    (cohort / "fhir" / "Condition.ndjson").write_text('{"resourceType": "Cond')
    with pytest.raises(InputError, match=r"Condition\.ndjson, line 1: expected one JSON resource"):
        Records().read(cohort, [])
    (cohort / "fhir" / "Condition.ndjson").write_text("[]\n")
    with pytest.raises(InputError, match=r"line 1: expected a JSON object"):
        Records().read(cohort, [])
    with pytest.raises(InputError, match=r"Patient\.ndjson: no such file"):
        Records().read(tmp_path / "nowhere", [])
    with pytest.raises(InputError, match="no such folder"):
        Records().assemble([tmp_path / "nowhere"], tmp_path)


def test_references_of_a_good_cohort_hold(cohort: Path) -> None:
    assert check_references(cohort) == []
    assert list(violations(cohort)) == []


def _edit(cohort: Path, kind: str, change: Any) -> None:
    path = cohort / "fhir" / f"{kind}.ndjson"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    change(lines)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def _point_nowhere(lines: list[Any]) -> None:
    lines[0]["encounter"]["reference"] = "Encounter/none"


def _swap_patients(lines: list[Any]) -> None:
    lines[0]["subject"], lines[-1]["subject"] = lines[-1]["subject"], lines[0]["subject"]


def _repeat(lines: list[Any]) -> None:
    lines.append(lines[0])


def _untag(lines: list[Any]) -> None:
    lines[0]["meta"]["tag"] = []


def _orphan(lines: list[Any]) -> None:
    del lines[0]["subject"]


def _other_image(lines: list[Any]) -> None:
    lines[0]["series"][0]["instance"][0]["uid"] = "2.25.1"


@pytest.mark.parametrize(
    ("kind", "change", "problem"),
    [
        ("Condition", _point_nowhere, "'Encounter/none' does not resolve"),
        ("Observation", _swap_patients, "leads to another patient"),
        ("Encounter", _repeat, "used 2 times"),
        ("DiagnosticReport", _untag, "not tagged HTEST"),
        ("Observation", _orphan, "belongs to no patient"),
        ("ImagingStudy", _other_image, "no DICOM file of study"),
    ],
)
def test_the_check_fires(cohort: Path, kind: str, change: Any, problem: str) -> None:
    _edit(cohort, kind, change)
    assert any(problem in found for found in check_references(cohort))


def test_the_check_reads_the_images(cohort: Path) -> None:
    first, second = sorted((cohort / "dicom").rglob("*.dcm"))[:2]
    first.unlink()
    second.write_bytes(b"not an image")
    problems = check_references(cohort)
    assert sum("no DICOM file of study" in problem for problem in problems) == 2
    assert sum("is not a DICOM file" in problem for problem in problems) == 1


def test_there_is_nothing_to_train_or_load(tmp_path: Path) -> None:
    data = TrainingSet(tmp_path, None, (), (), (), "train")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="nothing to train"):
        Records().train([data], ProfileEncoder(), {}, None, None)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="real records are not read"):
        Records().load(data)
    assert Records().weights() == []
    assert Records().views() == []
    assert all(Records().indicated(profile) for profile in PROFILES)


# -- a series of slices


def series(folder: Path, slices: int) -> tuple[Path, list[dict[str, Any]]]:
    """A cohort of one patient with a CT of so many slices; its folder and resources."""
    profile = PROFILES[0]
    facts = {
        "findings": [], "view": None, "body_part": "ABDOMEN", "iod": "CT", "slices": slices, "derivation": "noise",
        "pixel_spacing_mm": 1.5, "slice_spacing_mm": 3.0,
        **{f"{part}_uid": uid_for(9, part) for part in ("study", "series", "instance")},
    }  # fmt: skip
    image = np.zeros((slices, 16, 16), np.uint16)
    load_modality("imaging").export([Record({"image": image}, facts)], [profile], folder)
    batch = Batch((profile,), np.zeros((1, 0), np.float32), (1,), ({"imaging": facts},))
    (record,) = Records().generator(()).sample(batch)
    (folder / "piece").mkdir()
    Records().export([record], [profile], folder / "piece")
    Records().assemble([folder / "piece"], folder)
    assert check(record.facts["resources"], {"imaging": facts}) == []
    return folder, record.facts["resources"]


def test_every_slice_on_disk_is_an_instance_of_the_study(tmp_path: Path) -> None:
    folder, own = series(tmp_path, 5)
    (study,) = (r for r in own if r["resourceType"] == "ImagingStudy")
    assert study["modality"][0]["code"] == "CT"
    assert study["series"][0]["bodySite"]["display"] == "Abdomen"
    assert (study["numberOfInstances"], study["series"][0]["numberOfInstances"]) == (5, 5)
    listed = [instance["uid"] for instance in study["series"][0]["instance"]]
    assert sorted(listed) == sorted(path.stem for path in folder.rglob("*.dcm"))
    assert [instance["number"] for instance in study["series"][0]["instance"]] == [1, 2, 3, 4, 5]
    assert check_references(folder) == []
    next(folder.rglob("*.dcm")).unlink()
    assert any("no DICOM file of study" in problem for problem in check_references(folder))


@pytest.mark.parametrize(
    ("stated", "site", "title"),
    [
        ({"iod": "DMS", "body_part": "SKIN", "title": "Skin photograph"},
         {"system": SNOMED, "code": "39937001", "display": "Skin"}, "Skin photograph"),
        ({"iod": "MR", "body_part": "BRAIN", "title": "Brain MR"},
         {"system": SNOMED, "code": "12738006", "display": "Brain"}, "Brain MR"),
        ({"iod": "DX", "body_part": ""}, None, "Digital Radiography"),
    ],
)  # fmt: skip
def test_an_image_of_another_part_is_no_chest_x_ray(
    stated: dict[str, Any], site: dict[str, str] | None, title: str
) -> None:
    uids = {f"{part}_uid": uid_for(9, part) for part in ("study", "series", "instance")}
    facts = {"view": None, "findings": [], **stated, **uids}
    batch = Batch((PROFILES[0],), np.zeros((1, 0), np.float32), (1,), ({"imaging": facts},))
    (record,) = Records().generator(()).sample(batch)
    (study,) = resources(record, "ImagingStudy")
    (report,) = (r for r in resources(record, "DiagnosticReport") if "imagingStudy" in r)
    assert study["series"][0].get("bodySite") == site
    assert (study["description"], report["conclusion"]) == (title, f"{title}. Not assessed for findings.")
    assert report["code"]["coding"][0]["code"] == "18748-4"
    assert "conclusionCode" not in report
    (note,) = (n for n in record.facts["notes"] if n["meta"]["kind"] == "imaging")
    assert "reported" not in note["text"]
    for words in (note["text"], json.dumps(study), json.dumps(report | {"presentedForm": None})):
        assert not re.search("chest|thora|lung|film|cardio|effusion", words, re.IGNORECASE)
    assert list(contradictions(note, Case(record.facts["resources"]))) == []
    assert check(record.facts["resources"], {"imaging": facts}) == []


def test_a_slice_that_no_study_lists_is_a_problem(tmp_path: Path) -> None:
    folder, _ = series(tmp_path, 3)
    _edit(folder, "ImagingStudy", lambda lines: lines[0]["series"][0]["instance"].pop())
    assert any("is not listed" in problem for problem in check_references(folder))


def test_the_study_begins_when_its_file_says(tmp_path: Path) -> None:
    import pydicom

    folder, own = series(tmp_path, 2)
    header = pydicom.dcmread(next(folder.rglob("*.dcm")), stop_before_pixels=True)
    (study,) = (r for r in own if r["resourceType"] == "ImagingStudy")
    assert re.sub(r"[-:TZ]", "", study["started"]) == header.StudyDate + header.StudyTime
    (report,) = (r for r in own if r["resourceType"] == "DiagnosticReport" and "imagingStudy" in r)
    assert report["effectiveDateTime"] == study["started"] < report["issued"]
    visit = next(r for r in own if r["id"].endswith("-visit"))
    assert visit["period"]["start"] <= study["started"] < report["issued"] <= visit["period"]["end"]
