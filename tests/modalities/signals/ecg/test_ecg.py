"""The ECG model on simulated beats: decomposition, noise, morphology model, traces without a seam, privacy budget."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from polyclinic import PatientProfile, ProfileEncoder, load_modality
from polyclinic.core.dp.budget import Budget
from polyclinic.core.dp.ledger import Ledger
from polyclinic.core.errors import InputError
from polyclinic.core.training.fit import Fit
from polyclinic.core.training.weights import Weights, find, load
from polyclinic.modalities.signals.ecg import noise as noises
from polyclinic.modalities.signals.ecg.beats import KNOTS, decompose, placing
from polyclinic.modalities.signals.ecg.fiducials import COMMON, align, even, locate, ordered, unalign
from polyclinic.modalities.signals.ecg.morphology import Morphology, MorphologyModel, MorphologySpace
from polyclinic.modalities.signals.ecg.private import FIELDS_NORM, _slopes, adapt
from polyclinic.modalities.signals.ecg.rhythm import Beat
from polyclinic.modalities.signals.ecg.sampler import EcgSampler
from polyclinic.modalities.signals.ecg.trace import blocks, extents, first_samples, marks
from polyclinic.modalities.signals.layout import RATE

Array = NDArray[np.float64]


def wave(at: float, width: float, size: float) -> Array:
    """(knot,) a Gaussian."""
    return size * np.exp(-0.5 * ((KNOTS - at) / width) ** 2)


def made_up(rng: np.random.Generator, p: float = 0.12) -> Array:
    """(lead, knot) mV of a simulated beat: P, QRS and T of random sizes and times."""
    sizes = rng.uniform(0.7, 1.3, size=(8, 1))
    p_at, t_at = rng.uniform(-0.16, -0.11), rng.uniform(0.21, 0.27)
    beat = wave(p_at, 0.02, p) + wave(0.0, 0.011, 1.0) - wave(0.03, 0.012, 0.3) + wave(t_at, 0.04, 0.3)
    return sizes * beat


def simulated(rng: np.random.Generator, level: float = 1e-6) -> Morphology:
    """A simulated morphology with white noise of `level` mV^2 a bin."""
    one = np.zeros((noises.BANDS, 8, 8)) + np.eye(8) * np.log(level * rng.uniform(0.5, 2))
    texture = np.log([0.05, 0.2, 0.4, 0.02, 0.02]) + 0.1 * rng.standard_normal(5)
    beat = made_up(rng)
    return Morphology(beat, ordered(locate(beat)), noises.NoiseModel(noises.upper_triangle(one), texture))


def steady(interval: float) -> Iterator[Beat]:
    """Beats at one rate."""
    k = -1
    while True:
        yield Beat(0.3 + k * interval, interval)
        k += 1


@pytest.fixture(scope="module")
def model() -> MorphologyModel:
    """Of 60 simulated morphologies; size follows one column."""
    rng = np.random.default_rng(0)
    morphologies = [simulated(rng) for _ in range(60)]
    code = rng.integers(0, 2, size=(60, 1)).astype(np.float32)
    beats = [m.beat * (1 + more) for m, more in zip(morphologies, code[:, 0], strict=True)]
    noise = [m.noise for m in morphologies]
    space = MorphologySpace.of(beats, noise, {"p": 4, "qrs": 6, "t": 4, "noise": 3})
    scores = space.scores(beats, noise)
    again = scores + 1e-3 * rng.standard_normal(scores.shape)
    return MorphologyModel.fit(space, scores, again, code, ridge=0.1, shrink=0.05)


def test_a_record_is_taken_apart_into_its_beat_and_the_rest() -> None:
    """But for its level the beat comes back within 0.03 mV, and marks 4 samples off to a quarter of a sample."""
    rng = np.random.default_rng(1)
    beat, peaks = made_up(rng), 200 + 410.0 * np.arange(12) + rng.uniform(-3, 3, size=12)
    trace = (placing(peaks, np.append(np.diff(peaks), 410) / RATE, 5000) @ beat.T).T
    trace += 0.2 * np.sin(2 * np.pi * 0.2 * np.arange(5000) / RATE) + 0.005 * rng.standard_normal((8, 5000))
    found = decompose(trace, np.rint(peaks + rng.integers(-4, 5, size=12)).astype(np.int64))
    shift = np.median(found.peaks - peaks)
    assert np.abs(found.peaks - peaks - shift).max() < 0.25
    seen = np.stack([np.interp(KNOTS - shift / RATE, KNOTS, lead) for lead in found.beat])
    inside = (KNOTS > -0.2) & (
        KNOTS < 0.5
    )  # a trace without wander has mean 0, which moves the level between beats
    off = (seen - beat)[:, inside]
    assert np.abs(off - np.median(off, axis=1, keepdims=True)).max() < 0.03
    assert not found.odd.any()
    np.testing.assert_allclose(found.fitted + found.remainder, trace, atol=1e-12)


def test_a_beat_unlike_the_others_is_left_out() -> None:
    rng = np.random.default_rng(2)
    beat, peaks = made_up(rng), 200 + 400.0 * np.arange(12)
    trace = (placing(peaks, np.full(12, 0.8), 5000) @ beat.T).T + 0.005 * rng.standard_normal((8, 5000))
    broad = wave(0.0, 0.06, -1.5) * np.ones((8, 1))
    trace += (placing(peaks[6:7], np.full(1, 0.8), 5000) @ broad.T).T
    found = decompose(trace, peaks.astype(np.int64))
    assert np.flatnonzero(found.odd).tolist() == [6]


@pytest.mark.parametrize("seed", range(3))
def test_alignment_moves_fiducial_points_and_is_undone(seed: int) -> None:
    beat = made_up(np.random.default_rng(seed))
    one = ordered(locate(beat))
    there = align(even(beat), one)
    moved = ordered(
        locate(np.stack([np.interp(KNOTS, np.arange(-0.36, 0.72, 0.002), lead) for lead in there]))
    )
    assert np.abs(moved - COMMON)[[0, 3]].max() <= 0.012
    assert np.abs(unalign(there, one) - even(beat)).max() < 0.08


def test_scores_describe_a_morphology(model: MorphologyModel) -> None:
    """The scores that a morphology is drawn from are measured on it again."""
    rng = np.random.default_rng(3)
    scores = model.space.scores(
        [model.draw(rng, np.zeros(1, dtype=np.float32)).beat], [simulated(rng).noise]
    )[0]
    back = model.space.morphology(scores)
    again = model.space.scores([back.beat], [back.noise])[0]
    assert np.abs(again - scores)[[0, 5, 12]].max() < 0.25  # log sizes of P, QRS and T


def test_the_model_follows_the_profile(model: MorphologyModel) -> None:
    rng = np.random.default_rng(4)
    size = [
        np.median([np.abs(model.draw(rng, np.array([one], dtype=np.float32)).beat).max() for _ in range(40)])
        for one in (0.0, 1.0)
    ]
    assert 1.6 < size[1] / size[0] < 2.4


def test_weights_keep_the_model(model: MorphologyModel) -> None:
    back = MorphologyModel.of(model.tensors())
    code = np.ones(1, dtype=np.float32)
    first, second = (one.draw(np.random.default_rng(5), code) for one in (model, back))
    np.testing.assert_allclose(first.beat, second.beat, atol=1e-4)


def test_noise_has_the_power_asked_for_and_no_seam() -> None:
    one = simulated(np.random.default_rng(6), level=1e-4).noise
    calm = replace(one, texture=np.log([0.05, 0.18, 0.36, 0.02, 0.02]))
    drawn = np.concatenate([a for a, _ in islice(noises.stream(np.random.default_rng(7), calm), 12)], axis=1)
    spectrum = np.square(np.abs(np.fft.rfft(drawn, axis=1))).mean(0) / drawn.shape[1]
    hertz = np.fft.rfftfreq(drawn.shape[1], 1 / RATE)
    asked = np.exp(one.log_covariance[:, 0])
    for b in (8, 11, 15):
        inside = (hertz >= noises.EDGES[b]) & (hertz < noises.EDGES[b + 1])
        assert 0.7 < spectrum[inside].mean() / asked[b] < 1.4
    steps = np.abs(np.diff(drawn, axis=1))
    edges = steps[:, noises.BLOCK // 2 - 1 :: noises.BLOCK // 2]
    assert edges.mean() < 1.3 * steps.mean()


def test_a_strip_is_how_the_stream_begins() -> None:
    one = simulated(np.random.default_rng(8))
    short, inside = first_samples(blocks(np.random.default_rng(9), one, steady(0.8)), 4000)
    long, more = first_samples(blocks(np.random.default_rng(9), one, steady(0.8)), 23000)
    np.testing.assert_array_equal(short, long[:, :4000])
    assert more[: len(inside)] == inside
    assert len(more) == pytest.approx(46 / 0.8, abs=1)


def test_blocks_join_without_a_seam() -> None:
    """Where two blocks meet in the middle of a T wave, the step is no larger than elsewhere in T waves."""
    one = simulated(np.random.default_rng(10), level=1e-12)
    calm = replace(one, noise=replace(one.noise, texture=np.full(5, -9.0)))
    parts = [block for block, _ in islice(blocks(np.random.default_rng(11), calm, steady(0.81)), 6)]
    steps = [np.abs(b[:, 0] - a[:, -1]).max() for a, b in pairwise(parts)]
    inside = max(np.abs(np.diff(part, axis=1)).max() for part in parts)
    assert max(steps) <= inside


def test_marks_are_in_order_and_around_their_peaks() -> None:
    one = simulated(np.random.default_rng(12))
    assert set(extents(one)) == {"p", "qrs", "t"}
    _, beats = first_samples(blocks(np.random.default_rng(13), one, steady(0.8)), 5000)
    found = marks(one, beats, 5000)
    assert [n for n, _ in found] == sorted(n for n, _ in found)
    peaks = [n for n, symbol in found if symbol == "N"]
    assert set(peaks) <= {round(beat.at * RATE) for beat in beats}
    assert len(peaks) >= len(beats) - 2


def test_drawn_beats_are_as_long_as_cardiologists_mark_them() -> None:
    """Medians of LUDB's training records: PR 162 ms, QRS 92 ms, P 110 ms."""
    encoder, sampler = ProfileEncoder(), EcgSampler(load(find("ecg")), ProfileEncoder().columns, "ludb")
    found = []
    for i in range(120):
        profile = PatientProfile(
            f"p{i}", age=30.0 + i % 50, sex="FM"[i % 2], measurements={"heart_rate": 66.0}
        )
        waves = extents(sampler.source(profile, encoder.encode([profile])[0], i).morphology)
        if "p" in waves:
            (p, _, end), (onset, _, offset) = waves["p"], waves["qrs"]
            found.append((onset - p, offset - onset, end - p))
    np.testing.assert_allclose(np.median(found, axis=0), [0.162, 0.092, 0.110], atol=0.012)


def adapted(model: MorphologyModel, folder: Path, epsilon: float, copies: int = 1) -> MorphologyModel:
    """The model moved to 400 patients whose QRS is larger, each with `copies` records."""
    rng = np.random.default_rng(14)
    code = np.zeros((400, 1), dtype=np.float32)
    drawn = [model.draw(rng, row) for row in code]
    scores = model.space.scores([m.beat * 1.2 for m in drawn], [m.noise for m in drawn])
    patients = [f"p{i}" for i in range(400) for _ in range(copies)]
    how = Fit(folder=folder, budget=Budget(epsilon, 1e-4), ledger=folder / "ledger.jsonl")
    rows = np.repeat(np.arange(400), copies)
    return adapt(model, scores[rows], code[rows], patients, how, "made up")[0]


def test_a_budget_moves_the_model_and_is_booked(model: MorphologyModel, tmp_path: Path) -> None:
    moved = adapted(model, tmp_path, 20.0)
    sizes = [0, 5, 12]  # log sizes of P, QRS and T; log 1.2 is 0.18
    assert (moved.regression[-1] - model.regression[-1])[sizes].mean() == pytest.approx(0.18, abs=0.12)
    entries = Ledger(tmp_path / "ledger.jsonl").entries()
    assert [(entry.patients, entry.steps) for entry in entries] == [(400, 1), (400, 1)]


def test_many_records_of_a_patient_count_once(model: MorphologyModel, tmp_path: Path) -> None:
    adapted(model, tmp_path, 20.0, copies=5)
    assert {entry.patients for entry in Ledger(tmp_path / "ledger.jsonl").entries()} == {400}


def test_noise_drowns_a_tiny_budget(model: MorphologyModel, tmp_path: Path) -> None:
    """At epsilon 0.01 the model stays the public one: what is learnt is shrunk to nothing, not drawn at random."""
    still = adapted(model, tmp_path, 0.01)
    assert np.abs(still.regression[-1] - model.regression[-1]).max() < 1.0
    moved = np.abs(still.cholesky - model.cholesky)
    assert moved.mean() < 0.03, moved.mean()  # 0.04 at epsilon 5; the largest entry swings with the noise


def test_ecgs_under_a_budget_need_public_weights(tmp_path: Path) -> None:
    how = Fit(folder=tmp_path, budget=Budget(5.0, 1e-4))
    with pytest.raises(InputError, match="add --init ecg"):
        load_modality("signals").train([], ProfileEncoder(), {"kind": "ecg"}, how, None)
    public: Weights = load(find("ecg"))
    with pytest.raises(InputError, match="leave --init out"):
        load_modality("signals").train([], ProfileEncoder(), {"kind": "ecg"}, Fit(folder=tmp_path), public)


@pytest.mark.parametrize(("epsilon", "least", "most"), [(20.0, 0.4, 1.5), (0.01, -0.8, 0.8)])
def test_a_field_that_the_public_model_does_not_know_is_learnt_for_a_share_of_the_budget(
    model: MorphologyModel, tmp_path: Path, epsilon: float, least: float, most: float
) -> None:
    """The beats of patients who have it are a fifth larger: 0.18 in the log, half of it on either side of the mean."""
    rng = np.random.default_rng(15)
    flag = np.where(np.arange(600) % 3 == 0, 1.0, -1.0).astype(np.float32)
    code = np.stack([np.zeros(600, dtype=np.float32), flag, np.abs(flag)], axis=1)
    wide = replace(model, regression=np.insert(model.regression, [1, 1], 0.0, axis=0))
    drawn = [model.draw(rng, row) for row in code[:, :1]]
    beats = [m.beat * 1.2 ** max(f, 0.0) for m, f in zip(drawn, flag, strict=True)]
    scores = model.space.scores(beats, [m.noise for m in drawn])
    how = Fit(folder=tmp_path, budget=Budget(epsilon, 1e-4), ledger=tmp_path / "ledger.jsonl")
    moved = adapt(wide, scores, code, [f"p{i}" for i in range(600)], how, "made up", fresh=[1])[0]
    sizes = [0, 5, 12]  # log sizes of P, QRS and T
    shift = moved.regression[1][sizes].mean()
    assert least <= shift / (np.log(1.2) / 2) <= most, shift / (np.log(1.2) / 2)
    assert not moved.regression[2].any()  # whether the field is known teaches nothing
    assert [entry.purpose for entry in Ledger(tmp_path / "ledger.jsonl").entries()][-1].startswith(
        "signals, ecg fields"
    )


def test_slopes_of_a_new_field_are_as_long_as_they_are_where_chance_is_large() -> None:
    """Of many scores, chance alone makes slopes longer; the length without it sets drawn patients apart."""
    rng = np.random.default_rng(16)
    true = np.full(100, 0.1)  # about as long as chance in 100 patients
    lengths = []
    for _ in range(20):
        flag = np.where(rng.random(100) < 0.5, 1.0, -1.0)
        residuals = rng.standard_normal((100, 100)) + flag[:, None] * true
        found, _ = _slopes(residuals / (10 * FIELDS_NORM), flag[:, None], 1e-6, rng)
        lengths.append(np.square(10 * FIELDS_NORM * found).sum())
    assert np.mean(lengths) == pytest.approx(np.square(true).sum(), rel=0.25)
