"""An ECG that goes on from the morphology of a patient and follows the hours of the vitals."""

import numpy as np
import pytest

from polyclinic import Batch, Population, ProfileEncoder
from polyclinic.app.stream.ward import WardRequest, ward_of_cohort, ward_of_population
from polyclinic.core.cohort.cohort import Cohort
from polyclinic.core.errors import InputError
from polyclinic.core.modality import Record
from polyclinic.core.pipeline import generate
from polyclinic.core.profile import PatientProfile
from polyclinic.core.registry import load_modality
from polyclinic.core.training.weights import digest, find, load
from polyclinic.modalities.signals.ecg.sampler import EcgSampler
from polyclinic.modalities.signals.live.monitor import Monitor
from polyclinic.modalities.signals.live.rules import RULES


def drawn_from(number=0, conditions=None, heart_rate=75.0, seed=3):
    """A profile, the sampler of the shipped weights, and the row of a record."""
    encoder = ProfileEncoder()
    codes = ("I25.2", "I44.7", "I45.10", "I48.91", "I49.1", "I49.3", "I51.7", "Z95.0", "R94.31")
    known = {**dict.fromkeys(codes, False), **(conditions or {})}
    own = PatientProfile(
        f"PC-{number}", age=60.0, sex="F", conditions=known, measurements={"heart_rate": heart_rate}
    )
    return EcgSampler(load(find("ecg")), encoder.columns), Batch((own,), encoder.encode([own]), (seed,))


def drawn_monitor(origin, rules=(), rate=500, vitals=None, start=0):
    ecg = origin[0].sample(origin[1])[0]
    arrays = {**ecg.arrays, **({} if vitals is None else {"vitals": vitals})}
    return Monitor(
        origin[1].profiles[0], Record(arrays, ecg.facts), 3, signals=("ecg", "vitals"), rate=rate, rules=rules,
        origin=origin, start=start,
    )  # fmt: skip


def traced(own, seconds):
    """(12, sample) microvolts, and R peaks in samples."""
    parts, peaks = [], []
    for second in range(seconds):
        leads, inside = own.ecg(second)
        peaks += [own.rate * second + peak for peak in inside]
        parts.append(np.stack(list(leads.values())))
    return np.concatenate(parts, axis=1).astype(int), np.array(peaks)


def hours(rates):
    """A chart with these heart rates and steady other vitals."""
    rest = np.tile([[96, 37, 120, 85, 70, 16]], (len(rates), 1))
    return np.column_stack([rates, rest]).astype(np.float32)


def test_without_vitals_the_record_is_how_the_stream_begins_and_it_never_repeats():
    origin = drawn_from()
    record = origin[0].sample(origin[1])[0]
    leads, peaks = traced(drawn_monitor(origin), 40)
    assert np.array_equal(leads[:, :5000], np.rint(record.arrays["ecg"] * 1000))
    assert peaks[: record.facts["beats"]].tolist() == record.arrays["r_peaks"].tolist()
    for later in (5000, 10000, 15000):
        assert not np.array_equal(leads[:, :5000], leads[:, later : later + 5000])
    steps = np.abs(np.diff(leads, axis=1))
    assert (steps[:, 4999::5000].max(1) <= steps.max(1)).all()
    assert np.array_equal(leads[2], leads[1] - leads[0])


def test_the_drawn_heart_follows_the_hours():
    """Hour by hour the ECG has the heart rate of the vitals, over the turn of the hour too."""
    origin = drawn_from()
    own = drawn_monitor(origin, vitals=hours([60, 110, 80]), start=3600 - 120)
    shown = [own.vitals(second)["HR"] for second in range(240)]
    _, peaks = traced(own, 240)
    for part in (slice(0, 120), slice(120, 240)):
        first, end = 500 * part.start, 500 * part.stop
        inside = peaks[(peaks >= first) & (peaks < end)]
        assert 60 * 500 / np.mean(np.diff(inside)) == pytest.approx(np.mean(shown[part]), abs=1.5)


def test_half_the_rate_is_the_same_drawn_trace():
    origin = drawn_from()
    fast, peaks = traced(drawn_monitor(origin), 25)
    slow, same = traced(drawn_monitor(origin, rate=250), 25)
    assert slow.shape == (12, 25 * 250)
    assert np.abs(same - peaks / 2).max() <= 1
    smooth = (fast[:, 1:-2:2] + 2 * fast[:, 2:-1:2] + fast[:, 3::2]) / 4
    assert np.median(np.abs(slow[:, 1:-1] - smooth[:, : slow.shape[1] - 2])) < 6
    assert np.array_equal(slow[2], slow[1] - slow[0])


def test_a_rule_turns_a_drawn_heart_to_fibrillation_and_back():
    rule = RULES["atrial_fibrillation"](at=60, lasts=60, rate=130)
    origin = drawn_from()
    plain, _ = traced(drawn_monitor(origin, vitals=hours([75.0])), 180)
    leads, peaks = traced(drawn_monitor(origin, [rule], vitals=hours([75.0])), 180)
    irregular, p_wave = [], []
    for first in (0, 60, 120):
        inside = peaks[(peaks > 500 * first + 1500) & (peaks < 500 * (first + 60) - 1500)]
        gaps = np.diff(inside) / 500
        irregular.append(np.std(gaps) / np.mean(gaps))
        beat = np.mean([leads[1, n - 110 : n - 30] for n in inside], axis=0)
        p_wave.append(np.ptp(beat))
    assert irregular[1] > 0.12 > 2 * max(irregular[0], irregular[2])
    assert p_wave[1] < 0.6 * min(p_wave[0], p_wave[2])
    assert np.array_equal(plain[:, : 500 * 55], leads[:, : 500 * 55])


def test_what_a_drawn_monitor_holds_is_bounded():
    origin = drawn_from()
    own = drawn_monitor(origin, vitals=hours([75.0, 80.0]))
    held = own._second.__self__
    sizes = []
    for second in range(60):
        own.ecg(second)
        sizes.append(held._samples.shape[1])
    assert max(sizes) <= 2 * 5000 + 500
    assert len(held._peaks) < 60


def test_a_flutter_cannot_be_turned_to_fibrillation():
    origin = drawn_from(conditions={"I48.92": True})
    rule = RULES["atrial_fibrillation"](at=60)
    with pytest.raises(InputError, match="PC-0 has atrial flutter, which the scenario's atrial_fibrillation"):
        drawn_monitor(origin, [rule])


def test_a_flutter_follows_the_hours_by_its_conduction():
    origin = drawn_from(conditions={"I48.92": True})
    own = drawn_monitor(origin, vitals=hours([75.0, 100.0]))
    _, peaks = traced(own, 120)
    assert 60 * 500 / np.mean(np.diff(peaks)) == pytest.approx(75, abs=3)


def test_a_cohort_goes_on_as_it_was_drawn_and_replays_with_other_weights(tmp_path):
    """The same ECG whether the ward is drawn now or read back; without its weights, the record over and over."""
    encoder, modality = ProfileEncoder(), load_modality("signals")
    population = Population.load("icu")
    drawn = list(generate([population.patient(0, 5)], [modality], encoder, 5))
    header = {
        "seed": 5, "patients": 1, "population": {"name": "icu"},
        "modalities": {"signals": {"weights": modality.weights()}},
        "weights": {name: digest(find(name)) for name in modality.weights()},
    }  # fmt: skip
    for name, same in (("same", True), ("other", False)):
        if not same:
            header["weights"]["ecg"] = "0" * 64
        made = Cohort.create(tmp_path / name, header)
        with made.writing():
            made.write_slice(0, drawn, [modality])
            made.finish([modality])
        source = ward_of_cohort(tmp_path / name, WardRequest(1, 0)).beds[0].source
        assert ("continued" in source.describe()["ecg"]["origin"]) is same
        if same:
            now = ward_of_population("icu", WardRequest(1, 5)).beds[0].source
            for second in range(12):
                assert now.vitals(second) == source.vitals(second)
                assert all(np.array_equal(a, b) for a, b in zip(
                    now.ecg(second)[0].values(), source.ecg(second)[0].values(), strict=True
                ))  # fmt: skip
