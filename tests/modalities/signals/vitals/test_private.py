"""Vitals under a budget: made-up stays, and what is released of patients beside DP-SGD."""

from pathlib import Path

import numpy as np
import pytest
import torch

from polyclinic import ProfileEncoder
from polyclinic.core.condition import columns_of
from polyclinic.core.dp.budget import Budget, PrivacyPlan, compose
from polyclinic.modalities.signals.channels import CHANNELS, DBP, SBP, VITAL_FIELDS
from polyclinic.modalities.signals.vitals.network import VitalsModel, VitalsNet
from polyclinic.modalities.signals.vitals.prior import simulated_stays
from polyclinic.modalities.signals.vitals.private import (
    DRIFTS,
    FARTHEST,
    Moments,
    _drift_rows,
    match,
    public_stays,
    release,
    release_plans,
)
from polyclinic.modalities.signals.vitals.quantizer import HIGH, LOW, STEP
from polyclinic.modalities.signals.vitals.training import Stays

ENCODER = ProfileEncoder()
COLUMNS = columns_of(ENCODER.columns, ["age", "sex", "A41.9", *VITAL_FIELDS])
HOURS = 24


@pytest.fixture(scope="module")
def stays() -> Stays:
    return public_stays(500, HOURS, ENCODER, COLUMNS, 0)


def quiet(patients: int) -> dict[str, PrivacyPlan]:
    """Mechanisms with next to no noise."""
    return {what: PrivacyPlan.once(patients, 1e-9, 1e-5, what) for what in ("charting", "drift")}


def test_simulated_stays_are_charts() -> None:
    made, again = (simulated_stays(200, HOURS, np.random.default_rng(1)) for _ in range(2))
    np.testing.assert_array_equal(made.readings, again.readings)
    seen = np.isfinite(made.readings)
    steps = 2 * (made.readings - LOW) / STEP
    assert np.abs(steps - np.rint(steps))[seen].max() < 0.01  # on the lattice, or half-way
    assert (made.readings[seen] >= np.broadcast_to(LOW, seen.shape)[seen] - 1e-4).all()
    assert (made.readings[seen] <= np.broadcast_to(HIGH, seen.shape)[seen] + 1e-4).all()
    assert not seen[np.arange(HOURS) >= made.lengths[:, None]].any()
    both = seen[..., SBP] & seen[..., DBP]
    assert (made.readings[..., SBP] > made.readings[..., DBP])[both].mean() > 0.98
    assert seen[..., CHANNELS.index("Temp")].mean() < 0.6 * seen[..., CHANNELS.index("HR")].mean()
    assert len({profile.patient_id for profile in made.profiles}) == 200


def test_no_patient_moves_a_release_by_more_than_its_noise_is_set_for(stays: Stays) -> None:
    rows = _drift_rows(stays.readings())
    assert np.linalg.norm(rows, axis=1).max() <= 1 + 1e-9
    wild = np.cumsum(1e3 * np.ones((3, HOURS, len(CHANNELS))), axis=1).astype(np.float32)
    assert np.linalg.norm(_drift_rows(wild), axis=1).max() <= 1 + 1e-9


def test_a_release_is_what_the_stays_are(stays: Stays) -> None:
    names = [f"p{i}" for i in range(500)]
    found = release(stays, names, quiet(500))
    readings = stays.readings()
    inside = np.arange(HOURS) < stays.length.numpy()[:, None]
    np.testing.assert_allclose(
        1 / (1 + np.exp(-found.charted)), np.isfinite(readings[inside]).mean(0), atol=1e-6
    )
    assert (np.diag(found.drift) > 0.05).all()
    assert found.edge < 1e-6
    twice = stays.take(torch.arange(500).repeat(2))  # a patient with two stays counts as one
    np.testing.assert_allclose(release(twice, names * 2, quiet(500)).drift, found.drift, atol=1e-5)


def test_noise_alone_is_not_taken_for_drift(stays: Stays) -> None:
    torch.manual_seed(0)
    net = VitalsNet(len(COLUMNS), VitalsModel(hours=HOURS, width=8, head=6, embed=4, dropout=0.0)).eval()
    nothing = Moments(np.full(len(CHANNELS), -9.0), np.zeros((DRIFTS, DRIFTS)), 0.1)
    match(net, nothing, stays.code[:200], 0)
    assert not net.drift.any()
    assert (net.charting >= -FARTHEST).all()
    lots = Moments(np.zeros(len(CHANNELS)), np.diag(np.full(DRIFTS, 5.0)), 0.1)
    match(net, lots, stays.code[:200], 0)
    assert torch.linalg.matrix_rank(net.drift) == DRIFTS


@pytest.mark.parametrize("epsilon", [1.0, 10.0])
def test_all_mechanisms_share_one_budget(epsilon: float) -> None:
    budget = Budget(epsilon, 1e-5)
    releases = release_plans(budget, 16_000)
    plan = PrivacyPlan.for_budget(budget, 16_000, 1024, 50, 1.0, list(releases.values()))
    assert compose([plan, *releases.values()], 1e-5, "prv") <= epsilon
    assert compose(list(releases.values()), 1e-5, "prv") < 0.4 * epsilon


def test_what_was_released_is_read_again(tmp_path: Path, stays: Stays) -> None:
    found = release(stays, [f"p{i}" for i in range(500)], release_plans(Budget(10.0, 1e-5), 500))
    found.save(tmp_path / "run" / "moments.json")
    again = Moments.load(tmp_path / "run" / "moments.json")
    np.testing.assert_array_equal(found.charted, again.charted)
    np.testing.assert_array_equal(found.drift, again.drift)
    assert found.edge == again.edge
