"""The sets that a cohort is judged against where `--reference` names a root."""

from pathlib import Path

import pytest

from polyclinic.app import training


def test_no_set_is_a_reference_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many shipped configurations train on it."""
    monkeypatch.setattr(Path, "is_dir", lambda path: True)  # as if all data sets were there
    monkeypatch.setattr(training, "describe", lambda data: None)
    found = [(name, dataset.path) for name, dataset in training._reference_sets(tmp_path)]
    assert {name for name, _ in found} == {"imaging", "signals", "omics"}
    assert len(found) == len(set(found))
