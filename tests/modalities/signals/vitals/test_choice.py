"""The choosing critic, and vitals_gan under a budget: histograms, DP-SGD of critics, charges, planted faults."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from small_vitals import ENCODER, HOURS, HR, SMALL, folder, prior, quick, stays
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from polyclinic.core.dp.budget import Budget, PrivacyPlan, compose
from polyclinic.core.dp.clipping import RowGradients
from polyclinic.core.dp.dpsgd import Private
from polyclinic.core.dp.ledger import Ledger
from polyclinic.core.errors import InputError
from polyclinic.core.modality import TrainingSet
from polyclinic.core.training.trainer import fit
from polyclinic.core.training.weights import Weights
from polyclinic.eval.attacks.privacy_audit import Audit, audit
from polyclinic.modalities.signals import Signals
from polyclinic.modalities.signals.channels import CHANNELS, DBP, SBP
from polyclinic.modalities.signals.vitals import choice_training
from polyclinic.modalities.signals.vitals.choice import Choice, shape_figures
from polyclinic.modalities.signals.vitals.choice_training import edges_of, histograms
from polyclinic.modalities.signals.vitals.prior import simulated_stays
from polyclinic.modalities.signals.vitals.private_refiner import (
    PrivateCritics,
    PrivateRefinerTraining,
)
from polyclinic.modalities.signals.vitals.quantizer import HIGH, LOW, SHIPPED, STEP
from polyclinic.modalities.signals.vitals.sampler import VitalsSampler, without_refiner
from polyclinic.modalities.signals.vitals.trajectory import SEPSIS
from polyclinic.modalities.signals.vitals.variation import Chance, variants

MADE = simulated_stays(300, HOURS, np.random.default_rng(4))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TrainingSet:
    return folder(tmp_path_factory.mktemp("stays"), shortest=HOURS)


def wide(weights: Weights) -> Weights:
    """With a critic that likes the spread of the heart rate."""
    drawn = np.stack([record.arrays["vitals"] for record in stays(prior(HOURS), range(64))])
    edges = edges_of(shape_figures(drawn))
    table = np.zeros((len(edges), edges.shape[1] + 1), dtype=np.float32)
    table[0] = np.linspace(-9, 9, table.shape[1])  # the first figure is the deviation of HR
    tensors = Choice(edges, table, np.zeros_like(table)).tensors()
    return Weights({**weights.tensors, **tensors}, weights.card)


def test_figures_say_nothing_of_levels() -> None:
    moved = MADE.readings.copy()
    moved[..., HR] += 7
    inside = (np.isfinite(moved[..., HR]).sum(1) > 6) & (np.nan_to_num(moved[..., HR]).max(1) < 190)
    before, after = shape_figures(MADE.readings)[inside], shape_figures(moved)[inside]
    assert np.abs(before - after).max() < 0.02


def test_the_critic_chooses_and_the_setting_leaves_the_prior() -> None:
    rows = range(70)
    plain, chosen = stays(prior(), rows), stays(wide(prior()), rows)
    spreads = [
        np.nanmean([np.nanstd(record.arrays["vitals"][:, HR]) for record in stays(part, rows)])
        for part in (prior(HOURS), wide(prior(HOURS)))
    ]
    assert spreads[1] > 1.1 * spreads[0]
    short = [i for i, record in enumerate(plain) if record.facts["hours"] < HOURS]
    for i in short:  # what ends early stays the prior's
        np.testing.assert_array_equal(plain[i].arrays["vitals"], chosen[i].arrays["vitals"])
    assert [r.facts["hours"] < HOURS for r in plain] == [r.facts["hours"] < HOURS for r in chosen]

    off = VitalsSampler(wide(prior()), ENCODER.columns, critic=False)
    assert off.choice is None
    alone = stays(wide(prior()), range(66, 67))
    np.testing.assert_array_equal(alone[0].arrays["vitals"], chosen[66].arrays["vitals"])
    assert without_refiner(wide(prior())).tensors.keys() == prior().tensors.keys()


@pytest.mark.parametrize("septic", [False, True])
def test_no_patient_moves_the_histograms_by_more_than_their_noise_is_set_for(
    septic: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    edges = edges_of(shape_figures(MADE.readings))
    raw: list[NDArray[np.float64]] = []
    monkeypatch.setattr(choice_training, "_shares", lambda counts: raw.append(counts) or counts)
    whole = (MADE.lengths >= HOURS) & np.array([p.has(SEPSIS) is septic for p in MADE.profiles])
    for keep in (np.ones(300, dtype=bool), np.arange(300) != np.flatnonzero(whole)[0]):
        people = [p for p, k in zip(MADE.profiles, keep, strict=True) if k]
        histograms(MADE.readings[keep], MADE.lengths[keep] >= HOURS, people, edges, SHIPPED, None)
    # in deviations of the noise of a plan whose multiplier is 1: each patient's move is no longer than 1
    deviations = choice_training.noise_lengths(len(edges), raw[2].shape[0], SHIPPED)
    moved = [np.square((a - b) / size).sum() for a, b, size in zip(raw[:3], raw[3:], deviations, strict=True)]
    assert math.isclose(sum(moved), 1)
    assert bool(moved[1] > 0) is septic


def test_under_a_budget_what_the_prior_lacks_is_learnt_and_charged(tmp_path: Path, data: TrainingSet) -> None:
    training = {"steps": 3, "batch_size": 32, "patients_per_step": 64, "profiles": 150, "septic": 0, "variants": 0,
                "stay_width": 16, "hour_width": 8}  # fmt: skip
    config = {"kind": "vitals_gan", "network": SMALL.model_dump(), "training": training}
    ledger = tmp_path / "ledger.jsonl"
    how = replace(quick(tmp_path), budget=Budget(8.0, 1e-3), ledger=ledger)
    made = Signals().train([data], ENCODER, config, how, prior(HOURS))
    assert made.card.kind == "autoregressive GRU, adversarial refiner, choosing critic"
    assert [e.purpose for e in Ledger(ledger).entries()] == ["vitals_gan, figures", "vitals_gan"]
    assert made.card.epsilon is not None
    assert made.card.epsilon <= 8
    plain, chosen = (
        [np.nanstd(r.arrays["vitals"][:, HR]) for r in stays(part, range(60)) if r.facts["hours"] == HOURS]
        for part in (without_refiner(made), made)
    )
    assert np.mean(chosen) > 1.1 * np.mean(plain)
    again = replace(how, folder=tmp_path / "again")
    both = Signals().train([data], ENCODER, {**config, "training": {**training, "steps": 0}}, again, made)
    assert both.card.kind == "autoregressive GRU, choosing critic"
    plans = [PrivacyPlan(320, rate, noise, steps, 1e-3, 1.0) for rate, noise, steps in both.card.mechanisms]
    assert len(plans) == 3
    assert both.card.epsilon == pytest.approx(compose(plans, 1e-3, "prv"), abs=1e-3)
    bare = Weights(made.tensors, made.card.model_copy(update={"mechanisms": []}))
    with pytest.raises(InputError, match="would promise nothing"):
        Signals().train([data], ENCODER, config, again, bare)


def test_a_variant_is_a_chart_of_the_same_patient_and_the_critic_takes_wider_ones(
    tmp_path: Path, data: TrainingSet
) -> None:
    seen = np.isfinite(MADE.readings)
    chance = Chance.of([np.random.default_rng(i) for i in range(300)], HOURS, len(CHANNELS))
    made = variants(MADE.readings, chance, HOURS)
    steps = 2 * (made - LOW) / STEP
    assert np.nanmax(np.abs(steps - np.rint(steps))) < 0.01  # on the lattice, or half-way
    assert np.nanmin(made - LOW) >= -1e-4
    assert np.nanmax(made - HIGH) <= 1e-4
    both = np.isfinite(made[..., SBP]) & np.isfinite(made[..., DBP])
    assert (made[..., SBP] > made[..., DBP])[both].all()
    assert not np.isfinite(made)[~seen.any(2)].any()  # nothing is charted where no round was made
    some = np.isfinite(made[..., HR]).any(1)
    means = [np.nanmean(part[some][..., HR], axis=1) for part in (made, MADE.readings)]
    assert np.abs(means[0] - means[1]).mean() < 2
    assert np.isfinite(made).sum() != seen.sum()
    alone = variants(MADE.readings[7:8], Chance.of([np.random.default_rng(7)], HOURS, len(CHANNELS)), HOURS)
    np.testing.assert_array_equal(alone[0], made[7])

    budget, spreads = Budget(20.0, 1e-3), []
    for count in (0, 6):
        training = {"steps": 0, "profiles": 120, "septic": 0, "variants": count}
        config = {"kind": "vitals_gan", "network": SMALL.model_dump(), "training": training}
        how = replace(quick(tmp_path / str(count)), budget=budget, ledger=tmp_path / f"{count}.jsonl")
        weights = Signals().train([data], ENCODER, config, how, prior(HOURS))
        assert weights.card.model["variants"] == count
        rows = stays(weights, range(67))
        spreads.append(np.nanmean([np.nanstd(r.arrays["vitals"][:, HR]) for r in rows]))
        np.testing.assert_array_equal(
            stays(weights, range(66, 67))[0].arrays["vitals"], rows[66].arrays["vitals"]
        )
    assert spreads[1] > 1.05 * spreads[0]  # real stays swing three times as far as the prior's


# -- the audit of the critics, and a planted fault

ONE, CANARIES = Budget(1.0, 1e-5), 1000


class Canaries(nn.Module):
    """A game of one critic, a line; each patient has a figure of his own, draws have none."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = nn.Linear(1, 1)
        self.critics = nn.ModuleList([nn.Sequential(nn.Linear(CANARIES, 1, bias=False), nn.Flatten(0))])

    def drawn(self, generator: nn.Module, batch: Sequence[Tensor]) -> tuple[None, Tensor]:
        return None, 0 * generator(torch.ones(len(batch[-1]), 1)).expand(-1, CANARIES)

    def views(self, sample: tuple[object, Tensor], batch: Sequence[Tensor]) -> list[Tensor]:
        return [sample[1]]


class Seen(PrivateCritics):
    """Keeps every gradient that the critics are given, as an adversary inside would."""

    def configure_optimizers(self) -> torch.optim.Optimizer:
        (critic,) = self.game.critics.parameters()
        self.kept: list[NDArray[np.float32]] = []
        optimizer = torch.optim.SGD([critic], lr=1e-4)
        optimizer.register_step_pre_hook(lambda *_: self.kept.append(critic.grad[0].numpy().copy()))  # type: ignore[index]
        return optimizer


PLAN = PrivacyPlan.for_budget(ONE, CANARIES, 300, 20, 1.0)


def audited(folder: Path) -> Audit:
    """Of the training that vitals_gan has under a budget, by canaries as far out as patients can be."""

    def train(included: Sequence[int]) -> list[NDArray[np.float32]]:
        found = torch.zeros(CANARIES, CANARIES)
        found[list(included), list(included)] = 20.0
        rows = TensorDataset(torch.zeros(CANARIES, 1), torch.zeros(CANARIES, 1), found)
        settings = PrivateRefinerTraining(batch_size=8, noise=0.0, penalty=0.0)
        module = Seen(Canaries(), settings, [torch.zeros(8, 1)])
        fit(module, rows, quick(folder), name="audit", steps=0, batch_size=256, plan=PLAN,
            patients=[str(i) for i in range(CANARIES)], ema=None, resumable=False)  # fmt: skip
        return [-300 * gradient for gradient in module.kept]

    def score(released: list[NDArray[np.float32]], canaries: Sequence[int]) -> NDArray[np.float64]:
        noise, rate = PLAN.noise_multiplier, PLAN.sample_rate
        found = np.stack(released)[:, list(canaries)].astype(np.float64)
        return np.asarray(np.logaddexp(np.log1p(-rate), np.log(rate) + (found - 0.5) / noise**2).sum(0))

    return audit(train, list(range(CANARIES)), score, ONE)


def test_private_critics_stay_under_their_claim(tmp_path: Path) -> None:
    found = audited(tmp_path)
    assert not found.refuted
    assert found.ceiling > 3 * ONE.epsilon


def test_critics_without_clipping_fail_the_audit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = RowGradients.clipped_sum
    monkeypatch.setattr(RowGradients, "clipped_sum", lambda self, max_norm: whole(self, math.inf))
    assert audited(tmp_path).refuted


def test_critics_without_noise_fail_the_audit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = Private.noise

    def silent(self: Private, sums: dict[nn.Parameter, Tensor]) -> None:
        self.plan = replace(self.plan, noise_multiplier=0.0)
        noise(self, sums)

    monkeypatch.setattr(Private, "noise", silent)
    assert audited(tmp_path).refuted
