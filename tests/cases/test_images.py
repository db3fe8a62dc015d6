"""Images as scanners and converters leave them: the picture is the right one, or one line says why not."""

import struct
import time
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel
import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid

from polyclinic.core.config import parse
from polyclinic.core.errors import InputError
from polyclinic.core.profile import PatientProfile
from polyclinic.core.remarks import remarks
from polyclinic.modalities.imaging.formats.dicom import frames, read_dataset
from polyclinic.modalities.imaging.formats.files import _bytes_of_rows
from polyclinic.modalities.imaging.formats.files import frames as pictures
from polyclinic.modalities.imaging.formats.nifti import slices_of
from polyclinic.modalities.imaging.frame import Levels, Slices
from polyclinic.modalities.imaging.gaussian_prior import require_classes
from polyclinic.modalities.imaging.images import fits_prior
from polyclinic.modalities.imaging.model import ImageModel, ImageTraining
from polyclinic.modalities.imaging.training import within

PIXELS = np.random.default_rng(0).integers(0, 4096, (16, 16)).astype(np.uint16)
COMPUTED_RADIOGRAPHY = "1.2.840.10008.5.1.4.1.1.1"


def shown(path: Path, syntax: Any = ExplicitVRLittleEndian, **tags: Any) -> np.ndarray:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = COMPUTED_RADIOGRAPHY, syntax
    meta.MediaStorageSOPInstanceUID = generate_uid()
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = COMPUTED_RADIOGRAPHY, meta.MediaStorageSOPInstanceUID
    data.Rows, data.Columns, data.SamplesPerPixel, data.PhotometricInterpretation = 16, 16, 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
    data.PixelData = PIXELS.astype("<u2").tobytes()
    for name, value in tags.items():
        setattr(data, name, value)
    data.save_as(path, enforce_file_format=True)
    (frame,) = frames(read_dataset(path), path, Levels(), Slices())
    return frame.pixels


def lookup(entries: np.ndarray, bits: int) -> Sequence:
    table = Dataset()
    table.add_new(0x00283002, "US", [len(entries), 0, bits])
    table.add_new(0x00283006, "OW", entries.astype("<u2").tobytes())
    return Sequence([table])


def test_a_window_over_a_negative_slope_shows_what_no_window_would(tmp_path: Path) -> None:
    slope = {"RescaleSlope": "-10", "RescaleIntercept": "3000"}
    plain = shown(tmp_path / "a.dcm", **slope)
    low, high = 3000 - 10 * float(PIXELS.max()), 3000 - 10 * float(PIXELS.min())
    whole = {"WindowCenter": f"{(low + high) / 2 + 0.5:.1f}", "WindowWidth": f"{high - low + 1:.0f}"}
    windowed = shown(tmp_path / "b.dcm", **slope, **whole)
    assert plain.std() > 0.2
    np.testing.assert_allclose(windowed, plain, atol=0.01)
    assert np.corrcoef(windowed.ravel(), PIXELS.ravel())[0, 1] < -0.99  # a negative slope inverts


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e300"])
@pytest.mark.parametrize(
    "tag", ["RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth", "PixelSpacing"]
)
@pytest.mark.filterwarnings("ignore:Invalid value for VR DS")
def test_a_number_of_the_display_that_is_none_is_refused_by_name(
    tmp_path: Path, tag: str, value: str
) -> None:
    usual = {"RescaleSlope": "1", "RescaleIntercept": "0", "WindowCenter": "2048", "WindowWidth": "4096"}
    given = [value, "1"] if tag == "PixelSpacing" else value
    with pytest.raises(InputError, match=rf"a\.dcm: expected {tag} to be a number, got .*{value}"):
        shown(tmp_path / "a.dcm", **{**usual, tag: given})
    with pytest.raises(InputError, match="expected RescaleSlope to be a number other than 0"):
        shown(tmp_path / "b.dcm", **{**usual, "RescaleSlope": "0"})


def test_zeros_behind_an_image_are_not_read(tmp_path: Path) -> None:
    plain = shown(tmp_path / "a.dcm")
    with (tmp_path / "a.dcm").open("r+b") as file:
        file.truncate(1 << 34)  # sparse
    began = time.process_time()
    (frame,) = frames(read_dataset(tmp_path / "a.dcm"), tmp_path / "a.dcm", Levels(), Slices())
    np.testing.assert_array_equal(frame.pixels, plain)
    assert time.process_time() - began < 5


def test_a_window_that_shows_nothing_is_told(tmp_path: Path) -> None:
    plain = shown(tmp_path / "a.dcm")
    with remarks(lambda text: None) as found:
        for width in ("0", "-5"):
            np.testing.assert_array_equal(
                shown(tmp_path / "b.dcm", WindowCenter="5", WindowWidth=width), plain
            )
    assert len(found) == 1
    assert "a window that shows nothing: all of their range is shown" in next(iter(found))


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize(("tag", "bits"), [("VOILUTSequence", 12), ("ModalityLUTSequence", 16)])
def test_lookup_tables_written_as_words_are_read(tmp_path: Path, syntax: Any, tag: str, bits: int) -> None:
    table = lookup(np.linspace(0, 2**bits - 1, 4096).round(), bits)
    pixels = shown(tmp_path / "a.dcm", syntax, **{tag: table})
    assert np.corrcoef(pixels.ravel(), PIXELS.ravel())[0, 1] > 0.999


def test_a_volume_without_a_direction_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.nii"
    nibabel.Nifti1Image(np.zeros((4, 5, 6), np.int16), np.eye(4)).to_filename(path)
    header = bytearray(path.read_bytes())
    header[280:328] = struct.pack("<12f", *[1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0])
    header[252:256] = struct.pack("<hh", 0, 1)
    path.write_bytes(header)
    with pytest.raises(InputError, match="an axis without direction"):
        next(iter(slices_of(path, "axial", Levels(), Slices())))


def test_few_images_give_fewer_components() -> None:
    shape, training = ImageModel(size=32, components=192), ImageTraining(kept=(0, 4, 64, 128))
    with remarks(lambda text: None) as found:
        fewer, kept = within(shape, training, 12)
    assert (fewer.components, kept.kept) == (11, (0, 4, 11))
    assert "12 images give 11 principal components for the source, 192 need 193 images" in next(iter(found))
    assert within(shape, training, 193) == (shape, training)
    with pytest.raises(InputError, match="expected 2 training images at least, got 1"):
        within(shape, training, 1)


def test_a_class_that_nobody_has_is_refused_before_anything_is_charged() -> None:
    people = [PatientProfile(str(i), conditions={"J18.9": True}) for i in range(3)]
    require_classes(None, people)
    require_classes("J18.9", [*people, PatientProfile("x", conditions={"J18.9": False})])
    with pytest.raises(InputError, match=r"no training patient is known to have J18\.9 = False"):
        require_classes("J18.9", people)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (
            {"widths": [20, 40, 60]},
            r"widths: expected 3, as attention has, each a multiple of 16, got \[20, 40, 60\]",
        ),
        ({"widths": [16, 16]}, r"widths: expected 3, .* got \[16, 16\]"),
        ({"size": 30}, "size: expected a multiple of 8 .*, got 30"),
    ],
)
def test_a_network_that_cannot_be_built_is_refused_in_one_line(network: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse(ImageModel, network, "model.network")


@pytest.mark.parametrize(
    ("marked", "rows"), [((False, False), [0, 1, 2]), ((False, True), [2]), ((True, True), [0, 1, 2])]
)
def test_the_prior_is_of_the_sets_that_say_so_or_of_all(marked: tuple[bool, bool], rows: list[int]) -> None:
    parts = [SimpleNamespace(options={"prior": True} if mark else {}) for mark in marked]
    images: Any = SimpleNamespace(parts=parts, origin=np.array([0, 0, 1]))
    assert np.flatnonzero(fits_prior(images)).tolist() == rows


@pytest.mark.parametrize("mode", ["L", "RGB", "1", "LA", "RGBA", "P", "I;16"])
def test_a_png_that_lacks_rows_is_refused_and_a_whole_one_read(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.png"
    grey = Image.fromarray(np.arange(13 * 9, dtype=np.uint8).reshape(13, 9))
    grey.convert(mode).save(path)
    whole = path.read_bytes()
    assert len(list(pictures(path, Levels(), Slices(), "axial"))) == 1
    begin = whole.index(b"IDAT")
    (length,) = struct.unpack(">I", whole[begin - 4 : begin])
    rows = zlib.decompress(whole[begin + 4 : begin + 4 + length])
    cut = b"IDAT" + zlib.compress(rows[: len(rows) // 2])
    packed = struct.pack(">I", len(cut) - 4) + cut + struct.pack(">I", zlib.crc32(cut))
    path.write_bytes(whole[: begin - 4] + packed + whole[begin + 8 + length :])
    with pytest.raises(InputError, match=r"a.png: .*its pixels are cut"):
        list(pictures(path, Levels(), Slices(), "axial"))


def test_the_rows_of_an_interlaced_png_add_up() -> None:
    for width, height in ((1, 1), (3, 5), (8, 8), (33, 47)):
        pixels = _bytes_of_rows(width, height, 8, 1) - _bytes_of_rows(width, height, 8, 0)
        assert 0 <= pixels <= height + 7  # the same pixels, and a byte more for each row of a pass
