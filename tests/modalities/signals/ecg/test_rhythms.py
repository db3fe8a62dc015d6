"""Rhythms: when beats come, and what ECGs of the shipped weights show and mark of them."""

from dataclasses import replace
from itertools import islice, pairwise, takewhile
from pathlib import Path

import numpy as np
import pytest

from polyclinic import Batch, PatientProfile, ProfileEncoder, load_modality
from polyclinic.core.errors import InputError
from polyclinic.core.training.weights import find, load
from polyclinic.modalities.signals.artefacts import Noise
from polyclinic.modalities.signals.ecg.pacing import Spikes
from polyclinic.modalities.signals.ecg.rhythm import (
    ARRHYTHMIA,
    Ectopy,
    Paroxysms,
    Variability,
    draw_beats,
    follow_rate,
)
from polyclinic.modalities.signals.ecg.sampler import EcgSampler
from polyclinic.modalities.signals.layout import FIBRILLATION, RATE, SINUS
from polyclinic.modalities.signals.live.continuous import ContinuousEcg


@pytest.mark.parametrize("rhythm", [SINUS, FIBRILLATION])
@pytest.mark.parametrize("rate", [40, 75, 150])
def test_beats_keep_the_rate_asked_for(rhythm: str, rate: float) -> None:
    for seed in range(5):
        drawn = draw_beats(np.random.default_rng(seed), rate, 60, rhythm, Variability(), 10.0)
        times = [beat.at for beat in takewhile(lambda beat: beat.at < 10, drawn) if beat.at >= 0]
        gaps = np.diff(times)
        assert abs(60 / np.median(gaps) - rate) < 3


def test_premature_beats_come_early_and_never_in_a_row() -> None:
    early = Ectopy({"V": 0.3, "A": 0.1})
    beats = list(islice(draw_beats(np.random.default_rng(1), 70, 60, SINUS, Variability(), 10.0, early), 300))
    kinds = "".join(beat.kind for beat in beats)
    assert set(kinds) == set("NVA")
    assert not any(a != "N" and b != "N" for a, b in pairwise(kinds))
    usual = np.median([a.interval for a, b in pairwise(beats) if b.kind == "N" and a.kind == "N"])
    before = [a.interval for a, b in pairwise(beats) if b.kind != "N"]
    assert max(before) < 0.9 * usual
    after = [beat.interval for beat in beats[:-1] if beat.kind == "V"]
    assert np.median(after) > 1.1 * usual


def shipped(heart_rate: float = 72.0, **conditions: bool) -> tuple[EcgSampler, Batch]:
    """The shipped ECG weights, and one patient with these conditions (I for the dots)."""
    encoder = ProfileEncoder()
    own = {name.replace("_", "."): present for name, present in conditions.items()}
    profile = PatientProfile("x", age=66.0, sex="F", conditions=own, measurements={"heart_rate": heart_rate})
    return EcgSampler(load(find("ecg")), encoder.columns), Batch((profile,), encoder.encode([profile]), (5,))


def test_the_record_is_how_the_shipped_stream_begins() -> None:
    sampler, batch = shipped()
    record = sampler.sample(batch)[0]
    stream = sampler.stream(batch.profiles[0], batch.condition[0], batch.seeds[0])
    first, beats = next(stream)
    np.testing.assert_array_equal(first, record.arrays["ecg"])
    assert len(beats) == record.facts["beats"]
    assert next(stream)[0].shape == (12, 5000)


def test_fibrillation_has_no_p_wave() -> None:
    for present in (False, True):
        sampler, batch = shipped(I48_91=present)
        symbols = {symbol for _, symbol in sampler.sample(batch)[0].facts["waves"]}
        assert ("p" in symbols) is not present


def test_ventricular_beats_are_marked_or_refused() -> None:
    sampler, batch = shipped(I49_3=True)
    kinds = "".join(sampler.sample(replace(batch, seeds=(seed,)))[0].facts["kinds"] for seed in range(6))
    assert set(kinds) == set("NV")
    sampler.ectopic = None
    with pytest.raises(InputError, match=r"I49\.3: the ECG weights were trained without"):
        sampler.sample(batch)


@pytest.mark.parametrize(
    ("heart_rate", "conducted"), [(150.0, {2}), (100.0, {3}), (75.0, {4}), (52.0, {5, 6})]
)
def test_flutter_is_a_sawtooth_with_whole_waves_to_a_beat(heart_rate: float, conducted: set[int]) -> None:
    """Its waves are those of 200 to 400 a minute in II, III, aVF and V1, next to nothing in I, and have no P wave."""
    sampler, batch = shipped(heart_rate, I48_92=True)
    for seed in range(4):
        record = sampler.sample(replace(batch, seeds=(seed,)))[0]
        assert (record.facts["rhythm"], record.facts["rhythm_basis"]) == ("atrial flutter", "rule-based")
        assert "p" not in {symbol for _, symbol in record.facts["waves"]}
        assert record.facts["heart_rate"] == pytest.approx(heart_rate, abs=3)
        drawn = sampler.source(batch.profiles[0], batch.condition[0], seed)
        assert drawn.atria is not None
        time = np.arange(5000) / RATE
        saw = drawn.atria(time)
        spectrum = np.abs(np.fft.rfft(saw[1]))
        waves = 6 * float(np.argmax(spectrum))  # a minute, of ten seconds
        assert 200 <= waves <= 400
        assert round(waves / heart_rate) in conducted
        gaps = np.diff([beat.at for beat in islice(drawn.beats, 40)]) * waves / 60
        assert np.abs(gaps - np.rint(gaps)).max() < 0.1
        size = np.ptp(saw, axis=1)
        assert size[1] > 0.1
        assert size[2] > 0.25 * size[1]  # V1
        assert np.ptp(saw[1] - saw[0]) > 0.6 * size[1]  # III
        assert size[0] < 0.25 * size[1]
        assert np.diff(saw[1]).max() > -1.2 * np.diff(saw[1]).min()  # sinks slowly, comes back steeply


def test_flutter_may_conduct_now_more_now_less() -> None:
    sampler, batch = shipped(75.0, I48_92=True)
    varied = 0
    for seed in range(20):
        gaps = np.diff(sampler.sample(replace(batch, seeds=(seed,)))[0].arrays["r_peaks"])
        varied += bool(np.ptp(gaps) > 40)
    assert 2 <= varied <= 12


def test_impossible_flutter_is_one_clear_line() -> None:
    sampler, batch = shipped(230.0, I48_92=True)
    with pytest.raises(InputError, match="heart rate 230: atrial flutter has 34 to 200 a minute"):
        sampler.sample(batch)
    sampler, batch = shipped(I48_92=True, I48_91=True)
    with pytest.raises(
        InputError, match=r"x: atrial fibrillation \(I48\.91\) and atrial flutter \(I48\.92\) at once"
    ):
        sampler.sample(batch)


def test_a_diagnosis_that_the_profile_leaves_open_is_absent() -> None:
    """A patient of whom little is known has no bit of every disease."""
    codes = (
        "I25.2",
        "I44.7",
        "I45.10",
        "I48.91",
        "I49.1",
        "I49.3",
        "I51.7",
        "R00.0",
        "R00.1",
        "R94.31",
        "Z95.0",
    )
    sampler, batch = shipped()
    healthy = shipped(**dict.fromkeys((code.replace(".", "_") for code in codes), False))[1]
    np.testing.assert_array_equal(
        sampler._code(batch.condition[0], 0), sampler._code(healthy.condition[0], 0)
    )
    other = EcgSampler(load(find("ecg")), ProfileEncoder().columns, "ludb")
    unknown = other._code(batch.condition[0], 0)
    place = other.card.columns.index("R94.31?")
    assert unknown[place] == 0  # LUDB has no label of it: there it is unknown in all


def test_followed_beats_keep_count_of_a_changing_rate() -> None:
    def rate(time: float) -> float:
        return 60 + 30 * np.sin(time / 300)

    drawn = draw_beats(np.random.default_rng(3), 75, 60, SINUS, Variability(), 10.0, Ectopy({"V": 0.1}))
    beats = list(takewhile(lambda beat: beat.at < 3600, follow_rate(
        drawn, 75, rate, lambda time: False, np.random.default_rng(4)
    )))  # fmt: skip
    for first in range(0, 3600, 600):
        asked = np.mean([rate(second) for second in range(first, first + 600)]) * 10
        assert sum(first <= beat.at < first + 600 for beat in beats) == pytest.approx(asked, rel=0.02)
    assert all(b.at == pytest.approx(a.at + a.interval) for a, b in pairwise(beats))


def test_an_unknown_device_is_refused() -> None:
    with pytest.raises(InputError, match="expected one of ptbxl500, ludb, got 'nobody'"):
        load_modality("signals", {"device": "nobody"}).generator(ProfileEncoder().columns)


# -- in episodes, paced, sinus arrhythmia


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("share", [{"V": 0.06}, {"A": 0.06}, {"V": 0.06, "A": 0.06}])
def test_an_early_beat_that_is_diagnosed_is_seen(share: dict[str, float], seed: int) -> None:
    drawn = draw_beats(np.random.default_rng(seed), 66, 60, SINUS, Variability(), 10.0, Ectopy(share))
    shown = [beat for beat in takewhile(lambda beat: beat.at < 10, drawn) if beat.at >= 0]
    assert {beat.kind for beat in shown} >= set(share)
    assert abs(60 / np.median(np.diff([beat.at for beat in shown])) - 66) < 3


def test_sinus_arrhythmia_sways_more_than_sinus_rhythm() -> None:
    def spread(**conditions: bool) -> float:
        sampler, batch = shipped(64, **conditions)
        gaps = [np.diff(sampler.sample(replace(batch, seeds=(s,)))[0].arrays["r_peaks"]) for s in range(12)]
        return float(np.median([own.std() / own.mean() for own in gaps]))

    assert spread(I49_8=True) > 1.5 * spread()
    sampler, batch = shipped(I49_8=True)
    assert sampler.sample(batch)[0].facts["rhythm"] == SINUS


def test_learnt_variability_of_each_rhythm_is_its_own() -> None:
    rng, names = np.random.default_rng(2), (SINUS, ARRHYTHMIA, FIBRILLATION) * 20
    spread = {SINUS: 0.02, ARRHYTHMIA: 0.07, FIBRILLATION: 0.2}
    peaks = [np.cumsum(rng.normal(400, 400 * spread[name], 40)).astype(np.int64) for name in names]
    model = Variability.fit(peaks, RATE, rng.uniform(30, 80, len(names)), names)
    assert model.level < model.arrhythmia < model.fibrillation


def episodic(seconds: float = 120) -> tuple[EcgSampler, Batch]:
    batch = shipped(80, I48_91=True)[1]
    return EcgSampler(load(find("ecg")), ProfileEncoder().columns, None, seconds, paroxysmal=True), batch


@pytest.mark.parametrize("seed", range(4))
def test_paroxysmal_fibrillation_comes_and_goes(seed: int) -> None:
    """P waves and even intervals until an episode, none in it; changes are marked where they are."""
    sampler, batch = episodic()
    record = sampler.sample(replace(batch, seeds=(seed,)))[0]
    assert (record.facts["rhythm"], record.facts["rhythm_basis"]) == (FIBRILLATION, "rule-based")
    changes = record.facts["rhythm_changes"]
    assert [name for _, name in changes] == [(SINUS, FIBRILLATION)[k % 2] for k in range(len(changes))]
    assert len(changes) > 1
    assert record.facts["heart_rate"] == pytest.approx(80, abs=3)
    p = np.array([n for n, symbol in record.facts["waves"] if symbol == "p"])
    ends = [first for first, _ in changes[1:]] + [record.arrays["ecg"].shape[1]]
    for (first, name), end in zip(changes, ends, strict=True):
        peaks = record.arrays["r_peaks"]
        gaps = np.diff(peaks[(peaks >= first) & (peaks < end)])
        uneven = np.abs(np.diff(gaps)).mean() / gaps.mean()
        atrial = ((p >= first) & (p < end - 200)).sum()
        assert (uneven > 0.1) == (name == FIBRILLATION)
        assert atrial <= 1 if name == FIBRILLATION else atrial >= 0.8 * len(gaps)


@pytest.mark.parametrize("seed", range(10))
def test_an_episode_begins_in_the_record_and_lasts(seed: int) -> None:
    when = Paroxysms(np.random.default_rng(seed), 60)
    held = np.array([when.on(second) for second in range(5000)])
    starts, stops = (np.flatnonzero(np.diff(held.astype(int)) == step) + 1 for step in (1, -1))
    assert 10 <= starts[0] <= 30
    assert (stops - starts[: len(stops)] >= 30).all()
    assert (starts[1:] - stops[: len(starts) - 1] >= 20).all()
    assert [(at, name == FIBRILLATION) for at, name in when.changes(5000)] == [
        (0.0, False), *((float(at), bool(held[at])) for at in np.flatnonzero(np.diff(held.astype(int))) + 1)
    ]  # fmt: skip


def test_an_episodic_stream_goes_on_from_its_record() -> None:
    sampler, batch = episodic(60)
    record = sampler.sample(batch)[0]
    stream = sampler.stream(batch.profiles[0], batch.condition[0], batch.seeds[0])
    first = np.concatenate([leads for leads, _ in islice(stream, 6)], axis=1)
    np.testing.assert_array_equal(first, record.arrays["ecg"])


def test_live_episodes_follow_the_vitals_heart_rate() -> None:
    sampler, batch = episodic(60)
    live = ContinuousEcg(sampler, batch, 250, Noise(), lambda time, own: 95.0)
    assert sum(len(live.take()[1]) for _ in range(240)) / 4 == pytest.approx(95, abs=2)
    with pytest.raises(InputError, match="x has fibrillation in episodes"):
        ContinuousEcg(sampler, batch, 250, Noise(), lambda time, own: 95.0, lambda time: time > 9)


def test_short_ecgs_have_no_room_for_an_episode() -> None:
    with pytest.raises(InputError, match="paroxysmal needs an ECG of 60 s or more; set seconds too"):
        load_modality("signals", {"paroxysmal": True})


@pytest.mark.parametrize(
    ("conditions", "mark"),
    [
        ({"I44_7": True}, "L"),
        ({"I45_10": True}, "R"),
        ({"Z95_0": True}, "/"),
        ({"Z95_0": True, "I44_7": True}, "/"),
        ({}, "N"),
    ],
)
def test_own_beats_are_marked_by_what_conducts_them(
    conditions: dict[str, bool], mark: str, tmp_path: Path
) -> None:
    sampler, batch = shipped(**conditions)
    record = sampler.sample(batch)[0]
    assert set(record.facts["kinds"]) == {mark}
    assert record.facts.get("pacing_basis") == ("rule-based" if mark == "/" else None)
    signals = load_modality("signals", {})
    signals.export([record], batch.profiles, tmp_path)
    found = signals.read(tmp_path, ["x"])["x"].facts
    assert {name: found.get(name) for name in ("kinds", "pacing_basis")} == {
        name: record.facts.get(name) for name in ("kinds", "pacing_basis")
    }


def test_a_paced_heart_beats_evenly_behind_its_spikes() -> None:
    """Ahead of each beat is the steepest change of the trace, over within two samples."""
    sampler, batch = shipped(70, Z95_0=True)
    plain = replace(batch, profiles=(batch.profiles[0].but(conditions={"Z95.0": False}),))
    seen = 0
    for seed in range(6):
        record = sampler.sample(replace(batch, seeds=(seed,)))[0]
        peaks = record.arrays["r_peaks"]
        assert np.diff(peaks).std() < 0.02 * np.diff(peaks).mean()
        drawn = sampler.source(batch.profiles[0], batch.condition[0], seed)
        assert drawn.spikes is not None
        bend = np.abs(np.diff(record.arrays["ecg"].astype(np.float64), 2, axis=1)).max(0)
        spots = np.rint(peaks - drawn.spikes.ahead * RATE).astype(int)
        spots = spots[(spots > 5) & (spots < 4990)]
        near = np.max([bend[spots + k] for k in range(-3, 2)], axis=0)
        seen += bool(np.median(near) > 3 * np.quantile(bend, 0.98))
    assert seen >= 5
    assert sampler.source(plain.profiles[0], plain.condition[0], 0).spikes is None


def test_a_pacemaker_paces_at_a_plausible_rate_unless_another_is_stated() -> None:
    sampler, batch = shipped(104, Z95_0=True, I48_91=True)
    (patient,) = batch.profiles
    unstated = replace(patient, measurements={})
    rates = [sampler.source(unstated, batch.condition[0], seed).rate for seed in range(40)]
    assert 60 <= min(rates) < max(rates) <= 90
    assert sampler.source(patient, batch.condition[0], 0).rate == 104


def test_a_spike_may_lie_across_two_blocks() -> None:
    spikes = Spikes(np.random.default_rng(4), -0.04)
    for peak in np.linspace(0.9, 1.2, 61):
        whole, first, second = np.zeros((8, 1000)), np.zeros((8, 500)), np.zeros((8, 500))
        spikes.add(whole, 0.0, peak, RATE)
        spikes.add(first, 0.0, peak, RATE)
        spikes.add(second, 1.0, peak, RATE)
        np.testing.assert_allclose(np.concatenate([first, second], axis=1), whole, atol=1e-9)
        assert (np.abs(whole).sum(0) > 0).sum() in (1, 2)
