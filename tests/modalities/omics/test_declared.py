"""Whose omics there are: of patients with breast cancer on weights that know PAM50, else of everybody."""

from pathlib import Path

import pytest
import torch

from polyclinic import PatientProfile, load_modality
from polyclinic.core.training.weights import Card, Weights

WELL, ILL = PatientProfile("p"), PatientProfile("q", conditions={"C50.919": True})


@pytest.mark.parametrize(("columns", "anybody"), [(["response=CR", "response?"], True), (["pam50?"], False)])
def test_who_has_omics_follows_from_the_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, columns: list[str], anybody: bool
) -> None:
    card = Card(
        name="omics",
        modality="omics",
        kind="made up",
        data=[],
        privacy="public",
        steps=0,
        columns=columns,
        model={},
    )
    Weights({"x": torch.zeros(1)}, card).save(tmp_path / "omics.safetensors")
    monkeypatch.setenv("POLYCLINIC_WEIGHTS", str(tmp_path))
    modality = load_modality("omics")
    assert modality.indicated(ILL)
    assert modality.indicated(WELL) is anybody
    assert ("every patient" in modality.indication) is anybody


def test_shipped_weights_are_of_breast_cancer() -> None:
    assert not load_modality("omics").indicated(WELL)
