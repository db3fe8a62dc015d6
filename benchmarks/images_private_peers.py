"""Published methods of private images, written fresh on the public data of images.py: private evolution, DP-FETA."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from images_judges import FeatureSpace
from images_peers import direct, privately, rows_of, untrained
from images_table import Pixels, read
from numpy.typing import NDArray

from polyclinic.core.dp.budget import Budget, PrivacyPlan, noise_for
from polyclinic.core.training.fit import Fit
from polyclinic.core.training.trainer import fit
from polyclinic.modalities.imaging.generator import STEPS, ImageGenerator
from polyclinic.modalities.imaging.model import Denoiser
from polyclinic.modalities.imaging.sampler import draw

Labels = NDArray[np.bool_]
ROUNDS = 6
CANDIDATES = 256  # of each class
PARTS = 10  # of a class, each with a mean image
KEPT = 128  # coarse coordinates of a candidate
SPREAD = 0.6  # of a variation about its candidate, in the first round; it is halved by the last


def candidates(net: Denoiser, data: Path) -> NDArray[np.float64]:
    """(image, component) coordinates of public X-rays."""
    images, _ = read("imaging_prior", "mednist CXR", data, "train")
    with torch.no_grad():
        parts = (torch.from_numpy(images[i : i + 512])[:, None] * 2 - 1 for i in range(0, len(images), 512))
        return np.concatenate([net.coordinates(part).double().numpy() for part in parts])[:, :KEPT]


def private_evolution(
    generator: ImageGenerator,
    space: FeatureSpace,
    data: Path,
    x: Pixels,
    y: Labels,
    wanted: Labels,
    budget: Budget,
    seed: int,
) -> Pixels:
    """Private evolution (Lin et al. 2024): each patient votes for the candidate of his class that is nearest in
    features; votes get noise and a threshold; candidates are drawn by them and varied. Forward passes only.

    A candidate is a coarse image of public components, at first one of public X-rays; what votes compare are coarse
    images of patients and candidates. The flow draws the detail of the last ones.
    """
    random, net = np.random.default_rng(seed), generator.net
    public = candidates(net, data)
    (noise,) = noise_for(budget, [1.0])
    noise *= np.sqrt(ROUNDS)
    with torch.no_grad():
        own = net.coordinates(torch.from_numpy(x)[:, None] * 2 - 1).double().numpy()[:, :KEPT]
    real = space(direct(net, own.astype(np.float32)))
    coarse = np.zeros((len(wanted), KEPT), dtype=np.float32)
    for label in (False, True):
        found = public[random.choice(len(public), CANDIDATES, replace=False)]
        for step in range(ROUNDS):
            votes = nearest(real[y == label], space(direct(net, found.astype(np.float32))))
            votes = votes + noise * random.standard_normal(CANDIDATES)
            votes = np.where(votes > 2 * noise, votes, 0.0)
            share = votes / votes.sum() if votes.any() else np.full(CANDIDATES, 1 / CANDIDATES)
            chosen = found[random.choice(CANDIDATES, CANDIDATES, p=share)]
            spread = SPREAD * 0.5 ** (step / (ROUNDS - 1))
            turned = np.sqrt(1 - spread**2) * chosen + spread * random.standard_normal(chosen.shape)
            found = np.where(np.arange(CANDIDATES)[:, None] % 2, turned, chosen)
        rows = np.flatnonzero(wanted == label)
        coarse[rows] = found[random.integers(CANDIDATES, size=len(rows))]
    return flowed(generator, coarse, seed)


def nearest(real: NDArray[np.float64], found: NDArray[np.float64]) -> NDArray[np.float64]:
    """(candidate,) how many real rows it is nearest to; a patient adds 1 to one number."""
    apart = (found**2).sum(1) - 2 * real @ found.T
    return np.bincount(apart.argmin(1), minlength=len(found)).astype(np.float64)


def flowed(generator: ImageGenerator, coarse: NDArray[np.float32], seed: int) -> Pixels:
    """Coarse images with the detail that the flow draws."""
    code = np.zeros((len(coarse), len(generator.card.columns)), dtype=np.float32)
    seeds = [seed * 1_000_003 + i for i in range(len(coarse))]
    return (draw(generator.net, code, seeds, generator.shape, coarse, STEPS)[:, 0] + 1) / 2


def mean_images_first(
    x: Pixels, y: Labels, wanted: Labels, budget: Budget, steps: int, batch: int, seed: int, warm: int
) -> Pixels:
    """DP-FETA (Li et al. 2025): private mean images of each class teach the network first, then DP-SGD does.

    A mean image is of a random tenth of a class at 16 x 16 pixels. A patient is in one of them, and moves its sum by
    8 at most, half of the range of grey in each pixel. A tenth of the budget, as squared signal, pays for them.
    """
    random = np.random.default_rng(seed)
    noise, _ = noise_for(budget, [0.1, 0.9])
    small = x.reshape(len(x), 16, 4, 16, 4).mean((2, 4)) - 0.5
    part = random.integers(PARTS, size=len(x))
    means, labels = [], []
    for label in (False, True):
        for i in range(PARTS):
            rows = small[(y == label) & (part == i)]
            total = rows.sum(0) + noise * 8 * random.standard_normal((16, 16))
            means.append(0.5 + total / max(1, len(rows)))
            labels.append(label)
    images = np.stack(means).clip(0, 1).repeat(4, axis=1).repeat(4, axis=2)
    module = untrained(seed)
    with TemporaryDirectory() as folder:
        how = Fit(folder=Path(folder), progress=False, seed=seed)
        fit(module, rows_of(images, np.array(labels)), how, name="warm", steps=warm, batch_size=16, ema=None)
    beside = [PrivacyPlan.once(len(x), noise, budget.delta, "mean images")]
    plan = PrivacyPlan.for_budget(budget, len(x), batch, steps, 0.3, beside)
    return privately(module, x, y, wanted, plan, seed)
