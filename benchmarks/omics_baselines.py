"""Baselines of the omics benchmark: what a few lines of known methods do on the same patients."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import TensorDataset

from polyclinic.core.dp.budget import Budget, PrivacyPlan, noise_for
from polyclinic.core.training.fit import Fit
from polyclinic.core.training.trainer import fit
from polyclinic.modalities.omics.marginals import Marginals
from polyclinic.modalities.omics.private import clipped
from polyclinic.modalities.omics.vae import Network, OmicsVae, Training

Array = NDArray[np.float32]
COLUMNS = ["pam50=LumA", "pam50=LumB", "pam50=Basal", "pam50=Her2", "pam50=Normal", "pam50?"]


def hot(subtype: NDArray[np.int64]) -> Array:
    """(patient, column) of COLUMNS."""
    return np.concatenate([np.eye(5)[subtype], np.ones((len(subtype), 1))], axis=1).astype(np.float32)


class NormalScores:
    """Marginals of the train rows (taken as public by all baselines) and their normal scores."""

    def __init__(self, values: Array, seed: int) -> None:
        self.marginals = Marginals.fit(values)
        self.scores = self.marginals.to_scores(values, np.random.default_rng(seed)).astype(np.float64)

    def values(self, scores: NDArray[np.float64]) -> Array:
        """Back to values."""
        return self.marginals.to_values(scores.astype(np.float32))


def class_normal(data: NormalScores, subtype: NDArray[np.int64], seed: int, rank: int = 60) -> Array:
    """A normal a subtype in the space of principal components, covariance half its own, independent residue."""
    rng = np.random.default_rng(seed)
    centre = data.scores.mean(0)
    axes = np.linalg.svd(data.scores - centre, full_matrices=False)[2][:rank]
    latent = (data.scores - centre) @ axes.T
    spread = (data.scores - centre - latent @ axes).std(0)
    means = np.stack([latent[subtype == k].mean(0) for k in range(5)])
    pooled = np.cov((latent - means[subtype]).T)
    drawn = np.empty_like(latent)
    for k in range(5):
        own = np.flatnonzero(subtype == k)
        covariance = 0.5 * np.cov(latent[own].T) + 0.5 * pooled
        drawn[own] = rng.multivariate_normal(means[k], covariance, len(own))
    return data.values(centre + drawn @ axes + spread * rng.standard_normal(data.scores.shape))


def plain_cvae(
    data: NormalScores,
    subtype: NDArray[np.int64],
    folder: Path,
    steps: int,
    seed: int,
    budget: Budget | None = None,
) -> tuple[Array, Array]:
    """Two draws of a CVAE with the prior N(0, I); under a budget, it is trained by DP-SGD."""
    small = budget is not None
    network = Network(latent=16 if small else 64, width=64 if small else 256)
    module = OmicsVae([data.scores.shape[1]], COLUMNS, network, Training(kl=1.0, learning_rate=2e-3))
    rows, code = torch.from_numpy(data.scores).float(), torch.from_numpy(hot(subtype))
    how = Fit(folder=folder, accelerator="cpu", precision="32-true", seed=seed, progress=False, budget=budget)
    people = [str(i) for i in range(len(rows))]
    plan = None
    if budget is not None:
        plan = PrivacyPlan.for_budget(
            budget, len(people), batch=128, steps=min(steps, 200), max_grad_norm=1.0
        )
    fit(
        module, TensorDataset(rows, code), how, name=f"baseline{seed}", steps=steps, batch_size=128,
        plan=plan, patients=people, ema=None,
    )  # fmt: skip
    rng = torch.Generator().manual_seed(seed)

    def draw() -> Array:
        with torch.no_grad():
            scores = module.decoder(torch.randn(len(rows), network.latent, generator=rng), code)
            scores = scores + module.log_spread.exp() * torch.randn(scores.shape, generator=rng)
        return data.values(scores.double().numpy())

    return draw(), draw()


def dp_moments(data: NormalScores, subtype: NDArray[np.int64], budget: Budget, seed: int) -> Array:
    """Class means and the second moment of normal scores, clipped to their usual length, half the budget each."""
    rng = np.random.default_rng(seed)
    people, features = data.scores.shape
    norm = float(np.sqrt(features))
    noise = noise_for(budget, [0.5, 0.5])
    rows = clipped(data.scores, norm)
    means = np.zeros((5, features))
    for k in range(5):
        noisy = rows[subtype == k].sum(0) + norm * noise[0] * rng.standard_normal(features)
        means[k] = noisy / (subtype == k).sum()
    rest = clipped(data.scores - means[subtype], norm)
    error = np.triu(rng.standard_normal((features, features)) * norm**2 * noise[1] / np.sqrt(2))
    second = (rest.T @ rest + error + error.T - np.diag(np.diag(error))) / people
    values, vectors = np.linalg.eigh(second)
    top = np.argsort(values)[-40:]
    root = vectors[:, top] * np.sqrt(np.maximum(values[top], 0))
    left = np.sqrt(np.clip(1 - np.square(root).sum(1), 0.1, None))
    drawn = means[subtype] + rng.standard_normal((people, len(top))) @ root.T
    return data.values(drawn + left * rng.standard_normal(drawn.shape))
