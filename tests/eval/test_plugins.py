"""A metric and an attack of another package: one file and one entry-point line each, and evaluate() runs them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from polyclinic.core.contracts import Attack, Metric
from polyclinic.core.modality import View
from polyclinic.core.profile import PatientProfile
from polyclinic.core.registry import lacks, load, names
from polyclinic.eval.attacks.attack import attack
from polyclinic.eval.profile import QUICK
from polyclinic.eval.report.report import score
from polyclinic.eval.sample import Comparison, Sample
from polyclinic.eval.score import AS_REAL, DIFFERENT, FURTHER

PLUGIN = Path(__file__).parents[1] / "plugin"
VIEW = View("toy", "Toy", "x", lambda records: pd.DataFrame(), (), lambda *_: "", "Numbers.")


def sample(size: int, seed: int, shift: float = 0.0) -> Sample:
    """Four numbers of patients of one record each."""
    table = pd.DataFrame(np.random.default_rng(seed).normal(size=(size, 4)) + shift, columns=list("abcd"))
    return Sample(table, table, tuple(PatientProfile(f"{seed}-{i}") for i in range(size)), {}, [])


TRAIN, TEST = sample(120, 1), sample(80, 2)


@pytest.fixture
def _plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(PLUGIN))


@pytest.mark.parametrize(("shift", "verdict"), [(0.0, AS_REAL), (3.0, DIFFERENT)])
@pytest.mark.usefixtures("_plugin")
def test_a_metric_of_another_package_is_measured_like_ours(shift: float, verdict: str) -> None:
    found = score(VIEW, sample(60, 3, shift), TRAIN, TEST, None, profile=QUICK).scores
    (row,) = [s for s in found if s.question == FURTHER]
    assert (row.metric, row.title) == ("energy_distance", "Energy distance {of a package}")
    assert row.verdict == verdict
    assert row.real_baseline_interval is not None
    assert row.sentence.startswith("Energy distance {of a package}: ")


@pytest.mark.usefixtures("_plugin")
def test_an_attack_of_another_package_is_tried_like_ours() -> None:
    found = attack({"toy": [Comparison(VIEW, sample(60, 3), TRAIN, TEST)]})
    (row,) = [row for row in found.attacks if row.attack == "near_the_centre"]
    assert (row.members, row.controls) == (120, 80)
    assert row.auc == pytest.approx(0.5, abs=0.15)
    assert row.title == "Toy: Near the centre"


def test_without_the_package_neither_is_there() -> None:
    assert "energy_distance" not in names("metrics")
    assert not [
        s
        for s in score(VIEW, sample(60, 3), TRAIN, TEST, None, profile=QUICK).scores
        if s.question == FURTHER
    ]


@pytest.mark.parametrize("kind", ["metrics", "attacks"])
def test_ours_keep_the_contract_and_run_by_it(kind: str) -> None:
    rng = np.random.default_rng(0)
    synthetic, members, controls = rng.random((90, 6)), rng.random((80, 6)), rng.random((70, 6))
    for name in names(kind):
        plugin = load(kind, name)
        assert plugin.name == name
        assert lacks(plugin, Metric if kind == "metrics" else Attack) == []
        if kind == "attacks":
            inside, outside = plugin.scores(synthetic, members, controls, 0)
            assert (inside.shape, outside.shape) == ((80,), (70,))
    if kind == "metrics":
        assert load(kind, "wasserstein").compute(members, members) == 0
