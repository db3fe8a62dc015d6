"""The vitals model: lattice, likelihood, draws, anchors, courses, the bedside form, private training."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from polyclinic import Batch, PatientProfile, ProfileEncoder
from polyclinic.core.condition import columns_of, select
from polyclinic.core.dp.budget import Budget, PrivacyPlan
from polyclinic.core.dp.clipping import Clipper
from polyclinic.core.dp.layers import Products, Whole
from polyclinic.core.dp.ledger import Ledger
from polyclinic.core.dp.recurrence import Recurrence
from polyclinic.core.errors import InputError
from polyclinic.core.modality import DatasetSource, TrainingSet
from polyclinic.core.training.fit import Fit
from polyclinic.core.training.weights import Card, Weights
from polyclinic.modalities.signals import Signals
from polyclinic.modalities.signals.channels import CHANNELS, VITAL_FIELDS
from polyclinic.modalities.signals.data import read_vitals
from polyclinic.modalities.signals.vitals import network
from polyclinic.modalities.signals.vitals.baseline_shift import coherent, shifted
from polyclinic.modalities.signals.vitals.bedside import SECONDS, bedside
from polyclinic.modalities.signals.vitals.charting import charts
from polyclinic.modalities.signals.vitals.moment_matching import (
    _covariance,
    match_moments,
    missing_drift,
    with_drift,
)
from polyclinic.modalities.signals.vitals.network import DRAWS, VitalsModel, VitalsNet
from polyclinic.modalities.signals.vitals.quantizer import BINS, HIGH, LOW, STEP, Tokens, to_readings
from polyclinic.modalities.signals.vitals.sampler import VitalsSampler
from polyclinic.modalities.signals.vitals.trainer import VitalsTrainer
from polyclinic.modalities.signals.vitals.training import Blur, Stays, VitalsTraining
from polyclinic.modalities.signals.vitals.trajectory import Trajectory

ENCODER = ProfileEncoder()
COLUMNS = columns_of(ENCODER.columns, [*VITAL_FIELDS, "age", "sex", "A41.9"])
SMALL = VitalsModel(hours=6, width=12, head=8, embed=4, dropout=0.0)
HR, O2, TEMP, SBP, MAP, DBP, RESP = range(len(CHANNELS))


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(5)


def stays_of(random: np.random.Generator, rows: int, hours: int = 6) -> np.ndarray:
    """(row, hour, channel) readings on the lattices, a third not charted."""
    steps = random.integers(0, np.array(BINS), (rows, hours, len(CHANNELS)))
    out = to_readings(steps, random.random(steps.shape) < 0.1, random.random(steps.shape) < 0.7)
    return np.stack([coherent(row) for row in out])


def weights_of(shape: VitalsModel = SMALL, seed: int = 0) -> Weights:
    torch.manual_seed(seed)
    net = VitalsNet(len(COLUMNS), shape)
    card = Card(
        name="vitals", modality="signals", kind="test", data=[], privacy="public", steps=0, columns=COLUMNS,
        model=shape.model_dump(),
    )  # fmt: skip
    return Weights({k: v.half() for k, v in net.state_dict().items()}, card)


def batch_of(profiles: Sequence[PatientProfile], first_seed: int = 0) -> Batch:
    own = tuple(profiles)
    return Batch(own, ENCODER.encode(own), tuple(range(first_seed, first_seed + len(own))))


def ill(name: str = "p", **measurements: float) -> PatientProfile:
    return PatientProfile(name, age=60.0, sex="F", conditions={"A41.9": True}, measurements=measurements)


def test_readings_survive_their_lattice(random):
    readings = stays_of(random, 40)
    tokens = Tokens.of(readings)
    back = to_readings(tokens.bins.numpy(), tokens.half.numpy(), tokens.present.numpy())
    np.testing.assert_allclose(back, np.clip(readings, LOW, HIGH), atol=0.011, equal_nan=True)
    far = np.full((1, len(CHANNELS)), 1e4, dtype=np.float32)
    assert (Tokens.of(far).bins.numpy() == np.array(BINS) - 1).all()


def test_an_hour_does_not_see_itself_or_later_hours(random):
    """Changing hour 3 leaves what is expected of hours 0 to 3 as it was, and changes hour 4."""
    readings = stays_of(random, 1)
    other = readings.copy()
    other[0, 3, HR] = 77 if readings[0, 3, HR] != 77 else 99
    tables = [charts(Tokens.of(r)) for r in (readings, other)]
    assert torch.equal(tables[0][:, :4], tables[1][:, :4])
    assert not torch.equal(tables[0][:, 4], tables[1][:, 4])


def test_each_channel_sees_only_those_before_it():
    torch.manual_seed(0)
    net = VitalsNet(len(COLUMNS), SMALL)
    ones = torch.ones(1, len(CHANNELS))
    assert net.seen(ones, ones, ones, ones, ones, 0).abs().sum() == 0
    third = net.seen(ones, 0 * ones, ones, ones, ones, 2)[0, : len(CHANNELS)]
    assert third.nonzero().flatten().tolist() == sorted((HR, SBP))


def test_likelihood_adds_up_to_one():
    """Over all that a channel's head may say: charted or not, half-way or not, on which step."""
    torch.manual_seed(0)
    net = VitalsNet(len(COLUMNS), SMALL)
    odds, steps = net.head(
        0, torch.randn(4, 8), torch.randn(4, len(CHANNELS) + 1), torch.zeros(4, 5 * len(CHANNELS)),
        torch.zeros(4, len(CHANNELS)),
    )  # fmt: skip
    assert odds.shape == (4, 2)
    torch.testing.assert_close(steps.softmax(1).sum(1), torch.ones(4))
    assert steps.shape[1] == BINS[HR]


def test_likelihood_of_charted_hours_alone_is_the_likelihood(random):
    torch.manual_seed(0)
    net = VitalsNet(len(COLUMNS), SMALL).eval()
    readings = stays_of(random, 5)
    readings[random.random(readings.shape) < 0.7] = np.nan
    readings[0, :, HR] = np.nan
    tokens, code = Tokens.of(readings), torch.randn(5, len(COLUMNS))
    length, onset = torch.tensor([6, 6, 3, 6, 6]), torch.full((5,), torch.nan)
    gradients = []
    for everywhere in (True, False):
        net.zero_grad()
        found = net.log_likelihood(tokens, charts(tokens), code, length, onset, everywhere)
        found.sum().backward()
        gradients.append((found.detach(), *(p.grad.clone() for p in net.parameters())))
    for whole, charted in zip(*gradients, strict=True):
        torch.testing.assert_close(charted, whole, rtol=1e-4, atol=1e-5)


def test_likelihood_stops_where_a_stay_ends(random):
    torch.manual_seed(0)
    net = VitalsNet(len(COLUMNS), SMALL)
    readings = stays_of(random, 1)
    longer = readings.copy()
    longer[0, 4:] = 90
    code, length, onset = torch.zeros(1, len(COLUMNS)), torch.tensor([4]), torch.tensor([torch.nan])
    short, long = (
        net.log_likelihood(t, charts(t), code, length, onset) for t in map(Tokens.of, (readings, longer))
    )
    assert torch.equal(short, long)


@pytest.mark.parametrize("rows", [1, 16, 70])
def test_rows_are_the_same_alone_and_in_a_batch(rows):
    sampler = VitalsSampler(weights_of(), ENCODER.columns)
    profiles = [ill(f"p{i}", heart_rate=60 + i) for i in range(rows)]
    together = sampler.sample(batch_of(profiles))
    for i in {0, rows // 2, rows - 1}:
        alone = sampler.sample(batch_of([profiles[i]], i))[0]
        np.testing.assert_array_equal(alone.arrays["vitals"], together[i].arrays["vitals"])


def test_draws_lie_on_the_lattice_and_cohere():
    sampler = VitalsSampler(weights_of(), ENCODER.columns, hours=30)
    for record in sampler.sample(batch_of([ill(f"p{i}") for i in range(20)])):
        table = record.arrays["vitals"].astype(np.float64)
        assert table.shape == (30, len(CHANNELS))
        assert np.isfinite(table).any()
        halves = 2 * (table - LOW) / STEP
        assert np.nanmax(np.abs(halves - np.rint(halves))) < 0.02
        with np.errstate(invalid="ignore"):
            assert not (table[:, DBP] >= table[:, MAP]).any()
            assert not (table[:, MAP] >= table[:, SBP]).any()


def test_levels_are_the_profiles_own():
    profiles = [ill(f"p{i}", heart_rate=50.0 + 3 * i, temperature=36.4) for i in range(20)]
    for profile, record in zip(
        profiles,
        VitalsSampler(weights_of(), ENCODER.columns, ends=False).sample(batch_of(profiles)),
        strict=True,
    ):
        for c, field, near in ((HR, "heart_rate", 3), (TEMP, "temperature", 0.3)):
            column = record.arrays["vitals"][:, c]
            if np.isfinite(column).sum() > 1 and LOW[c] < np.nanmin(column) and np.nanmax(column) < HIGH[c]:
                assert abs(np.nanmedian(column) - profile.measurements[field]) <= near


def test_anchoring_keeps_dynamics_and_even_charting(random):
    readings = np.full((24, len(CHANNELS)), np.nan, dtype=np.float32)
    readings[:, HR] = 2 * random.integers(35, 45, 24)
    moved = shifted(readings, {"heart_rate": 101.0})
    np.testing.assert_array_equal(np.diff(moved[:, HR]), np.diff(readings[:, HR]))
    assert (moved[:, HR] % 2 == 0).all()
    assert abs(np.median(moved[:, HR]) - 101) <= 1
    assert np.isnan(moved[:, 1:]).all()
    np.testing.assert_array_equal(shifted(readings, {}), readings)


def test_coherent_moves_only_what_is_wrong():
    good = np.array([[80, 98, 37, 120, 85, 70, 16]], dtype=np.float32)
    np.testing.assert_array_equal(coherent(good), good)
    bad = np.array([[80, 98, 37, 90, 130, 95, 16]], dtype=np.float32)
    s, m, d = coherent(bad)[0, [SBP, MAP, DBP]]
    assert d < m < s == 90


def test_bedside_means_are_the_charted_values(random):
    table = np.full((5, len(CHANNELS)), np.nan, dtype=np.float32)
    table[:, HR] = [70, np.nan, 110, 65, 180]
    table[:, O2] = [100, 96, 100, 88, 99]
    table[:, SBP], table[:, MAP], table[:, DBP] = (
        [120, 90, 150, 200, 61], [90, 70, 100, 120, 59], [70, 55, 80, 90, 58],
    )  # fmt: skip
    chunks = list(bedside(table, seed=3))
    assert len(chunks) == 5
    for hour, chunk in zip(table, chunks, strict=True):
        assert chunk.shape == (SECONDS, len(CHANNELS))
        assert np.isfinite(chunk).all()
        charted = np.isfinite(hour)
        np.testing.assert_allclose(chunk.astype(float).mean(0)[charted], hour[charted], atol=1e-3)
        assert (chunk[:, DBP] < chunk[:, MAP]).all()
        assert (chunk[:, MAP] < chunk[:, SBP]).all()
        assert chunk[:, O2].max() <= 100
        assert chunk.min() > 0
        largest = np.abs(np.diff(chunk, axis=0)).max(0)
        for before, after in pairwise(chunks):
            assert (np.abs(after[0] - before[-1]) < 4 * np.maximum(largest, 1)).all()  # no seam
    np.testing.assert_array_equal(chunks[0], next(bedside(table, seed=3, hours=2)))


def test_bedside_breathes():
    table = np.tile(np.array([80, 97, 37, 120, 90, 70, 15], dtype=np.float32), (1, 1))
    (steady,) = bedside(table, seed=1)
    (unsteady,) = bedside(table, seed=1, rhythm="atrial fibrillation")
    power = [np.abs(np.fft.rfft(c[:, HR] - c[:, HR].mean())) ** 2 for c in (steady, unsteady)]
    breath = slice(int(0.22 * SECONDS), int(0.28 * SECONDS))  # 15 a minute is 0.25 Hz
    assert power[0][breath].sum() > 3 * power[0][int(0.40 * SECONDS) : int(0.46 * SECONDS)].sum()
    assert unsteady[:, HR].std() > 1.5 * steady[:, HR].std()


@pytest.mark.parametrize(
    ("hours", "mean", "message"), [(3, 90, "1 to 2 hours"), (2, 130, "diastolic < mean < systolic")]
)
def test_bedside_refuses(hours, mean, message):
    table = np.tile(np.array([80, 97, 37, 120, mean, 70, 15], dtype=np.float32), (2, 1))
    with pytest.raises(InputError, match=message):
        bedside(table, seed=0, hours=hours)


def test_trajectories():
    well = PatientProfile("w", conditions={"A41.9": False})
    with pytest.raises(InputError, match=r"trajectory sepsis: w has no sepsis"):
        Trajectory(kind="sepsis").check([well])
    with pytest.raises(InputError, match=r"trajectory stable: p has sepsis"):
        Trajectory(kind="stable").check([ill()])
    drawn = {
        kind: VitalsSampler(weights_of(), ENCODER.columns, Trajectory(kind=kind, onset=3)).sample(
            batch_of([who])
        )[0]
        for kind, who in (("profile", ill()), ("sepsis", ill()), ("stable", well), ("recovery", ill()))
    }
    assert "trajectory" not in drawn["profile"].facts
    assert drawn["sepsis"].facts["trajectory_basis"] == "beyond the data"
    assert drawn["recovery"].facts["trajectory_basis"] == "rule-based"
    assert drawn["stable"].facts == {
        **drawn["profile"].facts,
        "trajectory": "stable",
        "trajectory_basis": "learnt",
    }


def test_recovery_comes_down_to_the_patients_own_level():
    flat = np.tile(np.array([80, 97, 37, 120, 90, 70, 15], dtype=np.float32), (48, 1))
    moved = Trajectory(kind="recovery").apply(flat)
    assert moved[0, HR] > 95
    assert moved[0, SBP] < 105
    np.testing.assert_allclose(moved[-1], flat[-1], atol=0.11)


def test_an_onset_reaches_the_network(random):
    torch.manual_seed(0)
    net = VitalsNet(len(COLUMNS), SMALL)
    tokens, code = Tokens.of(stays_of(random, 2)), torch.zeros(2, len(COLUMNS))
    length = torch.full((2,), 6)
    known, none = (
        net.log_likelihood(tokens, charts(tokens), code, length, torch.full((2,), hour))
        for hour in (2.0, torch.nan)
    )
    assert not torch.equal(known, none)


def training_set(folder: Path, random: np.random.Generator, rows: int = 30) -> TrainingSet:
    import pandas as pd

    grid = stays_of(random, rows, 10)
    names = tuple(f"p{i}" for i in range(rows))
    table = pd.DataFrame(grid.reshape(-1, len(CHANNELS)), columns=list(CHANNELS))
    table["patient_id"], table["hour"] = np.repeat(names, 10), np.tile(np.arange(10), rows)
    table["label"] = ((table["patient_id"] == "p0") & (table["hour"] >= 2)).astype(int)
    table.loc[table["patient_id"] == "p1", "label"] = 1
    table[(table["patient_id"] != "p2") | (table["hour"] < 4)].to_parquet(folder / "series.parquet")
    profiles = tuple(
        PatientProfile(name, age=50.0, sex="M", conditions={"A41.9": name < "p2"}) for name in names
    )
    options = {"kind": "vitals", "onset": "label", "lead": 6}
    return TrainingSet(
        folder, DatasetSource("made up", "none"), names, profiles, ("age", "sex", "A41.9"), "train", options
    )


@pytest.mark.filterwarnings("ignore:.*rows after the first .* hours of their stay")
def test_reading_stays(tmp_path, random):
    first, second, short, *_ = read_vitals(training_set(tmp_path, random), 6)
    assert first.facts["sepsis_onset"] == 8  # the label is on at hour 2, six before
    assert "sepsis_onset" not in second.facts  # on from the first row: nobody knows since when
    assert short.facts["hours"] == 4
    assert np.isnan(short.arrays["vitals"][4:]).all()


NETWORK = {"hours": 6, "width": 8, "head": 6, "embed": 4, "dropout": 0.0}


@pytest.fixture
def quick(tmp_path):
    return Fit(folder=tmp_path / "run", accelerator="cpu", precision="32-true", progress=False)


def trained(data: TrainingSet, how: Fit, **training: float) -> Weights:
    config = {"kind": "vitals", "network": NETWORK, "training": {"batch_size": 16, **training}}
    return Signals().train([data], ENCODER, config, how, None)


@pytest.mark.filterwarnings("ignore:.*rows after the first .* hours of their stay")
def test_training_learns_and_holds_out(tmp_path, random, quick):
    data = training_set(tmp_path, random)
    few, more = (trained(data, quick, steps=steps, ema=0.5) for steps in (1, 60))
    assert more.card.figures["held_out_nats_an_hour"] < few.card.figures["held_out_nats_an_hour"] - 1
    assert more.card.privacy == "public"
    record = VitalsSampler(more, ENCODER.columns).sample(batch_of([ill()]))[0]
    assert record.arrays["vitals"].shape == (6, len(CHANNELS))


class _States(nn.Module):
    """Linear layers shared over time around a recurrence of `width`."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inputs, self.memory, self.out = nn.Linear(5, 3 * width), Recurrence(width), nn.Linear(width, 3)

    def losses(self, batch: Sequence[torch.Tensor]) -> torch.Tensor:
        return self.out(self.memory(self.inputs(batch[0]))).square().sum((1, 2))


@pytest.mark.parametrize(("width", "whole"), [(8, True), (40, False)], ids=["written out", "as products"])
def test_a_recurrence_has_a_gradient_for_each_row(width, whole):
    torch.manual_seed(0)
    module, x = _States(width), torch.randn(6, 7, 5)
    found = Clipper(module)((x,))
    assert isinstance(found.parts[module.memory.weight], Whole if whole else Products)
    for name, parameter in module.named_parameters():
        alone = [torch.autograd.grad(module.losses((x[i : i + 1],)).sum(), parameter)[0] for i in range(6)]
        torch.testing.assert_close(found.parts[parameter].whole(), torch.stack(alone), msg=name)
        norms = torch.stack(alone).flatten(1).square().sum(1)
        torch.testing.assert_close(found.parts[parameter].squares(), norms, rtol=1e-4, atol=1e-6, msg=name)


def test_vitals_are_clipped_by_patient(random):
    """By book-keeping, no layer apart; no patient moves the sum by more than the clipping norm."""
    torch.manual_seed(0)
    module = VitalsTrainer(COLUMNS, SMALL, VitalsTraining(hide=0.0, hide_levels=0.0, blur=0.0))
    tokens = Tokens.of(stays_of(random, 5))
    stays = Stays(
        tokens,
        charts(tokens),
        torch.full((5,), 6),
        torch.randn(5, len(COLUMNS)),
        torch.full((5,), torch.nan),
    )
    clipper = Clipper(module)
    assert not clipper.foreign
    rows = stays.tensors()
    found = clipper(rows)
    for i in (0, 4):
        own = torch.autograd.grad(
            module.losses([part[i : i + 1] for part in rows]).sum(), list(clipper.names)
        )
        weights = [clipper.weights.get(p, 1.0) for p in clipper.names]
        norm = torch.stack([(w * g).square().sum() for w, g in zip(weights, own, strict=True)]).sum().sqrt()
        torch.testing.assert_close(found.norms()[i], norm, rtol=1e-3, atol=1e-4)
    total = clipper(tuple(part[:1] for part in rows)).clipped_sum(0.1)
    moved = [(clipper.weights.get(p, 1.0) * g).square().sum() for p, g in total.items()]
    assert torch.stack(moved).sum().sqrt() <= 0.1001
    assert {clipper.names[p] for p in clipper.weights} >= {"net.lines.weight", "net.bends.6.weight"}


@pytest.mark.filterwarnings("ignore:.*rows after the first .* hours of their stay")
def test_private_training_is_charged_and_drowns_in_noise(tmp_path, random, quick, monkeypatch):
    data = training_set(tmp_path, random, 60)
    how = replace(quick, budget=Budget(8.0, 1e-3), ledger=tmp_path / "ledger.jsonl")
    tokens = Tokens.of(np.stack([r.arrays["vitals"] for r in read_vitals(data, 6)]))

    def loss(weights: Weights) -> float:
        net = VitalsNet(len(COLUMNS), VitalsModel(**NETWORK))
        net.load_state_dict({k: v.float() for k, v in weights.tensors.items()})
        code, length, onset = (
            torch.zeros(60, len(COLUMNS)),
            torch.full((60,), 6),
            torch.full((60,), torch.nan),
        )
        with torch.no_grad():
            return -float(net.log_likelihood(tokens, charts(tokens), code, length, onset).mean()) / 6

    settings = {
        "prior_steps": 2,
        "prior_stays": 40,
        "steps": 12,
        "patients_per_step": 30,
        "learning_rate": 1e-2,
        "ema": 0.1,
    }
    useful = trained(data, how, **settings)
    card = useful.card
    assert card.epsilon is not None
    assert card.epsilon <= 8
    assert "patient level" in card.privacy
    assert card.data[0].privacy == card.privacy
    assert not card.figures
    assert all(what in card.notes for what in ("DP-SGD", "charting", "drift", "simulated"))
    booked = Ledger(tmp_path / "ledger.jsonl").entries()
    assert [entry.purpose for entry in booked] == ["vitals", "vitals, charting", "vitals, drift"]
    assert len({entry.run for entry in booked}) == 1

    noisy = PrivacyPlan(60, 0.5, 1000.0, 12, 1e-3, 1.0)
    monkeypatch.setattr(PrivacyPlan, "for_budget", lambda *_: noisy)
    assert loss(trained(data, how, **settings)) > loss(useful) + 0.3


def test_blur_moves_known_baselines_as_the_encoder_would():
    torch.manual_seed(0)
    code = torch.from_numpy(select(ENCODER.encode([ill(heart_rate=90.0)]), ENCODER.columns, COLUMNS))
    moved = Blur(COLUMNS, 0.2)(code)
    x = float(moved[0, COLUMNS.index("heart_rate")])
    rate = 20 + (x + 1) / 2 * (250 - 20)
    assert rate != 90.0
    again = select(ENCODER.encode([ill(heart_rate=rate)]), ENCODER.columns, COLUMNS)
    torch.testing.assert_close(moved, torch.from_numpy(again), atol=1e-4, rtol=0)
    assert torch.equal(Blur(COLUMNS, 0.0)(code), code)


def wandering(random: np.random.Generator, rows: int, slope: float) -> np.ndarray:
    """(row, 24, channel) readings with noise, and a slope of its own a stay."""
    hours = np.linspace(-1, 1, 24)[:, None]
    noise = random.standard_normal((rows, 24, len(CHANNELS)))
    return (100 + noise + slope * random.standard_normal((rows, 1, 1)) * hours).astype(np.float32)


def test_drift_is_what_real_stays_have_more_of(random):
    real, drawn = wandering(random, 400, 1.5), wandering(random, 400, 0.0)
    root = missing_drift(real, drawn)
    back = missing_drift(drawn, real)
    assert np.square(back).sum() < 0.2 * np.square(root).sum()
    mended = np.stack([with_drift(row, root, random.standard_normal(len(root)), 24) for row in drawn])
    before, found, wanted = (
        np.diag(_covariance(stays))[[2 * HR, 2 * MAP]] for stays in (drawn, mended, real)
    )
    assert (before < 0.2 * wanted).all()
    assert (found > 0.4 * wanted).all()  # the stay's deviation is that before it drifted
    assert (found < wanted).all()
    np.testing.assert_array_equal(missing_drift(real[:50], drawn[:50]), 0)  # too few to tell


def test_drift_keeps_gaps_lattice_and_even_charting(random):
    readings = np.full((24, len(CHANNELS)), np.nan, dtype=np.float32)
    readings[::2, HR] = 2 * random.integers(35, 45, 12)
    moved = with_drift(readings, np.eye(2 * len(CHANNELS), dtype=np.float32), random.standard_normal(14), 24)
    np.testing.assert_array_equal(np.isnan(moved), np.isnan(readings))
    assert (moved[::2, HR] % 2 == 0).all()
    assert not np.array_equal(moved[::2, HR], readings[::2, HR])
    still = with_drift(readings, np.zeros((14, 14), dtype=np.float32), np.ones(14), 24)
    np.testing.assert_array_equal(still, readings)


def test_charting_is_matched(random):
    """Draws of a network that knows nothing chart each channel as often as the stays it is matched to."""
    torch.manual_seed(0)
    net = VitalsNet(len(COLUMNS), SMALL).eval()
    readings = stays_of(random, 600)
    readings[:, :, TEMP] = np.where(random.random((600, 6)) < 0.7, np.nan, readings[:, :, TEMP])
    tokens = Tokens.of(readings)
    stays = Stays(
        tokens, charts(tokens), torch.full((600,), 6), torch.zeros(600, len(COLUMNS)),
        torch.full((600,), torch.nan),
    )  # fmt: skip
    match_moments(net, stays, 0)
    uniforms = torch.rand(600, 6, len(CHANNELS), 4)
    _, _, present, _ = net.draw(stays.code, stays.onset, uniforms)
    charted = present.float().mean((0, 1)).numpy()
    np.testing.assert_allclose(charted, np.isfinite(readings).mean((0, 1)), atol=0.04)


def test_the_far_ends_of_first_readings_are_not_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(1)
    net = VitalsNet(3, VitalsModel(hours=2, width=8, head=6, embed=4, dropout=0.0)).eval()
    net.charting[:] = 20.0  # all is charted
    heart_rate = CHANNELS.index("HR")  # drawn first, so that no other channel touches its first reading
    code, onset = torch.randn(5, 3), torch.full((5,), torch.nan)

    def drawn(far: float, u: float) -> torch.Tensor:
        uniforms = torch.full((5, 2, len(CHANNELS), DRAWS), 0.5)
        uniforms[:, 0, heart_rate, 2] = u
        with monkeypatch.context() as patch:
            patch.setattr(network, "FAR", (far,) * len(CHANNELS))
            return net.draw(code, onset, uniforms)[0][:, :, heart_rate]

    assert (drawn(0.1, 0.001)[:, 0] > drawn(0, 0.001)[:, 0]).all()
    assert (drawn(0.1, 0.999)[:, 0] < drawn(0, 0.999)[:, 0]).all()
    assert torch.equal(drawn(0.1, 0.5), drawn(0, 0.5))
    assert torch.equal(drawn(0.1, 0.0)[:, 0], drawn(0, 0.1)[:, 0])  # the end is where that share lies beyond
    assert network.FAR[heart_rate] > 0 == network.FAR[CHANNELS.index("O2Sat")]
