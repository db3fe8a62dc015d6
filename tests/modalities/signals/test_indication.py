"""Who has signals follows the cards of the weights in force."""

from pathlib import Path

import pytest

from polyclinic.core.training.weights import Card, read_card
from polyclinic.modalities import signals
from polyclinic.modalities.signals.channels import VITALS, chart_facts


def test_leads_and_channels_are_those_of_the_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    assert signals.Signals().indication == signals.Signals.indication
    more = {"ecg": {"leads": ["II"]}, "vitals": chart_facts(VITALS[:2])}

    def read(path: Path) -> Card:
        card = read_card(path)
        return card.model_copy(update={"model": {**card.model, **more[path.stem]}})

    monkeypatch.setattr(signals, "read_card", read)
    said = signals.Signals().indication
    assert said == "every patient has a 1-lead ECG and a chart of 2 channels of one day"
