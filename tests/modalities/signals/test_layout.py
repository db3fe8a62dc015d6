"""Twelve leads of eight: Einthoven's and Goldberger's laws hold in whole microvolts, and nothing else is changed."""

import numpy as np
import pytest

from polyclinic.modalities.signals.layout import LEADS, ecg_steps, twelve_leads


@pytest.mark.parametrize("seed", range(5))
def test_limb_leads_follow_from_two(seed: int) -> None:
    free = np.random.default_rng(seed).normal(0, 0.7, (8, 400))
    lead = dict(zip(LEADS, ecg_steps(twelve_leads(free)).astype(int), strict=True))
    assert np.array_equal(lead["III"], lead["II"] - lead["I"])
    assert np.array_equal(2 * lead["aVR"], -(lead["I"] + lead["II"]))
    assert np.array_equal(2 * lead["aVL"], lead["I"] - lead["III"])
    assert np.array_equal(2 * lead["aVF"], lead["II"] + lead["III"])
    for name, given in zip(("I", "II", "V1", "V2", "V3", "V4", "V5", "V6"), free, strict=True):
        assert np.abs(lead[name] - 1000 * given).max() <= 1
