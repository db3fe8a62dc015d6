"""Streams of any installed modality that has live(), and of a single signal given by name."""

import json
from pathlib import Path

import pytest

import polyclinic as pc
from polyclinic.core.errors import InputError

WEARABLE = Path(__file__).parents[2] / "plugins" / "wearable"


def test_a_modality_from_outside_is_streamed(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(WEARABLE)
    how = {"patients": 2, "seconds": 3, "speed": "max", "modality": "ppg"}
    tally = pc.stream("icu", "-", options={"ppg": {"seconds": 4}}, **how)
    said = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    values = [message["values"] for message in said if message["signal"] == "vitals"]
    assert len(values) == tally.sent == 2 * 3
    assert all(set(value) == {"ppg"} for value in values)
    with pytest.raises(InputError, match="options signals: a stream takes settings of ppg alone"):
        pc.stream("icu", "-", options={"signals": {}}, **how)


def test_what_cannot_be_streamed_is_one_line() -> None:
    with pytest.raises(
        InputError, match=r"^modality records: cannot be streamed; expected a modality that has live"
    ):
        pc.stream("icu", "-", patients=1, seconds=1, speed="max", modality="records")


def test_a_signal_is_given_by_its_name(capfd: pytest.CaptureFixture[str]) -> None:
    pc.stream("icu", "-", patients=1, seconds=2, speed="max", signals="vitals")
    said = [json.loads(line)["signal"] for line in capfd.readouterr().out.splitlines()]
    assert said.count("vitals") == 2
    assert "ecg" not in said
    with pytest.raises(InputError, match="signals: expected some of ecg, vitals, ppg, got 'eeg'"):
        pc.stream("icu", "-", patients=1, signals="eeg")


def test_what_is_told_of_names_is_so() -> None:
    with pytest.raises(
        InputError, match=r"modality 'wearables' is not installed; expected one of: .*wearable"
    ):
        pc.stream("icu", "-", patients=1, modality="wearables")
    with pytest.raises(InputError, match="signals: expected some of vitals, ppg, got 'glucose'"):
        pc.stream("icu", "-", patients=1, modality="wearable", signals="glucose")
