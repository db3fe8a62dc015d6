"""What the benchmark of white-box attacks reads in weights, on tiny models that have seen some patients."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from polyclinic import PatientProfile
from polyclinic.eval.attacks.attack_result import Target
from polyclinic.eval.metrics.classifier import auc
from polyclinic.modalities.imaging.gaussian_prior import PriorSettings, fit_public
from polyclinic.modalities.imaging.model import Denoiser, ImageModel


@pytest.fixture(scope="module")
def signals() -> Any:
    """benchmarks/private_attacks_signals.py."""
    sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))
    try:
        import private_attacks_signals  # type: ignore[import-not-found]
    finally:
        sys.path.pop(0)
    return private_attacks_signals


def test_factors_span_the_rows_that_they_were_fitted_to_better_than_others(signals: Any) -> None:
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((60, 400))
    loadings = np.linalg.svd(rows[:30], full_matrices=False)[2][:20].T
    found = signals.normal_fit(rows, loadings, np.ones(400))
    assert found.shape == (60, 3)
    assert auc(found[:30, 1], found[30:, 1]) > 0.95
    # log-likelihoods are those of the normal, but for what does not depend on the row or the model
    whole = loadings @ loadings.T + np.eye(400)
    inverse = np.linalg.inv(whole)
    right = -0.5 * (np.einsum("nk,kl,nl->n", rows, inverse, rows) + np.linalg.slogdet(whole)[1])
    np.testing.assert_allclose(found[:, 0], right)


def test_a_prior_of_few_images_knows_them(signals: Any) -> None:
    rng = np.random.default_rng(1)
    z = rng.standard_normal((160, 30))
    people = [PatientProfile(str(i)) for i in range(len(z))]
    prior = fit_public(z[:80], np.zeros((80, 0), np.float32), people[:80], PriorSettings(rank=30))
    found = signals.of_prior(prior, z, people)
    assert auc(found[:80, 0], found[80:, 0]) > 0.6
    assert found.shape == (160, 2)


SHAPE = ImageModel(size=8, patch_size=2, widths=(16, 16), layers=1, attention=(False, False), components=4)


def test_a_flow_that_fits_an_image_reads_lower_errors_and_a_likelier_start(signals: Any) -> None:
    rng = torch.Generator().manual_seed(0)
    images = torch.rand((24, 1, 8, 8), generator=rng) * 2 - 1
    torch.manual_seed(0)
    net = Denoiser(0, SHAPE)
    net.fit_source(images[:12])
    code = torch.zeros(len(images), 0)
    before = signals.noise_levels(net, images, code)
    assert before.shape == (24, len(signals.LEVELS) * signals.NOISES)
    np.testing.assert_array_equal(before, signals.noise_levels(net, images, code))  # the noises are fixed
    optimizer = torch.optim.Adam(net.parameters(), 2e-3)
    x = images[:12]
    for _ in range(150):
        source = net.source(torch.randn(x.shape), torch.randn(len(x), 4))
        time = torch.rand(len(x))
        t = time[:, None, None, None]
        loss = (
            (net((1 - t) * x + t * source, time, code[:12], torch.zeros(12)) - (source - x)).square().mean()
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    after = signals.noise_levels(net, images, code).mean(1)
    assert auc(after[:12], after[12:]) > 0.8
    assert signals.inverted(net, images, code).shape == (24, 2)


def test_one_member_more_is_found_with_its_exact_interval() -> None:
    scores = np.concatenate([np.full(30, 5.0), np.zeros(70), np.linspace(-1, 1, 100)])
    found = Target("", "", "", "").measured(scores, np.arange(200) < 100, "", 0)
    assert found.tpr_at_1_fpr == 0.3
    assert found.tpr_interval == pytest.approx((0.2124, 0.3998), abs=1e-3)  # Clopper and Pearson, 30 of 100
