"""Real records that do not vary, or vary along few axes: not measured, never a traceback."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from polyclinic.core.modality import View
from polyclinic.core.profile import PatientProfile
from polyclinic.eval.attacks.linkability import pair
from polyclinic.eval.attacks.membership import DENSITY_RATIO, NO_SPREAD, AttackData, attack_data
from polyclinic.eval.linkage.label_recovery import recover_labels
from polyclinic.eval.metrics.distances import summarise
from polyclinic.eval.profile import QUICK
from polyclinic.eval.report.report import score
from polyclinic.eval.sample import Comparison, Sample

PEOPLE = 60
VIEW = View("toy", "Toy", "toy", lambda records: pd.DataFrame(), (), lambda *_: "", "")


def sample(values: np.ndarray, start: str) -> Sample:
    table = pd.DataFrame(values, columns=["a", "b", "c"])
    profiles = tuple(PatientProfile(f"{start}{i}", age=40.0 + i % 30, sex="FM"[i % 2]) for i in range(PEOPLE))
    return Sample(table, table, profiles, {}, [])


def groups(kind: str) -> list[Sample]:
    rng = np.random.default_rng(0)
    drawn = [rng.normal(size=(PEOPLE, 3)) for _ in range(3)]
    if kind == "constant":
        drawn[0][:] = drawn[1][:] = 1.0
    if kind == "flat":
        for values in drawn[:2]:
            values[:, 2] = values[:, 0]
    return [sample(values, start) for values, start in zip(drawn, "rts", strict=True)]


@pytest.mark.parametrize("kind", ["constant", "flat", "varying"])
def test_nothing_is_measured_on_what_does_not_vary(kind):
    train, test, synthetic = groups(kind)
    compared = Comparison(VIEW, synthetic, train, test)
    data = attack_data(compared, 20)
    assert isinstance(data, AttackData) == (kind != "constant")
    assert (data == NO_SPREAD) == (kind == "constant")
    assert bool(recover_labels("toy", "Toy", {}, synthetic, train, test, 0)) == (kind != "constant")
    assert bool(summarise(test.features).names) == (kind != "constant")
    if kind == "constant":
        shared = replace(compared, synthetic=train, test=train)
        assert pair(shared, shared, 0) is None
        found = score(VIEW, synthetic, train, test, None, 0, QUICK)
        assert all(score.value is None for score in found.scores)
        assert "no feature of the 60 real test records varies" in str(found.scores[0])


def test_a_density_is_found_where_records_lie_in_a_plane():
    train, test, synthetic = (group.features.to_numpy() for group in groups("flat"))
    for scores in DENSITY_RATIO.scores(synthetic, train, test, 0):
        assert np.isfinite(scores).all()
