"""Attacks by shadow models: on trainings whose leak is known, blind where there is none."""

import numpy as np
import pytest
from numpy.typing import NDArray

from polyclinic.eval.attacks.shadow_models import calibrated, halves, learnt, likelihood_ratio
from polyclinic.eval.metrics.classifier import auc

Values = NDArray[np.float64]
PATIENTS, SHADOWS = 400, 8


def game(
    leak: float, seed: int, signals: int = 1, shadows: int = SHADOWS
) -> tuple[Values, Values, NDArray[np.bool_], NDArray[np.bool_]]:
    """Signals of patients who differ widely, raised by `leak` where they were learnt from.

    Of the attacked training and of the shadows; whom each shadow saw, and whom the attacked one.
    """
    rng = np.random.default_rng(seed)
    own = 10 * rng.standard_normal((PATIENTS, 1))
    seen = halves(PATIENTS, shadows, rng)
    inside = halves(PATIENTS, 1, rng)[0]
    noise = rng.standard_normal((shadows + 1, PATIENTS, signals))
    every = own + noise + leak * np.concatenate([inside[None], seen])[:, :, None]
    return every[0], every[1:], seen, inside


def test_each_patient_is_in_half_of_the_shadows() -> None:
    seen = halves(101, 6, np.random.default_rng(0))
    assert (seen.sum(1) == 50).all()
    assert set(seen.sum(0)) == {2, 3}  # who is left out of one pair is in one shadow fewer
    assert not (seen[0] & seen[1]).any()
    assert halves(100, 3, np.random.default_rng(0)).sum(1).tolist() == [50, 50, 50]


def test_shadows_find_what_the_signal_alone_does_not() -> None:
    attacked, shadows, seen, inside = game(2.0, 1)
    raw = auc(attacked[inside, 0], attacked[~inside, 0])
    assert 0.4 < raw < 0.6  # patients differ more than the leak moves them
    for attack in (likelihood_ratio, calibrated):
        found = attack(attacked[:, 0], shadows[:, :, 0], seen)
        assert auc(found[inside], found[~inside]) > 0.8


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_without_a_leak_nobody_is_found(seed: int) -> None:
    attacked, shadows, seen, inside = game(0.0, seed, signals=6)
    for found in (likelihood_ratio(attacked[:, 0], shadows[:, :, 0], seen), learnt(attacked, shadows, seen)):
        assert 0.4 < auc(found[inside], found[~inside]) < 0.6


def test_many_signals_find_more_than_one() -> None:
    attacked, shadows, seen, inside = game(0.7, 4, signals=12)
    one = likelihood_ratio(attacked[:, 0], shadows[:, :, 0], seen)
    many = learnt(attacked, shadows, seen)
    assert auc(many[inside], many[~inside]) > auc(one[inside], one[~inside]) + 0.1


def test_a_patient_whom_all_shadows_saw_is_left_out() -> None:
    attacked, shadows, seen, _ = game(2.0, 5, signals=2)
    seen[:, 0] = True
    found = likelihood_ratio(attacked[:, 0], shadows[:, :, 0], seen)
    assert np.isnan(found[0])
    assert np.isfinite(found[1:]).all()
    assert np.isnan(learnt(attacked, shadows, seen)[0])
