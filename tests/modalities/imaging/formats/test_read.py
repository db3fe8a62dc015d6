"""What people have becomes square 12-bit images: DICOM of every make, pictures, NIfTI; and what is refused."""

import tracemalloc
from functools import cache
from io import BytesIO
from itertools import permutations, product
from pathlib import Path
from typing import Any

import imagecodecs
import nibabel
import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, ornt_transform
from PIL import Image, ImageDraw, ImageFont
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.processing import convert_color_space
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)

from polyclinic.core.errors import InputError
from polyclinic.core.modality import DatasetSource, TrainingSet
from polyclinic.core.profile import PatientProfile
from polyclinic.core.remarks import DataWarning
from polyclinic.modalities.imaging.burned_in import shows_text
from polyclinic.modalities.imaging.data import read_images
from polyclinic.modalities.imaging.formats.files import frames, read_image
from polyclinic.modalities.imaging.formats.nifti import Plane
from polyclinic.modalities.imaging.frame import Frame, Levels, Slices, square

RNG = np.random.default_rng(0)
PLAIN, ALL = Levels(), Slices()
ENCODERS = {RLELossless: "pydicom", JPEGLSLossless: "pyjpegls", JPEG2000Lossless: "pylibjpeg"}


def dicom(path: Path, stored: np.ndarray, transfer: str = ExplicitVRLittleEndian, **tags: Any) -> Path:
    """A CT file of (row, column[, 3]) or (frame, row, column) stored values; tags win, None leaves one out."""
    colour = stored.shape[-1] == 3
    rows, columns = stored.shape[-3:-1] if colour else stored.shape[-2:]
    bits = 8 * stored.itemsize
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = (
        transfer
        if transfer in (ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian)
        else ExplicitVRLittleEndian
    )
    known = {
        "SOPClassUID": CTImageStorage, "SOPInstanceUID": generate_uid(entropy_srcs=[str(path)]),
        "PatientID": "P", "Modality": "CT", "Rows": rows, "Columns": columns, "SamplesPerPixel": 3 if colour else 1,
        "PhotometricInterpretation": "RGB" if colour else "MONOCHROME2", "PlanarConfiguration": 0 if colour else None,
        "BitsAllocated": bits, "BitsStored": bits, "PixelRepresentation": int(stored.dtype.kind == "i"),
        "NumberOfFrames": len(stored) if stored.ndim == 3 and not colour else None, **tags,
    }  # fmt: skip
    known.setdefault("HighBit", known["BitsStored"] - 1)
    for name, value in known.items():
        if value is not None:
            setattr(dataset, name, value)
    pixels = np.moveaxis(stored, -1, 0) if known["PlanarConfiguration"] == 1 else stored
    content = pixels.tobytes()
    dataset.PixelData = content + b"\0" * (len(content) % 2)
    dataset["PixelData"].VR = "OB" if bits == 8 else "OW"
    path.parent.mkdir(parents=True, exist_ok=True)
    if transfer in ENCODERS:
        dataset.compress(transfer, generate_instance_uid=False, encoding_plugin=ENCODERS[transfer])
    dataset.save_as(path, enforce_file_format=True)
    if transfer == JPEGLosslessSV1:
        unsigned = stored.view(f"u{stored.itemsize}")
        encapsulated(path, transfer, imagecodecs.ljpeg_encode(unsigned, bitspersample=known["BitsStored"]))
    return path


def encapsulated(path: Path, transfer: str, frame: bytes) -> None:
    """Put a compressed frame in place of a file's pixels."""
    dataset = pydicom.dcmread(path)
    dataset.PixelData = encapsulate([frame])
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = transfer
    dataset.save_as(path)


def shown(
    path: Path, levels: Levels = PLAIN, slices: Slices = ALL, plane: Plane = "axial"
) -> list[np.ndarray]:
    return [frame.pixels for frame in frames(path, levels, slices, plane)]


def a_set(root: Path, records: list[str], patients: list[str] | None = None, **options: Any) -> TrainingSet:
    profiles = tuple(PatientProfile(name) for name in patients or records)
    return TrainingSet(root, DatasetSource("made up", "CC0"), tuple(records), profiles, (), "train", options)


# -- DICOM, grey


def linear(values: np.ndarray, center: float, width: float) -> np.ndarray:
    """PS3.3 C.11.2.1.2.1, black 0 to white 1."""
    return np.clip((values - (center - 0.5)) / (width - 1) + 0.5, 0, 1)


@pytest.mark.filterwarnings("ignore:.*a window that shows nothing")
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    bits=st.sampled_from([(8, 8), (8, 7), (16, 10), (16, 12), (16, 16)]),
    signed=st.booleans(),
    inverted=st.booleans(),
    rescale=st.sampled_from([None, (1, 0), (1, -1024), (0.5, 10), (2, -3000)]),
    window=st.sampled_from([None, (40, 400), (0.5, 100), ([100, 7], [50, 9]), (128, 1)]),
    transfer=st.sampled_from(
        [ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, RLELossless, JPEGLSLossless,
         JPEG2000Lossless, JPEGLosslessSV1]
    ),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_grey_dicom_is_read_as_displayed(
    tmp_path: Path, bits: tuple[int, int], signed: bool, inverted: bool, rescale: Any, window: Any, transfer: str,
    seed: int,
) -> None:  # fmt: skip
    allocated, used = bits
    signed = signed and transfer != JPEGLSLossless  # its codec writes unsigned pixels only
    used = allocated if transfer == JPEGLSLossless or signed else used
    low, high = (-(1 << used - 1), (1 << used - 1) - 1) if signed else (0, (1 << used) - 1)
    stored = np.random.default_rng(seed).integers(low, high, (36, 40), endpoint=True)
    stored = stored.astype(f"{'i' if signed else 'u'}{allocated // 8}")
    tags: dict[str, Any] = {"BitsStored": used, "HighBit": used - 1}
    if inverted:
        tags["PhotometricInterpretation"] = "MONOCHROME1"
    if rescale:
        tags["RescaleSlope"], tags["RescaleIntercept"] = rescale
    if window:
        tags["WindowCenter"], tags["WindowWidth"] = window
    (pixels,) = shown(dicom(tmp_path / "a.dcm", stored, transfer, **tags))
    slope, intercept = rescale or (1, 0)
    values = stored.astype(float) * slope + intercept
    if window and window[1] != 1:
        expected = linear(values, *(np.atleast_1d(value)[0] for value in window))
    else:  # a window of width 1 shows nothing, and is taken as none
        expected = (values - values.min()) / (values.max() - values.min())
    np.testing.assert_allclose(pixels, 1 - expected if inverted else expected, atol=2e-3)
    assert pixels.dtype == np.float32


RAMP = np.arange(0, 256, 4, dtype=np.uint16).reshape(8, 8)


def table(values: np.ndarray, bits: int, first: int = 0) -> Dataset:
    """A lookup table item of a sequence."""
    item = Dataset()
    item.LUTDescriptor = [len(values), first, bits]
    item["LUTDescriptor"].VR = "US"
    item.LUTData = [int(value) for value in values]
    item["LUTData"].VR = "US"
    item.ModalityLUTType = "US"
    return item


CURVE = np.rint(4095 * (np.arange(256) / 255) ** 2).astype(int)
DISPLAYS: dict[str, tuple[dict[str, Any], Levels, np.ndarray]] = {
    "VOI LUT wins over a window": (
        {"VOILUTSequence": [table(CURVE, 12)], "WindowCenter": 5, "WindowWidth": 9}, PLAIN, CURVE[RAMP] / 4095),
    "modality LUT, then the window": (
        {"ModalityLUTSequence": [table(CURVE, 16)], "WindowCenter": 2048, "WindowWidth": 4096}, PLAIN,
        linear(CURVE[RAMP], 2048, 4096)),
    "sigmoid": (
        {"WindowCenter": 128, "WindowWidth": 64, "VOILUTFunction": "SIGMOID"}, PLAIN,
        1 / (1 + np.exp(-4 * (RAMP - 128.0) / 64))),
    "exact linear": (
        {"WindowCenter": 128, "WindowWidth": 64, "VOILUTFunction": "LINEAR_EXACT"}, PLAIN,
        np.clip((RAMP - 128.0) / 64 + 0.5, 0, 1)),
    "padding is black and not counted": ({"PixelPaddingValue": 252}, PLAIN, np.where(RAMP == 252, 0, RAMP / 248)),
    "a range of padding, in MONOCHROME1": (
        {"PixelPaddingValue": 200, "PixelPaddingRangeLimit": 252, "PhotometricInterpretation": "MONOCHROME1"}, PLAIN,
        np.where(RAMP >= 200, 0, 1 - RAMP / 196)),
    "an empty window": ({"WindowCenter": "", "WindowWidth": ""}, PLAIN, RAMP / 252),
    "a window that is set wins": (
        {"WindowCenter": 5, "WindowWidth": 9, "RescaleIntercept": -100, "RescaleSlope": 1},
        Levels.model_validate({"window": {"center": 28, "width": 256}}), RAMP / 256),
    "percentiles that are set win": (
        {"WindowCenter": 5, "WindowWidth": 9}, Levels(percentiles=(25, 75)), np.clip((RAMP - 63.0) / 126, 0, 1)),
}  # fmt: skip


@pytest.mark.parametrize("case", DISPLAYS)
def test_display_rules(tmp_path: Path, case: str) -> None:
    tags, levels, expected = DISPLAYS[case]
    (pixels,) = shown(dicom(tmp_path / "a.dcm", RAMP, BitsStored=12, **tags), levels)
    np.testing.assert_allclose(pixels, expected, atol=2e-3)


@pytest.mark.parametrize("transfer", [ExplicitVRLittleEndian, RLELossless, JPEG2000Lossless])
def test_frames_are_rows_of_one_patient(tmp_path: Path, transfer: str) -> None:
    stack = RNG.integers(0, 4096, (5, 40, 40)).astype(np.uint16)
    window = {"WindowCenter": 2048, "WindowWidth": 4096}
    dicom(tmp_path / "cine.dcm", stack, transfer, BitsStored=12, **window)
    dicom(tmp_path / "one.dcm", stack[0], transfer, BitsStored=12, **window)
    images, profiles = read_images(a_set(tmp_path, ["one.dcm", "cine.dcm"], ["A", "B"]), 40)
    assert [profile.patient_id for profile in profiles] == ["A"] + 5 * ["B"]
    np.testing.assert_allclose(images[:, 0], np.concatenate([stack[:1], stack]), atol=1)
    chosen, _ = read_images(a_set(tmp_path, ["cine.dcm"], slices={"first": 1, "last": 9, "step": 2}), 40)
    np.testing.assert_array_equal(chosen, images[[2, 4]])


def test_each_frame_of_an_enhanced_object_has_its_own_window(tmp_path: Path) -> None:
    def groups(**sequences: dict[str, Any]) -> Dataset:
        outer = Dataset()
        for name, values in sequences.items():
            item = Dataset()
            for tag, value in values.items():
                setattr(item, tag, value)
            setattr(outer, name, [item])
        return outer

    rescale = {"RescaleSlope": 2, "RescaleIntercept": -100, "RescaleType": "HU"}
    shared = groups(PixelValueTransformationSequence=rescale, PixelMeasuresSequence={"PixelSpacing": [2, 1]})
    each = [groups(FrameVOILUTSequence={"WindowCenter": c, "WindowWidth": 256}) for c in (0, 200)]
    path = dicom(
        tmp_path / "a.dcm", np.stack([RAMP, RAMP]), SharedFunctionalGroupsSequence=[shared],
        PerFrameFunctionalGroupsSequence=each,
    )  # fmt: skip
    for frame, center in zip(frames(path, PLAIN, ALL), (0, 200), strict=True):
        np.testing.assert_allclose(frame.pixels, linear(RAMP * 2.0 - 100, center, 256), atol=2e-3)
        assert frame.aspect == 2


# -- DICOM, colour

RGB = np.stack(np.meshgrid(np.arange(0, 256, 32), np.arange(0, 256, 32)), axis=-1).astype(np.uint8)
RGB = np.concatenate([RGB, 255 - RGB[..., :1]], axis=-1)


@pytest.mark.parametrize("model", ["RGB", "YBR_FULL"])
@pytest.mark.parametrize(
    ("transfer", "planar"), [(ExplicitVRLittleEndian, 0), (ExplicitVRLittleEndian, 1), (RLELossless, 0)]
)
def test_colour_dicom(tmp_path: Path, planar: int, model: str, transfer: str) -> None:
    stored = RGB if model == "RGB" else convert_color_space(RGB, "RGB", "YBR_FULL")
    path = dicom(
        tmp_path / "a.dcm", stored, transfer, PlanarConfiguration=planar, PhotometricInterpretation=model
    )
    (pixels,) = shown(path)
    np.testing.assert_allclose(pixels, RGB / 255, atol=0.02 if model == "YBR_FULL" else 1e-6)
    (three, _), (one, _) = (read_images(a_set(tmp_path, ["a.dcm"]), 8, channels) for channels in (3, 1))
    assert (three.shape, one.shape) == ((1, 3, 8, 8), (1, 1, 8, 8))
    np.testing.assert_allclose(three[0].transpose(1, 2, 0), pixels * 4095, atol=1)
    np.testing.assert_allclose(one[0, 0], pixels @ [0.299, 0.587, 0.114] * 4095, atol=1)


@pytest.mark.parametrize("bits", [8, 16])
def test_palette_dicom(tmp_path: Path, bits: int) -> None:
    top = 2**bits - 1
    luts = {}
    for name, values in {
        "Red": np.arange(256),
        "Green": np.arange(256)[::-1],
        "Blue": np.full(256, 64),
    }.items():
        scaled = (values * top // 255).astype(f"<u{bits // 8}")
        luts[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, bits]
        luts[f"{name}PaletteColorLookupTableData"] = scaled.tobytes()
    index = RNG.integers(0, 256, (8, 8)).astype(np.uint8)
    (pixels,) = shown(dicom(tmp_path / "a.dcm", index, PhotometricInterpretation="PALETTE COLOR", **luts))
    expected = np.stack([index, 255 - index, np.full_like(index, 64)], axis=-1) / 255
    np.testing.assert_allclose(pixels, expected, atol=0.01)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_baseline_jpeg_dicom(tmp_path: Path, mode: str) -> None:
    smooth = Image.fromarray(np.add.outer(np.arange(64), np.arange(64)).astype(np.uint8)).convert(mode)
    buffer = BytesIO()
    smooth.save(buffer, "JPEG", quality=95)
    model = "YBR_FULL_422" if mode == "RGB" else "MONOCHROME2"
    window = {} if mode == "RGB" else {"WindowCenter": 128, "WindowWidth": 256}
    path = dicom(tmp_path / "a.dcm", np.asarray(smooth), PhotometricInterpretation=model, **window)
    encapsulated(path, JPEGBaseline8Bit, buffer.getvalue())
    (pixels,) = shown(path)
    np.testing.assert_allclose(pixels, np.asarray(smooth) / 255, atol=0.02)


@pytest.mark.parametrize("transfer", [JPEGExtended12Bit, JPEGLosslessSV1, JPEGLossless])
@pytest.mark.parametrize("damage", [None, 40, 300])
def test_twelve_bit_and_lossless_jpeg(tmp_path: Path, transfer: str, damage: int | None) -> None:
    smooth = np.add.outer(np.arange(64), np.arange(64)).astype(np.uint16) * 32
    how = {"level": 98} if transfer == JPEGExtended12Bit else {"lossless": True}
    frame = imagecodecs.jpeg8_encode(smooth, bitspersample=12, **how)
    path = dicom(tmp_path / "a.dcm", smooth, BitsStored=12, WindowCenter=2048, WindowWidth=4096)
    encapsulated(path, transfer, frame[:damage] if damage else frame)
    if damage == 40:
        with pytest.raises(InputError, match=r"a\.dcm: cannot read the pixels"):
            shown(path)
    elif damage is None:
        np.testing.assert_allclose(shown(path)[0], smooth / 4095, atol=0.002)


def test_lossless_jpeg_in_colour(tmp_path: Path) -> None:
    path = dicom(tmp_path / "a.dcm", RGB)
    encapsulated(path, JPEGLosslessSV1, imagecodecs.jpeg8_encode(RGB, lossless=True, colorspace="RGB"))
    np.testing.assert_allclose(shown(path)[0], RGB / 255, atol=1e-6)


# -- pictures


def test_pictures_of_every_mode(tmp_path: Path) -> None:
    values = np.array([[0, 51, 255, 102]], np.uint8)
    wide = np.repeat(values, 4, axis=0)
    colour = np.stack([wide] * 3, axis=-1)
    cases: dict[str, Image.Image] = {
        "grey.png": Image.fromarray(wide), "grey.bmp": Image.fromarray(wide), "rgb.png": Image.fromarray(colour),
        "rgba.png": Image.fromarray(colour).convert("RGBA"), "palette.png": Image.fromarray(colour).quantize(),
        "alpha.png": Image.fromarray(wide).convert("LA"), "deep.png": Image.fromarray(wide.astype(np.uint16) * 257),
        "deep.tif": Image.fromarray(wide.astype(np.uint16) * 257), "rgb.tif": Image.fromarray(colour),
        "turned.tif": Image.fromarray(np.rot90(wide)),
    }  # fmt: skip
    for name, picture in cases.items():
        turned = Image.Exif()
        if name == "turned.tif":
            turned[0x0112] = 6  # shown after a quarter turn clockwise
        picture.save(tmp_path / name, exif=turned) if turned else picture.save(tmp_path / name)
        images, _ = read_images(a_set(tmp_path, [name]), 4)
        np.testing.assert_allclose(images[0, 0], wide / 255 * 4095, atol=1, err_msg=name)
    stack = [Image.fromarray(wide), Image.fromarray(255 - wide)]
    stack[0].save(tmp_path / "pages.tif", save_all=True, append_images=stack[1:])
    images, profiles = read_images(a_set(tmp_path, ["pages.tif"], ["A"]), 4)
    np.testing.assert_allclose(images[:, 0], np.stack([wide, 255 - wide]) / 255 * 4095, atol=1)
    assert {profile.patient_id for profile in profiles} == {"A"}
    twelve = Image.fromarray(
        np.array([[0, 4095]] * 2, np.uint16)
    )  # 12 bits in 16, as many archives write them
    twelve.save(tmp_path / "twelve.png")
    images, _ = read_images(a_set(tmp_path, ["twelve.png"], window={"center": 2048, "width": 4096}), 2)
    assert (images.min(), images.max()) == (0, 4094)


def test_one_image_for_the_exporter(tmp_path: Path) -> None:
    window = {"WindowCenter": 128, "WindowWidth": 256}
    np.testing.assert_allclose(
        read_image(dicom(tmp_path / "a.dcm", RAMP, **window)), RAMP / 255 * 4095, atol=1
    )
    with pytest.raises(InputError, match="2 frames"):
        read_image(dicom(tmp_path / "b.dcm", np.stack([RAMP, RAMP])))
    with pytest.raises(InputError, match="3 samples a pixel"):
        read_image(dicom(tmp_path / "c.dcm", RGB))
    Image.fromarray(np.array([[0, 51, 255]], np.uint8)).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(read_image(tmp_path / "grey.png"), [[0, 819, 4095]])


# -- NIfTI

BODY = RNG.uniform(0, 1000, (6, 7, 8)).astype(np.float32)  # to the right, to the front, to the head
BODY[0, 0, 0], BODY[-1, -1, -1] = 0, 1000
DIRECTIONS = [
    codes for axes in permutations(("LR", "PA", "IS")) for codes in product(*axes)
]  # all 48 ways to store a volume


@pytest.mark.parametrize("codes", DIRECTIONS, ids="".join)
def test_volumes_look_the_same_however_they_are_stored(tmp_path: Path, codes: tuple[str, str, str]) -> None:
    turn = ornt_transform(axcodes2ornt(("R", "A", "S")), axcodes2ornt(codes))
    turned = apply_orientation(BODY, turn)
    affine = np.diag([1.0, 2.0, 3.0, 1.0]) @ inv_ornt_aff(turn, BODY.shape)
    nibabel.save(nibabel.Nifti1Image(turned, affine), tmp_path / "v.nii.gz")
    levels = Levels(percentiles=(0, 100))
    expected: dict[Plane, list[np.ndarray]] = {
        "axial": [BODY[::-1, ::-1, k].T for k in range(8)],  # right at the left edge, face at the top
        "coronal": [BODY[::-1, j, ::-1].T for j in range(7)],  # right at the left edge, head at the top
        "sagittal": [BODY[i, ::-1, ::-1].T for i in range(6)],  # face at the left edge, head at the top
    }
    aspects = {"axial": 2.0, "coronal": 3.0, "sagittal": 1.5}
    for plane, slices in expected.items():
        found = list(frames(tmp_path / "v.nii.gz", levels, ALL, plane))
        np.testing.assert_allclose([frame.pixels for frame in found], np.stack(slices) / 1000, atol=1e-5)
        assert [frame.aspect for frame in found] == pytest.approx([aspects[plane]] * len(slices))


def test_windows_percentiles_and_slices_of_a_volume(tmp_path: Path) -> None:
    volume = np.repeat(np.arange(-1000, 1000, 100.0), 16).reshape(20, 4, 4).T.astype(np.float32)
    volume[0, 0, 0] = np.nan
    nibabel.save(nibabel.Nifti1Image(volume[..., None], np.eye(4)), tmp_path / "v.nii")
    lung = {"window": {"center": -600, "width": 1500}, "slices": {"middle": 0.5}}
    images, profiles = read_images(a_set(tmp_path, ["v.nii"], **lung), 4)
    expected = np.clip((np.arange(-500, 500, 100) + 1350) / 1500, 0, 1) * 4095
    np.testing.assert_allclose(images[:, 0, -1, -1], expected, atol=1)
    assert len(profiles) == 10
    whole, _ = read_images(a_set(tmp_path, ["v.nii"], slices={"first": 19}), 4)
    assert np.all(whole == 4095)
    with pytest.raises(InputError, match="no images"):
        read_images(a_set(tmp_path, ["v.nii"], slices={"first": 20}), 4)


@given(count=st.integers(1, 50), middle=st.floats(0.01, 1), step=st.integers(1, 5))
def test_middle_slices_are_in_the_middle(count: int, middle: float, step: int) -> None:
    chosen = Slices(middle=middle, step=step).of(count)
    assert chosen
    assert 0 <= chosen[0] <= chosen[-1] < count
    if step == 1:
        assert abs((count - 1 - chosen[-1]) - chosen[0]) <= 1


# -- size


def test_the_square_is_central_in_millimetres() -> None:
    disc = np.hypot(*np.meshgrid(np.arange(-60, 60) + 0.5, 2 * (np.arange(-40, 40) + 0.5))) < 30
    (image,) = square(Frame(disc.astype(np.float32), aspect=2), 60)  # 160 mm high, 120 mm wide
    rows, columns = (np.flatnonzero(image.max(axis=axis) > 2000) for axis in (1, 0))
    assert abs(len(rows) - 30) <= 1
    assert abs(len(columns) - 30) <= 1
    assert abs(rows.mean() - 29.5) <= 0.5
    assert abs(columns.mean() - 29.5) <= 0.5


def test_memory_does_not_grow_with_the_number_of_files(tmp_path: Path) -> None:
    big = RNG.integers(0, 4096, (700, 700)).astype(np.uint16)
    names = [dicom(tmp_path / f"{i}.dcm", big).name for i in range(12)]

    def peak(count: int) -> int:
        tracemalloc.start()
        read_images(a_set(tmp_path, names[:count], burned_in="ignore"), 16)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(1)
    assert peak(12) < 1.2 * peak(3)


# -- what is refused


def damaged(tmp_path: Path, name: str, content: bytes | None) -> str:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    return name


def test_all_files_that_cannot_be_read_are_counted_and_ten_are_named(tmp_path: Path) -> None:
    good = dicom(tmp_path / "good.dcm", RAMP).read_bytes()
    Image.fromarray(np.eye(4, dtype=np.float32)).save(tmp_path / "float.tif")
    Image.fromarray(RNG.integers(0, 256, (64, 64)).astype(np.uint8)).save(tmp_path / "noise.png")
    nibabel.save(nibabel.Nifti1Image(BODY, np.eye(4)), tmp_path / "body.nii")
    nibabel.save(nibabel.Nifti1Image(np.zeros((3, 3, 3, 2), np.float32), np.eye(4)), tmp_path / "series.nii")
    (tmp_path / "cut.nii").write_bytes((tmp_path / "body.nii").read_bytes()[:500])
    hsv = dicom(tmp_path / "hsv.dcm", RGB, PhotometricInterpretation="HSV").name
    broken = [
        damaged(tmp_path, "text.dcm", b"not an image"), damaged(tmp_path, "empty.dcm", b""),
        damaged(tmp_path, "tags.dcm", good[:300]), damaged(tmp_path, "pixels.dcm", good[:-9]), hsv,
        damaged(tmp_path, "absent.dcm", None), damaged(tmp_path, "junk.png", b"junk"),
        damaged(tmp_path, "cut.png", (tmp_path / "noise.png").read_bytes()[:999]), "float.tif",
        damaged(tmp_path, "absent.png", None), "cut.nii", "series.nii", damaged(tmp_path, "junk.nii.gz", b"junk"),
        damaged(tmp_path, "absent.nii", None),
    ]  # fmt: skip
    for name in broken:
        with pytest.raises(InputError, match="1 of 1 files cannot be read") as caught:
            read_images(a_set(tmp_path, [name]), 8)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(
        InputError, match=f"{len(broken)} of {len(broken) + 1} files.*and {len(broken) - 10} more"
    ) as caught:
        read_images(a_set(tmp_path, ["good.dcm", *broken]), 8)
    assert all(name in str(caught.value) for name in broken[:10])


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(132, 900), value=st.integers(0, 255), cut=st.integers(0, 400))
@pytest.mark.filterwarnings("ignore")
def test_a_flipped_byte_is_read_or_refused(tmp_path: Path, place: int, value: int, cut: int) -> None:
    whole = bytearray(dicom(tmp_path / "a.dcm", RAMP, WindowCenter=9, WindowWidth=99).read_bytes())
    whole[min(place, len(whole) - 1)] = value
    (tmp_path / "a.dcm").write_bytes(whole[: len(whole) - cut])
    try:
        images, _ = read_images(a_set(tmp_path, ["a.dcm"]), 8)
    except InputError as error:
        assert "a.dcm" in str(error)  # noqa: PT017
    else:
        assert images.shape[1:] == (1, 8, 8)


OPTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "unknown": ({"burned": "ignore"}, "nearest known one is 'burned_in'"),
    "plane": ({"plane": "oblique"}, "plane"),
    "width": ({"window": {"center": 0, "width": 0}}, "window.width"),
    "percentile": ({"percentiles": [0, 101]}, "percentiles"),
    "two ways": ({"slices": {"middle": 0.5, "first": 3}}, "either middle"),
    "backwards": ({"slices": {"last": 2, "first": 3}}, "before first"),
}


@pytest.mark.parametrize("case", OPTIONS)
def test_options_are_checked(tmp_path: Path, case: str) -> None:
    options, message = OPTIONS[case]
    with pytest.raises(InputError, match=message):
        read_images(a_set(tmp_path, ["a.png"], **options), 8)


def test_channels_and_archives(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="channels"):
        read_images(a_set(tmp_path, ["a.png"]), 8, 2)
    stack = RNG.integers(0, 256, (10, 8, 8)).astype(np.uint8)
    np.savez(tmp_path / "a.npz", images=stack, twin=np.arange(10) == 3)
    known = {"npz": "*.npz", "drop": "twin", "hold_out": 5, "constants": PatientProfile("*", 3.0)}
    images, profiles = read_images(a_set(tmp_path, [], **known), 8)
    np.testing.assert_allclose(images[:, 0], stack[[0, 1, 2, 5, 6, 7, 8]] / 255 * 4095, atol=1)
    assert len({profile.patient_id for profile in profiles}) == 7
    assert {profile.age for profile in profiles} == {3.0}
    with pytest.raises(InputError, match="expected `dicom: PATTERN`"):
        read_images(a_set(tmp_path, []), 8)


# -- burned-in text


@cache
def film(side: int = 300) -> Image.Image:
    """A chest, roughly: bright body, dark lungs with ribs, noise."""
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    body = 0.75 * np.exp(-((x / 0.8) ** 6) - ((y / 1.3) ** 8))
    lungs = sum(np.exp(-(((x - s * 0.38) / 0.25) ** 4) - (y / 0.6) ** 4) for s in (-1, 1))
    ribs = 0.12 * np.sin(28 * (y + 0.4 * x**2)) ** 4
    noise = np.random.default_rng(1).normal(0, 0.01, (side, side))
    return Image.fromarray(
        (255 * np.clip(body * (1 - 0.65 * lungs) + ribs * body + noise, 0, 1)).astype(np.uint8)
    )


def written(
    picture: Image.Image, text: str, size: int, place: tuple[int, int], boxed: bool = False
) -> np.ndarray:
    picture = picture.copy()
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(size)
    if boxed:
        draw.rectangle(draw.textbbox(place, text, font=font), fill=255)
    draw.text(place, text, fill=0 if boxed else 255, font=font)
    return np.asarray(picture)


@pytest.mark.parametrize("boxed", [False, True], ids=["light", "dark on a box"])
@pytest.mark.parametrize(("side", "size"), [(224, 12), (300, 16), (600, 30)])
@pytest.mark.parametrize("text", ["DOE^JANE 12.04.1953", "15/03/2021 10:42"])
def test_drawn_text_is_found(text: str, side: int, size: int, boxed: bool) -> None:
    assert shows_text(written(film(side), text, size, (4, 4), boxed).astype(np.float32) / 255)


@pytest.mark.parametrize("mark", ["", "L", "R", "PA", "AP"])
@pytest.mark.parametrize("size", [12, 24, 40])
def test_side_markers_are_no_text(mark: str, size: int) -> None:
    assert not shows_text(written(film(), mark, size, (8, 8)).astype(np.float32) / 255)


def test_flagged_images_are_listed_in_a_file_and_left_out_by_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    records = [f"{i:02}.png" for i in range(13)]
    for i, name in enumerate(records):
        picture = written(film(), "DOE^JANE 12.04.1953", 14, (4, 4)) if i else np.asarray(film())
        Image.fromarray(picture).save(tmp_path / name)
    with pytest.raises(
        InputError, match=r"12 of 13 images show .*and 2 more \(all of them are in .*/flagged.txt\)"
    ):
        read_images(a_set(tmp_path, records), 16)
    assert (tmp_path / "flagged.txt").read_text().split() == records[1:]
    with pytest.warns(DataWarning, match=r"12 of 13 images left out by flagged.txt"):
        assert len(read_images(a_set(tmp_path, records, exclude="flagged.txt"), 16)[0]) == 1
    (tmp_path / "flagged.txt").write_text("\n".join(records[2:]))
    with pytest.warns(DataWarning), pytest.raises(InputError, match=r"1 of 2 images show burned-in text"):
        read_images(a_set(tmp_path, records, exclude="flagged.txt", burned_in_list="others.txt"), 16)
    assert (tmp_path / "others.txt").read_text() == "01.png\n"
    (tmp_path / "flagged.txt").write_text("\n".join([*records, "14.png"]))
    with pytest.raises(InputError, match=r"flagged.txt: 1 lines name no file in .*: 14.png"):
        read_images(a_set(tmp_path, records, exclude="flagged.txt"), 16)
    with pytest.raises(InputError, match=r"absent.txt: no such file; options: exclude names"):
        read_images(a_set(tmp_path, records, exclude="absent.txt"), 16)


def test_hair_rulers_and_edges_are_no_text() -> None:
    """Made up: dark hairs across skin, a ruler at the edge and one inside, the rim of a skull."""
    random = np.random.default_rng(0)
    flagged = 0
    for turn in range(20):
        skin = Image.fromarray(np.full((256, 256), 190, np.uint8))
        draw = ImageDraw.Draw(skin)
        for _ in range(60 if turn % 2 else 0):
            x, y, dx, dy = random.integers(0, 256, 4)
            draw.line((x, y, x + dx // 3 - 40, y + dy // 3 - 40), fill=int(random.integers(60, 120)), width=2)
        for tick in range(0, 256, 12):
            draw.line((tick, 240, tick, 256), fill=20, width=3)
            draw.line((tick, 100, tick, 112 if tick % 60 else 118), fill=30, width=2)
        draw.ellipse((30, 30, 220, 220), outline=240, width=5)
        flagged += shows_text(np.asarray(skin, dtype=np.float32) / 255)
    assert flagged == 0


def test_text_on_skin_is_found() -> None:
    skin = Image.fromarray(np.full((512, 512), 190, np.uint8))
    for text in ("DOE^JANE 12.04.1953", "ID 8841-2230", "15/03/2021 10:42:17"):
        for size in (12, 20, 32):
            assert shows_text(written(skin, text, size, (8, 8)).astype(np.float32) / 255), (text, size)


def test_burned_in_text_refuses_the_set_unless_it_is_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(written(film(), "DOE^JANE 12.04.1953", 14, (4, 4))).save(tmp_path / "named.png")
    film().save(tmp_path / "plain.png")
    stored = np.asarray(film())
    dicom(tmp_path / "tagged.dcm", stored, BurnedInAnnotation="YES")
    dicom(tmp_path / "free.dcm", stored, BurnedInAnnotation="NO")
    records = ["plain.png", "named.png", "tagged.dcm", "free.dcm"]
    with pytest.raises(InputError, match=r"2 of 4 images show burned-in text.*named\.png; tagged\.dcm"):
        read_images(a_set(tmp_path, records), 16)
    assert len(read_images(a_set(tmp_path, records, burned_in="ignore"), 16)[0]) == 4
    assert len(read_images(a_set(tmp_path, ["plain.png", "free.dcm"]), 16)[0]) == 2
