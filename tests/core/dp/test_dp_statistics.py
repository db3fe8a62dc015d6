"""Sums over patients: what one of them may add, and that samples and noise are drawn as the accountant believes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from polyclinic.core.dp.dp_statistics import clip, sum_of_squares
from polyclinic.core.dp.dpsgd import PatientSampler, _entropy

ROWS = arrays(np.float64, st.tuples(st.integers(1, 6), st.integers(1, 4)), elements=st.floats(-1e6, 1e6))


@given(ROWS)
def test_no_row_is_longer_than_one_and_short_ones_stay(rows: np.ndarray) -> None:
    lengths, clipped = np.linalg.norm(rows, axis=1), clip(rows)
    assert np.linalg.norm(clipped, axis=1) == pytest.approx(np.minimum(lengths, 1), rel=1e-9, abs=1e-12)
    assert np.array_equal(clipped[lengths <= 1], rows[lengths <= 1])


@given(ROWS)
def test_one_row_moves_the_sum_of_squares_by_one_at_most(rows: np.ndarray) -> None:
    moved = np.linalg.norm(sum_of_squares(rows) - sum_of_squares(rows[1:]))
    assert moved <= 1 + 1e-9


def test_patients_are_sampled_each_by_itself() -> None:
    """Poisson: sizes of batches vary as a binomial's, and two patients come together as often as chance has it."""
    patients, rate, steps = 50, 0.3, 4000
    batches = list(PatientSampler([str(i) for i in range(patients)], rate, steps, np.random.default_rng(1)))
    sizes = np.array([len(batch) for batch in batches])
    assert sizes.mean() == pytest.approx(rate * patients, abs=0.25)
    assert sizes.var() == pytest.approx(rate * (1 - rate) * patients, rel=0.12)
    together = np.mean([0 in batch and 1 in batch for batch in batches])
    assert together == pytest.approx(rate**2, abs=0.022)


def test_nobody_knows_the_seed_of_the_noise() -> None:
    assert len({float(_entropy().standard_normal()) for _ in range(20)}) == 20
