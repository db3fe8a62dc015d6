"""Vitals second by second, rules that turn them, and the scenarios that say when."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from live_patients import monitor, record, ward

from polyclinic.app.stream.scenario import read_scenario
from polyclinic.app.stream.ward import WardRequest, ward_of_population
from polyclinic.core.errors import InputError
from polyclinic.core.modality import Record
from polyclinic.modalities.signals.channels import CHANNELS
from polyclinic.modalities.signals.layout import LEADS
from polyclinic.modalities.signals.live.rules import RULES
from polyclinic.modalities.signals.live.vitals import LiveVitals
from polyclinic.modalities.signals.vitals.bedside import bedside


@given(seed=st.integers(0, 50))
@settings(max_examples=8, deadline=None)
def test_hours_of_seconds_average_to_the_chart(seed):
    charted = record(seed=seed, hours=4).arrays["vitals"]
    course = LiveVitals(charted, seed)
    seconds = np.array([course.at(second) for second in range(4 * 3600)]).reshape(4, 3600, 7)
    off = np.abs(seconds.mean(1) - charted)
    assert np.nanmax(off) < 0.1
    assert np.abs(np.diff(seconds.reshape(-1, 7), axis=0)).max() < 15  # and no jump between hours
    assert (seconds.std(1)[:, 0] > 1).all()
    assert (seconds[..., 3] > seconds[..., 5]).all()


def test_the_stream_is_the_bedside_form_and_goes_round_the_clock():
    charted = record(hours=3).arrays["vitals"]
    form = np.concatenate(list(bedside(charted, 9)))
    course = LiveVitals(charted, 9)
    assert all(np.array_equal(course.at(second), form[second]) for second in range(0, 3 * 3600, 7))
    again = np.array([course.at(second) for second in range(3 * 3600, 4 * 3600)])
    assert np.abs(again.mean(0) - form[:3600].mean(0)).max() < 0.1
    assert np.abs(again[0] - form[-1]).max() < 15


def test_a_channel_that_was_never_charted_is_not_shown():
    own = record()
    vitals = own.arrays["vitals"].copy()
    vitals[:, CHANNELS.index("Temp")] = np.nan
    bare = monitor(own=Record({**own.arrays, "vitals": vitals}))
    assert "Temp" not in bare.vitals(0)
    assert set(bare.describe()["vitals"]["channels"]) == set(CHANNELS) - {"Temp"}
    alone = monitor(own=Record({"ecg": own.arrays["ecg"], "r_peaks": own.arrays["r_peaks"]}))
    assert alone.signals == ("ecg",)
    alone.ecg(0)


def test_a_later_start_is_a_later_hour_of_the_same_day():
    early, late = monitor(), monitor(start=3600 * 5)
    assert early.vitals(3600 * 5 + 7) == late.vitals(7)


def test_the_ecg_beats_at_the_rate_that_the_vitals_show():
    own = monitor()
    shown = [own.vitals(second)["HR"] for second in range(120)]
    beats = [500 * second + peak for second in range(120) for peak in own.ecg(second)[1]]
    assert 60 * 500 / np.mean(np.diff(beats)) == pytest.approx(np.mean(shown), abs=1.5)


# -- rules


def test_sepsis_drifts_as_far_as_it_says_and_recovers():
    rule = RULES["sepsis"](at=3600, over=3600, lasts=7200, severity=1)
    plain, septic = monitor(), monitor(rules=[rule])
    for second, share in ((3000, 0), (7200, 1), (10700, 1), (3 * 3600 + 3600, 0)):
        before, after = plain.vitals(second), septic.vitals(second)
        assert after["HR"] - before["HR"] == pytest.approx(42 * share, abs=2)
        assert after["SBP"] - before["SBP"] == pytest.approx(-42 * share, abs=2)
        assert after["MAP"] - before["MAP"] == pytest.approx(-30 * share, abs=2)


def test_fibrillation_is_irregular_without_p_waves_and_at_its_rate():
    rule = RULES["atrial_fibrillation"](at=60, lasts=60, rate=130)
    own = monitor(rules=[rule])
    gaps, tops = [], []
    for span in ((0, 60), (60, 120), (120, 180)):
        beats, leads = [], []
        for second in range(*span):
            chunk, peaks = own.ecg(second)
            beats += [500 * len(leads) + peak for peak in peaks]
            leads.append(chunk["V6"])
        trace = np.concatenate(leads).astype(float)
        inside = [beat for beat in beats[3:-3]]
        gaps.append(np.diff(inside) / 500)
        tops.append(np.mean([trace[beat - 100 : beat - 60].max() - trace[beat - 50] for beat in inside]))
    assert 60 / np.mean(gaps[1]) == pytest.approx(130, rel=0.06)
    assert np.std(gaps[1]) / np.mean(gaps[1]) > 0.12 > 3 * np.std(gaps[0]) / np.mean(gaps[0])
    assert tops[1] < 0.4 * tops[0]
    assert tops[2] == pytest.approx(tops[0], rel=0.2)


def test_an_electrode_off_takes_its_leads():
    for electrode, left in (("V2", set(LEADS) - {"V2"}), ("LA", {"II"}), ("RA", {"III"}), ("LL", {"I"})):
        own = monitor(rules=[RULES["lead_off"](at=1, lasts=1, electrode=electrode)])
        there = [{name for name, row in own.ecg(second)[0].items() if row is not None} for second in range(3)]
        assert there == [set(LEADS), left, set(LEADS)]


@pytest.mark.parametrize("name", ["sepsis", "af", "lead_off", "bad_network"])
def test_scenarios_that_ship_can_be_read(name):
    assert read_scenario(name, RULES, 1).events


@pytest.mark.parametrize(
    ("event", "message"),
    [
        ({"what": "sepsys", "at": 1}, "event 1: what: expected one of atrial_fibrillation, .*got 'sepsys'"),
        (
            {"what": "sepsis", "at": 1, "oever": 1},
            r"\(sepsis\): unknown key 'oever'; the nearest known one is 'over'",
        ),
        ({"what": "sepsis"}, r"event 1 \(sepsis\): at: expected a value"),
        ({"what": "sepsis", "at": "6 hours"}, "at: .*expected a number and one of ms, s, min, h, d"),
        ({"what": "sepsis", "at": -1}, "of 0 or more, got -1"),
        ({"what": "late", "at": 0, "by": 1e6}, "by: .*of at most 600"),
        ({"what": "late", "at": 0, "share": 1.1}, "share: .*of at most 1"),
        ({"what": "sepsis", "at": 1, "beds": [3]}, "beds: the ward has beds 1 to 2, got 3"),
        ({"what": "sepsis", "at": 1, "beds": [0]}, "beds are `all` or numbers from 1"),
        ({"what": "lead_off", "at": 1, "electrode": "V9"}, "electrode: .*got 'V9'"),
    ],
)
def test_a_wrong_event_is_one_clear_line(tmp_path, event, message):
    with pytest.raises(InputError, match=message):
        ward(scenario=[event], home=tmp_path)


def test_metadata_say_what_is_rule_based(tmp_path):
    events = [{"what": "sepsis", "at": "6 h", "beds": [2]}, {"what": "dropout", "at": 5}]
    first, second = ward(scenario=events, home=tmp_path).beds
    assert [event["what"] for event in first.describe()["scenario"]] == ["dropout"]
    told = second.describe()["scenario"][0]
    assert (told["what"], told["at"], told["rule_based"]) == ("sepsis", 21600.0, True)
    assert all("rule_based" in own for own in second.describe()["signals"].values())


def test_a_patient_drawn_now_is_the_same_in_any_ward():
    one, two = (ward_of_population("icu", WardRequest(beds, 5, start=3600)) for beds in (1, 2))
    assert [bed.name for bed in two.beds] == ["bed-1", "bed-2"]
    first, same = one.beds[0], two.beds[0]
    assert first.describe() == same.describe()
    assert [first.source.vitals(s) for s in range(5)] == [same.source.vitals(s) for s in range(5)]
    for _ in range(3):
        ours, theirs = first.source.ecg(0)[0], same.source.ecg(0)[0]
        assert all(np.array_equal(ours[lead], theirs[lead]) for lead in LEADS)
