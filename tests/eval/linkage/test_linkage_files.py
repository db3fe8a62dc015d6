"""The link among files that our own modalities write: all agree, and whatever is spoiled is found."""

import json
import shutil
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polyclinic.core.assertions import CHEST_FINDINGS, SURVIVAL
from polyclinic.core.modality import Batch, Record
from polyclinic.core.profile import PatientProfile, uid_for
from polyclinic.core.registry import load_modality
from polyclinic.eval.linkage.consistency import PATIENTS_TABLE, check_consistency, of_profile

FULL = PatientProfile(
    "PC-1", age=61.3, sex="F", height=165.0, weight=70.0,
    conditions={**dict.fromkeys(CHEST_FINDINGS, False), "J90": True, "I48.91": False, "C50.919": True},
    measurements={"heart_rate": 72.0, "systolic": 130.0, "diastolic": 80.0, "respiration": 16.0,
                  "oxygen_saturation": 97.0, "temperature": 36.8},
    traits={"chest_view": "PA", "pam50": "LumA"}, index_date=date(2024, 5, 6),
)  # fmt: skip


def made_up(name: str) -> Record:
    if name == "imaging":
        uids = {f"{part}_uid": uid_for(7, part) for part in ("study", "series", "instance")}
        facts = {"findings": ["J90"], "view": "PA", "body_part": "CHEST", "pixel_spacing_mm": 1.4,
                 "derivation": "made up", **uids}  # fmt: skip
        return Record({"image": np.zeros((64, 64), np.uint16)}, facts)
    if name == "signals":
        peaks = np.arange(200, 4900, 417)  # 72 /min
        bump = np.exp(-np.square((np.arange(5000)[:, None] - peaks) / 6)).sum(1)
        ecg = np.outer(np.linspace(0.5, 1.5, 12), bump).astype(np.float32)
        day = np.tile(np.array([72, 97, 36.8, 130, 97, 80, 16], np.float32), (24, 1))
        facts = {"heart_rate": 71.9, "rhythm": "sinus", "beats": len(peaks), "hours": 24}
        return Record({"ecg": ecg, "r_peaks": peaks, "vitals": day}, facts)
    genes = np.array(["ESR1", "PGR", "ERBB2", "MKI67"])
    levels = np.array([12.5, 10.0, 12.0, 9.0], np.float32)
    outcome = {"os_months": 7.3, "os_event": True}
    facts = {"pam50": "LumA", **outcome, **dict(zip(genes.tolist(), levels.tolist(), strict=True))}
    return Record({"rna": levels, "rna_var": genes}, facts)


def write(folder: Path, name: str, record: Record, profile: PatientProfile = FULL) -> None:
    modality = load_modality(name)
    piece = folder / "pieces" / name if modality.shared else folder
    piece.mkdir(parents=True, exist_ok=True)
    modality.export([record], [profile], piece)
    if modality.shared:
        modality.assemble([piece], folder)


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cohort folder of one patient, whose files all tell the truth."""
    folder = tmp_path_factory.mktemp("truth")
    records = {name: made_up(name) for name in ("imaging", "signals", "omics")}
    for name, record in records.items():
        write(folder, name, record)
    facts = {name: record.facts for name, record in records.items()}
    batch = Batch((FULL,), np.zeros((1, 0), np.float32), (5,), (facts,))
    (health,) = load_modality("records").generator(()).sample(batch)
    write(folder, "records", health)
    return folder


@pytest.fixture
def filed(truth: Path, tmp_path: Path) -> Path:
    """A copy of it, to spoil."""
    return Path(shutil.copytree(truth, tmp_path / "cohort"))


def contradictions(folder: Path) -> set[str]:
    names = ("imaging", "signals", "omics", "records")
    assertions = {name: load_modality(name).assertions(folder, ["PC-1"]) for name in names}  # type: ignore[attr-defined]
    assert all(set(own) == {"PC-1"} for own in assertions.values())
    found, contradictions = check_consistency(
        {PATIENTS_TABLE: {"PC-1": list(of_profile(FULL))}, **assertions}, 0
    )
    assert len(found) > 15
    return {contradiction.subject for contradiction in contradictions}


def test_files_of_one_patient_agree(filed: Path) -> None:
    assert contradictions(filed) == set()


@pytest.mark.parametrize(
    ("name", "change", "wrong"),
    [
        ("imaging", {"sex": "M"}, {"sex"}),
        ("imaging", {"age": 60.2}, {"age"}),
        ("imaging", {"index_date": date(1950, 1, 1)}, {"date of the studies"}),
        ("signals", {"sex": "M"}, {"sex"}),
        ("signals", {"age": 75.0}, {"age"}),
        ("omics", {"age": 30.0}, {"age"}),
    ],
)
def test_a_wrong_header_is_found(filed: Path, name: str, change: dict[str, Any], wrong: set[str]) -> None:
    write(filed, name, made_up(name), FULL.but(**change))
    assert contradictions(filed) == wrong


@pytest.mark.parametrize(
    ("name", "facts", "wrong"),
    [
        ("imaging", {"findings": ["J18.9"]}, set()),  # which tags do not say: they would give the label away
        ("imaging", {"view": "AP"}, {"X-ray view"}),
        ("imaging", {"instance_uid": uid_for(8, "instance")}, {"UIDs of the image"}),
        ("signals", {"heart_rate": 90.0}, {"heart rate"}),
        ("signals", {"rhythm": "atrial fibrillation"}, {"rhythm"}),
        ("omics", {"pam50": "Basal"}, {"tumour subtype"}),
        ("omics", {"os_months": 30.0}, {SURVIVAL}),  # the record has a death at 7.3 months
        ("omics", {"os_months": 9.0, "os_event": False}, {SURVIVAL}),
        ("omics", {"os_months": 5.0, "os_event": False}, set()),
    ],
)
def test_a_wrong_fact_is_found(filed: Path, name: str, facts: dict[str, Any], wrong: set[str]) -> None:
    record = made_up(name)
    for path in (filed / "dicom").rglob("*.dcm") if name == "imaging" else ():
        path.unlink()
    write(filed, name, Record(record.arrays, {**record.facts, **facts}))
    assert contradictions(filed) == wrong


def test_another_tumour_is_found(filed: Path) -> None:
    record = made_up("omics")
    other = record.arrays["rna"] - np.array([6, 0, 0, 0], np.float32)
    write(filed, "omics", Record({**record.arrays, "rna": other}, record.facts))
    assert contradictions(filed) == {"ESR1 expression"}


def test_events_out_of_order_are_found(filed: Path) -> None:
    path = filed / "fhir" / "Patient.ndjson"
    patient = json.loads(path.read_text())
    path.write_text(json.dumps({**patient, "deceasedDateTime": "1980-01-01T00:00:00Z"}) + "\n")
    assert contradictions(filed) == {"order of events", "date of the studies", SURVIVAL}


def test_a_record_that_outlives_the_follow_up_is_found(filed: Path) -> None:
    path = filed / "fhir" / "Patient.ndjson"
    patient = json.loads(path.read_text())
    assert patient.pop("deceasedDateTime")[:10] == "2024-12-14"  # 7.3 months on
    path.write_text(json.dumps(patient) + "\n")
    assert contradictions(filed) == {SURVIVAL}
