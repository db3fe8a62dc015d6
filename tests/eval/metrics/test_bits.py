"""Figures that are computed in less time than by the packages' functions are theirs, bit for bit."""

import numpy as np
import pytest
from scipy.stats import CensoredData, ecdf

from polyclinic.eval.metrics import structured, tabular
from polyclinic.eval.sample import resample


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("died", [0.0, 0.3, 1.0])
def test_survival_is_scipys(seed: int, died: float) -> None:
    rng = np.random.default_rng(seed)
    many = int(rng.integers(1, 120))
    times = rng.integers(0, 40, many) / 3 if seed % 2 else rng.exponential(9, many)
    rows = np.stack([times, rng.random(many) < died], 1).astype(float)
    event = rows[:, 1] == 1
    known = ecdf(CensoredData(uncensored=rows[event, 0], right=rows[~event, 0])).sf
    at = np.union1d(times, rng.random(9) * 50)
    np.testing.assert_array_equal(structured.kaplan_meier(rows, at), known.evaluate(at))


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("unknown", [0.02, 0.2, 0.9])
def test_quantiles_of_what_is_known_are_numpys(seed: int, unknown: float) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(int(rng.integers(2, 120)), 5))
    if seed % 3 == 0:
        values = values.round(1)
    values[rng.random(values.shape) < unknown] = np.nan
    values[0, :2] = np.nan, np.inf
    found = tabular._quantiles(values)
    for column, own in zip(values.T, found.T, strict=True):
        known = column[np.isfinite(column)]
        enough = len(known) >= tabular.KNOWN
        np.testing.assert_array_equal(own, np.quantile(known, tabular.GRID) if enough else np.nan)


@pytest.mark.parametrize("seed", range(10))
def test_a_bootstrap_has_all_rows_of_each_patient_drawn(seed: int) -> None:
    patients = np.random.default_rng(seed).integers(0, 30, 80)
    drawn = np.random.default_rng(seed).integers(patients.max() + 1, size=patients.max() + 1)
    rows = [place for patient in drawn for place in np.flatnonzero(patients == patient)]
    assert resample(patients, np.random.default_rng(seed)).tolist() == rows
