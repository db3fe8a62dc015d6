"""Colour of RGB images is measured; grey images are measured as before."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from polyclinic.app.training import describe
from polyclinic.conditioning.dataset.dataset import read_training_set
from polyclinic.core.modality import Record
from polyclinic.modalities.imaging import Imaging
from polyclinic.modalities.imaging.metrics import COLOUR_NAMES, features


def test_a_change_of_colour_alone_moves_the_colours_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    base = rng.integers(80, 160, (40, 40, 1)) + np.zeros(3)
    plain = base.astype(np.uint8)
    redder = (
        (base + np.array([29.9, 0.0, 0.0]) - 29.9 * 0.299).clip(0, 255).astype(np.uint8)
    )  # of the same luma
    one, other = (features([Record({"image": image})]) for image in (plain, redder))
    names = COLOUR_NAMES
    assert list(one.columns[-len(names) :]) == names
    assert np.abs((one - other).drop(columns=names).to_numpy()).max() < 0.1
    assert one["red against green, mean"][0] == pytest.approx(0, abs=1e-6)
    assert other["red against green, mean"][0] == pytest.approx(29.9 / 255 / np.sqrt(2), abs=0.01)


def test_grey_images_have_no_colours() -> None:
    grey = Record({"image": np.full((32, 32), 2000, dtype=np.uint16)})
    assert not {*COLOUR_NAMES} & {*features([grey]).columns}


@pytest.mark.parametrize("colour", [True, False])
def test_a_folder_is_read_as_it_is_for_evaluation(colour: bool, tmp_path: Path) -> None:
    pixels = np.zeros((16, 16, 3), dtype=np.uint8) + np.array(
        [200, 100 if colour else 200, 50 if colour else 200], "u1"
    )
    with (tmp_path / "patients.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["patient_id", "image", "split"])
        for i in range(3):
            Image.fromarray(pixels).save(tmp_path / f"{i}.png")
            rows.writerow([f"P{i}", f"{i}.png", "train"])
    (tmp_path / "dataset.yaml").write_text(
        "{name: x, table: patients.csv, record: image, split: split, fields: {}, "
        "options: {modality: imaging, size: 16}}"
    )
    described = describe(tmp_path)
    assert described is not None
    image = Imaging().load(read_training_set(described, tmp_path, "train"))[0].arrays["image"]
    assert image.dtype == (np.uint8 if colour else np.uint16)
    assert image.shape == ((16, 16, 3) if colour else (16, 16))
    if colour:
        np.testing.assert_allclose(image[8, 8], [200, 100, 50], atol=1)
