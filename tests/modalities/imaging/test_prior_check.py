"""A prior of another kind of image is refused: by what both state, and by a noised release before the rest is paid."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from polyclinic.app.training import Privacy, train
from polyclinic.core.errors import InputError
from polyclinic.core.remarks import DataWarning
from polyclinic.core.training import weights
from polyclinic.core.training.weights import Card, Weights, read_card
from polyclinic.core.types import FloatArray
from polyclinic.modalities.imaging.model import Denoiser, ImageModel
from polyclinic.modalities.imaging.prior_check import Distance, Draws, features_of, is_measurable

SHAPE = ImageModel(size=16, widths=(16, 16), attention=(False, False), components=8)
MODEL = {
    "network": {"size": 16, "widths": [16, 16], "attention": [False, False], "components": 8},
    "prior": {"rank": 8},
    "training": {"steps": 0},
}


def chests(number: int, rng: np.random.Generator) -> FloatArray:
    """(image, y, x): two dark lungs in a bright body."""
    y, x = np.mgrid[-1:1:16j, -1:1:16j]
    wide = rng.uniform(0.2, 0.3, (number, 1, 1))
    lungs = sum(np.exp(-(((x - c) / wide) ** 2) - (y / 0.7) ** 2) for c in (-0.45, 0.45))
    return 220 - 180 * np.asarray(lungs) + 6 * rng.normal(size=(number, 16, 16))


def heads(number: int, rng: np.random.Generator) -> FloatArray:
    """(image, y, x): a bright ring in the dark."""
    y, x = np.mgrid[-1:1:16j, -1:1:16j]
    radius = rng.uniform(0.5, 0.7, (number, 1, 1))
    return 230 * np.exp(-(((np.hypot(x, y) - radius) / 0.12) ** 2)) + 6 * rng.normal(size=(number, 16, 16))


def folder(path: Path, images: FloatArray, shows: str = "{}", colour: bool = False) -> Path:
    path.mkdir()
    with (path / "patients.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["patient_id", "image", "split"])
        for i, image in enumerate(images.clip(0, 255).astype(np.uint8)):
            pixels = np.stack([image, image // 2, image // 4], axis=-1) if colour else image
            Image.fromarray(pixels).save(path / f"{i}.png")
            rows.writerow([f"P{i}", f"{i}.png", "train"])
    (path / "dataset.yaml").write_text(
        f"{{name: {path.name}, table: patients.csv, record: image, split: split, fields: {{}}, "
        f"options: {{modality: imaging, shows: {shows}}}}}"
    )
    return path


@pytest.fixture
def prior(tmp_path: Path) -> str:
    """Weights whose draws are chests: the source is fitted to them, and the network does not move it."""
    torch.manual_seed(0)
    net = Denoiser(0, SHAPE)
    images = (
        torch.from_numpy(chests(200, np.random.default_rng(0))).float().clamp(0, 255)[:, None] / 127.5 - 1
    )
    net.fit_source(images)
    for parameter in net.unet.conv_out.parameters():
        torch.nn.init.zeros_(parameter)
    card = Card(
        name="chests", modality="imaging", kind="flow-matching U-Net", data=[], privacy="public", steps=0,
        columns=[], model=SHAPE.model_dump(),
    )  # fmt: skip
    Weights(net.state_dict(), card).save(tmp_path / "chests.safetensors")
    return str(tmp_path / "chests.safetensors")


def learn(data: Path, init: str, name: str, **model: object) -> Path:
    config = data / f"{name}.yaml"
    config.write_text(json.dumps({"modality": "imaging", "name": "mine", "model": {**MODEL, **model}}))
    out = data / f"{name}.safetensors"
    budget = Privacy(8.0, 1e-4, data / "ledger.jsonl")
    train("imaging", data, out, budget, config=str(config), init=init)
    return out


def test_images_like_the_prior_are_learnt_and_others_refused_for_a_small_share(
    prior: str, tmp_path: Path
) -> None:
    rng = np.random.default_rng(1)
    like = folder(tmp_path / "like", chests(400, rng))
    card = read_card(learn(like, prior, "out"))
    assert card.figures["prior_distance"] < 1
    assert card.epsilon == pytest.approx(8, abs=0.1)
    lines = (like / "ledger.jsonl").read_text().splitlines()
    assert [json.loads(line)["purpose"] for line in lines] == [
        "imaging, mean of features",
        "imaging, class means",
        "imaging, covariance",
    ]

    other = folder(tmp_path / "other", heads(400, rng))
    with pytest.raises(InputError, match=r"standard deviations from the prior's draws.*prior_mismatch"):
        learn(other, prior, "out")
    (line,) = (other / "ledger.jsonl").read_text().splitlines()
    assert json.loads(line)["purpose"] == "imaging, mean of features"
    assert json.loads(line)["epsilon_prv"] < 1.5
    with pytest.warns(DataWarning, match="will look like the prior"):
        card = read_card(learn(other, prior, "warned", prior_mismatch="warn"))
    assert card.figures["prior_distance"] > 2
    assert "prior_distance" not in read_card(learn(other, prior, "ignored", prior_mismatch="ignore")).figures


@pytest.mark.parametrize(
    ("shows", "colour", "named"),
    [
        ("{body_part: BRAIN}", False, r"body part BRAIN \(the prior: CHEST\)"),
        ("{iod: MR, body_part: CHEST}", False, r"modality MR \(the prior: DX\)"),
        ("{}", True, r"colour images \(the prior: grey\)"),
    ],
)
def test_what_the_folder_states_is_compared_before_anything_is_charged(
    shows: str, colour: bool, named: str, prior: str, tmp_path: Path
) -> None:
    data = folder(tmp_path / "data", chests(12, np.random.default_rng(0)), shows, colour)
    with pytest.raises(InputError, match=named):
        learn(data, prior, "out")
    assert not (data / "ledger.jsonl").exists()


def test_the_same_radiographs_by_another_name_pass(prior: str, tmp_path: Path) -> None:
    data = folder(
        tmp_path / "data",
        chests(300, np.random.default_rng(0)),
        "{iod: CR, body_part: THORAX, extent_mm: 350}",
    )
    assert read_card(learn(data, prior, "out")).figures["prior_distance"] < 1


def test_noise_is_taken_off_the_distance_and_one_row_moves_the_mean_by_its_share() -> None:
    rng = np.random.default_rng(0)
    mean = np.full(128, 0.5) + 1.5 * rng.standard_normal(128)
    assert Distance.of(mean, 100, 1.5).value == pytest.approx(0.5, abs=0.5)
    draws = Draws(np.zeros(128), np.ones(128))
    rows = 1e6 * rng.standard_normal((10, 128))
    moved = draws.mean_of(rows) - draws.mean_of(rows[:9]) * 0.9
    assert np.linalg.norm(moved) <= draws.bound / 10 + 1e-9


def test_too_few_patients_are_not_measured() -> None:
    assert is_measurable(1000, 4.0)
    with pytest.warns(DataWarning, match="20 patients are too few"):
        assert not is_measurable(20, 4.0)


@pytest.mark.slow
def test_heads_are_far_from_the_shipped_prior() -> None:
    draws = Draws.of(weights.load(weights.find("imaging_prior")))
    rng = np.random.default_rng(0)
    assert Distance.of(draws.mean_of(features_of(heads(50, rng)[:, None].clip(0, 255) / 255)), 50).value > 2
