"""Pooling of noisy numbers within public groups: what it gains, and what groups that say nothing cost."""

import numpy as np
import pytest

from polyclinic.modalities.omics.gene_groups import LEAST_MEMBERS, groups_of, level
from polyclinic.modalities.omics.modules import RNA
from polyclinic.modalities.omics.pooling import by_groups, pooled, shrunk, shrunk_together


def memberships(rng: np.random.Generator) -> np.ndarray:
    """(600, 21): twenty groups of 30 features, and all of them."""
    order = rng.permutation(600)
    return np.concatenate([np.eye(20)[order % 20], np.ones((600, 1))], axis=1)


def test_a_group_averages_noise_out() -> None:
    rng = np.random.default_rng(0)
    groups = memberships(rng)
    true = groups[:, :20] @ rng.normal(size=20) + 0.3 * rng.normal(size=600)
    error = np.full(600, 1.5)
    noisy = true + error * rng.standard_normal(600)
    alone, together = (
        np.square(found - true).mean() for found in (shrunk(noisy, error), pooled(noisy, error, groups))
    )
    assert together < 0.5 * alone


def test_groups_that_say_nothing_cost_next_to_nothing() -> None:
    rng = np.random.default_rng(1)
    true, error = rng.normal(size=600), np.full(600, 1.0)
    noisy = true + rng.standard_normal(600)
    groups = memberships(rng)
    alone, together = (
        np.square(found - true).mean() for found in (shrunk(noisy, error), pooled(noisy, error, groups))
    )
    assert together < 1.1 * alone


@pytest.mark.parametrize("noise", [1e-3, 1e-2])
def test_without_noise_numbers_stay(noise: float) -> None:
    rng = np.random.default_rng(2)
    true, error = rng.normal(5, 2, size=600), np.full(600, noise)
    assert pooled(true, error, memberships(rng)) == pytest.approx(true, abs=0.05)
    assert pooled(true, error, None) == pytest.approx(true, abs=0.05)


def test_pure_noise_has_no_groups() -> None:
    rng = np.random.default_rng(3)
    found = by_groups(rng.standard_normal(600), np.ones(600), memberships(rng))
    assert np.abs(found).max() < 0.3


def test_what_goes_together_is_told_from_noise_together() -> None:
    rng = np.random.default_rng(0)
    true = rng.normal(size=(4000, 1)) * [[1.0, 0.8, -0.9]]
    error = np.full(true.shape, 0.8)
    noisy = true + error * rng.standard_normal(true.shape)
    each = np.stack([shrunk(noisy[:, k], error[:, k]) for k in range(3)], axis=1)
    together = shrunk_together(noisy, error)
    lost, kept = (np.square(found - true).mean() for found in (each, together))
    assert kept < 0.7 * lost
    assert np.abs(shrunk_together(error * rng.standard_normal(true.shape), error)).mean() < 0.1
    assert shrunk_together(true, np.full(true.shape, 1e-3)) == pytest.approx(true, abs=0.01)


def test_features_have_the_groups_of_their_names() -> None:
    genes = [*RNA["growth"].split()[:6], *(f"OR5D{i}" for i in range(5)), "ESR1", "XYZ"]
    groups = groups_of("rna", genes)
    members = [set(np.flatnonzero(column)) for column in groups.T]
    assert set(range(6)) in members  # the cell cycle
    assert set(range(6, 11)) in members  # a family
    assert members[-1] == set(range(13))
    assert min(map(len, members)) >= LEAST_MEMBERS


def test_micrornas_are_known_by_every_way_of_writing_them() -> None:
    ways = [
        ["hsa_mir_17", "hsa_mir_18a", "hsa_mir_20a", "hsa_mir_25"],
        ["hsa-mir-17", "hsa-mir-18a", "hsa-mir-20a", "hsa-mir-25"],
    ]
    first, second = (groups_of("mirna", names) for names in ways)
    assert first.tolist() == second.tolist()
    assert first.shape[1] > 2
    assert [level("mirna", name) for name in ("hsa-mir-21", "hsa_let_7d", "hsa_mir_3662")] == [3, 2, 1]
    assert [level("rna", name) for name in ("XBP1", "MAGEB1", "NOT_A_GENE")] == [2, 0, 1]
