"""A critic of the Gaussian prior: it brings draws nearer to real coarse images, or is left out."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image
from scipy.stats import wasserstein_distance

from polyclinic import PatientProfile
from polyclinic.app.training import Privacy, train
from polyclinic.core.errors import InputError
from polyclinic.core.training.weights import halves, load
from polyclinic.core.types import Float32Array, FloatArray
from polyclinic.modalities.imaging import prior_critic
from polyclinic.modalities.imaging.gaussian_prior import STORED, GaussianPrior, PriorSettings, fit_public

COLUMNS = 1


@pytest.fixture(autouse=True)
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enough for three components."""
    monkeypatch.setattr(prior_critic, "STEPS", 600)
    monkeypatch.setattr(prior_critic, "ROUNDS", 2)


def ring(rows: int, seed: int) -> tuple[FloatArray, np.ndarray, list[PatientProfile]]:
    """Coarse images on a ring, of which a normal distribution fills the middle; the code says which half."""
    random = np.random.default_rng(seed)
    angle, far = random.uniform(0, 2 * np.pi, rows), 2 + 0.1 * random.standard_normal(rows)
    z = np.stack([far * np.cos(angle), far * np.sin(angle), random.standard_normal(rows)], axis=1)
    people = [PatientProfile(f"P{i // 2}") for i in range(rows)]
    return z, (z[:, :1] > 0).astype(np.float32), people


def prior_of(z: FloatArray, code: np.ndarray, people: list[PatientProfile]) -> GaussianPrior:
    return fit_public(z, code, people, PriorSettings(rank=3))


def pictures(z: FloatArray | Float32Array) -> Float32Array:
    """A blob of 16 x 16 pixels whose place and brightness are the components."""
    y, x = np.mgrid[:16, :16] / 4 - 2
    near = np.exp(-((x - z[:, 0, None, None] / 2) ** 2 + (y - z[:, 1, None, None] / 2) ** 2))
    return np.clip(near * (1.5 + 0.1 * z[:, 2, None, None]) - 1, -1, 1).astype(np.float32)[:, None]


def radii(prior: GaussianPrior, code: np.ndarray) -> FloatArray:
    random, who = np.random.default_rng(5), PatientProfile("x")
    return np.array([np.hypot(*prior.draw(who, row, random)[:2]) for row in code])


def test_what_it_chooses_is_nearer_to_real() -> None:
    z, code, people = ring(1200, 0)
    prior = prior_of(z, code, people)
    critic, found = prior_critic.train(prior, z, code, people, 0, pictures)
    assert critic is not None
    assert found["prior_auc_chosen"] < found["prior_auc"] - 0.05
    real, others, _ = ring(400, 1)
    far = np.hypot(real[:, 0], real[:, 1])
    plain, chosen = (wasserstein_distance(far, radii(p, others)) for p in (prior, prior.chosen_by(critic)))
    assert chosen < plain / 2
    drawn = np.array(
        [
            prior.chosen_by(critic).draw(people[0], row, np.random.default_rng(i))
            for i, row in enumerate(others)
        ]
    )
    assert ((drawn[:, 0] > 0) == (others[:, 0] > 0)).mean() > 0.85  # it knows the code


def test_it_is_left_out_where_the_prior_is_right_or_patients_are_few() -> None:
    random = np.random.default_rng(0)
    z, code = random.standard_normal((800, 3)), np.zeros((800, 0), dtype=np.float32)
    people = [PatientProfile(f"P{i}") for i in range(800)]
    prior = prior_of(z, code, people)
    critic, found = prior_critic.train(prior, z, code, people, 0, pictures)
    assert critic is None or found["prior_auc_chosen"] < found["prior_auc"]
    assert found["prior_auc"] < 0.6
    assert prior_critic.train(prior, z[:60], code[:60], people[:60], 0, pictures) == (None, {})
    assert "one in 8 judges, which takes 40 images" in prior_critic.missed({})
    some = ring(600, 0)
    ended, _ = prior_critic.train(prior_of(*some), *some, 0, pictures, minutes=0)  # at its first judgement
    assert ended is None or len(ended.layers) == 3


def test_a_weight_file_keeps_it() -> None:
    z, code, people = ring(600, 0)
    plain = prior_of(z, code, people)
    prior = plain.chosen_by(prior_critic.train(plain, z, code, people, 0, pictures)[0])
    stored = {
        name.removeprefix(f"{STORED}."): t.double().numpy()
        for name, t in halves(STORED, prior.tensors()).items()
    }
    again = GaussianPrior.restore(prior.header(), stored)
    assert again.critic is not None
    for seed in range(20):
        one, two = (p.draw(people[0], code[0], np.random.default_rng(seed)) for p in (prior, again))
        np.testing.assert_allclose(one, two, atol=0.02)
    assert GaussianPrior.restore(plain.header(), dict(plain.tensors())).critic is None


def test_the_command_trains_it_and_refuses_it_under_a_budget(tmp_path: Path) -> None:
    random, data = np.random.default_rng(0), tmp_path / "data"
    data.mkdir()
    y, x = np.mgrid[:16, :16]
    for n in range(400):  # two kinds of images, which one normal blurs into one
        bright = 60 + 140 * (x > 7 if n % 2 else y > 7) + 8 * random.standard_normal((16, 16))
        Image.fromarray(bright.clip(0, 255).astype(np.uint8)).save(data / f"{n}.png")
    rows = {"patient_id": [f"P{n}" for n in range(400)], "record": [f"{n}.png" for n in range(400)]}
    pd.DataFrame(rows).to_csv(data / "patients.csv", index=False)
    known = {
        "name": "made up", "licence": "CC0", "split": None, "test_share": 0,
        "options": {"modality": "imaging", "shows": {"body_part": "CHEST"}},
    }  # fmt: skip
    (data / "dataset.yaml").write_text(yaml.safe_dump(known))
    network = {"size": 16, "widths": [16, 32], "attention": [False, False], "head": 16, "components": 8}
    config = tmp_path / "config.yaml"
    model = {"network": network, "prior": {"rank": 4, "critic": True}, "training": {"steps": 2, "kept": [4]}}
    config.write_text(yaml.safe_dump({"modality": "imaging", "name": "imaging", "model": model}))
    out, other = tmp_path / "out.safetensors", tmp_path / "other.safetensors"
    train("imaging", data, out, Privacy(), config=str(config))
    made = load(out)
    assert made.card.figures["prior_auc_chosen"] < made.card.figures["prior_auc"]
    assert any(name.startswith(f"{STORED}.critic.") for name in made.tensors)
    model["training"] = {"steps": 0, "kept": [4]}  # the prior again: the network's card stays
    config.write_text(yaml.safe_dump({"modality": "imaging", "name": "imaging", "model": model}))
    train("imaging", data, other, Privacy(), config=str(config), init=str(out))
    again = load(other).card
    assert (again.steps, again.planned_steps) == (made.card.steps, made.card.planned_steps) == (2, 2)
    assert again.figures["training_loss"] == made.card.figures["training_loss"]
    model["prior"] = {"rank": 4}  # another prior, without what the card said of the critic
    config.write_text(yaml.safe_dump({"modality": "imaging", "name": "imaging", "model": model}))
    train("imaging", data, other, Privacy(), config=str(config), init=str(out), overwrite=True)
    plain = load(other)
    assert set(plain.card.figures) & {"prior_auc", "prior_auc_chosen", "training_loss"} == {"training_loss"}
    assert not any(name.startswith(f"{STORED}.critic.") for name in plain.tensors)
    other.unlink()
    model["prior"] = {"rank": 4, "critic": True}
    config.write_text(yaml.safe_dump({"modality": "imaging", "name": "imaging", "model": model}))
    budget = Privacy(8, 1e-3, tmp_path / "ledger.jsonl")
    with pytest.raises(InputError, match=r"model.prior.critic: it learns from public images alone"):
        train("imaging", data, other, budget, config=str(config), init=str(out))
    assert not other.exists()
    assert not (tmp_path / "ledger.jsonl").exists()
