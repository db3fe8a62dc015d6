"""Peers of the private X-ray model, each with the same budget: what others would do. Used by benchmarks/images.py."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils.data import TensorDataset

from polyclinic.core.dp.budget import Budget, PrivacyPlan, noise_for
from polyclinic.core.training.fit import Fit
from polyclinic.core.training.trainer import fit
from polyclinic.core.training.weights import Weights
from polyclinic.modalities.imaging.adapters import Trainable, restrict
from polyclinic.modalities.imaging.diffusion import ImageDiffusion
from polyclinic.modalities.imaging.model import Denoiser, ImageModel, ImageTraining, network_of
from polyclinic.modalities.imaging.sampler import draw
from polyclinic.modalities.imaging.training import start

Pixels = NDArray[np.float32]  # (image, y, x) in [0, 1]
Labels = NDArray[np.bool_]


def direct(net: Denoiser, coarse: NDArray[np.float32]) -> Pixels:
    """Coarse pictures as they are: (image, kept) coordinates sampled from released moments, nothing drawn on them."""
    with torch.no_grad():
        weights = torch.zeros(len(coarse), len(net.basis))
        weights[:, : coarse.shape[1]] = torch.from_numpy(coarse)
        images = net.mean + torch.tensordot(weights, net.basis, dims=1)
    return ((images[:, 0].clamp(-1, 1) + 1) / 2).numpy()


def mean_plus_noise(
    net: Denoiser, z: NDArray[np.float64], y: Labels, wanted: Labels, budget: Budget, kept: int, seed: int
) -> Pixels:
    """The private mean of each class, and white noise as wide as public images differ."""
    random = np.random.default_rng(seed)
    (noise,) = noise_for(budget, [1.0])
    bound = 1.5 * np.sqrt(kept)
    u = z[:, :kept] / np.maximum(1.0, np.linalg.norm(z[:, :kept], axis=1, keepdims=True) / bound)
    means = [
        (u[y == c].sum(0) + noise * bound * random.standard_normal(kept)) / max(1, np.count_nonzero(y == c))
        for c in (False, True)
    ]
    images = direct(net, np.stack([means[int(c)] for c in wanted]).astype(np.float32))
    spread = float(net.basis.square().sum(0).mean().sqrt()) / 2
    return np.clip(images + spread * random.standard_normal(images.shape), 0, 1).astype(np.float32)


def mean_embedding(
    z: NDArray[np.float64], y: Labels, wanted: Labels, budget: Budget, kept: int, seed: int, width: int = 2000
) -> NDArray[np.float32]:
    """(image, kept) coordinates from a generator that matches a private mean embedding of each class.

    DP-MERF (Harder et al. 2021): random Fourier features of norm 1, their class sums released once, a
    network trained to have the same. In the public components, where a Gaussian kernel means something.
    """
    random = np.random.default_rng(seed)
    (noise,) = noise_for(budget, [1.0])
    frequencies = torch.from_numpy(random.standard_normal((kept, width // 2)) / np.sqrt(kept)).float()

    def embedded(points: torch.Tensor) -> torch.Tensor:
        angles = points @ frequencies
        return torch.cat([angles.cos(), angles.sin()], dim=1) / (width / 2) ** 0.5

    phi = embedded(torch.from_numpy(z[:, :kept]).float())
    released = [
        (
            phi[torch.from_numpy(y == c)].sum(0)
            + noise * torch.from_numpy(random.standard_normal(width)).float()
        )
        / max(1, np.count_nonzero(y == c))
        for c in (False, True)
    ]
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(33, 200), nn.ReLU(), nn.Linear(200, 200), nn.ReLU(), nn.Linear(200, kept))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    for _ in range(600):
        gap = torch.zeros(())
        for c in (0, 1):
            drawn = net(torch.cat([torch.randn(256, 32), torch.full((256, 1), float(c))], dim=1))
            gap = gap + (embedded(drawn).mean(0) - released[c]).square().sum()
        optimizer.zero_grad()
        gap.backward()
        optimizer.step()
    code = torch.from_numpy(wanted.astype(np.float32))[:, None]
    with torch.no_grad():
        return net(torch.cat([torch.randn(len(wanted), 32), code], dim=1)).numpy()


def dp_sgd(
    x: Pixels,
    y: Labels,
    wanted: Labels,
    budget: Budget,
    steps: int,
    batch: int,
    seed: int,
    prior: Weights | None,
    trainable: Trainable = "all",
    multiplicity: int = 1,
) -> Pixels:
    """DP-SGD of the flow with the finding as condition, the whole budget on it.

    It starts from random weights and white noise, or from the public prior.
    """
    module = untrained(seed, prior, multiplicity)
    restrict(module.net, trainable, module.training_settings.rank)
    plan = PrivacyPlan.for_budget(budget, len(x), batch, steps, 0.3)
    return privately(module, x, y, wanted, plan, seed)


def untrained(seed: int, prior: Weights | None = None, multiplicity: int = 1) -> ImageDiffusion:
    """The flow with the finding as condition, from random weights and white noise or from the public prior."""
    shape = ImageModel(components=0) if prior is None else network_of(prior.card)
    torch.manual_seed(seed)
    training = ImageTraining(hide=0.0, learning_rate=1e-3, augmentation_multiplicity=multiplicity)
    module = ImageDiffusion(("J18.9",), shape, training)
    if prior is not None:
        start(module.net, prior, ("J18.9",))
    return module


def rows_of(x: Pixels, y: Labels) -> TensorDataset:
    """Images and findings as the flow takes them."""
    pixels, finding = (x * 255).round().astype(np.uint8), np.where(y, 1.0, -1.0).astype(np.float32)
    return TensorDataset(torch.from_numpy(pixels)[:, None], torch.from_numpy(finding)[:, None])


def privately(
    module: ImageDiffusion, x: Pixels, y: Labels, wanted: Labels, plan: PrivacyPlan, seed: int
) -> Pixels:
    """Images of the wanted findings after DP-SGD under the plan."""
    with TemporaryDirectory() as folder:
        fit(
            module, rows_of(x, y), Fit(folder=Path(folder), progress=False), name="dp-sgd", steps=plan.steps,
            batch_size=32, plan=plan, patients=[str(i) for i in range(len(x))], ema=None,
        )  # fmt: skip
    code = np.where(wanted, 1.0, -1.0).astype(np.float32)[:, None]
    shape = ImageModel(components=len(module.net.basis))
    images = draw(module.net, code, list(range(seed, seed + len(wanted))), shape, None, 8)
    return (images[:, 0] + 1) / 2
