"""The cosine model: its basis, what it learns of fields and colours, and what is refused before a charge."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from polyclinic.app.training import Privacy, train
from polyclinic.conditioning.encoder import ProfileEncoder
from polyclinic.core.errors import InputError
from polyclinic.core.fields import FIELDS
from polyclinic.core.modality import Batch
from polyclinic.core.profile import PatientProfile
from polyclinic.core.training.weights import load
from polyclinic.modalities.imaging.cosine_basis import CosineBasis
from polyclinic.modalities.imaging.cosine_model import CosineModel, fit_private, rank_for
from polyclinic.modalities.imaging.generator import ImageGenerator

DATASET = """
name: spots
table: patients.csv
record: image
split: null
test_share: 0
fields: {sex: {column: sex}, J90: {column: effusion, above: 0.5}}
options: {modality: imaging, shows: {iod: DMS, body_part: SKIN, extent_mm: 20}}
"""


def spots(folder: Path, number: int, effusion: bool = True) -> Path:
    """Pinkish images of 32 pixels with a dark spot, larger where there is an effusion."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    y, x = np.mgrid[-1:1:32j, -1:1:32j]
    with (folder / "patients.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["patient_id", "image", "sex", "effusion"])
        for i in range(number):
            has = effusion and i % 2 == 0
            dark = np.exp(-(x**2 + y**2) / (0.6 if has else 0.1) ** 2) * rng.uniform(0.5, 0.9)
            pixels = np.array([220, 160, 150]) * (1 - dark)[..., None] + 4 * rng.normal(size=(32, 32, 3))
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{i}.png")
            rows.writerow([f"P{i}", f"{i}.png", "FM"[(i // 2) % 2], int(has)])
    (folder / "dataset.yaml").write_text(DATASET)
    return folder


def test_the_leading_coefficients_and_the_bands_of_a_drawn_image_are_those_asked_for() -> None:
    basis = CosineBasis(32, 3, 24)
    assert len(set(basis.leading.tolist()).union(*basis.bands)) == 3 * 32 * 32
    vector = np.zeros(basis.width)
    vector[0], vector[3] = 0.5, -0.8
    image = basis.image(vector, np.random.default_rng(0).standard_normal((3, 32, 32)))
    found = basis.describe(image[None])[0]
    assert found[:24] == pytest.approx(vector[:24], abs=0.25)
    assert np.abs(found[24:]).mean() < 0.5


def test_private_moments_reach_the_public_ones_with_many_patients() -> None:
    basis, rng = CosineBasis(16, 1, 8), np.random.default_rng(0)
    code = rng.choice([-1.0, 1.0], (20_000, 1)).astype(np.float32)
    v = 0.3 * rng.standard_normal((20_000, basis.width)) + np.where(
        np.arange(basis.width) == 2, 0.4 * code, 0
    )
    line = fit_private(v, code, ["J90"], basis, (1.0, 1.0), rng).line
    assert line[2, 0] == pytest.approx(0.4, abs=0.03)
    assert np.abs(np.delete(line[:, 0], 2)).max() < 0.03


@pytest.mark.parametrize("epsilon", [None, 8.0])
def test_colour_images_are_learnt_with_their_colours_and_fields(
    epsilon: float | None, tmp_path: Path
) -> None:
    config = tmp_path / "cosine.yaml"
    config.write_text("{modality: imaging, name: spots, model: {kind: cosine, network: {size: 32}}}")
    privacy = Privacy(epsilon, None if epsilon is None else 1e-4, tmp_path / "ledger.jsonl")
    out = tmp_path / "out.safetensors"
    card = train("imaging", spots(tmp_path / "data", 600), out, privacy, config=str(config))
    assert card.model["channels"] == 3
    assert card.model["shows"]["body_part"] == "SKIN"
    people = tuple(
        PatientProfile(patient_id=f"{i}", sex="F", conditions={"J90": i % 2 == 0}) for i in range(120)
    )
    encoder = ProfileEncoder(FIELDS)
    batch = Batch(people, encoder.encode(people), tuple(range(120)))
    generator = ImageGenerator(load(out), encoder.columns)
    records = generator.sample(batch)
    images = np.stack([record.arrays["image"] for record in records]).astype(float)
    assert images.shape == (120, 32, 32, 3)
    red, green, blue = images.mean((0, 1, 2))
    assert red > green + 10 > blue
    assert images[::2].mean() < images[1::2].mean() - 8
    alone = generator.sample(Batch(people[3:4], batch.condition[3:4], batch.seeds[3:4]))[0].arrays["image"]
    np.testing.assert_array_equal(alone, records[3].arrays["image"])


def test_a_class_that_nobody_has_and_too_few_patients_are_refused_before_the_charge(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.jsonl"
    with pytest.raises(InputError, match="no training patient is known to have J90 = True"):
        train(
            "imaging",
            spots(tmp_path / "none", 60, False),
            tmp_path / "a.safetensors",
            Privacy(8, 1e-4, ledger),
        )
    with pytest.raises(InputError, match=r"60 patients are too few .* would do, or a larger epsilon"):
        train("imaging", spots(tmp_path / "few", 60), tmp_path / "b.safetensors", Privacy(1, 1e-4, ledger))
    assert not ledger.exists()


def test_more_patients_and_less_noise_give_more_coefficients() -> None:
    basis = CosineBasis(64, 3, 1)
    assert rank_for(basis, 1000, 1.0) < rank_for(basis, 4000, 1.0) <= rank_for(basis, 4000, 0.5)
    assert rank_for(basis, 10_000, None) == 128


def test_what_a_class_changes_is_emphasized_about_the_mean_of_the_patients() -> None:
    basis = CosineBasis(16, 1, 8)
    rng = np.random.default_rng(0)
    code = rng.choice([-1.0, 1.0], (100, 2), p=[0.8, 0.2])
    line, root = rng.normal(size=(basis.width, 3)), np.eye(basis.width)
    model = CosineModel(basis, line, root, code.mean(0))
    other = model.sharpened(0.5, np.array([1.5, 1.0]))
    ones = np.column_stack([code, np.ones(100)])
    assert (ones @ other.line.T).mean(0) == pytest.approx((ones @ line.T).mean(0))
    assert other.line[:, :2] == pytest.approx(line[:, :2] * [1.5, 1.0])
    assert other.root == pytest.approx(0.5 * root)
