"""Programs of our users on our images and on MONOCHROME1, which some of them invert on reading."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from polyclinic.modalities.imaging.export import export
from polyclinic.modalities.imaging.formats.files import read_image

from .test_export import GREY, PEOPLE, record


def by_pydicom(path: Path) -> Any:
    return pydicom.dcmread(path).pixel_array


def by_simple_itk(path: Path) -> Any:
    itk = pytest.importorskip("SimpleITK")
    return itk.GetArrayFromImage(itk.ReadImage(str(path)))


def by_highdicom(path: Path) -> Any:
    highdicom = pytest.importorskip("highdicom")
    shown = highdicom.imread(path).get_frame(1, apply_voi_transform=None)  # 0 to 1: the window scales
    return np.rint(shown * 4095)


def by_monai(path: Path) -> Any:
    data = pytest.importorskip("monai.data")
    reader = data.PydicomReader()
    return np.asarray(reader.get_data(reader.read(str(path)))[0]).T


def by_itk(path: Path) -> Any:
    itk = pytest.importorskip("itk")
    return itk.array_from_image(itk.imread(str(path)))


READERS: dict[str, tuple[Callable[[Path], Any], bool]] = {  # and whether it inverts MONOCHROME1
    "pydicom": (by_pydicom, False),
    "MONAI PydicomReader": (by_monai, False),
    "SimpleITK": (by_simple_itk, True),
    "ITK": (by_itk, True),
    "highdicom": (by_highdicom, True),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", READERS)
def test_our_images_read_alike_and_monochrome1_does_not(tmp_path: Path, name: str) -> None:
    reads, inverts = READERS[name]
    (path,) = export([record("DX")], PEOPLE[:1], tmp_path)
    np.testing.assert_array_equal(np.squeeze(reads(path)), GREY)
    negative = inverted(path, tmp_path / "negative.dcm")
    found = np.squeeze(reads(negative))
    np.testing.assert_array_equal(found, GREY if inverts else 4095 - GREY)
    np.testing.assert_array_equal(
        read_image(negative), read_image(path)
    )  # what training takes: bright is dense


def inverted(path: Path, other: Path) -> Path:
    """The same picture as MONOCHROME1: other stored values, the same on a screen."""
    tags = pydicom.dcmread(path)
    tags.PhotometricInterpretation, tags.PresentationLUTShape = "MONOCHROME1", "INVERSE"
    tags.PixelData = (4095 - tags.pixel_array).astype("<u2").tobytes()
    tags.save_as(other)
    return other


@pytest.mark.filterwarnings("ignore")
def test_the_size_of_pixels_is_kept_but_by_monais_pydicom_reader(tmp_path: Path) -> None:
    data = pytest.importorskip("monai.data")
    itk = pytest.importorskip("SimpleITK")
    (path,) = export([record("DX")], PEOPLE[:1], tmp_path)
    tags = pydicom.dcmread(path)
    assert (
        [float(side) for side in tags.PixelSpacing]
        == [float(side) for side in tags.ImagerPixelSpacing]
        == [1.4063] * 2
    )
    assert itk.ReadImage(str(path)).GetSpacing()[:2] == pytest.approx((1.4063, 1.4063))
    reader = data.PydicomReader()
    assert np.allclose(reader.get_data(reader.read(str(path)))[1]["spacing"], 1.0)  # of a projection image


@pytest.mark.parametrize("many", range(1, 5))
def test_pydicom_has_no_word_to_say_of_long_diagnoses(tmp_path: Path, many: int) -> None:
    """It counts the space that pads the last of several values to an even length, and warns of 65 characters."""
    diagnoses = [["I10C", f"X{i}", "long" * 16] for i in range(many)]
    (path,) = export([record("DX", admitting_diagnoses=diagnoses)], PEOPLE[:1], tmp_path)
    for element in pydicom.dcmread(path).iterall():  # warnings are errors here
        assert element.value is not None or element.is_empty
    item = pydicom.Dataset()
    item.AdmittingDiagnosesDescription = ["x" * 10, "y" * 64]
    with pytest.warns(UserWarning, match=r"value length \(65\) exceeds"):
        str(again(item, tmp_path).AdmittingDiagnosesDescription)


def again(item: pydicom.Dataset, folder: Path) -> pydicom.Dataset:
    """Written and read back."""
    item.save_as(folder / "item", implicit_vr=False, little_endian=True)
    return pydicom.dcmread(folder / "item", force=True)


def test_files_are_explicit_so_that_programs_without_a_name_for_synthetic_data_show_it(
    tmp_path: Path,
) -> None:
    """Implicit VR would leave dcmtk 3.6.7, and Orthanc 1.10.1 with it, without a type for (0008,001C)."""
    (path,) = export([record("DX")], PEOPLE[:1], tmp_path)
    assert not pydicom.dcmread(path).file_meta.TransferSyntaxUID.is_implicit_VR
    assert b"\x08\x00\x1c\x00CS" in path.read_bytes()
