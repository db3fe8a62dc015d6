"""The shipped model of dermoscopic photographs, drawn as a user would: an instance beside the X-rays."""

import numpy as np
import pydicom
import pytest

import polyclinic as pc
from polyclinic.core.training.weights import find, read_card


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> pc.Cohort:
    out = tmp_path_factory.mktemp("skin") / "c"
    return pc.generate_cohort(
        "adults", 4, out=out, seed=3, modalities=["imaging:skin"], fields="melanoma: 2 yes, 2 no", workers=1
    )


def test_photographs_are_dermoscopic_objects_in_colour_that_say_what_drew_them(cohort: pc.Cohort) -> None:
    files = sorted(cohort.folder.glob("imaging-skin/dicom/**/*.dcm"))
    assert len(files) == 4
    for file in files:
        found = pydicom.dcmread(file)
        assert (found.SOPClassUID.name, found.Modality) == ("Dermoscopic Photography Image Storage", "DMS")
        assert found.pixel_array.shape == (256, 256, 3)
        assert "imaging_skin_upsampler" in found.DerivationDescription
        assert "melanoma" not in str(found).lower()  # what it was drawn by gives the label away


def test_skin_is_coloured_as_skin_and_no_two_are_alike(cohort: pc.Cohort) -> None:
    images = np.stack([image for _, image in cohort.images("skin")]).astype(float) / 255
    red, green, blue = images.mean((0, 1, 2))
    assert red > green > blue > 0.2
    assert all(np.abs(a - b).mean() > 0.02 for i, a in enumerate(images) for b in images[:i])


def test_the_card_says_what_was_learnt_from_and_that_images_count_as_patients() -> None:
    card = read_card(find("imaging-skin"))
    (used,) = card.data
    assert (used.name, used.licence, used.patients) == ("isic2017", "CC0 1.0", used.rows)
    assert {"age", "sex=F", "melanoma"} <= set(card.columns)
    assert [field.name for field in card.declared_fields] == ["melanoma"]
