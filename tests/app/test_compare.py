"""compare on plain folders of every kind that people have, made up here: what is measured, and what is said."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

import polyclinic as pc
from polyclinic.core.remarks import remarks

PATIENTS = 60
GENES = ["ESR1", "PGR", "ERBB2", "MKI67", "KRT5", "FOXC1", "EGFR", "CCNB1", "BCL2", "GATA3"]


@pytest.fixture(autouse=True)
def said() -> Iterator[Any]:
    """What is remarked while folders are read."""
    with remarks(lambda _: None) as found:
        yield found


def describe(folder: Path, **settings: Any) -> None:
    (folder / "dataset.yaml").write_text(yaml.safe_dump({"name": folder.name, "split": None, **settings}))


def people(seed: int, prefix: str) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "patient_id": [f"{prefix}{i:05d}" for i in range(PATIENTS)],
            "age": rng.integers(30, 90, PATIENTS),
            "sex": rng.choice(["M", "F"], PATIENTS),
        }
    )


FIELDS = {"age": {"column": "age"}, "sex": {"column": "sex"}}


def dicom(folder: Path, seed: int) -> None:
    """Files that say all themselves, without a table or a dataset.yaml."""
    from pydicom.dataset import Dataset, FileMetaDataset

    rng = np.random.default_rng(seed)
    for i, row in enumerate(people(seed, folder.name).itertuples()):
        pixels = np.clip(rng.normal(100 + np.arange(48)[:, None], 25, (48, 48)), 0, 255).astype(np.uint8)
        one = Dataset()
        one.file_meta = FileMetaDataset()
        one.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
        one.SOPClassUID = one.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
        one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = f"2.25.{1000 * seed + i}"
        one.PatientID, one.PatientSex, one.PatientAge = row.patient_id, row.sex, f"{row.age:03d}Y"
        one.Modality, one.BodyPartExamined = "CR", "CHEST"
        one.Rows, one.Columns, one.SamplesPerPixel, one.PhotometricInterpretation = 48, 48, 1, "MONOCHROME2"
        one.BitsAllocated, one.BitsStored, one.HighBit, one.PixelRepresentation = 8, 8, 7, 0
        one.PixelData = pixels.tobytes()
        one.save_as(folder / f"{i}.dcm", enforce_file_format=True)


def png(folder: Path, seed: int) -> None:
    from PIL import Image

    rng, table = np.random.default_rng(seed), people(seed, folder.name)
    table["record"] = [f"{i}.png" for i in range(PATIENTS)]
    for name in table["record"]:
        pixels = np.clip(rng.normal(100 + np.arange(48)[:, None], 25, (48, 48)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / name)
    table.to_csv(folder / "patients.csv", index=False)
    describe(folder, fields=FIELDS, options={"modality": "imaging"})


def wfdb(folder: Path, seed: int) -> None:
    import wfdb as writer

    rng, table = np.random.default_rng(seed), people(seed, folder.name)
    table["record"] = [f"r{i}" for i in range(PATIENTS)]
    leads = ["I", "II", "III", "aVR", "aVL", "aVF", *(f"V{k}" for k in range(1, 7))]
    time = np.arange(5000) / 500
    for name in table["record"]:
        beat = np.exp(-((((time * rng.uniform(0.9, 1.5)) % 1) - 0.5) ** 2) / 0.0008)
        two = np.stack([beat * rng.uniform(0.5, 0.9), beat * rng.uniform(0.8, 1.2)]) + rng.normal(
            0, 0.01, (2, 5000)
        )
        one, second = two
        limbs = [one, second, second - one, -(one + second) / 2, one - second / 2, second - one / 2]
        chest = [beat * k / 6 + rng.normal(0, 0.01, 5000) for k in range(1, 7)]
        signals = np.round(1000 * np.stack([*limbs, *chest], axis=1)).astype(np.int16)
        writer.wrsamp(
            name, fs=500, units=["mV"] * 12, sig_name=leads, d_signal=signals, fmt=["16"] * 12,
            adc_gain=[1000.0] * 12, baseline=[0] * 12, write_dir=str(folder),
        )  # fmt: skip
    table.to_csv(folder / "patients.csv", index=False)
    describe(folder, fields=FIELDS, options={"modality": "signals", "kind": "ecg"})


def vitals(folder: Path, seed: int) -> None:
    rng, table = np.random.default_rng(seed), people(seed, folder.name)
    rows = []
    for patient in table["patient_id"]:
        rate = rng.normal(80, 12)
        for hour in range(12):
            rows.append(
                {
                    "patient_id": patient, "hour": hour + 1, "HR": round(rate + rng.normal(0, 4)),
                    "O2Sat": round(rng.normal(96, 1)),
                    "Temp": round(rng.normal(37, 0.3), 1) if hour % 4 == 0 else None,
                    "SBP": round(rng.normal(120, 10)), "MAP": round(rng.normal(85, 5)),
                    "DBP": round(rng.normal(65, 5)), "Resp": round(rng.normal(16, 2)),
                }
            )  # fmt: skip
    pd.DataFrame(rows).to_parquet(folder / "series.parquet")
    table.to_parquet(folder / "patients.parquet")
    describe(
        folder, table="patients.parquet", record="patient_id", fields=FIELDS,
        options={"modality": "signals", "kind": "vitals", "series": "series.parquet", "hours": 12},
    )  # fmt: skip


def table(folder: Path, seed: int) -> None:
    rng, found = np.random.default_rng(seed), people(seed, folder.name)
    found["lactate"] = np.where(
        found["sex"] == "F", rng.normal(1, 0.3, PATIENTS), rng.normal(3, 0.3, PATIENTS)
    )
    found["smoker"] = rng.choice(["never", "former", "current"], PATIENTS)
    found["remark"] = [f"free text {rng.random()}" for _ in range(PATIENTS)]
    found.to_parquet(folder / "patients.parquet")
    describe(folder, table="patients.parquet", fields=FIELDS, options={"modality": "population"})


def annotated(folder: Path, seed: int, suffix: str) -> None:
    import anndata

    rng, obs = np.random.default_rng(seed), people(seed, folder.name)
    obs = obs.set_index(obs["patient_id"].rename(None))
    values = (rng.normal(6, 1, (PATIENTS, 30)) + np.where(obs["sex"] == "F", 1.0, 0.0)[:, None]).astype(
        np.float32
    )
    store = anndata.AnnData(
        values, obs=obs, var=pd.DataFrame(index=[*GENES, *(f"GENE{i}" for i in range(20))])
    )
    if suffix == "h5ad":
        store.write_h5ad(folder / "rna.h5ad")
    else:
        with anndata.settings.override(zarr_write_format=3, auto_shard_zarr_v3=True):
            store.write_zarr(folder / "rna.zarr")
    describe(
        folder, table=f"rna.{suffix}", record="obs_names", fields=FIELDS,
        options={"modality": "omics", "assays": {"rna": {"file": f"rna.{suffix}"}}},
    )  # fmt: skip


def resources(seed: int, prefix: str) -> dict[str, list[list[dict[str, Any]]]]:
    """A list of FHIR resources a patient, who are 60; every second has hypertension."""
    rng, found = np.random.default_rng(seed), []
    for i, row in enumerate(people(seed, prefix).itertuples()):
        subject = {"reference": f"Patient/{row.patient_id}"}
        ill = rng.random() < 0.5
        own: list[dict[str, Any]] = [
            {
                "resourceType": "Patient", "id": row.patient_id, "birthDate": f"{2020 - row.age}-01-01",
                "gender": "male" if row.sex == "M" else "female",
            },
            {
                "resourceType": "Observation", "id": f"o{i}", "status": "final", "subject": subject,
                "effectiveDateTime": "2020-03-01", "code": {"coding": [{"code": "8480-6"}]},
                "valueQuantity": {"value": round(float(rng.normal(145 if ill else 120, 6)), 1)},
            },
        ]  # fmt: skip
        if ill:
            own.append(
                {
                    "resourceType": "Condition", "id": f"c{i}", "subject": subject,
                    "code": {"coding": [{"code": "I10"}]}, "recordedDate": "2020-03-01",
                }
            )  # fmt: skip
        found.append(own)
    return {"patients": found}


def ndjson(folder: Path, seed: int) -> None:
    for own in resources(seed, folder.name)["patients"]:
        for resource in own:
            with (folder / f"{resource['resourceType']}.ndjson").open("a") as file:
                file.write(json.dumps(resource) + "\n")


def bundles(folder: Path, seed: int) -> None:
    """One a patient, whose resources refer to each other by the URL of the entry, as servers write them."""
    for own in resources(seed, folder.name)["patients"]:
        url = f"urn:uuid:{own[0]['id']}-of-the-bundle"
        for resource in own[1:]:
            resource["subject"] = {"reference": url}
        entries = [{"fullUrl": url, "resource": own[0]}, *({"resource": resource} for resource in own[1:])]
        bundle = {"resourceType": "Bundle", "type": "collection", "entry": entries}
        (folder / f"{own[0]['id']}.json").write_text(json.dumps(bundle))


KINDS = {
    "dicom": dicom, "png": png, "wfdb": wfdb, "vitals": vitals, "table": table,
    "h5ad": lambda folder, seed: annotated(folder, seed, "h5ad"),
    "zarr": lambda folder, seed: annotated(folder, seed, "zarr"), "ndjson": ndjson, "bundles": bundles,
}  # fmt: skip
LENGTHY = ("vitals", "wfdb", "zarr", "bundles")  # their readers are tested by themselves


def made(kind: str, tmp_path: Path, *names: str) -> list[Path]:
    folders = [tmp_path / name for name in names]
    for seed, folder in enumerate(folders, 1):
        folder.mkdir()
        KINDS[kind](folder, seed)
    return folders


@pytest.mark.filterwarnings("ignore:Consolidated metadata is currently not part")  # anndata writes zarr so
@pytest.mark.parametrize(
    "kind", [pytest.param(k, marks=pytest.mark.slow) if k in LENGTHY else k for k in KINDS]
)
def test_two_folders_drawn_alike_look_alike(kind: str, tmp_path: Path) -> None:
    real, train, synthetic = made(kind, tmp_path, "hospital", "training", "model")
    found = pc.compare(real, synthetic, tmp_path / "out", train=train, quick=True)
    (view,) = found.scores["views"]
    assert view["verdicts"]["distance"] in ("as real", "close")
    assert view["verdicts"]["c2st"] in ("as real", "close", "undecided")
    attacks = [row["auc"] for row in found.scores["privacy"]["attacks"] if row["auc"] is not None]
    assert len(attacks) >= 3
    assert found.report.is_file()


@pytest.mark.parametrize(
    "kind", ["table", *(pytest.param(k, marks=pytest.mark.slow) for k in ("h5ad", "ndjson"))]
)
def test_copies_of_the_training_rows_are_found(kind: str, tmp_path: Path) -> None:
    real, train = made(kind, tmp_path, "hospital", "training")
    copied = tmp_path / "model"
    copied.mkdir()
    KINDS[kind](copied, 2)  # the seed of the training rows
    found = pc.compare(real, copied, tmp_path / "out", train=train)
    strongest = found.scores["privacy"]["strongest_attack"]
    assert strongest["auc"] > 0.95
    assert found.scores["privacy"]["memorization"][0]["exact"] == PATIENTS


def test_a_synthetic_folder_is_read_as_the_real_one_is(tmp_path: Path, said: Any) -> None:
    real, synthetic = made("table", tmp_path, "hospital", "model")
    (synthetic / "dataset.yaml").unlink()
    found = pc.compare(real, synthetic, tmp_path / "out", quick=True)
    assert any("no dataset.yaml; read as that of the real folder says" in line for line in said)
    assert any("free text" in line and "remark" in line for line in said)
    assert found.scores["views"][0]["verdicts"]["distance"] == "as real"


def test_without_training_rows_no_attack_is_measured(tmp_path: Path) -> None:
    real, synthetic = made("table", tmp_path, "hospital", "model")
    found = pc.compare(real, synthetic, tmp_path / "out", quick=True)
    assert all(row["auc"] is None for row in found.scores["privacy"]["attacks"])
    assert "column `split`" in found.scores["privacy"]["in_words"]
    assert found.scores["privacy"]["memorization"] == []


def test_a_label_is_not_read_off_the_column_that_states_it(tmp_path: Path) -> None:
    """Lactate tells the sex apart, and nothing tells who smokes."""
    real, synthetic = made("table", tmp_path, "hospital", "model")
    frame = pc.compare(real, synthetic, tmp_path / "out").to_frame()
    tstr = frame[frame["metric"] == "tstr_auroc"].set_index("task")["value"]
    assert tstr["sex"] > 0.95
    assert 0.2 < tstr["smoker"] < 0.8


def test_a_report_is_replaced_where_that_is_asked_for(tmp_path: Path) -> None:
    real, synthetic = made("table", tmp_path, "hospital", "model")
    pc.compare(real, synthetic, tmp_path / "out", quick=True)
    with pytest.raises(pc.InputError, match="already there"):
        pc.compare(real, synthetic, tmp_path / "out", quick=True)
    pc.compare(real, synthetic, tmp_path / "out", quick=True, overwrite=True)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda real, made: (real / "dataset.yaml").unlink(), "no such file; it describes the folder"),
        (
            lambda real, made: describe(made, options={"modality": "omics"}),
            "expected two folders of one modality",
        ),
        (
            lambda real, made: pd.DataFrame({"patient_id": ["a", "b"]}).to_parquet(made / "patients.parquet"),
            "no column 'age'",
        ),
    ],
)
def test_what_cannot_be_compared_is_one_line(spoil: Any, message: str, tmp_path: Path) -> None:
    real, synthetic = made("table", tmp_path, "hospital", "model")
    spoil(real, synthetic)
    with pytest.raises(pc.InputError, match=message) as caught:
        pc.compare(real, synthetic, tmp_path / "out", quick=True)
    assert "\n" not in str(caught.value)
