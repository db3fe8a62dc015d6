"""Train the choice: histograms of the patients' figures, released under a budget, and the tables that match them.

The prior proposes stays for profiles that are nobody's. Tables of log odds are set so that stays which are chosen
among the proposals have the released histograms: of all tables the ones of greatest entropy, less a penalty.
"""

import json
import math
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ....core.cohort.disk import write_atomic
from ....core.dp.budget import PrivacyPlan
from ....core.profile import PatientProfile
from ....core.types import BoolArray, Float32Array, FloatArray, IntArray
from ..ecg.private import one_each
from .choice import Choice, shape_figures
from .quantizer import Lattice
from .trajectory import SEPSIS

BINS = 10
LEVEL_BINS = 16
RIDGE, SEPTIC_RIDGE = 0.01, 0.03  # penalties of squared log odds
MERGED = 2  # bins of a figure that are one in sepsis, of which there are few stays
SEPTIC_BLOCKS = (1, 3, 4, 5, 7, 8, 10, 14, 19)  # of stay_figures(), what summary figures say of a stay
EVEN = 0.05  # penalty of squared log weights of profiles
FLOOR = 1e-4  # share of a bin, of which less is noise
MOST_ITERATIONS = 120


@dataclass(frozen=True)
class Histograms:
    """Shares of stays: (figure, bin) without sepsis, (figure, wider bin) of septic ones, levels (field, bin)."""

    figures: FloatArray
    septic: FloatArray
    levels: FloatArray

    def save(self, path: Path) -> None:
        """A resumed run reads them again; to draw them anew would cost twice."""
        kept = {name: shares.tolist() for name, shares in vars(self).items()}
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, json.dumps(kept).encode())

    @classmethod
    def load(cls, path: Path) -> "Histograms":
        """Inverse of save()."""
        found = json.loads(path.read_text(encoding="utf-8"))
        return cls(**{name: np.array(shares) for name, shares in found.items()})


def edges_of(figures: Float32Array, bins: int = BINS) -> Float32Array:
    """(figure, bin - 1) quantiles of drawn stays, which are public."""
    return np.quantile(figures, np.arange(1, bins) / bins, axis=0).T.astype(np.float32)


def septic_figures(lattice: Lattice) -> IntArray:
    """Which of shape_figures() are released of septic stays: those that SEPTIC_BLOCKS names."""
    count = lattice.count
    return np.concatenate([np.arange((block - 1) * count, block * count) for block in SEPTIC_BLOCKS])


def level_bins(profiles: Sequence[PatientProfile], lattice: Lattice) -> IntArray:
    """(profile, field) bin of each baseline on the channel's public range; the last one where it is not known."""
    out = []
    for channel, low, high in zip(lattice.channels, lattice.floor, lattice.ceiling, strict=True):
        if not channel.field:
            continue
        values = np.array([profile.measurements.get(channel.field, np.nan) for profile in profiles])
        place = np.clip((values - low) / (high - low) * LEVEL_BINS, 0, LEVEL_BINS - 1)
        out.append(np.where(np.isnan(values), LEVEL_BINS, np.nan_to_num(place)).astype(np.int64))
    return np.stack(out, axis=1)


def histograms(
    readings: Float32Array, whole: BoolArray, profiles: Sequence[PatientProfile], edges: Float32Array,
    lattice: Lattice, plan: PrivacyPlan | None,
) -> Histograms:  # fmt: skip
    """Of the stays that last the `whole` window; under a plan of one random stay a patient, noise added.

    A stay is in one bin of each figure and of each level, so that no patient moves the counts by more than the root of
    their number, and nothing is clipped. Septic stays count in fewer figures, and have less noise for it.
    """
    rows = one_each([profile.patient_id for profile in profiles]) if plan else np.arange(len(profiles))
    rows = rows[whole[rows]]
    size = edges.shape[1] + 1
    nothing = np.zeros((len(edges), size), dtype=np.float32)
    bins = Choice(edges, nothing, nothing).bins(shape_figures(readings[rows], lattice))
    kept = [profiles[i] for i in rows]
    levels = level_bins(kept, lattice)
    septic = np.array([profile.has(SEPSIS) for profile in kept], dtype=bool)
    few = septic_figures(lattice)
    counts = [
        _counts(bins[~septic], size),
        _counts(bins[septic][:, few] // MERGED, -(-size // MERGED)),
        _counts(levels, LEVEL_BINS + 1),
    ]
    if plan is not None:
        random = np.random.default_rng(secrets.randbits(128))
        for part, length in zip(counts, noise_lengths(len(edges), levels.shape[1], lattice), strict=True):
            part += plan.noise_multiplier * length * random.standard_normal(part.shape)
    return Histograms(*(_shares(part) for part in counts))


def noise_lengths(figures: int, levels: int, lattice: Lattice) -> list[float]:
    """Deviations of the noise on figures, septic figures and levels, of a plan whose multiplier is 1.

    A patient is in the first and the last, or in the second and the last: either is no longer than 1 in these.
    """
    all_, few = figures + levels, len(septic_figures(lattice))
    return [math.sqrt(all_), math.sqrt(few * all_ / figures), math.sqrt(all_)]


def _counts(bins: IntArray, size: int) -> FloatArray:
    """(column, bin) how many rows are in each."""
    return np.stack([np.bincount(column, minlength=size) for column in bins.T]).astype(np.float64)


def _shares(counts: FloatArray) -> FloatArray:
    positive = np.maximum(counts, FLOOR * np.maximum(counts.sum(-1, keepdims=True), 1))
    return np.asarray(positive / positive.sum(-1, keepdims=True))


def learn_choice(
    figures: Float32Array, whole: BoolArray, profiles: Sequence[PatientProfile], edges: Float32Array,
    wanted: Histograms, lattice: Lattice,
) -> Choice:  # fmt: skip
    """From proposals, (proposal, profile, figure), and which of them last the window; profiles count by levels.

    First the tables of stays without sepsis; then, those in place, what sepsis adds to them.
    """
    nothing = np.zeros((len(edges), edges.shape[1] + 1), dtype=np.float32)
    some: BoolArray = np.asarray(whole.any(0))
    own = [profile for profile, there in zip(profiles, some, strict=True) if there]
    bins = Choice(edges, nothing, nothing).bins(figures[:, some])
    septic = np.array([profile.has(SEPSIS) for profile in own])
    weight = _profile_weights(level_bins(own, lattice), wanted.levels)
    out = nothing
    tables = []
    for group, part, target, ridge in (
        (~septic, bins, wanted.figures, RIDGE),
        (septic, bins[..., septic_figures(lattice)] // MERGED, wanted.septic, SEPTIC_RIDGE),
    ):
        start = Choice(edges, out, nothing)
        given = start.table[np.arange(len(edges)), bins[:, group]].sum(-1)
        tables.append(_table(part[:, group], ~whole[:, some][:, group], weight[group], target, ridge, given))
        out = tables[0].astype(np.float32)
    added = np.zeros_like(nothing)
    if septic.any():
        added[septic_figures(lattice)] = tables[1][:, np.arange(nothing.shape[1]) // MERGED]
    return Choice(edges, out, added)


def _table(
    bins: IntArray, ended: BoolArray, weight: FloatArray, target: FloatArray, ridge: float, given: FloatArray
) -> FloatArray:
    """(figure, bin) log odds of (proposal, profile, figure) bins, beside the scores that are `given`."""
    from scipy.sparse import csr_array

    if not bins.size:
        return np.zeros(target.shape)
    flat = bins.reshape(-1, bins.shape[2]) + np.arange(bins.shape[2]) * target.shape[1]
    starts = np.arange(0, flat.size + 1, bins.shape[2])
    held = csr_array((np.ones(flat.size), flat.ravel(), starts), shape=(len(flat), target.size))
    weight, aim = weight / weight.sum(), target.ravel()

    def loss(table: FloatArray) -> tuple[float, FloatArray]:
        scores = np.where(ended, -np.inf, (held @ table).reshape(ended.shape) + given)
        highest = scores.max(0)
        odds = np.exp(scores - highest)
        total = odds.sum(0)
        value = weight @ (np.log(total) + highest) - table @ aim + ridge / 2 * table @ table
        return float(value), (weight * odds / total).ravel() @ held - aim + ridge * table

    return _least(loss, target.size).reshape(target.shape)


def _profile_weights(bins: IntArray, wanted: FloatArray) -> FloatArray:
    """(profile,) weights under which levels have the wanted shares, of sum 1."""
    places = bins + np.arange(bins.shape[1]) * wanted.shape[1]
    there = np.bincount(places.ravel(), minlength=wanted.size) > 0
    target = np.where(there, wanted.ravel(), 0)

    def loss(odds: FloatArray) -> tuple[float, FloatArray]:
        scores = odds[places].sum(1)
        highest = scores.max()
        likely = np.exp(scores - highest)
        share = likely / likely.sum()
        slope = np.bincount(places.ravel(), np.repeat(share, bins.shape[1]), wanted.size) - target
        value = np.log(likely.sum()) + highest - odds @ target + EVEN / 2 * odds @ odds
        return float(value), slope + EVEN * odds

    scores = _least(loss, wanted.size)[places].sum(1)
    likely = np.exp(scores - scores.max())
    return np.asarray(likely / likely.sum())


def _least(loss: Callable[[FloatArray], tuple[float, FloatArray]], size: int) -> FloatArray:
    """Where a convex loss, which gives its slope too, is least."""
    from scipy.optimize import minimize

    found = minimize(loss, np.zeros(size), jac=True, method="L-BFGS-B", options={"maxiter": MOST_ITERATIONS})
    return np.asarray(found.x)
