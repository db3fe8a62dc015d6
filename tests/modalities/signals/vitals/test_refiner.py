"""The refiner of drawn stays: whole steps, the prior when untrained, the seed alone, and what critics teach."""

from pathlib import Path

import numpy as np
import pytest
import torch
from small_vitals import ENCODER, HOURS, PLAIN, SMALL, folder, prior, quick, stays
from torch.utils.data import TensorDataset

from polyclinic.core.errors import InputError
from polyclinic.core.modality import Record, TrainingSet
from polyclinic.core.training.adversarial import Adversarial
from polyclinic.core.training.trainer import fit
from polyclinic.core.training.weights import Weights, find, load
from polyclinic.modalities.signals import Signals
from polyclinic.modalities.signals.channels import CHANNELS
from polyclinic.modalities.signals.metrics import vitals_features
from polyclinic.modalities.signals.vitals.cohort_charts import read_charts
from polyclinic.modalities.signals.vitals.critics import stay_figures
from polyclinic.modalities.signals.vitals.prior import simulated_stays
from polyclinic.modalities.signals.vitals.quantizer import HIGH, LOW, SHIPPED, STEP
from polyclinic.modalities.signals.vitals.refiner import Charted, Refiner, moved, refined
from polyclinic.modalities.signals.vitals.refiner_game import RefinerTraining, VitalsGame
from polyclinic.modalities.signals.vitals.refiner_training import Judge, pairs, readings
from polyclinic.modalities.signals.vitals.sampler import VitalsSampler, without_refiner

HR, SBP, MAP, DBP = (CHANNELS.index(name) for name in ("HR", "SBP", "MAP", "DBP"))


def with_refiner(size: float) -> Weights:
    """The same with a refiner whose last layers have numbers of that size."""
    torch.manual_seed(1)
    refiner, weights = Refiner(len(PLAIN), SMALL, day=HOURS), prior()
    for layer in (refiner.hours, refiner.moves):
        torch.nn.init.normal_(layer.weight, std=size)
    own = {f"refiner.{k}": v.half() for k, v in refiner.state_dict().items()}
    model = {**weights.card.model, "refiner": SMALL.model_dump()}
    return Weights({**weights.tensors, **own}, weights.card.model_copy(update={"model": model}))


def test_an_untrained_refiner_and_the_setting_leave_the_prior_as_it_is() -> None:
    drawn, zero, off, other = (
        [record.arrays["vitals"] for record in found]
        for found in (
            stays(prior(), range(20)),
            stays(with_refiner(0.0), range(20)),
            stays(with_refiner(0.3), range(20), refine=False),
            stays(with_refiner(0.3), range(20)),
        )
    )
    np.testing.assert_array_equal(drawn, zero)
    np.testing.assert_array_equal(drawn, off)
    np.testing.assert_array_equal(np.isnan(drawn), np.isnan(other))  # what is charted is the prior's
    assert np.nanmax(np.abs(np.subtract(drawn, other))) > 1


def test_the_card_says_whether_a_refiner_draws() -> None:
    weights = with_refiner(0.3)
    model = {**weights.card.model, "refines": False}
    silent = Weights(weights.tensors, weights.card.model_copy(update={"model": model}))
    assert VitalsSampler(silent, ENCODER.columns).refiner is None
    assert VitalsSampler(silent, ENCODER.columns, refine=True).refiner is not None
    assert VitalsSampler(weights, ENCODER.columns).refiner is not None
    assert {"refiner", "refines"}.isdisjoint(without_refiner(silent).card.model)  # a new one starts anew


def test_the_shipped_refiner_draws_where_it_is_asked_for() -> None:
    shipped = load(find("vitals"))
    drawn, plain, asked = (
        np.stack([record.arrays["vitals"] for record in stays(shipped, range(40), refine)])
        for refine in (None, False, True)
    )
    np.testing.assert_array_equal(drawn, plain)
    np.testing.assert_array_equal(np.isnan(drawn), np.isnan(asked))
    assert 1 < np.nanmean(np.abs(asked - drawn)[..., HR]) < 8


def test_a_refined_stay_is_its_seeds_alone() -> None:
    together, alone = stays(with_refiner(0.3), range(70)), stays(with_refiner(0.3), range(66, 67))
    np.testing.assert_array_equal(together[66].arrays["vitals"], alone[0].arrays["vitals"])


def test_moves_are_whole_steps_in_range_and_pressures_cohere() -> None:
    real = simulated_stays(200, HOURS, np.random.default_rng(0)).readings
    stay = Charted.of(real)
    by = torch.randn(stay.values.shape, generator=torch.Generator().manual_seed(0))
    by.requires_grad_()
    found = moved(stay, by, torch.rand(200, 1, len(CHANNELS)) - 0.5)
    found.values.sum().backward()
    assert by.grad is not None
    assert (by.grad != 0)[..., HR][stay.mask[..., HR] > 0].float().mean() > 0.8  # the rounding lets it pass
    made = readings(Charted(found.values.detach(), found.mask, found.unit), SHIPPED)
    seen = np.isfinite(made)
    np.testing.assert_array_equal(seen, np.isfinite(real))
    halves = 2 * (made - LOW) / STEP
    assert np.abs(halves - np.rint(halves))[seen].max() < 0.02
    assert (made[seen] >= np.broadcast_to(LOW, seen.shape)[seen] - 1e-3).all()
    assert (made[seen] <= np.broadcast_to(HIGH, seen.shape)[seen] + 1e-3).all()
    with np.errstate(invalid="ignore"):
        assert not (made[..., DBP] >= made[..., MAP]).any()
        assert not (made[..., MAP] >= made[..., SBP]).any()


def test_what_is_drawn_is_what_was_trained() -> None:
    """The sampler's moves and those that critics saw are one."""
    refiner = Refiner(len(PLAIN), SMALL, day=HOURS)
    for layer in (refiner.hours, refiner.moves):
        torch.nn.init.normal_(layer.weight, std=0.2)
    real = simulated_stays(64, HOURS, np.random.default_rng(1)).readings
    random = np.random.default_rng(2)
    known, latent, noise = (
        random.standard_normal(shape).astype(np.float32)
        for shape in ((64, len(PLAIN)), (64, SMALL.latent), real.shape)
    )
    dither = random.random((64, 1, len(CHANNELS))).astype(np.float32) - 0.5
    drawn = refined(refiner, real, known, latent, noise, dither)
    stay = Charted.of(real)
    with torch.no_grad():
        by = refiner(stay, *map(torch.from_numpy, (known, latent, noise)))
        seen = moved(stay, by, torch.from_numpy(dither))
    assert np.nanmean(np.abs(drawn - readings(seen, SHIPPED)) > 0.02) < 0.01
    assert np.nanmean(drawn != real) > 0.2


def test_figures_of_a_stay_are_those_that_evaluate_compares() -> None:
    real = simulated_stays(50, 24, np.random.default_rng(3)).readings
    real[:, 0, [HR, SBP]] = 80, 120
    stay, table = Charted.of(real), vitals_features([Record({"vitals": part}) for part in real])
    found = stay_figures(stay.values, stay.mask, SHIPPED).numpy()
    for place, figure in (
        (0, "mean"),
        (1, "spread"),
        (3, "lowest"),
        (4, "highest"),
        (5, "last"),
        (10, "trend"),
    ):
        for c in (HR, SBP):
            mine = found[:, place * len(CHANNELS) + c] * SHIPPED.spread[c]
            mine += SHIPPED.usual[c] if figure in ("mean", "lowest", "highest", "last") else 0
            np.testing.assert_allclose(mine, table[f"{CHANNELS[c]} {figure}"], atol=0.3)


SETTINGS = {
    "steps": 50, "batch_size": 64, "learning_rate": 1e-2, "critic_rate": 5e-3, "draws": 1, "held_out": 0.3,
    "stay_width": 32, "hour_width": 16, "judge_every": 50, "ema": 0.8,
}  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TrainingSet:
    return folder(tmp_path_factory.mktemp("stays"))


def test_what_the_prior_lacks_is_learnt(tmp_path: Path, data: TrainingSet) -> None:
    config = {"kind": "vitals_gan", "network": SMALL.model_dump(), "training": SETTINGS}
    made = Signals().train([data], ENCODER, config, quick(tmp_path), prior())
    found = made.card.figures
    assert found["c2st_auc_refined"] < found["c2st_auc_prior"] - 0.02
    assert made.card.kind == "autoregressive GRU, adversarial refiner"
    again = without_refiner(made)
    assert again.card.kind == "autoregressive GRU"
    assert again.tensors.keys() == prior().tensors.keys()
    plain, wide = (
        [np.nanstd(r.arrays["vitals"][:, HR]) for r in stays(part, range(60)) if r.facts["hours"] > 6]
        for part in (again, made)
    )
    assert np.mean(wide) > 1.2 * np.mean(plain)


def test_critics_fed_noise_in_place_of_patients_fail(tmp_path: Path, data: TrainingSet) -> None:
    """Patients who were held out tell its stays apart better than the prior's."""
    settings = RefinerTraining.model_validate({**SETTINGS, "judge_every": 1000})
    sampler, chart = VitalsSampler(prior(), ENCODER.columns), read_charts([data], HOURS)
    tensors = pairs(chart, np.arange(200), sampler, ENCODER, PLAIN, 0)
    noise = 3 * torch.randn(tensors[0].shape, generator=torch.Generator().manual_seed(0)) * tensors[1]
    tensors[0], tensors[2] = noise, stay_figures(noise, tensors[1], SHIPPED)
    torch.manual_seed(0)
    drawn = stay_figures(tensors[3], tensors[4], SHIPPED)
    game = VitalsGame(len(PLAIN), SMALL, settings, SHIPPED, HOURS, drawn)
    judge = Judge(chart, np.arange(200, 320), sampler, ENCODER, PLAIN, 0)
    before = judge(game.generator)
    module = Adversarial(game, settings)
    fit(module, TensorDataset(*tensors), quick(tmp_path), name="n", steps=50, batch_size=64, ema=None)
    assert judge(module.best) > max(0.9, before)


def test_a_refiner_needs_a_prior_and_patients_who_judge(tmp_path: Path, data: TrainingSet) -> None:
    how = quick(tmp_path)
    config = {"kind": "vitals_gan", "network": {}, "training": {}}
    with pytest.raises(InputError, match="--init vitals"):
        Signals().train([data], ENCODER, config, how, None)
    with pytest.raises(InputError, match="32 stays are held out"):
        Signals().train([data], ENCODER, config, how, prior())
