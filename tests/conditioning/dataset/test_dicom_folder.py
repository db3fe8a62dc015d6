"""A folder of DICOM files trains without a table: whose images, what is known, who is held out, what is refused."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    BasicTextSRStorage,
    ComputedRadiographyImageStorage,
    ExplicitVRLittleEndian,
    generate_uid,
)

from polyclinic.app.training import read_config, references
from polyclinic.conditioning.dataset.dataset import read_training_set
from polyclinic.conditioning.dataset.dicom_tags import is_dicom_folder
from polyclinic.conditioning.dataset.split import is_in
from polyclinic.core.config import DatasetConfig, parse
from polyclinic.core.errors import InputError
from polyclinic.core.modality import TrainingSet
from polyclinic.core.remarks import DataWarning


def radiograph(path: Path, patient: str, **tags: Any) -> str:
    """A small CR file; the SOP instance UID. None leaves a tag out."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    known = {
        "SOPClassUID": ComputedRadiographyImageStorage, "SOPInstanceUID": generate_uid(entropy_srcs=[str(path)]),
        "PatientID": patient, "Modality": "CR", "BodyPartExamined": "CHEST", "Rows": 4, "Columns": 4,
        "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2", "BitsAllocated": 8, "BitsStored": 8,
        "HighBit": 7, "PixelRepresentation": 0, "PixelData": np.arange(16, dtype=np.uint8).tobytes(), **tags,
    }  # fmt: skip
    for name, value in known.items():
        if value is not None:
            setattr(dataset, name, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return str(known["SOPInstanceUID"])


def read(folder: Path, side: str = "train", **described: Any) -> TrainingSet:
    private = described.pop("private", False)
    config = parse(DatasetConfig, {"dicom": "**/*", "test_share": 0, **described}, "dataset.yaml")
    return read_training_set(config, folder, side, private)


TAGS: dict[str, tuple[dict[str, Any], Mapping[str, Any]]] = {
    "all": (
        {"PatientAge": "045Y", "PatientSex": "F", "PatientSize": 1.7, "PatientWeight": 70, "ViewPosition": "PA"},
        {"age": 45, "sex": "F", "height": 170, "weight": 70, "chest_view": "PA"}),
    "months": ({"PatientAge": "018M"}, {"age": 1.5}),
    "days": ({"PatientAge": "010D"}, {"age": pytest.approx(10 / 365.25)}),
    "age wins over dates": (
        {"PatientAge": "045Y", "PatientBirthDate": "19000101", "StudyDate": "20200101"}, {"age": 45}),
    "from dates": ({"PatientBirthDate": "19800229", "StudyDate": "20200301"}, {"age": 40.0}),
    "a date missing": ({"PatientBirthDate": "19800229"}, {}),
    "what scanners write for unknown": (
        {"PatientAge": "", "PatientSex": "O", "PatientSize": 0, "PatientWeight": "", "ViewPosition": ""}, {}),
    "a lateral": ({"ViewPosition": "LL"}, {}),
    "a view of another part": ({"ViewPosition": "PA", "BodyPartExamined": "HAND"}, {}),
}  # fmt: skip


@pytest.mark.parametrize("case", TAGS)
def test_tags_tell_the_patient(tmp_path: Path, case: str) -> None:
    tags, expected = TAGS[case]
    radiograph(tmp_path / "a.dcm", "P ", **tags)
    data = read(tmp_path, constants={"I10": True})
    (profile,) = data.profiles
    assert profile.patient_id == "P"
    assert {name: profile.get(name) for name in data.fields if profile.get(name) is not None} == {
        **expected, "I10": True,
    }  # fmt: skip
    every = ("age", "sex", "height", "weight", "chest_view", "I10")
    assert data.fields == tuple(name for name in every if name in {*expected, "I10"})
    assert (
        read(tmp_path, constants={"I10": True}, private=True).fields == every
    )  # whatever one patient's tags hold


def test_numbers_out_of_range_are_unknown_with_one_warning(tmp_path: Path) -> None:
    for i in range(3):
        radiograph(tmp_path / f"{i}.dcm", "P", PatientSize=175, PatientWeight=80)  # centimetres, by mistake
    with pytest.warns(UserWarning, match="height is out of range in 3 files") as warned:
        data = read(tmp_path)
    assert len(warned) == 1
    assert {(profile.height, profile.weight) for profile in data.profiles} == {(None, 80)}


def test_the_split_is_by_patient_and_fixed(tmp_path: Path) -> None:
    for i in range(60):
        radiograph(tmp_path / f"{i % 30}" / f"{i}", f"P{i % 30}")
    sides = {split: read(tmp_path, split, test_share=None) for split in ("train", "test")}
    train, test = ({p.patient_id for p in sides[s].profiles} for s in ("train", "test"))
    assert not train & test
    assert train | test == {f"P{i}" for i in range(30)}
    assert len(sides["train"]) + len(sides["test"]) == 60
    alone = tmp_path / next(r for r in sides["test"].records)
    radiograph(tmp_path.parent / "other" / alone.name, sides["test"].profiles[0].patient_id)
    assert len(read(tmp_path.parent / "other", "test", test_share=None)) == 1  # whoever else is there
    with pytest.raises(InputError, match="no images of split 'train' among 1 of 1 patients"):
        read(tmp_path.parent / "other", "train", test_share=None)
    held = np.mean([is_in("test", f"patient {i}", 0.2) for i in range(5000)])
    assert 0.18 < held < 0.22
    assert all(is_in("test", f"{i}", 0.3) for i in range(999) if is_in("test", f"{i}", 0.2))


FINDINGS = {"J90": {"column": "labels", "pattern": "Effusion"}}


@pytest.mark.parametrize("key", ["path", "name", "stem", "uid"])
def test_a_table_adds_findings(tmp_path: Path, key: str) -> None:
    uids = [radiograph(tmp_path / "d" / f"{i}.dcm", f"P{i}", PatientAge="030Y") for i in range(3)]
    keys = {"path": "d/{}.dcm", "name": "{}.dcm", "stem": "{}"}
    names = [uids[i] if key == "uid" else keys[key].format(i) for i in (2, 0)]
    rows = pd.DataFrame({"record": names, "labels": ["Effusion", ""], "years": [50, 51]})
    rows.to_csv(tmp_path / "f.csv", index=False)
    fields = {**FINDINGS, "age": {"column": "years"}}
    (tmp_path / "dataset.yaml").write_text("what describes the folder is no image of it")
    data = read(tmp_path, table="f.csv", fields=fields)
    assert [p.get("J90") for p in data.profiles] == [False, None, True]  # a file without a row: not known
    assert [p.age for p in data.profiles] == [51, 30, 50]  # the table wins over the tags
    assert [p.patient_id for p in data.profiles] == ["P0", "P1", "P2"]


def test_a_table_gives_patients_and_split(tmp_path: Path) -> None:
    for i in range(4):
        radiograph(tmp_path / f"{i}.dcm", "")
    with pytest.raises(InputError, match=r"4 images have no PatientID: 0\.dcm"):
        read(tmp_path, dicom="*.dcm")
    rows = {
        "record": [f"{i}" for i in range(4)],
        "patient_id": [7, 7, 8, 9],
        "split": ["train", "train", "test", ""],
    }
    pd.DataFrame(rows).to_csv(tmp_path / "f.csv", index=False)
    told = {"dicom": "*.dcm", "table": "f.csv", "test_share": 0.9}  # the table's split wins over the share
    for split, ids in (("train", ["7", "7"]), ("test", ["8"])):
        with pytest.warns(DataWarning, match="1 of 4 rows are neither 'train' nor 'test'"):
            assert [p.patient_id for p in read(tmp_path, split, **told).profiles] == ids


TABLES: dict[str, tuple[dict[str, list[Any]], dict[str, Any], str]] = {
    "names nothing": ({"record": ["0", "x"]}, {}, r"1 of 2 rows .*'x' \(0 files\)"),
    "names several": ({"record": ["same"]}, {}, r"'same' \(2 files\)"),
    "named twice": ({"record": ["0", "0.dcm"]}, {}, "named twice"),
    "no split for all": ({"record": ["0"], "split": ["train"]}, {}, "4 images have no row, so no split"),
    "no such split column": ({"record": ["0"]}, {"split": "fold"}, "no column 'fold'"),
    "no split column": ({"record": ["0"]}, {"split": "split"}, "`split: null` with `test_share: 0.2`"),
    "no record column": ({"file": ["0"]}, {}, "no column 'record'"),
    "no finding column": ({"record": ["0"]}, {"fields": FINDINGS}, "no column 'labels'"),
    "both sides": (
        {"record": ["0", "1", "2", "a/same", "b/same"], "patient_id": list("ppqrs"),
         "split": ["train", "test", "test", "train", "test"]}, {}, "1 patients have rows of both.*: p;"),
}  # fmt: skip


@pytest.mark.parametrize("case", TABLES)
def test_tables_that_do_not_fit_are_refused(tmp_path: Path, case: str) -> None:
    rows, described, message = TABLES[case]
    for name in ("0.dcm", "1.dcm", "2.dcm", "a/same", "b/same"):
        radiograph(tmp_path / name, name)
    pd.DataFrame(rows).to_csv(tmp_path.parent / f"{tmp_path.name}.csv", index=False)
    with pytest.raises(InputError, match=message):
        read(tmp_path, table=f"../{tmp_path.name}.csv", **described)


MIXTURES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "Modality": ({"Modality": "MR"}, {"Modality": "CR"}),
    "BodyPartExamined": ({"BodyPartExamined": "KNEE"}, {"BodyPartExamined": ["chest"]}),
    "PresentationIntentType": (
        {"PresentationIntentType": "FOR PROCESSING"}, {"PresentationIntentType": "FOR PRESENTATION"}),
}  # fmt: skip


@pytest.mark.parametrize("name", MIXTURES)
def test_mixtures_are_refused_until_one_or_several_are_chosen(tmp_path: Path, name: str) -> None:
    other, one = MIXTURES[name]
    usual = {"PresentationIntentType": "FOR PRESENTATION"}
    for i in range(3):
        radiograph(tmp_path / f"{i}", f"P{i}", **{**usual, **(other if i == 2 else {})})
    with pytest.raises(
        InputError,
        match=rf"{name} is .* \(2, as 0\), .* \(1, as 2\); say which to take by keep: {{{name}",
    ):
        read(tmp_path)
    assert len(read(tmp_path, keep=one)) == 2
    (value,), (strange,) = one.values(), other.values()
    both = [*(value if isinstance(value, list) else [value]), strange]
    assert len(read(tmp_path, keep={name: both})) == 3
    with pytest.raises(InputError, match="no DICOM image with"):
        read(tmp_path, keep={name: "nothing"})
    with pytest.raises(InputError, match="'Modalty' is not a DICOM keyword"):
        read(tmp_path, keep={"Modalty": "CR"})


def test_cr_and_dx_are_one_kind_and_an_unknown_part_mixes_with_any(tmp_path: Path) -> None:
    radiograph(tmp_path / "0", "P", Modality="DX")
    radiograph(tmp_path / "1", "P", BodyPartExamined=None)
    assert len(read(tmp_path)) == 2


def test_a_stray_file_among_dicom_is_named(tmp_path: Path) -> None:
    for i in range(3):
        radiograph(tmp_path / f"{i}.dcm", f"P{i}")
    assert is_dicom_folder(tmp_path)
    (tmp_path / "notes.txt").write_text("seen")
    with pytest.raises(
        InputError, match=r"3 DICOM files and 1 of another kind: notes.txt; move them away, or add"
    ):
        is_dicom_folder(tmp_path)
    for i in range(4):
        (tmp_path / f"{i}.png").write_bytes(b"a picture")
    assert not is_dicom_folder(tmp_path)


def test_what_is_no_image_is_left_out_and_what_cannot_be_read_is_listed(tmp_path: Path) -> None:
    radiograph(tmp_path / "image", "P")
    radiograph(
        tmp_path / "report", "P", SOPClassUID=BasicTextSRStorage, Modality="SR", Rows=None, PixelData=None
    )
    (tmp_path / "DICOMDIR").write_bytes(b"a catalogue")
    (tmp_path / ".hidden").write_bytes(b"")
    assert is_dicom_folder(tmp_path)
    assert read(tmp_path).records == ("image",)
    for i in range(12):
        (tmp_path / f"junk{i:02}").write_bytes(b"junk")
    (tmp_path / "cut").write_bytes((tmp_path / "image").read_bytes()[:200])
    assert not is_dicom_folder(tmp_path)
    with pytest.raises(
        InputError, match=r"1[23] of 15 files cannot be read as DICOM: .*junk00.*and [23] more"
    ) as caught:
        read(tmp_path)
    assert "\n" not in str(caught.value)
    for pattern in ("*.dcm", "image/*"):
        with pytest.raises(InputError, match="no DICOM image among 0 files"):
            read(tmp_path, dicom=pattern)
    with pytest.raises(InputError, match="is not a pattern"):
        read(tmp_path, dicom="/tmp/*")


def test_devices_pipes_and_broken_links_are_named(tmp_path: Path) -> None:
    for i in range(4):
        radiograph(tmp_path / f"{i}.dcm", f"P{i}")
    os.mkfifo(tmp_path / "pipe.dcm")
    (tmp_path / "zero.dcm").symlink_to("/dev/zero")
    (tmp_path / "lost.dcm").symlink_to("nowhere")
    with pytest.raises(
        InputError,
        match="4 DICOM files and 3 of another kind: lost.dcm, pipe.dcm, zero.dcm".replace(", ", "; "),
    ):
        is_dicom_folder(tmp_path)
    with pytest.raises(
        InputError, match=r"3 of 7 .*lost.dcm \(it is a broken link\).*pipe.dcm \(it is a device or a pipe\)"
    ):
        read(tmp_path)


def test_a_folder_of_dicom_alone_needs_no_dataset_yaml(tmp_path: Path) -> None:
    for i in range(40):
        radiograph(tmp_path / "pacs" / f"IM{i:04}", f"P{i}")
    (described,) = read_config("imaging", tmp_path / "pacs", None, "x").datasets
    assert (described.name, described.table, described.dicom) == ("pacs", None, "**/*")
    ((train, test),) = references(tmp_path / "pacs")["imaging"]
    assert len(train) + len(test) == 40
    assert len(test) > 0
    (tmp_path / "pacs" / "notes.txt").write_text("x")
    with pytest.raises(
        InputError,
        match=r"40 DICOM files and 1 of another kind: notes.txt; move them away, or add a dataset\.yaml",
    ):
        read_config("imaging", tmp_path / "pacs", None, "x")


def test_other_tables_may_hold_out_a_share_and_keep_patients_apart(tmp_path: Path) -> None:
    rows = pd.DataFrame(
        {"record": range(40), "patient_id": [i // 2 for i in range(40)], "split": ["train", "test"] * 20}
    )
    rows.to_csv(tmp_path / "patients.csv", index=False)
    sides = [
        read_training_set(DatasetConfig(split=None, test_share=0.3), tmp_path, split)
        for split in ("train", "test")
    ]
    train, test = ({p.patient_id for p in side.profiles} for side in sides)
    assert not train & test
    assert sum(map(len, sides)) == 40
    with pytest.raises(
        InputError, match=r"20 patients have rows of both 'train' and 'test': 0; .*and 10 more"
    ):
        read_training_set(DatasetConfig(), tmp_path, "train")
