"""What somebody who holds weights reads in them about a patient whose record he has; higher means "was learnt from"."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtri
from torch import Tensor

from polyclinic import PatientProfile
from polyclinic.core.training.weights import Weights
from polyclinic.modalities.imaging.gaussian_prior import GaussianPrior, classes_of
from polyclinic.modalities.imaging.model import Denoiser
from polyclinic.modalities.omics.generator import Sampler
from polyclinic.modalities.omics.tumours import Tumours
from polyclinic.modalities.signals.ecg.morphology import QUANTILES, MorphologyModel

Values = NDArray[np.float64]

LEVELS = (0.1, 0.3, 0.5, 0.7)  # of noise, 0 is the image and 1 the start of the flow
NOISES = 2  # fixed starts a noise level
INVERSION = 5  # steps from the image back to its start
ROWS = 64


def normal_fit(rest: Values, loadings: Values, spread: Values) -> Values:
    """(row, 3): how well normal factors (number, factor) and independent residues explain rows (row, number).

    Log-likelihood; share of the energy that lies in the span of the loadings; and the log-likelihood of the
    independent residues alone. Loadings that were fitted to a row span it better than they span others.
    """
    scaled, lines = rest / spread, loadings / spread[:, None]
    energy = np.square(scaled).sum(1)
    inner = lines.T @ lines
    along = scaled @ lines
    quadratic = energy - np.einsum("nk,nk->n", along, np.linalg.solve(np.eye(len(inner)) + inner, along.T).T)
    basis = np.linalg.qr(lines)[0]
    spanned = np.square(scaled @ basis).sum(1) / np.maximum(energy, 1e-12)
    determinant = np.linalg.slogdet(np.eye(len(inner)) + inner)[1]
    return np.stack([-0.5 * (quadratic + determinant), spanned, -0.5 * energy], axis=1)


@torch.no_grad()
def of_tumours(weights: Weights, tumours: Tumours) -> Values:
    """(patient, 3) as normal_fit, of tumours' scores under the weights; the decoder is taken as a line at each class.

    Every patient's class must be known.
    """
    model = Sampler(weights)
    prior, rng = model.prior, np.random.default_rng(0)
    scores = model.marginals.to_scores(tumours.values, rng).astype(np.float64)
    first = prior.root.shape[1] - model.factors.shape[1]
    factors = model.factors.double().cpu().numpy()
    code = torch.from_numpy(tumours.code)
    out = np.empty((len(scores), 3))
    for kind in np.unique(tumours.subtype):
        own = tumours.subtype == kind
        given = tumours.code[own]
        known = given[:, model.masks] > 0
        away = np.where(known, given[:, model.linear].astype(np.float64) - prior.middle, 0.0)
        latent = prior.centre[kind] + away @ prior.line.T
        centre = torch.from_numpy(latent[:, :first]).float()
        mean = model.decoder(centre, code[own]).double().numpy() + latent[:, first:] @ factors.T
        at = centre.mean(0, keepdim=True).expand(first, -1)
        here = code[own].mean(0, keepdim=True).expand(first, -1)
        step = 0.1
        lines = (model.decoder(at + step * torch.eye(first), here) - model.decoder(at, here)) / step
        loadings = np.concatenate([lines.double().numpy().T, factors], axis=1) @ prior.root[kind]
        out[own] = normal_fit(
            np.nan_to_num(scores[own] - mean), loadings, np.asarray(model.spread, dtype=np.float64)
        )
    return out


def of_hearts(model: MorphologyModel, scores: Values, code: Values) -> Values:
    """(record, 2): log-likelihoods of morphology scores (record, score) under the copula, given the code: with the
    correlations, and without.
    """
    design = np.concatenate([code, np.ones((len(code), 1))], axis=1)
    low, middle, high = (model.quantiles[np.abs(QUANTILES - q).argmin()] for q in (0.16, 0.5, 0.84))
    width = float(ndtri(QUANTILES[np.abs(QUANTILES - 0.84).argmin()]))
    spread = (high - low) / (2 * width) + 1e-9
    normal = (scores - model.bias - design @ model.regression - middle) / spread
    alone = -0.5 * np.square(normal).sum(1) - np.log(spread).sum()
    free = np.linalg.solve(model.cholesky, normal.T).T
    both = -0.5 * np.square(free).sum(1) - np.log(spread).sum() - np.log(np.diag(model.cholesky)).sum()
    return np.stack([both, alone], axis=1)


def of_prior(prior: GaussianPrior, z: Values, profiles: Sequence[PatientProfile]) -> Values:
    """(image, 2): log-likelihoods of coarse images (image, component) under their class: with the covariance, and by
    the distance from the mean alone. Best of a class's normals.
    """
    place = classes_of(prior.by, profiles)[1]
    values = list(classes_of(prior.by, profiles)[0])
    out = np.full((len(z), 2), -np.inf)
    for value, line, root in zip(prior.values, prior.line, prior.root, strict=True):
        own = place == values.index(value)
        away = z[own][:, : prior.rank] - line[:, -1]
        free = np.linalg.solve(root, away.T).T
        likely = -0.5 * np.square(free).sum(1) - np.linalg.slogdet(root)[1]
        out[own] = np.maximum(out[own], np.stack([likely, -0.5 * np.square(away).sum(1)], axis=1))
    return out


def noise_levels(net: Denoiser, images: Tensor, condition: Tensor) -> Values:
    """(image, noise level and start): minus the velocity's mean squared error, at fixed starts and noise levels.

    images (image, channel, y, x) in [-1, 1]; every start is free (no component is kept).
    """
    random = torch.Generator().manual_seed(0)
    found = []
    for level in LEVELS:
        for _ in range(NOISES):
            white = torch.randn(images.shape[1:], generator=random)
            weights = torch.randn(len(net.basis), generator=random)
            source = net.source(white[None], weights[None])
            found.append(
                torch.cat(
                    [
                        -(_velocity(net, (1 - level) * x + level * source, level, code) - (source - x))
                        .square()
                        .mean(dim=(1, 2, 3))
                        for x, code in _blocks(images, condition)
                    ]
                )
            )
    return torch.stack(found, dim=1).double().numpy()


def inverted(net: Denoiser, images: Tensor, condition: Tensor) -> Values:
    """(image, 2): the flow is run backwards from the image to its start (Euler, 5 steps); log-density of that start's
    white part, and minus the squared error of the image that one step from it gives back.

    Shapes as in noise_levels.
    """
    found = []
    for x, code in _blocks(images, condition):
        place = x
        for step in range(INVERSION):
            place = place + _velocity(net, place, step / INVERSION, code) / INVERSION
        white = place - net.mean - torch.tensordot(net.coordinates(place), net.basis, dims=1)
        back = place - _velocity(net, place, 1.0, code)
        likely = -0.5 * (white / net.rest).square().mean(dim=(1, 2, 3))
        found.append(torch.stack([likely, -(back - x).square().mean(dim=(1, 2, 3))], dim=1))
    return torch.cat(found).double().numpy()


@torch.no_grad()
def _velocity(net: Denoiser, place: Tensor, time: float, condition: Tensor) -> Tensor:
    rows = len(place)
    return net(place, torch.full((rows,), time), condition, torch.zeros(rows)).float()


def _blocks(images: Tensor, condition: Tensor) -> list[tuple[Tensor, Tensor]]:
    return list(zip(images.split(ROWS), condition.split(ROWS), strict=True))
