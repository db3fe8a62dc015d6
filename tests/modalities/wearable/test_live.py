"""Wearables live: the day on file, goes on past midnight, only what is new, and the pulse."""

import json
from pathlib import Path

import numpy as np
import pytest
from cases.worn import WELL, draw, ecg

import polyclinic as pc
from polyclinic.modalities.wearable import Wearable
from polyclinic.modalities.wearable.live import LiveWearable


def live(signals: tuple[str, ...] = ("vitals",), start: int = 0) -> LiveWearable:
    record = draw(WELL, ecg(62), days=1, device="watch,cgm")
    return Wearable({"device": "watch,cgm"}).live(WELL, record, 3, signals=signals, start=start, rate=500)


def test_the_first_day_is_that_of_the_file() -> None:
    told = draw(WELL, ecg(62), days=1, device="watch,cgm").arrays
    source = live(start=7 * 3600)
    for second in range(0, 3600):
        said, place = source.vitals(second), 7 * 3600 + second
        value = told["watch/heart_rate"][place // 5]
        assert said.get("watch/heart_rate") == (value if place % 5 == 0 and np.isfinite(value) else None)
        assert ("cgm/glucose" in said) <= (place % 300 == 0)


def test_it_goes_on_past_midnight() -> None:
    source = live(start=86_390)
    values = [source.vitals(second).get("watch/heart_rate") for second in range(30)]
    known = [value for value in values if value is not None]
    assert len(known) >= 4
    assert max(known) - min(known) < 15


def test_the_pulse_follows_the_beats() -> None:
    source = live(("ppg",), start=3 * 3600)
    seconds = [source.ppg(second) for second in range(60)]
    wave = np.concatenate([waves["wrist"] for waves, _ in seconds])
    peaks = sum(len(peaks) for _, peaks in seconds)
    assert wave.shape == (60 * 64,)
    assert 40 <= peaks <= 75
    rises = np.flatnonzero((wave[1:] > wave.mean()) & (wave[:-1] <= wave.mean()))
    assert abs(len(rises) - peaks) <= 0.25 * peaks


@pytest.mark.parametrize("fhir", [False, True])
def test_a_ward_of_wearables_is_streamed(capfd: pytest.CaptureFixture[str], fhir: bool) -> None:
    how = {
        "patients": 2,
        "seconds": 65,
        "speed": "max",
        "modality": "wearable",
        "start": "08:00",
        "fhir": fhir,
    }
    tally = pc.stream("icu", "-", signals="vitals,ppg", options={"wearable": {"device": "patch,cgm"}}, **how)
    said = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    own = [one for one in said if one.get("signal") not in ("meta", "status")]
    assert len(own) == tally.sent
    if fhir:
        assert sum(one["resourceType"] == "Observation" for one in own) == tally.sent
        return
    pulses = [one for one in own if one["signal"] == "ppg"]
    assert len(pulses) == 130
    assert all(len(one["waves"]["finger"]) == one["rate"] == 64 for one in pulses)
    values = [one["values"] for one in own if one["signal"] == "vitals"]
    assert all(values)
    assert any("patch/heart_rate" in value for value in values)
    assert sum("cgm/glucose" in value for value in values) <= 2


def test_a_cohort_goes_on_with_its_own_day(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "cohort"
    options = {"wearable": {"days": 1, "device": "patch"}}
    pc.generate_cohort(
        "adults", patients=1, seed=2, out=folder, modalities=["wearable"], options=options, workers=1
    )
    pc.stream(str(folder), "-", seconds=20, speed="max", modality="wearable", start="10:00", signals="vitals")
    said = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    streamed = {one["t"]: one["values"].get("patch/heart_rate") for one in said if one["signal"] == "vitals"}
    (record,) = Wearable().read(folder, [said[0]["patient"]]).values()
    told = record.arrays["patch/heart_rate"][36_000:36_020]
    assert (
        streamed == {k: v for k, v in enumerate(told.tolist()) if np.isfinite(v)}
        or not np.isfinite(told).any()
    )
