"""Wearables: the contract, agreement with the ECG and the record, rhythm, devices and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases.worn import SICK, VISIT, WELL, draw, ecg

from polyclinic import Batch, Record, load_modality
from polyclinic.core.errors import InputError
from polyclinic.core.study import Study
from polyclinic.modalities.wearable import Wearable
from polyclinic.modalities.wearable.assertions import assertions, rate_at_ecg
from polyclinic.modalities.wearable.body import DAY, body_of
from polyclinic.modalities.wearable.channels import CHANNELS
from polyclinic.modalities.wearable.day import days
from polyclinic.modalities.wearable.figures import devices
from polyclinic.modalities.wearable.metrics import breaches, rate_of_beats
from polyclinic.modalities.wearable.pulse import transit
from polyclinic.testing import check_modality


class Alone(Wearable):
    """Without the ECG, whose drawing takes longer."""

    after: tuple[str, ...] = ()


def test_the_contract(tmp_path: Path) -> None:
    check_modality(Alone({"days": 1, "device": "watch,patch,cgm,cuff", "ppg": True}), tmp_path, (WELL, SICK))


@pytest.fixture(scope="module")
def records() -> dict[str, Record]:
    return {
        "well": draw(WELL, ecg(62), days=3, device="reference", ppg=True),
        "sick": draw(SICK, ecg(88, "atrial fibrillation"), days=3, device="reference", ppg=True),
    }


def test_nobody_breaks_a_rule(records: dict[str, Record]) -> None:
    assert [list(breaches(record)) for record in records.values()] == [[], []]


@pytest.mark.parametrize(
    ("rule", "key", "place", "value"),
    [
        ("bounds", "reference/oxygen_saturation", 5, 104.0),
        ("heart-rates", "reference/heart_rate_mean", 700, 160.0),
        ("asleep", "reference/steps", None, 60.0),
    ],
)
def test_a_breach_is_found(
    records: dict[str, Record], rule: str, key: str, place: int | None, value: float
) -> None:
    spoilt = records["well"].arrays[key].copy()
    asleep = int(np.flatnonzero(records["well"].arrays["reference/sleep_stage"] > 0)[0])
    spoilt[asleep if place is None else place] = value
    record = Record({**records["well"].arrays, key: spoilt}, records["well"].facts)
    assert [name for name, _ in breaches(record)] == [rule]


def test_an_hba1c_of_the_diabetic_needs_diabetes(records: dict[str, Record]) -> None:
    facts = {**records["well"].facts, "hba1c": 7.0}
    assert "hba1c" in [name for name, _ in breaches(Record(records["well"].arrays, facts))]


def test_heart_rates_agree_with_beats_and_ecg(records: dict[str, Record]) -> None:
    for name, rate in (("well", 62), ("sick", 88)):
        record = records[name]
        seconds = record.arrays["reference/heart_rate"].reshape(-1, 60).mean(1)
        beats = rate_of_beats(record.arrays["reference/beats"], len(seconds))
        assert np.nanmax(np.abs(seconds - beats)) < (1.0 if name == "well" else 4.0)
        assert abs(float(np.nanmean(seconds - beats))) < 0.1
        found = rate_at_ecg(record)
        assert found is not None
        assert found == pytest.approx(rate, abs=1.0 if name == "well" else 5.0)


def test_the_beats_of_the_ecg_are_among_the_beats(records: dict[str, Record]) -> None:
    facts = ecg(62)
    study = Study.of(facts, VISIT)
    assert study is not None
    assert study.taken is not None
    begins = records["well"].facts["ecg_at"]
    assert begins == 2 * DAY + study.taken.hour * 3600 + study.taken.minute * 60 + study.taken.second
    beats = records["well"].arrays["reference/beats"] / 1000 - begins
    marks = np.array([at for at, _ in facts["waves"]]) / 500
    inside = beats[(beats > marks[0] - 0.1) & (beats < marks[-1] + 0.1)]
    assert inside == pytest.approx(marks, abs=0.001)


def test_fibrillation_is_irregular_and_sinus_is_not(records: dict[str, Record]) -> None:
    spread = {}
    for name, record in records.items():
        gaps = np.diff(record.arrays["reference/beats"].astype(float))
        spread[name] = float(np.median(np.abs(np.diff(gaps))) / np.median(gaps))
    assert spread["sick"] > 0.12
    assert spread["well"] < 0.08


def test_the_profile_steers(records: dict[str, Record]) -> None:
    well, sick = records["well"], records["sick"]
    assert sick.facts["hba1c"] >= 6.5 > well.facts["hba1c"]
    assert sick.facts["mean_glucose"] > well.facts["mean_glucose"] + 40
    assert np.nanmedian(sick.arrays["reference/oxygen_saturation"]) <= 97
    assert well.facts["resting_heart_rate"] == pytest.approx(62, abs=4)
    assert sick.facts["resting_heart_rate"] == pytest.approx(88, abs=8)
    night = well.arrays["reference/sleep_stage"] > 0
    rate, skin = well.arrays["reference/heart_rate_mean"], well.arrays["reference/skin_temperature"]
    assert rate[night].mean() < rate[~night].mean() - 3
    assert skin[night].mean() > skin[~night].mean() + 1


def test_a_month_ends_with_the_week() -> None:
    long, short = (draw(WELL, ecg(62), days=days_) for days_ in (5, 2))
    assert np.array_equal(
        long.arrays["watch/heart_rate"][-2 * 17280 :], short.arrays["watch/heart_rate"], equal_nan=True
    )
    assert np.array_equal(long.arrays["cgm/glucose"][-2 * 288 :], short.arrays["cgm/glucose"], equal_nan=True)


def test_an_acute_illness_comes_in_the_last_days() -> None:
    septic = WELL.but(conditions={"A41.9": True})
    body = body_of(septic, {"signals": ecg(110)}, 4)
    rates = [day.by_minute.mean() for day in days(body, -6, 7)]
    assert rates[-1] > rates[0] + 15
    assert body.resting == pytest.approx(84)


def test_the_pulse_comes_earlier_at_high_pressure_and_in_old_age() -> None:
    young, old = (body_of(WELL.but(age=age), {}, 1) for age in (30.0, 80.0))
    assert transit(young, 170, "wrist") < transit(young, 120, "wrist") < transit(young, 120, "finger")
    assert transit(old, 120, "wrist") < transit(young, 120, "wrist")


def test_devices_fail_as_their_presets_say() -> None:
    record = draw(WELL, ecg(62), days=6, device="watch,ring,patch,cgm,cuff")
    lost = {
        name: float(np.isnan(record.arrays[name]).mean())
        for name in record.arrays
        if name[0] in "wrpc" and "beats" not in name
    }
    assert 0.02 < lost["watch/heart_rate"] < 0.4
    assert lost["watch/oxygen_saturation"] > 0.5  # taken asleep only
    assert 0.002 < lost["cgm/glucose"] < 0.15
    assert lost["cuff/systolic"] == 0
    for name, device in devices().items():
        assert set(device.channels) <= {*CHANNELS, "beats"}
        assert set(device.at_night) <= set(device.channels), name


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            {"device": "pager"},
            "expected some of the presets watch, ring, patch, cgm, cuff, reference, got 'pager'",
        ),
        ({"device": "watch,watch"}, "expected a preset, and each once"),
        ({"days": 46}, "of at most 45"),
        ({"formats": "tcx"}, "got 'tcx'"),
    ],
)
def test_options_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says) as told:
        Wearable(options)
    assert str(told.value).count("got ") <= 1
    assert "Value error" not in str(told.value)


def test_files_say_whose_they_are_and_a_damaged_one_is_named(
    tmp_path: Path, records: dict[str, Record]
) -> None:
    modality = Wearable({"days": 3, "device": "reference", "ppg": True})
    modality.export([records["well"]], [WELL], tmp_path)
    said = assertions(tmp_path, ["well", "nobody"])
    assert {(a.subject, str(a)) for a in said["well"]} >= {("patient id", "well")}
    assert any(a.subject == "heart rate" for a in said["well"])
    path = tmp_path / "wearable" / "well" / "reference-300s.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match=r"reference-300s.parquet: cannot be read as our Parquet"):
        modality.read(tmp_path, ["well"])


def test_the_record_states_hba1c_and_resting_heart_rate() -> None:
    facts = {"wearable": {"hba1c": 7.9, "resting_heart_rate": 81}}
    batch = Batch((SICK,), np.zeros((1, 0), np.float32), (5,), (facts,))
    (record,) = load_modality("records").generator(()).sample(batch)
    said: dict[str, list[float]] = {"4548-4": [], "40443-4": []}
    for resource in record.facts["resources"]:
        code = (
            resource.get("code", {}).get("coding", [{}])[0].get("code")
            if resource["resourceType"] == "Observation"
            else None
        )
        if code in said and resource["effectiveDateTime"].startswith(VISIT.isoformat()):
            said[code].append(resource["valueQuantity"]["value"])
    assert said == {"4548-4": [7.9], "40443-4": [81]}
    assert not load_modality("records").breaches(record)  # type: ignore[attr-defined]


@pytest.mark.parametrize("lost", [[0], [-1], [0, -1]])
def test_beats_that_an_ecg_cuts_at_its_ends_are_there(lost: list[int]) -> None:
    peaks = 0.03 + np.arange(11) * 0.994
    marks = [[round(500 * at), "N"] for at in np.delete(peaks, lost)]
    facts = {"heart_rate": 60.4, "rhythm": "sinus", "beats": 11, "waves": marks, "study_uid": "2.25.5"}
    strip = body_of(WELL, {"signals": facts}, 1).strip
    assert strip is not None
    assert strip.peaks == pytest.approx(peaks, abs=0.04)


def test_beats_whose_marks_are_lost_in_between_are_not_made_up() -> None:
    facts = {**ecg(60), "beats": 20}
    strip = body_of(WELL, {"signals": facts}, 1).strip
    assert strip is not None
    assert len(strip.peaks) == 0
