"""Moment matching: how often the network charts each channel and how far its stays drift, set as in real stays.

Trained on one hour at a time, a network charts a little too often or too seldom, and lets levels wander too little
over a day. Both are measured on its own draws. They touch patients, so that there is none of it under a budget.
Drift counts in standard deviations of the stay: else a few unsteady stays would decide it for all.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ....core.types import BoolArray, Float32Array, FloatArray
from .baseline_shift import even
from .network import DRAWS, TRENDS, VitalsNet
from .quantizer import SHIPPED, Lattice, to_readings
from .training import Stays

MOST = 16000  # stays that are drawn to be measured, in each round
ROWS = 200  # at a time
ROUNDS = 5  # of which the later ones correct by a smaller share, so that chance in the draws averages out
FEW = 8  # readings a channel needs for its trends
LEAST = 100  # stays a pair of trends needs


def match_moments(net: VitalsNet, stays: Stays, seed: int) -> None:
    """Set the network's `charting` and `drift` by its draws for the profiles of up to MOST of these stays."""
    few = torch.from_numpy(np.random.default_rng(seed).permutation(len(stays.code))[:MOST])
    real = stays.readings()
    drawn = match_charting(net, log_odds(real, stays.length), stays.code[few], seed, (1, *range(1, ROUNDS)))
    whole = real[(stays.length >= net.shape.hours).numpy()]
    net.drift.copy_(torch.from_numpy(missing_drift(whole, drawn)))


def match_charting(
    net: VitalsNet, wanted: Tensor, code: Tensor, seed: int, divisors: Sequence[int], farthest: float = np.inf
) -> Float32Array:
    """Move the network's `charting` to the wanted log odds, a round a divisor; the whole stays that it drew."""
    random, rounds = torch.Generator().manual_seed(seed), []
    for divisor in divisors:
        drawn, length = drawn_for(net, code, random)
        rounds.append(drawn[(length >= net.shape.hours).numpy()])
        net.charting += (wanted - log_odds(drawn, length)) / divisor
        net.charting.clamp_(-farthest, farthest)
    return np.concatenate(rounds)


def drawn_for(net: VitalsNet, code: Tensor, random: torch.Generator) -> tuple[Float32Array, Tensor]:
    """(stay, hour, channel) readings, and how long each stay lasts."""
    readings, lengths = [], []
    for start in range(0, len(code), ROWS):
        rows = code[start : start + ROWS]
        uniforms = torch.rand(len(rows), net.shape.hours, net.lattice.count, DRAWS, generator=random)
        bins, half, present, length = net.draw(rows, torch.full((len(rows),), torch.nan), uniforms)
        within = uniforms[..., 1].numpy()
        readings.append(to_readings(bins.numpy(), half.numpy(), present.numpy(), net.lattice, within))
        lengths.append(length)
    return np.concatenate(readings), torch.cat(lengths)


def log_odds(readings: Float32Array, length: Tensor) -> Tensor:
    """(channel,) of being charted in an hour of the stay, half an hour added to either side."""
    inside = np.arange(readings.shape[1]) < length.numpy()[:, None]
    charted = np.isfinite(readings[inside]).sum(0)
    return torch.from_numpy(np.log((charted + 0.5) / (inside.sum() - charted + 0.5)).astype(np.float32))


def _basis(hours: int, day: int) -> FloatArray:
    """(hour, 2): a line and a parabola over the day, of mean square 1 (Legendre); later hours keep its end."""
    x = 2 * (np.minimum(np.arange(hours), day - 1) + 0.5) / day - 1
    return np.stack([np.sqrt(3) * x, np.sqrt(5) * (3 * x * x - 1) / 2], axis=1)


def _deviations(stays: Float32Array) -> tuple[FloatArray, FloatArray]:
    """(..., channel) standard deviation of (..., hour, channel) readings within the stay, and how many there are."""
    count = np.isfinite(stays).sum(-2)
    away = stays - (np.nansum(stays, axis=-2) / count.clip(min=1))[..., None, :]
    return np.sqrt(np.nansum(np.square(away), axis=-2) / count.clip(min=1)), count


def trends_of(stays: Float32Array) -> tuple[FloatArray, BoolArray]:
    """(stay, trend) by least squares, in deviations of the stay, and whether the stay has them."""
    hours = stays.shape[1]
    basis = np.concatenate([np.ones((hours, 1)), _basis(hours, hours)], axis=1)
    normal = np.einsum("shc,hi,hj->scij", np.isfinite(stays), basis, basis) + 1e-3 * np.eye(3)
    values = np.einsum("shc,hi->sci", np.nan_to_num(stays), basis)
    deviation, count = _deviations(stays)
    steady = deviation < 1e-6
    trends = (
        np.linalg.solve(normal, values[..., None])[..., 1:, 0] / np.where(steady, 1, deviation)[..., None]
    )
    trends = trends.reshape(len(stays), TRENDS * stays.shape[2])
    return trends, np.repeat((count >= FEW) & ~steady, 2, axis=1)


def _covariance(stays: Float32Array) -> FloatArray:
    """(trend, trend) of trends; each pair over the stays that have both."""
    trends, known = trends_of(stays)
    away = np.where(known, trends - (trends * known).sum(0) / known.sum(0).clip(min=1), 0)
    both = known.astype(float).T @ known.astype(float)
    return np.asarray((both >= LEAST) * (away.T @ away) / both.clip(min=1))


def missing_drift(real: Float32Array, drawn: Float32Array) -> Float32Array:
    """(trend, trend) root of the covariance of trends that (stay, hour, channel) real stays have more of."""
    values, vectors = np.linalg.eigh(_covariance(real) - _covariance(drawn))
    return (vectors * np.sqrt(values.clip(min=0))).astype(np.float32)


def with_drift(
    readings: Float32Array, root: Float32Array, normal: FloatArray, day: int, lattice: Lattice = SHIPPED
) -> Float32Array:
    """(hour, channel) with the drift that `normal` (trend,) draws, in steps of readings, within their range."""
    trend = (root @ normal).reshape(lattice.count, TRENDS)
    drift = (_basis(len(readings), day) @ trend.T) * _deviations(readings)[0]
    unit = lattice.grain * np.where(even(readings, lattice), 2, 1)
    moved = np.clip(readings + unit * np.rint(drift / unit), lattice.floor, lattice.ceiling)
    return lattice.rounded(moved)
