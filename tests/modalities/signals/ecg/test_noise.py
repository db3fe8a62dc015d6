"""Noise on a dial as a stream: any chunk the same, a record its beginning, live ECGs the record continued."""

import json
import re
import sys
import tracemalloc
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from polyclinic import Batch, PatientProfile, Population, ProfileEncoder, load_modality
from polyclinic.app import cli
from polyclinic.app.stream.ward import WardRequest, ward_of_cohort, ward_of_population
from polyclinic.core.cohort.cohort import Cohort
from polyclinic.core.modality import Record
from polyclinic.core.pipeline import Patient, generate
from polyclinic.core.training.weights import digest, find, load
from polyclinic.modalities.signals.artefacts import BLOCK, Artefacts, Noise, add
from polyclinic.modalities.signals.ecg.sampler import EcgSampler
from polyclinic.modalities.signals.layout import ELECTRODES, LEADS
from polyclinic.modalities.signals.leads import TWELVE
from polyclinic.modalities.signals.live.continuous import LOWPASS
from polyclinic.modalities.signals.live.monitor import Monitor
from polyclinic.modalities.signals.live.rules import RULES

DIALS = {"wander": 0.3, "muscle": 0.1, "mains": 0.05, "lead_off": 0.1}
SECONDS = 25  # of the records, so that they end within a block
Origin = tuple[EcgSampler, Batch]
Leads = NDArray[np.int64]


def stream(seed: int = 1, **dials: Any) -> Artefacts:
    return Artefacts(Noise(**(dials or DIALS)), "P", seed)


@pytest.fixture(scope="module")
def origin() -> Origin:
    """The sampler of the shipped weights, and the row of a record."""
    encoder = ProfileEncoder()
    own = PatientProfile("PC-0", age=60.0, sex="F", measurements={"heart_rate": 75.0})
    return EcgSampler(load(find("ecg")), encoder.columns, seconds=SECONDS), Batch(
        (own,), encoder.encode([own]), (3,)
    )


@pytest.fixture(scope="module")
def clean(origin: Origin) -> Record:
    return origin[0].sample(origin[1])[0]


def recorded(origin: Origin, clean: Record, noise: Noise) -> Record:
    """The record as it stands on the disk."""
    return add(clean, origin[1].profiles[0], origin[1].seeds[0], noise)


def monitor(origin: Origin, clean: Record, noise: Noise, rate: int = 500, rules: Any = ()) -> Monitor:
    """Of a patient without a charted heart rate, so that nothing steers the heart."""
    who = origin[1].profiles[0]
    return Monitor(who, clean, 3, signals=("ecg",), rate=rate, rules=rules, origin=origin, noise=noise)


def traced(own: Monitor, seconds: int) -> tuple[Leads, Leads]:
    """(12, sample) microvolts, and R peaks in samples."""
    parts, peaks = [], []
    for second in range(seconds):
        leads, inside = own.ecg(second)
        parts.append(np.stack([row for row in leads.values() if row is not None]))
        peaks += [own.rate * second + peak for peak in inside]
    return np.concatenate(parts, axis=1).astype(np.int64), np.array(peaks)


# -- the stream


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 3 * BLOCK), min_size=1, max_size=6), st.integers(0, 50))
def test_chunks_of_any_length_are_the_same_stream(lengths: list[int], seed: int) -> None:
    whole, parts = stream(seed), stream(seed)
    np.testing.assert_array_equal(
        np.concatenate([parts.take(n) for n in lengths], axis=1), whole.take(sum(lengths))
    )
    cut = [episode for n in lengths for episode in parts.off(n)]
    for one in whole.off(sum(lengths)):  # an episode comes in pieces, one a chunk, without a gap
        pieces = [piece for piece in cut if piece[0] == one[0] and one[1] <= piece[1] and piece[2] <= one[2]]
        assert (pieces[0][1], pieces[-1][2]) == one[1:]
        assert all(before[2] == after[1] for before, after in pairwise(pieces))
        cut = [piece for piece in cut if piece not in pieces]
    assert not cut


@pytest.mark.parametrize("samples", [1, 700, BLOCK, 2 * BLOCK + 1])
def test_a_short_record_is_how_a_long_one_begins(samples: int) -> None:
    def drawn(length: int) -> Record:
        flat = Record({"ecg": np.zeros((12, length), np.float32)})
        return add(flat, PatientProfile("P"), 4, Noise(**{**DIALS, "lead_off": 0.6}))

    long, short = drawn(10 * BLOCK), drawn(samples)
    np.testing.assert_array_equal(short.arrays["ecg"], long.arrays["ecg"][:, :samples])
    begun = [[name, a, min(b, samples)] for name, a, b in long.facts["lead_off"] if a < samples]
    assert short.facts.get("lead_off", []) == begun


@pytest.mark.parametrize("dial", ["wander", "muscle", "mains"])
def test_hours_later_it_is_as_loud_and_has_no_seam(dial: str) -> None:
    power, borders, steps = [], [], []
    for seed in range(30):
        own = stream(seed, **{dial: 0.2})
        own.take(10 * BLOCK)
        later = own.take(15 * BLOCK)
        power.append(np.square(later).mean(1))
        jump = np.square(np.diff(later, 2, axis=1))
        borders.append(jump[:, BLOCK - 2 :: BLOCK].mean())
        steps.append(jump.mean())
    rms = np.sqrt(np.mean(power, axis=0))
    np.testing.assert_allclose(rms, 0.2 * np.sqrt([1, 1, *[2 / 3] * 6]), rtol=0.25)
    assert np.mean(borders) == pytest.approx(np.mean(steps), rel=0.35)


@pytest.mark.parametrize("share", [0.02, 0.5])
def test_hours_later_electrodes_are_off_for_their_share(share: float) -> None:
    own, hour = stream(2, lead_off=share), 3600 * 500
    own.off(hour)
    found = own.off(10 * hour)
    assert sum(end - first for _, first, end in found) / (10 * hour) == pytest.approx(share, rel=0.15)
    assert {name for name, _, _ in found} == set(ELECTRODES)
    assert all(a[2] < b[1] for a, b in pairwise(found))  # one at a time


def test_a_long_stream_takes_no_more_memory_than_a_short_one() -> None:
    def peak(blocks: int) -> int:
        own = stream()
        own.take(1)
        tracemalloc.start()
        for _ in range(blocks):
            own.take(BLOCK)
            own.off(BLOCK)
        held = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return held

    for _ in range(3):  # what a process makes at first use is no growth
        peak(300)
    assert peak(300) < peak(5) + 50_000


# -- live


@pytest.mark.parametrize("level", ["flat", "rail"])
def test_the_live_ecg_is_the_record_continued(origin: Origin, clean: Record, level: str) -> None:
    noise = Noise.model_validate({**DIALS, "lead_off": 0.6, "lead_off_level": level})
    record = recorded(origin, clean, noise)
    assert record.facts["lead_off"]
    leads, peaks = traced(monitor(origin, clean, noise), SECONDS + 20)
    end = SECONDS * 500
    np.testing.assert_array_equal(leads[:, :end], np.rint(record.arrays["ecg"] * 1000))
    assert peaks[peaks < end].tolist() == record.arrays["r_peaks"].tolist()
    bare, _ = traced(monitor(origin, clean, Noise()), SECONDS + 20)
    own = Artefacts(noise, "PC-0", 3)
    added = own.take(leads.shape[1])[1] * 1000
    lost = np.zeros(leads.shape, dtype=bool)
    for electrode, first, last in own.off(leads.shape[1]):
        lost[TWELVE.lost(electrode), first:last] = True
    assert lost[:, end:].any()
    assert (leads[lost] == noise.lost * 1000).all()
    there = ~lost[1]
    assert np.abs(leads[1] - bare[1] - added)[there].max() <= 2


def test_at_half_the_rate_noise_is_filtered_and_the_same_leads_are_lost(
    origin: Origin, clean: Record
) -> None:
    from scipy.signal import lfilter

    noise = Noise.model_validate({**DIALS, "lead_off": 0.3, "lead_off_level": "rail"})
    quiet = noise.model_copy(update={"lead_off": 0.0})
    fast, peaks = traced(monitor(origin, clean, quiet), 30)
    slow, same = traced(monitor(origin, clean, noise, 250), 30)
    assert np.abs(same - peaks / 2).max() <= 1
    delay = len(LOWPASS) // 2
    smooth = lfilter(LOWPASS, 1, fast, axis=1)[:, delay:][:, ::2]
    lost = np.zeros(slow.shape, dtype=bool)
    for electrode, first, end in Artefacts(noise, "PC-0", 3).off(fast.shape[1]):
        lost[TWELVE.lost(electrode), -(-first // 2) : -(-end // 2)] = True
    assert lost.any()
    assert (slow[lost] == 10_000).all()
    close = slow[:, 50 : smooth.shape[1]] - smooth[:, 50:]
    assert np.abs(close[~lost[:, 50 : smooth.shape[1]]]).max() <= 4  # rounding, before and after the filter


def test_noise_is_the_same_whatever_steers_the_heart(origin: Origin, clean: Record) -> None:
    """Hours of another heart rate, and fibrillation by rule, under the very same noise."""
    vitals = np.tile(np.array([110, 96, 37, 120, 85, 70, 16], np.float32), (2, 1))
    record = Record({**clean.arrays, "vitals": vitals}, clean.facts)
    rules = [RULES["atrial_fibrillation"](at=5)]
    noise = Noise(**{**DIALS, "lead_off": 0.0})
    noisy, bare = (traced(monitor(origin, record, dials, rules=rules), 20)[0] for dials in (noise, Noise()))
    added = Artefacts(noise, "PC-0", 3).take(noisy.shape[1]) * 1000
    assert np.abs(noisy[1] - bare[1] - added[1]).max() <= 2
    assert np.array_equal(noisy[2], noisy[1] - noisy[0])


def test_a_scenarios_electrode_goes_before_the_dials(origin: Origin, clean: Record) -> None:
    rule = RULES["lead_off"](at=1, lasts=2, electrode="V3")
    own = monitor(origin, clean, Noise(lead_off=0.9), rules=[rule])
    for second in range(5):
        leads, _ = own.ecg(second)
        assert {name for name, row in leads.items() if row is None} == ({"V3"} if 1 <= second < 3 else set())
        assert tuple(leads) == LEADS


def test_metadata_say_what_noise_is_put_on(origin: Origin, clean: Record) -> None:
    said = monitor(origin, clean, Noise.model_validate({"mains": 0.05, "mains_hz": 60})).describe()["ecg"]
    assert said["noise"] == {"mains": 0.05, "mains_hz": 60}
    assert said["rule_based"].endswith("; noise")
    said = monitor(origin, clean, Noise(lead_off=0.1)).describe()["ecg"]
    assert said["noise"] == {"lead_off": 0.1, "lead_off_level": "flat"}
    quiet = monitor(origin, clean, Noise()).describe()["ecg"]
    assert "noise" not in quiet
    assert "noise" not in quiet["rule_based"]


# -- the command


def test_a_cohort_goes_on_with_the_noise_that_it_was_drawn_with(tmp_path: Path) -> None:
    """As its manifest says; the same ward drawn now has the same."""
    options = {"noise": DIALS}
    encoder, modality = ProfileEncoder(), load_modality("signals", options)
    population = Population.load("icu")
    (drawn,) = generate([population.patient(0, 5)], [modality], encoder, 5)
    whole = drawn.records["signals"]
    unsteered = Record({name: whole.arrays[name] for name in ("ecg", "r_peaks")}, whole.facts)
    header = {
        "seed": 5, "patients": 1, "population": {"name": "icu"},
        "modalities": {"signals": {"weights": modality.weights(), "options": options}},
        "weights": {name: digest(find(name)) for name in modality.weights()},
    }  # fmt: skip
    for name, record in (("charted", whole), ("unsteered", unsteered)):
        made = Cohort.create(tmp_path / name, header)
        with made.writing():
            made.write_slice(0, [Patient(drawn.profile, {"signals": record})], [modality])
            made.finish([modality])
    source = ward_of_cohort(tmp_path / "unsteered", WardRequest(1, 0)).beds[0].source
    leads = [
        np.stack([row for row in source.ecg(second)[0].values() if row is not None]) for second in range(10)
    ]
    np.testing.assert_array_equal(np.concatenate(leads, axis=1), np.rint(whole.arrays["ecg"] * 1000))
    assert source.describe()["ecg"]["noise"]["wander"] == DIALS["wander"]
    there = ward_of_cohort(tmp_path / "charted", WardRequest(1, 0)).beds[0].source
    now = ward_of_population("icu", WardRequest(1, 5, options=options)).beds[0].source
    for second in range(12):
        one, other = there.ecg(second), now.ecg(second)
        assert one[1] == other[1]
        assert all(np.array_equal(one[0][lead], other[0][lead]) for lead in LEADS)


def test_a_stream_of_patients_drawn_now_takes_settings(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    where = ["--cohort", "icu", "--patients", "1", "--to", "-?rate=250", "--speed", "max", "--seconds", "3"]
    own = ["--signals", "ecg", "--set", "signals.noise={mains: 1, lead_off: 0.9}"]
    monkeypatch.setattr(sys, "argv", ["polyclinic", "stream", *where, *own])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    messages = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    said = next(m for m in messages if m["signal"] == "meta")["signals"]["ecg"]["noise"]
    assert said == {"mains": 1.0, "mains_hz": 50, "lead_off": 0.9, "lead_off_level": "flat"}
    shown = np.stack([m["leads"]["V1"] for m in messages if m["signal"] == "ecg"])
    assert shown.shape == (3, 250)
    assert np.abs(shown).max() > 300 or not shown.any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cohort", "icu", "--set", "imaging.iod=CR"], "--set imaging: a stream takes settings of signals alone"),
        (["c", "--set", "signals.noise={}"], "--set signals.noise: c keeps the settings it was drawn with"),
        (["--cohort", "icu", "--set", "signals.noise={hum: 1}"], "unknown key 'noise.hum'"),
        (["--cohort", "icu", "--set", "signals"], "--set expects modality.key=value, got 'signals'"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be_are_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["polyclinic", "stream", "--to", "-", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    err = capsys.readouterr().err
    assert ended.value.code == 2
    assert re.search(re.escape(message), err)
    assert len(err.splitlines()) == 1
