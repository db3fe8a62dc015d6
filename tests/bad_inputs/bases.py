"""Valid training folders, tiny: tables, images, signals, charts, omics, FHIR, OMOP."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from .case import Base

PEOPLE = 12  # of whom the last three are test rows
TABLE: dict[str, Any] = {
    "name": "clinic",
    "licence": "internal",
    "citation": "none",
    "path": ".",
    "table": "patients.csv",
    "record": "record",
    "patient_id": "mrn",
    "split": "split",
    "train": "train",
    "test": "test",
    "population": "clinic patients",
    "fields": {
        "age": {"column": "years", "scale": 1.0},
        "sex": {"column": "sex", "values": {"w": "F", "m": "M"}},
        "J90": {"column": "report", "pattern": "effusion"},
        "heart_rate": {"column": "pulse"},
        "stage": {"column": "stage"},
    },
    "declare": {
        "stage": {"kind": "category", "classes": ["I", "II"], "label": "Stage"},
        "lactate": {"kind": "number", "unit": "mmol/L", "range": [0, 30], "label": "Lactate"},
    },
    "groups": {"race": "origin"},
    "constants": {"J18.9": False},
    "options": {},
}


def people(suffix: str = ".png", number: int = PEOPLE) -> pd.DataFrame:
    """Rows of a table of patients; `suffix` makes the record."""
    rng = np.random.default_rng(4)
    return pd.DataFrame(
        {
            "mrn": [f"P{i:03d}" for i in range(number)],
            "split": ["train"] * (number - number // 4) + ["test"] * (number // 4),
            "record": [f"r{i:03d}{suffix}" for i in range(number)],
            "years": rng.integers(20, 90, number),
            "sex": np.where(np.arange(number) % 2, "w", "m"),
            "report": np.where(np.arange(number) % 3, "clear", "small effusion, left"),
            "pulse": rng.integers(50, 110, number),
            "stage": np.where(np.arange(number) % 2, "I", "II"),
            "lactate": rng.uniform(0.5, 4, number).round(2),
            "origin": "A",
        }
    )


def settings(**changes: Any) -> dict[str, Any]:
    """The dataset.yaml of the table with other keys."""
    return {**TABLE, **changes}


def write(data: Path, described: Mapping[str, Any], table: pd.DataFrame | None) -> None:
    """dataset.yaml and the table."""
    data.mkdir(parents=True, exist_ok=True)
    (data / "dataset.yaml").write_text(yaml.safe_dump(dict(described), sort_keys=False))
    if table is not None:
        table.to_csv(data / str(described.get("table")), index=False)


def table_folder(home: Path) -> None:
    """A table of patients as CSV."""
    write(home / "data", settings(), people())


def parquet_folder(home: Path) -> None:
    """The same as Parquet."""
    write(home / "data", settings(table="patients.parquet"), None)
    people().to_parquet(home / "data" / "patients.parquet")


def population_folder(home: Path) -> None:
    """A table that profiles are learnt from, of more people."""
    described = settings(options={"columns": {"age": {"edges": [0, 40, 65, 110]}}})
    write(home / "data", {**described, "options": {}}, people(number=60))


def png_folder(home: Path) -> None:
    """Grey 16 x 16 images of 8 bits."""
    from PIL import Image

    write(
        home / "data", settings(options={"modality": "imaging", "size": 16, "burned_in": "ignore"}), people()
    )
    rng = np.random.default_rng(1)
    for name in people()["record"]:
        Image.fromarray(rng.integers(0, 255, (16, 16), dtype=np.uint8)).save(home / "data" / name)


def dicom_folder(home: Path) -> None:
    """DICOM files of 16 x 16, whose tags say who the patients are, with a table of findings."""
    described = {
        "name": "pacs",
        "licence": "internal",
        "dicom": "*.dcm",
        "test_share": 0.3,
        "keep": {"Modality": "DX"},
        "options": {"modality": "imaging", "size": 16, "burned_in": "ignore"},
    }
    write(home / "data", described, None)
    for number in range(PEOPLE):
        dicom(number).save_as(home / "data" / f"r{number:03d}.dcm", enforce_file_format=True)


def dicom(number: int) -> Any:
    """One grey image as a pydicom dataset."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    rng = np.random.default_rng(number)
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID = f"2.25.{1000 + number}"
    image.StudyInstanceUID, image.SeriesInstanceUID = f"2.25.{2000 + number}", f"2.25.{3000 + number}"
    image.PatientID, image.PatientName, image.PatientSex = f"P{number:03d}", "A^B", "F" if number % 2 else "M"
    image.PatientAge, image.StudyDate, image.Modality = f"{30 + number:03d}Y", "20240101", "DX"
    image.BodyPartExamined, image.ViewPosition, image.PresentationIntentType = (
        "CHEST",
        "PA",
        "FOR PRESENTATION",
    )
    image.Rows = image.Columns = 16
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 12, 11, 0
    image.RescaleSlope, image.RescaleIntercept, image.WindowCenter, image.WindowWidth = (
        "1",
        "0",
        "2048",
        "4096",
    )
    image.PixelData = rng.integers(0, 4095, (16, 16), dtype=np.uint16).tobytes()
    return image


LEADS = ("I", "II")
ECG_RATE, ECG_SECONDS = 100, 10


def ecg(number: int) -> Any:
    """(sample, lead) mV: beats as narrow bumps on a slow wave."""
    time = np.arange(ECG_RATE * ECG_SECONDS) / ECG_RATE
    phase = (time * (1 + number / 40)) % 1
    beat = np.exp(-(((phase - 0.5) / 0.03) ** 2)) + 0.02 * np.sin(2 * np.pi * 0.3 * time)
    return np.stack([beat, 1.3 * beat + 0.01 * np.cos(time)], axis=1)


def wfdb_folder(home: Path) -> None:
    """ECGs as WFDB records of two leads."""
    import wfdb

    table = people("")
    write(
        home / "data", settings(options={"modality": "signals", "kind": "ecg", "leads": list(LEADS)}), table
    )
    for number, name in enumerate(table["record"]):
        wfdb.wrsamp(
            name,
            ECG_RATE,
            ["mV"] * 2,
            list(LEADS),
            ecg(number),
            fmt=["16"] * 2,
            adc_gain=[1000.0] * 2,
            baseline=[0] * 2,
            write_dir=str(home / "data"),
        )


def edf_folder(home: Path) -> None:
    """The same ECGs as EDF files."""
    table = people(".edf")
    write(
        home / "data", settings(options={"modality": "signals", "kind": "ecg", "leads": list(LEADS)}), table
    )
    for number, name in enumerate(table["record"]):
        (home / "data" / name).write_bytes(edf(ecg(number)))


def edf(signal: Any) -> bytes:
    """An EDF file: header, then records of one second."""
    count = signal.shape[1]

    def text(value: object, width: int) -> bytes:
        return str(value).ljust(width)[:width].encode()

    head = (
        text("0", 8)
        + text("X X X X", 80)
        + text("Startdate X X X X", 80)
        + text("01.01.24", 8)
        + text("00.00.00", 8)
    )
    head += text(256 * (count + 1), 8) + text("", 44) + text(ECG_SECONDS, 8) + text(1, 8) + text(count, 4)
    for values, width in (
        ([f"ECG {lead}" for lead in LEADS], 16),
        ([""] * count, 80),
        (["mV"] * count, 8),
        ([-8] * count, 8),
        ([8] * count, 8),
        ([-32768] * count, 8),
        ([32767] * count, 8),
        ([""] * count, 80),
        ([ECG_RATE] * count, 8),
        ([""] * count, 32),
    ):
        head += b"".join(text(value, width) for value in values)
    steps = np.round(signal / 16 * 65535).astype("<i2").reshape(ECG_SECONDS, ECG_RATE, count)
    return head + steps.transpose(0, 2, 1).tobytes()


def charts(number: int = PEOPLE, hours: int = 6) -> pd.DataFrame:
    """Hourly vital signs of all stays, wide."""
    rng = np.random.default_rng(2)
    rows = [
        {
            "stay": f"r{i:03d}",
            "hour": hour,
            "HR": 70 + i + hour,
            "O2Sat": 97,
            "Temp": 36.8,
            "SBP": 120 + i,
            "MAP": 90,
            "DBP": 70,
            "Resp": round(float(rng.normal(16, 1)), 1),
        }
        for i in range(number)
        for hour in range(hours)
    ]
    return pd.DataFrame(rows)


WIDE = {
    "modality": "signals",
    "kind": "vitals",
    "series": "series.csv",
    "key": "stay",
    "hour": "hour",
    "hours": 6,
}


def wide_folder(home: Path) -> None:
    """Vital signs, a row an hour."""
    write(home / "data", settings(options=WIDE), people(""))
    charts().to_csv(home / "data" / "series.csv", index=False)


LONG = {
    "modality": "signals",
    "kind": "vitals",
    "form": "long",
    "series": "series.csv",
    "key": "stay",
    "hour": "hour",
    "channel": "item",
    "value": "value",
    "hours": 6,
    "step_hours": 1,
    "channels": {
        "HR": {"code": "HR"},
        "Lactate": {"code": "LACT", "unit": "mmol/L", "range": [0, 30], "decimals": 1, "loinc": "2524-7"},
    },
}


def long_folder(home: Path) -> None:
    """Two channels, a row a reading."""
    write(home / "data", settings(options=LONG), people(""))
    chart = charts().assign(LACT=1.5)
    long = chart.melt(
        id_vars=["stay", "hour"], value_vars=["HR", "LACT"], var_name="item", value_name="value"
    )
    long.sort_values(["stay", "hour"]).to_csv(home / "data" / "series.csv", index=False)


GENES = ("ESR1", "PGR", "ERBB2", "MKI67", "TP53")
ASSAYS: dict[str, Any] = {
    "modality": "omics",
    "classes": "stage",
    "tumour": "C50.919",
    "indicated": ["C50.919"],
    "assays": {"rna": {"file": "rna.csv", "values": "log2"}},
}


def expression() -> pd.DataFrame:
    """log2 expression, a row a sample."""
    rng = np.random.default_rng(3)
    names = people("")["record"]
    return pd.DataFrame(rng.normal(6, 1, (len(names), len(GENES))).round(3), index=names, columns=list(GENES))


def omics_folder(home: Path) -> None:
    """One assay as CSV."""
    write(home / "data", settings(options=ASSAYS), people(""))
    expression().to_csv(home / "data" / "rna.csv", index_label="sample")


def anndata_folder(home: Path, suffix: str = "zarr") -> None:
    """One assay as AnnData; zarr in chunks of four samples."""
    import anndata

    described = {**ASSAYS, "assays": {"rna": {"file": f"rna.{suffix}", "values": "log2"}}}
    write(home / "data", settings(options=described), people(""))
    table = expression()
    found = anndata.AnnData(
        table.to_numpy(np.float32),
        pd.DataFrame(index=table.index.astype(str).rename(None)),
        pd.DataFrame(index=table.columns),
    )
    anndata.settings.zarr_write_format = 3
    if suffix == "zarr":
        found.write_zarr(home / "data" / "rna.zarr", chunks=(4, len(GENES)))
    else:
        found.write_h5ad(home / "data" / "rna.h5ad")


def h5ad_folder(home: Path) -> None:
    """One assay as AnnData in HDF5."""
    anndata_folder(home, "h5ad")


CODED: dict[str, Any] = {
    "name": "ehr",
    "licence": "internal",
    "table": ".",
    "patient_id": "id",
    "split": None,
    "test_share": 0.2,
    "fields": {
        "age": {"column": "age"},
        "sex": {"column": "gender", "values": {"male": "M", "female": "F"}},
        "E11.9": {"column": "condition:E11.9", "values": {"0": False, "1": True}},
        "heart_rate": {"column": "observation:8867-4"},
    },
}


def fhir_folder(home: Path) -> None:
    """A bulk export: Patient, Condition, Observation."""
    write(home / "data", CODED, None)
    kinds: dict[str, list[dict[str, Any]]] = {"Patient": [], "Condition": [], "Observation": []}
    for i in range(40):
        subject = {"reference": f"Patient/p{i}"}
        kinds["Patient"].append(
            {
                "resourceType": "Patient",
                "id": f"p{i}",
                "gender": ("male", "female")[i % 2],
                "birthDate": f"{1940 + i}-05-01",
            }
        )
        if i % 2:
            code = {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "E11.9"}]}
            kinds["Condition"].append(
                {
                    "resourceType": "Condition",
                    "id": f"c{i}",
                    "subject": subject,
                    "code": code,
                    "onsetDateTime": "2020-01-01",
                }
            )
        code = {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]}
        kinds["Observation"].append(
            {
                "resourceType": "Observation",
                "id": f"o{i}",
                "status": "final",
                "subject": subject,
                "code": code,
                "effectiveDateTime": "2021-01-01T10:00:00Z",
                "valueQuantity": {"value": 60 + i, "unit": "/min"},
            }
        )
    for kind, rows in kinds.items():
        (home / "data" / f"{kind}.ndjson").write_text("".join(json.dumps(row) + "\n" for row in rows))


def omop_folder(home: Path) -> None:
    """person, condition_occurrence and measurement as CSV."""
    described = {
        **CODED,
        "patient_id": "person_id",
        "fields": {
            "age": {"column": "age"},
            "sex": {"column": "gender", "values": {"8507": "M", "8532": "F"}},
            "E11.9": {"column": "condition:201826", "values": {"0": False, "1": True}},
            "heart_rate": {"column": "observation:3027018"},
        },
    }
    write(home / "data", described, None)
    ids = np.arange(1, 41)
    pd.DataFrame(
        {"person_id": ids, "gender_concept_id": np.where(ids % 2, 8507, 8532), "year_of_birth": 1940 + ids}
    ).to_csv(home / "data" / "person.csv", index=False)
    pd.DataFrame(
        {
            "person_id": ids[::2],
            "condition_concept_id": 201826,
            "condition_start_date": "2020-01-01",
            "condition_source_value": "E11.9",
        }
    ).to_csv(home / "data" / "condition_occurrence.csv", index=False)
    pd.DataFrame(
        {
            "person_id": ids,
            "measurement_concept_id": 3027018,
            "measurement_date": "2021-01-01",
            "value_as_number": 60 + ids,
            "measurement_source_value": "8867-4",
        }
    ).to_csv(home / "data" / "measurement.csv", index=False)


def _reading(modality: str) -> tuple[str, ...]:
    return ("read", modality, "--data", "data")


LEARN = (
    "train",
    "population",
    "--data",
    "data",
    "--out",
    "w.safetensors",
    "--epsilon",
    "8",
    "--delta",
    "1e-3",
)
LEARNT = ("w.safetensors", "ledger.jsonl")
LEDGERS = ("ledger.jsonl.head", "ledger.jsonl.key", "ledger.jsonl.lock", "w.checkpoints")
FOLDERS = (
    Base("table", "table CSV", table_folder, _reading("fake_notes")),
    Base("parquet", "table Parquet", parquet_folder, _reading("fake_notes")),
    Base("png", "PNG", png_folder, _reading("imaging"), aside=("flagged.txt",)),
    Base("dicom", "DICOM", dicom_folder, _reading("imaging"), aside=("flagged.txt",)),
    Base("wfdb", "WFDB", wfdb_folder, _reading("signals")),
    Base("edf", "EDF", edf_folder, _reading("signals")),
    Base("wide", "series", wide_folder, _reading("signals")),
    Base("long", "series", long_folder, _reading("signals")),
    Base("omics", "omics CSV", omics_folder, _reading("omics")),
    Base("zarr", "AnnData zarr", anndata_folder, _reading("omics")),
    Base("h5ad", "AnnData h5ad", h5ad_folder, _reading("omics")),
    Base(
        "population",
        "table CSV",
        population_folder,
        LEARN,
        LEARNT,
        LEDGERS,
    ),
    Base(
        "fhir",
        "FHIR NDJSON",
        fhir_folder,
        LEARN,
        LEARNT,
        LEDGERS,
    ),
    Base(
        "omop",
        "OMOP CSV",
        omop_folder,
        LEARN,
        LEARNT,
        LEDGERS,
    ),
)
