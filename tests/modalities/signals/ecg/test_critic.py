"""The critic chooses in proportion to its ratio, helps where the prior is off, and is dropped where it learnt noise."""

import numpy as np
import pandas as pd
import pytest

from polyclinic import Batch, PatientProfile, ProfileEncoder
from polyclinic.core.critic import Critic
from polyclinic.core.training.weights import Weights, find, load
from polyclinic.modalities.signals.ecg import critic_training
from polyclinic.modalities.signals.ecg.critic_training import CriticTraining, Traces, _Drawn, train_critic
from polyclinic.modalities.signals.ecg.sampler import EcgSampler

RECORDS, DRAWS, SCORES = 120, 4, 3
SMALL = CriticTraining(draws=DRAWS, ridge=1.0)


def line(weight: np.ndarray) -> Critic:
    """A critic whose log ratio is a line in the scores."""
    unit = np.ones(len(weight), dtype=np.float32)
    return Critic(((weight[None].astype(np.float32), np.zeros(1, dtype=np.float32)),), 0 * unit, unit)


def test_choice_is_in_proportion_to_the_ratio() -> None:
    critic, random = line(np.array([1.0])), np.random.default_rng(0)
    rows = np.log([[1.0], [2.0], [5.0]])
    share = np.bincount([critic.choose(random, rows) for _ in range(4000)], minlength=3) / 4000
    assert share == pytest.approx([1 / 8, 2 / 8, 5 / 8], abs=0.035)  # four and a half standard errors


def test_a_critic_keeps_its_tensors() -> None:
    critic = line(np.array([1.0, -2.0]))
    again = Critic.of(critic.tensors())
    rows = np.random.default_rng(0).standard_normal((5, 2))
    assert again is not None
    np.testing.assert_array_equal(again(rows), critic(rows))
    assert Critic.of({}) is None


def _trained(monkeypatch: pytest.MonkeyPatch, real: np.ndarray) -> tuple[Critic | None, dict[str, float]]:
    """Against a prior whose scores are standard normal, and whose features are the scores and a little noise."""
    random = np.random.default_rng(1)
    scores = random.standard_normal((DRAWS, RECORDS, SCORES))
    drawn = _Drawn(scores, scores + 0.1 * random.standard_normal(scores.shape))
    monkeypatch.setattr(critic_training, "_drawn", lambda *_: drawn)
    profiles = [PatientProfile(f"p{i}") for i in range(RECORDS)]
    traces = Traces(pd.DataFrame(real), profiles, [0] * RECORDS)
    return train_critic(load(find("ecg")), traces, ProfileEncoder(), SMALL, 0)


def test_it_learns_what_real_records_have_more_of(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(2)
    real = random.standard_normal((RECORDS, SCORES)) + np.array([1.0, 0.0, 0.0])
    critic, found = _trained(monkeypatch, real)
    assert critic is not None
    assert found["validation_auc_chosen"] < found["validation_auc_prior"] - 0.02
    rows = random.standard_normal((400, SCORES))
    assert np.corrcoef(critic(rows), rows[:, 0])[0, 1] > 0.6


def test_a_critic_fed_noise_in_place_of_real_records_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that the prior proposes is nearer to noise, so that choosing cannot help."""
    noise = np.random.default_rng(3).uniform(20, 40, (RECORDS, SCORES))
    critic, found = _trained(monkeypatch, noise)
    assert critic is None
    assert found["validation_auc_chosen"] >= found["validation_auc_prior"] > 0.99


def test_the_prior_stays_selectable_and_both_follow_the_seed() -> None:
    shipped = load(find("ecg"))
    bare = Weights({n: t for n, t in shipped.tensors.items() if not n.startswith("critic.")}, shipped.card)
    width = len(EcgSampler(bare, ProfileEncoder().columns).model.bias)
    chosen = Weights({**bare.tensors, **line(np.linspace(-1, 1, width)).tensors()}, bare.card)
    encoder, profile = ProfileEncoder(), PatientProfile("p", age=60.0, sex="F")

    def ecg(weights: Weights, critic: bool, seed: int = 5) -> np.ndarray:
        sampler = EcgSampler(weights, encoder.columns, critic=critic)
        return sampler.sample(Batch((profile,), encoder.encode([profile]), (seed,)))[0].arrays["ecg"]

    np.testing.assert_array_equal(ecg(chosen, True), ecg(chosen, True))
    np.testing.assert_array_equal(ecg(chosen, False), ecg(bare, True))
    assert any(not np.array_equal(ecg(chosen, True, s), ecg(bare, True, s)) for s in (5, 6, 7))
