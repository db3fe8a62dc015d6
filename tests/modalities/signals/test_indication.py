"""Who has signals follows the cards of the weights in force."""

from pathlib import Path

import pytest

from polyclinic.core.training.weights import Card, read_card
from polyclinic.modalities import signals
from polyclinic.modalities.signals.channels import VITALS, Channel, chart_facts
from polyclinic.modalities.signals.metrics import chart_title


def test_leads_and_channels_are_those_of_the_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    assert signals.Signals().indication == signals.Signals.indication
    more = {"ecg": {"leads": ["II"]}, "vitals": chart_facts(VITALS[:2])}

    def read(path: Path) -> Card:
        card = read_card(path)
        return card.model_copy(update={"model": {**card.model, **more[path.stem]}})

    monkeypatch.setattr(signals, "read_card", read)
    said = signals.Signals().indication
    assert said == "every patient has a 1-lead ECG and a chart of 2 channels of one day"


def test_titles_of_charts_are_those_of_their_channels() -> None:
    lactate, gcs = Channel("Lac", "mmol/L", 0, 30, label="Lactate"), Channel("GCS", "", 3, 15)
    assert chart_title() == "Hourly vital signs"
    assert chart_title(VITALS[:3], 4) == "Vital signs, every 4 hours"
    assert chart_title((lactate, gcs)) == "Chart of Lactate and GCS, hourly"
    assert chart_title((*VITALS, lactate), 2) == "Chart of HR, O2Sat and 6 more, every 2 hours"
